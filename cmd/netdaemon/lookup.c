/*
 * lookup.c - is there such a program, and could it run? Asked before anything is bound, so that a
 * mistyped name is told at once and not to the first client.
 *
 * Happy path: a name with a slash is that file; any other is looked for along PATH. It must be an
 * executable regular file, and the interpreter of a script must be there. Failure: -errno and words
 * that name what was found and what to do.
 */
#include "program.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEAD_BYTES 256 /* of a script: what the kernel reads of its first line */
#define WORD_PAGES 32  /* of memory: what the kernel takes as one argument, with its end */

/* ------------------------------------------------------------------------------- one file */

/* A file as it is seen from below root, where links lead to places below root too. -1: errno. */
static int open_below(const char *root, const char *path, int flags)
{
	struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT};
	char file[PATH_MAX];
	int folder, fd, error;

	if (!*root)
		return open(path, flags | O_CLOEXEC);
	folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return -1;
	do
		fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
	while (fd < 0 && errno == EAGAIN); /* somebody moved a folder meanwhile */
	error = errno;
	close(folder);
	errno = error;
	if (fd >= 0 || (error != ENOSYS && error != EPERM))
		return fd;
	/* A kernel before 5.6, or a filter: links are followed from here. */
	snprintf(file, sizeof file, "%s%s", root, path);
	return open(file, flags | O_CLOEXEC);
}

/* A kernel before 5.8 cannot answer for a descriptor: what the file says counts. */
static bool may_execute(int fd, const struct stat *about)
{
	if (faccessat(fd, "", X_OK, AT_EMPTY_PATH) == 0)
		return true;
	return (errno == EINVAL || errno == ENOSYS || errno == EPERM) && about->st_mode & 0111;
}

/* What is there. 0 or -errno; *runs: it could be executed. */
static int look_at(const char *root, const char *path, struct stat *about, bool *runs)
{
	int fd = open_below(root, path, O_PATH);
	int rc = fd < 0 || fstat(fd, about) < 0 ? -errno : 0;

	*runs = rc == 0 && may_execute(fd, about);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The interpreter in the first line of a script, in place; NULL: it is none. */
static char *interpreter_of(const char *path, const char *root, char head[HEAD_BYTES])
{
	int fd = open_below(root, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, head, HEAD_BYTES - 1);
	char *word = head + 2;

	if (fd >= 0)
		close(fd);
	if (n < 3 || memcmp(head, "#!", 2) != 0)
		return NULL;
	head[n] = '\0';
	word += strspn(word, " \t");
	word[strcspn(word, " \t\n")] = '\0';
	return *word == '/' ? word : NULL;
}

/* A script's interpreter that is not there; NULL: it is, or there is none. */
static const char *missing_interpreter(const char *path, const char *root, char head[HEAD_BYTES])
{
	const char *interpreter = interpreter_of(path, root, head);
	struct stat about;
	bool runs;

	return interpreter && (look_at(root, interpreter, &about, &runs) < 0 || !runs) ? interpreter
										       : NULL;
}

/* Text that does not say what is to run it: a shell would, the system does not. What cannot be read
 * may be run all the same, and other bytes may have a handler (binfmt_misc). */
static bool is_plain_text(const char *path, const char *root)
{
	char head[HEAD_BYTES];
	int fd = open_below(root, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);

	if (fd >= 0)
		close(fd);
	if (n >= 2 && memcmp(head, "#!", 2) == 0)
		return false;
	for (ssize_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)head[i]) && !strchr("\t\n\r\f", head[i]))
			return false;
	return n >= 0;
}

/* What is in a file that could be run? 0 or -errno with words. */
static int check_content(const char *path, const char *root, char *words, size_t room)
{
	char head[HEAD_BYTES];
	const char *interpreter = missing_interpreter(path, root, head);

	if (interpreter) {
		snprintf(words, room, "program '%s%s' is a script for '%s', which is not there%s",
			 root, path, interpreter,
			 strchr(interpreter, '\r') ? ": its lines must not end in CR LF" : "");
		return -ENOENT;
	}
	if (is_plain_text(path, root)) {
		snprintf(words, room,
			 "program '%s%s' does not say what runs it: a script begins with a line "
			 "like #!/bin/sh",
			 root, path);
		return -ENOEXEC;
	}
	return 0;
}

/* Could this file be run? 0 or -errno with words. */
static int check_file(const char *path, const char *root, char *words, size_t room)
{
	struct stat about;
	bool runs;
	int rc = look_at(root, path, &about, &runs);

	if (rc < 0) {
		snprintf(words, room, "program '%s%s': %s", root, path, strerror(-rc));
		return rc;
	}
	if (S_ISDIR(about.st_mode)) {
		snprintf(words, room, "program '%s%s' is a directory", root, path);
		return -EISDIR;
	}
	if (!S_ISREG(about.st_mode)) {
		snprintf(words, room, "program '%s%s' is no regular file", root, path);
		return -EACCES;
	}
	if (!runs) {
		snprintf(words, room, "program '%s%s' is not executable: %s", root, path,
			 about.st_mode & 0111 ? "not for this user, or its file system is mounted "
						"noexec"
					      : "chmod +x makes it so");
		return -EACCES;
	}
	return check_content(path, root, words, room);
}

/* ---------------------------------------------------------------------------------- finding it */

/* A name with a slash, as an absolute path. */
static int make_absolute(const char *name, const char *root, char **path, char *words, size_t room)
{
	char folder[PATH_MAX];

	if (*name == '/')
		*path = strdup(name);
	else if (*root) {
		snprintf(words, room,
			 "program '%s': with --chroot it must be an absolute path, as seen from %s",
			 name, root);
		return -EINVAL;
	} else if (!getcwd(folder, sizeof folder)) {
		int rc = -errno;

		snprintf(words, room,
			 "program '%s': the current directory: %s: give an absolute path", name,
			 strerror(-rc));
		return rc;
	} else if (asprintf(path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) < 0) {
		*path = NULL;
	}
	return *path ? 0 : -ENOMEM;
}

static bool is_executable(const char *path, const char *root)
{
	struct stat about;
	bool runs;

	return look_at(root, path, &about, &runs) == 0 && S_ISREG(about.st_mode) && runs;
}

/* Along PATH. An empty or relative folder in it is left out: what runs must not depend on where
 * netdaemon was started. */
static int search(const char *name, const char *root, char **path, char *words, size_t room)
{
	const char *folders = *root ? NULL : getenv("PATH");
	char candidate[PATH_MAX];

	if (!folders || !*folders)
		folders = PROGRAM_PATH;
	for (const char *at = folders; *at; at += strspn(at, ":")) {
		size_t length = strcspn(at, ":");
		int n = snprintf(candidate, sizeof candidate, "%.*s/%s", (int)length, at, name);

		if (*at == '/' && n < (int)sizeof candidate && is_executable(candidate, root)) {
			*path = strdup(candidate);
			return *path ? 0 : -ENOMEM;
		}
		at += length;
	}
	snprintf(words, room, "program '%s' is not in any folder of %s%s%s%s", name, folders,
		 *root ? " below " : "", root,
		 strpbrk(name, " \t") ? ": each word stands for itself, as in -- cat -u, or in a "
					"file [cat, -u]"
				      : "");
	return -ENOENT;
}

int lookup_program(const char *name, const char *root, char **path, char *words, size_t room)
{
	char *found = NULL;
	int rc;

	snprintf(words, room, "out of memory");
	if (!*name) {
		snprintf(words, room, "program: the name is empty");
		return -EINVAL;
	}
	if (strlen(name) > (strchr(name, '/') ? PATH_MAX - 1 : NAME_MAX)) {
		snprintf(words, room, "program '%.60s...': %s", name, strerror(ENAMETOOLONG));
		return -ENAMETOOLONG;
	}
	rc = strchr(name, '/') ? make_absolute(name, root, &found, words, room)
			       : search(name, root, &found, words, room);
	if (rc == 0)
		rc = check_file(found, root, words, room);
	if (rc < 0) {
		free(found);
		return rc;
	}
	*path = found;
	return 0;
}

/* ------------------------------------------------------------------------------------ arguments */

int lookup_arguments(char *const *argv, char *words, size_t room)
{
	long most = sysconf(_SC_ARG_MAX);
	size_t sum = 0, longest = 0, word = WORD_PAGES * (size_t)sysconf(_SC_PAGESIZE);

	for (; *argv; argv++) {
		size_t size = strlen(*argv) + 1;

		longest = size > longest ? size : longest;
		sum += size + sizeof *argv;
	}
	if (longest > word)
		snprintf(words, room,
			 "program: found an argument of %zu bytes, the system takes at most %zu",
			 longest - 1, word - 1);
	else if (most > 0 && sum > (size_t)most)
		snprintf(words, room,
			 "program: found arguments of %zu bytes, the system takes at most %ld with "
			 "the variables: see ulimit -s",
			 sum, most);
	else
		return 0;
	return -E2BIG;
}

/* ---------------------------------------------------------------------------- when exec failed */

void lookup_explain(const char *path, int error, char *words, size_t room)
{
	char head[HEAD_BYTES];
	const char *interpreter;

	if (error == ENOEXEC) {
		snprintf(words, room,
			 "%s: it is no program for this machine, and no script: a script begins "
			 "with a line like #!/bin/sh",
			 strerror(error));
		return;
	}
	if (error == E2BIG) {
		snprintf(words, room, "%s: its arguments, or the variables of the access rule",
			 strerror(error));
		return;
	}
	interpreter = error == ENOENT ? missing_interpreter(path, "", head) : NULL;
	if (interpreter)
		snprintf(words, room, "it is a script for '%s', which is not there", interpreter);
	else
		snprintf(words, room, "%s", strerror(error));
}
