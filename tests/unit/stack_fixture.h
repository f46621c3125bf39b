/*
 * stack_fixture.h - stacks to test, system calls below them that can be made to fail, and the sum
 * of what they have mapped, which must be nothing in the end. A program that includes it is linked
 * with
 * --wrap for what scarce.h and this file replace (unit_wraps in meson.build).
 */
#ifndef TESTS_UNIT_STACK_FIXTURE_H
#define TESTS_UNIT_STACK_FIXTURE_H

#include "fiber/stack.h"
#include "scarce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE (64UL << 10)
#define GUARD_ADVICE 102 /* MADV_GUARD_INSTALL */

/* ------------------------------------------------------------------- calls made to fail */

static struct {
	int advice;            /* madvise(2) with this advice fails */
	bool mincore;          /* fails */
	long mmaps, mprotects; /* calls until all fail; negative: none does */
} refuse;
static size_t mapped; /* bytes that stacks hold */

static inline void refuse_nothing(void)
{
	refuse.advice = -1;
	refuse.mincore = false;
	refuse.mmaps = refuse.mprotects = -1;
}

static inline bool fails(long *left)
{
	if (*left < 0)
		return false;
	if (*left > 0) {
		--*left;
		return false;
	}
	errno = ENOMEM;
	return true;
}

void *__real_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t size);
int __real_madvise(void *address, size_t size, int advice);
int __real_mprotect(void *address, size_t size, int prot);
int __real_mincore(void *address, size_t size, unsigned char *pages);
void *__wrap_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t size);
int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_mprotect(void *address, size_t size, int prot);
int __wrap_mincore(void *address, size_t size, unsigned char *pages);

void *__wrap_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *memory = MAP_FAILED;

	if (!fails(&refuse.mmaps))
		memory = __real_mmap(address, size, prot, flags, fd, offset);
	if (memory != MAP_FAILED && !address)
		mapped += size;
	return memory;
}

/* The name it has where off_t was made wide. */
void *__wrap_mmap64(void *address, size_t size, int prot, int flags, int fd, off_t offset)
{
	return __wrap_mmap(address, size, prot, flags, fd, offset);
}

int __wrap_munmap(void *address, size_t size)
{
	mapped -= size;
	return __real_munmap(address, size);
}

int __wrap_madvise(void *address, size_t size, int advice)
{
	if (advice == refuse.advice) {
		errno = EINVAL;
		return -1;
	}
	return __real_madvise(address, size, advice);
}

int __wrap_mprotect(void *address, size_t size, int prot)
{
	return fails(&refuse.mprotects) ? -1 : __real_mprotect(address, size, prot);
}

int __wrap_mincore(void *address, size_t size, unsigned char *pages)
{
	if (refuse.mincore) {
		errno = EPERM;
		return -1;
	}
	return __real_mincore(address, size, pages);
}

/* ------------------------------------------------------------------------------ fixture */

static struct stacks *stacks;
static size_t page;

static inline int set_up(void **state)
{
	(void)state;
	refuse_nothing();
	page = (size_t)sysconf(_SC_PAGESIZE);
	return stacks_open(&stacks, SIZE);
}

static inline int tear_down(void **state)
{
	(void)state;
	refuse_nothing();
	stacks_close(stacks);
	stacks = NULL;
	return mapped == 0 ? 0 : -1;
}

/* The same with guards by mprotect(2), as on a kernel before 6.13. */
static inline int set_up_old_kernel(void **state)
{
	(void)state;
	refuse_nothing();
	refuse.advice = GUARD_ADVICE;
	page = (size_t)sysconf(_SC_PAGESIZE);
	return stacks_open(&stacks, SIZE);
}

static inline struct stacks_use use_now(void)
{
	struct stacks_use use;

	stacks_get_use(stacks, &use);
	return use;
}

/* Take so many stacks. */
static inline char **take(size_t count)
{
	char **tops = calloc(count, sizeof *tops);

	assert_non_null(tops);
	for (size_t i = 0; i < count; i++) {
		tops[i] = stack_take(stacks);
		assert_non_null(tops[i]);
	}
	return tops;
}

static inline void give(char **tops, size_t count)
{
	for (size_t i = 0; i < count; i++)
		stack_give(stacks, tops[i]);
	free(tops);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_OLD(name) cmocka_unit_test_setup_teardown(name, set_up_old_kernel, tear_down)

#endif
