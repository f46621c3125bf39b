/*
 * life.c - the phases of a process.
 *
 * SIGTERM or netd_server_stop(): serve -> drain. SIGINT, a second SIGTERM, the end of the drain
 * time, the end of --timeout: -> stop. SIGHUP and SIGUSR1 reopen the log in any phase.
 */
#include "mode/life.h"

#include "proc/proc.h"

#include <inttypes.h>
#include <unistd.h>

void life_init(struct life *life, struct log *log, struct shared *shared, int64_t timeout_ms,
	       int64_t drain_ms, bool leads)
{
	*life = (struct life){
	    .stop_at = timeout_ms > 0 ? clock_deadline(timeout_ms) : NETD_NEVER,
	    .kill_at = NETD_NEVER,
	    .drain_ms = drain_ms,
	    .leads = leads,
	    .log = log,
	    .shared = shared,
	};
}

void life_fork(struct life *life)
{
	life->leads = false;
	report_forget(life->report);
	life->report = NULL;
	life->child_ended = life->reopened = false;
	life->stop_at = life->kill_at = NETD_NEVER; /* the parent decides */
	life->parent = getppid();
}

enum phase life_phase(const struct life *life)
{
	return (enum phase)atomic_load(&life->phase);
}

static void enter(struct life *life, enum phase phase, const char *why)
{
	uint64_t active = shared_active(life->shared);
	enum netd_level level = life->leads ? NETD_NOTICE : NETD_DEBUG;

	/* First: whoever reads the line below may rely on it. */
	atomic_store(&life->phase, phase);
	if (life->leads)
		atomic_store(&life->shared->page->phase, phase);
	if (phase == PHASE_DRAIN) {
		life->stop_at = clock_deadline(life->drain_ms);
		log_write(life->log, level, NULL,
			  "%s: no new connections; %" PRIu64 " at work may finish within %" PRId64
			  ".%" PRId64 " s",
			  why, active, life->drain_ms / 1000, life->drain_ms % 1000 / 100);
		report_stopping(life->report, life->drain_ms + STOP_GRACE_MS);
	} else {
		life->stop_at = NETD_NEVER;
		life->kill_at = clock_deadline(STOP_GRACE_MS);
		log_write(life->log, level, NULL, "%s: stopping now; %" PRIu64 " connections cut",
			  why, active);
		report_stopping(life->report, STOP_GRACE_MS);
	}
}

void life_drain(struct life *life, const char *why)
{
	if (life_phase(life) == PHASE_SERVE)
		enter(life, PHASE_DRAIN, why);
}

static void stop(struct life *life, const char *why)
{
	if (life_phase(life) != PHASE_STOP)
		enter(life, PHASE_STOP, why);
}

static void take_log_signals(struct life *life)
{
	/* Both are taken: one reopening serves for both. */
	int hup = signals_take(SIGNAL_HUP);
	int usr1 = signals_take(SIGNAL_USR1);

	if (hup || usr1) {
		log_reopen(life->log);
		life->reopened = true;
	}
}

void life_update(struct life *life)
{
	bool draining = life_phase(life) == PHASE_DRAIN;
	int terms;

	signals_drain();
	take_log_signals(life);
	if (signals_take(SIGNAL_CHLD))
		life->child_ended = true;
	terms = signals_take(SIGNAL_TERM);
	if (terms)
		life_drain(life, "SIGTERM");
	if (signals_take(SIGNAL_INT))
		stop(life, "SIGINT");
	else if (life->leads && (terms > 1 || (terms && draining)))
		stop(life, "second SIGTERM");
	/* Only once: netd_server_stop() asks to drain, it does not shorten a drain. */
	if (life->leads && atomic_load(&life->shared->page->stop_wanted))
		life_drain(life, "stop requested");
	if (life->stop_at != NETD_NEVER && clock_ms() >= life->stop_at)
		stop(life, life_phase(life) == PHASE_DRAIN ? "drain time over" : "time-out");
	report_tick(life->report);
}

void life_update_child(struct life *life)
{
	signals_drain();
	take_log_signals(life);
	/* SIGTERM comes to whole process groups: it asks to finish, which a handler does anyway.
	 * But it comes from the death of the parent, too: from then on we watch the time ourselves.
	 */
	if (signals_take(SIGNAL_TERM) && getppid() != life->parent && life->stop_at == NETD_NEVER)
		life->stop_at = clock_deadline(life->drain_ms);
	if (signals_take(SIGNAL_INT))
		stop(life, "SIGINT");
	else if (life->stop_at != NETD_NEVER && clock_ms() >= life->stop_at)
		stop(life, "drain time over");
}

int64_t life_deadline(const struct life *life)
{
	return clock_earlier(clock_earlier(life->stop_at, life->kill_at),
			     report_deadline(life->report));
}
