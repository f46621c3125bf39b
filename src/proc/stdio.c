/*
 * stdio.c - descriptors 0, 1 and 2 are there from the start, so that no socket or file of ours
 * becomes what some library writes its messages to.
 *
 * Happy path: all three are open, nothing is done. Failure: -errno when /dev/null cannot be opened.
 */
#include "proc/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int proc_secure_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number is this one: those below are open by now. */
		if (open("/dev/null", O_RDWR) < 0)
			return -errno;
	}
	return 0;
}
