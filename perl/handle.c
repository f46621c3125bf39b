/*
 * handle.c - what a running Bind holds outside of Perl.
 *
 * Happy path: see handle.h. Failure modes: a bind, a pid file or a change of identity that fails
 * gives words and leaves what was there. A child that somebody else reaped is found out by asking
 * the system for each one that is counted.
 */
#include "handle.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct handle *handle_new(void)
{
	struct handle *handle = calloc(1, sizeof *handle);

	if (!handle)
		return NULL;
	handle->owner = getpid();
	handle->pidfile.fd = -1;
	handle->nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	return handle;
}

void handle_forget(struct handle *handle)
{
	pidfile_forget(&handle->pidfile);
	for (size_t i = 0; i < handle->listeners.count; i++)
		*handle->listeners.items[i].path = '\0';
	handle->owner = 0;
}

void handle_leave(struct handle *handle, int fd)
{
	if (fd < 0)
		return;
	if (handle->nothing < 0 || dup2(handle->nothing, fd) < 0)
		close(fd);
	else
		os_set_cloexec(fd, true);
}

void handle_free(struct handle *handle)
{
	if (!handle)
		return;
	if (handle->owner != getpid())
		handle_forget(handle);
	listeners_finish(&handle->listeners);
	pidfile_release(&handle->pidfile);
	children_finish(&handle->children);
	if (handle->nothing >= 0)
		close(handle->nothing);
	free(handle);
}

/* The descriptors become Perl's; what is needed to remove a socket file stays. */
int handle_listen(struct handle *handle, const char *address, int backlog, unsigned mode,
		  struct handle_bound *out, size_t size, struct err *err)
{
	const struct listen_config config = {
	    .backlog = backlog, .mode = mode, .uid = -1, .gid = -1};
	struct listeners *listeners = &handle->listeners;
	size_t before = listeners->count;
	struct address parsed;
	int rc = address_parse(&parsed, address, err);

	if (rc == 0)
		rc = listener_open(listeners, &parsed, &config, err);
	if (rc < 0)
		return rc;
	for (size_t i = before; i < listeners->count; i++) {
		if (i - before < size)
			out[i - before] = (struct handle_bound){.fd = listeners->items[i].fd,
								.kind = listeners->items[i].kind};
		else
			close(listeners->items[i].fd); /* more addresses than we listen on */
		listeners->items[i].fd = -1;
	}
	return (int)(listeners->count - before < size ? listeners->count - before : size);
}

/* ---------------------------------------------------------------------------------------- identity
 */

int handle_identity(struct handle *handle, const char *user, const char *group, struct err *err)
{
	return identity_find(&handle->identity, user, group, err);
}

int handle_drop(struct handle *handle, const char *chroot_dir, bool strict, struct err *err)
{
	struct identity *identity = &handle->identity;

	identity->exec_may_gain = !strict;
	/* Cores as the limits say: the program is the user's own. */
	return privileges_drop(identity, chroot_dir, true, err);
}

/* ---------------------------------------------------------------------------------------- children
 */

void handle_child_started(struct handle *handle, pid_t pid)
{
	const struct child child = {.pid = pid, .started_ms = clock_coarse_ms(), .slot = -1};

	if (children_reserve(&handle->children) == 0)
		children_add(&handle->children, &child);
}

void handle_child_ended(struct handle *handle, pid_t pid)
{
	children_remove(&handle->children, pid, NULL);
}

/* Reaped by us just now, or by somebody else before. */
static bool is_gone(pid_t pid)
{
	pid_t rc = waitpid(pid, NULL, WNOHANG);

	return rc == pid || (rc < 0 && errno == ECHILD);
}

size_t handle_children(struct handle *handle)
{
	struct children *children = &handle->children;
	pid_t pid;

	for (size_t i = 0; i < children->size;) {
		pid = children->slots[i].pid;
		if (pid > 0 && is_gone(pid))
			children_remove(children, pid, NULL); /* another may have moved here */
		else
			i++;
	}
	return children->count;
}
