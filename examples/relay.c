/*
 * relay.c - a TCP proxy: each client is connected to the server named by --to, and what one says
 * the other hears. Several things happen at once here, which blocking calls cannot do: this handler
 * waits for two sockets by netd_poll(), and reads and writes them without blocking by netd_fd().
 *
 * Happy path: each of the two ways is in one of three states. TAKING: its buffer is empty, it waits
 * for its sender to be readable. GIVING: the buffer is not, it waits for its receiver to be
 * writable. CLOSED: the sender has ended, everything was passed on, the receiver was told so by
 * shutdown(2). So a slow side stops only the way that leads to it, and when one side has ended, the
 * other may still talk. Both ways closed: done.
 *
 * Failure: when one side is reset or fails, or nothing moves for too long, both connections are
 * reset: nobody takes half of the data for all of it. A server that cannot be reached is logged,
 * and the client is reset. One line at the end says how much went each way.
 */
#include <errno.h>
#include <inttypes.h>
#include <netdaemon.h>
#include <string.h>
#include <sys/socket.h>

#define BUFFER_SIZE 16384

enum state { TAKING, GIVING, CLOSED };

/* From one socket to the other. */
struct way {
	int from, to; /* indices of fds */
	enum state state;
	size_t start, end; /* what of the buffer is still to be given */
	uint64_t bytes;    /* given so far */
	char buffer[BUFFER_SIZE];
};

enum { CLIENT, SERVER, SIDES };

struct relay {
	struct netd_pollfd fds[SIDES];
	int sockets[SIDES];
	bool hung_up[SIDES]; /* said so while nothing was wanted of it, and would again and again */
	struct way up, down;
};

/* Nothing to do now, as poll(2) was wrong or a signal came: no error. */
static bool try_again(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int give(struct relay *relay, struct way *way)
{
	ssize_t n = send(relay->sockets[way->to], way->buffer + way->start, way->end - way->start,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return try_again() ? 0 : -errno;
	way->start += (size_t)n;
	way->bytes += (uint64_t)n;
	if (way->start == way->end)
		way->state = TAKING;
	return 0;
}

static int take(struct relay *relay, struct way *way)
{
	ssize_t n = recv(relay->sockets[way->from], way->buffer, BUFFER_SIZE, MSG_DONTWAIT);

	if (n < 0)
		return try_again() ? 0 : -errno;
	if (n == 0) {
		way->state = CLOSED;
		return shutdown(relay->sockets[way->to], SHUT_WR) < 0 ? -errno : 0;
	}
	way->start = 0;
	way->end = (size_t)n;
	way->state = GIVING;
	return give(relay, way); /* mostly there is room: saves a wait */
}

/* One step, if what this way waits for has happened; or a failure, which the step will meet. */
static int step(struct relay *relay, struct way *way)
{
	if (way->state == TAKING && (relay->fds[way->from].revents & ~NETD_OUT))
		return take(relay, way);
	if (way->state == GIVING && (relay->fds[way->to].revents & ~NETD_IN))
		return give(relay, way);
	return 0;
}

/* A side that both ways want nothing of may still be reset; then the other is not kept waiting. A
 * mere hang-up is no failure: what it sent before is still in its socket. */
static int watch(struct relay *relay, int side)
{
	const struct netd_pollfd *fd = &relay->fds[side];
	socklen_t size = sizeof(int);
	int error = 0;

	if (fd->events || !fd->revents)
		return 0;
	relay->hung_up[side] = true;
	if (!(fd->revents & NETD_FAILED))
		return 0;
	(void)getsockopt(fd->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error ? -error : -ECONNRESET;
}

static void want(struct relay *relay, const struct way *way)
{
	if (way->state == TAKING)
		relay->fds[way->from].events |= NETD_IN;
	if (way->state == GIVING)
		relay->fds[way->to].events |= NETD_OUT;
}

/* Returns 0 when one of the sockets is ready, or -errno. */
static int wait_for_news(struct relay *relay, int64_t deadline)
{
	int rc;

	for (int side = 0; side < SIDES; side++)
		relay->fds[side] = (struct netd_pollfd){.fd = relay->sockets[side]};
	want(relay, &relay->up);
	want(relay, &relay->down);
	for (int side = 0; side < SIDES; side++)
		if (!relay->fds[side].events && relay->hung_up[side])
			relay->fds[side].fd = -1;
	rc = netd_poll(relay->fds, SIDES, deadline);
	if (rc == 0)
		return -ETIMEDOUT;
	return rc < 0 ? rc : 0;
}

static int relay_run(struct relay *relay, int64_t idle_ms)
{
	int rc = 0;

	while (rc == 0 && (relay->up.state != CLOSED || relay->down.state != CLOSED)) {
		rc = wait_for_news(relay, netd_now() + idle_ms);
		if (rc == 0)
			rc = step(relay, &relay->up);
		if (rc == 0)
			rc = step(relay, &relay->down);
		for (int side = 0; rc == 0 && side < SIDES; side++)
			rc = watch(relay, side);
	}
	return rc;
}

/* Let the close that follows be a reset. */
static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static int connect_sides(struct netd_conn *c, struct relay *relay)
{
	const struct netd_server *server = netd_conn_server(c);
	int64_t patience = 1000 * netd_server_option_int(server, "connect-time");
	const char *to = netd_server_option(server, "to");
	struct netd_conn *dialled;
	int rc;

	/* Both before anything is read: from here on the input of these sockets is ours alone. */
	relay->sockets[CLIENT] = netd_fd(c);
	rc = netd_dial(c, to, netd_now() + patience, &dialled);
	if (rc < 0) { /* the library logs it, as we return what it said */
		reset(relay->sockets[CLIENT]);
		return rc;
	}
	relay->sockets[SERVER] = netd_fd(dialled);
	return 0;
}

static int run(struct netd_conn *c)
{
	int64_t idle_ms = 1000 * netd_server_option_int(netd_conn_server(c), "idle-time");
	struct relay *relay = netd_alloc(c, sizeof *relay);
	int rc;

	if (!relay)
		return -ENOMEM;
	relay->up.to = relay->down.from = SERVER;
	relay->up.from = relay->down.to = CLIENT;
	rc = connect_sides(c, relay);
	if (rc < 0)
		return rc;
	rc = relay_run(relay, idle_ms);
	for (int side = 0; rc < 0 && side < SIDES; side++)
		reset(relay->sockets[side]);
	netd_log(c, NETD_INFO, "relayed %" PRIu64 " bytes up, %" PRIu64 " down: %s",
		 relay->up.bytes, relay->down.bytes, rc < 0 ? strerror(-rc) : "ended by both");
	return rc;
}

/* Complain now rather than to the first client. Names are looked up when they are needed. */
static int configure(struct netd_server *server)
{
	const char *to = netd_server_option(server, "to");

	if (!to)
		return netd_server_fail(server, -EINVAL, "--to must be given");
	if (strncmp(to, "tcp:", 4) != 0 && strncmp(to, "unix:", 5) != 0)
		return netd_server_fail(server, -EINVAL, "--to %s: not tcp:HOST:PORT or unix:PATH",
					to);
	return 0;
}

static const struct netd_option options[] = {
    {.name = "to",
     .type = NETD_OPTION_STRING,
     .argument = "ADDRESS",
     .help = "connect each client to this server: tcp:HOST:PORT, unix:PATH"},
    {.name = "connect-time",
     .type = NETD_OPTION_INT,
     .value = "10",
     .min = 1,
     .max = 86400,
     .argument = "SECONDS",
     .help = "give up when the server does not answer for so long"},
    {.name = "idle-time",
     .type = NETD_OPTION_INT,
     .value = "300",
     .min = 1,
     .max = 86400,
     .argument = "SECONDS",
     .help = "hang up when neither side sends anything for so long"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
	static const struct netd_service relay =
	    NETD_SERVICE(.name = "relay", .version = "1.0",
			 .summary = "Connect each client to another server.", .options = options,
			 .configure = configure, .run = run);

	return netd_main(&relay, NETD_CONFIG(.localport = "7783"), argc, argv);
}
