/*
 * chat_mailbox.h - how one handler tells another something: messages that are shared, and mailboxes
 * with a bell. Every function may be called from any thread unless it says "the owner"; none of
 * them ever waits for anything but a lock that is held for a moment.
 */
#ifndef CHAT_MAILBOX_H
#define CHAT_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define MAILBOX_SIZE 64 /* messages */

/* One text for all who get it; it is freed when the last one drops it. */
struct message {
	atomic_int holders;
	size_t length;
	char text[];
};

/* Room for so many bytes and a NUL; held by the caller, length 0. NULL: there is no memory. */
struct message *message_new(size_t size);

/* The same, filled; what goes beyond MESSAGE_TEXT bytes is cut off. */
#define MESSAGE_TEXT 1024
struct message *message_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The caller does not need it any more. Takes NULL, returns NULL. */
struct message *message_drop(struct message *message);

struct mailbox {
	int bell; /* an eventfd, readable when there may be something: for netd_poll() */
	pthread_mutex_t lock; /* for what follows */
	struct message *messages[MAILBOX_SIZE];
	size_t first, count;
	unsigned long lost; /* since the owner was told */
};

/* Returns 0 or -errno. */
int mailbox_init(struct mailbox *box);

/* When nobody else can find it any more. */
void mailbox_finish(struct mailbox *box);

/* Put a message in and ring. A full mailbox loses its oldest one. The caller keeps his hold. */
void mailbox_put(struct mailbox *box, struct message *message);

/* Wake the owner without a message. */
void mailbox_ring(struct mailbox *box);

/* The owner, before he takes messages: what comes later rings again. */
void mailbox_hush(struct mailbox *box);

/* The owner: the oldest message, his to drop, or NULL. *lost: how many were lost before it. */
struct message *mailbox_take(struct mailbox *box, unsigned long *lost);

#endif
