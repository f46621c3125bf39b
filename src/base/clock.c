/* clock.c - time that never jumps, and events that are let through once per period. */
#include "base/base.h"

#include <time.h>

#define HOUR_MS (60 * 60 * 1000)

#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE CLOCK_MONOTONIC_COARSE
#else
#define COARSE CLOCK_MONOTONIC /* POSIX knows no other */
#endif

static int64_t read_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

HOT_PATH int64_t clock_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

HOT_PATH int64_t clock_coarse_ms(void)
{
	return read_ms(COARSE);
}

int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int clock_poll_timeout(int64_t deadline)
{
	int64_t left, now;

	if (deadline == INT64_MAX)
		return -1;
	now = clock_ms();
	if (deadline <= now)
		return 0;
	left = deadline - now;
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
