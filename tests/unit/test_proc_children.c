/*
 * test_proc_children.c - the table of children against a naive list, signals to real children, and
 * ends in words.
 */
#include "os/os.h"
#include "proc/proc.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define STEPS 20000
#define PIDS 3000 /* pids in play: they come back, as on a busy machine */

/* A repeatable sequence: failures can be run again. */
static uint32_t next_number(uint32_t *seed)
{
	*seed = *seed * UINT32_C(1664525) + UINT32_C(1013904223);
	return *seed >> 8;
}

static struct child child_of(pid_t pid, uint32_t mark)
{
	struct child child = {.pid = pid, .started_ms = mark, .conn = mark * 3ull, .slot = pid % 7};

	snprintf(child.peer, sizeof child.peer, "peer %u", mark);
	return child;
}

static void assert_same(const struct child *a, const struct child *b)
{
	assert_int_equal(a->pid, b->pid);
	assert_true(a->started_ms == b->started_ms && a->conn == b->conn && a->slot == b->slot);
	assert_string_equal(a->peer, b->peer);
}

/* Everything the model knows must be found, without taking it out: a copy is emptied instead. */
static void assert_holds(const struct children *children, const struct child *model)
{
	struct children copy = *children;
	struct child out;
	size_t count = 0;

	copy.slots = os_own_memory(copy.size * sizeof *copy.slots);
	assert_non_null(copy.slots);
	memcpy(copy.slots, children->slots, copy.size * sizeof *copy.slots);
	for (int i = 0; i < PIDS; i++) {
		if (!model[i].pid)
			continue;
		assert_true(children_remove(&copy, model[i].pid, &out));
		assert_same(&out, &model[i]);
		count++;
	}
	assert_int_equal(children->count, count);
	assert_int_equal(copy.count, 0);
	children_finish(&copy);
}

/* stride: how pids lie: in a row, or all with the same low bits, the worst for a table. */
static void compare_with_model(pid_t first, pid_t stride)
{
	struct children children = {0};
	static struct child model[PIDS];
	uint32_t seed = 4711;

	memset(model, 0, sizeof model);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t index = next_number(&seed) % PIDS;
		pid_t pid = first + (pid_t)index * stride;
		struct child out = {.pid = -7};

		if (next_number(&seed) % 2) {
			model[index] = child_of(pid, step);
			assert_int_equal(children_reserve(&children), 0);
			children_add(&children, &model[index]);
			assert_true(children.count * 2 <= children.size);
		} else {
			bool known = model[index].pid != 0;

			assert_int_equal(children_remove(&children, pid, &out), known);
			if (known)
				assert_same(&out, &model[index]);
			else
				assert_int_equal(out.pid, -7);
			model[index].pid = 0;
		}
		if (step % 1000 == 0)
			assert_holds(&children, model);
	}
	assert_holds(&children, model);
	children_finish(&children);
	assert_null(children.slots);
}

static void the_table_does_as_a_list_would(void **state)
{
	(void)state;
	compare_with_model(2, 1);
	compare_with_model(300, 4096);
	compare_with_model(INT32_MAX - PIDS, 1);
}

static void an_empty_table_knows_nobody(void **state)
{
	struct children children = {0};

	(void)state;
	assert_false(children_remove(&children, 4711, NULL));
	children_kill(&children, SIGTERM);
	assert_int_equal(children_reserve(&children), 0);
	assert_false(children_remove(&children, 4711, NULL));
	assert_false(children_remove(&children, 0, NULL));
	assert_false(children_remove(&children, -1, NULL));
	children_kill(&children, SIGTERM); /* and above all not to pid 0, our own group */
	children_finish(&children);
	children_finish(&children);
}

static void a_pid_that_comes_back_is_one_child(void **state)
{
	struct child first = child_of(4711, 1), second = child_of(4711, 2), out;
	struct children children = {0};

	(void)state;
	assert_int_equal(children_reserve(&children), 0);
	children_add(&children, &first);
	children_add(&children, &second);
	assert_int_equal(children.count, 1);
	assert_true(children_remove(&children, 4711, &out));
	assert_same(&out, &second);
	assert_false(children_remove(&children, 4711, &out));
	children_finish(&children);
}

static void room_is_made_before_it_is_needed(void **state)
{
	struct children children = {0};

	(void)state;
	for (pid_t pid = 1; pid <= 1000; pid++) {
		struct child child = child_of(pid, 0);
		const struct child *slots;

		assert_int_equal(children_reserve(&children), 0);
		slots = children.slots;
		children_add(&children, &child);
		assert_ptr_equal(children.slots, slots); /* adding took no memory */
	}
	children_finish(&children);
}

static pid_t start_sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static void every_child_gets_the_signal(void **state)
{
	struct children children = {0};
	pid_t pids[5];
	int status;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		struct child child = child_of(pids[i] = start_sleeper(), 0);

		assert_int_equal(children_reserve(&children), 0);
		children_add(&children, &child);
	}
	children_kill(&children, SIGKILL);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_true(children_remove(&children, pids[i], NULL));
	}
	children_finish(&children);
}

static void ends_are_put_into_words(void **state)
{
	char text[64];
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(3);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	child_status_text(status, text, sizeof text);
	assert_string_equal(text, "exited with status 3");

	pid = start_sleeper();
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	child_status_text(status, text, sizeof text);
	assert_string_equal(text, "stopped by signal 19 (Stopped (signal))");
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(waitpid(pid, &status, WCONTINUED), pid);
	child_status_text(status, text, sizeof text);
	assert_string_equal(text, "changed its state (0xffff)");
	/* Not SIGSEGV: valgrind loses one sent to it while it is busy with another signal. */
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	child_status_text(status, text, sizeof text);
	assert_string_equal(text, "died from signal 15 (Terminated)");
	child_status_text(status, text, 5);
	assert_int_equal(strlen(text), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_does_as_a_list_would),
	    cmocka_unit_test(an_empty_table_knows_nobody),
	    cmocka_unit_test(a_pid_that_comes_back_is_one_child),
	    cmocka_unit_test(room_is_made_before_it_is_needed),
	    cmocka_unit_test(every_child_gets_the_signal),
	    cmocka_unit_test(ends_are_put_into_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
