/*
 * idle.c - how long a wait for a descriptor may be: until the caller's deadline, or until he has
 * waited too long for one step, or until nothing has moved for too long (struct io_idle).
 *
 * Happy path: no limits, nothing is asked. With some, the clock is read once where a wait begins;
 * the system is asked what moves only when a wait is about to fail. Failure modes: a system that
 * does not tell: the descriptor is idle for as long as the caller could neither read nor write.
 */
#include "io/io.h"
#include "os/os.h"

#define COARSE_FROM_MS 1000
#define TICK_MS 10 /* of the coarse clock, at the most (HZ=100) */

/* What moves on it, now. A system that does not tell says: nothing. */
static struct os_flow ask_flow(const struct io_handle *handle)
{
	struct os_flow flow = {.mark = handle->idle->mark};

	os_get_flow(handle->fd, &flow);
	return flow;
}

static bool may_be_idle(const struct io_handle *handle)
{
	return !handle->idle || !handle->idle->limit_ms;
}

/* When this wait begins. A limit of a second or more may be longer by a tick: then the clock that
 * is read in passing will do, which is late by as much. */
static int64_t start_of(const struct io_handle *handle)
{
	if (handle->wait_ms >= COARSE_FROM_MS && may_be_idle(handle))
		return clock_coarse_ms() + TICK_MS;
	return clock_ms();
}

HOT_PATH struct io_wait io_wait_begin(struct io_handle *handle, short events, int64_t deadline)
{
	struct io_wait wait = {.until = deadline, .last = deadline};
	struct io_idle *idle = handle->idle;
	int64_t now;

	if (!io_is_limited(handle))
		return wait;
	now = start_of(handle);
	if (handle->wait_ms)
		wait.last = clock_earlier(deadline, now + handle->wait_ms);
	wait.until = wait.last;
	if (may_be_idle(handle))
		return wait;
	if (!idle->since)
		idle->since = now;
	if (events & NETD_OUT) /* output is queued: only a change of the mark tells */
		idle->mark = ask_flow(handle).mark;
	wait.until = clock_earlier(wait.last, idle->since + idle->limit_ms);
	return wait;
}

int64_t io_idle_ms(struct io_handle *handle, int64_t now)
{
	struct io_idle *idle = handle->idle;
	struct os_flow flow = ask_flow(handle);
	bool moved = flow.mark != idle->mark;

	idle->mark = flow.mark;
	if (!idle->since)
		idle->since = now;
	/* Without output under way the system knows the moment. With some, what it has sent may be
	 * the same once more, to a peer that takes nothing. */
	if ((moved || (flow.counted && !flow.queued)) && idle->since < now - flow.quiet_ms)
		idle->since = now - flow.quiet_ms;
	return now - idle->since;
}

bool io_wait_over(struct io_handle *handle, struct io_wait *wait)
{
	int64_t now, left;

	if (may_be_idle(handle) || wait->until >= wait->last)
		return true;
	now = clock_ms();
	left = handle->idle->limit_ms - io_idle_ms(handle, now);
	if (left <= 0) {
		handle->idle->over = true;
		return true;
	}
	wait->until = clock_earlier(wait->last, now + left);
	return false;
}
