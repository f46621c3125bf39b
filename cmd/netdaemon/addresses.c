/*
 * addresses.c - do two services of one file want the same address? Told with both names before
 * anything is started: when the second one cannot bind, the system only says that "somebody" has
 * the address, who is stopped a moment later.
 *
 * Happy path: every fixed address differs. Failure: the same text for two services, one line for
 * the later one. Two texts for one address (a name and its number) are left to the start.
 */
#include "services.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_BYTES (PATH_MAX + 16)

/* The address of this number as --bind has it: 0 is that of localpath or localport, the others are
 * those of bind. "": there is none. False: past the last one. */
static bool address_of(const struct services *services, int index, int number,
		       char text[ADDRESS_BYTES])
{
	const char *path = netd_sections_get(services->sections, index, "localpath", 0);
	const char *host = netd_sections_get(services->sections, index, "localaddr", 0);
	const char *port = netd_sections_get(services->sections, index, "localport", 0);
	const char *bind;

	*text = '\0';
	if (number > 0) {
		bind = netd_sections_get(services->sections, index, "bind", number - 1);
		if (bind)
			snprintf(text, ADDRESS_BYTES, "%s", bind);
		return bind;
	}
	if (path)
		snprintf(text, ADDRESS_BYTES, "unix:%s", path);
	else if (port)
		snprintf(text, ADDRESS_BYTES,
			 host && strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host ? host : "*",
			 port);
	return true;
}

/* Any free port is another one each time; a socket that was handed down is whoever's names it. */
static bool is_fixed(const char *text)
{
	size_t length = strlen(text);

	return length > 2 && strcmp(text + length - 2, ":0") != 0 && strncmp(text, "fd:", 3) != 0;
}

static bool has(const struct services *services, int index, const char *address)
{
	char text[ADDRESS_BYTES];

	for (int i = 0; address_of(services, index, i, text); i++)
		if (strcmp(text, address) == 0)
			return true;
	return false;
}

bool addresses_clash(const struct services *services, int index)
{
	char address[ADDRESS_BYTES];

	for (int i = 0; address_of(services, index, i, address); i++) {
		for (int other = 0; is_fixed(address) && other < index; other++) {
			if (!has(services, other, address))
				continue;
			fprintf(stderr,
				"netdaemon: %s: service '%s': found %s, which service '%s' has: "
				"expected an address of its own\n",
				netd_sections_where(services->sections, index),
				netd_sections_name(services->sections, index), address,
				netd_sections_name(services->sections, other));
			return true;
		}
	}
	return false;
}
