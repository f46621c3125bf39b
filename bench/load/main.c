/*
 * main.c - the command line of the load generator.
 *
 *   load short|greet|flow|hold --port N [--connections N] [--seconds S] [--warmup S]
 *        [--size BYTES] [--sources N] [--active N] [--depth N]
 *   load start --port N [--cpu N] -- SERVER ARGUMENT...
 *
 * Failure modes: a wrong option is exit status 2 with words; what happens to connections is counted
 * and printed, and is no failure of the program.
 */
#include "load.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct kind {
	const char *name;
	int (*run)(const struct options *options);
} kinds[] = {
    {"short", load_short}, {"greet", load_greet}, {"flow", load_flow},
    {"hold", load_hold},   {"start", load_start},
};

static double number(const char *name, const char *text, double min, double max)
{
	char *end;
	double value = strtod(text, &end);

	if (*end || end == text || !(value >= min && value <= max)) {
		fprintf(stderr, "load: --%s: found '%s', expected %g to %g\n", name, text, min,
			max);
		exit(2);
	}
	return value;
}

static void read_options(struct options *options, int argc, char **argv)
{
	static const struct option table[] = {
	    {"port", required_argument, NULL, 'p'},
	    {"connections", required_argument, NULL, 'c'},
	    {"seconds", required_argument, NULL, 's'},
	    {"warmup", required_argument, NULL, 'w'},
	    {"size", required_argument, NULL, 'z'},
	    {"sources", required_argument, NULL, 'a'},
	    {"active", required_argument, NULL, 'v'},
	    {"depth", required_argument, NULL, 'd'},
	    {"cpu", required_argument, NULL, 'u'},
	    {0},
	};
	int c;
	int i = 0;

	while ((c = getopt_long(argc, argv, "+", table, &i)) != -1) {
		const char *name = c == '?' ? "" : table[i].name;

		switch (c) {
		case 'p':
			options->port = (int)number(name, optarg, 1, 65535);
			break;
		case 'c':
			options->connections = (int)number(name, optarg, 1, 1000000);
			break;
		case 's':
			options->seconds = number(name, optarg, 0.01, 3600);
			break;
		case 'w':
			options->warmup = number(name, optarg, 0, 3600);
			break;
		case 'z':
			options->size = (size_t)number(name, optarg, 1, LINE_MAX_SIZE);
			break;
		case 'a':
			options->sources = (int)number(name, optarg, 1, 60000);
			break;
		case 'v':
			options->active = (int)number(name, optarg, 1, 1000000);
			break;
		case 'd':
			options->depth = (int)number(name, optarg, 1, DEPTH_MAX);
			break;
		case 'u':
			options->cpu = (int)number(name, optarg, 0, 1023);
			break;
		default:
			exit(2);
		}
	}
	options->command = argv + optind;
}

/* As many descriptors as the system lets us have. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	struct options options = {
	    .connections = 8, .depth = 1, .seconds = 1, .size = 64, .sources = 250, .cpu = -1};
	const struct kind *kind = NULL;

	for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(argv[1], kinds[i].name) == 0)
			kind = &kinds[i];
	if (!kind) {
		fprintf(stderr,
			"usage: load short|greet|flow|hold|start --port N ... (see main.c)\n");
		return 2;
	}
	read_options(&options, argc - 1, argv + 1);
	if (!options.active || options.active > options.connections)
		options.active = options.connections;
	if (!options.port || (kind->run == load_start) != (*options.command != NULL)) {
		fprintf(stderr, "load: --port is needed; a command goes with 'start' only\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	if (options.size * (size_t)options.depth > LINE_MAX_SIZE) {
		fprintf(stderr, "load: lines under way: more than %d bytes\n", LINE_MAX_SIZE);
		return 2;
	}
	client_set_lines(options.size, options.depth);
	return kind->run(&options);
}
