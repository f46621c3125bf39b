/*
 * server.c - the object: made, asked, told to stop, freed. See load.c, start.c and run.c for its
 * life in between.
 */
#include "server/server.h"

#include "mode/admit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARNING_MAX 1024 /* bytes of a service's warning before there is a log */

/* The oldest struct that makes sense: it reaches at least to run. */
#define SERVICE_MIN (offsetof(struct netd_service, run) + sizeof(int (*)(struct netd_conn *)))

/* Of a service that does not fit, only what stands in front for ever may be looked at. */
static int misfit(struct netd_server *server, const struct netd_service *service)
{
	const char *built_for = service->built_for ? service->built_for : "(unknown)";

	if (service->size < SERVICE_MIN || service->abi == 0)
		return err_set(&server->err, -EINVAL,
			       "the service was not made by NETD_SERVICE(), or for a netdaemon "
			       "that had no ABI number; this is " NETD_VERSION " (ABI %d)",
			       NETD_ABI);
	if (service->abi != NETD_ABI)
		return err_set(&server->err, -EINVAL,
			       "the service was built for netdaemon %.40s (ABI %d), this "
			       "is " NETD_VERSION " (ABI %d)",
			       built_for, service->abi, NETD_ABI);
	if (!service->name || !*service->name)
		return err_set(&server->err, -EINVAL, "the service has no .name");
	if (!service->run)
		return err_set(&server->err, -EINVAL, "the service has no .run");
	return 0;
}

/* A copy, as far as the caller's struct reaches. */
static int take_service(struct netd_server *server, const struct netd_service *service)
{
	size_t size;
	int rc = misfit(server, service);

	if (rc < 0) {
		server->service = (struct netd_service){.name = "netdaemon"};
		return rc;
	}
	size = service->size < sizeof server->service ? service->size : sizeof server->service;
	memcpy(&server->service, service, size);
	server->service.size = sizeof server->service;
	return 0;
}

/* What a supervisor has put there is for this server alone: its children do not see it. */
static void take_environment(struct netd_server *server)
{
	struct err err;
	int rc = inherited_take(&server->inherited, &err);

	notify_take(&server->report.notify);
	if (rc == 0 || server->load_rc < 0 || server->settings.help || server->settings.version)
		return;
	server->load_rc = rc;
	server->err = err;
}

struct netd_server *netd_server_new(const struct netd_service *service,
				    const struct netd_config *config, int argc, char **argv)
{
	struct netd_server *server;
	int rc;

	if (!service) {
		errno = EINVAL;
		return NULL;
	}
	server = calloc(1, sizeof *server);
	if (!server)
		return NULL;
	server->log = log_none();
	server->pidfile.fd = -1;
	server->report = (struct report){.notify.fd = -1, .newline_fd = -1, .address_fd = -1};
	server->owner_uid = server->owner_gid = -1;
	atomic_init(&server->wake_fd, -1);
	server->load_rc = take_service(server, service);
	if (server->load_rc == 0)
		server->load_rc = conf_load(&server->settings, &server->service, config, argc, argv,
					    &server->err);
	take_environment(server);
	if (server->settings.section) /* one of several: that is the name people know it by */
		server->service.name = server->settings.section;
	rc = shared_init(&server->shared,
			 server->settings.childs > 0 ? (int)server->settings.childs : 1);
	if (rc == 0 && server->load_rc == 0)
		rc = admit_init(&server->shared, &server->settings);
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
	free(server->addresses);
	listeners_finish(&server->given);
	inherited_finish(&server->inherited);
	notify_finish(&server->report.notify);
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

const char *netd_server_option_item(const struct netd_server *server, const char *name, int index)
{
	return index < 0 ? NULL : conf_get_item(&server->settings, name, (size_t)index);
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
	    .limited = atomic_load(&server->shared.page->limited),
	    .untracked = atomic_load(&server->shared.page->untracked),
	    .log_drops = atomic_load(&server->shared.page->log.drops),
	};

	for (int i = 0; i < server->shared.count; i++) {
		const struct shared_slot *slot = &server->shared.page->slots[i];

		now.parked += atomic_load(&slot->parked);
		now.compacted += atomic_load(&slot->compacted);
		now.bytes += atomic_load(&slot->bytes);
	}

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

/* There is no log before all is checked: --check prints it, or it becomes the log's first lines. */
PRINTF_LIKE(2, 0)
static void warn_later(struct netd_server *server, const char *format, va_list args)
{
	char text[WARNING_MAX];

	vsnprintf(text, sizeof text, format, args);
	strlist_add(&server->settings.warnings, text); /* no memory: as if it were not said */
}

void netd_server_log(struct netd_server *server, enum netd_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (server->loaded || level > NETD_WARNING)
		log_vwrite(server->log, level, NULL, format, args);
	else
		warn_later(server, format, args);
	va_end(args);
}

const char *netd_version(void)
{
	return NETD_VERSION;
}
