/*
 * load.c - everything that can be read and checked before anything is bound: options and file,
 * access rules, addresses, users, the service's own configure. Answers --help, --version, --check
 * and --explain.
 */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (1u << 20) /* bytes of --help, --check ... */

/* Where the access rules were written: what messages about them begin with. */
static const char *clients_origin(const struct settings *settings)
{
	const char *where = conf_where(settings, "clients");

	if (settings->configfile && strncmp(where, "attribute ", 10) != 0)
		return settings->configfile;
	return where;
}

/* Warnings of the access rules join those of the config file. */
static void add_warning(void *arg, int line, int column, const char *text)
{
	struct settings *settings = arg;

	strlist_addf(&settings->warnings, "%s:%d:%d: %s", clients_origin(settings), line, column,
		     text);
}

static int load_access(struct netd_server *server)
{
	struct settings *settings = &server->settings;
	struct value_warn warn = {.warn = add_warning, .arg = settings};

	return access_new(&server->access, settings->clients, clients_origin(settings), &warn,
			  &server->err);
}

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

/* --localaddr and --localport as one address: a bare IPv6 address gets its brackets. */
static int add_local_tcp(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	const char *host = settings->localaddr ? settings->localaddr : "*";
	char text[512];
	bool bare_v6 = strchr(host, ':') && host[0] != '[';

	snprintf(text, sizeof text, bare_v6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host,
		 settings->localport);
	return add_address(
	    server, conf_where(settings, settings->localaddr ? "localaddr" : "localport"), text);
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

static int load_addresses(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	int rc = 0;

	if (settings->localpath && settings->localport)
		warn_unused_port(server);
	if (settings->localpath)
		rc = add_local_unix(server);
	else if (settings->localport)
		rc = add_local_tcp(server);
	for (size_t i = 0; rc == 0 && i < settings->bind.count; i++)
		rc = add_address(server, conf_where(settings, "bind"), settings->bind.items[i]);
	return rc;
}

/* Which of the two options is to blame for an identity that cannot be had. */
static const char *identity_culprit(const struct settings *settings)
{
	struct identity unused;

	if (settings->group && identity_find(&unused, NULL, settings->group, NULL) < 0)
		return "group";
	return "user";
}

static int load_identity(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	int rc = identity_find(&server->identity, settings->user, settings->group, &server->err);

	if (rc < 0)
		return err_prefix(&server->err,
				  "%s: ", conf_where(settings, identity_culprit(settings)));
	if (!settings->localowner)
		return 0;
	rc = owner_find(settings->localowner, &server->owner_uid, &server->owner_gid, &server->err);
	if (rc < 0)
		return err_prefix(&server->err, "%s: ", conf_where(settings, "localowner"));
	return 0;
}

/* Print an answer on standard output: the whole purpose of the run, so a failure counts. */
static int print_answer(struct netd_server *server, struct buf *answer, int rc)
{
	if (rc >= 0 && (fputs(buf_text(answer), stdout) < 0 || fflush(stdout) != 0))
		rc = err_sys(&server->err, -errno, "standard output");
	else if (rc < 0 && !server->err.text[0])
		err_sys(&server->err, rc, "cannot answer");
	buf_finish(answer);
	return rc < 0 ? rc : 1;
}

static int explain(struct netd_server *server)
{
	struct buf out;
	int rc;

	buf_init(&out, ANSWER_MAX);
	rc = access_explain(server->access, server->settings.explain, &access_system_resolver, &out,
			    &server->err);
	if (rc < 0)
		err_prefix(&server->err, "--explain: ");
	return print_answer(server, &out, rc);
}

static int check(struct netd_server *server)
{
	struct buf out;

	buf_init(&out, ANSWER_MAX);
	return print_answer(server, &out, server_describe(server, &out));
}

static int configure(struct netd_server *server)
{
	int rc;

	if (!server->service.configure)
		return 0;
	server->err.text[0] = '\0';
	rc = server->service.configure(server);
	if (rc < 0 && !server->err.text[0])
		err_sys(&server->err, rc, "the service cannot be configured");
	return rc < 0 ? rc : 0;
}

int server_check(struct netd_server *server)
{
	struct settings *settings = &server->settings;
	struct buf out;
	int rc;

	if (server->load_rc < 0)
		return server->load_rc; /* the words are there already */
	buf_init(&out, ANSWER_MAX);
	if (settings->help)
		return print_answer(server, &out, conf_usage(&out, &server->service));
	if (settings->version)
		return print_answer(server, &out, conf_version(&out, &server->service));
	rc = load_access(server);
	if (rc == 0 && settings->explain)
		return explain(server);
	if (rc == 0)
		rc = load_addresses(server);
	if (rc == 0)
		rc = load_identity(server);
	if (rc == 0)
		rc = configure(server);
	if (rc == 0 && settings->check)
		return check(server);
	return rc;
}

int netd_server_load(struct netd_server *server)
{
	if (!server->loaded) {
		server->load_rc = server_check(server);
		server->loaded = true;
	}
	return server->load_rc;
}

int server_describe(struct netd_server *server, struct buf *out)
{
	const struct settings *settings = &server->settings;
	int rules = access_count(server->access);
	int rc = conf_describe(out, settings);

	for (size_t i = 0; rc == 0 && i < server->address_count; i++) {
		const struct address *address = &server->addresses[i];

		if (address->kind == ADDRESS_UNIX)
			rc = buf_addf(out, "would listen on unix:%s\n", address->path);
		else
			rc = buf_addf(out,
				      strchr(address->host, ':') ? "would listen on tcp:[%s]:%s\n"
								 : "would listen on tcp:%s:%s\n",
				      address->host[0] ? address->host : "*", address->port);
	}
	if (rc == 0 && rules < 0)
		rc = buf_adds(out, "would serve every client: there are no access rules\n");
	else if (rc == 0)
		rc = buf_addf(out, "would serve the clients that %d rule%s allow%s\n", rules,
			      rules == 1 ? "" : "s", rules == 1 ? "s" : "");
	if (rc == 0 && server->identity.set_uid)
		rc = buf_addf(out, "would run as user %s (%ld), group %s (%ld)\n",
			      server->identity.user, (long)server->identity.uid,
			      server->identity.group, (long)server->identity.gid);
	for (size_t i = 0; rc == 0 && i < settings->warnings.count; i++)
		rc = buf_addf(out, "warning: %s\n", settings->warnings.items[i]);
	if (rc == 0)
		rc = buf_adds(out, "the configuration is good\n");
	return rc;
}
