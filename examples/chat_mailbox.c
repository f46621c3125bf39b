/*
 * chat_mailbox.c - messages that are counted by their holders, and mailboxes: a ring of messages, a
 * lock, a bell.
 *
 * Happy path: mailbox_put() into an empty mailbox rings; the owner wakes, hushes the bell, takes
 * messages until there are none. He hushes first, so that a message that comes meanwhile rings
 * again; at worst he wakes for nothing. Failure: a full mailbox loses its oldest message and counts
 * it; without memory there is no message, which the caller sees.
 */
#include "chat_mailbox.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct message *message_new(size_t size)
{
	struct message *message = malloc(sizeof *message + size + 1);

	if (!message)
		return NULL;
	atomic_init(&message->holders, 1);
	message->length = 0;
	return message;
}

struct message *message_format(const char *format, ...)
{
	const size_t most = MESSAGE_TEXT;
	struct message *message = message_new(most);
	va_list args;
	int n;

	if (!message)
		return NULL;
	va_start(args, format);
	n = vsnprintf(message->text, most + 1, format, args);
	va_end(args);
	message->length = n < 0 ? 0 : (size_t)n <= most ? (size_t)n : most;
	return message;
}

struct message *message_drop(struct message *message)
{
	if (message && atomic_fetch_sub(&message->holders, 1) == 1)
		free(message);
	return NULL;
}

int mailbox_init(struct mailbox *box)
{
	box->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (box->bell < 0)
		return -errno;
	(void)pthread_mutex_init(&box->lock, NULL); /* a plain one cannot fail */
	return 0;
}

/* A bell that rings already may refuse to ring louder. */
void mailbox_ring(struct mailbox *box)
{
	const uint64_t once = 1;

	while (write(box->bell, &once, sizeof once) < 0 && errno == EINTR)
		;
}

void mailbox_put(struct mailbox *box, struct message *message)
{
	bool ring;

	atomic_fetch_add(&message->holders, 1);
	pthread_mutex_lock(&box->lock);
	if (box->count == MAILBOX_SIZE) {
		message_drop(box->messages[box->first]);
		box->first = (box->first + 1) % MAILBOX_SIZE;
		box->count--;
		box->lost++;
	}
	ring = box->count == 0;
	box->messages[(box->first + box->count++) % MAILBOX_SIZE] = message;
	pthread_mutex_unlock(&box->lock);
	if (ring)
		mailbox_ring(box);
}

struct message *mailbox_take(struct mailbox *box, unsigned long *lost)
{
	struct message *message = NULL;

	pthread_mutex_lock(&box->lock);
	*lost = box->lost;
	box->lost = 0;
	if (box->count > 0) {
		message = box->messages[box->first];
		box->first = (box->first + 1) % MAILBOX_SIZE;
		box->count--;
	}
	pthread_mutex_unlock(&box->lock);
	return message;
}

void mailbox_hush(struct mailbox *box)
{
	uint64_t rings;

	while (read(box->bell, &rings, sizeof rings) < 0 && errno == EINTR)
		;
}

void mailbox_finish(struct mailbox *box)
{
	unsigned long lost;
	struct message *message;

	while ((message = mailbox_take(box, &lost)))
		message_drop(message);
	(void)pthread_mutex_destroy(&box->lock);
	(void)close(box->bell);
}
