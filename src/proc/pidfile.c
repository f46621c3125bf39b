/*
 * pidfile.c - the file that says which process we are, locked for as long as we live (security
 * rule 20).
 *
 * Happy path: open without following a link -> look at what was opened -> flock -> still the file
 * that the path names? -> write our number. The lock belongs to the open file: it goes with the
 * last descriptor, so a crash leaves an unlocked file, which the next start takes over.
 *
 * Failure: -errno with words; what was made here is removed again. A file that a finishing server
 * removes while we open it is tried again. What the file says is only ever used for words.
 */
#include "proc/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAKE_TRIES 16 /* each one lost to another server that comes or goes just now */
#define NUMBER_MAX 16 /* "2147483647\n" and some */

/* An attempt to take the file. */
struct attempt {
	const char *path;
	int fd;
	bool made; /* the file is new, and ours to remove */
};

static char *absolute(const char *path)
{
	char here[PATH_MAX];
	char *full;

	if (*path == '/')
		return strdup(path);
	if (!getcwd(here, sizeof here))
		return NULL;
	if (asprintf(&full, "%s/%s", strcmp(here, "/") == 0 ? "" : here, path) < 0)
		return NULL;
	return full;
}

/* True when the path names the file that is open here. */
static bool is_ours(int fd, const char *path)
{
	struct stat opened, named;

	return fstat(fd, &opened) == 0 && lstat(path, &named) == 0 &&
	       opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* Returns 0, -EAGAIN when the file came or went under our hands, or -errno with words. */
static int open_file(struct attempt *attempt, struct err *err)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	attempt->fd = open(attempt->path, flags | O_CREAT | O_EXCL, 0644);
	attempt->made = attempt->fd >= 0;
	if (attempt->fd < 0 && errno == EEXIST) {
		attempt->fd = open(attempt->path, flags);
		if (attempt->fd < 0 && errno == ENOENT)
			return -EAGAIN;
	}
	if (attempt->fd >= 0)
		return 0;
	if (errno == ELOOP)
		return err_set(err, -ELOOP, "%s: is a symbolic link", attempt->path);
	return err_sys(err, -errno, "%s", attempt->path);
}

/* A file that others can swap, share or write to is no pid file. */
static int inspect(const struct attempt *attempt, struct err *err)
{
	struct stat st;

	if (fstat(attempt->fd, &st) < 0)
		return err_sys(err, -errno, "%s", attempt->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: is not a regular file", attempt->path);
	if (st.st_nlink == 0)
		return -EAGAIN;
	if (st.st_nlink != 1)
		return err_set(err, -EMLINK, "%s: has %llu links, must have one", attempt->path,
			       (unsigned long long)st.st_nlink);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(err, -EPERM, "%s: belongs to user %lu, not to us or root",
			       attempt->path, (unsigned long)st.st_uid);
	return 0;
}

/* Who holds the lock, as far as the file can be believed: a strict number of a living process. */
static int in_use(const struct attempt *attempt, struct err *err)
{
	char text[NUMBER_MAX + 1];
	ssize_t n = pread(attempt->fd, text, NUMBER_MAX, 0);
	long long pid;

	if (n > 1 && text[n - 1] == '\n') {
		text[n - 1] = '\0';
		if (num_parse(text, 1, INT_MAX, &pid) == 0 &&
		    (kill((pid_t)pid, 0) == 0 || errno == EPERM))
			return err_set(err, -EEXIST, "%s: in use by process %lld", attempt->path,
				       pid);
	}
	return err_set(err, -EEXIST, "%s: in use by another process", attempt->path);
}

static int lock(struct attempt *attempt, struct err *err)
{
	if (flock(attempt->fd, LOCK_EX | LOCK_NB) < 0) {
		attempt->made = false; /* made by us, but another one is at home now */
		return errno == EWOULDBLOCK ? in_use(attempt, err)
					    : err_sys(err, -errno, "%s: lock", attempt->path);
	}
	/* A server that ended may have removed this very file before it let go of the lock. */
	return is_ours(attempt->fd, attempt->path) ? inspect(attempt, err) : -EAGAIN;
}

/* Over the old number, then cut: in place, a full disk has room for it more often. */
static int write_number(const struct attempt *attempt, struct err *err)
{
	char text[NUMBER_MAX];
	int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	ssize_t n = pwrite(attempt->fd, text, (size_t)length, 0);

	if (n >= 0 && n != length) {
		n = -1;
		errno = ENOSPC;
	}
	if (n < 0 || ftruncate(attempt->fd, length) < 0)
		return err_sys(err, -errno, "%s: write", attempt->path);
	return 0;
}

/* Remove the file only while the path still names it. */
static int remove_ours(int fd, const char *path)
{
	if (!is_ours(fd, path))
		return -ENOENT;
	return unlink(path) < 0 ? -errno : 0;
}

/* Half a number must not stay behind: another process may carry it. */
static void empty(int fd)
{
	if (ftruncate(fd, 0) < 0)
		return; /* the lock goes with us in any case, and that is what counts */
}

static int attempt_take(struct attempt *attempt, struct err *err)
{
	int rc = open_file(attempt, err);

	if (rc < 0)
		return rc;
	rc = inspect(attempt, err);
	if (rc == 0)
		rc = lock(attempt, err);
	if (rc == 0) {
		rc = write_number(attempt, err);
		if (rc < 0 && !attempt->made)
			empty(attempt->fd);
	}
	if (rc < 0) {
		if (attempt->made)
			remove_ours(attempt->fd, attempt->path);
		close(attempt->fd);
	}
	return rc;
}

int pidfile_take(struct pidfile *pidfile, const char *path, struct err *err)
{
	char *full = absolute(path);
	struct attempt attempt = {.path = full};
	int rc = -EAGAIN;

	if (!full)
		return err_sys(err, -errno, "%s", path);
	for (int tries = 0; tries < TAKE_TRIES && rc == -EAGAIN; tries++)
		rc = attempt_take(&attempt, err);
	if (rc == -EAGAIN)
		err_set(err, rc, "%s: others keep making and removing it", full);
	if (rc < 0) {
		free(full);
		return rc;
	}
	*pidfile = (struct pidfile){.fd = attempt.fd, .path = full, .owner = getpid()};
	return 0;
}

void pidfile_release(struct pidfile *pidfile)
{
	if (pidfile->fd >= 0 && pidfile->owner == getpid() &&
	    remove_ours(pidfile->fd, pidfile->path) < 0)
		empty(pidfile->fd);
	pidfile_forget(pidfile);
}

void pidfile_forget(struct pidfile *pidfile)
{
	if (pidfile->fd >= 0)
		close(pidfile->fd);
	free(pidfile->path);
	*pidfile = (struct pidfile){.fd = -1};
}
