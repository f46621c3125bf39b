/*
 * notify.c - systemd's notification protocol, spoken without its library.
 *
 * Happy path: notify_take() at the start, notify_open() while the socket can still be reached,
 * notify_send() whenever there is something to say.
 * Failure modes: no service fails because its manager does not listen. The variables come from
 * outside: an address that is neither a path nor an abstract name, or one too long, is an error in
 * words and nothing is connected. A full socket is the caller's to try again.
 */
#include "proc/notify.h"

#include "os/os.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE_MAX 512
#define QUOTE_MAX 200

static const char *const variables[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};

/* Twice in the time that the manager allows, as its documentation asks. */
static void read_watchdog(struct notify *notify)
{
	const char *usec_text = getenv("WATCHDOG_USEC");
	const char *pid_text = getenv("WATCHDOG_PID");
	long long usec, pid;

	if (!usec_text)
		return;
	if (num_parse(usec_text, 1, INT64_MAX, &usec) < 0 ||
	    (pid_text && num_parse(pid_text, 1, INT32_MAX, &pid) < 0)) {
		notify->odd_watchdog = true;
		return;
	}
	if (pid_text && pid != getpid())
		return;
	notify->period_ms = usec / 2000 > 0 ? usec / 2000 : 1;
}

void notify_take(struct notify *notify)
{
	const char *path = getenv("NOTIFY_SOCKET");

	*notify = (struct notify){.fd = -1};
	if (path && *path) {
		notify->path = strdup(path); /* no memory: as if nobody had asked */
		read_watchdog(notify);
	}
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		unsetenv(variables[i]);
}

/* The size of the address, or 0: it cannot be one. */
static socklen_t fill(struct sockaddr_un *sa, const char *path)
{
	size_t length = strlen(path);

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((*path != '/' && *path != '@') || length < 2 || length >= sizeof sa->sun_path)
		return 0;
	memcpy(sa->sun_path, path, length);
	if (*path == '@')
		sa->sun_path[0] = '\0'; /* a name without a file; it has no NUL at its end */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*path == '/'));
}

int notify_open(struct notify *notify, struct err *err)
{
	struct sockaddr_un sa;
	socklen_t size;
	int fd, rc;

	if (!notify->path || notify->fd >= 0)
		return 0;
	size = fill(&sa, notify->path);
	if (!size)
		return err_set(err, -EINVAL,
			       "NOTIFY_SOCKET: found '%.*s', expected /PATH or @NAME: no service "
			       "manager is told anything",
			       QUOTE_MAX, notify->path);
	fd = os_socket(AF_UNIX, SOCK_DGRAM, 0);
	rc = fd < 0 ? fd : os_set_nonblocking(fd, true);
	if (rc == 0 && connect(fd, (const struct sockaddr *)&sa, size) < 0)
		rc = -errno;
	if (rc < 0) {
		if (fd >= 0)
			close(fd);
		return err_sys(err, rc, "NOTIFY_SOCKET: no service manager is told anything: %.*s",
			       QUOTE_MAX, notify->path);
	}
	notify->fd = fd;
	if (notify->odd_watchdog)
		return err_set(err, -EINVAL,
			       "WATCHDOG_USEC and WATCHDOG_PID: found no numbers: the watchdog is "
			       "not answered");
	return 0;
}

int notify_send(const struct notify *notify, const char *format, ...)
{
	char text[MESSAGE_MAX];
	va_list args;
	int length;

	if (notify->fd < 0)
		return 0;
	va_start(args, format);
	length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= sizeof text)
		return -EMSGSIZE;
	if (send(notify->fd, text, (size_t)length, MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == ENOBUFS ? -EAGAIN : -errno;
}

void notify_finish(struct notify *notify)
{
	if (notify->fd >= 0)
		close(notify->fd);
	free(notify->path);
	*notify = (struct notify){.fd = -1};
}
