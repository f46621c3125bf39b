/*
 * fronts.c - the access rules of a server: gathered from options, config file and rules file.
 *
 * Happy path: server_load_access() compiles the rules of all fronts before anything is bound, and
 * finds out whether the rules file can be read again as the user, and below the root, that the
 * server will have; server_settle_access() tells the rules where that file is after the chroot.
 * Failure: words that name the option. A rules file that could be read once but not again refuses
 * to start: the first edit would lock everybody out.
 */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the access rules were written: what messages about them begin with. */
static const char *clients_origin(const struct settings *settings)
{
	const char *where = conf_where(settings, "clients");

	if (settings->configfile && strncmp(where, "attribute ", 10) != 0)
		return settings->configfile;
	return where;
}

/* What an option is called in messages: "--deny", "attribute deny", "/etc/x.conf:3:7: deny". */
void server_label(const struct settings *settings, const char *name, char *out, size_t size)
{
	const char *where = conf_where(settings, name);

	if (strncmp(where, "--", 2) == 0 || strncmp(where, "attribute ", 10) == 0)
		snprintf(out, size, "%s", where);
	else
		snprintf(out, size, "%s: %s", where, name);
}

/* Warnings of the access rules join those of the config file. */
static void add_warning(void *arg, int line, int column, const char *text)
{
	struct settings *settings = arg;

	if (line == 0)
		strlist_add(&settings->warnings, text);
	else
		strlist_addf(&settings->warnings, "%s:%d:%d: %s", clients_origin(settings), line,
			     column, text);
}

/* ----------------------------------------------------------------------------- the rules file */

/* Its path as the server will see it, below the chroot; NULL: it is outside. */
static const char *path_within(const struct settings *settings)
{
	const char *root = settings->chroot, *path = settings->rules;
	size_t length = root ? strlen(root) : 0;

	while (length > 0 && root[length - 1] == '/')
		length--;
	if (length > 0 && (strncmp(path, root, length) != 0 || path[length] != '/'))
		return NULL;
	return path + length;
}

/* Become who the server will be, and see. Returns 0 or the errno of why not; 0 too when that fails
 * for other reasons, which the start will name. known: the file that was read. */
static int try_as_server(const struct netd_server *server, const struct stat *known)
{
	const struct settings *settings = &server->settings;
	struct stat found;
	int fd;

	if (privileges_drop(&server->identity, settings->chroot, true, NULL) < 0)
		return 0;
	fd = open(path_within(settings), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &found) < 0)
		return errno;
	/* A link may lead to another file there, which nobody has looked at. */
	return found.st_dev == known->st_dev && found.st_ino == known->st_ino ? 0 : ENOENT;
}

/* In a process of its own: what it becomes it cannot undo. */
static int try_aside(const struct netd_server *server)
{
	struct stat known;
	int status = 0;
	pid_t pid;

	if (stat(server->settings.rules, &known) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		_exit(try_as_server(server, &known));
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : 0;
}

int server_check_rules(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	struct identity *identity = &server->identity;
	char label[256], who[128] = "";
	int rc;

	if (!settings->rules || (!settings->chroot && !identity->set_uid && !identity->set_gid))
		return 0;
	server_label(settings, "rules", label, sizeof label);
	if (!path_within(settings))
		return err_set(
		    &server->err, -EINVAL,
		    "%s: found %s, expected a file below %s (--chroot): it is read again "
		    "when it has changed",
		    label, settings->rules, settings->chroot);
	rc = geteuid() == 0 ? try_aside(server) : 0;
	if (rc == 0)
		return 0;
	if (identity->set_uid)
		snprintf(who, sizeof who, " as user %s", identity->user);
	err_set(&server->err, rc, "%s: %s could not be read again%s%s%s when it has changed: %s",
		label, settings->rules, who, settings->chroot ? " below " : "",
		settings->chroot ? settings->chroot : "", strerror(-rc));
	return rc;
}

int server_settle_rules(struct netd_server *server)
{
	const struct settings *settings = &server->settings;
	int rc = 0;

	if (settings->rules && settings->chroot)
		rc = access_move_rules(server->access, path_within(settings));
	return rc < 0 ? err_set(&server->err, rc, "out of memory") : 0;
}

/* chdir("/") comes later. */
static int make_absolute(struct settings *settings, struct err *err)
{
	char *folder, *path = NULL, label[256];

	if (!settings->rules || settings->rules[0] == '/')
		return 0;
	folder = getcwd(NULL, 0);
	if (!folder) {
		int rc = -errno;

		server_label(settings, "rules", label, sizeof label);
		return err_sys(err, rc, "%s: %s: the current directory", label, settings->rules);
	}
	if (asprintf(&path, "%s/%s", folder, settings->rules) < 0)
		path = NULL;
	free(folder);
	if (!path)
		return err_set(err, -ENOMEM, "out of memory");
	free(settings->rules);
	settings->rules = path;
	return 0;
}

/* --------------------------------------------------------------------------------- all of them */

int server_load_access(struct netd_server *server)
{
	struct settings *settings = &server->settings;
	struct value_warn warn = {.warn = add_warning, .arg = settings};
	char deny[256], allow[256], rules[256];
	struct access_fronts fronts = {
	    .clients = settings->clients,
	    .origin = clients_origin(settings),
	    .deny = &settings->deny,
	    .allow = &settings->allow,
	    .deny_label = deny,
	    .allow_label = allow,
	    .rules_owner = geteuid(),
	    .rules_label = rules,
	};
	int rc = make_absolute(settings, &server->err);

	if (rc < 0)
		return rc;
	fronts.rules = settings->rules;
	server_label(settings, "deny", deny, sizeof deny);
	server_label(settings, "allow", allow, sizeof allow);
	server_label(settings, "rules", rules, sizeof rules);
	return access_open(&server->access, &fronts, &warn, &server->err);
}
