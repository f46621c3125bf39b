/*
 * program.c - netdaemon [options] -- program [argument ...]: the service that runs a program for
 * each connection.
 *
 * Happy path: program_main() hands the words after "--" to the library as the option program, so
 * that a config file may have them too; configure() finds the program and makes what all
 * connections share; run() sends the banner, starts the program and follows it to its end.
 *
 * Failure modes: what is wrong with the command line or the program is told before anything is
 * bound. A program that cannot be started (gone meanwhile, not executable any more) costs its
 * connection and one line in the log. A shortage (descriptors, processes, memory) is waited out for
 * a while: the client waits, others are served.
 */
#include "program.h"

#include "banner.h"
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORDS_BYTES 600
#define SHORTAGE_PAUSE_MS 100   /* between two tries to start a program */
#define SHORTAGE_LIMIT_MS 10000 /* then the client is sent away */
#define YEAR_S 31536000
#define CONNECTIONS 256 /* programs at a time, unless --max-connections says otherwise */
#define DESCRIPTORS 4   /* of ours for each: socket, pipe, pidfd */
#define OTHERS 24       /* descriptors for all else */
#define PROCESSES 2     /* the program, and in modes fork and threads what serves it */

#define EXAMPLE "netdaemon --localport 2000 -- cat"

enum { EXIT_USAGE = 2 };

static const struct netd_option options[] = {
    OPTION_SERVICE,
    OPTION_SERVICES,
    OPTION_PROGRAM,
    {.name = "banner",
     .type = NETD_OPTION_STRING,
     .argument = "TEXT",
     .help = "Send this to every client before the program starts; \\r, \\n, \\t, \\\\ and \\xNN "
	     "stand for what they do in C."},
    {.name = "env",
     .type = NETD_OPTION_LIST,
     .argument = "NAME[=VALUE]",
     .help = "Give the program this variable; without a value, netdaemon's own. May be given "
	     "several times. Nothing else of netdaemon's environment reaches the program."},
    {.name = "kill-after",
     .type = NETD_OPTION_INT,
     .value = "0",
     .max = YEAR_S,
     .argument = "SECONDS",
     .help = "End a program that still runs so long after its client has gone (by a reset, or "
	     "when both directions are closed); 0 means never."},
    {0},
};

/* ------------------------------------------------------------------- before the first connection
 */

/* The words of the program as a list for execve(2). */
static int take_words(struct program *program, struct netd_server *server)
{
	int count = 0;

	while (netd_server_option_item(server, "program", count))
		count++;
	if (count == 0 && netd_server_option(server, "service"))
		return netd_server_fail(server, -EINVAL,
					"service: a shared object is named on the command line, by "
					"--service FILE.so");
	program->missing = count == 0;
	if (count == 0)
		return netd_server_fail(server, -EINVAL, "no program given: it stands after --, %s",
					netd_server_option(server, "configfile")
					    ? "or in the config file as the key program"
					    : "as in " EXAMPLE);
	program->argv = calloc((size_t)count + 1, sizeof *program->argv);
	if (!program->argv)
		return netd_server_fail(server, -ENOMEM, "out of memory");
	for (int i = 0; i < count; i++) {
		program->argv[i] = strdup(netd_server_option_item(server, "program", i));
		if (!program->argv[i])
			return netd_server_fail(server, -ENOMEM, "out of memory");
	}
	return 0;
}

/* The environment for all connections, from the items of --env. */
static int take_variables(struct program *program, struct netd_server *server)
{
	char words[WORDS_BYTES];
	const char *item;
	int rc = environment_common(&program->variables, words, sizeof words);

	for (int i = 0; rc == 0; i++) {
		item = netd_server_option_item(server, "env", i);
		if (!item)
			return 0;
		rc = environment_give(program->variables, item, words, sizeof words);
	}
	return netd_server_fail(server, rc, "%s", words);
}

static int take_banner(struct program *program, struct netd_server *server)
{
	const char *text = netd_server_option(server, "banner");
	char words[WORDS_BYTES];
	int rc;

	if (!text || !*text)
		return 0;
	rc = banner_read(&program->banner, &program->banner_size, text, words, sizeof words);
	return rc < 0 ? netd_server_fail(server, rc, "--banner: %s", words) : 0;
}

static int find_program(struct program *program, struct netd_server *server)
{
	const char *root = netd_server_option(server, "chroot");
	char words[WORDS_BYTES];
	int rc = lookup_program(program->argv[0], root && strcmp(root, "/") != 0 ? root : "",
				&program->path, words, sizeof words);

	if (rc == 0)
		rc = lookup_arguments(program->argv, words, sizeof words);

	return rc < 0 ? netd_server_fail(server, rc, "%s", words) : 0;
}

/* That of this process, for as long as it lasts. */
static struct program *the_program(void)
{
	static struct origin origin;
	static struct program program = {.origin = &origin};

	return &program;
}

/* For how many programs at a time a limit of this process is enough; at least one. */
static long long room(__rlimit_resource_t what, rlim_t others, rlim_t each)
{
	struct rlimit limit;

	if (getrlimit(what, &limit) < 0 || limit.rlim_cur > INT_MAX)
		return INT_MAX;
	if (limit.rlim_cur < others + each)
		return 1;
	return (long long)((limit.rlim_cur - others) / each);
}

/* Connections share the descriptors of a process in these modes. Of more than one for each there
 * is no need to tell: the library does. */
static void warn_scarce_descriptors(struct netd_server *server)
{
	const char *mode = netd_server_option(server, "mode");
	long long wanted = netd_server_option_int(server, "max-connections");
	long long workers = netd_server_option_int(server, "childs");
	long long each = wanted / (workers > 0 ? workers : 1);
	long long files = room(RLIMIT_NOFILE, OTHERS, DESCRIPTORS);

	if (strcmp(mode, "threads") != 0 && strcmp(mode, "fibers") != 0)
		return;
	if (each > files && each < room(RLIMIT_NOFILE, 0, 1))
		netd_server_log(server, NETD_WARNING,
				"--max-connections: found %lld, but the descriptors of a process "
				"(RLIMIT_NOFILE) are enough for %lld programs at a time: further "
				"clients may wait up to %d s, and are then sent away",
				wanted, files, SHORTAGE_LIMIT_MS / 1000);
}

static int configure(struct netd_server *server)
{
	struct program *program = the_program();
	int rc = take_words(program, server);

	handover_tell_news(server);
	if (rc == 0)
		rc = take_variables(program, server);
	if (rc == 0)
		rc = take_banner(program, server);
	if (rc == 0)
		rc = find_program(program, server);
	if (rc == 0)
		warn_scarce_descriptors(server);
	program->kill_after_ms = netd_server_option_int(server, "kill-after") * 1000;
	origin_read(program->origin);
	netd_server_set_data(server, program);
	return rc;
}

/* ------------------------------------------------------------------------------- one connection */

/* Not by netd_write(): the connection's output is the program's business, also when it ends. What
 * is so short fits the buffer of a socket that nobody has written to. */
static void send_banner(const struct program *program, struct netd_conn *conn)
{
	if (program->banner)
		send(netd_fd(conn), program->banner, program->banner_size,
		     MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Standard error of the program: it gets a pipe like any other; our end must never wait. The
 * writing end stays open here too: that nobody writes any more would only tell what the exit of the
 * program tells, at the price of one more wake-up. */
static int make_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	fcntl(fds[0], F_SETFL, O_RDONLY | O_NONBLOCK);
	return 0;
}

static void close_pipe(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* Start the program. Its number, and the pipe of its standard error; or -errno. */
static pid_t start(const struct program *program, struct netd_conn *conn, int fds[2])
{
	struct order order = {.program = program, .socket = netd_fd(conn)};
	struct environment *environment = NULL;
	int rc = make_pipe(fds);

	if (rc < 0)
		return rc;
	rc = environment_new(&environment, conn, program->variables);
	if (rc == 0) {
		order.errors = fds[1];
		order.environment = environment_items(environment);
		rc = spawn_program(&order);
	}
	environment_free(environment);
	if (rc < 0)
		close_pipe(fds);
	return rc;
}

/* Something that others may give back soon. */
static bool is_shortage(int rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -EAGAIN || rc == -ENOMEM;
}

static pid_t start_patiently(const struct program *program, struct netd_conn *conn, int fds[2])
{
	int64_t until = netd_now() + SHORTAGE_LIMIT_MS;
	pid_t pid = start(program, conn, fds);
	int rc = 0;

	if (is_shortage(pid))
		netd_log(conn, NETD_WARNING, "cannot start %s yet: %s; trying again for %d s",
			 program->path, strerror(-pid), SHORTAGE_LIMIT_MS / 1000);
	while (is_shortage(pid) && netd_now() < until) {
		rc = netd_sleep(SHORTAGE_PAUSE_MS);
		if (rc < 0 && rc != -EINTR)
			return rc;
		pid = start(program, conn, fds);
	}
	return pid;
}

static int run(struct netd_conn *conn)
{
	const struct program *program = netd_server_data(netd_conn_server(conn));
	char words[WORDS_BYTES];
	int64_t started = netd_now();
	int fds[2], rc;
	pid_t pid;

	send_banner(program, conn);
	pid = start_patiently(program, conn, fds);
	if (pid > 0) {
		rc = follow_program(program, conn, pid, fds[0], started);
		close_pipe(fds);
		return rc;
	}
	if (pid == -ECANCELED)
		return pid;
	lookup_explain(program->path, -pid, words, sizeof words);
	netd_fatal(conn, "cannot run %s: %s", program->path, words);
}

/* ------------------------------------------------------------------------------ the command line
 */

/* argv with the words of the program behind it, as values of the option program. NULL: no memory.
 */
static char **join(int argc, char **argv, char **program, int *count)
{
	char **joined;
	int words = 0;

	while (program && program[words])
		words++;
	joined = calloc((size_t)(argc + words) + 1, sizeof *joined);
	if (!joined)
		return NULL;
	for (int i = 0; i < argc; i++)
		joined[i] = argv[i];
	for (int i = 0; i < words; i++)
		if (asprintf(&joined[argc + i], "--program=%s", program[i]) < 0)
			return NULL;
	*count = argc + words;
	return joined;
}

/* Whoever only asks needs no program; a config file may hold it, or be all that is wrong. */
static bool needs_program(int argc, char **argv)
{
	static const char *const others[] = {"configfile", "help", "version", "completion"};
	const char *unused;

	for (int i = 1; i < argc; i++)
		for (size_t k = 0; k < sizeof others / sizeof *others; k++)
			if (is_option(argv[i], others[k], &unused))
				return false;
	return true;
}

/* No more than there are descriptors and processes for: clients that wait with one of them each for
 * more would only be in each other's way. */
static int connections(void)
{
	long long files = room(RLIMIT_NOFILE, OTHERS, DESCRIPTORS);
	long long processes = room(RLIMIT_NPROC, 1, PROCESSES);
	long long least = files < processes ? files : processes;

	return least < CONNECTIONS ? (int)least : CONNECTIONS;
}

const struct netd_service program_service =
    NETD_SERVICE(.name = "netdaemon", .version = NETD_VERSION,
		 .summary = "netdaemon - run a program for each connection", .options = options,
		 .configure = configure, .run = run);

int program_main(int argc, char **argv, char **program)
{
	int count = 0, status;
	char **joined = join(argc, argv, program, &count);

	if (!joined) {
		fprintf(stderr, "netdaemon: out of memory\n");
		return 1;
	}
	status = netd_main(&program_service,
			   NETD_CONFIG(.max_connections = connections(), .mode = "fibers"), count,
			   joined);
	if (status == EXIT_USAGE && (!program || !*program) && !the_program()->missing &&
	    needs_program(argc, argv))
		fprintf(stderr,
			"netdaemon: the program to run stands after --, as in " EXAMPLE "\n");
	for (int i = argc; i < count; i++)
		free(joined[i]);
	free(joined);
	return status;
}
