/*
 * limits_rate.c - token buckets, each of them one number: the moment until which the rate is used
 * up. One more moves it on by an interval; it may be ahead of now by a burst. Nothing has to be
 * refilled, and a process that dies in between leaves no bucket half changed.
 */
#include "access/limits_table.h"

#define HOUR_NS (INT64_C(3600) * 1000000000)
#define HOUR_S 3600
#define NOTICE_NS (INT64_C(5) * 1000000000)

struct limits_rate limits_rate(long long per_hour, long long burst, long long burst_min)
{
	struct limits_rate rate = {0};

	if (per_hour <= 0)
		return rate;
	if (burst <= 0)
		burst = per_hour / HOUR_S > burst_min ? per_hour / HOUR_S : burst_min;
	rate.interval_ns = HOUR_NS / per_hour > 0 ? HOUR_NS / per_hour : 1;
	rate.burst_ns = rate.interval_ns * burst; /* 3.6e12 times 1e6 at most: it fits */
	return rate;
}

bool limits_rate_next(const struct limits_rate *rate, int64_t ahead, int64_t now_ns, int64_t *next,
		      int64_t *wait_ns)
{
	int64_t after;

	if (ahead > now_ns + rate->burst_ns) /* the clock went back */
		ahead = now_ns + rate->burst_ns;
	after = (ahead > now_ns ? ahead : now_ns) + rate->interval_ns;
	if (after - now_ns > rate->burst_ns) {
		*wait_ns = after - now_ns - rate->burst_ns;
		return false;
	}
	*next = after;
	return true;
}

int64_t limits_take(struct limits *limits, int64_t now_ns)
{
	int64_t ahead, next, wait_ns;

	if (limits->accept_rate.interval_ns == 0)
		return 0;
	ahead = atomic_load(&limits->page->ahead);
	do
		if (!limits_rate_next(&limits->accept_rate, ahead, now_ns, &next, &wait_ns))
			return wait_ns;
	while (!atomic_compare_exchange_weak(&limits->page->ahead, &ahead, next));
	return 0;
}

void limits_give_back(struct limits *limits)
{
	atomic_fetch_sub(&limits->page->ahead, limits->accept_rate.interval_ns);
}

bool limits_notice(struct limits *limits, enum limits_verdict kind, int64_t now_ns, uint64_t *held)
{
	struct limits_throttle *throttle = &limits->page->throttles[kind];
	int64_t next = atomic_load(&throttle->next_ns);

	if ((next != 0 && now_ns < next) ||
	    !atomic_compare_exchange_strong(&throttle->next_ns, &next, now_ns + NOTICE_NS)) {
		atomic_fetch_add(&throttle->held, 1);
		return false;
	}
	*held = atomic_exchange(&throttle->held, 0);
	return true;
}
