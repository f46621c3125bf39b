/*
 * handover.c - what passes between the master of several services, their processes, and the service
 * manager: command lines, listening sockets, the news that one or the other has begun or ended.
 *
 * The master uses nothing of the library but its public header, so it speaks the protocol of
 * sd_notify(3) itself: one datagram. Failure: a manager that cannot be reached is no reason to
 * stop.
 */
#include "services.h"

#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define FD_FIRST 3     /* of LISTEN_FDS */
#define FD_COUNT 65536 /* how many are looked at where the kernel cannot do it at once */
#define RETRY_MS 100   /* when the manager's socket was full */

/* Tells the new process which descriptor is its end of the life pipe. */
static const char life_variable[] = "NETDAEMON_LIFE_FD";

/* And how the process before it died. */
static const char news_variable[] = "NETDAEMON_NEWS";

/* --------------------------------------------------------------------------------- command line */

char *handover_word(const char *text)
{
	char *word;

	memcpy(&word, &text, sizeof word);
	return word;
}

char **handover_argv(const struct services *services, const char *file, int index,
		     const char *const *more, int *argc)
{
	const char *name = netd_sections_name(services->sections, index);
	const char *ours[] = {file, services->path, "--section", name};
	char **argv;
	int count = 0, words = 0;

	while (more[words])
		words++;
	argv = calloc((size_t)services->argc + sizeof ours / sizeof *ours + (size_t)words + 1,
		      sizeof *argv);
	if (!argv)
		return NULL;
	for (int i = 0; i < services->argc; i++)
		argv[count++] = services->argv[i];
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		argv[count++] = handover_word(ours[i]);
	for (int i = 0; i < words; i++)
		argv[count++] = handover_word(more[i]);
	*argc = count;
	return argv;
}

/* ------------------------------------------------------------------------------------ to a child
 */

/* Does the service take listeners that were handed down? */
static bool takes_listeners(const struct services *services, int index)
{
	const char *address;

	for (int i = 0; (address = netd_sections_get(services->sections, index, "bind", i)); i++)
		if (strncmp(address, "fd:", 3) == 0)
			return true;
	return false;
}

/* A number from the environment; 0: there is none. */
static long long number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoll(text, NULL, 10) : 0;
}

/* Nothing that was open at the start is for this service. */
static void forget_descriptors(void)
{
	if (syscall(SYS_close_range, FD_FIRST, ~0U, CLOSE_RANGE_CLOEXEC) < 0) /* an older kernel */
		for (int fd = FD_FIRST; fd < FD_FIRST + FD_COUNT; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

void handover_environment(const struct services *services, int index, pid_t master)
{
	char pid[24];

	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (!takes_listeners(services, index)) {
		forget_descriptors();
		return;
	}
	if (number_of("LISTEN_PID") != master)
		return; /* not ours to hand on */
	snprintf(pid, sizeof pid, "%lld", (long long)getpid());
	setenv("LISTEN_PID", pid, 1);
}

/*
 * A signal of the parent's death (PR_SET_PDEATHSIG) would be lost when the service changes its
 * user; this one is not, and outlives exec. Only this process gets it, none that it forks.
 */
void handover_life(int fd)
{
	struct pollfd end = {.fd = fd};

	char number[16];

	snprintf(number, sizeof number, "%d", fd);
	setenv(life_variable, number, 1);
	fcntl(fd, F_SETFD, 0);
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETSIG, SIGTERM);
	fcntl(fd, F_SETFL, O_ASYNC);
	if (poll(&end, 1, 0) > 0) /* hung up, before anybody could have told us */
		_exit(1);
}

void handover_news(const char *news)
{
	if (*news)
		setenv(news_variable, news, 1);
	else
		unsetenv(news_variable);
}

void handover_tell_news(struct netd_server *server)
{
	const char *news = getenv(news_variable);

	if (news)
		netd_server_log(server, NETD_WARNING, "%s", news);
	unsetenv(news_variable);
}

void handover_taken(void)
{
	long long fd = number_of(life_variable);

	if (fd >= FD_FIRST && fd <= INT_MAX)
		fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	unsetenv(life_variable);
}

/* ------------------------------------------------------------------------- to the service manager
 */

/* The address that NOTIFY_SOCKET names: a path or @name. 0: it is none. */
static socklen_t read_address(struct sockaddr_un *address, const char *path)
{
	size_t length = strlen(path);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (length < 2 || length >= sizeof address->sun_path || (*path != '/' && *path != '@'))
		return 0;
	memcpy(address->sun_path, path, length);
	if (*path == '@')
		address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

void manager_open(struct manager *manager)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t size = path && *path ? read_address(&address, path) : 0;
	bool ours = !getenv("WATCHDOG_PID") || number_of("WATCHDOG_PID") == getpid();

	*manager = (struct manager){.fd = -1, .next = NETD_NEVER};
	if (!size && path && *path)
		fprintf(stderr, "netdaemon: NOTIFY_SOCKET: no service manager is told anything: "
				"expected /PATH or @NAME\n");
	if (!size)
		return;
	manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (manager->fd >= 0 && connect(manager->fd, (const struct sockaddr *)&address, size) < 0) {
		fprintf(stderr,
			"netdaemon: NOTIFY_SOCKET: no service manager is told anything: %s\n",
			strerror(errno));
		close(manager->fd);
		manager->fd = -1;
	}
	if (manager->fd >= 0 && ours && number_of("WATCHDOG_USEC") > 0)
		manager->period_ms =
		    number_of("WATCHDOG_USEC") / 2000; /* twice in the time given */
	if (manager->period_ms > 0)
		manager->next = netd_now();
}

/* False: its socket is full, which will pass. */
static bool told(const struct manager *manager, const char *words)
{
	return manager->fd < 0 || send(manager->fd, words, strlen(words), MSG_NOSIGNAL) >= 0 ||
	       (errno != EAGAIN && errno != ENOBUFS);
}

void manager_tell(struct manager *manager, const char *words)
{
	manager->unsent = told(manager, words) ? NULL : words;
}

int64_t manager_alive(struct manager *manager)
{
	int64_t now = netd_now();

	if (manager->unsent)
		manager_tell(manager, manager->unsent);
	if (now >= manager->next) {
		told(manager, "WATCHDOG=1");
		manager->next = now + manager->period_ms;
	}
	return manager->unsent && now + RETRY_MS < manager->next ? now + RETRY_MS : manager->next;
}
