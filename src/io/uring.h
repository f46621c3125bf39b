/*
 * uring.h - between the files of the io_uring poller.
 *
 * A slot stands for one connection or one armed watch. Every request names its slot by index,
 * generation and kind of operation; completions are believed only if all three fit. A slot is used
 * again, and its descriptor closed, when its last request has completed.
 *
 *   uring.c          the row of operations, wait(), what a completion goes to
 *   uring_slots.c    slots, requests, watches on any descriptor
 *   uring_conn.c     connections: reading
 *   uring_send.c     connections: writing, closing
 *   uring_buffers.c  what is received into
 *   ring.c           the queues and the system calls
 */
#ifndef IO_URING_H
#define IO_URING_H

#include "io/direct.h"
#include "io/pollers.h"
#include "io/ring.h"
#include "io/uring_buffers.h"

/* What a request is for. Its slot has the bit 1 << kind while it is under way. */
enum uring_op {
	URING_RECEIVE, /* into provided buffers, again and again */
	URING_POLL_IN,
	URING_POLL_OUT,
	URING_SEND,
	URING_OPS,
};

#define URING_BIT(op) (1U << (op))
#define URING_UNDER_WAY (URING_BIT(URING_OPS) - 1)

/* More bits of a slot. */
#define URING_IS_WATCH 0x0010U  /* not of a connection: of an armed watch, .in */
#define URING_CLOSING 0x0020U   /* when nothing is under way any more */
#define URING_CANCELLED 0x0040U /* its receive was asked to end */
#define URING_DIRECT 0x0080U    /* nothing is read ahead: poll, then receive */
#define URING_STARVED 0x0100U   /* the same for once, as there was no buffer */
#define URING_EOF 0x0200U       /* the end of input came */

struct uring_slot {
	int fd;
	uint16_t generation;
	uint16_t flags;
	uint16_t last;      /* of the filled buffers; valid if queued */
	uint16_t queued;    /* number of them */
	uint16_t in_error;  /* errno for reads */
	uint16_t out_error; /* errno for sends */
	struct io_watch *in, *out;
	char *post;         /* a buffer of uring->buffers that is being sent */
	uint16_t post_size; /* bytes of it */
	uint16_t post_done;
	uint32_t next; /* among those not in use */
};

/* Slots that were seen with more input than a handler should leave unread. */
#define URING_CROWD 16

struct uring {
	struct ring ring;
	struct buffers *buffers;  /* borrowed */
	struct buffers small;     /* for what is posted in few bytes */
	struct uring_slot *slots; /* [0] is not used */
	uint32_t slots_made, slots_size;
	uint32_t slots_free; /* the first one; 0: none */
	uint32_t under_way;  /* requests */
	uint32_t strays;     /* completions that fit no slot */
	unsigned starved;    /* receives that found no buffer since the last wait */
	unsigned crowded;    /* slots in crowd */
	uint32_t crowd[URING_CROWD];
	struct watch_due due;
	struct uring_buffers received;
};

/* As poller_uring.open, for tests also with queues of other sizes. */
int uring_open(struct poller **out, struct buffers *buffers, const struct ring_config *config,
	       struct err *err);

static inline struct uring *uring_of(struct poller *it)
{
	return (struct uring *)(void *)it;
}

/* A completion, whatever it says. */
void uring_complete(struct uring *uring, const struct io_uring_cqe *cqe);

/* Go through all completions that are there. Nothing is fired. */
void uring_reap(struct uring *uring);

/* ---------------------------------------------------------------------------- uring_slots.c */

/* Moves slots: pointers to them are dead. Returns 0 when there is no memory. */
uint32_t uring_slot_new(struct uring *uring, int fd);
void uring_slot_free(struct uring *uring, struct uring_slot *slot);

/* A request of a slot; what the operation needs is still to be filled in. */
struct io_uring_sqe *uring_request(struct uring *uring, struct uring_slot *slot, enum uring_op op,
				   uint8_t opcode);
/* Ask the kernel to end what is under way (bits). */
void uring_cancel(struct uring *uring, struct uring_slot *slot, unsigned bits);
/* Poll once for the events of URING_POLL_IN or _OUT. */
void uring_poll_fd(struct uring *uring, struct uring_slot *slot, enum uring_op op, short events);

/* A watch of a slot has something to fire for; NULL is taken. */
void uring_due(struct uring *uring, struct io_watch **watch, short revents);

void uring_poll_done(struct uring *uring, struct uring_slot *slot, enum uring_op op, int result);

int uring_arm(struct poller *poller, struct io_watch *watch);
void uring_disarm(struct poller *poller, struct io_watch *watch);

/* ----------------------------------------------------------------------------- uring_conn.c */

/* The slot of a connection, made now if need be; NULL: no memory. */
struct uring_slot *uring_conn(struct uring *uring, struct io_handle *handle);

void uring_receive_done(struct uring *uring, struct uring_slot *slot, int result, unsigned flags);

/* Stop reading ahead of connections whose handlers leave much unread. */
void uring_thin_crowd(struct uring *uring);

/* Give up what was received and not read. */
void uring_drop_input(struct uring *uring, struct uring_slot *slot);

/* See that a request is under way that ends the wait of slot->in. */
void uring_start_reading(struct uring *uring, struct uring_slot *slot);

/* Would recv() or lend() find something? */
static inline bool uring_is_readable(const struct uring_slot *slot)
{
	return slot->queued || slot->in_error || (slot->flags & URING_EOF);
}

ssize_t uring_recv(struct poller *poller, struct io_handle *handle, void *data, size_t size);
ssize_t uring_lend(struct poller *poller, struct io_handle *handle, char **data);
void uring_give_back(struct poller *poller, char *data);
void uring_expose(struct poller *poller, struct io_handle *handle);

/* ----------------------------------------------------------------------------- uring_send.c */

void uring_send_done(struct uring *uring, struct uring_slot *slot, int result);

ssize_t uring_send(struct poller *poller, struct io_handle *handle, const struct iovec *iov,
		   int count);
int uring_post(struct poller *poller, struct io_handle *handle, char *buffer, size_t size);
int uring_await(struct poller *poller, struct io_handle *handle, struct io_watch *watch);
void uring_close_handle(struct poller *poller, struct io_handle *handle);

/* Close what was waiting for its last request, if this was it. */
void uring_may_close(struct uring *uring, struct uring_slot *slot);

#endif
