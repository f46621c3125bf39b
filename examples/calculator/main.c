/*
 * main.c - the calculator of the original's manual: type an expression, read its value. Unlike
 * there, the expression is parsed (calc.h), never run as code.
 *
 * Happy path: one answer line for each line. An empty line is skipped without an answer. Failure: a
 * line that is no expression, or is too long, is answered by "error: ..." and the connection goes
 * on; a read or write that fails ends it.
 */
#include "calc.h"

#include <errno.h>
#include <netdaemon.h>
#include <string.h>

static ssize_t answer(struct netd_conn *c, const char *line, size_t length)
{
	struct calc_error error;
	char text[CALC_TEXT_MAX];
	int64_t value;

	if (strspn(line, " \t") == length)
		return 0;
	if (calc_eval(line, length, &value, &error) < 0)
		return netd_printf(c, "error: column %zu: %s\n", error.column, error.words);
	if (calc_format(text, value, netd_server_option(netd_conn_server(c), "base")) < 0)
		return -EINVAL;
	return netd_printf(c, "%s\n", text);
}

static int run(struct netd_conn *c)
{
	char *line;
	ssize_t n;

	while ((n = netd_line(c, &line)) != 0) {
		if (n > 0)
			n = answer(c, line, netd_chomp(line, (size_t)n));
		else if (n == -EMSGSIZE)
			n = netd_printf(c, "error: line too long\n");
		if (n < 0)
			return (int)n;
	}
	return 0;
}

static const struct netd_option options[] = {
    {.name = "base",
     .type = NETD_OPTION_CHOICE,
     .value = "dec",
     .choices = "dec|hex|oct",
     .argument = "BASE",
     .help = "print results in this base"},
    {.name = NULL},
};

NETD_EXPORT_SERVICE(.name = "calculator", .version = "1.0",
		    .summary = "Answer each line, an integer expression, with its value.",
		    .options = options, .run = run);

int main(int argc, char **argv)
{
	return netd_main(&netdaemon_service, NETD_CONFIG(.localport = "2000"), argc, argv);
}
