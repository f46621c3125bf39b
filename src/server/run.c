/*
 * run.c - serving: netd_server_run() from start to drained, and netd_main() around it.
 */
#include "server/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_RUN = 1, EXIT_USAGE = 2 };

/* What connections, the accept loop and the master work with: references only. */
static void prepare(struct netd_server *server)
{
	const struct settings *settings = &server->settings;

	server->env = (struct conn_env){
	    .service = &server->service,
	    .server = server,
	    .log = server->log,
	    .access = server->access,
	    .resolver = &access_system_resolver,
	    .counters = &server->shared.page->counters,
	    .limits = {.first_byte_ms = settings->first_byte_timeout,
		       .idle_ms = settings->idle_timeout,
		       .total_ms = settings->total_timeout},
	};
	life_init(&server->life, server->log, &server->shared, settings->timeout,
		  settings->drain_timeout, true);
	server->report.state = REPORT_STARTING;
	server->report.listeners = &server->listeners;
	server->report.log = server->log;
	server->report.shared = &server->shared;
	server->life.report = &server->report;
	server->worker = (struct worker){
	    .settings = settings,
	    .env = &server->env,
	    .listeners = &server->listeners,
	    .pidfile = &server->pidfile,
	    .shared = &server->shared,
	    .wake_fd = atomic_load(&server->wake_fd),
	    .parent_fd = -1,
	    .leader_fd = -1,
	    .life = &server->life,
	};
}

int netd_server_run(struct netd_server *server)
{
	int childs = (int)server->settings.childs;
	int rc = netd_server_load(server);

	if (rc != 0)
		return rc;
	rc = server_start(server);
	if (rc < 0)
		return rc;
	prepare(server);
	server->running = true;
	rc = childs > 0 ? prefork_run(&server->worker, childs) : worker_run(&server->worker);
	if (rc == -ETIMEDOUT) {
		err_set(&server->err, rc, "handlers did not end");
		pidfile_release(&server->pidfile);
		return rc; /* they still use everything else */
	}
	server->running = false;
	server_stop(server);
	return rc < 0 ? err_sys(&server->err, rc, "cannot serve") : 0;
}

/* On one line, whatever stands in the names and values that the words quote. */
static void complain(const struct netd_server *server)
{
	char line[4 * sizeof server->err.text];
	size_t used = 0;

	for (const char *p = netd_server_error(server); *p; p++) {
		bool control = (unsigned char)*p < 0x20 || *p == 0x7f;

		used += (size_t)snprintf(line + used, sizeof line - used,
					 control ? "\\x%02x" : "%c", (unsigned char)*p);
	}
	line[used] = '\0';
	fprintf(stderr, "%s: %s\n", server->service.name, line);
}

int netd_main(const struct netd_service *service, const struct netd_config *config, int argc,
	      char **argv)
{
	struct netd_server *server = NULL;
	int status = EXIT_OK;
	int rc = init_become();

	if (rc == 0)
		server = netd_server_new(service, config, argc, argv);
	else
		errno = -rc;

	if (!server) {
		fprintf(stderr, "%s: %s\n", argc > 0 ? argv[0] : "netdaemon", strerror(errno));
		return EXIT_RUN;
	}
	server->owns_process = true;
	rc = netd_server_load(server);
	if (rc < 0) {
		complain(server);
		status = EXIT_USAGE;
	} else if (rc == 0) {
		rc = netd_server_run(server);
		if (rc < 0) {
			complain(server);
			status = EXIT_RUN;
		}
	}
	if (rc == -ETIMEDOUT && server->running) {
		/* Handlers still run: nothing may be torn down under them. */
		fflush(NULL);
		_exit(EXIT_RUN);
	}
	netd_server_free(server);
	return status;
}
