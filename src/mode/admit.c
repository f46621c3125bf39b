/*
 * admit.c - who is let in by the limits (security rule 13; access/limits.h does the counting).
 *
 * Happy path: admit_turn() -> accept(2) -> admit_peer(): a place is held until admit_end().
 * Failure modes: too many from one source: that connection is closed at once, before anything is
 * made for it; the accept rate is used up: the queue of the kernel holds the rest; no room to count
 * a source: it is let in. Each is counted, and logged once per 5 s over all workers.
 */
#include "mode/admit.h"

#include <inttypes.h>

#define NS_PER_MS 1000000
#define PER_REPORT "%" PRIu64 " since the last report"

int admit_init(struct shared *shared, const struct settings *settings)
{
	struct limits_config config = {
	    .max_per_address = settings->max_per_address,
	    .max_per_prefix = settings->max_per_prefix,
	    .rate_per_address = settings->rate_per_address,
	    .rate_burst = settings->rate_burst,
	    .accept_rate = settings->accept_rate,
	    .accept_burst = settings->accept_burst,
	    .prefix_ipv4 = (int)settings->prefix_ipv4,
	    .prefix_ipv6 = (int)settings->prefix_ipv6,
	    .workers = shared->count,
	    .rows = LIMITS_ROWS_USUAL,
	};

	if (settings->max_connections > 0)
		config.rows = (size_t)settings->max_connections * LIMITS_ROWS_EACH;
	if (config.rows < LIMITS_ROWS_MIN)
		config.rows = LIMITS_ROWS_MIN;
	return limits_new(&shared->limits, &config);
}

/* ------------------------------------------------------------------------------ accept rate */

bool admit_turn(struct worker *worker)
{
	struct limits *limits = worker->shared->limits;
	int64_t now_ns, wait_ns;
	uint64_t held;

	if (!limits || worker->settings->accept_rate == 0)
		return true;
	now_ns = clock_ns();
	wait_ns = limits_take(limits, now_ns);
	if (wait_ns == 0)
		return true;
	worker->rate_until = clock_deadline((wait_ns + NS_PER_MS - 1) / NS_PER_MS);
	if (limits_notice(limits, LIMITS_DEFERRED, now_ns, &held))
		log_write(worker->env->log, NETD_NOTICE, NULL,
			  "--accept-rate is reached: new connections wait (" PER_REPORT ")",
			  held + 1);
	return false;
}

void admit_no_turn(struct worker *worker)
{
	if (worker->shared->limits && worker->settings->accept_rate != 0)
		limits_give_back(worker->shared->limits);
}

/* ------------------------------------------------------------------------------- one peer */

/* Only for the one line in 5 s: the words cost more than the refusal. */
static void report(struct worker *worker, enum limits_verdict verdict,
		   const struct access_peer *peer, int64_t now_ns)
{
	static const struct {
		const char *words;
		const char *option; /* NULL: there is none */
	} kinds[LIMITS_KINDS] = {
	    [LIMITS_UNTRACKED] = {"let in uncounted: no room to count connections of", NULL},
	    [LIMITS_ADDRESS] = {"refused: too many connections from", "max-per-address"},
	    [LIMITS_PREFIX] = {"refused: too many connections from the network of",
			       "max-per-prefix"},
	    [LIMITS_RATE] = {"refused: too many new connections from", "rate-per-address"},
	};
	struct log *log = worker->env->log;
	char text[ACCESS_TEXT_MAX];
	uint64_t held;

	if (!limits_notice(worker->shared->limits, verdict, now_ns, &held))
		return;
	access_peer_text(peer, text);
	if (kinds[verdict].option)
		log_write(log, NETD_WARNING, NULL, "%s %s (--%s; " PER_REPORT ")",
			  kinds[verdict].words, text, kinds[verdict].option, held + 1);
	else
		log_write(log, NETD_WARNING, NULL, "%s %s (" PER_REPORT ")", kinds[verdict].words,
			  text, held + 1);
}

bool admit_peer(struct worker *worker, const struct sockaddr_storage *address, uint64_t *hold)
{
	struct access_peer peer;
	enum limits_verdict verdict;
	int64_t now_ns;

	*hold = 0;
	if (!worker->shared->limits)
		return true;
	access_peer_from(&peer, address);
	now_ns = clock_ns();
	verdict = limits_admit(worker->shared->limits, worker->slot, &peer, now_ns, hold);
	if (verdict == LIMITS_ADMITTED)
		return true;
	atomic_fetch_add(verdict == LIMITS_UNTRACKED ? &worker->shared->page->untracked
						     : &worker->shared->page->limited,
			 1);
	report(worker, verdict, &peer, now_ns);
	return verdict == LIMITS_UNTRACKED;
}

void admit_end(struct worker *worker, uint64_t hold)
{
	struct limits *limits = worker->shared->limits;

	if (hold == 0)
		return;
	if (worker->in_child)
		limits_announce(limits, worker->slot, hold);
	else
		limits_release(limits, worker->slot, hold);
}
