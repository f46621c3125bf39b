/*
 * inherit.c - listening sockets that were handed down, by systemd's protocol or by number.
 *
 * Happy path: LISTEN_PID is us, LISTEN_FDS says how many there are from descriptor 3 on; each is a
 * listening stream socket.
 * Failure modes: what is written in the variables comes from outside, so every doubt is an error
 * that names the variable or the descriptor and what was found. Variables that were meant for
 * another process (a shell in between) are left alone, as the protocol has it, and told of. A
 * socket that was handed down is never shut down, and its file never removed: they are the giver's.
 * O_NONBLOCK belongs to the socket, not to the descriptor: the giver sees it set as well.
 */
#include "listen/inherit.h"

#include "listen/bind.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_FD 3     /* of the protocol */
#define COUNT_MAX 1024 /* addresses one service may have: more is a mistake */
#define NUMBER_MAX 1000000
#define QUOTE_MAX 100 /* how much of a wrong value is quoted */

static const char *const variables[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};

/* ---------------------------------------------------------------------------- the variables */

/* A wrong value, which is anybody's bytes: the caller of the server shows it escaped. */
static int wrong(struct err *err, const char *name, const char *found, const char *expected)
{
	return err_set(err, -EINVAL, "%s: found '%.*s', expected %s", name, QUOTE_MAX, found,
		       expected);
}

static int add(struct inherited *inherited, int fd, const char *name, size_t length)
{
	struct inherited_fd *items =
	    realloc(inherited->items, (inherited->count + 1) * sizeof *items);
	struct inherited_fd *item;

	if (!items)
		return -ENOMEM;
	inherited->items = items;
	item = &items[inherited->count++];
	*item = (struct inherited_fd){.fd = fd};
	memcpy(item->name, name, length);
	return 0;
}

static bool name_is_good(const char *name, size_t length)
{
	if (length >= INHERITED_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] < 0x20 || name[i] > 0x7e)
			return false;
	return true;
}

/* names: as in the variable; NULL: none have names. */
static int add_all(struct inherited *inherited, long long count, const char *names, struct err *err)
{
	static const char expected[] =
	    "a name for each descriptor, of printable characters, with colons between";
	const char *name = names ? names : "";

	for (int i = 0; i < count; i++) {
		size_t length = strcspn(name, ":");

		if (!name_is_good(name, length))
			return wrong(err, "LISTEN_FDNAMES", names, expected);
		if (add(inherited, FIRST_FD + i, name, length) < 0)
			return err_sys(err, -ENOMEM, "LISTEN_FDS");
		os_set_cloexec(FIRST_FD + i, true); /* one that is not open is found later */
		name += length;
		if (names && (*name == ':') != (i + 1 < count))
			return wrong(err, "LISTEN_FDNAMES", names, expected);
		name += *name == ':';
	}
	return 0;
}

static int read_variables(struct inherited *inherited, struct err *err)
{
	const char *pid_text = getenv(variables[0]);
	const char *count_text = getenv(variables[1]);
	long long pid, count;

	if (!pid_text || !count_text)
		return 0;
	if (num_parse(pid_text, 1, INT32_MAX, &pid) < 0)
		return wrong(err, variables[0], pid_text, "the number of a process");
	if (pid != getpid()) {
		inherited->other = pid;
		return 0;
	}
	if (num_parse(count_text, 0, COUNT_MAX, &count) < 0)
		return wrong(err, variables[1], count_text, "a number of sockets from 0 to 1024");
	return add_all(inherited, count, getenv(variables[2]), err);
}

int inherited_take(struct inherited *inherited, struct err *err)
{
	int rc = read_variables(inherited, err);

	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		unsetenv(variables[i]);
	return rc;
}

/* ---------------------------------------------------------------------------- what is wanted */

static int want_number(struct inherited *inherited, long long fd, struct err *err)
{
	inherited->chosen = true;
	for (size_t i = 0; i < inherited->count; i++) {
		struct inherited_fd *item = &inherited->items[i];

		if (item->fd != fd)
			continue;
		if (item->wanted)
			return err_set(err, -EINVAL, "fd:%lld is given twice", fd);
		item->wanted = true;
		return 0;
	}
	if (add(inherited, (int)fd, "", 0) < 0)
		return err_sys(err, -ENOMEM, "fd:%lld", fd);
	inherited->items[inherited->count - 1].wanted = true;
	return 0;
}

int inherited_want(struct inherited *inherited, const char *text, struct err *err)
{
	size_t found = 0;
	long long fd;

	if (*text && strspn(text, "0123456789") == strlen(text)) {
		if (num_parse(text, 0, NUMBER_MAX, &fd) == 0 && fd != STDOUT_FILENO &&
		    fd != STDERR_FILENO)
			return want_number(inherited, fd, err);
		return err_set(err, -EINVAL,
			       "found 'fd:%.*s', expected 0 or a descriptor from 3 up", QUOTE_MAX,
			       text);
	}
	for (size_t i = 0; *text && i < inherited->count; i++)
		if (strcmp(inherited->items[i].name, text) == 0) {
			inherited->items[i].wanted = true;
			found++;
		}
	if (!found)
		return err_set(err, -ENOENT,
			       "found 'fd:%.*s', expected the number of a descriptor, or a name "
			       "that LISTEN_FDNAMES gives",
			       QUOTE_MAX, text);
	inherited->chosen = true;
	return 0;
}

/* ---------------------------------------------------------------------------- what they are */

static const char *socket_wrong(int fd, sa_family_t family)
{
	struct sockaddr_storage peer;
	socklen_t peer_size = sizeof peer;
	int type = 0, listens = 0;
	socklen_t size = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
		return type == SOCK_DGRAM ? "a datagram socket" : "a socket that is no stream";
	if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
		return "a socket that is neither TCP nor Unix";
	size = sizeof listens;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens)
		return NULL;
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0)
		return "a connected socket";
	return "a socket that does not listen";
}

/* NULL: a listening stream socket, bound to *sa. */
static const char *what_is_wrong(int fd, struct sockaddr_storage *sa, socklen_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return "nothing open";
	if (!S_ISSOCK(st.st_mode))
		return file_kind_words(st.st_mode);
	if (getsockname(fd, (struct sockaddr *)sa, size) < 0)
		return "a socket without an address";
	return socket_wrong(fd, sa->ss_family);
}

/* An IPv6 socket for every address that takes IPv4 as well is written as one of ours is. */
static bool is_dual(int fd, const struct sockaddr_storage *sa)
{
	const struct sockaddr_in6 *v6 = (const void *)sa;
	int only = 1;
	socklen_t size = sizeof only;

	return sa->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) &&
	       getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) == 0 && !only;
}

static int make_listener(struct listener *out, const struct inherited_fd *item, struct err *err)
{
	struct sockaddr_storage sa = {0};
	socklen_t size = sizeof sa;
	const char *found = what_is_wrong(item->fd, &sa, &size);
	bool named = *item->name;
	const struct sockaddr_in6 *v6 = (const void *)&sa;

	if (found && strcmp(found, "a connected socket") == 0)
		return err_set(
		    err, -EINVAL,
		    "descriptor %d%s%s%s is a connected socket: set Accept=no (a program "
		    "for one connection is started by Accept=yes, not a server)",
		    item->fd, named ? " (" : "", item->name, named ? ")" : "");
	if (found)
		return err_set(err, -EINVAL,
			       "descriptor %d%s%s%s: found %s, expected a listening stream socket",
			       item->fd, named ? " (" : "", item->name, named ? ")" : "", found);
	*out = (struct listener){
	    .fd = item->fd,
	    .kind = sa.ss_family == AF_UNIX ? ADDRESS_UNIX : ADDRESS_TCP,
	    .inherited = true,
	    .number = item->fd,
	};
	if (is_dual(item->fd, &sa))
		snprintf(out->text, sizeof out->text, "tcp:*:%u", ntohs(v6->sin6_port));
	else
		address_text(&sa, size, out->text);
	return 0;
}

int inherited_check(struct inherited *inherited, struct listeners *out, struct strlist *warnings,
		    struct err *err)
{
	struct listener listener;
	int rc = 0;

	for (size_t i = 0; i < inherited->count; i++) {
		struct inherited_fd *item = &inherited->items[i];

		if (inherited->chosen && !item->wanted) {
			if (warnings)
				strlist_addf(warnings,
					     "descriptor %d (%s) is not used: no --bind names it",
					     item->fd, item->name);
			close(item->fd);
			item->fd = -1;
			continue;
		}
		rc = make_listener(&listener, item, err);
		if (rc < 0)
			return rc;
		if (listeners_add(out, &listener) < 0)
			return err_sys(err, -ENOMEM, "listeners");
		item->fd = -1; /* the list's now */
	}
	return 0;
}

/* ---------------------------------------------------------------------------- making them ours */

/* Not among 0, 1 and 2, where every library reads and writes: /dev/null takes the place. */
static int move_up(struct listener *listener)
{
	int fd, null;

	if (listener->fd > STDERR_FILENO)
		return 0;
	fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, FIRST_FD);
	if (fd < 0)
		return -errno;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, listener->fd) < 0) {
		int rc = -errno;

		close(fd);
		if (null >= 0)
			close(null);
		return rc;
	}
	close(null);
	listener->fd = fd;
	return 0;
}

/* As the listeners that we bind ourselves have it; passes on to what is accepted. */
static int set_options(const struct listener *listener)
{
	int yes = 1;
	int rc = os_set_cloexec(listener->fd, true);

	if (rc == 0)
		rc = os_set_nonblocking(listener->fd, true);
	if (rc < 0 || listener->kind != ADDRESS_TCP)
		return rc;
	if (setsockopt(listener->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes) < 0 ||
	    setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
		return -errno;
	return 0;
}

int inherited_adopt(struct listeners *to, struct listeners *from, struct err *err)
{
	struct listener *items = NULL;
	int rc = 0;

	if (from->count == 0)
		return 0;
	for (size_t i = 0; rc == 0 && i < from->count; i++) {
		rc = move_up(&from->items[i]);
		if (rc == 0)
			rc = set_options(&from->items[i]);
		if (rc < 0)
			return err_sys(err, rc, "descriptor %d (%s)", from->items[i].number,
				       from->items[i].text);
	}
	items = realloc(from->items, (from->count + to->count) * sizeof *items);
	if (!items)
		return err_sys(err, -ENOMEM, "listeners");
	if (to->count)
		memcpy(items + from->count, to->items, to->count * sizeof *items);
	free(to->items);
	*to = (struct listeners){.items = items, .count = from->count + to->count};
	*from = (struct listeners){0};
	return 0;
}

void inherited_finish(struct inherited *inherited)
{
	free(inherited->items);
	*inherited = (struct inherited){0};
}
