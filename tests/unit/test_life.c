/*
 * test_life.c - the phases of a process, moved by real signals, wishes and deadlines; the memory
 * that processes share; the books of jobs. The modes themselves are tested end to end in
 * tests/modes.
 */
#include "conn_fixture.h"
#include "mode/mode.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static struct stage *stage; /* for its log */
static struct shared shared;
static struct life life;

static int setup(void **state)
{
	struct err err;

	if (stage_setup(state) < 0 || signals_open(&err) < 0 || shared_init(&shared, 2) < 0)
		return -1;
	stage = *state;
	life_init(&life, stage->env.log, &shared, 0, 30000, true);
	return 0;
}

static int teardown(void **state)
{
	shared_finish(&shared);
	signals_close();
	return stage_teardown(state);
}

#define LIFE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void send_and_update(int signo)
{
	struct pollfd ready = {.fd = signals_fd(), .events = POLLIN};

	raise(signo);
	assert_int_equal(poll(&ready, 1, 0), 1); /* the loop would wake */
	life_update(&life);
	assert_int_equal(poll(&ready, 1, 0), 0);
}

/* The phase, and what the other processes are told. */
static void expect_phase(enum phase phase)
{
	assert_int_equal(life_phase(&life), phase);
	assert_int_equal(atomic_load(&shared.page->phase), phase);
}

#define expect_story(text) check_log(stage, NETD_NOTICE, text, __FILE__, __LINE__)

static const char draining[] = "SIGTERM: no new connections; 0 at work may finish within 30.0 s\n";

/* ----------------------------------------------------------------------------------- signals */

static void nothing_happens_by_itself(void **state)
{
	(void)state;
	life_update(&life);
	expect_phase(PHASE_SERVE);
	assert_true(life_deadline(&life) == NETD_NEVER);
	expect_story("");
}

static void term_drains(void **state)
{
	(void)state;
	atomic_store(&shared.page->slots[0].active, 3);
	atomic_store(&shared.page->slots[1].active, 4);
	send_and_update(SIGTERM);
	expect_phase(PHASE_DRAIN);
	assert_in_range(life_deadline(&life), netd_now() + 20000, netd_now() + 30000);
	life_update(&life);
	expect_phase(PHASE_DRAIN);
	expect_story("SIGTERM: no new connections; 7 at work may finish within 30.0 s\n");
}

static void a_second_term_stops(void **state)
{
	char story[200];

	(void)state;
	send_and_update(SIGTERM);
	send_and_update(SIGTERM);
	expect_phase(PHASE_STOP);
	assert_in_range(life_deadline(&life), netd_now() + 1, netd_now() + STOP_GRACE_MS);
	send_and_update(SIGTERM);
	send_and_update(SIGINT);
	expect_phase(PHASE_STOP);
	snprintf(story, sizeof story, "%s%s", draining,
		 "second SIGTERM: stopping now; 0 connections cut\n");
	expect_story(story);
}

static void two_terms_at_once_stop(void **state)
{
	(void)state;
	raise(SIGTERM);
	send_and_update(SIGTERM);
	expect_phase(PHASE_STOP);
}

/* A worker is told by its master and by whoever signals the whole group: that is one wish. */
static void two_terms_only_drain_a_worker(void **state)
{
	(void)state;
	life_fork(&life);
	raise(SIGTERM);
	send_and_update(SIGTERM);
	send_and_update(SIGTERM);
	assert_int_equal(life_phase(&life), PHASE_DRAIN);
	assert_int_equal(atomic_load(&shared.page->phase), PHASE_SERVE); /* the master's to write */
	expect_story("");                                                /* and to log */
}

static void int_stops_at_once(void **state)
{
	(void)state;
	atomic_store(&shared.page->slots[1].active, 2);
	send_and_update(SIGINT);
	expect_phase(PHASE_STOP);
	expect_story("SIGINT: stopping now; 2 connections cut\n");
	life_drain(&life, "never back");
	expect_phase(PHASE_STOP);
}

static void int_while_draining_stops(void **state)
{
	(void)state;
	send_and_update(SIGTERM);
	send_and_update(SIGINT);
	expect_phase(PHASE_STOP);
}

static void int_and_term_together_stop(void **state)
{
	(void)state;
	raise(SIGTERM);
	send_and_update(SIGINT);
	expect_phase(PHASE_STOP);
}

static void the_end_of_a_child_is_noted(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	life_update(&life);
	assert_true(life.child_ended);
	expect_phase(PHASE_SERVE);
	life.child_ended = false;
	life_update(&life);
	assert_false(life.child_ended);
}

/* ----------------------------------------------------------------------------- logs reopened */

static void hup_and_usr1_reopen_the_log(void **state)
{
	static const int signals[] = {SIGHUP, SIGUSR1};
	char moved[128];

	(void)state;
	snprintf(moved, sizeof moved, "%s.1", stage->path);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		log_write(stage->env.log, NETD_NOTICE, NULL, "before");
		assert_int_equal(rename(stage->path, moved), 0);
		send_and_update(signals[i]);
		assert_true(life.reopened);
		life.reopened = false;
		log_write(stage->env.log, NETD_NOTICE, NULL, "after");
		expect_story("after\n");
		assert_int_equal(unlink(stage->path), 0);
		send_and_update(SIGUSR1);
	}
	expect_phase(PHASE_SERVE);
	send_and_update(SIGTERM);
	life.reopened = false;
	send_and_update(SIGHUP); /* in any phase */
	assert_true(life.reopened);
	expect_phase(PHASE_DRAIN);
	unlink(moved);
}

/* ---------------------------------------------------------------------- wishes and deadlines */

static void a_wish_to_stop_drains_once(void **state)
{
	(void)state;
	atomic_store(&shared.page->stop_wanted, 1);
	life_update(&life);
	expect_phase(PHASE_DRAIN);
	life_update(&life); /* the wish stays: it is no second one */
	expect_phase(PHASE_DRAIN);
	expect_story("stop requested: no new connections; 0 at work may finish within 30.0 s\n");
}

/* A worker waits until the master passes it on. */
static void a_wish_to_stop_is_for_the_leader(void **state)
{
	(void)state;
	atomic_store(&shared.page->stop_wanted, 1);
	life_fork(&life);
	life_update(&life);
	assert_int_equal(life_phase(&life), PHASE_SERVE);
}

static void wait_until(int64_t deadline)
{
	while (netd_now() < deadline)
		poll(NULL, 0, clock_poll_timeout(deadline));
}

static void the_drain_time_ends(void **state)
{
	(void)state;
	life_init(&life, stage->env.log, &shared, 0, 1, true);
	send_and_update(SIGTERM);
	wait_until(life_deadline(&life));
	life_update(&life);
	expect_phase(PHASE_STOP);
	expect_story("SIGTERM: no new connections; 0 at work may finish within 0.0 s\n"
		     "drain time over: stopping now; 0 connections cut\n");
	assert_true(life_deadline(&life) == life.kill_at);
	wait_until(netd_now() + 5);
	life_update(&life); /* nothing more by itself */
	expect_phase(PHASE_STOP);
}

static void no_drain_time_at_all(void **state)
{
	(void)state;
	life_init(&life, stage->env.log, &shared, 0, 0, true);
	send_and_update(SIGTERM);
	expect_phase(PHASE_STOP);
}

static void the_time_out_stops(void **state)
{
	(void)state;
	life_init(&life, stage->env.log, &shared, 20, 30000, true);
	life_update(&life);
	expect_phase(PHASE_SERVE);
	wait_until(life_deadline(&life));
	life_update(&life);
	expect_phase(PHASE_STOP);
	expect_story("time-out: stopping now; 0 connections cut\n");
}

static void a_drain_before_the_time_out_has_its_own_time(void **state)
{
	(void)state;
	life_init(&life, stage->env.log, &shared, 20, 30500, true);
	send_and_update(SIGTERM);
	wait_until(netd_now() + 25);
	life_update(&life);
	expect_phase(PHASE_DRAIN);
	expect_story("SIGTERM: no new connections; 0 at work may finish within 30.5 s\n");
}

/* -------------------------------------------------------------------------- forked processes */

static void a_forked_process_begins_where_its_parent_was(void **state)
{
	(void)state;
	send_and_update(SIGTERM);
	life.child_ended = life.reopened = true;
	life_fork(&life);
	assert_int_equal(life_phase(&life), PHASE_DRAIN);
	assert_false(life.leads || life.child_ended || life.reopened);
	assert_true(life_deadline(&life) == NETD_NEVER); /* the parent watches the time */
	life_drain(&life, "again");
	assert_int_equal(life_phase(&life), PHASE_DRAIN);
}

static void a_handlers_process_stops_by_int_only(void **state)
{
	(void)state;
	life_fork(&life);
	raise(SIGTERM);
	life_update_child(&life);
	raise(SIGTERM);
	life_update_child(&life);
	assert_int_equal(life_phase(&life), PHASE_SERVE);
	atomic_store(&shared.page->stop_wanted, 1);
	raise(SIGUSR1);
	life_update_child(&life);
	assert_int_equal(life_phase(&life), PHASE_SERVE);
	assert_true(life.reopened);
	assert_true(life_deadline(&life) == NETD_NEVER);
	raise(SIGINT);
	life_update_child(&life);
	assert_int_equal(life_phase(&life), PHASE_STOP);
	expect_story("");
}

/* When its parent is gone nobody else watches the time. */
static void an_orphan_watches_the_time_itself(void **state)
{
	(void)state;
	life_init(&life, stage->env.log, &shared, 0, 20, true);
	life_fork(&life);
	life.parent = -1; /* not who it is now */
	raise(SIGTERM);
	life_update_child(&life);
	assert_int_equal(life_phase(&life), PHASE_SERVE);
	assert_true(life_deadline(&life) <= netd_now() + 20);
	raise(SIGTERM); /* no second chance */
	life_update_child(&life);
	wait_until(life_deadline(&life));
	life_update_child(&life);
	assert_int_equal(life_phase(&life), PHASE_STOP);
}

/* ----------------------------------------------------------------------------- shared memory */

static void processes_share_the_books(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	atomic_store(&shared.page->slots[0].active, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		atomic_fetch_add(&shared.page->slots[1].active, 5);
		atomic_fetch_add(&shared.page->slots[1].accepted, 6);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(shared_active(&shared), 6);
	shared_clear_slot(&shared, 1);
	assert_int_equal(shared_active(&shared), 1);
	assert_int_equal(atomic_load(&shared.page->slots[1].accepted), 0);
}

static void shared_memory_that_cannot_be_had(void **state)
{
	struct shared none = {0};

	(void)state;
	assert_int_equal(shared_init(&none, INT_MIN), -ENOMEM); /* a size beyond any */
	assert_null(none.page);
	shared_finish(&none);
}

/* -------------------------------------------------------------------------------------- jobs */

static struct worker worker;
static int run_rc, ran;
static int wake[2];

static int fake_run(struct worker *of, const struct job *job)
{
	assert_ptr_equal(of, &worker);
	assert_non_null(job->fn);
	ran++;
	return run_rc;
}

static const struct mode_ops fake = {.name = "fake", .run = fake_run};

static int count_up(struct netd_server *server, void *arg)
{
	assert_null(server);
	++*(int *)arg;
	return 0;
}

static void worker_setup(void)
{
	worker = (struct worker){.ops = &fake, .shared = &shared, .env = &stage->env, .slot = 1};
	run_rc = ran = 0;
	assert_int_equal(pipe(wake), 0);
	worker.wake_fd = wake[1];
}

static void worker_finish(void)
{
	close(wake[0]);
	close(wake[1]);
}

static void jobs_are_counted(void **state)
{
	int calls = 0;
	struct job job = {.fn = count_up, .arg = &calls};

	(void)state;
	worker_setup();
	assert_int_equal(worker_start_job(&worker, &job), 0);
	assert_int_equal(worker_start_job(&worker, &job), 0);
	assert_int_equal(worker_active(&worker), 2);
	assert_int_equal(shared_active(&shared), 2);
	run_rc = -EAGAIN; /* could not be started: not counted */
	assert_int_equal(worker_start_job(&worker, &job), -EAGAIN);
	assert_int_equal(worker_active(&worker), 2);
	job_run(&worker, &job);
	assert_int_equal(calls, 1);
	job_end(&worker, false);
	assert_int_equal(worker_active(&worker), 1);
	worker.in_child = true; /* a part of a connection that is counted */
	run_rc = 0;
	assert_int_equal(worker_start_job(&worker, &job), 0);
	assert_int_equal(worker_active(&worker), 1);
	assert_int_equal(ran, 4);
	worker_finish();
}

static void the_end_of_a_job_wakes_who_waits_for_it(void **state)
{
	int calls = 0;
	struct job job = {.fn = count_up, .arg = &calls};
	struct pollfd ready = {.events = POLLIN};

	(void)state;
	worker_setup();
	ready.fd = wake[0];
	for (int i = 0; i < 2; i++)
		assert_int_equal(worker_start_job(&worker, &job), 0);
	atomic_store(&worker.loop_busy, true);
	job_end(&worker, false);
	assert_int_equal(poll(&ready, 1, 0), 0); /* nobody waits */
	assert_true(atomic_load(&worker.loop_busy));
	atomic_store(&worker.wake_wanted, true);
	job_end(&worker, true);
	assert_int_equal(poll(&ready, 1, 0), 1);
	assert_false(atomic_load(&worker.loop_busy));
	worker_finish();
}

static void a_job_serves_its_connection(void **state)
{
	struct job job = {.conn = stage->conn};

	(void)state;
	worker_setup();
	stage_rules(stage, "[]");
	job_run(&worker, &job);
	assert_int_equal(atomic_load(&stage->counters.refused), 1);
	worker_finish();
}

static void modes_are_found_by_name(void **state)
{
	static const char *const names[] = {"single", "fork", "threads"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct mode_ops *ops = mode_find(names[i]);

		assert_non_null(ops);
		assert_string_equal(ops->name, names[i]);
		assert_true(ops->start && ops->run && ops->reap && ops->reopen && ops->stop &&
			    ops->kill && ops->finish);
	}
	assert_null(mode_find("ithreads")); /* the option table has made threads of it */
	assert_null(mode_find(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    LIFE_TEST(nothing_happens_by_itself),
	    LIFE_TEST(term_drains),
	    LIFE_TEST(a_second_term_stops),
	    LIFE_TEST(two_terms_at_once_stop),
	    LIFE_TEST(two_terms_only_drain_a_worker),
	    LIFE_TEST(int_stops_at_once),
	    LIFE_TEST(int_while_draining_stops),
	    LIFE_TEST(int_and_term_together_stop),
	    LIFE_TEST(the_end_of_a_child_is_noted),
	    LIFE_TEST(hup_and_usr1_reopen_the_log),
	    LIFE_TEST(a_wish_to_stop_drains_once),
	    LIFE_TEST(a_wish_to_stop_is_for_the_leader),
	    LIFE_TEST(the_drain_time_ends),
	    LIFE_TEST(no_drain_time_at_all),
	    LIFE_TEST(the_time_out_stops),
	    LIFE_TEST(a_drain_before_the_time_out_has_its_own_time),
	    LIFE_TEST(a_forked_process_begins_where_its_parent_was),
	    LIFE_TEST(a_handlers_process_stops_by_int_only),
	    LIFE_TEST(an_orphan_watches_the_time_itself),
	    LIFE_TEST(processes_share_the_books),
	    LIFE_TEST(shared_memory_that_cannot_be_had),
	    LIFE_TEST(jobs_are_counted),
	    LIFE_TEST(the_end_of_a_job_wakes_who_waits_for_it),
	    LIFE_TEST(a_job_serves_its_connection),
	    LIFE_TEST(modes_are_found_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
