/*
 * resolve.c - host and port of a tcp address become socket addresses.
 *
 * Happy path: one getaddrinfo() call; numeric hosts and ports ask nobody.
 * Failure modes: the look-up's own error codes, turned into an errno and words that name the part
 * that is wrong. The call may block as long as the system's resolver does.
 */
#include "listen/bind.h"

#include <errno.h>
#include <string.h>

static int resolve_failed(struct err *err, int gai, int saved, const struct address *address)
{
	const char *host = *address->host ? address->host : "*";

	switch (gai) {
	case EAI_SERVICE:
		return err_set(err, -EINVAL, "unknown service '%s' (see /etc/services)",
			       address->port);
	case EAI_AGAIN:
		return err_set(err, -EAGAIN, "host '%s': name servers do not answer", host);
	case EAI_MEMORY:
		return err_sys(err, -ENOMEM, "host '%s'", host);
	case EAI_SYSTEM:
		return err_sys(err, saved ? -saved : -EIO, "host '%s'", host);
	case EAI_NONAME:
		return err_set(err, -EHOSTUNREACH, "unknown host%s '%s'",
			       strchr(host, '%') ? " or interface" : "", host);
	default:
		return err_set(err, -EHOSTUNREACH, "host '%s': %s", host, gai_strerror(gai));
	}
}

int address_resolve(const struct address *address, bool passive, struct addrinfo **out,
		    struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
	struct addrinfo *list = NULL;
	char words[ADDRESS_WORDS_MAX];
	int gai;
	int saved;

	errno = 0;
	gai = getaddrinfo(*address->host ? address->host : NULL, address->port, &hints, &list);
	if (gai) {
		saved = errno;
		address_words(address, words);
		resolve_failed(err, gai, saved, address);
		err_prefix(err, "%s: ", words);
		return resolve_failed(NULL, gai, saved, address);
	}
	*out = list;
	return 0;
}
