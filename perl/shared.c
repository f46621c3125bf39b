/*
 * shared.c - what the threads of a Perl process share.
 *
 * Happy path: the first line for an identity and a facility opens a log, which is kept for good;
 * forked children use it too. Failure: see log.h; without memory a line is lost.
 *
 * These are the only variables of this binding that belong to the process: a thread that ends finds
 * no object of its server in its own interpreter.
 */
#include "shared.h"

#include "log/sink.h"
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------- threads
 */

static atomic_size_t serving;
static atomic_int wake_in = -1, wake_out = -1;

void serving_started(void)
{
	atomic_fetch_add(&serving, 1);
}

void serving_ended(void)
{
	int fd = atomic_load(&wake_in);
	ssize_t n;

	atomic_fetch_sub(&serving, 1);
	if (fd < 0)
		return;
	n = write(fd, "", 1);
	(void)n; /* a full pipe wakes, too */
}

size_t serving_count(void)
{
	char bytes[64];
	int fd = atomic_load(&wake_out);

	while (fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
		continue;
	return atomic_load(&serving);
}

/* Called by the one thread that accepts. */
int serving_wake_fd(void)
{
	int fds[2];

	if (atomic_load(&wake_out) < 0 && os_pipe(fds) == 0) {
		atomic_store(&wake_out, fds[0]);
		atomic_store(&wake_in, fds[1]);
	}
	return atomic_load(&wake_out);
}

/* ----------------------------------------------------------------------------------------- syslog
 */

/* An open log, kept for the life of the process. */
struct way {
	struct way *next;
	struct log *log;
	char *path, *ident, *facility;
};

static struct way *ways;
static pthread_mutex_t ways_lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_way(const struct way *way, const char *path, const char *ident, const char *facility)
{
	return strcmp(way->path, path) == 0 && strcmp(way->ident, ident) == 0 &&
	       strcmp(way->facility, facility) == 0;
}

static void way_free(struct way *way)
{
	log_close(way->log);
	free(way->path);
	free(way->ident);
	free(way->facility);
	free(way);
}

static int way_new(struct way **out, const char *path, const char *ident, const char *facility,
		   struct err *err)
{
	const struct log_config config = {.ident = ident, .facility = facility, .debug = true};
	struct way *way = calloc(1, sizeof *way);
	int rc = -ENOMEM;

	if (!way)
		return err_sys(err, rc, "syslog");
	way->path = strdup(path);
	way->ident = strdup(ident);
	way->facility = strdup(facility);
	if (way->path && way->ident && way->facility)
		rc = log_open_syslog_at(&way->log, &config, path, err);
	else
		err_sys(err, rc, "syslog");
	if (rc < 0) {
		way_free(way);
		return rc;
	}
	*out = way;
	return 0;
}

static int find_way(struct way **out, const char *path, const char *ident, const char *facility,
		    struct err *err)
{
	struct way *way = ways;
	int rc = 0;

	while (way && !is_way(way, path, ident, facility))
		way = way->next;
	if (!way) {
		rc = way_new(&way, path, ident, facility, err);
		if (rc < 0)
			return rc;
		way->next = ways;
		ways = way;
	}
	*out = way;
	return 0;
}

int syslog_write(const char *path, const char *ident, const char *facility, enum netd_level level,
		 const char *message, struct err *err)
{
	struct way *way;
	int rc;

	pthread_mutex_lock(&ways_lock);
	rc = find_way(&way, path, ident, facility, err);
	pthread_mutex_unlock(&ways_lock);
	if (rc == 0)
		log_write(way->log, level, NULL, "%s", message);
	return rc;
}
