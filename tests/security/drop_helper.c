/*
 * drop_helper.c - a server reduced to its drop of privileges, for test_priv.py to trace and to
 * disturb: drop_helper USER GROUP CHROOT COREDUMP ("-" for none; COREDUMP 0 or 1).
 *
 * Happy path: "accept PID" on standard output once everything is given up, then it waits for the
 * end of its input, so that it can be looked at. Failure: the words on standard error, status 1; 2
 * when user or group are not known.
 */
#include "proc/proc.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *given(const char *argument)
{
	return strcmp(argument, "-") == 0 ? NULL : argument;
}

int main(int argc, char **argv)
{
	struct identity identity;
	struct err err;
	char c;

	if (argc != 5) {
		fprintf(stderr, "usage: drop_helper USER GROUP CHROOT COREDUMP\n");
		return 2;
	}
	if (identity_find(&identity, given(argv[1]), given(argv[2]), &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	if (privileges_drop(&identity, given(argv[3]), *argv[4] == '1', &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	printf("accept %d\n", (int)getpid());
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		continue;
	return 0;
}
