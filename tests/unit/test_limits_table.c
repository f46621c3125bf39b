/* The table behind the limits (security rule 13): full, crowded, shared by processes that die. */
#include "limits_fixture.h"

#include "scarce.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static bool no_mapping, no_entropy;

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_getentropy(void *out, size_t size);
int __wrap_getentropy(void *out, size_t size);

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (no_mapping) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, size, protection, flags, fd, offset);
}

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return __wrap_mmap(at, size, protection, flags, fd, offset);
}

int __wrap_getentropy(void *out, size_t size)
{
	if (no_entropy) {
		errno = ENOSYS;
		return -1;
	}
	return __real_getentropy(out, size);
}

/* --------------------------------------------------------------------------------- full */

#define ROWS LIMITS_WAYS /* one place only: everybody meets everybody */

static void rule13_a_full_table_lets_the_next_source_in_uncounted(void **state)
{
	uint64_t holds[ROWS];

	(void)state;
	limits_open((struct limits_config){.max_per_address = 2, .rows = ROWS});
	assert_int_equal(limits->rows, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_ADMITTED);
		holds[i] = last_hold;
	}
	for (uint32_t i = ROWS; i < 10 * ROWS; i++) {
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_UNTRACKED);
		assert_int_equal(last_hold, 0);
	}
	for (uint32_t i = 0; i < ROWS; i++) { /* nobody's own counter was pushed out */
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_ADMITTED);
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_ADDRESS);
	}
	limits_clear_worker(limits, 0);
	for (uint32_t i = 0; i < ROWS; i++) /* each of them is room for another source */
		assert_int_equal(admit_peer_by(0, peer_number(i + 1000)), LIMITS_ADMITTED);
	assert_int_equal(all_counts(), ROWS);
	(void)holds;
}

static void rule13_an_ended_connection_makes_room_for_another_source(void **state)
{
	uint64_t hold;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 2, .rows = ROWS});
	for (uint32_t i = 0; i < ROWS; i++)
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_ADMITTED);
	hold = last_hold;
	assert_int_equal(admit_peer_by(0, peer_number(ROWS)), LIMITS_UNTRACKED);
	limits_release(limits, 0, hold);
	assert_int_equal(admit_peer_by(0, peer_number(ROWS)), LIMITS_ADMITTED);
	assert_int_equal(admit_peer_by(0, peer_number(ROWS - 1)), LIMITS_UNTRACKED);
}

static void rule13_half_a_place_is_not_held_twice(void **state)
{
	(void)state;
	limits_open(
	    (struct limits_config){.max_per_address = 1, .max_per_prefix = 1000, .rows = ROWS});
	for (uint32_t i = 0; i < ROWS - 1; i++) /* the network, and ROWS - 1 addresses */
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_ADMITTED);
	assert_int_equal(admit_peer_by(0, peer_number(200)), LIMITS_UNTRACKED);
	assert_int_not_equal(last_hold, 0); /* it counts for its network all the same */
	assert_int_equal(all_counts(), 2 * (ROWS - 1) + 1);
	limits_release(limits, 0, last_hold);
	assert_int_equal(all_counts(), 2 * (ROWS - 1));
}

/* Many addresses, one connection from each: whoever owes most is remembered longest. */
static void rule13_a_flood_of_sources_does_not_wash_a_debtor_away(void **state)
{
	(void)state;
	limits_open(
	    (struct limits_config){.rate_per_address = HOUR, .rate_burst = 5, .rows = ROWS});
	for (int i = 0; i < 5; i++)
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	for (uint32_t i = 0; i < 10000; i++) /* never refused for want of room */
		assert_int_equal(admit_peer_by(0, peer_number(i)), LIMITS_ADMITTED);
	assert_int_equal(admit("192.0.2.7"), LIMITS_RATE);
}

static void sources_that_come_and_go_never_fill_it(void **state)
{
	(void)state;
	limits_open(
	    (struct limits_config){.max_per_address = 1, .max_per_prefix = 2, .rows = 2 * ROWS});
	for (uint32_t i = 0; i < 50000; i++) {
		assert_int_equal(admit_peer_by(0, peer_number(i * 256)), LIMITS_ADMITTED);
		limits_release(limits, 0, last_hold);
	}
	assert_int_equal(all_counts(), 0);
}

/* ------------------------------------------------------------------------------- crowded */

#define SOURCES 3000
#define STEPS 200000

struct model {
	unsigned held;
	uint64_t holds[4];
};

/* A list tells what the table should: sources meet in places, and none takes another's count. */
static void the_table_does_as_a_list_would(void **state)
{
	static struct model models[SOURCES];
	unsigned random = 7;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 4});
	for (int step = 0; step < STEPS; step++) {
		struct model *model;
		uint32_t number;

		random = random * 1103515245 + 12345;
		number = (random >> 8) % SOURCES;
		model = &models[number];
		if ((random >> 4) & 1) {
			enum limits_verdict verdict = admit_peer_by(0, peer_number(number));

			assert_int_equal(verdict,
					 model->held < 4 ? LIMITS_ADMITTED : LIMITS_ADDRESS);
			if (verdict == LIMITS_ADMITTED)
				model->holds[model->held++] = last_hold;
		} else if (model->held > 0) {
			limits_release(limits, 0, model->holds[--model->held]);
		}
	}
	for (uint32_t i = 0; i < SOURCES; i++)
		while (models[i].held > 0)
			limits_release(limits, 0, models[i].holds[--models[i].held]);
	assert_int_equal(all_counts(), 0);
}

/* 10,000 connections from as many addresses, with the rows that such a server has. */
static void everybody_has_a_row_at_full_load(void **state)
{
	(void)state;
	limits_open((struct limits_config){
	    .max_per_address = 1, .max_per_prefix = 300, .rows = (size_t)10000 * LIMITS_ROWS_EACH});
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(admit_peer_by(0, peer_number(i * 257)), LIMITS_ADMITTED);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(admit_peer_by(0, peer_number(i * 257)), LIMITS_ADDRESS);
}

static void two_tables_hash_differently(void **state)
{
	struct limits *first;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 1});
	first = limits;
	limits_open((struct limits_config){.max_per_address = 1});
	assert_memory_not_equal(first->key, limits->key, sizeof limits->key);
	limits_free(first);
}

static void very_many_workers_have_fewer_rows(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 1, .rows = 1 << 30, .workers = 1024});
	assert_int_equal(limits->rows, LIMITS_ROWS_MIN);
	assert_int_equal(admit_by(1023, "192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADDRESS);
	limits = limits_free(limits);
	limits_open((struct limits_config){.max_per_address = 1, .rows = 1 << 30});
	assert_int_equal(limits->rows, LIMITS_ROWS_MAX);
}

static void memory_or_chance_that_cannot_be_had(void **state)
{
	const struct limits_config config = {
	    .max_per_address = 1, .rows = LIMITS_ROWS_MIN, .workers = 1};
	struct limits *none = NULL;

	(void)state;
	scarce_from(0);
	assert_int_equal(limits_new(&none, &config), -ENOMEM);
	scarce_over();
	no_mapping = true;
	assert_int_equal(limits_new(&none, &config), -ENOMEM);
	no_mapping = false;
	no_entropy = true;
	assert_int_equal(limits_new(&none, &config), -ENOSYS);
	no_entropy = false;
	assert_null(none);
}

/* ------------------------------------------------------------------------ workers that die */

static void rule13_a_dead_worker_holds_nothing(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 3, .workers = 2});
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADMITTED);
	for (int i = 0; i < 2; i++)
		assert_int_equal(admit_by(1, "192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADDRESS);
	limits_clear_worker(limits, 1);
	assert_int_equal(all_counts(), 1); /* the living one's stays */
	for (int i = 0; i < 2; i++)
		assert_int_equal(admit_by(1, "192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit_by(1, "192.0.2.7"), LIMITS_ADDRESS);
}

static void rule13_a_worker_that_dies_with_the_lock_stops_nobody(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 1, .workers = 3});
	atomic_store(&limits->page->lock, 2); /* worker 1 is gone, nobody has noticed yet */
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_UNTRACKED);
	limits_clear_worker(limits, 1);
	assert_int_equal(atomic_load(&limits->page->lock), 0);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADMITTED);
	atomic_store(&limits->page->lock, 3); /* the master does not wait for ever either */
	limits_clear_worker(limits, 0);
	assert_int_equal(all_counts(), 0);
	assert_int_equal(atomic_load(&limits->page->lock), 3);
}

/* --------------------------------------------------------------------- processes that serve */

static void rule13_an_announced_end_makes_room_at_once(void **state)
{
	uint64_t lent;

	(void)state;
	limits_open(
	    (struct limits_config){.max_per_address = 1, .max_per_prefix = 1, .workers = 2});
	assert_int_equal(admit_by(1, "192.0.2.7"), LIMITS_ADMITTED);
	lent = limits_lend(limits, 1, last_hold);
	assert_int_not_equal(lent, last_hold);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_PREFIX);
	limits_announce(limits, 1, lent); /* the child; its parent has not seen its end yet */
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADMITTED);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_PREFIX);
	limits_release(limits, 1, lent); /* now it has, and gives nothing back twice */
	assert_int_equal(all_counts(), 2);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_PREFIX);
}

static void rule13_an_announced_end_is_collected_once(void **state)
{
	uint64_t lent[3];

	(void)state;
	limits_open((struct limits_config){.max_per_address = 3});
	for (int i = 0; i < 3; i++) {
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
		lent[i] = limits_lend(limits, 0, last_hold);
	}
	for (int i = 0; i < 2; i++) { /* nobody has been reaped yet */
		limits_announce(limits, 0, lent[i]);
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
	}
	for (int i = 0; i < 3; i++)
		limits_release(limits, 0, lent[i]);
	assert_int_equal(all_counts(), 2);
}

static void rule13_the_end_of_a_process_gives_back_what_was_not_announced(void **state)
{
	uint64_t lent;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 1});
	for (int i = 0; i < 3 * LIMITS_CELLS; i++) { /* cells are used again */
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
		lent = limits_lend(limits, 0, last_hold);
		assert_int_not_equal(lent, last_hold);
		if (i % 2) /* announced, but nobody asked for the place */
			limits_announce(limits, 0, lent);
		limits_release(limits, 0, lent);
		assert_int_equal(all_counts(), 0);
	}
	assert_int_equal(limits_lend(limits, 0, 0), 0);
}

static void a_fork_that_fails_takes_its_cell_back(void **state)
{
	uint64_t hold, lent;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 1});
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	hold = last_hold;
	lent = limits_lend(limits, 0, hold);
	limits_unlend(limits, 0, lent);
	limits_announce(limits, 0, lent); /* nobody's any more */
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
	limits_release(limits, 0, hold);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	limits_unlend(limits, 0, hold); /* it never had one: nothing happens */
}

static void without_a_free_cell_the_parent_gives_back(void **state)
{
	static uint64_t lent[2 * LIMITS_CELLS];

	(void)state;
	limits_open((struct limits_config){.max_per_address = ARRAY_LEN(lent)});
	for (size_t i = 0; i < ARRAY_LEN(lent); i++) {
		assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
		lent[i] = limits_lend(limits, 0, last_hold);
	}
	assert_int_equal(lent[ARRAY_LEN(lent) - 1] >> HOLD_CELL_SHIFT, 0);
	for (size_t i = 0; i < ARRAY_LEN(lent); i++)
		limits_announce(limits, 0, lent[i]);
	for (size_t i = 0; i < ARRAY_LEN(lent); i++)
		limits_release(limits, 0, lent[i]);
	assert_int_equal(all_counts(), 0);
}

/* A handler's process outlives its worker; the next one there has the same cell for the same
 * source. */
static void rule13_an_orphan_announces_nobody_elses_end(void **state)
{
	uint64_t orphan, next;

	(void)state;
	limits_open((struct limits_config){.max_per_address = 1, .workers = 1});
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	orphan = limits_lend(limits, 0, last_hold);
	limits_clear_worker(limits, 0);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
	next = limits_lend(limits, 0, last_hold);
	assert_int_equal((orphan >> HOLD_CELL_SHIFT) & HOLD_CELL_MASK,
			 (next >> HOLD_CELL_SHIFT) & HOLD_CELL_MASK);
	limits_announce(limits, 0, orphan);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADDRESS);
	limits_announce(limits, 0, next);
	assert_int_equal(admit("192.0.2.7"), LIMITS_ADMITTED);
}

static void rule13_numbers_from_shared_memory_are_not_believed(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 1, .workers = 2});
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADMITTED);
	for (size_t i = 0; i < LIMITS_CELLS; i++)
		atomic_store(&limits->columns[1].cells[i], ~CELL_COLLECTED - i);
	atomic_store(&limits->columns[1].announced, true);
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADDRESS); /* no row is that far away */
	assert_int_equal(all_counts(), 1);
	limits_release(limits, 1, last_hold | 1); /* a count stays at zero */
	assert_int_equal(all_counts(), 1);
}

/* -------------------------------------------------------------------- all at the same time */

#define PROCESSES 4
#define PLACES 3
#define ROUNDS 20000

/* What processes see of each other beside the table. */
struct meeting {
	_Atomic int inside, most, admitted, refused;
};

static _Noreturn void come_and_go(struct meeting *meeting, int slot)
{
	const struct access_peer peer = peer_of("192.0.2.7");

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t hold;
		int inside, most;

		if (limits_admit(limits, slot, &peer, START, &hold) != LIMITS_ADMITTED) {
			atomic_fetch_add(&meeting->refused, 1);
			continue;
		}
		inside = atomic_fetch_add(&meeting->inside, 1) + 1;
		most = atomic_load(&meeting->most);
		while (inside > most &&
		       !atomic_compare_exchange_weak(&meeting->most, &most, inside))
			;
		atomic_fetch_add(&meeting->admitted, 1);
		if (i % 64 == 0)
			sched_yield(); /* let others find it full */
		atomic_fetch_sub(&meeting->inside, 1);
		limits_release(limits, slot, hold);
	}
	_exit(0);
}

static void rule13_no_limit_is_overshot_by_processes_at_once(void **state)
{
	struct meeting *meeting =
	    mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[PROCESSES];

	(void)state;
	assert_true(meeting != MAP_FAILED);
	limits_open((struct limits_config){.max_per_address = PLACES, .workers = PROCESSES});
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			come_and_go(meeting, i);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_true(atomic_load(&meeting->most) >= 1);
	assert_true(atomic_load(&meeting->most) <= PLACES);
	assert_int_equal(atomic_load(&meeting->admitted) + atomic_load(&meeting->refused),
			 PROCESSES * ROUNDS);
	assert_int_equal(all_counts(), 0);
	munmap(meeting, sizeof *meeting);
}

static _Noreturn void come_and_stay(int slot)
{
	for (uint32_t i = 0;; i++) {
		struct access_peer peer = peer_number(i % 5000);
		uint64_t hold;

		limits_admit(limits, slot, &peer, START, &hold);
	}
}

/* Killed wherever it happens to be: what it left is wiped, what others hold is not. */
static void rule13_a_worker_may_be_killed_at_any_point(void **state)
{
	(void)state;
	limits_open((struct limits_config){.max_per_address = 1000000, .workers = 2});
	assert_int_equal(admit_by(0, "192.0.2.7"), LIMITS_ADMITTED);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();
		uint64_t before = all_counts();
		int status;

		assert_true(pid >= 0);
		if (pid == 0)
			come_and_stay(1);
		while (all_counts() < before + 10)
			sched_yield();
		for (int spin = 0; spin < i * 1000; spin++) /* at another point each time */
			atomic_load(&limits->page->lock);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		limits_clear_worker(limits, 1);
		assert_int_equal(all_counts(), 1);
		assert_int_equal(admit_by(0, "192.0.2.8"), LIMITS_ADMITTED);
		limits_release(limits, 0, last_hold);
	}
}

int main(void)
{
#define LIMITS_TEST(name) cmocka_unit_test_teardown(name, limits_teardown)
	const struct CMUnitTest tests[] = {
	    LIMITS_TEST(rule13_a_full_table_lets_the_next_source_in_uncounted),
	    LIMITS_TEST(rule13_an_ended_connection_makes_room_for_another_source),
	    LIMITS_TEST(rule13_half_a_place_is_not_held_twice),
	    LIMITS_TEST(rule13_a_flood_of_sources_does_not_wash_a_debtor_away),
	    LIMITS_TEST(sources_that_come_and_go_never_fill_it),
	    LIMITS_TEST(the_table_does_as_a_list_would),
	    LIMITS_TEST(everybody_has_a_row_at_full_load),
	    LIMITS_TEST(two_tables_hash_differently),
	    LIMITS_TEST(very_many_workers_have_fewer_rows),
	    LIMITS_TEST(memory_or_chance_that_cannot_be_had),
	    LIMITS_TEST(rule13_a_dead_worker_holds_nothing),
	    LIMITS_TEST(rule13_a_worker_that_dies_with_the_lock_stops_nobody),
	    LIMITS_TEST(rule13_an_announced_end_makes_room_at_once),
	    LIMITS_TEST(rule13_an_announced_end_is_collected_once),
	    LIMITS_TEST(rule13_the_end_of_a_process_gives_back_what_was_not_announced),
	    LIMITS_TEST(a_fork_that_fails_takes_its_cell_back),
	    LIMITS_TEST(without_a_free_cell_the_parent_gives_back),
	    LIMITS_TEST(rule13_an_orphan_announces_nobody_elses_end),
	    LIMITS_TEST(rule13_numbers_from_shared_memory_are_not_believed),
	    LIMITS_TEST(rule13_no_limit_is_overshot_by_processes_at_once),
	    LIMITS_TEST(rule13_a_worker_may_be_killed_at_any_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
