/*
 * children.c - what a process that forks knows about each child: a hash table by pid, with open
 * addressing, at most half full.
 *
 * Happy path: children_reserve() before fork(), children_add() after it, children_remove() when
 * the child was reaped. Failure: only children_reserve() can fail, while there is no child yet.
 */
#include "os/os.h"
#include "proc/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define SIZE_FIRST 32 /* slots, about a page; always a power of two */

/* Where a search for this pid starts. Pids mostly count up: the multiplier spreads them. */
static size_t home(const struct children *children, pid_t pid)
{
	return (size_t)((uint32_t)pid * UINT32_C(2654435769)) & (children->size - 1);
}

static size_t after(const struct children *children, size_t slot)
{
	return (slot + 1) & (children->size - 1);
}

/* The slot of this pid, or the free one (pid 0) where it would go. */
static struct child *seek(const struct children *children, pid_t pid)
{
	size_t slot = home(children, pid);

	while (children->slots[slot].pid != 0 && children->slots[slot].pid != pid)
		slot = after(children, slot);
	return &children->slots[slot];
}

int children_reserve(struct children *children)
{
	struct children grown = {.size = children->size ? children->size * 2 : SIZE_FIRST};

	if ((children->count + 1) * 2 <= children->size)
		return 0;
	grown.slots = os_own_memory(grown.size * sizeof *grown.slots);
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < children->size; i++)
		if (children->slots[i].pid)
			children_add(&grown, &children->slots[i]);
	os_own_memory_free(children->slots, children->size * sizeof *children->slots);
	*children = grown;
	return 0;
}

void children_add(struct children *children, const struct child *child)
{
	struct child *slot;

	slot = seek(children, child->pid);
	if (slot->pid == 0)
		children->count++;
	*slot = *child;
}

/* Fill a hole by what a search would no longer find past it, until there is no such thing. */
static void close_hole(struct children *children, size_t hole)
{
	const size_t mask = children->size - 1;
	size_t slot = hole;

	children->slots[hole] = (struct child){0};
	for (slot = after(children, hole); children->slots[slot].pid;
	     slot = after(children, slot)) {
		size_t wanted = home(children, children->slots[slot].pid);

		/* It may stay when its home lies behind the hole, up to where it is. */
		if (((slot - wanted) & mask) < ((slot - hole) & mask))
			continue;
		children->slots[hole] = children->slots[slot];
		children->slots[slot] = (struct child){0};
		hole = slot;
	}
}

bool children_remove(struct children *children, pid_t pid, struct child *out)
{
	struct child *slot;

	if (pid <= 0 || children->count == 0)
		return false;
	slot = seek(children, pid);
	if (slot->pid != pid)
		return false;
	if (out)
		*out = *slot;
	close_hole(children, (size_t)(slot - children->slots));
	children->count--;
	return true;
}

void children_kill(const struct children *children, int signo)
{
	for (size_t i = 0; i < children->size; i++)
		if (children->slots[i].pid > 0)
			kill(children->slots[i].pid, signo);
}

void children_finish(struct children *children)
{
	os_own_memory_free(children->slots, children->size * sizeof *children->slots);
	*children = (struct children){0};
}

void child_status_text(int status, char *out, size_t size)
{
	if (WIFEXITED(status))
		snprintf(out, size, "exited with status %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(out, size, "died from signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else if (WIFSTOPPED(status))
		snprintf(out, size, "stopped by signal %d (%s)", WSTOPSIG(status),
			 strsignal(WSTOPSIG(status)));
	else
		snprintf(out, size, "changed its state (%#x)", (unsigned)status);
}
