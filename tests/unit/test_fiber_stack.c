/*
 * test_fiber_stack.c - stacks: aligned, apart, guarded, used again, given back to the system page
 * by page; also with the guards of old kernels. Overflows happen in forked children, whose handler
 * of SIGSEGV says whether the guard was hit.
 */
#include "fiber/context.h"
#include "fiber/sanitizer.h"
#include "generic.h"
#include "stack_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define ARRAY (60UL << 10)

static bool is_zero(const char *from, const char *to)
{
	while (from < to && *from == 0)
		from++;
	return from == to;
}

/* -------------------------------------------------------------------------------- tests */

static void sizes_are_rounded_up_to_pages(void **state)
{
	static const size_t sizes[] = {0, 1, 4096, 4097, 100000};
	struct stacks *other = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(stacks_open(&other, sizes[i]), 0);
		assert_int_equal(stack_size(other) % page, 0);
		assert_true(stack_size(other) >= sizes[i] && stack_size(other) > 0);
		assert_true(stack_size(other) < sizes[i] + page + !sizes[i]);
		stacks_close(other);
	}
	stacks_close(NULL);
}

static void a_size_beyond_all_memory_is_refused(void **state)
{
	struct stacks *other = (void *)&page;

	(void)state;
	assert_int_equal(stacks_open(&other, SIZE_MAX), -ENOMEM);
	assert_int_equal(stacks_open(&other, SIZE_MAX / 2), -ENOMEM);
	assert_int_equal(stacks_open(&other, SIZE_MAX / 4), -ENOMEM);
	assert_ptr_equal(other, &page);
}

static void one_large_stack_is_possible(void **state)
{
	struct stacks *other;
	char *top;

	(void)state;
	assert_int_equal(stacks_open(&other, 100UL << 20), 0);
	top = stack_take(other);
	assert_non_null(top);
	top[-(ptrdiff_t)stack_size(other)] = top[-1] = 1;
	assert_true(stack_is_guard(other, top - stack_size(other) - 1));
	stack_give(other, top);
	stacks_close(other);
}

static void stacks_are_aligned_apart_and_writable_to_the_end(void **state)
{
	const size_t count = 200; /* several slabs */
	char **tops = take(count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		assert_int_equal((uintptr_t)tops[i] % 64, 0);
		assert_true(is_zero(tops[i] - SIZE, tops[i]));
		memset(tops[i] - SIZE, (int)(i + 1), SIZE);
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t at = 1; at <= SIZE; at += 97)
			assert_int_equal((unsigned char)tops[i][-(ptrdiff_t)at],
					 (unsigned char)(i + 1));
		assert_int_equal(stack_measure(stacks, tops[i]), SIZE);
	}
	assert_int_equal(use_now().used, count);
	assert_true(use_now().made >= count);
	give(tops, count);
	assert_int_equal(use_now().used, 0);
}

static void the_last_one_given_back_is_used_first(void **state)
{
	char **tops = take(5);

	(void)state;
	for (int i = 0; i < 5; i++)
		stack_give(stacks, tops[i]);
	for (int i = 4; i >= 0; i--)
		assert_ptr_equal(stack_take(stacks), tops[i]);
	give(tops, 5);
}

static void no_memory_is_taken_by_using_stacks_again(void **state)
{
	size_t made = use_now().made, before = mapped;

	(void)state;
	for (int round = 0; round < 1000; round++) {
		char *top = stack_take(stacks);

		assert_non_null(top);
		stack_give(stacks, top);
	}
	assert_int_equal(use_now().made, made);
	assert_int_equal(mapped, before);
}

static void a_guard_lies_below_each_stack_and_nowhere_else(void **state)
{
	char **tops = take(130);

	(void)state;
	for (size_t i = 0; i < 130; i++) {
		char *bottom = tops[i] - SIZE;

		assert_true(stack_is_guard(stacks, bottom - 1));
		assert_true(stack_is_guard(stacks, bottom - page));
		assert_true(stack_is_guard(stacks, bottom - ARRAY));
		assert_false(stack_is_guard(stacks, bottom));
		assert_false(stack_is_guard(stacks, tops[i] - 1));
	}
	assert_false(stack_is_guard(stacks, NULL));
	assert_false(stack_is_guard(stacks, &page));
	assert_false(stack_is_guard(stacks, (void *)UINTPTR_MAX));
	give(tops, 130);
}

/* ---------------------------------------------------------------------------- overflows */

enum { GUARD_HIT = 10, ELSEWHERE, NOTHING_HIT };

static void on_segv(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	_exit(stack_is_guard(stacks, info->si_addr) ? GUARD_HIT : ELSEWHERE);
}

__attribute__((no_sanitize("address"), noinline)) static unsigned recurse(unsigned depth)
{
	volatile char mine[100];

	mine[depth % 100] = (char)depth;
	return depth == UINT32_MAX ? 0 : recurse(depth + 1) + (unsigned)mine[depth % 100];
}

/* Like read(2) into an array, it starts at the lower end. */
__attribute__((no_sanitize("address"), noinline)) static unsigned leap(unsigned depth)
{
	volatile char mine[ARRAY];

	mine[0] = (char)depth;
	return depth == UINT32_MAX ? 0 : leap(depth + 1) + (unsigned)mine[0];
}

static void overflow_by_recursion(void *arg)
{
	*(unsigned *)arg = recurse(0);
	_exit(NOTHING_HIT);
}

static void overflow_by_arrays(void *arg)
{
	*(unsigned *)arg = leap(0);
	_exit(NOTHING_HIT);
}

/* How a child ends that runs this on a stack between two others. */
static int end_of(void (*entry)(void *arg))
{
	static char signal_stack[64 << 10];
	static unsigned result;
	const stack_t alternate = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
	struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	char **tops = take(3);
	struct context here, there;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		sigaltstack(&alternate, NULL);
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
		context_adopt(&here);
		context_init(&there, tops[1] - SIZE, tops[1], entry, &result);
		context_switch(&here, &there);
		_exit(NOTHING_HIT);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	give(tops, 3);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void an_overflow_hits_the_guard(void **state)
{
	(void)state;
	assert_int_equal(end_of(overflow_by_recursion), GUARD_HIT);
}

static void an_overflow_does_not_step_over_the_guard(void **state)
{
	(void)state;
	assert_int_equal(end_of(overflow_by_arrays), GUARD_HIT);
}

static void guards_stay_when_pages_are_released(void **state)
{
	char **tops = take(3);

	(void)state;
	for (int i = 0; i < 3; i++)
		stack_release(stacks, tops[i], tops[i]);
	give(tops, 3);
	stacks_trim(stacks);
	assert_int_equal(end_of(overflow_by_recursion), GUARD_HIT);
}

static void an_old_kernel_has_guards_by_mprotect(void **state)
{
	(void)state;
	assert_false(use_now().light_guards);
}

/* ------------------------------------------------------------------ pages given back */

static void a_touched_page_costs_one_page(void **state)
{
	char *top = stack_take(stacks);

	(void)state;
	assert_int_equal(stack_measure(stacks, top), 0);
	top[-1] = 1;
	assert_int_equal(stack_measure(stacks, top), page);
	top[-(ptrdiff_t)page - 1] = 1;
	assert_int_equal(stack_measure(stacks, top), 2 * page);
	stack_give(stacks, top);
}

static void the_depth_is_measured_and_remembered(void **state)
{
	char *top = stack_take(stacks);

	(void)state;
	assert_int_equal(use_now().deepest, 0);
	memset(top - 5 * page + 1, 1, 5 * page - 1);
	assert_int_equal(stack_measure(stacks, top), 5 * page);
	stack_release(stacks, top, top - 2 * page);
	assert_int_equal(stack_measure(stacks, top), 2 * page);
	assert_int_equal(use_now().deepest, 5 * page);
	top[-(ptrdiff_t)SIZE] = 1;
	assert_int_equal(stack_measure(stacks, top), SIZE);
	assert_int_equal(use_now().deepest, SIZE);
	stack_give(stacks, top);
}

static void released_pages_read_as_zero_and_others_stay(void **state)
{
	char **tops = take(3);

	(void)state;
	for (int i = 0; i < 3; i++)
		memset(tops[i] - SIZE, 'x', SIZE);
	stack_release(stacks, tops[1], tops[1] - 2 * page + 100); /* rounded down */
	assert_true(is_zero(tops[1] - SIZE, tops[1] - 2 * page));
	assert_int_equal(tops[1][-(ptrdiff_t)(2 * page)], 'x');
	assert_int_equal(tops[1][-1], 'x');
	for (int i = 0; i < 3; i += 2)
		assert_true(tops[i][-(ptrdiff_t)SIZE] == 'x' && tops[i][-1] == 'x');
	stack_release(stacks, tops[1], tops[1] - SIZE); /* nothing */
	assert_int_equal(tops[1][-(ptrdiff_t)(2 * page)], 'x');
	stack_release(stacks, tops[1], tops[1]);
	assert_true(is_zero(tops[1] - SIZE, tops[1]));
	give(tops, 3);
}

static void trimming_takes_the_pages_of_idle_stacks_only(void **state)
{
	char **tops = take(4);

	(void)state;
	for (int i = 0; i < 4; i++)
		memset(tops[i] - SIZE, 'x', SIZE);
	stack_give(stacks, tops[3]);
	stack_give(stacks, tops[2]);
	stacks_trim(stacks);
	stacks_trim(stacks);
	for (int i = 2; i < 4; i++) {
		assert_ptr_equal(stack_take(stacks), tops[i]);
		assert_int_equal(stack_measure(stacks, tops[i]), 0);
		assert_int_equal(stack_measure(stacks, tops[i - 2]), SIZE);
	}
	assert_int_equal(tops[0][-(ptrdiff_t)SIZE], 'x');

	/* One that was clean, taken, used and given back is not taken for clean. */
	give(tops, 4);
	stacks_trim(stacks);
	tops = take(2);
	tops[1][-1] = 1;
	stack_give(stacks, tops[1]);
	stacks_trim(stacks);
	assert_ptr_equal(stack_take(stacks), tops[1]);
	assert_int_equal(stack_measure(stacks, tops[1]), 0);
	give(tops, 2);
}

__attribute__((no_sanitize("address"), no_sanitize("thread"), noinline)) static void
copy_blindly(volatile char *to, const volatile char *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = from[i];
}

static struct context pausing, resumer;
static int pauses;

static void count_pauses(void *arg)
{
	volatile char text[1000];

	memset((char *)(uintptr_t)text, 't', sizeof text);
	for (int i = 0; i < *(int *)arg; i++) {
		pauses++;
		context_switch(&pausing, &resumer);
	}
	pauses = text[0] == 't' && text[999] == 't' ? 1000 : -1;
	context_exit(&pausing, &resumer);
}

static void a_context_whose_pages_were_released_goes_on(void **state)
{
	char *top = stack_take(stacks), *live, *saved;
	int turns = 3;
	size_t size;

	(void)state;
	if (!GENERIC) { /* ucontext does not tell what is live */
		pauses = 0;
		assert_int_equal(context_adopt(&resumer), 0);
		assert_int_equal(context_init(&pausing, top - SIZE, top, count_pauses, &turns), 0);
		for (int i = 1; i <= turns; i++) {
			context_switch(&resumer, &pausing);
			assert_int_equal(pauses, i);
			live = context_live(&pausing);
			size = (size_t)(top - live);
			saved = malloc(size);
			assert_non_null(saved);
			copy_blindly(saved, live, size);
			stack_release(stacks, top, top);
			assert_int_equal(stack_measure(stacks, top), 0);
			copy_blindly(live, saved, size);
			free(saved);
		}
		context_switch(&resumer, &pausing);
		assert_int_equal(pauses, 1000);
		context_finish(&pausing);
		context_finish(&resumer);
	}
	stack_give(stacks, top);
}

/* A function that was left in the middle has marked the gaps between its variables, for sanitizers,
 * as what nobody may touch. The next one on this stack may. */
static void a_stack_left_in_the_middle_is_whole_again(void **state)
{
	char *top = stack_take(stacks);
	int turns = 3;

	(void)state;
	pauses = 0;
	assert_int_equal(context_adopt(&resumer), 0);
	assert_int_equal(context_init(&pausing, top - SIZE, top, count_pauses, &turns), 0);
	context_switch(&resumer, &pausing);
	context_finish(&pausing);
	context_finish(&resumer);
#if SANITIZER_ADDRESS
	__asan_poison_memory_region(top - 4096, 1024);
#elif SANITIZER_VALGRIND
	(void)VALGRIND_MAKE_MEM_NOACCESS(top - 4096, 1024);
#endif
	stack_give(stacks, top);
	assert_ptr_equal(stack_take(stacks), top);
	memset(top - SIZE, 0, SIZE);
	assert_true(is_zero(top - SIZE, top));
	stack_give(stacks, top);
}

static void light_guards_are_used_where_the_kernel_has_them(void **state)
{
	void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool known;

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	known = madvise(memory, page, GUARD_ADVICE) == 0;
	munmap(memory, page);
	assert_int_equal(use_now().light_guards, known && !GENERIC);
}

static void light_guards_allow_forty_thousand_stacks(void **state)
{
	const size_t count = 40000;
	struct stacks *other = stacks;
	char **tops;

	(void)state;
	NEEDS_OWN_SYSTEM("light guards are Linux's");
	if (!use_now().light_guards) {
		printf("# skipped: this kernel has no light guards\n");
		return;
	}
	assert_int_equal(stacks_open(&stacks, 256 << 10), 0);
	tops = take(count);
	for (size_t i = 0; i < count; i += 1000) {
		tops[i][-1] = 1;
		assert_true(stack_is_guard(stacks, tops[i] - stack_size(stacks) - 1));
	}
	assert_int_equal(use_now().used, count);
	give(tops, count);
	stacks_trim(stacks);
	stacks_close(stacks);
	stacks = other;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(sizes_are_rounded_up_to_pages),
	    TEST(a_size_beyond_all_memory_is_refused),
	    TEST(one_large_stack_is_possible),
	    TEST(stacks_are_aligned_apart_and_writable_to_the_end),
	    TEST(the_last_one_given_back_is_used_first),
	    TEST(no_memory_is_taken_by_using_stacks_again),
	    TEST(a_guard_lies_below_each_stack_and_nowhere_else),
	    TEST(an_overflow_hits_the_guard),
	    TEST(an_overflow_does_not_step_over_the_guard),
	    TEST(guards_stay_when_pages_are_released),
	    TEST_OLD(an_old_kernel_has_guards_by_mprotect),
	    TEST_OLD(a_guard_lies_below_each_stack_and_nowhere_else),
	    TEST_OLD(an_overflow_hits_the_guard),
	    TEST_OLD(an_overflow_does_not_step_over_the_guard),
	    TEST_OLD(guards_stay_when_pages_are_released),
	    TEST_OLD(trimming_takes_the_pages_of_idle_stacks_only),
	    TEST(a_touched_page_costs_one_page),
	    TEST(the_depth_is_measured_and_remembered),
	    TEST(released_pages_read_as_zero_and_others_stay),
	    TEST(trimming_takes_the_pages_of_idle_stacks_only),
	    TEST(a_context_whose_pages_were_released_goes_on),
	    TEST(a_stack_left_in_the_middle_is_whole_again),
	    TEST(light_guards_are_used_where_the_kernel_has_them),
	    TEST(light_guards_allow_forty_thousand_stacks),
	};

	return cmocka_run_group_tests_name("fiber_stack", tests, NULL, NULL);
}
