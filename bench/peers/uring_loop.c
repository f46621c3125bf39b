/*
 * uring_loop.c - the hand-written io_uring loop: one thread, one ring; one standing accept, one
 * standing receive for each connection into a ring of buffers that all share, and one system call a
 * turn, which hands in all that the turn produced and waits for more. An answer is sent from the
 * buffer it was received into; the buffer goes back when the send is done.
 *
 * One send at a time for each connection; what comes meanwhile is gathered and goes out with the
 * next. A connection that gathers too much is not read until its client has taken it.
 */
#include "lines.h"
#include "peer.h"

#include <errno.h>
#include <liburing.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#define ENTRIES 4096
#define BUFFERS 256 /* a power of two; few of them stay in the cache */
#define BUFFER_SIZE 4096
#define NO_BUFFER (-1)
#define OUT_LIMIT (256 * 1024)

enum { RECV, SEND, OTHER, MASK = 3 }; /* in the low bits of the user data */

struct conn {
	int fd;
	int buffer;        /* the one that is being sent from, or NO_BUFFER */
	bool reading;      /* a receive stands */
	bool sending;      /* a send is under way */
	bool ended;        /* no more input comes */
	bool failed;       /* no more output goes */
	bool pausing;      /* its receive is being cancelled */
	bool starving;     /* it found no buffer, and stands in the list of those */
	struct bytes rest; /* an unfinished line */
	struct bytes sent; /* what is being sent, when not from a buffer */
	struct bytes out;  /* what comes after it */
	struct conn *next; /* in that list */
};

static struct io_uring ring;
static struct io_uring_buf_ring *pool;
static char *memory;
static bool returned; /* a buffer, since the last look */
static struct conn *starved;

static void give_back(int buffer)
{
	if (buffer == NO_BUFFER)
		return;
	io_uring_buf_ring_add(pool, memory + (size_t)buffer * BUFFER_SIZE, BUFFER_SIZE,
			      (unsigned short)buffer, io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(pool, 1);
	returned = true;
}

static struct io_uring_sqe *next_sqe(struct conn *conn, unsigned kind)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	while (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	sqe->user_data = (uintptr_t)conn | kind;
	return sqe;
}

/* The prep functions of this liburing leave user_data alone. */
static void start_accept(int listener)
{
	struct io_uring_sqe *sqe = next_sqe(NULL, OTHER);

	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
}

static void start_recv(struct conn *conn)
{
	struct io_uring_sqe *sqe = next_sqe(conn, RECV);

	io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	conn->reading = true;
}

static void start_send(struct conn *conn, const char *data, size_t size)
{
	struct io_uring_sqe *sqe = next_sqe(conn, SEND);

	io_uring_prep_send(sqe, conn->fd, data, size, MSG_NOSIGNAL | MSG_WAITALL);
	conn->sending = true;
}

static void send_gathered(struct conn *conn)
{
	conn->sent = conn->out;
	conn->out = (struct bytes){0};
	start_send(conn, conn->sent.data, conn->sent.used);
}

static int gather(void *arg, const char *data, size_t size)
{
	return bytes_add(&((struct conn *)arg)->out, data, size);
}

/* What came in is complete lines and nothing waits: send it from where it is. */
static bool send_in_place(struct conn *conn, const char *data, size_t n, int buffer)
{
	if (conn->sending || conn->rest.used || lines_whole(data, n) != n)
		return false;
	conn->buffer = buffer;
	start_send(conn, data, n);
	return true;
}

static void fail(struct conn *conn)
{
	conn->failed = true;
	bytes_free(&conn->out);
	shutdown(conn->fd, SHUT_RDWR); /* the standing receive ends by it */
}

static void pause_recv(struct conn *conn)
{
	struct io_uring_sqe *sqe = next_sqe(NULL, SEND);

	io_uring_prep_cancel64(sqe, (uintptr_t)conn | RECV, 0);
	conn->pausing = true;
}

static void received(struct conn *conn, int n, int buffer)
{
	const char *data = memory + (size_t)buffer * BUFFER_SIZE;

	if (!conn->failed && send_in_place(conn, data, (size_t)n, buffer))
		return;
	if (!conn->failed && lines_feed(&conn->rest, data, (size_t)n, gather, conn) < 0)
		fail(conn);
	give_back(buffer);
	if (conn->out.used > OUT_LIMIT && conn->reading && !conn->pausing)
		pause_recv(conn);
}

/* Whatever comes next: another send, another receive, or the end. */
static void go_on(struct conn *conn)
{
	if (conn->ended && !conn->failed && conn->rest.used) {
		if (gather(conn, conn->rest.data, conn->rest.used) < 0)
			fail(conn);
		bytes_free(&conn->rest);
	}
	if (!conn->sending && conn->out.used)
		send_gathered(conn);
	if (conn->reading || conn->sending || conn->starving)
		return;
	if (!conn->ended) {
		start_recv(conn);
		return;
	}
	io_uring_prep_close(next_sqe(NULL, SEND), conn->fd);
	bytes_free(&conn->rest);
	free(conn);
}

static void on_recv(struct conn *conn, const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE))
		conn->reading = conn->pausing = false;
	if (cqe->res > 0) {
		received(conn, cqe->res, (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
	} else if (cqe->res == -ENOBUFS) {
		conn->starving = true;
		conn->next = starved;
		starved = conn;
		return;
	} else if (cqe->res != -ECANCELED) {
		conn->ended = true;
	}
	go_on(conn);
}

static void on_send(struct conn *conn, const struct io_uring_cqe *cqe)
{
	conn->sending = false;
	give_back(conn->buffer);
	conn->buffer = NO_BUFFER;
	bytes_free(&conn->sent);
	if (cqe->res <= 0 && !conn->failed)
		fail(conn);
	go_on(conn);
}

static void on_accept(int listener, const struct io_uring_cqe *cqe)
{
	struct conn *conn = cqe->res < 0 ? NULL : calloc(1, sizeof *conn);

	if (!(cqe->flags & IORING_CQE_F_MORE))
		start_accept(listener);
	if (conn) {
		conn->fd = cqe->res;
		conn->buffer = NO_BUFFER;
		start_recv(conn);
	} else if (cqe->res >= 0) {
		close(cqe->res);
	}
}

static void feed_the_starved(void)
{
	struct conn *conn = starved;

	starved = NULL;
	for (struct conn *next; conn; conn = next) {
		next = conn->next;
		conn->starving = false;
		go_on(conn);
	}
}

static void set_up(void)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
					 .cq_entries = 4 * ENTRIES};
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS};
	size_t size = BUFFERS * sizeof(struct io_uring_buf);

	errno = -io_uring_queue_init_params(ENTRIES, &ring, &params);
	if (errno)
		peer_die("io_uring");
	pool = mmap(NULL, size + BUFFERS * BUFFER_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool == MAP_FAILED)
		peer_die("mmap");
	memory = (char *)pool + size;
	io_uring_buf_ring_init(pool);
	reg.ring_addr = (uintptr_t)pool;
	errno = -io_uring_register_buf_ring(&ring, &reg, 0);
	if (errno)
		peer_die("buffer ring");
	for (int i = 0; i < BUFFERS; i++)
		give_back(i);
}

int main(int argc, char **argv)
{
	int listener = peer_listen(argc, argv, 0);

	signal(SIGPIPE, SIG_IGN);
	set_up();
	start_accept(listener);
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned head;
		unsigned seen = 0;

		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			unsigned kind = cqe->user_data & MASK;
			// NOLINTNEXTLINE(performance-no-int-to-ptr)
			struct conn *conn = (struct conn *)(uintptr_t)(cqe->user_data - kind);

			if (kind == OTHER)
				on_accept(listener, cqe);
			else if (conn && kind == RECV)
				on_recv(conn, cqe);
			else if (conn)
				on_send(conn, cqe);
			seen++;
		}
		io_uring_cq_advance(&ring, seen);
		if (returned && starved)
			feed_the_starved();
		returned = false;
	}
}
