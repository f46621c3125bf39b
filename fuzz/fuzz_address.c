/*
 * fuzz_address.c - addresses from people. What is taken must stand for itself: written in the same
 * notation and read again it is the same address. What is refused must be refused in words.
 */
#include "listen/listen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void holds(bool condition)
{
	if (!condition)
		abort();
}

static void comes_back(const struct address *address)
{
	struct address again;
	char text[sizeof *address + 16];
	bool v6 = strchr(address->host, ':');

	if (address->kind == ADDRESS_UNIX)
		snprintf(text, sizeof text, "unix:%s", address->path);
	else
		snprintf(text, sizeof text, "tcp:%s%s%s:%s", v6 ? "[" : "", address->host,
			 v6 ? "]" : "", address->port);
	holds(address_parse(&again, text, NULL) == 0);
	holds(memcmp(&again, address, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address address = {0};
	struct err err = {0};
	char *text = malloc(size + 1);
	int rc;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	rc = address_parse(&address, text, &err);
	if (rc == 0) {
		holds(address.kind == ADDRESS_UNIX ? *address.path && !*address.port
						   : *address.port && !*address.path);
		comes_back(&address);
	} else {
		holds(rc == -EINVAL && err.code == rc);
		holds(strstr(err.text, "found '") && strstr(err.text, "expected tcp:HOST:PORT"));
	}
	free(text);
	return 0;
}
