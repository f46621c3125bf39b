/*
 * server.h - the object the user owns, and the steps of its life: load.c reads and checks, start.c
 * binds and drops privileges, run.c serves until drained.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "access/access.h"
#include "base/base.h"
#include "conf/settings.h"
#include "conn/conn.h"
#include "listen/inherit.h"
#include "listen/listen.h"
#include "log/log.h"
#include "mode/mode.h"
#include "netdaemon.h"
#include "proc/proc.h"

struct netd_server {
	struct netd_service service; /* a copy, as far as the caller's struct reaches */
	struct settings settings;
	struct access *access;
	void *data; /* the author's */
	struct err err;

	/* netd_server_load() */
	int load_rc; /* of conf_load(), reported by netd_server_load() */
	bool loaded;
	struct inherited inherited; /* from netd_server_new() on */
	struct listeners given;     /* those of them that are used, until they join the others */
	struct address *addresses;  /* to bind */
	size_t address_count;
	struct identity identity;
	int64_t owner_uid, owner_gid; /* of Unix sockets; -1: leave */

	/* netd_server_run() */
	struct log *log; /* log_none() before it is open */
	struct listeners listeners;
	struct pidfile pidfile;
	struct shared shared; /* from netd_server_new() on */
	struct conn_env env;
	struct life life;
	struct worker worker;
	bool running;
	bool owns_process;    /* netd_main(): signals stay ours until the process ends */
	struct report report; /* to whoever started us; the test kit sets its address_fd */
	_Atomic int wake_fd;  /* the leading process's; -1 when it does not run */
};

/* Read and check everything that can be checked without binding; answer --help and its kin.
 * Returns as netd_server_load(). */
int server_check(struct netd_server *server);

/* Parts of it: the addresses to bind and the sockets handed down; --notify-fd. 0 or -errno. */
int server_load_addresses(struct netd_server *server);
int server_load_notify_fd(struct netd_server *server);

/* fronts.c: the access rules of all fronts. And when it is known who the server will be: can the
 * rules file be read again then? And when it has become that: where the file is now. */
int server_load_access(struct netd_server *server);
int server_check_rules(struct netd_server *server);
int server_settle_rules(struct netd_server *server);

/* What a message about an option begins with: "--rules", "FILE:LINE:COLUMN: rules". */
void server_label(const struct settings *settings, const char *name, char *out, size_t size);

/* What --check prints. */
int server_describe(struct netd_server *server, struct buf *out);

/* Bind, open the log, take the pid file, drop privileges (security rule 1). On failure everything
 * is undone. */
int server_start(struct netd_server *server);

/* Undo server_start(), in reverse order. */
void server_stop(struct netd_server *server);

#endif
