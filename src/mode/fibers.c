/*
 * fibers.c - a fiber serves each connection: thousands of them on the one thread of a worker, each
 * written as if it blocked. The accept loop is the first fiber.
 *
 * Happy path: conn_new() takes its memory from the top of a new fiber's stack; the fiber starts
 * when the accept loop waits, serves, and its stack goes to the next one. Failure modes: no stack,
 * no memory: the accept loop pauses; a stack that overflows ends the worker, with one line that
 * names the connection; a handler that never waits holds up all others of this worker and is
 * reported.
 */
#include "fiber/fiber.h"

#include "mode/mode.h"
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct crew {
	struct fibers *fibers;
	struct worker *worker;
	struct conn_memory memory;
	int stop_pipe[2]; /* the reading end becomes readable at a hard stop */
	size_t watched;
	struct io_watch watches[]; /* of the accept loop */
};

/* What a fiber begins with. */
struct errand {
	struct worker *worker;
	struct job job;
};

/* A job from another thread: netd_spawn() in netd_offload(), or in a thread of the service. */
struct parcel {
	struct errand errand;
	struct crew *crew;
};

static struct crew *crew_of(struct worker *worker)
{
	return worker->mode;
}

/* ------------------------------------------------------------------------------ a fiber's life */

static void serve(void *arg)
{
	struct errand *errand = arg;
	struct worker *worker = errand->worker;
	bool is_loop = errand->job.is_loop;

	job_run(worker, &errand->job);
	conn_free(errand->job.conn);
	job_end(worker, is_loop);
}

static int start_fiber(struct crew *crew, void *room, const struct errand *errand)
{
	void *made = room ? NULL : fiber_new(crew->fibers, 0);
	int rc;

	if (!room && !made)
		return -ENOMEM;
	rc = fiber_start(crew->fibers, room ? room : made, serve, errand, sizeof *errand);
	if (rc < 0 && made)
		fiber_drop(crew->fibers, made);
	return rc;
}

/* On the scheduler's thread: it is counted already, so it must end in either case. */
static void unpack(void *arg)
{
	struct parcel *parcel = arg;
	struct worker *worker = parcel->errand.worker;

	if (start_fiber(parcel->crew, NULL, &parcel->errand) < 0) {
		log_write(worker->env->log, NETD_ERR, NULL,
			  "a spawned function was not run: no memory for its fiber");
		job_end(worker, parcel->errand.job.is_loop);
	}
	free(parcel);
}

static int start_from_afar(struct crew *crew, const struct errand *errand)
{
	struct parcel *parcel = malloc(sizeof *parcel);
	int rc;

	if (!parcel)
		return -ENOMEM;
	*parcel = (struct parcel){.errand = *errand, .crew = crew};
	rc = fibers_call(crew->fibers, unpack, parcel);
	if (rc < 0)
		free(parcel);
	return rc;
}

static int fibers_run(struct worker *worker, const struct job *job)
{
	struct crew *crew = crew_of(worker);
	struct errand errand = {.worker = worker, .job = *job};

	if (!crew) /* a thread of the service's, when all has ended */
		return -ECANCELED;
	if (!fibers_is_here(crew->fibers))
		return start_from_afar(crew, &errand);
	return start_fiber(crew, job->conn, &errand);
}

/* ------------------------------------------------------------------- where connections live */

static void *take_room(void *arg, size_t size)
{
	struct crew *crew = arg;

	return fiber_new(crew->fibers, size);
}

static void give_room(void *arg, void *room)
{
	struct crew *crew = arg;

	fiber_drop(crew->fibers, room);
}

/* ------------------------------------------------------------------- what the scheduler asks */

static void describe(const void *object, struct log_context *context, char *peer, size_t size)
{
	const struct netd_conn *conn = object;

	*context = (struct log_context){.conn = conn ? conn->id : 0, .peer = conn ? peer : NULL};
	if (!conn || size == 0)
		return;
	/* No snprintf(): this may be a signal handler. */
	for (size_t i = 0; i < size; i++) {
		peer[i] = i + 1 < size ? conn->text[i] : '\0';
		if (!peer[i])
			break;
	}
}

/*
 * In a signal handler, on the way out: the process dies whatever happens here. log_write() is fit
 * for that but for one lock of the C library's, on the time zone; the alarm sees that we do not
 * hang for it.
 */
static void overflow(void *arg, const struct log_context *context)
{
	const struct worker *worker = arg;
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t alarm_only;

	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigaction(SIGALRM, &standard, NULL);
	pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
	alarm(1);
	log_write(worker->env->log, NETD_CRIT, context,
		  "out of stack (--stack-size %lld): this ends the process",
		  worker->settings->stack_size);
}

/* The books that all processes share. */
static void publish(void *arg, const struct fibers_use *use)
{
	struct worker *worker = arg;
	struct shared_slot *slot = &worker->shared->page->slots[worker->slot];

	atomic_store_explicit(&slot->parked, use->waiting, memory_order_relaxed);
	atomic_store_explicit(&slot->compacted, use->compacted, memory_order_relaxed);
	atomic_store_explicit(&slot->bytes, use->bytes, memory_order_relaxed);
}

/* ------------------------------------------------------------------- start, waits, stop */

/*
 * Whose waits signals end: the accept loop's, on the scheduler's thread. All other fibers are told
 * by fibers_cancel(); other threads, such as helpers of netd_offload(), by the stop pipe.
 */
static bool is_accept_loop(const struct worker *worker)
{
	const struct crew *crew = worker->mode;

	return fibers_is_here(crew->fibers) && fibers_is_first();
}

static int stop_fd(void *arg)
{
	struct worker *worker = arg;

	if (is_accept_loop(worker))
		return worker_signal_fd(worker);
	return fibers_is_here(crew_of(worker)->fibers) ? -1 : crew_of(worker)->stop_pipe[0];
}

static int64_t stop_deadline(void *arg)
{
	return is_accept_loop(arg) ? worker_deadline(arg) : NETD_NEVER;
}

static int stop_check(void *arg)
{
	struct worker *worker = arg;

	if (is_accept_loop(worker))
		return worker_check(worker);
	return life_phase(worker->life) == PHASE_STOP ? -ECANCELED : 0;
}

static int open_fibers(struct worker *worker, struct fibers **out)
{
	const struct settings *settings = worker->settings;
	bool compact = settings->compact_after > 0 && !worker->env->service->keep_stack;
	struct fibers_config config = {
	    .io = settings->io,
	    .stack_size = (size_t)settings->stack_size,
	    .compact_ms = compact ? settings->compact_after : 0,
	    .stall_ms = settings->stall_time,
	    .log = worker->env->log,
	    .describe = describe,
	    .overflow = overflow,
	    .publish = publish,
	    .arg = worker,
	};
	struct err err = {0};
	int rc = fibers_open(out, &config, &err);

	if (rc < 0)
		log_write(worker->env->log, NETD_CRIT, NULL, "cannot start fibers: %s", err.text);
	return rc;
}

static int fibers_check(struct worker *worker)
{
	struct fibers *fibers;
	int rc;

	if (strcmp(worker->settings->io, "auto") == 0)
		return 0; /* there is always one, and the workers say which */
	rc = open_fibers(worker, &fibers);
	if (rc == 0)
		fibers_close(fibers);
	return rc;
}

static void close_stop_pipe(struct crew *crew)
{
	close(crew->stop_pipe[0]);
	if (crew->stop_pipe[1] >= 0)
		close(crew->stop_pipe[1]);
}

static int fibers_mode_start(struct worker *worker)
{
	size_t watched = worker->listeners->count + WORKER_FIXED_FDS;
	struct crew *crew = calloc(1, sizeof *crew + watched * sizeof crew->watches[0]);
	int rc;

	if (!crew)
		return -ENOMEM;
	rc = os_pipe(crew->stop_pipe);
	if (rc == 0) {
		rc = open_fibers(worker, &crew->fibers);
		if (rc < 0)
			close_stop_pipe(crew);
	}
	if (rc < 0) {
		free(crew);
		return rc;
	}
	crew->worker = worker;
	crew->watched = watched;
	crew->memory = (struct conn_memory){.take = take_room, .give = give_room, .arg = crew};
	worker->mode = crew;
	worker->memory = &crew->memory;
	worker_install_interrupt(worker);
	worker->interrupt.get_fd = stop_fd;
	worker->interrupt.deadline = stop_deadline;
	worker->interrupt.check = stop_check;
	/* A handler that never waits cannot be told: the second Ctrl-C ends the process. */
	if (worker->life->leads)
		signals_answer_once(SIGNAL_INT);
	if (!fibers_have_light_guards(crew->fibers))
		log_write(worker->env->log, NETD_NOTICE, NULL,
			  "this kernel has no light guard pages (Linux 6.13): at most half of "
			  "vm.max_map_count connections in a worker");
	log_write(worker->env->log, NETD_INFO, NULL, "fibers wait by %s",
		  fibers_io_name(crew->fibers));
	return 0;
}

static int fibers_wait(struct worker *worker, struct netd_pollfd *fds, size_t count,
		       int64_t deadline)
{
	return fibers_wait_many(fds, crew_of(worker)->watches, count, deadline);
}

static void fibers_let_go(struct worker *worker)
{
	struct crew *crew = crew_of(worker);

	fibers_forget(crew->watches, crew->watched);
}

static void fibers_nothing(struct worker *worker)
{
	(void)worker; /* fibers are no processes, and cannot be killed */
}

static void fibers_stop(struct worker *worker)
{
	struct crew *crew = crew_of(worker);

	if (crew->stop_pipe[1] >= 0)
		close(crew->stop_pipe[1]); /* the reading end is readable from now on */
	crew->stop_pipe[1] = -1;
	fibers_cancel(crew->fibers);
}

static bool fibers_finish(struct worker *worker)
{
	struct crew *crew = crew_of(worker);

	if (worker_active(worker) > 0) {
		fibers_abandon(crew->fibers);
		return false;
	}
	fibers_forget(crew->watches, crew->watched);
	worker->mode = NULL;
	worker->memory = NULL;
	fibers_close(crew->fibers);
	close_stop_pipe(crew);
	free(crew);
	return true;
}

const struct mode_ops mode_fibers = {
    .name = "fibers",
    .check = fibers_check,
    .start = fibers_mode_start,
    .wait = fibers_wait,
    .run = fibers_run,
    .let_go = fibers_let_go,
    .reap = fibers_nothing,
    .reopen = fibers_nothing,
    .stop = fibers_stop,
    .kill = fibers_nothing,
    .finish = fibers_finish,
};
