/*
 * address.c - addresses as text, both ways.
 *
 * Happy path: "tcp:[::1]:2000" -> host "::1", port "2000"; a bound or peer socket address -> the
 * same notation. Nothing is looked up here.
 * Failure modes: all are -EINVAL with words that quote what was found, name the three forms, and
 * say what is wrong. Strict, so that a typing error never binds somewhere else: no octal or short
 * IPv4 ("127.1" is 127.0.0.1 to the C library), no IPv6 without brackets, no port 00080.
 */
#include "listen/bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* How much of a wrong address is quoted: the words after it must fit too. */
#define QUOTE_MAX 200

static const char missing_port[] = "the port is missing";
static const char wrong_port[] = "a port is a number from 0 to 65535, or a service name of small "
				 "letters, digits and hyphens";
static const char wrong_v4[] =
    "an IPv4 address is four numbers from 0 to 255 without leading zeros";
static const char wrong_v6[] = "between the brackets stands an IPv6 address: [::1], [fe80::1%eth0]";
static const char wrong_name[] = "a host name is letters, digits, hyphens and dots";
static const char bare_v6[] = "an IPv6 address stands in brackets: tcp:[::1]:80";
static const char long_path[] = "the path of a Unix socket has at most 107 bytes";

_Static_assert(sizeof((struct address){0}.path) == 108, "the limit in long_path");
_Static_assert(sizeof((struct sockaddr_un){0}.sun_path) >= sizeof((struct address){0}.path),
	       "a path that was accepted can be bound");

/* The functions named *_wrong and *_fill return what is wrong, or NULL. */

static bool consists_of(const char *text, const char *set)
{
	return *text && !text[strspn(text, set)];
}

static const char *port_wrong(const char *port)
{
	long long number;

	if (!*port)
		return missing_port;
	if (consists_of(port, DIGITS))
		return num_parse(port, 0, 65535, &number) < 0 ? wrong_port : NULL;
	if (!consists_of(port, LOWER DIGITS "-") || !strpbrk(port, LOWER))
		return wrong_port;
	return NULL;
}

static const char *v6_wrong(const char *host)
{
	char bare[INET6_ADDRSTRLEN];
	size_t len = strcspn(host, "%");
	struct in6_addr addr;

	if (len >= sizeof bare)
		return wrong_v6;
	memcpy(bare, host, len);
	bare[len] = '\0';
	if (inet_pton(AF_INET6, bare, &addr) != 1)
		return wrong_v6;
	if (!host[len])
		return NULL;
	/* A zone: the name or number of an interface. */
	if (!consists_of(host + len + 1, LOWER UPPER DIGITS "-_.") ||
	    strlen(host + len + 1) >= IF_NAMESIZE)
		return wrong_v6;
	return NULL;
}

/* The C library takes a host whose last label looks like a number for an address in one of the old
 * notations: "127.1", "2130706433", "0x7f.1". */
static bool ends_in_number(const char *host)
{
	const char *dot = strrchr(host, '.');
	const char *last = dot ? dot + 1 : host;

	if (last[0] == '0' && (last[1] == 'x' || last[1] == 'X'))
		return !last[2] || consists_of(last + 2, DIGITS "abcdefABCDEF");
	return consists_of(last, DIGITS);
}

static const char *name_wrong(const char *host)
{
	struct in_addr addr;

	if (!*host)
		return NULL;
	if (ends_in_number(host))
		return inet_pton(AF_INET, host, &addr) == 1 ? NULL : wrong_v4;
	if (!consists_of(host, LOWER UPPER DIGITS "-_.") || *host == '-' || *host == '.' ||
	    strstr(host, ".."))
		return wrong_name;
	return NULL;
}

static const char *copy(char *out, size_t size, const char *text, size_t len, const char *too_long)
{
	if (len >= size)
		return too_long;
	memcpy(out, text, len);
	out[len] = '\0';
	return NULL;
}

/* host is len bytes; port is the rest. */
static const char *host_fill(struct address *out, const char *host, size_t len, const char *port,
			     const char *(*host_wrong)(const char *))
{
	const char *wrong;

	if (len == 1 && *host == '*')
		len = 0;
	wrong = copy(out->host, sizeof out->host, host, len, "the host name is too long");
	if (!wrong)
		wrong = host_wrong(out->host);
	if (!wrong)
		wrong = copy(out->port, sizeof out->port, port, strlen(port), wrong_port);
	return wrong ? wrong : port_wrong(out->port);
}

static const char *tcp_fill(struct address *out, const char *text)
{
	const char *end;

	if (*text == '[') {
		end = strchr(text, ']');
		if (!end)
			return "a bracket is not closed";
		if (end[1] != ':')
			return missing_port;
		return host_fill(out, text + 1, (size_t)(end - text - 1), end + 2, v6_wrong);
	}
	end = strrchr(text, ':');
	if (!end)
		return missing_port;
	if (strchr(text, ':') != end)
		return bare_v6;
	return host_fill(out, text, (size_t)(end - text), end + 1, name_wrong);
}

static const char *unix_fill(struct address *out, const char *text)
{
	if (!*text)
		return "the path is missing";
	return copy(out->path, sizeof out->path, text, strlen(text), long_path);
}

int address_parse(struct address *out, const char *text, struct err *err)
{
	struct address address = {0};
	const char *wrong = "";

	if (strncmp(text, "tcp:", 4) == 0) {
		address.kind = ADDRESS_TCP;
		wrong = tcp_fill(&address, text + 4);
	} else if (strncmp(text, "unix:", 5) == 0) {
		address.kind = ADDRESS_UNIX;
		wrong = unix_fill(&address, text + 5);
	}
	if (wrong)
		return err_set(err, -EINVAL,
			       "found '%.*s%s', expected tcp:HOST:PORT, tcp:[V6]:PORT or unix:PATH"
			       "%s%s%s",
			       QUOTE_MAX, text, strlen(text) > QUOTE_MAX ? "..." : "",
			       *wrong ? " (" : "", wrong, *wrong ? ")" : "");
	*out = address;
	return 0;
}

void address_words(const struct address *address, char out[ADDRESS_WORDS_MAX])
{
	bool v6 = strchr(address->host, ':') != NULL;

	if (address->kind == ADDRESS_UNIX)
		snprintf(out, ADDRESS_WORDS_MAX, "unix:%s", address->path);
	else
		snprintf(out, ADDRESS_WORDS_MAX, "tcp:%s%s%s:%s", v6 ? "[" : "",
			 *address->host ? address->host : "*", v6 ? "]" : "", address->port);
}

/* ------------------------------------------------------------------------ socket address to text
 */

static void v4_text(const void *addr, in_port_t port, char out[ADDRESS_TEXT_MAX])
{
	char host[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, addr, host, sizeof host);
	snprintf(out, ADDRESS_TEXT_MAX, "tcp:%s:%u", host, ntohs(port));
}

static void v6_text(const struct sockaddr_in6 *sa, char out[ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];
	char zone[IF_NAMESIZE + 1] = "";

	/* An IPv4 client of a dual-stack listener: people know it as IPv4. */
	if (IN6_IS_ADDR_V4MAPPED(&sa->sin6_addr)) {
		v4_text(&sa->sin6_addr.s6_addr[12], sa->sin6_port, out);
		return;
	}
	inet_ntop(AF_INET6, &sa->sin6_addr, host, sizeof host);
	if (sa->sin6_scope_id) {
		zone[0] = '%';
		if (!if_indextoname(sa->sin6_scope_id, zone + 1))
			snprintf(zone, sizeof zone, "%%%u", (unsigned)sa->sin6_scope_id);
	}
	snprintf(out, ADDRESS_TEXT_MAX, "tcp:[%s%s]:%u", host, zone, ntohs(sa->sin6_port));
}

/* Unnamed sockets (most clients) are "unix:"; names without a file, as Linux has them, start with
 * an @ in the way the system's tools show them. */
static void unix_text(const struct sockaddr_un *sa, socklen_t size, char out[ADDRESS_TEXT_MAX])
{
	size_t start = offsetof(struct sockaddr_un, sun_path);
	size_t len = size > start ? size - start : 0;
	char path[sizeof sa->sun_path + 1];

	if (len > sizeof sa->sun_path)
		len = sizeof sa->sun_path;
	memcpy(path, sa->sun_path, len);
	path[len] = '\0';
	if (len > 0 && !path[0])
		path[0] = '@';
	snprintf(out, ADDRESS_TEXT_MAX, "unix:%s", len > 1 ? path : "");
}

void address_text(const struct sockaddr_storage *sa, socklen_t size, char out[ADDRESS_TEXT_MAX])
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	if (size >= sizeof *v4 && sa->ss_family == AF_INET)
		v4_text(&v4->sin_addr, v4->sin_port, out);
	else if (size >= sizeof *v6 && sa->ss_family == AF_INET6)
		v6_text(v6, out);
	else if (size >= sizeof sa->ss_family && sa->ss_family == AF_UNIX)
		unix_text((const void *)sa, size, out);
	else
		snprintf(out, ADDRESS_TEXT_MAX, "unknown");
}
