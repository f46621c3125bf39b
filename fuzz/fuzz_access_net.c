/*
 * fuzz_access_net.c - networks from people, and addresses from anywhere, against a naive reading:
 * IPv4 is four plain numbers, a prefix is so many equal bits. The input is the text, a NUL, and the
 * bytes of an address.
 */
#include "access/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void holds(bool condition)
{
	if (!condition)
		abort();
}

/* A plain number up to max at *p; it must not begin with a zero too many. -1: there is none. */
static long naive_number(const char **p, long max)
{
	const char *first = *p;
	long value = 0;

	while (**p >= '0' && **p <= '9' && value <= max)
		value = value * 10 + *(*p)++ - '0';
	return *p == first || value > max || (*first == '0' && *p - first > 1) ? -1 : value;
}

/* Is this IPv4 in full, with or without a prefix that leaves no host bits set? */
static bool naive_v4(const char *text)
{
	uint64_t address = 0;
	long bits = 32;

	for (int i = 0; i < 4; i++) {
		long part = naive_number(&text, 255);

		if (part < 0 || (i < 3 && *text++ != '.'))
			return false;
		address = address << 8 | (uint64_t)part;
	}
	if (*text == '/') {
		text++;
		bits = naive_number(&text, 32);
	}
	return !*text && bits >= 0 && (address & ((UINT64_C(1) << (32 - bits)) - 1)) == 0;
}

static bool bit(const uint8_t *addr, int i)
{
	return addr[i / 8] >> (7 - i % 8) & 1;
}

static bool naive_has(const struct access_net *net, const struct access_peer *peer)
{
	if (net->family != peer->family)
		return false;
	for (int i = 0; i < net->bits; i++)
		if (bit(net->addr, i) != bit(peer->addr, i))
			return false;
	return true;
}

static void check_net(const struct access_net *net, const struct access_peer *peer)
{
	int width = net->family == AF_INET ? 32 : 128;
	struct access_peer own = {.family = net->family};
	struct access_net again;
	char address[ACCESS_TEXT_MAX], text[ACCESS_TEXT_MAX + 8];

	holds(net->family == AF_INET || net->family == AF_INET6);
	holds(net->bits >= 0 && net->bits <= width);
	memcpy(own.addr, net->addr, sizeof own.addr);
	holds(access_net_has(net, &own));
	holds(access_net_has(net, peer) == naive_has(net, peer));
	if (net->bits > 0) { /* the last bit that counts does count */
		own.addr[(net->bits - 1) / 8] ^= (uint8_t)(0x80 >> ((net->bits - 1) % 8));
		holds(access_net_has(net, &own) == naive_has(net, &own));
		own.addr[(net->bits - 1) / 8] ^= (uint8_t)(0x80 >> ((net->bits - 1) % 8));
	}
	access_peer_text(&own, address);
	snprintf(text, sizeof text, "%s/%d", address, net->bits);
	holds(access_net_parse(&again, text, NULL) == 0);
	holds(again.family == net->family && again.bits == net->bits &&
	      memcmp(again.addr, net->addr, 16) == 0);
}

/* The peer as the kernel would give it; v4 in v6 clothes comes out as v4. */
static void make_peer(struct access_peer *peer, const uint8_t *bytes, size_t size)
{
	struct sockaddr_storage address = {0};
	char text[ACCESS_TEXT_MAX];

	address.ss_family = size >= 16 ? AF_INET6 : AF_INET;
	if (size >= 16)
		memcpy(&((struct sockaddr_in6 *)(void *)&address)->sin6_addr, bytes, 16);
	else if (size >= 4)
		memcpy(&((struct sockaddr_in *)(void *)&address)->sin_addr, bytes, 4);
	access_peer_from(peer, &address);
	access_peer_text(peer, text);
	holds(strlen(text) < sizeof text);
	holds(strncmp(text, "::ffff:", 7) != 0 || !strchr(text, '.'));
	holds(peer->family == (strchr(text, ':') ? AF_INET6 : AF_INET));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct access_net net = {.family = 77};
	struct access_peer peer;
	struct err err = {0};
	size_t used;
	int rc;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	used = strlen(text);
	make_peer(&peer, data + used + (used < size), size - used - (used < size));
	rc = access_net_parse(&net, text, &err);
	if (!strchr(text, ':'))
		holds((rc == 0) == naive_v4(text));
	if (rc == 0) {
		check_net(&net, &peer);
	} else {
		holds(rc == -EINVAL && err.code == rc && net.family == 77);
		holds(strstr(err.text, "expected") || strstr(err.text, "did you mean"));
	}
	free(text);
	return 0;
}
