/*
 * load.c - everything that can be read and checked before anything is bound: options and file,
 * access rules, addresses (addresses.c), users, the service's own configure. Answers --help,
 * --version, --check and --explain.
 */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define ANSWER_MAX (1u << 20) /* bytes of --help, --check ... */

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

/* Options that only shape another one, which was not given: somebody expects a limit. */
static void warn_unused_limits(struct settings *settings)
{
	const struct {
		const char *name, *needs;
		bool has;
	} rows[] = {
	    {"accept-burst", "accept-rate", settings->accept_rate > 0},
	    {"rate-burst", "rate-per-address", settings->rate_per_address > 0},
	    {"prefix-ipv4", "max-per-prefix", settings->max_per_prefix > 0},
	    {"prefix-ipv6", "max-per-prefix or rate-per-address",
	     settings->max_per_prefix > 0 || settings->rate_per_address > 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *where = conf_where(settings, rows[i].name);

		if (!rows[i].has && strcmp(where, "default") != 0)
			strlist_addf(&settings->warnings, "%s: not used without %s", where,
				     rows[i].needs);
	}
}

/* Connections share the descriptors of a process; in the other modes it keeps none of them. */
static void warn_scarce_descriptors(struct settings *settings)
{
	long long workers = settings->childs > 0 ? settings->childs : 1;
	long long wanted = settings->max_connections;
	struct rlimit limit;

	if (strcmp(settings->mode, "threads") != 0 && strcmp(settings->mode, "fibers") != 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)(wanted / workers) < limit.rlim_cur)
		return;
	strlist_addf(&settings->warnings,
		     "%s: found %lld, but no more than %llu descriptors may be open in a process "
		     "(RLIMIT_NOFILE): without one, clients wait until others have gone",
		     conf_where(settings, "max-connections"), wanted,
		     (unsigned long long)limit.rlim_cur);
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
		return print_answer(server, &out, conf_usage(&out, &server->service, settings));
	if (settings->version)
		return print_answer(server, &out, conf_version(&out, &server->service));
	if (settings->completion)
		return print_answer(server, &out,
				    conf_completion(&out, &server->service, settings->completion));
	warn_unused_limits(settings);
	warn_scarce_descriptors(settings);
	rc = server_load_access(server);
	if (rc == 0 && settings->explain)
		return explain(server);
	if (rc == 0)
		rc = server_load_addresses(server);
	if (rc == 0)
		rc = server_load_notify_fd(server);
	if (rc == 0)
		rc = load_identity(server);
	if (rc == 0)
		rc = server_check_rules(server);
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

static int describe_rules(struct netd_server *server, struct buf *out)
{
	int rc = buf_adds(out, "would serve the clients that ");

	if (rc == 0)
		rc = access_describe(server->access, out);
	return rc < 0 ? rc : buf_addc(out, '\n');
}

int server_describe(struct netd_server *server, struct buf *out)
{
	const struct settings *settings = &server->settings;
	int rules = access_count(server->access);
	int rc = conf_describe(out, settings);

	for (size_t i = 0; rc == 0 && i < server->given.count; i++)
		rc = buf_addf(out, "would listen on fd:%d (%s)\n", server->given.items[i].number,
			      server->given.items[i].text);
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
		rc = describe_rules(server, out);
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
