/*
 * start.c - from a checked configuration to a process that may accept.
 *
 * The order is security rule 1: bind, open the log, pid file; then chroot, groups, ids,
 * capabilities, no_new_privs; nothing is accepted before the drop was verified. A failure anywhere
 * undoes what was done, so that nothing stays bound and no pid file is left.
 */
#include "server/server.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static int bind_all(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	struct listen_config config = {
	    .backlog = (int)settings->listen,
	    .mode = (unsigned)settings->localmode,
	    .uid = server->owner_uid,
	    .gid = server->owner_gid,
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < server->address_count; i++)
		rc =
		    listener_open(&server->listeners, &server->addresses[i], &config, &server->err);
	return rc < 0 ? rc : inherited_adopt(&server->listeners, &server->given, &server->err);
}

static int open_log(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	struct log_config config = {
	    .ident = server->service.name,
	    .logfile = settings->logfile,
	    .facility = settings->facility,
	    .debug = settings->debug,
	};

	int rc = log_open(&server->log, &config, &server->err);

	if (rc == 0)
		log_share_account(server->log, &server->shared.page->log);
	return rc;
}

static int take_pidfile(struct netd_server *server)
{
	const char *path = server->settings.pidfile;

	return path ? pidfile_take(&server->pidfile, path, &server->err) : 0;
}

/* Signals, and a wake-up for netd_server_stop() that children inherit. */
static int open_signals(struct netd_server *server)
{
	int rc = signals_open(&server->err);
	int fd;

	if (rc < 0)
		return rc;
	fd = fcntl(signals_wake_fd(), F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		rc = err_sys(&server->err, -errno, "cannot copy a descriptor");
		signals_close();
		return rc;
	}
	atomic_store(&server->wake_fd, fd);
	return 0;
}

static void close_signals(struct netd_server *server)
{
	close(atomic_exchange(&server->wake_fd, -1));
	if (!server->owns_process) /* a SIGTERM that comes now must not spoil the exit status */
		signals_close();
}

static int drop(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	int rc;

	/* Reports of stalls need a library that a chroot would hide. */
	if (settings->chroot && settings->stall_time > 0 && strcmp(settings->mode, "fibers") == 0)
		os_backtrace(NULL, NULL, 0);
	rc = privileges_drop(&server->identity, settings->chroot, settings->coredump, &server->err);

	if (rc == 0 && settings->chroot)
		log_set_root(server->log, settings->chroot);
	return rc;
}

static bool logs_to_stderr(const struct netd_server *server)
{
	return server->settings.logfile && strcasecmp(server->settings.logfile, "STDERR") == 0;
}

static void announce_listener(struct netd_server *server, const struct listener *listener)
{
	if (listener->inherited)
		log_write(server->log, NETD_NOTICE, NULL, "listening on fd:%d (%s)",
			  listener->number, listener->text);
	else
		log_write(server->log, NETD_NOTICE, NULL, "listening on %s", listener->text);
}

static void announce(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	const char *version = server->service.version;

	log_write(server->log, NETD_NOTICE, NULL, "%s%s%s starting: mode %s, %lld childs",
		  server->service.name, version ? " " : "", version ? version : "", settings->mode,
		  settings->childs);
	for (size_t i = 0; i < server->listeners.count; i++)
		announce_listener(server, &server->listeners.items[i]);
	for (size_t i = 0; i < settings->warnings.count; i++)
		log_write(server->log, NETD_WARNING, NULL, "%s", settings->warnings.items[i]);
	if (geteuid() == 0 && !server->identity.set_uid)
		log_write(server->log, NETD_WARNING, NULL,
			  "serving as root: give --user NAME (or --user root if it is meant)");
}

/* Before the drop, which may put the manager's socket out of reach. */
static void open_report(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	struct err err;

	if (notify_open(&server->report.notify, &err) < 0)
		log_write(server->log, NETD_WARNING, NULL, "%s", err.text);
	if (settings->notify_fd > 0)
		server->report.newline_fd = (int)settings->notify_fd;
	if (settings->print_address)
		server->report.address_fd = STDOUT_FILENO;
}

int server_start(struct netd_server *server)
{
	int rc = proc_secure_stdio();

	if (rc < 0)
		return err_sys(&server->err, rc, "cannot open /dev/null");
	rc = open_signals(server); /* first: a stop that comes now must undo what follows */
	if (rc < 0)
		return rc;
	rc = bind_all(server);
	if (rc < 0)
		goto unbind;
	rc = open_log(server);
	if (rc < 0)
		goto unbind;
	rc = take_pidfile(server);
	if (rc < 0)
		goto close_log;
	open_report(server);
	rc = drop(server);
	if (rc == 0)
		rc = server_settle_rules(server);
	if (rc < 0)
		goto release;
	announce(server);
	return 0;
release:
	pidfile_release(&server->pidfile);
close_log:
	if (!logs_to_stderr(server)) /* netd_main() says it there */
		log_write(server->log, NETD_CRIT, NULL, "cannot start: %s", server->err.text);
	log_close(server->log);
	server->log = log_none();
unbind:
	listeners_finish(&server->listeners);
	close_signals(server);
	return rc;
}

void server_stop(struct netd_server *server)
{
	log_write(server->log, NETD_NOTICE, NULL, "%s terminated", server->service.name);
	close_signals(server);
	listeners_finish(&server->listeners);
	pidfile_release(&server->pidfile);
	log_close(server->log);
	server->log = log_none();
}
