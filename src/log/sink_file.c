/*
 * sink_file.c - lines appended to a file, a FIFO or a character device.
 *
 * Happy path: opened once for appending, so that processes share it without a lock; on reopen
 * (after a rotation) the new file takes the old descriptor's number in one step, and no writer ever
 * meets a closed one. Failure: what cannot be opened is refused with words, at reopen the old file
 * stays. O_NONBLOCK: a FIFO without reader, or one that is full, is an error and not a wait.
 */
#include "log/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0640 /* names and addresses of clients are not for everybody */

struct sink_file {
	struct sink sink;
	struct line_out out;
	char *path;   /* absolute, below the root directory as it is now */
	bool outside; /* chroot took the path away */
};

/* Drop repeated slashes and "." between slashes, so that paths compare as text. */
static void path_tidy(char *path)
{
	char *to = path;

	for (const char *from = path; *from; from++) {
		if (from[0] == '/') {
			while (from[1] == '/' || (from[1] == '.' && from[2] == '/'))
				from += from[1] == '/' ? 1 : 2;
		}
		*to++ = *from;
	}
	*to = '\0';
}

static bool path_climbs(const char *path)
{
	for (const char *at = path; (at = strstr(at, "/..")); at++)
		if (at[3] == '/' || at[3] == '\0')
			return true;
	return false;
}

/* A tidy copy of path in *out, made absolute: chdir("/") comes later. */
static int path_absolute(const char *path, char **out)
{
	char *cwd = NULL, *full;
	int n;

	if (!*path)
		return -ENOENT;
	if (path[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return -errno;
	}
	n = asprintf(&full, "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", path);
	free(cwd);
	if (n < 0)
		return -ENOMEM;
	path_tidy(full);
	*out = full;
	return 0;
}

static int open_words(int code, const char *path, struct err *err)
{
	struct stat st;

	if (code == -ENXIO && stat(path, &st) == 0)
		return err_set(err, code, "log file %s: %s", path,
			       S_ISFIFO(st.st_mode) ? "nobody reads from this FIFO"
						    : "neither a file, a FIFO nor a device");
	return err_sys(err, code, "log file %s", path);
}

/* Open path for appending and look at what it is. Returns the descriptor or -errno with words. */
static int file_descriptor(const char *path, struct stat *st, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      FILE_MODE);

	if (fd < 0)
		return open_words(-errno, path, err);
	if (fstat(fd, st) < 0) {
		int code = err_sys(err, -errno, "log file %s", path);

		close(fd);
		return code;
	}
	if (!S_ISREG(st->st_mode) && !S_ISFIFO(st->st_mode) && !S_ISCHR(st->st_mode)) {
		close(fd);
		return err_set(err, -EINVAL, "log file %s: neither a file, a FIFO nor a device",
			       path);
	}
	return fd;
}

static int file_open(struct sink **out, const struct sink_config *config, struct err *err)
{
	struct sink_file *s = calloc(1, sizeof *s);
	struct stat st;
	int code;

	if (!s)
		return err_sys(err, -ENOMEM, "log file %s", config->path);
	s->sink.ops = &log_sink_file;
	code = path_absolute(config->path, &s->path);
	if (code < 0) {
		err_sys(err, code, "log file %s", config->path);
		goto fail;
	}
	code = file_descriptor(s->path, &st, err);
	if (code < 0)
		goto fail;
	s->out = (struct line_out){.fd = code, .way = LINE_WRITE};
	*out = &s->sink;
	return 0;

fail:
	free(s->path);
	free(s);
	return code;
}

static int file_write(struct sink *sink, const struct log_record *record)
{
	return log_line_write(&CONTAINER(sink, struct sink_file, sink)->out, record);
}

static int file_reopen(struct sink *sink, struct err *err)
{
	struct sink_file *s = CONTAINER(sink, struct sink_file, sink);
	struct stat before, after;
	int fd, code = 0;

	if (s->outside)
		return err_set(err, -ENOENT, "log file %s: outside of the new root directory",
			       s->path);
	fd = file_descriptor(s->path, &after, err);
	if (fd < 0)
		return fd;
	if (fstat(s->out.fd, &before) < 0 || before.st_ino != after.st_ino ||
	    before.st_dev != after.st_dev)
		atomic_store(&s->out.torn, false);
	if (dup3(fd, s->out.fd, O_CLOEXEC) < 0)
		code = err_sys(err, -errno, "log file %s", s->path);
	close(fd);
	return code;
}

static void file_set_root(struct sink *sink, const char *root)
{
	struct sink_file *s = CONTAINER(sink, struct sink_file, sink);
	size_t length = strlen(root);

	while (length && root[length - 1] == '/')
		length--;
	if (length == 0 && root[0] == '/')
		return;
	if (length == 0 || strncmp(s->path, root, length) != 0 || s->path[length] != '/' ||
	    path_climbs(s->path))
		s->outside = true;
	else
		memmove(s->path, s->path + length, strlen(s->path + length) + 1);
}

static void file_close(struct sink *sink)
{
	struct sink_file *s = CONTAINER(sink, struct sink_file, sink);

	close(s->out.fd);
	free(s->path);
	free(s);
}

static int file_fd(const struct sink *sink)
{
	const struct sink_file *s = (const void *)sink;

	return s->out.fd;
}

const struct sink_ops log_sink_file = {
    .name = "file",
    .open = file_open,
    .write = file_write,
    .reopen = file_reopen,
    .set_root = file_set_root,
    .close = file_close,
    .fd = file_fd,
};
