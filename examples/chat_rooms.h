/*
 * chat_rooms.h - the hall, its rooms, the members in them: what handlers share. Every function is
 * called with the hall's lock held, unless it says otherwise, and none waits.
 */
#ifndef CHAT_ROOMS_H
#define CHAT_ROOMS_H

#include "chat_mailbox.h"

#include <pthread.h>
#include <stdbool.h>

#define NAME_SIZE 24
#define LINE_SIZE 512 /* the longest thing a member can say, and a NUL */

struct member {
	struct hall *hall;
	struct mailbox box; /* has a lock of its own, taken after the hall's */

	/* Under the hall's lock; only the member's own handler changes them. */
	struct room *room;   /* NULL: in none */
	struct member *next; /* in that room */
	char name[NAME_SIZE];

	/* The handler's own: what he has said of a line so far. */
	char line[LINE_SIZE];
	size_t length;
	bool too_long;
};

struct room {
	struct room *next;
	struct member *members; /* never none: the last one who leaves takes the room down */
	char name[NAME_SIZE];
};

struct hall {
	pthread_mutex_t lock;
	struct room *rooms;
};

/* Could it name a member or a room? Needs no lock. */
bool good_name(const char *name);

/* Does a member have it? Case does not matter. */
bool hall_knows(const struct hall *hall, const char *name);

/* Go there, from where he is, if anywhere. Both rooms are told. Returns 0 or -ENOMEM: he stays. */
int room_enter(struct member *member, const char *name);

/* Be nowhere. The room is told. */
void room_leave(struct member *member);

/* For everybody in his room but himself. message is taken over. Without memory (NULL) it is lost,
 * as by a full mailbox. */
void room_tell(const struct member *from, struct message *message);

/* Who is in his room, as a line. NULL: there is no memory. */
struct message *room_list(const struct member *member);

#endif
