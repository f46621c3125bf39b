/*
 * scarce.h - memory that runs out at the n-th allocation. A program that includes it is linked with
 * --wrap for the five functions below (unit_wraps in meson.build).
 *
 *	for (long n = 0; !spared; n++) {
 *		scarce_from(n);
 *		... what is tested ...
 *		spared = scarce_over();
 *	}
 */
#ifndef TESTS_UNIT_SCARCE_H
#define TESTS_UNIT_SCARCE_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static long scarce_left = -1; /* calls until one fails; negative: none does */

/* The n-th allocation from now on fails, that one only; 0 is the first. */
static inline void scarce_from(long n)
{
	scarce_left = n;
}

/* Memory is plenty again. True when the n-th allocation never came: nothing has failed. */
static inline bool scarce_over(void)
{
	bool spared = scarce_left >= 0;

	scarce_left = -1;
	return spared;
}

static inline bool scarce_fails(void)
{
	if (scarce_left < 0 || scarce_left-- > 0)
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void *__wrap_malloc(size_t size)
{
	return scarce_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return scarce_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return scarce_fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
	return scarce_fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
	return scarce_fails() ? NULL : __real_strndup(text, size);
}

#endif
