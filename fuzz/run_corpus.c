/*
 * run_corpus.c - a main() for fuzz targets without a fuzzer: runs LLVMFuzzerTestOneInput() once
 * over each file given, and each file in each directory given, so that what was found once stays
 * found.
 *
 * Happy path: reads, runs, says how many files there were, exit 0.
 * Failure modes: a file that cannot be read, or no file at all: words and exit 1. A failing target
 * crashes; the file it crashed on is named first.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *running; /* the file at work, for say_where() */

/* abort() and the sanitizers' own deaths end here first; only what a signal handler may call. */
static void say_where(int signo)
{
	static const char words[] = "crashed on ";
	ssize_t n = write(STDERR_FILENO, words, sizeof words - 1);

	n = n < 0 ? n : write(STDERR_FILENO, running, strlen(running));
	n = n < 0 ? n : write(STDERR_FILENO, "\n", 1);
	(void)n;
	signal(signo, SIG_DFL);
	raise(signo);
}

static int fail(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return -1;
}

/* Returns 1, or -1. */
static int run_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	size_t n;

	if (!file)
		return fail(path);
	data = malloc(size ? size : 1);
	n = data ? fread(data, 1, size, file) : 0;
	fclose(file);
	if (!data || n != size) {
		free(data);
		errno = EIO;
		return fail(path);
	}
	running = path;
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

static int run_path(const char *path);

/* Returns the number of files run, or -1. */
static int run_directory(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort), ran = 0;

	if (n < 0)
		return fail(path);
	for (int i = 0; i < n; i++) {
		char name[4096];
		int rc;

		snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && ran >= 0) {
			rc = run_path(name);
			ran = rc < 0 ? rc : ran + rc;
		}
		free(entries[i]);
	}
	free(entries);
	return ran;
}

static int run_path(const char *path)
{
	struct stat info;

	if (stat(path, &info) < 0)
		return fail(path);
	return S_ISDIR(info.st_mode) ? run_directory(path) : run_file(path, (size_t)info.st_size);
}

int main(int argc, char **argv)
{
	int ran = 0, rc;

	signal(SIGABRT, say_where);
	for (int i = 1; i < argc; i++) {
		rc = run_path(argv[i]);
		if (rc < 0)
			return 1;
		ran += rc;
	}
	if (ran == 0) {
		fprintf(stderr, "%s: no files to run\n", argv[0]);
		return 1;
	}
	printf("%d files, no crash\n", ran);
	return 0;
}
