/*
 * step.c - waiting: listening sockets, the timer of Loop, signals, and the pause when something has
 * run out.
 *
 * Happy path: block signals, see that none waits for its handler, ppoll(2) with the old mask: no
 * signal falls into a gap. The timer lives on the monotonic clock and keeps its phase: a Loop that
 * took long shifts nothing, one that took longer than a period costs the turns it slept through.
 * Failure: a wait that fails is a step without news; the shortage it comes from is met by accept,
 * and that by the pause.
 */
#include "step.h"

#include "os/os.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#define PAUSE_FIRST_MS 50
#define PAUSE_LAST_MS 1000
#define COMPLAINT_MS 10000 /* one line of the log for that long a shortage */
#define THREADED_MS 1000   /* see struct step_sources */

/* ----------------------------------------------------------------------------------------- timer
 */

static void timer_set(struct step *step, int64_t loop_ms, int64_t now)
{
	if (loop_ms == step->loop_ms)
		return;
	step->loop_ms = loop_ms;
	step->loop_at = now + loop_ms;
}

static bool timer_fires(struct step *step, int64_t now)
{
	int64_t late;

	if (step->loop_ms <= 0 || now < step->loop_at)
		return false;
	late = now - step->loop_at;
	step->loop_at += step->loop_ms * (1 + late / step->loop_ms);
	return true;
}

/* ------------------------------------------------------------------------------------------ wait
 */

static bool is_paused(struct step *step, int64_t now)
{
	if (step->resume_at && now >= step->resume_at)
		step->resume_at = 0;
	return step->resume_at != 0;
}

/* Milliseconds until the first thing that time alone brings about; -1: nothing. */
static int64_t sleep_ms(const struct step *step, const struct step_sources *sources, int64_t now)
{
	int64_t ms = sources->at_most_ms;
	int64_t others[] = {
	    step->loop_ms > 0 ? step->loop_at - now : -1,
	    step->resume_at ? step->resume_at - now : -1,
	    sources->threads ? THREADED_MS : -1,
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (others[i] >= 0 && (ms < 0 || others[i] < ms))
			ms = others[i];
	return ms;
}

static int wait_plain(struct pollfd *fds, nfds_t count, int64_t ms)
{
	return poll(fds, count, (int)ms);
}

static int wait_masked(struct pollfd *fds, nfds_t count, int64_t ms, const volatile int *signals)
{
	struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	sigset_t all, before;
	int rc = -1;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	if (!*signals)
		rc = ppoll(fds, count, ms < 0 ? NULL : &timeout, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* Whoever was served last is looked at last. */
static bool first_ready(struct step *step, const struct pollfd *fds, size_t count, size_t *ready)
{
	for (size_t i = 0; i < count; i++) {
		size_t at = (step->turn + i) % count;

		if (fds[at].fd >= 0 && fds[at].revents) {
			*ready = at;
			step->turn = at + 1;
			return true;
		}
	}
	return false;
}

/* False: there is no connection after all, another process was faster. */
static bool take(const struct step_sources *sources, size_t socket, struct step_ready *ready)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	bool taken = sources->sockets[socket].accept;
	int fd = 0;

	if (taken)
		fd = os_accept(sources->sockets[socket].fd, &address, &size);
	if (fd == -EAGAIN || fd == -EWOULDBLOCK || fd == -EINTR)
		return false;
	*ready = (struct step_ready){.socket = socket, .taken = taken, .fd = fd};
	return true;
}

static enum step_event sleep_until(struct step *step, const struct step_sources *sources,
				   int64_t now, bool paused, struct step_ready *ready)
{
	struct pollfd fds[STEP_SOCKETS_MAX + 1];
	size_t count = sources->count, socket;
	int64_t ms = sleep_ms(step, sources, now);
	int rc;

	for (size_t i = 0; i < count; i++)
		fds[i] =
		    (struct pollfd){.fd = paused ? -1 : sources->sockets[i].fd, .events = POLLIN};
	fds[count] = (struct pollfd){.fd = sources->wake, .events = POLLIN};
	if (sources->threads)
		rc = *sources->signals ? -1 : wait_plain(fds, (nfds_t)count + 1, ms);
	else
		rc = wait_masked(fds, (nfds_t)count + 1, ms, sources->signals);
	if (rc < 0)
		return STEP_INTR;
	if (rc > 0 && first_ready(step, fds, count, &socket))
		return take(sources, socket, ready) ? STEP_ACCEPT : STEP_AGAIN;
	return timer_fires(step, clock_ms()) ? STEP_TIMER : STEP_AGAIN;
}

static enum step_event wait_once(struct step *step, const struct step_sources *sources,
				 struct step_ready *ready)
{
	int64_t now = clock_ms();
	bool paused = is_paused(step, now);

	timer_set(step, sources->loop_ms, now);
	if (timer_fires(step, now))
		return STEP_TIMER;
	if (*sources->signals || step->interrupted) {
		step->interrupted = false;
		return STEP_INTR;
	}
	/* A server at work has the next connection waiting: then this is the only system call. */
	if (sources->count == 1 && sources->sockets[0].accept && !paused && take(sources, 0, ready))
		return STEP_ACCEPT;
	return sleep_until(step, sources, now, paused, ready);
}

enum step_event step_wait(struct step *step, const struct step_sources *sources,
			  struct step_ready *ready)
{
	enum step_event event;

	do
		event = wait_once(step, sources, ready);
	while (event == STEP_AGAIN && sources->at_most_ms < 0 && sources->wake < 0);
	return event;
}

/* ----------------------------------------------------------------------------------------- pause
 */

bool step_pause(struct step *step, uint64_t *held)
{
	if (!step->pause_ms)
		step->pause_ms = PAUSE_FIRST_MS;
	step->resume_at = clock_ms() + step->pause_ms;
	step->pause_ms = step->pause_ms * 2 < PAUSE_LAST_MS ? step->pause_ms * 2 : PAUSE_LAST_MS;
	return throttle_pass(&step->complaints, COMPLAINT_MS, held);
}

void step_resume(struct step *step)
{
	step->pause_ms = 0;
}
