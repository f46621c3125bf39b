/*
 * net.c - addresses in binary: networks from text, peers from socket addresses, and back to text.
 *
 * Happy path: "10.0.0.0/8" -> access_net_parse() -> access_net_has() compares bits, never text.
 * Failure: anything but the one plain notation is an error with words (security rule 11): octal,
 * short forms, a zone, blanks, a prefix that leaves host bits set. IPv4 in v6 clothes
 * (::ffff:a.b.c.d) is IPv4 everywhere, so that neither a rule nor a peer can hide behind it.
 */
#include "access/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define V4_BITS 32
#define V6_BITS 128
#define MAPPED_BITS 96 /* the prefix of v4-mapped addresses, ::ffff:0:0/96 */

static bool is_mapped(int family, const uint8_t addr[16])
{
	static const uint8_t prefix[MAPPED_BITS / 8] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return family == AF_INET6 && memcmp(addr, prefix, sizeof prefix) == 0;
}

/* The IPv4 address inside a mapped one moves to the front. */
static void unmap(int *family, uint8_t addr[16])
{
	*family = AF_INET;
	memmove(addr, addr + MAPPED_BITS / 8, 4);
	memset(addr + 4, 0, 12);
}

void access_peer_unmap(struct access_peer *peer)
{
	if (is_mapped(peer->family, peer->addr))
		unmap(&peer->family, peer->addr);
}

/* Clear the bits past the prefix. */
static void clear_host_bits(uint8_t addr[16], int bits)
{
	for (int i = 0; i < 16; i++) {
		int kept = bits - i * 8;

		if (kept <= 0)
			addr[i] = 0;
		else if (kept < 8)
			addr[i] &= (uint8_t)(0xff << (8 - kept));
	}
}

void access_address_cut(uint8_t out[16], const uint8_t addr[16], int bits)
{
	memcpy(out, addr, 16);
	clear_host_bits(out, bits);
}

static int refuse_host_bits(const char *text, const struct access_net *clean, struct err *err)
{
	char address[INET6_ADDRSTRLEN] = "";

	inet_ntop(clean->family, clean->addr, address, sizeof address);
	return err_set(err, -EINVAL, "%s: host bits are set, did you mean %s/%d?", text, address,
		       clean->bits);
}

static int parse_address(struct access_net *net, const char *text, size_t length, struct err *err)
{
	char address[INET6_ADDRSTRLEN], shown[VALUE_SHOW_SIZE];

	if (length < sizeof address && !text[strspn(text, "0123456789abcdefABCDEF.:/")]) {
		memcpy(address, text, length);
		address[length] = '\0';
		net->family = strchr(address, ':') ? AF_INET6 : AF_INET;
		net->bits = net->family == AF_INET6 ? V6_BITS : V4_BITS;
		if (inet_pton(net->family, address, net->addr) == 1)
			return 0;
	}
	return err_set(err, -EINVAL,
		       "%s: expected an address or a network in full, such as 192.0.2.7, "
		       "192.0.2.0/24 or 2001:db8::/32",
		       value_show(shown, text, strlen(text)));
}

int access_net_parse(struct access_net *out, const char *text, struct err *err)
{
	const char *slash = strchr(text, '/');
	struct access_net net = {0}, clean;
	long long bits;
	int rc;

	rc = parse_address(&net, text, slash ? (size_t)(slash - text) : strlen(text), err);
	if (rc < 0)
		return rc;
	if (slash) {
		if (num_parse(slash + 1, 0, net.bits, &bits) < 0)
			return err_set(err, -EINVAL,
				       "%.80s: found '%.20s' after the slash, expected a number "
				       "from 0 to %d",
				       text, slash + 1, net.bits);
		net.bits = (int)bits;
	}
	clean = net;
	clear_host_bits(clean.addr, clean.bits);
	if (memcmp(clean.addr, net.addr, sizeof net.addr) != 0)
		return refuse_host_bits(text, &clean, err);
	if (is_mapped(net.family, net.addr)) { /* 96 bits or more: fewer leave ffff as host bits */
		unmap(&net.family, net.addr);
		net.bits -= MAPPED_BITS;
	}
	*out = net;
	return 0;
}

bool access_net_has(const struct access_net *net, const struct access_peer *peer)
{
	struct access_peer plain = *peer;

	access_peer_unmap(&plain);
	if (plain.family != net->family)
		return false;
	clear_host_bits(plain.addr, net->bits);
	return memcmp(plain.addr, net->addr, net->family == AF_INET ? 4 : 16) == 0;
}

void access_peer_from(struct access_peer *peer, const struct sockaddr_storage *address)
{
	*peer = (struct access_peer){.uid = -1, .gid = -1};
	switch (address->ss_family) {
	case AF_INET: {
		const struct sockaddr_in *in = (const void *)address;

		peer->family = AF_INET;
		memcpy(peer->addr, &in->sin_addr, 4);
		break;
	}
	case AF_INET6: {
		const struct sockaddr_in6 *in6 = (const void *)address;

		peer->family = AF_INET6;
		memcpy(peer->addr, &in6->sin6_addr, 16);
		access_peer_unmap(peer);
		break;
	}
	case AF_UNIX:
		peer->family = AF_UNIX;
		break;
	default:
		break;
	}
}

/* By hand: it is done for every connection, and printf(3) takes longer than all the rest of it. */
static void text_v4(const uint8_t addr[4], char *out)
{
	for (int i = 0; i < 4; i++) {
		unsigned byte = addr[i];

		if (byte >= 100)
			*out++ = (char)('0' + byte / 100);
		if (byte >= 10)
			*out++ = (char)('0' + byte / 10 % 10);
		*out++ = (char)('0' + byte % 10);
		*out++ = i < 3 ? '.' : '\0';
	}
}

void access_peer_text(const struct access_peer *peer, char out[ACCESS_TEXT_MAX])
{
	struct access_peer plain = *peer;

	access_peer_unmap(&plain);
	if (plain.family == AF_UNIX)
		snprintf(out, ACCESS_TEXT_MAX, "127.0.0.1");
	else if (plain.family == AF_INET)
		text_v4(plain.addr, out);
	else if (!inet_ntop(plain.family, plain.addr, out, ACCESS_TEXT_MAX))
		snprintf(out, ACCESS_TEXT_MAX, "unknown");
}
