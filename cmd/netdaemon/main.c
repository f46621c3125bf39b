/*
 * main.c - the program netdaemon: which of its three kinds of work the command line asks for.
 *
 *   netdaemon [options] -- program [args]     a program for each connection (program.c)
 *   netdaemon --service ./my.so [options]     a service built as a shared object (service.c)
 *   netdaemon --services FILE [options]       several services of one file (services.c)
 *
 * A config file may name the program, so that "--" can be missing; --help and --version belong to
 * the first kind too. Failure: a command line that asks for two of them is told on standard error,
 * exit 2.
 */
#include "commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

/* What the program itself looks for in front of the library. */
struct request {
	const char *service, *services; /* the values of these options */
	char **program;                 /* what stands after "--" */
};

/* Find our own options; those that the library does not need to see are taken out of argv. Returns
 * how many words are left. */
static int sort_out(struct request *request, int argc, char **argv)
{
	int kept = argc > 0;

	for (int i = 1; i < argc; i++) {
		int first = i;
		const char *value;

		if (strcmp(argv[i], "--") == 0) {
			request->program = argv + i + 1;
			break;
		}
		if ((value = option_value("services", argc, argv, &i))) {
			request->services = value;
			continue;
		}
		if ((value = option_value("service", argc, argv, &i)))
			request->service = value;
		while (first <= i)
			argv[kept++] = argv[first++];
	}
	return kept;
}

static int misused(const char *words)
{
	fprintf(stderr,
		"netdaemon: %s\n"
		"usage: netdaemon [options] -- program [argument ...]\n"
		"       netdaemon --service FILE.so [options]\n"
		"       netdaemon --services FILE [options]\n"
		"netdaemon --help lists the options\n",
		words);
	return EXIT_USAGE;
}

/* Descriptors 0 to 2 are there, so that nothing of ours gets a number where others write. A
 * standard output that was closed cannot be written to: an answer that nobody gets is a failure. */
static void open_standard_streams(void)
{
	static const int access[] = {O_RDWR, O_RDONLY, O_RDWR};

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", access[fd]) < 0)
			return;
}

int main(int argc, char **argv)
{
	struct request request = {0};
	int kept = sort_out(&request, argc, argv);
	int wanted = !!request.service + !!request.services + !!request.program;

	open_standard_streams();
	if (argc < 2)
		return misused("nothing to run was given");
	if (wanted > 1)
		return misused("--service, --services and a program after -- exclude one another");
	if (request.services)
		return services_main(request.services, kept, argv);
	signals_hold_as_init();
	if (request.service)
		return service_main(request.service, kept, argv);
	return program_main(kept, argv, request.program);
}
