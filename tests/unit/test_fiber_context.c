/*
 * test_fiber_context.c - contexts: what a called function must keep is kept over switches, by the
 * hundred and nested; a stack may be taken away and put back; backtraces end where a context
 * begins.
 *
 * It needs nothing but src/fiber and cmocka's names, so that test_fiber_arm.py can build it for
 * another processor (with bare/cmocka.h).
 */
#include "fiber/context.h"
#include "fiber/sanitizer.h"

#include <execinfo.h>
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STACK (128UL << 10)
#define MANY 300 /* ThreadSanitizer has room for some thousand */

/* A flow of control with a stack of its own, and what it is tested with. */
struct flow {
	struct context context;
	struct context *back; /* who is switched to by pause() */
	char *stack;
	void (*work)(struct flow *flow);
	unsigned number;
	unsigned long result;
	bool done;
};

static void entry(void *arg)
{
	struct flow *flow = arg;

	flow->work(flow);
	flow->done = true;
	context_exit(&flow->context, flow->back);
}

static void flow_start(struct flow *flow, struct context *back, void (*work)(struct flow *flow))
{
	*flow = (struct flow){.back = back, .work = work};
	flow->stack = aligned_alloc(64, STACK);
	assert_non_null(flow->stack);
	assert_int_equal(
	    context_init(&flow->context, flow->stack, flow->stack + STACK, entry, flow), 0);
}

static void flow_end(struct flow *flow)
{
	context_finish(&flow->context);
	free(flow->stack);
}

/* From a flow: let the others go on. */
static void pause_flow(struct flow *flow)
{
	context_switch(&flow->context, flow->back);
}

/* From whoever runs: go on with a flow until it pauses or is done. */
static void resume(struct flow *flow)
{
	context_switch(flow->back, &flow->context);
}

/* Run a flow from start to end, however often it pauses. Returns how often it did. */
static unsigned run_alone(void (*work)(struct flow *flow))
{
	struct context here;
	struct flow flow;
	unsigned pauses = 0;

	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, work);
	for (resume(&flow); !flow.done; resume(&flow))
		pauses++;
	flow_end(&flow);
	context_finish(&here);
	return pauses;
}

static void pause_thrice(struct flow *flow)
{
	for (int i = 0; i < 3; i++)
		pause_flow(flow);
}

static void a_context_runs_pauses_goes_on_and_ends(void **state)
{
	(void)state;
	assert_int_equal(run_alone(pause_thrice), 3);
}

/* More values than there are registers, all of them needed after each pause. */
static void count_in_registers(struct flow *flow)
{
	unsigned long a = flow->number, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;
	unsigned long g = a + 6, h = a + 7, i = a + 8, j = a + 9;
	double v = flow->number, w = v / 3, x = v / 7, y = v / 11, z = v / 13;

	for (int n = 0; n < 20; n++) {
		pause_flow(flow);
		a += 1, b += a, c ^= b, d += c, e ^= d, f += e, g ^= f, h += g, i ^= h, j += i;
		v += 1, w += v, x += w, y += x, z += y;
	}
	flow->result = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j;
	flow->result += (unsigned long)(v + w + x + y + z);
}

/* The same without anybody in between. */
static unsigned long counted_alone(unsigned number)
{
	struct context here;
	struct flow flow;

	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, count_in_registers);
	flow.number = number;
	while (!flow.done)
		resume(&flow);
	flow_end(&flow);
	context_finish(&here);
	return flow.result;
}

static void many_contexts_keep_their_values_apart(void **state)
{
	static struct flow flows[MANY];
	struct context here;

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	for (unsigned i = 0; i < MANY; i++) {
		flow_start(&flows[i], &here, count_in_registers);
		flows[i].number = i;
	}
	for (int turn = 0; turn <= 20; turn++)
		for (unsigned i = 0; i < MANY; i++)
			resume(&flows[turn % 2 ? i : MANY - 1 - i]);
	for (unsigned i = 0; i < MANY; i++) {
		assert_true(flows[i].done);
		flow_end(&flows[i]);
	}
	context_finish(&here);
	for (unsigned i = 0; i < MANY; i += 37)
		assert_int_equal(flows[i].result, counted_alone(i));
}

/* Each starts the next and waits for it. */
static void nest(struct flow *flow)
{
	struct flow inner;

	if (flow->number == 0)
		return;
	flow_start(&inner, &flow->context, nest);
	inner.number = flow->number - 1;
	resume(&inner);
	assert_true(inner.done);
	flow->result = inner.result + 1;
	flow_end(&inner);
}

static void contexts_nest_deeply(void **state)
{
	struct context here;
	struct flow flow;

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, nest);
	flow.number = MANY;
	resume(&flow);
	assert_true(flow.done);
	assert_int_equal(flow.result, MANY);
	flow_end(&flow);
	context_finish(&here);
}

static void descend(struct flow *flow, unsigned depth)
{
	volatile unsigned mine = depth;

	if (depth)
		descend(flow, depth - 1);
	else
		pause_flow(flow);
	flow->result += mine == depth;
}

static void descend_100(struct flow *flow)
{
	descend(flow, 100);
	if (flow->result != 101)
		abort();
}

static void a_deep_call_chain_is_left_and_returned_through(void **state)
{
	(void)state;
	assert_int_equal(run_alone(descend_100), 1);
}

static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

static void round_my_way(struct flow *flow)
{
	int mine = roundings[flow->number % 4];
	volatile double one = 1, three = 3, before; /* each division at its time */

	fesetround(mine);
	before = one / three;
	pause_flow(flow);
	flow->result = fegetround() == mine && one / three == before;
}

static void each_context_keeps_its_rounding_mode(void **state)
{
	struct flow flows[4];
	struct context here;

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	for (unsigned i = 0; i < 4; i++) {
		flow_start(&flows[i], &here, round_my_way);
		flows[i].number = i;
		resume(&flows[i]);
		assert_int_equal(fegetround(), FE_TONEAREST);
	}
	for (unsigned i = 0; i < 4; i++) {
		resume(&flows[i]);
		assert_true(flows[i].done && flows[i].result);
		assert_int_equal(fegetround(), FE_TONEAREST);
		flow_end(&flows[i]);
	}
	context_finish(&here);
}

static void jump_out(jmp_buf env, struct flow *flow, int depth)
{
	char room[256];

	memset(room, depth, sizeof room);
	if (depth == 0) {
		pause_flow(flow);
		if (flow->number == 0)
			longjmp(env, 1);
		return;
	}
	jump_out(env, flow, depth - 1);
	flow->result += (unsigned long)room[depth]; /* so that it is no tail call */
}

static void jump_and_pause(struct flow *flow)
{
	jmp_buf env;

	if (setjmp(env) == 0) {
		jump_out(env, flow, 20);
		abort();
	}
	pause_flow(flow);
	if (flow->result)
		abort();
}

static void longjmp_works_inside_a_context(void **state)
{
	(void)state;
	assert_int_equal(run_alone(jump_and_pause), 2);
}

static void look_at_alignment(struct flow *flow)
{
	_Alignas(16) volatile char aligned[16] = {0};
	char text[64];

	/* A va_start() saves vector registers by instructions that insist on alignment. */
	snprintf(text, sizeof text, "%.3f %d %p", 0.5 + flow->number, 7, (void *)flow);
	flow->result = (uintptr_t)aligned % 16 == 0 && strncmp(text, "0.500 7", 7) == 0;
	if (!flow->result)
		abort();
}

/* The entry itself must find what a call leaves: the compiler counts on it. */
static void entry_address(void *arg)
{
	struct flow *flow = arg;

	flow->result = (uintptr_t)__builtin_frame_address(0);
	flow->done = true;
	context_exit(&flow->context, flow->back);
}

static void the_stack_is_aligned_at_the_entry(void **state)
{
	struct context here;
	struct flow flow;

	(void)state;
	assert_int_equal(run_alone(look_at_alignment), 0);
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, look_at_alignment);
	context_finish(&flow.context); /* one that never ran */
	for (size_t less = 0; less <= 64; less += 16) {
		char *top = flow.stack + STACK - less;

		flow.done = false;
		assert_int_equal(context_init(&flow.context, flow.stack, top, entry_address, &flow),
				 0);
		resume(&flow);
		assert_true(flow.done);
		assert_int_equal(flow.result % 16, 0);
		assert_true(flow.result < (uintptr_t)top);
		context_finish(&flow.context);
	}
	free(flow.stack);
	context_finish(&here);
}

static void live_is_all_that_a_paused_context_needs(void **state)
{
	struct context here;
	struct flow flow;
	char *shallow, *deep;

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, descend_100);
	shallow = context_live(&flow.context);
	resume(&flow);
	deep = context_live(&flow.context);
	if (!GENERIC) {
		assert_true(shallow < flow.stack + STACK && shallow > flow.stack + STACK - 512);
		assert_true(deep > flow.stack && deep < shallow - 101 * sizeof(void *));
		assert_int_equal((uintptr_t)deep % sizeof(void *), 0);
	} else {
		assert_null(shallow);
		assert_null(deep);
	}
	resume(&flow);
	assert_true(flow.done);
	flow_end(&flow);
	context_finish(&here);
}

/* memcpy(3) of a stack, whose gaps between variables are not ours to look at under sanitizers. */
__attribute__((no_sanitize("address"), no_sanitize("thread"), noinline)) static void
copy_blindly(volatile char *to, const volatile char *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = from[i];
}

static void work_between_absences(struct flow *flow)
{
	volatile char text[32] = "kept";
	unsigned long sum = 0;

	for (unsigned long i = 0; i < 5; i++) {
		sum += i * flow->number;
		descend(flow, (unsigned)i);
		text[4]++;
	}
	flow->result = sum * 10 + (unsigned long)text[4];
}

static void a_stack_taken_away_and_put_back_is_gone_on_with(void **state)
{
	struct context here;
	struct flow flow;
	char *saved;

	(void)state;
	if (GENERIC) {
		printf("# skipped: ucontext does not tell what is live\n");
		return;
	}
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, work_between_absences);
	flow.number = 3;
	for (resume(&flow); !flow.done; resume(&flow)) {
		char *top = flow.stack + STACK, *live = context_live(&flow.context);
		size_t size = (size_t)(top - live);

		assert_true(size < 4096);
		saved = malloc(size);
		assert_non_null(saved);
		copy_blindly(saved, live, size);
		for (char *p = live; p < top; p++)
			copy_blindly(p, "\xa5", 1);
		copy_blindly(live, saved, size);
		free(saved);
	}
	assert_int_equal(flow.result, (1 + 2 + 3 + 4) * 3 * 10 + 5);
	flow_end(&flow);
	context_finish(&here);
}

/* Memory that held another context, left in the middle: nothing of it matters to the next one. */
static void a_stack_is_used_again_after_a_context_that_never_ended(void **state)
{
	struct context here;
	struct flow flow;
	char *stack;

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, descend_100);
	stack = flow.stack;
	for (int i = 0; i < 10; i++) {
		resume(&flow);
		assert_false(flow.done);
		context_finish(&flow.context);
		sanitizer_forget(stack, STACK); /* as stack_give() does */
		flow.result = 0;
		assert_int_equal(context_init(&flow.context, stack, stack + STACK, entry, &flow),
				 0);
	}
	resume(&flow);
	resume(&flow);
	assert_true(flow.done);
	flow_end(&flow);
	context_finish(&here);
}

static void look_back(struct flow *flow)
{
	void *frames[64];

	for (int i = 0; i < 2; i++) {
		flow->result = (unsigned long)backtrace(frames, 64);
		pause_flow(flow);
	}
}

/* entry(), look_back(), perhaps backtrace() and a trampoline: but not the whole stack of who
 * switched here, and not 64 frames of nonsense. */
static void a_backtrace_ends_where_the_context_begins(void **state)
{
	struct context here;
	struct flow flow;
	void *frames[64];
	int here_depth = backtrace(frames, 64);

	(void)state;
	assert_in_range(here_depth, 2, 40);
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, look_back);
	for (resume(&flow); !flow.done; resume(&flow))
		assert_in_range(flow.result, 2, 6);
	flow_end(&flow);
	context_finish(&here);
}

/* AddressSanitizer must know it when we are back on it: it hears of it from us. */
static void a_threads_own_stack_is_found_by_leaving_it(void **state)
{
	struct context here;
	struct flow flow;
	char *frame = __builtin_frame_address(0);

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	assert_null(here.top);
	flow_start(&flow, &here, pause_thrice);
	for (int i = 0; i < 4; i++) {
		resume(&flow);
		if (SANITIZER_ADDRESS) {
			assert_true(here.top && context_bottom(&here) < frame && frame < here.top);
			assert_true(here.top < flow.stack ||
				    context_bottom(&here) >= flow.stack + STACK);
		}
	}
	assert_true(flow.done);
	flow_end(&flow);
	context_finish(&here);
}

/* Pages of address space that this process has; 0 where the system does not tell. */
static unsigned long address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (file) {
		if (fscanf(file, "%lu", &pages) != 1)
			pages = 0;
		fclose(file);
	}
	return pages;
}

/* Sanitizers have memory of their own for each. */
static void contexts_that_ended_leave_nothing_behind(void **state)
{
	struct context here;
	struct flow flow;
	unsigned long before = 0;

	(void)state;
	assert_int_equal(context_adopt(&here), 0);
	flow_start(&flow, &here, descend_100);
	context_finish(&flow.context);
	for (int i = 0; i < 110; i++) {
		char *top = flow.stack + STACK;

		if (i == 10)
			before = address_space();
		flow.done = false;
		flow.result = 0;
		assert_int_equal(context_init(&flow.context, flow.stack, top, entry, &flow), 0);
		while (!flow.done)
			resume(&flow);
		context_finish(&flow.context);
	}
	assert_true(address_space() <= before + 1000);
	free(flow.stack);
	context_finish(&here);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_context_runs_pauses_goes_on_and_ends),
	    cmocka_unit_test(many_contexts_keep_their_values_apart),
	    cmocka_unit_test(contexts_nest_deeply),
	    cmocka_unit_test(a_deep_call_chain_is_left_and_returned_through),
	    cmocka_unit_test(each_context_keeps_its_rounding_mode),
	    cmocka_unit_test(longjmp_works_inside_a_context),
	    cmocka_unit_test(the_stack_is_aligned_at_the_entry),
	    cmocka_unit_test(live_is_all_that_a_paused_context_needs),
	    cmocka_unit_test(a_stack_taken_away_and_put_back_is_gone_on_with),
	    cmocka_unit_test(a_stack_is_used_again_after_a_context_that_never_ended),
	    cmocka_unit_test(a_backtrace_ends_where_the_context_begins),
	    cmocka_unit_test(a_threads_own_stack_is_found_by_leaving_it),
	    cmocka_unit_test(contexts_that_ended_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("fiber_context", tests, NULL, NULL);
}
