/*
 * multiplier.c - two whole numbers in, their product out: "6 7" is answered by "42". The smallest
 * server with a protocol of its own: it checks what it is sent.
 *
 * Happy path: one answer line for each line. Failure: a line that is not two numbers, or a product
 * that does not fit 64 bits, is answered by "error: ..." and the connection goes on.
 */
#include <errno.h>
#include <netdaemon.h>
#include <stdlib.h>
#include <string.h>

/* Read a number; *text moves behind it. strtoll() would take a line of blanks for a zero. */
static int number(char **text, long long *out)
{
	char *end;

	errno = 0;
	*out = strtoll(*text, &end, 10);
	if (errno == ERANGE || end == *text)
		return errno == ERANGE ? -ERANGE : -EINVAL;
	*text = end;
	return 0;
}

/* length: a NUL byte that the peer sent must not hide what follows it. */
static int multiply(char *line, size_t length, long long *out)
{
	char *end = line + length;
	long long a, b;
	int result;

	if ((result = number(&line, &a)) < 0 || (result = number(&line, &b)) < 0)
		return result;
	line += strspn(line, " \t");
	if (line != end)
		return -EINVAL;
	return __builtin_mul_overflow(a, b, out) ? -ERANGE : 0;
}

static ssize_t answer(struct netd_conn *c, char *line, size_t length)
{
	long long product;

	switch (multiply(line, length, &product)) {
	case 0:
		return netd_printf(c, "%lld\n", product);
	case -ERANGE:
		return netd_printf(c, "error: out of range\n");
	default:
		return netd_printf(c, "error: two whole numbers expected\n");
	}
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

int main(int argc, char **argv)
{
	static const struct netd_service multiplier =
	    NETD_SERVICE(.name = "multiplier", .version = "1.0",
			 .summary = "Answer each line, two whole numbers, with their product.",
			 .run = run);

	return netd_main(&multiplier, NETD_CONFIG(.localport = "7778"), argc, argv);
}
