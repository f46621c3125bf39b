/*
 * listener.c - the list of listeners: open, close, finish.
 *
 * Happy path: listener_open() binds into a list of its own and then moves that to the end of the
 * caller's; listeners_finish() removes the socket files and closes.
 * Failure modes: a bind that failed half-way is undone before the caller's list is touched. A
 * socket file that is not the one we made (another server's by now) is left where it is.
 */
#include "listen/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a person can do about a failed bind. */
static const struct hint {
	enum address_kind kind;
	int code;
	const char *text;
} hints[] = {
    {ADDRESS_TCP, -EACCES,
     "ports below 1024 need root or CAP_NET_BIND_SERVICE, or a lower "
     "`sysctl net.ipv4.ip_unprivileged_port_start`"},
    {ADDRESS_TCP, -EADDRINUSE, "another process listens there: see `ss -ltnp`"},
    {ADDRESS_TCP, -EADDRNOTAVAIL, "no such address on this machine: see `ip address`"},
    {ADDRESS_TCP, -EAFNOSUPPORT, "IPv6 is off on this machine"},
    {ADDRESS_TCP, -EINVAL, "a link-local address needs its interface: [fe80::1%eth0]"},
    {ADDRESS_TCP, -EMFILE, "out of descriptors: raise `ulimit -n`"},
    {ADDRESS_UNIX, -EACCES, "the user who starts the server must be able to write the directory"},
    {ADDRESS_UNIX, -ENOENT, "the directory does not exist"},
    {ADDRESS_UNIX, -EADDRINUSE, "something appeared there just now: is another server starting?"},
    {ADDRESS_UNIX, -EMFILE, "out of descriptors: raise `ulimit -n`"},
};

int listener_failed(struct err *err, int code, enum address_kind kind, const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(hints); i++)
		if (hints[i].kind == kind && hints[i].code == code)
			return err_set(err, code, "%s: %s (%s)", text, strerror(-code),
				       hints[i].text);
	return err_sys(err, code, "%s", text);
}

int listeners_add(struct listeners *listeners, const struct listener *item)
{
	struct listener *items = realloc(listeners->items, (listeners->count + 1) * sizeof *items);

	if (!items)
		return -ENOMEM;
	listeners->items = items;
	items[listeners->count++] = *item;
	return 0;
}

/* The listener that is in the way of an address of the same server; NULL: it is somebody else's. */
static const struct listener *in_the_way(const struct listeners *listeners,
					 const struct address *address, const char *words)
{
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *item = &listeners->items[i];
		const char *port = strrchr(item->text, ':');
		bool everywhere = !*address->host || strncmp(item->text, "tcp:*:", 6) == 0;

		if (item->kind == ADDRESS_TCP && address->kind == ADDRESS_TCP &&
		    ((everywhere && strcmp(port + 1, address->port) == 0) ||
		     strcmp(item->text, words) == 0))
			return item;
	}
	return NULL;
}

/* "another process listens there" would send people on a search. */
static int taken(const struct listeners *listeners, const struct address *address, struct err *err)
{
	char words[ADDRESS_WORDS_MAX];
	const struct listener *own;

	address_words(address, words);
	own = in_the_way(listeners, address, words);
	if (!own)
		return -EADDRINUSE;
	return err_set(err, -EADDRINUSE, "%s: %s (this server listens there already: %s)", words,
		       strerror(EADDRINUSE), own->text);
}

int listener_open(struct listeners *listeners, const struct address *address,
		  const struct listen_config *config, struct err *err)
{
	struct listeners made = {0};
	struct listener *items;
	int rc;

	rc =
	    (address->kind == ADDRESS_UNIX ? unix_listen : tcp_listen)(&made, address, config, err);
	if (rc == -EADDRINUSE)
		rc = taken(listeners, address, err);
	if (rc < 0)
		goto undo;
	items = realloc(listeners->items, (listeners->count + made.count) * sizeof *items);
	if (!items) {
		rc = err_sys(err, -ENOMEM, "listeners");
		goto undo;
	}
	memcpy(items + listeners->count, made.items, made.count * sizeof *items);
	listeners->items = items;
	listeners->count += made.count;
	free(made.items);
	return 0;
undo:
	listeners_finish(&made);
	return rc;
}

static void close_one(struct listener *listener)
{
	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
}

static void remove_path(const struct listener *listener)
{
	struct stat st;

	if (!*listener->path)
		return;
	if (fstatat(AT_FDCWD, listener->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISSOCK(st.st_mode) && (uint64_t)st.st_dev == listener->dev &&
	    (uint64_t)st.st_ino == listener->ino)
		unlink(listener->path);
}

void listeners_close(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++)
		close_one(&listeners->items[i]);
}

void listeners_finish(struct listeners *listeners)
{
	/* Remove before closing: as long as the socket lives its inode number is not given to
	 * another file, and no other server takes ours for a stale one. */
	for (size_t i = 0; i < listeners->count; i++) {
		remove_path(&listeners->items[i]);
		close_one(&listeners->items[i]);
	}
	free(listeners->items);
	*listeners = (struct listeners){0};
}
