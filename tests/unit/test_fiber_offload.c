/*
 * test_fiber_offload.c - calls between threads: helpers that block in a fiber's stead, and what
 * other threads want the scheduler's to do.
 */
#include "fiber_ground.h"
#include "generic.h"
#include "proc/proc.h"
#include "scarce.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>

#define HELPERS_MAX 32

/* ------------------------------------------------------------------ threads and time, if asked */

int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until);

static atomic_bool no_threads, time_flies;
static atomic_int threads_made;

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	if (atomic_load(&no_threads))
		return EAGAIN;
	atomic_fetch_add(&threads_made, 1);
	return __real_pthread_create(id, attr, fn, arg);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until)
{
	if (atomic_load(&time_flies))
		return ETIMEDOUT;
	return __real_pthread_cond_timedwait(cond, lock, until);
}

static int setup(void **state)
{
	int rc = ground_setup(state);

	if (rc == 0)
		ground_open(*state);
	atomic_store(&threads_made, 0);
	return rc;
}

static int teardown(void **state)
{
	atomic_store(&no_threads, false);
	atomic_store(&time_flies, false);
	return ground_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ------------------------------------------------------------------------------------ offload */

/* A fiber that has a call made for it: of a function which waits for a byte from the gate. */
struct call {
	struct ground *g;
	int gate[2];    /* blocks */
	int running[2]; /* a byte when the function has begun */
	atomic_int now, most;
	int result;
	int after;                /* what a wait after it returned */
	_Atomic pthread_t thread; /* the last one */
};

static void call_setup(struct call *call, struct ground *g)
{
	*call = (struct call){.g = g};
	assert_int_equal(os_pipe(call->gate), 0);
	assert_int_equal(os_pipe(call->running), 0);
	assert_int_equal(os_set_nonblocking(call->gate[0], false), 0);
}

static void call_finish(struct call *call)
{
	for (int i = 0; i < 2; i++) {
		close(call->gate[i]);
		close(call->running[i]);
	}
}

static int block(void *arg)
{
	struct call *call = arg;
	int now = atomic_fetch_add(&call->now, 1) + 1, most = atomic_load(&call->most);
	char byte;

	while (now > most && !atomic_compare_exchange_weak(&call->most, &most, now))
		continue;
	call->thread = pthread_self();
	ground_put(call->running[1]);
	if (read(call->gate[0], &byte, 1) != 1)
		return -1;
	atomic_fetch_sub(&call->now, 1);
	return 4711;
}

static void offload_block(void *arg)
{
	struct call *call = *(struct call **)arg;

	call->result = netd_offload(block, call);
	call->after = netd_poll(NULL, 0, 0);
	ground_put(call->g->done[1]);
}

static void open_gate(void *arg)
{
	struct call *call = *(struct call **)arg;

	ground_take(call->running[0], 1);
	ground_put(call->gate[1]);
	ground_put(call->g->done[1]);
}

static void others_run_while_a_helper_blocks(void **state)
{
	struct call call;

	call_setup(&call, *state);
	ground_start(call.g, 1, "caller", offload_block, &call);
	ground_start(call.g, 2, "opener", open_gate, &call);
	ground_take(call.g->done[0], 2);
	assert_int_equal(call.result, 4711);
	assert_int_equal(call.after, 0);
	assert_false(pthread_equal(call.thread, pthread_self()));
	call_finish(&call);
}

static int negative(void *arg)
{
	return *(int *)arg;
}

static void the_first_fiber_may_call_too(void **state)
{
	int value = -EDOM;

	(void)state;
	assert_int_equal(netd_offload(negative, &value), -EDOM);
	value = 17;
	assert_int_equal(netd_offload(negative, &value), 17);
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void an_idle_thread_is_used_again(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(netd_offload(nothing, NULL), 0);
	assert_int_equal(atomic_load(&threads_made), 1);
}

static int blocked_signals(void *arg)
{
	static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};
	sigset_t mask;
	int count = 0;

	(void)arg;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		count += sigismember(&mask, ours[i]);
	return count;
}

static void signals_do_not_end_up_in_a_helper(void **state)
{
	(void)state;
	assert_int_equal(netd_offload(blocked_signals, NULL), 5);
}

static int get_name(void *arg)
{
	return prctl(PR_GET_NAME, arg, 0, 0, 0);
}

static void helpers_are_named_and_numbered(void **state)
{
	struct ground *g = *state;
	char name[16] = "";

	NEEDS_OWN_SYSTEM("names of threads");
	assert_int_equal(netd_offload(get_name, name), 0);
	assert_string_equal(name, "offload 1");
	(void)g;
}

static int write_line(void *log)
{
	log_write(log, NETD_NOTICE, NULL, "from afar");
	return 0;
}

static void log_lines_tell_the_helper(void **state)
{
	struct ground *g = *state;
	char wanted[64];

	assert_int_equal(netd_offload(write_line, g->config.log), 0);
	snprintf(wanted, sizeof wanted, "%ld.1, from afar\n", (long)getpid());
	assert_non_null(strstr(ground_text(g), wanted));
}

static void calls_queue_when_all_helpers_are_busy(void **state)
{
	enum { CALLS = HELPERS_MAX + 9 };
	struct call call;

	call_setup(&call, *state);
	for (uint64_t i = 1; i <= CALLS; i++)
		ground_start(call.g, i, "caller", offload_block, &call);
	ground_take(call.running[0], HELPERS_MAX);
	assert_int_equal(atomic_load(&threads_made), HELPERS_MAX);
	for (int i = 0; i < CALLS; i++)
		ground_put(call.gate[1]);
	ground_take(call.g->done[0], CALLS);
	assert_int_equal(atomic_load(&call.most), HELPERS_MAX);
	assert_int_equal(atomic_load(&threads_made), HELPERS_MAX);
	call_finish(&call);
}

static void a_stop_does_not_end_the_wait(void **state)
{
	struct call call;

	call_setup(&call, *state);
	ground_start(call.g, 1, "caller", offload_block, &call);
	ground_take(call.running[0], 1);
	fibers_cancel(call.g->fibers);
	assert_int_equal(netd_poll(NULL, 0, 0), 0); /* the fiber would run now */
	assert_int_equal(call.result, 0);
	ground_put(call.gate[1]);
	ground_take(call.g->done[0], 1);
	assert_int_equal(call.result, 4711);
	assert_int_equal(call.after, -ECANCELED); /* but the next one */
	call_finish(&call);
}

static void a_call_after_a_stop_is_made_all_the_same(void **state)
{
	struct call call;

	call_setup(&call, *state);
	ground_start(call.g, 1, "caller", offload_block, &call);
	fibers_cancel(call.g->fibers);
	ground_put(call.gate[1]);
	ground_take(call.g->done[0], 1);
	assert_int_equal(call.result, 4711);
	call_finish(&call);
}

static void no_thread_at_all_is_told(void **state)
{
	struct ground *g = *state;

	atomic_store(&no_threads, true);
	assert_int_equal(netd_offload(nothing, NULL), -EAGAIN);
	atomic_store(&no_threads, false);
	assert_int_equal(netd_offload(nothing, NULL), 0); /* it passes */
	assert_true(g->fibers->offload != NULL);
}

static void no_further_thread_means_to_wait_for_one(void **state)
{
	struct call call;

	call_setup(&call, *state);
	ground_start(call.g, 1, "first", offload_block, &call);
	ground_take(call.running[0], 1);
	atomic_store(&no_threads, true);
	ground_start(call.g, 2, "second", offload_block, &call);
	assert_int_equal(netd_poll(NULL, 0, 0), 0); /* it is queued now */
	ground_put(call.gate[1]);
	ground_put(call.gate[1]);
	ground_take(call.g->done[0], 2);
	assert_int_equal(call.result, 4711);
	assert_int_equal(atomic_load(&call.most), 1);
	call_finish(&call);
}

static void no_memory_is_told(void **state)
{
	bool spared = false;
	int failed = 0;

	(void)state;
	for (long n = 0; !spared; n++) {
		int rc;

		scarce_from(n);
		rc = netd_offload(nothing, NULL);
		spared = scarce_over();
		assert_int_equal(rc, spared ? 0 : -EAGAIN);
		failed += !spared;
	}
	assert_int_equal(failed, 2); /* the helpers' books, and a helper's */
}

static void threads_do_not_idle_for_ever(void **state)
{
	struct ground *g = *state;

	atomic_store(&time_flies, true);
	/* Each goes when it finds nothing to do; the next call may still meet it. */
	for (int i = 0; i < 1000000 && atomic_load(&threads_made) < 3; i++)
		assert_int_equal(netd_offload(nothing, NULL), 0);
	assert_int_equal(atomic_load(&threads_made), 3);
	g->fibers = fibers_close(g->fibers); /* joins whoever is left */
}

static void closing_ends_idle_threads(void **state)
{
	struct ground *g = *state;

	assert_int_equal(netd_offload(nothing, NULL), 0);
	/* Under ThreadSanitizer a thread that is left behind is reported. */
	g->fibers = fibers_close(g->fibers);
	assert_null(fibers_here);
}

/* ------------------------------------------------------------------------------------- remote */

/* What was called, in order. */
struct calls {
	struct ground *g;
	int count, wanted;
	int seen[100];
	bool elsewhere; /* one was on a wrong thread */
	bool in_fiber;
};

static struct calls calls;

static void called(void *arg)
{
	const int *number = arg;

	calls.elsewhere |= !fibers_is_here(calls.g->fibers);
	calls.in_fiber |= calls.g->fibers->current != NULL;
	calls.seen[calls.count++] = *number;
	if (calls.count == calls.wanted)
		ground_put(calls.g->done[1]);
}

static const int *numbers(void)
{
	static int numbers[100];

	for (int i = 0; i < 100; i++)
		numbers[i] = i;
	return numbers;
}

static void *call_from_afar(void *arg)
{
	int *number = arg;

	for (int i = 0; i < 25; i++)
		if (fibers_call(calls.g->fibers, called, &number[i]) < 0)
			abort();
	return NULL;
}

static void calls_of_all_threads_are_made_on_the_schedulers(void **state)
{
	int *number = (int *)(uintptr_t)numbers();
	pthread_t threads[4];

	calls = (struct calls){.g = *state, .wanted = 100};
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_from_afar, number + 25 * i),
				 0);
	ground_take(calls.g->done[0], 1);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_false(calls.elsewhere);
	assert_false(calls.in_fiber);
	/* Those of one thread in its order. */
	for (int thread = 0, at; thread < 4; thread++) {
		int next = 25 * thread;

		for (at = 0; at < 100; at++)
			if (calls.seen[at] == next && next < 25 * (thread + 1))
				next++;
		assert_int_equal(next, 25 * (thread + 1));
	}
}

static void many_calls_are_one_byte(void **state)
{
	int *number = (int *)(uintptr_t)numbers();
	int bytes = -1;

	calls = (struct calls){.g = *state, .wanted = 20};
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10; i++)
			assert_int_equal(fibers_call(calls.g->fibers, called, &number[i]), 0);
		assert_int_equal(ioctl(calls.g->fibers->remote.pipe[0], FIONREAD, &bytes), 0);
		assert_int_equal(bytes, 1);
		assert_int_equal(netd_poll(NULL, 0, clock_ms() + 1), 0);
		while (calls.count < 10 * (round + 1))
			assert_int_equal(netd_poll(NULL, 0, clock_ms() + 1), 0);
	}
	assert_int_equal(ioctl(calls.g->fibers->remote.pipe[0], FIONREAD, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(calls.count, 20);
}

static void say_done(void *arg)
{
	struct ground *g = *(struct ground **)arg;

	ground_put(g->done[1]);
}

static void start_one(void *arg)
{
	ground_start(arg, 9, "remote", say_done, arg);
}

static void a_call_may_start_a_fiber(void **state)
{
	struct ground *g = *state;

	assert_int_equal(fibers_call(g->fibers, start_one, g), 0);
	ground_take(g->done[0], 1);
}

static void call_again(void *arg)
{
	int *left = arg;

	if (--*left == 0)
		ground_put(calls.g->done[1]);
	else if (fibers_call(calls.g->fibers, call_again, left) < 0)
		abort();
}

static void a_call_may_lead_to_another(void **state)
{
	int left = 50;

	calls = (struct calls){.g = *state};
	assert_int_equal(fibers_call(calls.g->fibers, call_again, &left), 0);
	ground_take(calls.g->done[0], 1);
	assert_int_equal(left, 0);
}

static void what_is_left_at_the_end_is_not_called(void **state)
{
	int *number = (int *)(uintptr_t)numbers();

	calls = (struct calls){.g = *state};
	for (int i = 0; i < 10; i++)
		assert_int_equal(fibers_call(calls.g->fibers, called, &number[i]), 0);
	calls.g->fibers = fibers_close(calls.g->fibers);
	assert_int_equal(calls.count, 0); /* and AddressSanitizer finds no leak */
}

static void no_memory_for_a_call_is_told(void **state)
{
	calls = (struct calls){.g = *state};
	scarce_from(0);
	assert_int_equal(fibers_call(calls.g->fibers, called, NULL), -ENOMEM);
	assert_false(scarce_over());
	assert_null(calls.g->fibers->remote.first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(others_run_while_a_helper_blocks),
	    TEST(the_first_fiber_may_call_too),
	    TEST(an_idle_thread_is_used_again),
	    TEST(signals_do_not_end_up_in_a_helper),
	    TEST(helpers_are_named_and_numbered),
	    TEST(log_lines_tell_the_helper),
	    TEST(calls_queue_when_all_helpers_are_busy),
	    TEST(a_stop_does_not_end_the_wait),
	    TEST(a_call_after_a_stop_is_made_all_the_same),
	    TEST(no_thread_at_all_is_told),
	    TEST(no_further_thread_means_to_wait_for_one),
	    TEST(no_memory_is_told),
	    TEST(threads_do_not_idle_for_ever),
	    TEST(closing_ends_idle_threads),
	    TEST(calls_of_all_threads_are_made_on_the_schedulers),
	    TEST(many_calls_are_one_byte),
	    TEST(a_call_may_start_a_fiber),
	    TEST(a_call_may_lead_to_another),
	    TEST(what_is_left_at_the_end_is_not_called),
	    TEST(no_memory_for_a_call_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
