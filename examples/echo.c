/*
 * echo.c - the smallest daemon: every line comes back. Happy path: read a line, write it. Failure:
 * run() returns the error (a line over 1023 bytes among them), which ends this connection only.
 */
#include <netdaemon.h>

static int run(struct netd_conn *c)
{
	char line[1024];
	ssize_t n;

	while ((n = netd_readline(c, line, sizeof line)) > 0)
		if (netd_write(c, line, (size_t)n) < 0)
			break;
	return (int)n;
}

NETD_EXPORT_SERVICE(.name = "echo", .run = run);

int main(int argc, char **argv)
{
	return netd_main(&netdaemon_service, NETD_CONFIG(.localport = "7777"), argc, argv);
}
