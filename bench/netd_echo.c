/*
 * netd_echo.c - the same echo by the public API, for the benchmark. Everything else by options:
 * netd_echo --mode fork --localaddr 127.0.0.1 --localport 2000 --logfile /dev/null.
 */
#include <netdaemon.h>

static int64_t limit_ms;

static int configure(struct netd_server *server)
{
	limit_ms = 1000 * netd_server_option_int(server, "idle-limit");
	return 0;
}

static int run(struct netd_conn *conn)
{
	ssize_t n = 1;
	char *line;

	netd_set_timeout(conn, limit_ms);
	while (n > 0) {
		n = netd_line(conn, &line);
		if (n > 0)
			n = netd_write(conn, line, (size_t)n);
	}
	return (int)n;
}

int main(int argc, char **argv)
{
	static const struct netd_option options[] = {
	    {.name = "idle-limit",
	     .type = NETD_OPTION_INT,
	     .value = "0",
	     .max = 86400,
	     .argument = "SECONDS",
	     .help = "end a connection whose next line takes longer; 0: never"},
	    {0},
	};
	static const struct netd_service echo =
	    NETD_SERVICE(.name = "netd_echo", .options = options, .configure = configure,
			 .run = run);

	return netd_main(&echo, NULL, argc, argv);
}
