/*
 * tcp.c - listening on tcp addresses.
 *
 * Happy path: no host -> one IPv6 socket that takes IPv4 too, or one IPv4 socket where IPv6 is off.
 * A host -> one socket for each of its addresses, all on the same port, IPv6 ones for IPv6 only.
 * Failure modes: one address that cannot be bound fails the whole call, with words that name it;
 * only IPv6 addresses of a machine without IPv6 are passed over, as long as another address is
 * left. With port 0 a port that somebody else has on the next address is tried again.
 */
#include "listen/bind.h"
#include "os/os.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BIND_TRIES 6
#define BIND_PAUSE_MS 10

/* How often another port is tried when the system's choice is taken on a second address. */
#define FREE_PORT_TRIES 16

/* One address on its way to become a listener. */
struct target {
	struct sockaddr_storage sa;
	socklen_t size;
	bool dual;    /* IPv6 socket that takes IPv4 as well */
	bool patient; /* the port must be this one: wait for it a moment */
};

static bool port_is_fixed(const struct address *address)
{
	return strcmp(address->port, "0") != 0;
}

static in_port_t *port_of(struct sockaddr_storage *sa)
{
	if (sa->ss_family == AF_INET6)
		return &((struct sockaddr_in6 *)(void *)sa)->sin6_port;
	return &((struct sockaddr_in *)(void *)sa)->sin_port;
}

/* NODELAY and KEEPALIVE pass on to what is accepted. */
static int set_options(int fd, const struct target *target)
{
	const struct {
		int level, name, value;
		bool wanted;
	} options[] = {
	    {SOL_SOCKET, SO_REUSEADDR, 1, true},
	    {SOL_SOCKET, SO_KEEPALIVE, 1, true},
	    {IPPROTO_TCP, TCP_NODELAY, 1, true},
	    {IPPROTO_IPV6, IPV6_V6ONLY, !target->dual, target->sa.ss_family == AF_INET6},
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].wanted && setsockopt(fd, options[i].level, options[i].name,
						    &options[i].value, sizeof(int)) < 0)
			return -errno;
	return os_set_nonblocking(fd, true);
}

/*
 * A server that was killed while the kernel still had requests of its ring gives its port back some
 * milliseconds later: whoever takes its place at once waits for that.
 */
static int bind_patiently(int fd, const struct target *target)
{
	const struct timespec pause = {.tv_nsec = BIND_PAUSE_MS * 1000000L};

	for (int tries = target->patient ? BIND_TRIES : 1;; nanosleep(&pause, NULL)) {
		if (bind(fd, (const void *)&target->sa, target->size) == 0)
			return 0;
		if (errno != EADDRINUSE || --tries == 0)
			return -errno;
	}
}

/* Bind and listen; the port that was chosen stands in target->sa after it. */
static int open_target(struct target *target, int backlog)
{
	int fd = os_socket(target->sa.ss_family, SOCK_STREAM, 0);
	int rc;

	if (fd < 0)
		return fd;
	rc = set_options(fd, target);
	if (rc < 0)
		goto fail;
	rc = bind_patiently(fd, target);
	if (rc < 0)
		goto fail;
	if (listen(fd, backlog) < 0 ||
	    getsockname(fd, (struct sockaddr *)&target->sa, &target->size) < 0) {
		rc = -errno;
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return rc;
}

static int add_target(struct listeners *out, struct target *target, int backlog)
{
	struct listener listener = {.kind = ADDRESS_TCP};
	int rc;

	listener.fd = open_target(target, backlog);
	if (listener.fd < 0)
		return listener.fd;
	if (target->dual)
		snprintf(listener.text, sizeof listener.text, "tcp:*:%u",
			 ntohs(*port_of(&target->sa)));
	else
		address_text(&target->sa, target->size, listener.text);
	rc = listeners_add(out, &listener);
	if (rc < 0)
		close(listener.fd);
	return rc;
}

/* Does this failure mean that the machine has no IPv6, and not that something is wrong? */
static bool ipv6_is_off(const struct target *target, int code)
{
	const struct sockaddr_in6 *v6 = (const void *)&target->sa;

	if (target->sa.ss_family != AF_INET6)
		return false;
	if (code == -EAFNOSUPPORT)
		return true;
	return code == -EADDRNOTAVAIL &&
	       (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr));
}

static int open_wildcard(struct listeners *out, const struct address *address,
			 const struct addrinfo *list, int backlog, struct err *err)
{
	struct target target = {
	    .size = sizeof(struct sockaddr_in6), .dual = true, .patient = port_is_fixed(address)};
	char words[ADDRESS_WORDS_MAX];
	in_port_t port;
	int rc;

	memcpy(&target.sa, list->ai_addr, list->ai_addrlen);
	port = *port_of(&target.sa);
	memset(&target.sa, 0, sizeof target.sa);
	target.sa.ss_family = AF_INET6;
	*port_of(&target.sa) = port;
	rc = add_target(out, &target, backlog);
	if (rc < 0 && ipv6_is_off(&target, rc)) {
		target.sa.ss_family = AF_INET; /* all zero: any address; the port stays in place */
		target.size = sizeof(struct sockaddr_in);
		target.dual = false;
		rc = add_target(out, &target, backlog);
	}
	if (rc == 0)
		return 0;
	address_words(address, words);
	return listener_failed(err, rc, ADDRESS_TCP, words);
}

/* Some resolvers give an address once for each line of /etc/hosts that has it. */
static bool is_repeated(const struct addrinfo *list, const struct addrinfo *item)
{
	for (; list != item; list = list->ai_next)
		if (list->ai_addrlen == item->ai_addrlen &&
		    memcmp(list->ai_addr, item->ai_addr, item->ai_addrlen) == 0)
			return true;
	return false;
}

static int open_each(struct listeners *out, const struct addrinfo *list, bool patient, int backlog,
		     struct err *err)
{
	struct target target;
	in_port_t port = 0;
	char text[ADDRESS_TEXT_MAX];
	int skipped = 0;
	int rc;

	for (const struct addrinfo *item = list; item; item = item->ai_next) {
		if (is_repeated(list, item))
			continue;
		target = (struct target){.size = item->ai_addrlen, .patient = patient};
		memcpy(&target.sa, item->ai_addr, item->ai_addrlen);
		if (port)
			*port_of(&target.sa) = port;
		address_text(&target.sa, target.size, text);
		rc = add_target(out, &target, backlog);
		if (rc < 0) {
			listener_failed(err, rc, ADDRESS_TCP, text);
			if (!ipv6_is_off(&target, rc))
				return rc;
			skipped = rc;
			continue;
		}
		port = *port_of(&target.sa);
	}
	return out->count ? 0 : skipped;
}

int tcp_listen(struct listeners *out, const struct address *address,
	       const struct listen_config *config, struct err *err)
{
	struct addrinfo *list = NULL;
	int rc = address_resolve(address, true, &list, err);

	if (rc < 0)
		return rc;
	for (int tries = 0; tries < FREE_PORT_TRIES; tries++) {
		if (*address->host)
			rc = open_each(out, list, port_is_fixed(address), config->backlog, err);
		else
			rc = open_wildcard(out, address, list, config->backlog, err);
		if (rc != -EADDRINUSE || port_is_fixed(address))
			break;
		listeners_finish(out);
	}
	freeaddrinfo(list);
	return rc;
}
