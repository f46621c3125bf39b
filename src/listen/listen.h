/*
 * listen.h - where connections come from: addresses as text, and the sockets bound to them.
 *
 * Happy path: address_parse() -> listener_open() for each -> the accept loop polls listener->fd.
 * Everything is bound before anything is served, or nothing stays bound.
 */
#ifndef LISTEN_LISTEN_H
#define LISTEN_LISTEN_H

#include "base/base.h"

#include <sys/socket.h>

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX };

/* "tcp:HOST:PORT", "tcp:[V6]:PORT", "tcp:*:PORT", "unix:PATH". */
struct address {
	enum address_kind kind;
	char host[256]; /* tcp: "" means every address, IPv4 and IPv6 */
	char port[32];  /* tcp: number or service name */
	char path[108]; /* unix */
};

/* 0, or -EINVAL with err: found, expected. */
int address_parse(struct address *out, const char *text, struct err *err);

/* "tcp:127.0.0.1:2000", "tcp:[::1]:2000", "unix:/run/x" of a socket address. */
#define ADDRESS_TEXT_MAX 128
void address_text(const struct sockaddr_storage *sa, socklen_t size, char out[ADDRESS_TEXT_MAX]);

/* How to bind. */
struct listen_config {
	int backlog;
	unsigned mode;    /* unix: permission bits */
	int64_t uid, gid; /* unix: owner; -1: leave */
};

struct listener {
	int fd; /* non-blocking, close-on-exec; -1: closed */
	enum address_kind kind;
	char text[ADDRESS_TEXT_MAX]; /* as really bound (port 0 resolved) */
	char path[108];              /* unix: the path to remove; "": nothing to remove */
	uint64_t dev, ino;           /* unix: the file we made, so that only ours is removed */
	bool inherited;              /* handed down: see inherit.h */
	int number;                  /* inherited: the descriptor it came as */
};

struct listeners {
	struct listener *items;
	size_t count;
};

/*
 * Bind one address and add its listeners (a host may have several addresses; every one is bound:
 * wildcard makes one dual-stack listener, or one IPv4 listener where IPv6 is off). tcp: REUSEADDR,
 * NODELAY (inherited by what is accepted). unix (security rule 8): made under a umask, mode and
 * owner as configured; a stale socket is removed only if it is a socket, ours (or we are root), and
 * nobody answers. Returns 0, or -errno with err "tcp:*:80: Permission denied (ports below 1024
 * need root or CAP_NET_BIND_SERVICE)": words that say what to do next; listeners unchanged then.
 */
int listener_open(struct listeners *listeners, const struct address *address,
		  const struct listen_config *config, struct err *err);

/* Close the descriptors only (a child process). */
void listeners_close(struct listeners *listeners);

/* Close all and remove Unix sockets we made (the process that made them, at its end). */
void listeners_finish(struct listeners *listeners);

/* Connect: used by netd_dial() and the test kit. address as above; host "" means loopback. Returns
 * a non-blocking connected descriptor or -errno. wait: called to wait for writability. */
struct connector {
	int (*wait_writable)(int fd, int64_t deadline); /* 0, -ETIMEDOUT, -ECANCELED ... */
};
int address_connect(const struct address *address, const struct connector *connector,
		    int64_t deadline, struct err *err);

#endif
