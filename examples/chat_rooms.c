/*
 * chat_rooms.c - lists of rooms and members, and what a room is told.
 *
 * Happy path: the first one to enter a room builds it, the last one to leave takes it down.
 * Failure: without memory nobody moves (room_enter()), and what a room should be told is lost.
 */
#include "chat_rooms.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool good_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

	return n > 0 && n < NAME_SIZE && !name[n];
}

bool hall_knows(const struct hall *hall, const char *name)
{
	for (const struct room *room = hall->rooms; room; room = room->next)
		for (const struct member *at = room->members; at; at = at->next)
			if (strcasecmp(at->name, name) == 0)
				return true;
	return false;
}

void room_tell(const struct member *from, struct message *message)
{
	for (struct member *to = from->room->members; message && to; to = to->next)
		if (to != from)
			mailbox_put(&to->box, message);
	message_drop(message);
}

/* Find it, or build it: for somebody who enters at once. Returns NULL when there is no memory. */
static struct room *room_open(struct hall *hall, const char *name)
{
	struct room *room = hall->rooms;

	while (room && strcmp(room->name, name) != 0)
		room = room->next;
	if (room)
		return room;
	room = calloc(1, sizeof *room);
	if (!room)
		return NULL;
	(void)snprintf(room->name, sizeof room->name, "%s", name);
	room->next = hall->rooms;
	hall->rooms = room;
	return room;
}

void room_leave(struct member *member)
{
	struct room *room = member->room, **rooms = &member->hall->rooms;
	struct member **members = &room->members;

	room_tell(member, message_format("* %s left\n", member->name));
	while (*members != member)
		members = &(*members)->next;
	*members = member->next;
	member->room = NULL;
	if (room->members)
		return;
	while (*rooms != room)
		rooms = &(*rooms)->next;
	*rooms = room->next;
	free(room);
}

int room_enter(struct member *member, const char *name)
{
	struct room *room = room_open(member->hall, name);

	if (!room)
		return -ENOMEM;
	if (room == member->room)
		return 0;
	if (member->room)
		room_leave(member);
	member->next = room->members;
	room->members = member;
	member->room = room;
	room_tell(member, message_format("* %s joined\n", member->name));
	return 0;
}

struct message *room_list(const struct member *member)
{
	const struct room *room = member->room;
	struct message *list;
	size_t most = sizeof "*:\n" + NAME_SIZE;
	int n;

	for (const struct member *at = room->members; at; at = at->next)
		most += NAME_SIZE;
	list = message_new(most);
	if (!list)
		return NULL;
	n = snprintf(list->text, most, "* %s:", room->name);
	for (const struct member *at = room->members; at && n > 0; at = at->next) {
		list->length += (size_t)n;
		n = snprintf(list->text + list->length, most - list->length, " %s", at->name);
	}
	list->length += n > 0 ? (size_t)n : 0;
	list->text[list->length++] = '\n';
	return list;
}
