/*
 * spooler.c - a mailbox for jobs: a connection delivers one, the loop works them off.
 *
 * Happy path: a client sends its job and ends its input. What arrives goes to ID.tmp in the spool
 * directory; at the end it is synced, renamed to ID.job and answered by "queued ID". Every
 * loop-timeout seconds the jobs are appended to the output file, in order of arrival, and removed.
 *
 * Failure: a client that breaks off, stalls or sends too much leaves nothing behind and gets
 * "error: ..." where it can. "queued" is said only when job and name are on the disk, and is the
 * only promise: a client that got anything else, or nothing, may deliver again and risk a double. A
 * job ends where its client's input ends, also when that client died. A crash at any moment loses
 * no queued job. A crash after a job was appended and before its removal is on the disk appends it
 * again (as far as it had got, and then in full): whoever reads the output must be ready for a job
 * to stand there twice. A job that cannot be appended stays in the spool, and is tried again. A
 * .tmp file that nobody has written to for an hour is removed.
 *
 * Trust: only regular files with one name, owned by the server's user, count as jobs; symbolic
 * links are followed nowhere but in the path given to --spool. All paths are looked up when they
 * are needed, so that they mean the same before and after a change of root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdaemon.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_SIZE 64                  /* ID and ".job" */
#define STALL_MS (60 * INT64_C(1000)) /* a client may be silent for so long */
#define ABANDONED_SECONDS (60 * 60)   /* longer than any client may be silent */
#define CHUNK 16384

/* ----------------------------------------------------------------------------------- delivery */

/* A job on its way in; lives as long as the connection. */
struct job {
	int dir, file;          /* the spool, ID.tmp; -1: not open */
	bool exists;            /* ID.tmp is there and has to go, unless it became ID.job */
	long long size;         /* bytes so far */
	char id[NAME_SIZE - 8]; /* sorts by time of arrival */
	char tmp[NAME_SIZE], final[NAME_SIZE];
};

/* Deferred: runs however the connection ends. */
static void job_finish(void *arg)
{
	struct job *job = arg;

	if (job->exists)
		(void)unlinkat(job->dir, job->tmp, 0);
	if (job->file >= 0)
		(void)close(job->file);
	if (job->dir >= 0)
		(void)close(job->dir);
}

/* Time and chance: no two jobs of any process, not even after the clock was set back. */
static int job_name(struct job *job)
{
	struct timespec now;
	uint64_t chance;

	if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
		return errno ? -errno : -EIO;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(job->id, sizeof job->id, "%010lld.%09ld-%016llx", (long long)now.tv_sec,
		 now.tv_nsec, (unsigned long long)chance);
	snprintf(job->tmp, sizeof job->tmp, "%s.tmp", job->id);
	snprintf(job->final, sizeof job->final, "%s.job", job->id);
	return 0;
}

static int open_spool(const struct netd_server *server)
{
	int dir = open(netd_server_option(server, "spool"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : dir;
}

static int job_open(struct netd_conn *c, struct job **out)
{
	struct job *job = netd_alloc(c, sizeof *job);
	int result;

	if (!job)
		return -ENOMEM;
	job->dir = job->file = -1;
	if ((result = netd_defer(c, job_finish, job)) < 0 || (result = job_name(job)) < 0)
		return result;
	if ((job->dir = open_spool(netd_conn_server(c))) < 0)
		return job->dir;
	job->file =
	    openat(job->dir, job->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (job->file < 0)
		return -errno;
	job->exists = true;
	*out = job;
	return 0;
}

/* All of it, to a file. */
static int write_all(int file, const char *data, size_t size)
{
	ssize_t n;

	for (; size > 0; data += n, size -= (size_t)n) {
		n = write(file, data, size);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			n = 0;
	}
	return 0;
}

static int job_receive(struct netd_conn *c, struct job *job)
{
	long long most = netd_server_option_int(netd_conn_server(c), "max-job");
	char chunk[CHUNK];
	ssize_t n;
	int result;

	for (;;) {
		netd_set_deadline(c, netd_now() + STALL_MS);
		n = netd_read(c, chunk, sizeof chunk);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		job->size += n;
		if (job->size > most) /* read on, or the client would never see its answer */
			continue;
		if ((result = write_all(job->file, chunk, (size_t)n)) < 0)
			return result;
	}
	if (job->size == 0)
		return -ENODATA;
	return job->size > most ? -EFBIG : 0;
}

/* Data first, then the name: whatever has the name .job is complete. Blocks on the disk, so it is
 * run by netd_offload(). */
static int job_commit(void *arg)
{
	struct job *job = arg;

	if (fsync(job->file) < 0 || renameat(job->dir, job->tmp, job->dir, job->final) < 0)
		return -errno;
	job->exists = false;
	return fsync(job->dir) < 0 ? -errno : 0;
}

/* What the client is told; the library logs what run() returned. */
static const char *words(int code)
{
	switch (code) {
	case -EFBIG:
		return "job too large";
	case -ENODATA:
		return "empty job";
	case -ETIMEDOUT:
		return "timed out";
	default:
		return "not queued";
	}
}

static int run(struct netd_conn *c)
{
	struct job *job = NULL;
	int result = job_open(c, &job);

	if (result == 0)
		result = job_receive(c, job);
	if (result == 0)
		result = netd_offload(job_commit, job);
	netd_set_deadline(c, netd_now() + STALL_MS);
	if (result < 0) {
		(void)netd_printf(c, "error: %s\n", words(result));
		return result;
	}
	netd_log(c, NETD_INFO, "queued %s, %lld bytes", job->id, job->size);
	return (int)netd_printf(c, "queued %s\n", job->id);
}

/* ----------------------------------------------------------------------------- working it off */

/* One round of the loop. */
struct round {
	struct netd_server *server;
	int dir, output;
};

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), size = strlen(end);

	return length > size && strcmp(name + length - size, end) == 0;
}

static int is_ours(const struct dirent *entry)
{
	return ends_with(entry->d_name, ".job") || ends_with(entry->d_name, ".tmp");
}

static bool trusted(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid() && st->st_nlink == 1;
}

static int copy(int from, int to)
{
	char chunk[CHUNK];
	ssize_t n;
	int result;

	while ((n = read(from, chunk, sizeof chunk)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((result = write_all(to, chunk, (size_t)n)) < 0)
			return result;
	}
	return 0;
}

/*
 * Append an open job and remove its name; all of it or nothing, short of a crash. The job goes only
 * after the output is on the disk; when it cannot go, the output is cut back.
 */
static int append(const struct round *round, int job, const char *name)
{
	struct stat before;
	int result;

	if (fstat(round->output, &before) < 0)
		return -errno;
	result = copy(job, round->output);
	if (result == 0 && fsync(round->output) < 0)
		result = -errno;
	if (result == 0 && unlinkat(round->dir, name, 0) < 0)
		result = -errno;
	if (result < 0 && ftruncate(round->output, before.st_size) < 0)
		netd_server_log(round->server, NETD_ERR, "cannot cut the output back: %s",
				strerror(errno));
	return result;
}

/* Returns 1 when a job was done, 0 when it is none of ours, or -errno. */
static int work_off(const struct round *round, const char *name)
{
	struct stat st;
	int result = 0, job;

	/* not to hang on a FIFO of this name */
	job = openat(round->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (job < 0)
		return errno == ELOOP ? 0 : -errno;
	if (fstat(job, &st) < 0)
		result = -errno;
	else if (trusted(&st) && (result = append(round, job, name)) == 0)
		result = 1;
	(void)close(job);
	return result;
}

/* Remove a delivery that its process did not live to finish. Returns as work_off(), never 1. */
static int sweep(const struct round *round, const char *name)
{
	struct stat st;

	if (fstatat(round->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!trusted(&st) || time(NULL) - st.st_mtime < ABANDONED_SECONDS)
		return 0;
	netd_server_log(round->server, NETD_NOTICE, "removing %s, abandoned", name);
	return unlinkat(round->dir, name, 0) < 0 ? -errno : 0;
}

static int handle(const struct round *round, const char *name)
{
	int result = ends_with(name, ".job") ? work_off(round, name) : sweep(round, name);

	if (result < 0)
		netd_server_log(round->server, NETD_ERR, "%s: %s", name, strerror(-result));
	return result;
}

/* Everything there is, oldest first; a server that stops leaves the rest for its next start. */
static int empty_spool(const struct round *round)
{
	struct dirent **entries;
	int count = scandirat(round->dir, ".", &entries, is_ours, alphasort), done = 0;

	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		if (!netd_draining(round->server) && handle(round, entries[i]->d_name) > 0)
			done++;
		free(entries[i]);
	}
	free(entries);
	if (done > 0)
		netd_server_log(round->server, NETD_INFO, "appended %d jobs", done);
	return 0;
}

static int open_output(const struct netd_server *server)
{
	int file = open(netd_server_option(server, "output"),
			O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct stat st;

	if (file < 0)
		return -errno;
	if (fstat(file, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(file);
		return -EINVAL;
	}
	return file;
}

static int loop(struct netd_server *server)
{
	struct round round = {.server = server};
	int result;

	round.dir = open_spool(server);
	if (round.dir < 0)
		return round.dir;
	round.output = open_output(server);
	result = round.output;
	if (result >= 0) {
		result = empty_spool(&round);
		(void)close(round.output);
	}
	(void)close(round.dir);
	return result;
}

/* ----------------------------------------------------------------------------------- start-up */

/* Complain now rather than to the first client; inside a new root the path means another place. */
static int configure(struct netd_server *server)
{
	int dir;

	if (!netd_server_option(server, "spool") || !netd_server_option(server, "output"))
		return netd_server_fail(server, -EINVAL, "--spool and --output must be given");
	if (netd_server_option(server, "chroot"))
		return 0;
	dir = open_spool(server);
	if (dir < 0)
		return netd_server_fail(server, dir, "--spool %s: %s",
					netd_server_option(server, "spool"), strerror(-dir));
	(void)close(dir);
	return 0;
}

static const struct netd_option options[] = {
    {.name = "spool",
     .type = NETD_OPTION_STRING,
     .argument = "DIR",
     .help = "keep jobs in this directory, writable by the server's user only"},
    {.name = "output",
     .type = NETD_OPTION_STRING,
     .argument = "FILE",
     .help = "append finished jobs to this file"},
    {.name = "max-job",
     .type = NETD_OPTION_INT,
     .value = "1048576",
     .min = 1,
     .max = 1LL << 40,
     .argument = "BYTES",
     .help = "refuse larger jobs"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
	static const struct netd_service spooler =
	    NETD_SERVICE(.name = "spooler", .version = "1.0",
			 .summary = "Take a job from each client, append them to a file in turn.",
			 .options = options, .configure = configure, .run = run, .loop = loop);

	return netd_main(&spooler, NETD_CONFIG(.localport = "7780", .loop_timeout = 5), argc, argv);
}
