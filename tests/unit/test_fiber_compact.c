/*
 * test_fiber_compact.c - stacks that are given back while their fibers wait, and are there again as
 * if nothing had happened. On every poller.
 */
#include "fiber_each.h"
#include "scarce.h"

#include <fenv.h>
#include <math.h>
#include <sys/mman.h>

#define COMPACT_MS 20

/* A fiber that waits for input, again and again. */
struct idler {
	struct ground *g;
	struct io_handle mine, theirs;
	int64_t deadline;
	char *top;     /* of its stack */
	unsigned deep; /* KB of stack in use while it waits */
	unsigned number, rounds;
	ssize_t result;
	bool wrong, done;
};

/* Of publish(): told when so many are compacted. */
static uint64_t wanted;
static bool told;

static void publish(void *arg, const struct fibers_use *use)
{
	struct ground *g = arg;

	if (use->compacted != wanted || told)
		return;
	told = true;
	ground_put(g->done[1]);
}

/* False: leave out. */
static bool compact_open(struct ground *g)
{
	wanted = UINT64_MAX;
	told = false;
	g->config.compact_ms = COMPACT_MS;
	g->config.publish = publish;
	g->config.arg = g;
	return each_open(g);
}

/* With ucontext nobody knows what is in use of a stack. */
static bool can_compact(const struct idler *idler)
{
	if (context_live(&idler->g->fibers->context))
		return true;
	printf("# skipped: this build does not compact\n");
	return false;
}

static void until_compacted(struct ground *g, uint64_t count)
{
	wanted = count;
	told = false;
	if (use_of(g).compacted != count)
		ground_take(g->done[0], 1);
	assert_int_equal(use_of(g).compacted, count);
}

static void idler_open(struct idler *idler, struct ground *g, unsigned number)
{
	*idler = (struct idler){.g = g, .number = number, .deadline = NETD_NEVER};
	pair_open(&idler->mine, &idler->theirs);
}

static void idler_close(struct idler *idler)
{
	handle_close(&idler->mine);
	handle_close(&idler->theirs);
}

static ssize_t wait_idly(struct idler *idler)
{
	char byte;
	ssize_t n = io_get_ops()->recv(&idler->mine, &byte, 1, idler->deadline);

	if (n == 1)
		idler->rounds++;
	return n;
}

static void poke(struct idler *idler)
{
	assert_int_equal(write(idler->theirs.fd, "", 1), 1);
}

static void until_poked(struct idler *idler, unsigned rounds)
{
	while (idler->rounds < rounds)
		assert_int_equal(netd_sleep(1), 0);
}

/* ------------------------------------------------------------------------------- what survives */

/* A chain of frames, each of which knows the one above and has values of its own. */
struct link {
	const struct link *above;
	unsigned level;
	double square;
	struct link *self;
};

static bool link_is_right(const struct link *link)
{
	for (; link; link = link->above)
		if (link->self != link || link->square != (double)link->level * link->level ||
		    (link->above && link->above->level != link->level + 1))
			return false;
	return true;
}

__attribute__((noinline)) static ssize_t go_deeper(struct idler *idler, const struct link *above,
						   unsigned level)
{
	struct link link = {.above = above, .level = level, .square = (double)level * level};
	ssize_t rc;

	link.self = &link;
	rc = level > 0 ? go_deeper(idler, &link, level - 1) : wait_idly(idler);
	if (!link_is_right(&link))
		idler->wrong = true;
	return rc;
}

static void idle_with_frames(void *arg)
{
	struct idler *idler = *(struct idler **)arg;

	const struct fiber *self = idler->g->fibers->current;

	idler->top = self->context.top + self->stagger;
	while ((idler->result = go_deeper(idler, NULL, 5 + idler->number % 7)) > 0)
		continue;
	idler->done = true;
}

static void frames_and_pointers_into_them_survive(void **state)
{
	enum { NUMBER = 40, ROUNDS = 5 };
	struct idler idlers[NUMBER];
	struct ground *g = *state;

	if (!compact_open(g))
		return;
	for (unsigned i = 0; i < NUMBER; i++) {
		idler_open(&idlers[i], g, i);
		ground_start(g, 0, "", idle_with_frames, &idlers[i]);
	}
	let_run();
	for (unsigned round = 1; round <= ROUNDS && can_compact(&idlers[0]); round++) {
		until_compacted(g, NUMBER);
		for (unsigned i = 0; i < NUMBER; i++)
			poke(&idlers[i]);
		for (unsigned i = 0; i < NUMBER; i++) {
			until_poked(&idlers[i], round);
			assert_false(idlers[i].wrong);
		}
	}
	for (unsigned i = 0; i < NUMBER; i++)
		idler_close(&(struct idler){.mine.fd = -1, .theirs = idlers[i].theirs});
	until_left(g, 0);
	for (unsigned i = 0; i < NUMBER; i++) {
		assert_true(idlers[i].done);
		assert_int_equal(idlers[i].result, 0);
		handle_close(&idlers[i].mine);
	}
	assert_int_equal(use_of(g).compacted, 0);
}

static void idle_in_a_loop_of_jumps(void *arg)
{
	struct idler *idler = *(struct idler **)arg;
	volatile unsigned jumps = 0;
	jmp_buf back;

	if (setjmp(back) != 0)
		jumps++;
	idler->result = wait_idly(idler);
	if (idler->result > 0 && jumps < 3)
		longjmp(back, 1);
	idler->wrong = jumps != 3;
	idler->done = true;
}

static void a_jump_buffer_survives(void **state)
{
	struct ground *g = *state;
	struct idler idler;

	if (!compact_open(g))
		return;
	idler_open(&idler, g, 0);
	ground_start(g, 0, "", idle_in_a_loop_of_jumps, &idler);
	let_run();
	for (unsigned i = 1; i <= 4; i++) {
		if (can_compact(&idler))
			until_compacted(g, 1);
		poke(&idler);
		until_poked(&idler, i);
	}
	until_left(g, 0);
	assert_true(idler.done);
	assert_false(idler.wrong);
	idler_close(&idler);
}

static void idle_with_numbers(void *arg)
{
	struct idler *idler = *(struct idler **)arg;
	double a = sqrt(idler->number + 2.0), b = a * 3, c = b / 7, d = exp(-c);
	int mode = idler->number % 2 ? FE_UPWARD : FE_TOWARDZERO;
	volatile double one = 1, three = 3, third;

	fesetround(mode);
	third = one / three;
	idler->result = wait_idly(idler);
	idler->wrong = fegetround() != mode || one / three != third;
	fesetround(FE_TONEAREST);
	idler->wrong = idler->wrong || a != sqrt(idler->number + 2.0) || b != a * 3 || c != b / 7 ||
		       d != exp(-c);
	idler->done = true;
}

static void floating_point_survives(void **state)
{
	struct idler idlers[6];
	struct ground *g = *state;

	if (!compact_open(g))
		return;
	for (unsigned i = 0; i < 6; i++) {
		idler_open(&idlers[i], g, i);
		ground_start(g, 0, "", idle_with_numbers, &idlers[i]);
	}
	let_run();
	assert_int_equal(fegetround(), FE_TONEAREST);
	if (can_compact(&idlers[0]))
		until_compacted(g, 6);
	for (int i = 0; i < 6; i++)
		poke(&idlers[i]);
	until_left(g, 0);
	for (int i = 0; i < 6; i++) {
		assert_true(idlers[i].done);
		assert_false(idlers[i].wrong);
		idler_close(&idlers[i]);
	}
}

static void the_room_survives(void **state)
{
	struct ground *g = *state;
	struct idler idler, *p = &idler;
	struct guest *guest;

	if (!compact_open(g))
		return;
	idler_open(&idler, g, 0);
	guest = fiber_new(g->fibers, sizeof *guest);
	*guest = (struct guest){.number = 4711, .name = "somebody"};
	fiber_start(g->fibers, guest, idle_with_frames, &p, sizeof p);
	let_run();
	if (can_compact(&idler))
		until_compacted(g, 1);
	poke(&idler);
	until_poked(&idler, 1);
	assert_int_equal(guest->number, 4711); /* it waits again, but is not compacted yet */
	assert_string_equal(guest->name, "somebody");
	fibers_cancel(g->fibers);
	until_left(g, 0);
	idler_close(&idler);
}

/* ----------------------------------------------------------------------------- memory goes down */

static size_t resident(const struct ground *g, char *top)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = stack_size(g->fibers->stacks);
	unsigned char pages[256];
	size_t count = 0;

	assert_true(size / page <= sizeof pages);
	assert_int_equal(mincore(top - size, size, pages), 0);
	for (size_t i = 0; i < size / page; i++)
		count += pages[i] & 1;
	return count;
}

/* Each frame is known to the next one, or compilers would make one of them all. */
__attribute__((noinline)) static int use_stack(unsigned kb, const volatile char *above)
{
	volatile char room[1024];

	room[0] = (char)(above ? above[0] + 1 : 1);
	return (kb > 1 ? use_stack(kb - 1, room) : 0) + room[0];
}

static void idle_after_much(void *arg)
{
	struct idler *idler = *(struct idler **)arg;

	idler->wrong = use_stack(100, NULL) != 100 * 101 / 2;
	idle_with_frames(arg);
}

static void memory_goes_back_to_the_system(void **state)
{
	enum { NUMBER = 20 };
	struct idler idlers[NUMBER];
	struct ground *g = *state;
	uint64_t bytes;

	if (!compact_open(g))
		return;
	bytes = use_of(g).bytes;
	for (unsigned i = 0; i < NUMBER; i++) {
		idler_open(&idlers[i], g, 0);
		ground_start(g, 0, "", idle_after_much, &idlers[i]);
	}
	let_run();
	for (int i = 0; i < NUMBER; i++)
		assert_true(resident(g, idlers[i].top) >= 100 / 4);
	if (can_compact(&idlers[0])) {
		until_compacted(g, NUMBER);
		for (int i = 0; i < NUMBER; i++)
			assert_int_equal(resident(g, idlers[i].top), 0);
		/* In exchange for this, as the numbers say. */
		assert_in_range(use_of(g).bytes - bytes, 1, NUMBER * 1500);
		poke(&idlers[3]);
		until_poked(&idlers[3], 1);
		assert_true(resident(g, idlers[3].top) >= 1);
		assert_int_equal(use_of(g).compacted, NUMBER - 1);
		assert_int_equal(resident(g, idlers[4].top), 0);
	}
	fibers_cancel(g->fibers);
	until_left(g, 0);
	assert_int_equal(use_of(g).compacted, 0);
	for (int i = 0; i < NUMBER; i++) {
		assert_false(idlers[i].wrong);
		assert_int_equal(idlers[i].result, -ECANCELED);
		idler_close(&idlers[i]);
	}
}

/* ------------------------------------------------------------------ how a compacted wait can end
 */

static void a_deadline_passes_while_compacted(void **state)
{
	struct ground *g = *state;
	struct idler idler;
	int64_t now;

	if (!compact_open(g))
		return;
	idler_open(&idler, g, 3);
	now = clock_ms();
	idler.deadline = now + 50 * COMPACT_MS; /* it is compacted long before */
	ground_start(g, 0, "", idle_with_frames, &idler);
	let_run();
	if (can_compact(&idler))
		until_compacted(g, 1);
	until_left(g, 0);
	assert_int_equal(idler.result, -ETIMEDOUT);
	assert_true(clock_ms() >= idler.deadline);
	assert_false(idler.wrong);
	assert_int_equal(use_of(g).compacted, 0);
	idler_close(&idler);
}

static void a_stop_comes_while_compacted(void **state)
{
	struct ground *g = *state;
	struct idler idlers[3];

	if (!compact_open(g))
		return;
	for (unsigned i = 0; i < 3; i++) {
		idler_open(&idlers[i], g, i);
		ground_start(g, 0, "", idle_with_frames, &idlers[i]);
	}
	let_run();
	if (can_compact(&idlers[0]))
		until_compacted(g, 3);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(idlers[i].result, -ECANCELED);
		assert_false(idlers[i].wrong);
		idler_close(&idlers[i]);
	}
}

static void the_peer_goes_while_compacted(void **state)
{
	struct ground *g = *state;
	struct idler idler;

	if (!compact_open(g))
		return;
	idler_open(&idler, g, 5);
	ground_start(g, 0, "", idle_with_frames, &idler);
	let_run();
	if (can_compact(&idler))
		until_compacted(g, 1);
	handle_close(&idler.theirs);
	until_left(g, 0);
	assert_int_equal(idler.result, 0);
	assert_false(idler.wrong);
	idler_close(&idler);
}

/* ----------------------------------------------------------------------------- who is left alone
 */

/* Others may have pointers to what is on its stack: the poller, a helper thread. */
static void poll_it(void *arg)
{
	struct idler *idler = *(struct idler **)arg;
	struct netd_pollfd wait = {.fd = idler->mine.fd, .events = NETD_IN};

	idler->result = netd_poll(&wait, 1, NETD_NEVER);
	idler->done = true;
}

static void sleep_long(void *arg)
{
	struct idler *idler = *(struct idler **)arg;

	idler->result = netd_sleep(100000);
	idler->done = true;
}

static void send_in_vain(void *arg)
{
	struct idler *idler = *(struct idler **)arg;
	static char much[1 << 20];
	struct iovec part = {much, sizeof much};

	idler->result = io_get_ops()->send(&idler->mine, &part, 1, NETD_NEVER);
	idler->done = true;
}

static int block(void *arg)
{
	char byte;

	return (int)read(*(int *)arg, &byte, 1);
}

static void wait_elsewhere(void *arg)
{
	struct idler *idler = *(struct idler **)arg;
	int fd = dup(idler->theirs.fd); /* on the stack: the thread reads it */

	if (os_set_nonblocking(fd, false) == 0)
		idler->result = netd_offload(block, &fd);
	close(fd);
	idler->done = true;
}

__attribute__((noinline)) static void dig(unsigned kb, struct idler *idler,
					  const volatile char *above)
{
	volatile char room[1024];

	room[0] = room[1023] = (char)(above ? above[0] + 1 : 1);
	if (kb > 1)
		dig(kb - 1, idler, room);
	else
		idler->result = wait_idly(idler);
	if (room[0] != room[1023] || (above && room[0] != (char)(above[0] + 1)))
		idler->wrong = true;
}

static void idle_deep_down(void *arg)
{
	struct idler *idler = *(struct idler **)arg;

	dig(40, idler, NULL);
	idler->done = true;
}

static void only_waits_for_input_that_are_not_deep_are_compacted(void **state)
{
	static void (*const functions[])(void *arg) = {
	    poll_it, sleep_long, send_in_vain, wait_elsewhere, idle_deep_down, idle_with_frames};
	struct idler idlers[ARRAY_LEN(functions)];
	struct ground *g = *state;

	if (!compact_open(g))
		return;
	for (unsigned i = 0; i < ARRAY_LEN(functions); i++) {
		idler_open(&idlers[i], g, i);
		ground_start(g, 0, "", functions[i], &idlers[i]);
	}
	let_run();
	/* The last one began last: with it the others' time has come as well. */
	if (can_compact(&idlers[0]))
		until_compacted(g, 1);
	assert_int_equal(netd_sleep(5 * COMPACT_MS), 0); /* five times as long as it takes */
	assert_in_range(use_of(g).compacted, 0, 1);
	assert_int_equal(write(idlers[3].mine.fd, "", 1), 1); /* for the helper */
	poke(&idlers[4]);
	until_left(g, 4);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	for (unsigned i = 0; i < ARRAY_LEN(functions); i++) {
		assert_true(idlers[i].done);
		assert_false(idlers[i].wrong);
		idler_close(&idlers[i]);
	}
	assert_int_equal(idlers[3].result, 1);
	assert_int_equal(idlers[4].result, 1);
}

static void who_is_not_to_be_compacted_is_not(void **state)
{
	struct ground *g = *state;
	struct idler idler;

	if (!compact_open(g))
		return;
	g->fibers = fibers_close(g->fibers);
	g->config.compact_ms = 0;
	if (!each_open(g))
		return;
	idler_open(&idler, g, 1);
	ground_start(g, 0, "", idle_with_frames, &idler);
	assert_int_equal(netd_sleep(1500), 0); /* more than one tick */
	assert_int_equal(use_of(g).compacted, 0);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	idler_close(&idler);
}

static void without_memory_a_stack_stays_and_its_turn_comes_again(void **state)
{
	struct ground *g = *state;
	struct idler idler;

	if (!compact_open(g))
		return;
	idler_open(&idler, g, 2);
	ground_start(g, 0, "", idle_with_frames, &idler);
	let_run();
	if (can_compact(&idler)) {
		int64_t until = clock_ms() + 60000;

		/* The model, or the image: whichever comes first after that many others. */
		scarce_from(0);
		while (use_of(g).compacted == 0 && clock_ms() < until)
			assert_int_equal(netd_sleep(5), 0);
		assert_false(scarce_over());
		assert_int_equal(use_of(g).compacted, 1);
	}
	poke(&idler);
	until_poked(&idler, 1);
	fibers_cancel(g->fibers);
	until_left(g, 0);
	assert_false(idler.wrong);
	idler_close(&idler);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(frames_and_pointers_into_them_survive),
	    EACH(a_jump_buffer_survives),
	    EACH(floating_point_survives),
	    EACH(the_room_survives),
	    EACH(memory_goes_back_to_the_system),
	    EACH(a_deadline_passes_while_compacted),
	    EACH(a_stop_comes_while_compacted),
	    EACH(the_peer_goes_while_compacted),
	    EACH(only_waits_for_input_that_are_not_deep_are_compacted),
	    EACH(who_is_not_to_be_compacted_is_not),
	    EACH(without_memory_a_stack_stays_and_its_turn_comes_again),
	};

	return cmocka_run_group_tests_name("fiber_compact", tests, NULL, NULL);
}
