/*
 * chat.c - rooms in which people talk: many connections of one process, talking to each other.
 *
 * The pattern, for any service whose connections have something to say to each other:
 *
 *   A connection belongs to its handler. No other handler ever touches its struct netd_conn, or
 *   anything on the handler's stack. What others may touch is the member, memory by netd_alloc():
 *   of it only name and links (under the hall's lock) and the mailbox (under the mailbox's own).
 *
 *   Whoever has something for a member puts it into his mailbox and rings his bell, an eventfd.
 *   Neither ever waits. A full mailbox loses its oldest message, and counts: a member who reads
 *   slowly costs himself messages and nobody else time.
 *
 *   The member's handler waits by netd_poll() for two things: his socket, then reads what he says,
 *   and his bell, then writes what is in his mailbox. It alone writes to the connection.
 *
 *   A lock is never held over a call that may wait (any netd_ call with a connection in it): other
 *   handlers, perhaps on the same thread, would wait for the lock, and for ever. Locks are taken in
 *   one order: the hall's, then a mailbox's.
 *
 *   The end: netd_defer() takes the member out of the hall, under its lock. From then on nobody can
 *   find him, and his memory goes with the connection.
 *
 *   netd_poll() knows nothing of input that the connection has buffered. So nothing may be left
 *   there: input is read with room for at least 4096 bytes, which goes past the buffer, and is
 *   cut into lines here; netd_line() would read ahead.
 *
 * Happy path: a member joins the lobby, names himself, joins a room, talks, quits. Failure: no
 * memory, or a member who takes nothing for a minute: his connection ends, and the others are told
 * that he left. Members in different processes would not hear each other, so modes with more than
 * one process are refused at the start.
 */
#include "chat_mailbox.h"
#include "chat_rooms.h"
#include "chat_text.h"

#include <errno.h>
#include <inttypes.h>
#include <netdaemon.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define CHUNK_SIZE 4096               /* see above */
#define STALL_MS (60 * INT64_C(1000)) /* a member may take nothing for so long */
#define GUEST "guest"                 /* names that begin so are given, not taken */

#define ENDED 1 /* a member has left, in good order */

/* ------------------------------------------------------------------------ what a member may say */

/* Each returns 0, ENDED or -errno. */

static int answer(ssize_t n)
{
	return n < 0 ? (int)n : 0;
}

static int join(struct netd_conn *c, struct member *member, const char *name)
{
	int rc;

	if (!good_name(name))
		return answer(netd_printf(c, "* not a name for a room\n"));
	pthread_mutex_lock(&member->hall->lock);
	rc = room_enter(member, name);
	pthread_mutex_unlock(&member->hall->lock);
	return rc < 0 ? rc : answer(netd_printf(c, "* you are in %s\n", name));
}

static int rename_member(struct netd_conn *c, struct member *member, const char *name)
{
	struct hall *hall = member->hall;
	bool taken;

	if (!good_name(name) || strncasecmp(name, GUEST, sizeof GUEST - 1) == 0)
		return answer(netd_printf(c, "* not a name for you\n"));
	pthread_mutex_lock(&hall->lock);
	taken = hall_knows(hall, name);
	if (!taken) {
		room_tell(member, message_format("* %s is now %s\n", member->name, name));
		(void)snprintf(member->name, sizeof member->name, "%s", name);
	}
	pthread_mutex_unlock(&hall->lock);
	return answer(netd_printf(c, taken ? "* %s is taken\n" : "* you are %s\n", name));
}

static int list(struct netd_conn *c, struct member *member, const char *unused)
{
	struct message *message;
	int rc;

	(void)unused;
	pthread_mutex_lock(&member->hall->lock);
	message = room_list(member);
	pthread_mutex_unlock(&member->hall->lock);
	if (!message)
		return -ENOMEM;
	rc = answer(netd_write(c, message->text, message->length));
	message_drop(message);
	return rc;
}

static int quit(struct netd_conn *c, struct member *member, const char *unused)
{
	ssize_t n = netd_printf(c, "* bye, %s\n", member->name);

	(void)unused;
	return n < 0 ? (int)n : ENDED;
}

static int say(struct member *member, const char *text)
{
	pthread_mutex_lock(&member->hall->lock);
	room_tell(member, message_format("<%s> %s\n", member->name, text));
	pthread_mutex_unlock(&member->hall->lock);
	return 0;
}

static const struct {
	const char *word;
	int (*fn)(struct netd_conn *c, struct member *member, const char *argument);
} commands[] = {{"/join", join}, {"/name", rename_member}, {"/who", list}, {"/quit", quit}};

static int obey(struct netd_conn *c, struct member *member, char *line)
{
	size_t length = strcspn(line, " ");
	char *argument = line + length;

	argument += strspn(argument, " ");
	argument[strcspn(argument, " ")] = '\0';
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strlen(commands[i].word) == length &&
		    memcmp(commands[i].word, line, length) == 0)
			return commands[i].fn(c, member, argument);
	return answer(netd_printf(c, "* /join ROOM, /name NAME, /who, /quit\n"));
}

static int end_line(struct netd_conn *c, struct member *member)
{
	size_t n = member->length;

	member->length = 0;
	if (member->too_long) {
		member->too_long = false;
		return answer(netd_printf(c, "* too long\n"));
	}
	if (n > 0 && member->line[n - 1] == '\r')
		n--;
	if (n == 0)
		return 0;
	text_clean(member->line, n);
	member->line[n] = '\0';
	return member->line[0] == '/' ? obey(c, member, member->line) : say(member, member->line);
}

/* ----------------------------------------------------------------------------------- the handler
 */

/* What has come from him; there is something. */
static int hear(struct netd_conn *c, struct member *member)
{
	char chunk[CHUNK_SIZE];
	ssize_t n = netd_read(c, chunk, sizeof chunk);
	int rc = 0;

	if (n < 0)
		return (int)n;
	if (n == 0) {
		rc = member->length > 0 ? end_line(c, member) : 0; /* the last newline may lack */
		return rc < 0 ? rc : ENDED;
	}
	for (ssize_t i = 0; i < n && rc == 0; i++) {
		if (chunk[i] == '\n')
			rc = end_line(c, member);
		else if (member->length < LINE_SIZE - 1)
			member->line[member->length++] = chunk[i];
		else
			member->too_long = true;
	}
	return rc;
}

/* What is there for him. Not more than a mailbox full at a time: he may want to say something. */
static int deliver(struct netd_conn *c, struct member *member)
{
	struct message *message;
	unsigned long lost;
	int rc = 0;

	mailbox_hush(&member->box);
	for (int i = 0; i < MAILBOX_SIZE && rc == 0; i++) {
		message = mailbox_take(&member->box, &lost);
		if (!message)
			return 0;
		if (lost > 0)
			rc = answer(netd_printf(c, "* you read too slowly: %lu lost\n", lost));
		if (rc == 0)
			rc = answer(netd_write(c, message->text, message->length));
		message_drop(message);
	}
	mailbox_ring(&member->box); /* there may be more */
	return rc;
}

/* Deferred. */
static void leave(void *arg)
{
	struct member *member = arg;

	pthread_mutex_lock(&member->hall->lock);
	if (member->room)
		room_leave(member);
	pthread_mutex_unlock(&member->hall->lock);
	mailbox_finish(&member->box);
}

/* Returns 0 and the member in *out, or -errno. */
static int enter(struct netd_conn *c, struct member **out)
{
	struct member *member = netd_alloc(c, sizeof *member);
	int rc;

	if (!member)
		return -ENOMEM;
	member->hall = netd_server_data(netd_conn_server(c));
	rc = mailbox_init(&member->box);
	if (rc < 0)
		return rc;
	rc = netd_defer(c, leave, member);
	if (rc < 0) {
		mailbox_finish(&member->box);
		return rc;
	}
	(void)snprintf(member->name, sizeof member->name, GUEST "%" PRIu64, netd_conn_id(c));
	*out = member;
	return 0;
}

static int run(struct netd_conn *c)
{
	struct netd_pollfd fds[2] = {{.fd = netd_fd(c), .events = NETD_IN}, {.events = NETD_IN}};
	struct member *member = NULL;
	int rc = enter(c, &member);

	if (rc < 0)
		return rc;
	fds[1].fd = member->box.bell;
	rc = answer(netd_printf(c, "* welcome, %s\n", member->name));
	if (rc == 0)
		rc = join(c, member, "lobby");
	while (rc == 0) {
		netd_set_deadline(c, netd_now() + STALL_MS);
		rc = netd_flush(c);
		if (rc == 0)
			rc = netd_poll(fds, 2, NETD_NEVER);
		if (rc < 0)
			break;
		netd_set_deadline(c, netd_now() + STALL_MS);
		rc = fds[0].revents ? hear(c, member) : 0;
		if (rc == 0 && fds[1].revents)
			rc = deliver(c, member);
	}
	return rc < 0 ? rc : 0;
}

/* ------------------------------------------------------------------------------------- start-up */

static int configure(struct netd_server *server)
{
	static struct hall hall = {.lock = PTHREAD_MUTEX_INITIALIZER};
	const char *mode = netd_server_option(server, "mode");

	if (netd_server_option_int(server, "childs") > 0)
		return netd_server_fail(server, -EINVAL,
					"--childs: members in different processes would not hear "
					"each other");
	if (strcmp(mode, "threads") != 0 && strcmp(mode, "fibers") != 0)
		return netd_server_fail(
		    server, -EINVAL, "--mode %s: people can only talk in threads or fibers", mode);
	netd_server_set_data(server, &hall);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct netd_service chat =
	    NETD_SERVICE(.name = "chat", .version = "1.0", .summary = "Rooms to talk in.",
			 .configure = configure, .run = run);

	/* Nobody leaves because the server would like to stop: not long to wait for. */
	return netd_main(&chat, NETD_CONFIG(.localport = "7782", .drain_timeout = 1), argc, argv);
}
