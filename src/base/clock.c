/* clock.c - time that never jumps, and events that are let through once per period. */
#include "base/base.h"

#include <time.h>

#define HOUR_MS (60 * 60 * 1000)

int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int clock_poll_timeout(int64_t deadline)
{
	int64_t left;

	if (deadline == INT64_MAX)
		return -1;
	left = deadline - clock_ms();
	if (left <= 0)
		return 0;
	return left > HOUR_MS ? HOUR_MS : (int)left;
}

int64_t clock_deadline(int64_t ms)
{
	int64_t now = clock_ms();

	if (ms < 0 || ms >= INT64_MAX - now)
		return INT64_MAX;
	return now + ms;
}

bool throttle_pass(struct throttle *throttle, int64_t period_ms, uint64_t *held)
{
	int64_t now = clock_ms();

	if (throttle->next_ms && now < throttle->next_ms) {
		throttle->held++;
		return false;
	}
	throttle->next_ms = now + period_ms;
	*held = throttle->held;
	throttle->held = 0;
	return true;
}
