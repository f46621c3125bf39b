/*
 * threads.c - a thread serves each connection. Threads are kept for a while and used again: a new
 * connection costs a wake-up, not a thread.
 *
 * Happy path: the accept loop puts a job into the queue of the pool; an idle thread takes it, or a
 * new one is made for it. Failure modes: no thread can be made: -EAGAIN, the accept loop keeps the
 * connection and tries again; at a hard stop every socket is shut down and the stop pipe becomes
 * readable, which ends every wait; a thread that still runs after the grace is left alone.
 */
#include "mode/mode.h"
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IDLE_S 10 /* seconds an idle thread is kept */

struct queued {
	struct queued *next;
	struct job job;
};

struct thread {
	struct thread *next;  /* in pool->ended, or in pool->busy while it serves */
	struct thread **link; /* what points to us in pool->busy */
	struct pool *pool;
	struct job job;
	pthread_t id;
	unsigned number; /* in log lines */
};

struct pool {
	struct worker *worker;
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job is queued, or the pool closes */
	pthread_cond_t gone; /* the last thread has ended */
	pthread_attr_t attr;
	struct queued *first, **last; /* jobs for idle threads, oldest first */
	size_t queued;                /* never more than idle */
	size_t idle, total;           /* threads; idle: between two jobs */
	struct thread *busy;          /* at work */
	struct thread *ended;         /* to be joined */
	pthread_t accepting;          /* the thread of the accept loop */
	unsigned last_number;
	bool closing;
	int stop_pipe[2]; /* the reading end becomes readable at a hard stop */
};

static struct pool *pool_of(struct worker *worker)
{
	return worker->mode;
}

/* ------------------------------------------------------------------------------- a thread's life
 */

static void link_busy(struct thread *thread)
{
	struct pool *pool = thread->pool;

	thread->next = pool->busy;
	if (thread->next)
		thread->next->link = &thread->next;
	thread->link = &pool->busy;
	pool->busy = thread;
}

static void unlink_busy(struct thread *thread)
{
	*thread->link = thread->next;
	if (thread->next)
		thread->next->link = thread->link;
}

static void cut(const struct thread *thread)
{
	if (thread->job.conn)
		shutdown(thread->job.conn->io.fd, SHUT_RDWR);
}

static void take_job(struct pool *pool, struct job *job)
{
	struct queued *queued = pool->first;

	*job = queued->job;
	pool->first = queued->next;
	if (!pool->first)
		pool->last = &pool->first;
	pool->queued--;
	free(queued);
}

static int put_job(struct pool *pool, const struct job *job)
{
	struct queued *queued = malloc(sizeof *queued);

	if (!queued)
		return -ENOMEM;
	*queued = (struct queued){.job = *job};
	*pool->last = queued;
	pool->last = &queued->next;
	pool->queued++;
	pthread_cond_signal(&pool->work);
	return 0;
}

/* Wait for a job, at most IDLE_S. Called and returns with the lock held. */
static bool next_job(struct pool *pool, struct job *job)
{
	struct timespec until;
	bool late = false;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	while (pool->queued == 0 && !pool->closing && !late)
		late = pthread_cond_timedwait(&pool->work, &pool->lock, &until) == ETIMEDOUT;
	pool->idle--;
	if (pool->queued == 0)
		return false;
	take_job(pool, job);
	return true;
}

static void work(struct thread *thread)
{
	struct pool *pool = thread->pool;
	bool is_loop = thread->job.is_loop;

	job_run(pool->worker, &thread->job);
	/* Out of the list before the socket closes: a stop must not shut down a stranger's. Idle
	 * before the end is told: who waits for it may have this thread. */
	pthread_mutex_lock(&pool->lock);
	unlink_busy(thread);
	pool->idle++;
	pthread_mutex_unlock(&pool->lock);
	conn_free(thread->job.conn);
	job_end(pool->worker, is_loop);
}

static void *thread_main(void *arg)
{
	struct thread *thread = arg;
	struct pool *pool = thread->pool;

	signals_block_all(); /* they are the accepting thread's */
	log_set_thread(thread->number);
	pthread_mutex_lock(&pool->lock);
	do {
		link_busy(thread);
		if (pool->stop_pipe[1] < 0) /* a hard stop came before the job was listed */
			cut(thread);
		pthread_mutex_unlock(&pool->lock);
		work(thread);
		pthread_mutex_lock(&pool->lock);
	} while (next_job(pool, &thread->job));
	thread->next = pool->ended;
	pool->ended = thread;
	if (--pool->total == 0)
		pthread_cond_signal(&pool->gone);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* ------------------------------------------------------------------------------- the pool */

static void join_ended(struct pool *pool)
{
	struct thread *ended = pool->ended;

	pool->ended = NULL;
	while (ended) {
		struct thread *next = ended->next;

		pthread_join(ended->id, NULL);
		free(ended);
		ended = next;
	}
}

/* With the lock held: the new thread begins by taking it. */
static int add_thread(struct pool *pool, const struct job *job)
{
	struct thread *thread = calloc(1, sizeof *thread);
	int rc;

	if (!thread)
		return -ENOMEM;
	thread->pool = pool;
	thread->job = *job;
	thread->number = ++pool->last_number;
	rc = pthread_create(&thread->id, &pool->attr, thread_main, thread);
	if (rc != 0) {
		free(thread);
		return -rc;
	}
	pool->total++;
	return 0;
}

static int threads_run(struct worker *worker, const struct job *job)
{
	struct pool *pool = pool_of(worker);
	int rc;

	if (!pool) /* a thread of the service's, when all has ended */
		return -ECANCELED;
	if (job->conn)
		job->conn->io.cut = true; /* threads_stop() shuts it down */
	pthread_mutex_lock(&pool->lock);
	join_ended(pool);
	rc = pool->idle > pool->queued ? put_job(pool, job) : add_thread(pool, job);
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

/* ------------------------------------------------------------------------------- start and stop */

/* service.loop waits in the accepting thread, which has the signals to look after. */
static bool in_accepting_thread(struct worker *worker)
{
	return pthread_equal(pthread_self(), pool_of(worker)->accepting) != 0;
}

static int stop_fd(void *arg)
{
	struct worker *worker = arg;

	if (in_accepting_thread(worker))
		return worker_signal_fd(worker);
	return pool_of(worker)->stop_pipe[0];
}

static int64_t stop_deadline(void *arg)
{
	return in_accepting_thread(arg) ? worker_deadline(arg) : NETD_NEVER;
}

static int stop_check(void *arg)
{
	struct worker *worker = arg;

	if (in_accepting_thread(worker))
		return worker_check(worker);
	return life_phase(worker->life) == PHASE_STOP ? -ECANCELED : 0;
}

static void free_pool(struct pool *pool)
{
	close(pool->stop_pipe[0]);
	if (pool->stop_pipe[1] >= 0)
		close(pool->stop_pipe[1]);
	pthread_attr_destroy(&pool->attr);
	pthread_cond_destroy(&pool->gone);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static void *do_nothing(void *arg)
{
	return arg;
}

/* A stack too small for the program's thread-local variables would make every thread fail later. */
static int try_a_thread(const pthread_attr_t *attr)
{
	pthread_t thread;
	int rc = pthread_create(&thread, attr, do_nothing, NULL);

	if (rc == 0)
		pthread_join(thread, NULL);
	return rc == EINVAL ? -EINVAL : 0; /* a shortage of threads may pass, and is waited out */
}

static int threads_start(struct worker *worker)
{
	struct pool *pool = calloc(1, sizeof *pool);
	pthread_condattr_t monotonic;
	int rc;

	if (!pool)
		return -ENOMEM;
	rc = os_pipe(pool->stop_pipe);
	if (rc < 0) {
		free(pool);
		return rc;
	}
	pool->worker = worker;
	pool->last = &pool->first;
	pool->accepting = pthread_self();
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->work, &monotonic);
	pthread_cond_init(&pool->gone, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_attr_init(&pool->attr);
	pthread_attr_setstacksize(&pool->attr, (size_t)worker->settings->stack_size);
	worker->mode = pool;
	rc = try_a_thread(&pool->attr);
	if (rc < 0) {
		log_write(worker->env->log, NETD_CRIT, NULL,
			  "cannot make a thread: --stack-size %lld is too small for this program",
			  worker->settings->stack_size);
		free_pool(pool);
		return rc;
	}
	worker->interrupt = (struct io_interrupt){
	    .get_fd = stop_fd,
	    .deadline = stop_deadline,
	    .check = stop_check,
	    .arg = worker,
	    .deliver_eintr = !worker->settings->catchint,
	};
	io_set_interrupt(&worker->interrupt);
	return 0;
}

static void threads_nothing(struct worker *worker)
{
	(void)worker; /* threads are no processes, and cannot be killed */
}

static void threads_stop(struct worker *worker)
{
	struct pool *pool = pool_of(worker);

	pthread_mutex_lock(&pool->lock);
	if (pool->stop_pipe[1] >= 0)
		close(pool->stop_pipe[1]); /* the reading end is readable from now on */
	pool->stop_pipe[1] = -1;
	for (struct thread *thread = pool->busy; thread; thread = thread->next)
		cut(thread);
	pthread_mutex_unlock(&pool->lock);
}

static bool threads_finish(struct worker *worker)
{
	struct pool *pool = pool_of(worker);

	pthread_mutex_lock(&pool->lock);
	if (worker_active(worker) > 0) {
		pthread_mutex_unlock(&pool->lock);
		return false; /* they use the pool: it stays */
	}
	pool->closing = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->total > 0)
		pthread_cond_wait(&pool->gone, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	join_ended(pool);
	free_pool(pool);
	worker->mode = NULL;
	return true;
}

const struct mode_ops mode_threads = {
    .name = "threads",
    .check = worker_checked,
    .start = threads_start,
    .wait = worker_poll,
    .run = threads_run,
    .let_go = threads_nothing,
    .reap = threads_nothing,
    .reopen = threads_nothing,
    .stop = threads_stop,
    .kill = threads_nothing,
    .finish = threads_finish,
};
