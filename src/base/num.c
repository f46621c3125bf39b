/* num.c - numbers from people: strict, so that "0day", "1e3" or "010" never means something. */
#include "base/base.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

int num_parse(const char *text, long long min, long long max, long long *out)
{
	bool negative = *text == '-';
	const char *p = text + negative;
	long long value = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	if (*p == '0' && p[1])
		return -EINVAL; /* a leading zero would be octal elsewhere */
	for (; *p >= '0' && *p <= '9'; p++) {
		int digit = *p - '0';

		/* Gather on the negative side: it reaches one further. */
		if (value < (LLONG_MIN + digit) / 10)
			return -ERANGE;
		value = value * 10 - digit;
	}
	if (*p)
		return -EINVAL;
	if (!negative) {
		if (value == LLONG_MIN)
			return -ERANGE;
		value = -value;
	}
	if (value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int num_parse_seconds(const char *text, int64_t max_ms, int64_t *out_ms)
{
	const int64_t limit = INT64_MAX / 10000 - 1; /* room for a digit more, in ms */
	int64_t ms = 0;
	int64_t unit = 100;
	const char *p = text;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (ms > limit)
			return -ERANGE;
		ms = ms * 10 + (*p - '0');
	}
	ms *= 1000;
	if (*p == '.') {
		if (p[1] < '0' || p[1] > '9')
			return -EINVAL;
		for (p++; *p >= '0' && *p <= '9'; p++) {
			ms += unit * (*p - '0'); /* finer than a millisecond is dropped */
			unit /= 10;
		}
	}
	if (*p)
		return -EINVAL;
	if (ms == 0 && text[strcspn(text, "123456789")])
		ms = 1; /* but not to nothing, which often means "never" */
	if (ms > max_ms)
		return -ERANGE;
	*out_ms = ms;
	return 0;
}
