/*
 * test_fiber_overflow.c - a fiber that runs out of stack is told by name, and the process dies as
 * it would have anyway; so it does of every other fault, without words. The dying is done by
 * children.
 */
#include "fiber_ground.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* How a child ends. */
struct death {
	struct ground *g;
	int words[2];       /* what config.overflow wrote */
	void (*fn)(void *); /* in a fiber */
	char text[256];
	int status;
};

static int words_fd;

/* As the mode does it, but for the memory that it shares: only what fits a handler. */
static void overflowed(void *arg, const struct log_context *context)
{
	const struct ground *g = arg;
	char number = (char)('0' + context->conn);

	if (g->fibers != fibers_here)
		_exit(99);
	if (write(words_fd, &number, 1) != 1)
		_exit(98);
	if (context->peer && write(words_fd, context->peer, strlen(context->peer)) < 0)
		_exit(97);
}

static void faults_are_the_systems(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	sigaction(SIGSEGV, &standard, NULL); /* sanitizers have their own */
	sigaction(SIGBUS, &standard, NULL);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
}

static void child(struct death *death)
{
	words_fd = death->words[1];
	faults_are_the_systems();
	death->g->config.overflow = overflowed;
	death->g->config.arg = death->g;
	ground_open(death->g);
	ground_start(death->g, 7, "192.0.2.7:99", death->fn, death->g);
	ground_take(death->g->done[0], 1);
	_exit(0);
}

/* Have it happen in a child, and wait for its end. */
static void die(struct death *death, struct ground *g, void (*fn)(void *))
{
	size_t length = 0;
	ssize_t n;
	pid_t pid;

	*death = (struct death){.g = g, .fn = fn};
	assert_int_equal(pipe(death->words), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(death);
	close(death->words[1]);
	while ((n = read(death->words[0], death->text + length, sizeof death->text - length - 1)) >
	       0)
		length += (size_t)n;
	close(death->words[0]);
	assert_int_equal(waitpid(pid, &death->status, 0), pid);
}

/* ------------------------------------------------------------------------------------ faults */

static int deeper(volatile char *above);
static int (*volatile go_deeper)(volatile char *above) = deeper;

static int deeper(volatile char *above)
{
	volatile char here[512];

	here[0] = (char)(above[0] + 1);
	return go_deeper(here) + here[0];
}

static void overflow(void *arg)
{
	volatile char first[1] = {0};

	(void)arg;
	go_deeper(first);
}

static void overflow_later(void *arg)
{
	/* Others have run on this thread meanwhile. */
	if (netd_poll(NULL, 0, clock_ms() + 1) == 0)
		overflow(arg);
}

/* Memory that nobody may touch, but no guard of a stack. */
static void touch(void *arg)
{
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	*page = 1;
}

static void be_killed(void *arg)
{
	struct ground *g = *(struct ground **)arg;

	kill(getpid(), SIGSEGV);
	ground_put(g->done[1]); /* it was swallowed */
}

static void be_killed_by_a_bus(void *arg)
{
	struct ground *g = *(struct ground **)arg;

	kill(getpid(), SIGBUS);
	ground_put(g->done[1]);
}

static void end_well(void *arg)
{
	ground_put((*(struct ground **)arg)->done[1]);
}

/* ------------------------------------------------------------------------------------- tests */

static void assert_fault(const struct death *death)
{
	assert_true(WIFSIGNALED(death->status));
	assert_true(WTERMSIG(death->status) == SIGSEGV || WTERMSIG(death->status) == SIGBUS);
}

static void an_overflow_is_told_and_kills(void **state)
{
	struct death death;

	die(&death, *state, overflow);
	assert_fault(&death);
	assert_string_equal(death.text, "7192.0.2.7:99");
}

static void an_overflow_after_a_wait_is_told_and_kills(void **state)
{
	struct death death;

	die(&death, *state, overflow_later);
	assert_fault(&death);
	assert_string_equal(death.text, "7192.0.2.7:99");
}

static void the_watchdog_does_not_mind(void **state)
{
	struct ground *g = *state;
	struct death death;

	if (!THREAD_SANITIZER)
		g->config.stall_ms = 1;
	die(&death, *state, overflow);
	assert_fault(&death);
	assert_string_equal(death.text, "7192.0.2.7:99");
}

static void any_other_fault_kills_without_words(void **state)
{
	struct death death;

	die(&death, *state, touch);
	assert_fault(&death);
	assert_string_equal(death.text, "");
}

static void a_fault_that_was_sent_kills_too(void **state)
{
	struct death death;

	die(&death, *state, be_killed);
	assert_true(WIFSIGNALED(death.status));
	assert_int_equal(WTERMSIG(death.status), SIGSEGV);
	assert_string_equal(death.text, "");
	die(&death, *state, be_killed_by_a_bus);
	assert_true(WIFSIGNALED(death.status));
	assert_int_equal(WTERMSIG(death.status), SIGBUS);
	assert_string_equal(death.text, "");
}

static void no_fault_no_death(void **state)
{
	struct death death;

	die(&death, *state, end_well);
	assert_true(WIFEXITED(death.status));
	assert_int_equal(WEXITSTATUS(death.status), 0);
	assert_string_equal(death.text, "");
}

/* ------------------------------------------------------------------------------ start and end */

/* Everything that a process has for faults. */
struct faults {
	struct sigaction segv, bus;
	stack_t stack;
};

static struct faults faults_now(void)
{
	struct faults faults = {0};

	sigaction(SIGSEGV, NULL, &faults.segv);
	sigaction(SIGBUS, NULL, &faults.bus);
	sigaltstack(NULL, &faults.stack);
	return faults;
}

static bool is_standard(const struct sigaction *action)
{
	return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

/* Run fn with the system's own faults, and put those of a sanitizer back. */
static void with_standard_faults(struct ground *g, void (*fn)(struct ground *g))
{
	struct faults before = faults_now();
	stack_t none = {.ss_flags = SS_DISABLE};
	struct rlimit core;

	getrlimit(RLIMIT_CORE, &core);
	faults_are_the_systems();
	sigaltstack(&none, NULL);
	g->config.overflow = overflowed;
	g->config.arg = g;
	fn(g);
	sigaction(SIGSEGV, &before.segv, NULL);
	sigaction(SIGBUS, &before.bus, NULL);
	sigaltstack(&before.stack, NULL);
	setrlimit(RLIMIT_CORE, &core);
}

static void open_and_close(struct ground *g)
{
	struct faults now;

	ground_open(g);
	now = faults_now();
	assert_false(is_standard(&now.segv));
	assert_false(is_standard(&now.bus));
	assert_true(now.segv.sa_flags & SA_ONSTACK);
	assert_false(now.stack.ss_flags & SS_DISABLE);
	g->fibers = fibers_close(g->fibers);
	now = faults_now();
	assert_true(is_standard(&now.segv));
	assert_true(is_standard(&now.bus));
	assert_true(now.stack.ss_flags & SS_DISABLE);
}

static void everything_is_as_before_after_the_end(void **state)
{
	with_standard_faults(*state, open_and_close);
}

static void on_fault(int signo)
{
	_exit(signo);
}

static void open_with_handler(struct ground *g)
{
	struct sigaction own = {.sa_handler = on_fault};
	struct faults now;

	sigaction(SIGSEGV, &own, NULL);
	ground_open(g);
	now = faults_now();
	assert_true(now.segv.sa_handler == on_fault);
	assert_false(is_standard(&now.bus));
	g->fibers = fibers_close(g->fibers);
	now = faults_now();
	assert_true(now.segv.sa_handler == on_fault);
	assert_true(is_standard(&now.bus));
}

static void a_handler_of_the_programs_own_stays(void **state)
{
	with_standard_faults(*state, open_with_handler);
}

static void handler_comes_later(struct ground *g)
{
	struct sigaction own = {.sa_handler = on_fault};
	struct faults now;

	ground_open(g);
	sigaction(SIGSEGV, &own, NULL);
	g->fibers = fibers_close(g->fibers);
	now = faults_now();
	assert_true(now.segv.sa_handler == on_fault);
}

static void a_handler_that_came_later_is_not_undone(void **state)
{
	with_standard_faults(*state, handler_comes_later);
}

static void open_with_stack(struct ground *g)
{
	static char memory[65536];
	stack_t own = {.ss_sp = memory, .ss_size = sizeof memory};
	stack_t none = {.ss_flags = SS_DISABLE};

	sigaltstack(&own, NULL);
	ground_open(g);
	assert_ptr_equal(faults_now().stack.ss_sp, memory);
	g->fibers = fibers_close(g->fibers);
	assert_ptr_equal(faults_now().stack.ss_sp, memory);
	sigaltstack(&none, NULL);
}

static void a_stack_for_handlers_that_is_there_is_used(void **state)
{
	with_standard_faults(*state, open_with_stack);
}

static void open_without_words(struct ground *g)
{
	struct faults now;

	g->config.overflow = NULL;
	ground_open(g);
	now = faults_now();
	assert_true(is_standard(&now.segv));
	assert_true(is_standard(&now.bus));
}

static void who_does_not_want_to_hear_has_no_handler(void **state)
{
	with_standard_faults(*state, open_without_words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GROUND_TEST(an_overflow_is_told_and_kills),
	    GROUND_TEST(an_overflow_after_a_wait_is_told_and_kills),
	    GROUND_TEST(the_watchdog_does_not_mind),
	    GROUND_TEST(any_other_fault_kills_without_words),
	    GROUND_TEST(a_fault_that_was_sent_kills_too),
	    GROUND_TEST(no_fault_no_death),
	    GROUND_TEST(everything_is_as_before_after_the_end),
	    GROUND_TEST(a_handler_of_the_programs_own_stays),
	    GROUND_TEST(a_handler_that_came_later_is_not_undone),
	    GROUND_TEST(a_stack_for_handlers_that_is_there_is_used),
	    GROUND_TEST(who_does_not_want_to_hear_has_no_handler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
