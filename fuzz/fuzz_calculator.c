/*
 * fuzz_calculator.c - expressions from anybody. Whatever comes in: no crash, no sanitizer report, a
 * column within the text, words for every refusal; and a result printed in any base and typed in
 * again is the same result.
 */
#include "calc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void holds(bool condition)
{
	if (!condition)
		abort();
}

static void comes_back(int64_t value)
{
	static const struct {
		const char *base, *prefix;
	} bases[] = {{"dec", ""}, {"hex", "0x"}, {"oct", "0"}};

	for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
		char digits[CALC_TEXT_MAX], text[CALC_TEXT_MAX + 4];
		struct calc_error error;
		int64_t again = ~value;
		int n = calc_format(digits, value, bases[i].base);

		holds(n > 0 && n < CALC_TEXT_MAX && strlen(digits) == (size_t)n);
		n = snprintf(text, sizeof text, "%s%s", bases[i].prefix, digits);
		holds(calc_eval(text, (size_t)n, &again, &error) == 0);
		holds(again == value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char mark = 0x55;
	struct calc_error error = {0};
	int64_t value = mark;
	char *text = malloc(size ? size : 1); /* exactly: reading behind it is seen */
	int rc;

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	rc = calc_eval(text, size, &value, &error);
	if (rc == 0) {
		holds(error.words == NULL);
		comes_back(value);
	} else {
		holds(rc == -EINVAL || rc == -ERANGE || rc == -EDOM);
		holds(value == mark);
		holds(error.words && *error.words && error.column >= 1 && error.column <= size + 1);
	}
	free(text);
	return 0;
}
