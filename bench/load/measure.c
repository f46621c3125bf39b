/* measure.c - the clock, percentiles in constant memory (64 classes for each power of two), and how
 * busy the load generator itself is. */
#include "load.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static unsigned class_of(uint64_t ns)
{
	unsigned shift = 0;

	while (ns >> shift >= 128)
		shift++;
	return shift * 64 + (unsigned)(ns >> shift);
}

/* The middle of a class, in microseconds. */
static double value_of(unsigned class)
{
	unsigned shift = class < 128 ? 0 : class / 64 - 1;
	double low = (double)((uint64_t)(class - shift * 64) << shift);

	return (low + (double)(1ULL << shift) / 2) / 1000;
}

void latencies_add(struct latencies *latencies, int64_t ns)
{
	latencies->counts[class_of(ns < 0 ? 0 : (uint64_t)ns)]++;
	latencies->total++;
}

static double percentile(const struct latencies *latencies, double part)
{
	double wanted = (double)latencies->total * part;
	uint64_t sum = 0;

	for (unsigned i = 0; i < sizeof latencies->counts / sizeof *latencies->counts; i++) {
		sum += latencies->counts[i];
		if (sum > 0 && (double)sum >= wanted)
			return value_of(i);
	}
	return 0;
}

void latencies_print(const struct latencies *latencies)
{
	printf("\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f",
	       percentile(latencies, 0.5), percentile(latencies, 0.9), percentile(latencies, 0.99),
	       percentile(latencies, 0.999));
}

void busy_begin(struct busy *busy)
{
	puts("begin");
	fflush(stdout);
	busy->wall_ns = now_ns();
	busy->cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double busy_share(const struct busy *busy)
{
	int64_t wall_ns = now_ns() - busy->wall_ns;

	if (wall_ns <= 0)
		return 0;
	return (double)(read_clock(CLOCK_PROCESS_CPUTIME_ID) - busy->cpu_ns) / (double)wall_ns;
}
