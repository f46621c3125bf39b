/*
 * netd_echo.c - the same echo by the public API, for the benchmark. Mode, port and log by options:
 * netd_echo --mode fork --localaddr 127.0.0.1 --localport 2000 --logfile /dev/null.
 */
#include <netdaemon.h>

static int run(struct netd_conn *conn)
{
	ssize_t n;
	char *line;

	while ((n = netd_line(conn, &line)) > 0)
		if (netd_write(conn, line, (size_t)n) < 0)
			break;
	return (int)n;
}

int main(int argc, char **argv)
{
	static const struct netd_service echo = NETD_SERVICE(.name = "netd_echo", .run = run);

	return netd_main(&echo, NULL, argc, argv);
}
