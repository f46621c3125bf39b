/*
 * defer.c - what happens at the end of a connection, last in first out: functions the handler
 * deferred, memory it took, connections it dialled, the stream it asked for.
 */
#include "conn/conn.h"

#include <errno.h>
#include <stdlib.h>

/* One entry; memory from netd_alloc() follows it in the same allocation. */
struct conn_defer {
	struct conn_defer *next;
	void (*fn)(void *arg); /* NULL: memory only */
	void *arg;
	max_align_t memory[];
};

static struct conn_defer *defer_push(struct netd_conn *conn, size_t size)
{
	struct conn_defer *entry;

	if (size > SIZE_MAX - sizeof *entry)
		return NULL;
	entry = calloc(1, sizeof *entry + size);
	if (!entry)
		return NULL;
	entry->next = conn->deferred;
	conn->deferred = entry;
	return entry;
}

int netd_defer(struct netd_conn *conn, void (*fn)(void *arg), void *arg)
{
	struct conn_defer *entry = defer_push(conn, 0);

	if (!entry)
		return conn_fail(conn, -ENOMEM, "defer");
	entry->fn = fn;
	entry->arg = arg;
	return 0;
}

void conn_undefer(struct netd_conn *conn, void (*fn)(void *arg), const void *arg)
{
	struct conn_defer **link = &conn->deferred;

	while (*link && ((*link)->fn != fn || (*link)->arg != arg))
		link = &(*link)->next;
	if (*link) {
		struct conn_defer *entry = *link;

		*link = entry->next;
		free(entry);
	}
}

void *netd_alloc(struct netd_conn *conn, size_t size)
{
	struct conn_defer *entry = defer_push(conn, size);

	if (!entry) {
		conn_fail(conn, -ENOMEM, "alloc");
		errno = ENOMEM;
		return NULL;
	}
	return entry->memory;
}

static int call_first(struct netd_conn *conn)
{
	struct conn_defer *entry = conn->deferred;
	void (*fn)(void *arg) = entry->fn;

	entry->fn = NULL; /* a netd_fatal() in it must not call it again */
	fn(entry->arg);
	return 0;
}

/*
 * Two walks: first every function, with all memory still there (a deferred function may use what
 * was allocated after it), then the memory. A function may defer more: those run next.
 */
void conn_unwind(struct netd_conn *conn)
{
	struct conn_defer *kept = NULL;

	while (conn->deferred) {
		struct conn_defer *entry = conn->deferred;

		if (entry->fn) {
			conn_guard(conn, call_first);
			continue; /* look again: it may have pushed an entry */
		}
		conn->deferred = entry->next;
		entry->next = kept;
		kept = entry;
	}
	while (kept) {
		struct conn_defer *next = kept->next;

		free(kept);
		kept = next;
	}
}
