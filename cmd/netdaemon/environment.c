/*
 * environment.c - the variables of a program: UCSPI-TCP, rebuilt from empty (rule 22).
 *
 * Happy path: PATH is fixed, what --env gave follows, then what this connection is: PROTO and
 * TCP... or IPC..., and last what the access rule sets, which wins. Nothing else of netdaemon's own
 * environment gets through, and nothing that a client could choose freely: addresses are numbers,
 * a host name is there only when it is confirmed and has letters, digits, hyphens and dots only.
 *
 * Failure: no memory, or more than fits: the program is not started, rather than with half of it.
 */
#include "program.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 16384 /* of all variables of a connection; those for all come on top */
#define ITEMS 256        /* of them; what is more does not fit */
#define COMMON_ITEMS 128 /* of them: the same for all connections */
#define HOST_NAME_MAX_BYTES 253
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

struct environment {
	size_t count, used;
	bool full;
	char *items[ITEMS + 1];
	char text[TEXT_BYTES];
};

/* ---------------------------------------------------------------------------- one connection's */

/* The place of a variable in a list: its own, or that of the NULL at the end. */
static size_t place_of(char *const *items, const char *name, size_t length)
{
	size_t i = 0;

	while (items[i] && (strncmp(items[i], name, length) != 0 || items[i][length] != '='))
		i++;
	return i;
}

static void __attribute__((format(printf, 3, 4)))
set(struct environment *environment, const char *name, const char *format, ...)
{
	char *to = environment->text + environment->used;
	size_t room = sizeof environment->text - environment->used;
	size_t at = place_of(environment->items, name, strlen(name));
	int length = snprintf(to, room, "%s=", name), n = -1;
	va_list args;

	if (length > 0 && (size_t)length < room) {
		va_start(args, format);
		n = vsnprintf(to + length, room - (size_t)length, format, args);
		va_end(args);
	}
	if (n < 0 || (size_t)length + (size_t)n >= room || at >= ITEMS) {
		environment->full = true;
		return;
	}
	environment->items[at] = to;
	environment->used += (size_t)length + (size_t)n + 1;
	if (at == environment->count)
		environment->count++;
}

/* Letters, digits, hyphen, dot, and not like an option: whatever DNS said, a shell takes it for a
 * word. In lower case. */
static void set_host_name(struct environment *environment, const char *name)
{
	char lower[HOST_NAME_MAX_BYTES + 1];
	size_t length = name ? strlen(name) : 0;

	if (length == 0 || length >= sizeof lower || *name == '-' ||
	    strspn(name, LETTERS DIGITS "-.") != length)
		return;
	for (size_t i = 0; i <= length; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	set(environment, "TCPREMOTEHOST", "%s", lower);
}

/* local: "tcp:192.0.2.1:2000", "tcp:[2001:db8::1]:2000". */
static void set_tcp(struct environment *environment, struct netd_conn *conn, const char *local)
{
	const char *host = local + strlen("tcp:");
	const char *port = strrchr(host, ':');
	size_t length = port ? (size_t)(port - host) : 0;

	set(environment, "PROTO", "TCP");
	set(environment, "TCPREMOTEIP", "%s", netd_peer_host(conn));
	set(environment, "TCPREMOTEPORT", "%d", netd_peer_port(conn));
	set_host_name(environment, netd_peer_name(conn));
	if (!port)
		return;
	if (*host == '[' && length >= 2) {
		host++;
		length -= 2;
	}
	/* An IPv4 client of a listener for both is told by IPv4 addresses on both ends. */
	if (length > 7 && strncmp(host, "::ffff:", 7) == 0 && memchr(host, '.', length)) {
		host += 7;
		length -= 7;
	}
	set(environment, "TCPLOCALIP", "%.*s", (int)length, host);
	set(environment, "TCPLOCALPORT", "%s", port + 1);
}

static void set_ipc(struct environment *environment, struct netd_conn *conn, const char *local)
{
	struct netd_cred cred = {-1, -1, -1};

	set(environment, "PROTO", "IPC");
	if (strncmp(local, "unix:", 5) == 0)
		set(environment, "IPCLOCALPATH", "%s", local + 5);
	if (netd_peer_cred(conn, &cred) < 0)
		return;
	if (cred.uid >= 0)
		set(environment, "IPCREMOTEEUID", "%" PRId64, cred.uid);
	if (cred.gid >= 0)
		set(environment, "IPCREMOTEEGID", "%" PRId64, cred.gid);
}

/* What the administrator's rule for this client says stands above all else. */
static void set_from_rule(struct environment *environment, const struct netd_conn *conn)
{
	const char *name, *value;

	for (int i = 0; netd_client_env(conn, i, &name, &value) > 0; i++)
		if (*name && !strchr(name, '='))
			set(environment, name, "%s", value);
}

int environment_new(struct environment **out, struct netd_conn *conn, char *const *common)
{
	struct environment *environment = malloc(sizeof *environment);
	const char *local = netd_local_text(conn);

	if (!environment)
		return -ENOMEM;
	environment->used = 0;
	environment->full = false;
	for (environment->count = 0; common[environment->count]; environment->count++)
		environment->items[environment->count] = common[environment->count];
	memset(environment->items + environment->count, 0,
	       sizeof environment->items - environment->count * sizeof *environment->items);
	if (strncmp(local, "tcp:", 4) == 0)
		set_tcp(environment, conn, local);
	else
		set_ipc(environment, conn, local);
	set_from_rule(environment, conn);
	if (environment->full) {
		environment_free(environment);
		return -E2BIG;
	}
	*out = environment;
	return 0;
}

char *const *environment_items(struct environment *environment)
{
	return environment->items;
}

struct environment *environment_free(struct environment *environment)
{
	free(environment);
	return NULL;
}

/* ------------------------------------------------------------------------- the same for all */

/* A name that only netdaemon sets. */
static bool is_ours(const char *name, size_t length)
{
	static const char *const prefixes[] = {"TCP", "IPC"};

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (length > 3 && strncmp(name, prefixes[i], 3) == 0)
			return true;
	return length == 5 && strncmp(name, "PROTO", 5) == 0;
}

static int check_name(const char *name, size_t length, char *words, size_t room)
{
	if (length == 0 || strchr(DIGITS, *name) || strspn(name, LETTERS DIGITS "_") != length) {
		snprintf(words, room,
			 "--env: found '%.*s', expected NAME or NAME=VALUE; a name has letters, "
			 "digits and _",
			 60, name);
		return -EINVAL;
	}
	if (is_ours(name, length)) {
		snprintf(words, room,
			 "--env: found '%.*s': PROTO, TCP... and IPC... are set for each "
			 "connection",
			 (int)length, name);
		return -EINVAL;
	}
	return 0;
}

/* "NAME=VALUE", from "NAME=VALUE" or "NAME"; NULL: no memory, or *unset: there is no such variable
 * here. */
static char *full_item(const char *item, bool *unset)
{
	const char *value;
	char *full = NULL;

	*unset = false;
	if (strchr(item, '='))
		return strdup(item);
	value = getenv(item);
	*unset = !value;
	if (value && asprintf(&full, "%s=%s", item, value) < 0)
		return NULL;
	return full;
}

int environment_give(char **variables, const char *item, char *words, size_t room)
{
	size_t length = strcspn(item, "=");
	size_t at = place_of(variables, item, length);
	bool unset;
	char *full;
	int rc = check_name(item, length, words, room);

	if (rc < 0)
		return rc;
	if (at >= COMMON_ITEMS) {
		snprintf(words, room, "--env: more than %d variables", COMMON_ITEMS);
		return -E2BIG;
	}
	full = full_item(item, &unset);
	if (!full && !unset) {
		snprintf(words, room, "out of memory");
		return -ENOMEM;
	}
	if (full) {
		free(variables[at]);
		variables[at] = full;
	}
	return 0;
}

int environment_common(char ***variables, char *words, size_t room)
{
	char **items = calloc(COMMON_ITEMS + 1, sizeof *items);
	int rc = items ? environment_give(items, "PATH=" PROGRAM_PATH, words, room) : -ENOMEM;

	if (rc < 0) {
		if (!items)
			snprintf(words, room, "out of memory");
		environment_common_free(items);
		return rc;
	}
	*variables = items;
	return 0;
}

char **environment_common_free(char **variables)
{
	for (size_t i = 0; variables && variables[i]; i++)
		free(variables[i]);
	free(variables);
	return NULL;
}
