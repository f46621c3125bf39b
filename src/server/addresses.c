/*
 * addresses.c - where the server shall listen, from the options that say so and from what a
 * supervisor has handed down; and the descriptor of --notify-fd.
 *
 * Happy path: sockets that were handed down become server->given, all other addresses
 * server->addresses, to be bound by start.c.
 * Failure modes: an address that is none, a descriptor that is no listening socket, nothing to
 * listen on at all: words that name the option and what was found; nothing is bound yet.
 */
#include "server/server.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One more address to bind, from the text of an option. */
static int add_address(struct netd_server *server, const char *option, const char *text)
{
	struct address *all = server->addresses;
	int rc;

	all = realloc(all, (server->address_count + 1) * sizeof *all);
	if (!all)
		return err_set(&server->err, -ENOMEM, "no memory for the addresses");
	server->addresses = all;
	rc = address_parse(&all[server->address_count], text, &server->err);
	if (rc < 0)
		return err_prefix(&server->err, "%s: ", option);
	server->address_count++;
	return 0;
}

/* Not about the address that we made of it: about what was given. The reason stays. */
static int blame_localaddr(struct netd_server *server)
{
	const char *reason = strstr(server->err.text, " (");
	char label[256], words[200];

	server_label(&server->settings, "localaddr", label, sizeof label);
	snprintf(words, sizeof words, "%s", reason ? reason : "");
	return err_set(&server->err, -EINVAL,
		       "%s: found '%.200s', expected an IP address or host name%s", label,
		       server->settings.localaddr, words);
}

/* --localaddr and --localport as one address: a bare IPv6 address gets its brackets. */
static int add_local_tcp(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	const char *host = settings->localaddr ? settings->localaddr : "*";
	const char *where = conf_where(settings, settings->localaddr ? "localaddr" : "localport");
	char text[512];
	bool bare_v6 = strchr(host, ':') && host[0] != '[';
	int rc;

	snprintf(text, sizeof text, bare_v6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host,
		 settings->localport);
	rc = add_address(server, where, text);
	/* The port was checked as the option it is: it is not that. */
	return rc == -EINVAL && settings->localaddr ? blame_localaddr(server) : rc;
}

static int add_local_unix(struct netd_server *server)
{
	char text[4096];

	snprintf(text, sizeof text, "unix:%s", server->settings.localpath);
	return add_address(server, conf_where(&server->settings, "localpath"), text);
}

/* A port that the author chose gives way to the administrator's path without a word. */
static void warn_unused_port(struct netd_server *server)
{
	const char *where = conf_where(&server->settings, "localport");

	if (strncmp(where, "attribute", 9) != 0)
		strlist_addf(&server->settings.warnings,
			     "%s: not used, localpath is given: for both, use --bind twice", where);
}

static const char fd_prefix[] = "fd:";

static bool is_inherited(const char *text)
{
	return strncmp(text, fd_prefix, strlen(fd_prefix)) == 0;
}

/* Sockets that were handed down, all or those that --bind names. */
static int load_inherited(struct netd_server *server)
{
	struct settings *settings = &server->settings;
	const struct strlist *bind = &settings->bind;
	const char *where = conf_where(settings, "bind");
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < bind->count; i++)
		if (is_inherited(bind->items[i]))
			rc = inherited_want(&server->inherited, bind->items[i] + strlen(fd_prefix),
					    &server->err);
	if (rc < 0)
		return err_prefix(&server->err, "%s: ", where);
	if (server->inherited.other)
		strlist_addf(&settings->warnings,
			     "LISTEN_FDS: not used, LISTEN_PID says it is for process %lld: is a "
			     "shell in between that does not exec?",
			     server->inherited.other);
	/* One of several services: what it does not name is for the others. */
	rc = inherited_check(&server->inherited, &server->given,
			     settings->section ? NULL : &settings->warnings, &server->err);
	if (rc < 0)
		err_prefix(&server->err, "%s: ", server->inherited.chosen ? where : "LISTEN_FDS");
	return rc;
}

/* An address that the author chose gives way to sockets that the administrator hands down. */
static bool is_in_use(const struct netd_server *server, const char *option)
{
	return server->given.count == 0 ||
	       strncmp(conf_where(&server->settings, option), "attribute", 9) != 0;
}

static int load_bind(struct netd_server *server)
{
	const struct strlist *bind = &server->settings.bind;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < bind->count; i++)
		if (!is_inherited(bind->items[i]))
			rc = add_address(server, conf_where(&server->settings, "bind"),
					 bind->items[i]);
	return rc;
}

int server_load_addresses(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	int rc = load_inherited(server);

	if (rc < 0)
		return rc;
	if (settings->localpath && settings->localport)
		warn_unused_port(server);
	if (settings->localpath && is_in_use(server, "localpath"))
		rc = add_local_unix(server);
	else if (!settings->localpath && settings->localport && is_in_use(server, "localport"))
		rc = add_local_tcp(server);
	if (rc == 0 && is_in_use(server, "bind"))
		rc = load_bind(server);
	if (rc == 0 && server->address_count + server->given.count == 0)
		rc = err_set(&server->err, -EINVAL,
			     "no address to listen on: give --localport PORT, --localpath PATH or "
			     "--bind ADDRESS");
	return rc;
}

/* --notify-fd must be there to be written to: a wrong number would end up in some file of ours. */
int server_load_notify_fd(struct netd_server *server)
{
	int fd = (int)server->settings.notify_fd;
	int listens = 0;
	socklen_t size = sizeof listens;
	const char *found = NULL;
	int flags;

	if (fd == 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		found = "not open";
	else if ((flags & O_ACCMODE) == O_RDONLY)
		found = "open for reading only";
	else if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens)
		found = "a listening socket";
	if (found)
		return err_set(&server->err, -EINVAL,
			       "%s: descriptor %d is %s, expected one to write to",
			       conf_where(&server->settings, "notify-fd"), fd, found);
	return os_set_cloexec(fd, true);
}
