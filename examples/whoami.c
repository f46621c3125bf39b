/*
 * whoami.c - tell a client everything the server knows about it, one "key: value" a line, then hang
 * up. What is unknown is printed as "-". A name appears only when an access rule made the server
 * look one up and it was confirmed; the rest of a rule by --key.
 *
 * Happy path: a dozen lines. Failure: a write that fails ends the connection, nothing else can.
 */
#include <inttypes.h>
#include <netdaemon.h>

static const char *or_dash(const char *text)
{
	return text && text[0] ? text : "-";
}

static ssize_t tell_address(struct netd_conn *c)
{
	return netd_printf(c,
			   "connection: %" PRIu64 "\n"
			   "peer: %s\n"
			   "address: %s\n"
			   "port: %d\n"
			   "name: %s\n"
			   "local: %s\n",
			   netd_conn_id(c), netd_peer_text(c), or_dash(netd_peer_host(c)),
			   netd_peer_port(c), or_dash(netd_peer_name(c)),
			   or_dash(netd_local_text(c)));
}

static ssize_t tell_cred(struct netd_conn *c)
{
	struct netd_cred cred;

	if (netd_peer_cred(c, &cred) < 0) /* not a Unix socket */
		return netd_printf(c, "uid: -\ngid: -\npid: -\n");
	return netd_printf(c, "uid: %" PRId64 "\ngid: %" PRId64 "\npid: %" PRId64 "\n", cred.uid,
			   cred.gid, cred.pid);
}

static ssize_t tell_rule(struct netd_conn *c)
{
	const struct netd_server *server = netd_conn_server(c);
	const char *key = netd_server_option(server, "key");

	return netd_printf(c,
			   "mode: %s\n"
			   "rule: %d\n"
			   "%s: %s\n",
			   or_dash(netd_server_option(server, "mode")), netd_client_rule(c), key,
			   or_dash(netd_client_get(c, key)));
}

static int run(struct netd_conn *c)
{
	ssize_t n = tell_address(c);

	if (n >= 0)
		n = tell_cred(c);
	if (n >= 0)
		n = tell_rule(c);
	return n < 0 ? (int)n : 0;
}

static const struct netd_option options[] = {
    {.name = "key",
     .type = NETD_OPTION_STRING,
     .value = "group",
     .argument = "KEY",
     .help = "tell this key of the client's access rule, too"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
	static const struct netd_service whoami =
	    NETD_SERVICE(.name = "whoami", .version = "1.0",
			 .summary = "Tell each client what the server knows about it, and hang up.",
			 .options = options, .run = run);

	return netd_main(&whoami, NETD_CONFIG(.localport = "7779"), argc, argv);
}
