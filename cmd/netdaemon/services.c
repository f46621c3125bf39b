/*
 * services.c - netdaemon --services FILE: several services in one config file.
 *
 * Happy path: services_main() takes the options that are meant for the whole from the command line
 * (options.c), reads which services there are, has each one checked, and then has them started and
 * kept (supervise.c). With --section NAME it becomes that one service: so the master starts them,
 * and so an administrator tries one.
 *
 * Each check is made by a process of its own: the services' code is loaded there, and what a
 * service reads at its start (keys, passwords) never gets into the process of another, nor into the
 * master's. Failure: every service that is wrong is named with file and line, exit 2, and none is
 * started. Told to stop meanwhile (SIGTERM, SIGINT), it ends the check and itself at once.
 */
#include "services.h"

#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_RUN = 1, EXIT_USAGE = 2 };

/* ---------------------------------------------------------------------------------- one service */

/* Become the service with this number; more: further options. Returns the exit status. */
static int become(const struct services *services, int index, const char *const *more)
{
	struct netd_sections *sections = services->sections;
	const char *object = netd_sections_get(sections, index, "service", 0);
	const char *program = netd_sections_get(sections, index, "program", 0);
	int argc, status;
	char **argv;

	if (!object == !program) {
		fprintf(stderr,
			"netdaemon: %s: service '%s': found %s, expected one of the keys "
			"program (a list of words) and service (a file)\n",
			netd_sections_where(sections, index), netd_sections_name(sections, index),
			object ? "both" : "neither");
		return EXIT_USAGE;
	}
	argv = handover_argv(services, "--configfile", index, more, &argc);
	if (!argv) {
		fprintf(stderr, "netdaemon: out of memory\n");
		return EXIT_RUN;
	}
	status = object ? service_main(object, argc, argv) : program_main(argc, argv, NULL);
	free(argv);
	return status;
}

/* What the program or the shared object of a service says names no place in the file. */
static void tell_wrong(const struct services *services, int index)
{
	fprintf(stderr, "netdaemon: %s: service '%s' is wrong\n",
		netd_sections_where(services->sections, index),
		netd_sections_name(services->sections, index));
}

static int become_named(const struct services *services)
{
	const char *const more[] = {services->check ? "--check" : NULL, NULL};
	const char *name;
	int status;

	handover_taken();
	for (int i = 0; (name = netd_sections_name(services->sections, i)); i++) {
		if (strcmp(name, services->section) != 0)
			continue;
		status = become(services, i, more);
		if (status == EXIT_USAGE)
			tell_wrong(services, i);
		return status;
	}
	fprintf(stderr, "netdaemon: --section: found no service '%s' in %s, expected one of:",
		services->section, services->path);
	for (int i = 0; (name = netd_sections_name(services->sections, i)); i++)
		fprintf(stderr, " %s", name);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

/* --------------------------------------------------------------------------------- all services */

static _Noreturn void check_here(const struct services *services, int index, pid_t master)
{
	const char *const more[] = {"--check", NULL};

	sigprocmask(SIG_SETMASK, &services->before, NULL);
	handover_environment(services, index, master);
	/* Only whoever asked wants to see what is good. */
	if (!services->check && !freopen("/dev/null", "w", stdout))
		_exit(EXIT_RUN);
	exit(become(services, index, more));
}

/* Nor does what a signal says. */
static void name_place(const struct services *services, int index, int status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "netdaemon: %s: service '%s': its check died from signal %d (%s)\n",
			netd_sections_where(services->sections, index),
			netd_sections_name(services->sections, index), WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		tell_wrong(services, index);
}

/* Returns the exit status of the check of one service; -ECANCELED: we were told to stop. */
static int check_one(const struct services *services, int index)
{
	pid_t master = getpid(), pid;
	int status, rc;

	if (services->check)
		printf("%sservice %s (%s)\n", index ? "\n" : "",
		       netd_sections_name(services->sections, index),
		       netd_sections_where(services->sections, index));
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		check_here(services, index, master);
	if (pid < 0) {
		fprintf(stderr, "netdaemon: fork: %s\n", strerror(errno));
		return EXIT_RUN;
	}
	rc = signals_wait(pid, &status);
	if (rc < 0)
		return rc == -ECANCELED ? rc : EXIT_RUN;
	name_place(services, index, status);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_USAGE;
}

/* Likewise, of all. */
static int check_all(const struct services *services)
{
	int wrong = 0, count = 0, status;

	for (; netd_sections_name(services->sections, count); count++) {
		status = check_one(services, count);
		if (status == -ECANCELED)
			return status;
		if (addresses_clash(services, count) || status != 0)
			wrong++;
	}
	if (!wrong)
		return signals_stop() ? -ECANCELED : 0;
	fprintf(stderr, "netdaemon: %s: %d of %d services %s wrong: none is started\n",
		services->path, wrong, count, wrong == 1 ? "is" : "are");
	return EXIT_USAGE;
}

static int run(const struct services *services)
{
	int status;

	if (services->section) {
		signals_release(&services->before);
		return become_named(services);
	}
	status = check_all(services);
	if (status == -ECANCELED) {
		fprintf(stderr, "netdaemon: told to stop while the services were checked: none is "
				"started\n");
		return services->check ? EXIT_RUN : 0;
	}
	return status == 0 && !services->check ? services_supervise(services) : status;
}

/* The command line has been read. */
static int read_and_run(struct services *services)
{
	int status = EXIT_USAGE;

	services->sections = netd_sections_new(services->path);
	if (!services->sections)
		fprintf(stderr, "netdaemon: out of memory\n");
	else if (*netd_sections_error(services->sections))
		fprintf(stderr, "netdaemon: %s\n", netd_sections_error(services->sections));
	else
		status = run(services);
	netd_sections_free(services->sections);
	return status;
}

int services_main(const char *path, int argc, char **argv)
{
	struct services services = {.path = path, .argc = argc, .argv = argv, .notify_fd = -1};
	int status = EXIT_USAGE;

	signals_hold(&services.before);
	if (options_spell_out(&services) < 0) {
		fprintf(stderr, "netdaemon: out of memory\n");
		return EXIT_RUN;
	}
	if (options_ask(&services)) {
		sigprocmask(SIG_SETMASK, &services.before, NULL);
		status = program_main(services.argc, services.argv, NULL);
	} else if (!*path) {
		fprintf(stderr,
			"netdaemon: --services: no value given: expected --services FILE\n");
	} else if (options_read(&services) == 0) {
		status = read_and_run(&services);
	}
	free(services.argv);
	return status;
}
