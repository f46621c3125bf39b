/*
 * bind.h - what the files of this folder share: one function per kind of address, the look-up of
 * names, and the words for a failed bind. Nobody outside this folder includes it.
 */
#ifndef LISTEN_BIND_H
#define LISTEN_BIND_H

#include "listen/listen.h"

#include <netdb.h>
#include <sys/types.h>

/* The address as it was asked for: "tcp:*:80", "tcp:[::1]:80", "unix:/run/x". */
#define ADDRESS_WORDS_MAX (sizeof(struct address) + 16)
void address_words(const struct address *address, char out[ADDRESS_WORDS_MAX]);

/*
 * Look up host and port of a tcp address for bind (passive) or connect; host "": every address, or
 * loopback. May block on name servers. 0 and a list for freeaddrinfo(), or -errno with err:
 * -EHOSTUNREACH an unknown host, -EINVAL an unknown service, -EAGAIN name servers do not answer.
 */
int address_resolve(const struct address *address, bool passive, struct addrinfo **out,
		    struct err *err);

/* "a regular file", "a FIFO" ... for what is no socket. */
const char *file_kind_words(mode_t mode);

/* Add a copy of item. 0 or -ENOMEM. */
int listeners_add(struct listeners *listeners, const struct listener *item);

/* "text: Permission denied (what to do next)". Returns code. */
int listener_failed(struct err *err, int code, enum address_kind kind, const char *text);

/* Bind, and add what was bound to *out. On failure *out may hold some of it: the caller finishes
 * it. 0 or -errno with err. */
int tcp_listen(struct listeners *out, const struct address *address,
	       const struct listen_config *config, struct err *err);
int unix_listen(struct listeners *out, const struct address *address,
		const struct listen_config *config, struct err *err);

#endif
