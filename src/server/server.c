/*
 * server.c - the object: made, asked, told to stop, freed. See load.c, start.c and run.c for its
 * life in between.
 */
#include "server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The oldest struct that makes sense: it reaches at least to run. */
#define SERVICE_MIN (offsetof(struct netd_service, run) + sizeof(int (*)(struct netd_conn *)))

static int take_service(struct netd_server *server, const struct netd_service *service)
{
	size_t size;

	if (!service || service->size < SERVICE_MIN)
		return -EINVAL;
	size = service->size < sizeof server->service ? service->size : sizeof server->service;
	memcpy(&server->service, service, size);
	server->service.size = sizeof server->service;
	return server->service.name && server->service.run ? 0 : -EINVAL;
}

struct netd_server *netd_server_new(const struct netd_service *service,
				    const struct netd_config *config, int argc, char **argv)
{
	struct netd_server *server = calloc(1, sizeof *server);
	int rc;

	if (!server)
		return NULL;
	server->log = log_none();
	server->pidfile.fd = -1;
	server->report_fd = -1;
	server->owner_uid = server->owner_gid = -1;
	atomic_init(&server->wake_fd, -1);
	rc = take_service(server, service);
	if (rc < 0)
		goto fail;
	server->load_rc =
	    conf_load(&server->settings, &server->service, config, argc, argv, &server->err);
	rc = shared_init(&server->shared,
			 server->settings.childs > 0 ? (int)server->settings.childs : 1);
	if (rc < 0)
		goto fail;
	return server;
fail:
	netd_server_free(server);
	errno = -rc;
	return NULL;
}

struct netd_server *netd_server_free(struct netd_server *server)
{
	if (!server)
		return NULL;
	free(server->spare);
	free(server->addresses);
	access_free(server->access);
	conf_finish(&server->settings);
	shared_finish(&server->shared);
	free(server);
	return NULL;
}

int netd_server_stop(struct netd_server *server)
{
	int saved = errno; /* may be called in a signal handler */
	ssize_t n;

	atomic_store(&server->shared.page->stop_wanted, 1);
	n = write(atomic_load(&server->wake_fd), "", 1);
	(void)n; /* a full pipe wakes as well; not running: seen at the start */
	errno = saved;
	return 0;
}

const char *netd_server_error(const struct netd_server *server)
{
	return server->err.text;
}

int netd_server_fail(struct netd_server *server, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(&server->err, code, format, args);
	va_end(args);
	return code;
}

const char *netd_server_address(const struct netd_server *server, int index)
{
	if (index < 0 || (size_t)index >= server->listeners.count)
		return NULL;
	return server->listeners.items[index].text;
}

const char *netd_server_option(const struct netd_server *server, const char *name)
{
	return conf_get(&server->settings, name);
}

long long netd_server_option_int(const struct netd_server *server, const char *name)
{
	const char *text = conf_get(&server->settings, name);
	char *end = NULL;
	long long number = text ? strtoll(text, &end, 10) : 0;

	return end && (!*end || *end == '.') ? number : 0; /* of "0.25" the whole part */
}

void netd_server_set_data(struct netd_server *server, void *data)
{
	server->data = data;
}

void *netd_server_data(const struct netd_server *server)
{
	return server->data;
}

int netd_server_stats(const struct netd_server *server, struct netd_stats *stats)
{
	const struct conn_counters *counters = &server->shared.page->counters;
	struct netd_stats now = {
	    .size = stats->size,
	    .active = shared_active(&server->shared),
	    .accepted = atomic_load(&counters->accepted),
	    .refused = atomic_load(&counters->refused),
	    .failed = atomic_load(&counters->failed),
	    .log_drops = atomic_load(&server->shared.page->log.drops),
	};

	memcpy(stats, &now, stats->size < sizeof now ? stats->size : sizeof now);
	return 0;
}

bool netd_draining(const struct netd_server *server)
{
	return atomic_load(&server->shared.page->phase) != PHASE_SERVE;
}

int netd_spawn(struct netd_server *server, int (*fn)(struct netd_server *server, void *arg),
	       void *arg)
{
	struct job job = {.fn = fn, .arg = arg};

	if (!server->running)
		return -EINVAL;
	return worker_start_job(&server->worker, &job);
}

void netd_server_log(struct netd_server *server, enum netd_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_vwrite(server->log, level, NULL, format, args);
	va_end(args);
}

const char *netd_version(void)
{
	return NETD_VERSION;
}
