/*
 * ring.c - the raw io_uring: set-up, the list of what it may do, submitting and waiting.
 *
 * By system calls of our own, without liburing: a ring is used here in one way only, which takes
 * fewer lines than a table of that library's functions would; and nothing has to be loaded, which
 * would make every fork slower. All that is needed is <linux/io_uring.h>.
 *
 * Happy path: one io_uring_enter(2) submits everything and brings completions. Failure modes: a
 * kernel or a sandbox that has or allows no ring says so at ring_open() or ring_start(), where a
 * first io_uring_enter(2) is tried too; completions that find no room are kept by the kernel (it
 * must have IORING_FEAT_NODROP).
 */
#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(NVALGRIND) && defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

/* Without these a kernel is older than the flags that are asked for anyway. */
#define NEEDED_FEATURES                                                                            \
	(IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL |                    \
	 IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)
#define COMMON_FLAGS                                                                               \
	(IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |                 \
	 IORING_SETUP_SINGLE_ISSUER)
#define MAX_OPERATIONS 16
#define SUBMIT_TRIES 100 /* the kernel has no memory for requests just now */

static int sys_setup(unsigned entries, struct io_uring_params *params)
{
	long fd = syscall(SYS_io_uring_setup, entries, params);

	return fd < 0 ? -errno : (int)fd;
}

static int sys_enter(const struct ring *ring, unsigned submit, unsigned want, unsigned flags,
		     const struct io_uring_getevents_arg *arg)
{
	long rc =
	    syscall(SYS_io_uring_enter, ring->fd, submit, want, flags, arg, arg ? sizeof *arg : 0);

	return rc < 0 ? -errno : (int)rc;
}

int ring_register(const struct ring *ring, unsigned what, void *arg, unsigned count)
{
	return syscall(SYS_io_uring_register, ring->fd, what, arg, count) < 0 ? -errno : 0;
}

/* ----------------------------------------------------------------------------------- failures */

/* The system's own switch; -1: it has none, or we cannot see it. */
static int disabled_switch(void)
{
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
	char digit = '\0';

	if (fd < 0)
		return -1;
	if (read(fd, &digit, 1) != 1 || digit < '0' || digit > '9')
		digit = '0' - 1;
	close(fd);
	return digit - '0';
}

int ring_refused(struct err *err, int code)
{
	int disabled;

	switch (code) {
	case -EPERM:
	case -EACCES:
		disabled = disabled_switch();
		if (disabled > 0)
			return err_set(err, code,
				       "io_uring: not permitted (kernel.io_uring_disabled=%d)",
				       disabled);
		return err_set(err, code, "io_uring: not permitted (by a sandbox, it seems)");
	case -ENOSYS:
		return err_set(err, code, "io_uring: this kernel has none, or a sandbox hides it");
	case -EINVAL:
		return err_set(err, -ENOSYS,
			       "io_uring: this kernel's is too old (Linux 6.0 has all)");
	case -ENOMEM:
		return err_set(err, code, "io_uring: no memory for its queues (see ulimit -l)");
	default:
		return err_sys(err, code, "io_uring");
	}
}

/* ------------------------------------------------------------------------------------- set-up */

/* Completions only when we ask for them: the fastest way, which Linux 6.1 brought. But poll(2) of
 * such a ring, which enter_simulated() needs, may sleep while there is something to ask for. */
static int setup(struct ring *ring, const struct ring_config *config,
		 struct io_uring_params *params)
{
	static const unsigned ways[] = {IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN};
	bool is_plain = config->is_plain || ring->is_simulated;
	int fd = -EINVAL;

	for (size_t i = is_plain ? 1 : 0; i < ARRAY_LEN(ways) && fd == -EINVAL; i++) {
		*params = (struct io_uring_params){
		    .flags = COMMON_FLAGS | ways[i],
		    .cq_entries = config->cq_entries,
		};
		fd = sys_setup(config->sq_entries, params);
		ring->is_deferred = i == 0;
	}
	return fd;
}

static unsigned *at(const struct ring *ring, unsigned offset)
{
	return (unsigned *)(void *)((char *)ring->queues + offset);
}

static void *map(const struct ring *ring, size_t size, off_t offset)
{
	void *memory =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static void locate(struct ring *ring, const struct io_uring_params *params)
{
	unsigned *array = at(ring, params->sq_off.array);

	ring->sq_entries = params->sq_entries;
	ring->sq_mask = params->sq_entries - 1;
	ring->cq_mask = params->cq_entries - 1;
	ring->sq_head = at(ring, params->sq_off.head);
	ring->sq_tail = at(ring, params->sq_off.tail);
	ring->sq_flags = at(ring, params->sq_off.flags);
	ring->cq_head = at(ring, params->cq_off.head);
	ring->cq_tail = at(ring, params->cq_off.tail);
	ring->cqes = (void *)at(ring, params->cq_off.cqes);
	ring->sqes = ring->requests;
	for (unsigned i = 0; i < params->sq_entries; i++)
		array[i] = i; /* requests are used in the order in which they lie */
}

static int map_queues(struct ring *ring, const struct io_uring_params *params)
{
	size_t sq = params->sq_off.array + params->sq_entries * sizeof(unsigned);
	size_t cq = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);

	ring->queues_size = sq > cq ? sq : cq;
	ring->requests_size = params->sq_entries * sizeof(struct io_uring_sqe);
	ring->queues = map(ring, ring->queues_size, IORING_OFF_SQ_RING);
	if (!ring->queues)
		return -errno;
	ring->requests = map(ring, ring->requests_size, (off_t)IORING_OFF_SQES);
	if (!ring->requests)
		return -errno;
	locate(ring, params);
	return 0;
}

int ring_open(struct ring *ring, const struct ring_config *config, struct err *err)
{
	struct io_uring_params params;
	int rc;

	*ring = (struct ring){.fd = -1, .is_simulated = RUNNING_ON_VALGRIND};
	ring->fd = setup(ring, config, &params); /* close-on-exec by itself */
	if (ring->fd < 0)
		return ring_refused(err, ring->fd);
	if ((params.features & NEEDED_FEATURES) != NEEDED_FEATURES)
		rc = -EINVAL;
	else
		rc = map_queues(ring, &params);
	if (rc < 0) {
		ring_close(ring);
		return ring_refused(err, rc);
	}
	return 0;
}

void ring_close(struct ring *ring)
{
	if (ring->requests)
		munmap(ring->requests, ring->requests_size);
	if (ring->queues)
		munmap(ring->queues, ring->queues_size);
	if (ring->fd >= 0)
		close(ring->fd);
	ring->fd = -1;
	ring->requests = ring->queues = NULL;
}

/* No operation is allowed but the listed ones, and nothing may be registered any more: whoever gets
 * hold of the ring can not open files with it past a seccomp filter. */
static int restrict_to(const struct ring *ring, const uint8_t *operations, size_t count)
{
	struct io_uring_restriction allow[MAX_OPERATIONS + 1] = {
	    {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
	     .sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS},
	};

	for (size_t i = 0; i < count; i++) {
		allow[i + 1].opcode = IORING_RESTRICTION_SQE_OP;
		allow[i + 1].sqe_op = operations[i];
	}
	return ring_register(ring, IORING_REGISTER_RESTRICTIONS, allow, (unsigned)count + 1);
}

int ring_start(struct ring *ring, const uint8_t *operations, size_t count, struct err *err)
{
	int rc = count <= MAX_OPERATIONS ? restrict_to(ring, operations, count) : -E2BIG;

	if (rc == 0)
		rc = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (rc == 0)
		rc = sys_enter(ring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
	return rc < 0 ? ring_refused(err, rc) : 0;
}

/* ---------------------------------------------------------------------------------------- use */

/* How many requests the kernel has not taken yet; it learns of the new ones. */
static unsigned publish(const struct ring *ring)
{
	__atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
	return ring->tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
}

static bool is_full(const struct ring *ring)
{
	return ring->tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE) >= ring->sq_entries;
}

static bool is_passing(int rc)
{
	return rc >= 0 || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY;
}

HOT_PATH struct io_uring_sqe *ring_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = &ring->scratch;

	for (int i = 0; is_full(ring) && !ring->broken; i++) {
		int rc = sys_enter(ring, publish(ring), 0, 0, NULL);

		if (!is_passing(rc) || i == SUBMIT_TRIES)
			ring->broken = rc < 0 ? rc : -EBUSY;
	}
	if (!ring->broken)
		sqe = &ring->sqes[ring->tail++ & ring->sq_mask];
	memset(sqe, 0, sizeof *sqe);
	return sqe;
}

/* valgrind (3.19) takes io_uring_enter(2) for a call that never waits: it would hold signals and
 * the other threads back. */
static int enter_simulated(const struct ring *ring, unsigned submit, int ms)
{
	struct pollfd ready = {.fd = ring->fd, .events = POLLIN};
	int rc = sys_enter(ring, submit, 0, IORING_ENTER_GETEVENTS, NULL);

	if (rc < 0 || ring_cqe(ring))
		return rc;
	rc = poll(&ready, 1, ms);
	if (rc <= 0)
		return rc < 0 ? -errno : -ETIME;
	return sys_enter(ring, 0, 0, IORING_ENTER_GETEVENTS, NULL);
}

/* ms < 0: for ever. */
static int enter(const struct ring *ring, unsigned submit, int ms)
{
	struct __kernel_timespec time = {ms / 1000, (long long)(ms % 1000) * 1000000};
	struct io_uring_getevents_arg arg = {.ts = (uintptr_t)&time};

	if (ms == 0)
		return sys_enter(ring, submit, 0, IORING_ENTER_GETEVENTS, NULL);
	if (ring->is_simulated)
		return enter_simulated(ring, submit, ms);
	if (ms < 0)
		return sys_enter(ring, submit, 1, IORING_ENTER_GETEVENTS, NULL);
	return sys_enter(ring, submit, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg);
}

HOT_PATH int ring_enter(struct ring *ring, int64_t deadline)
{
	int rc;

	if (ring->broken)
		return ring->broken;
	rc = enter(ring, publish(ring), deadline > 0 ? clock_poll_timeout(deadline) : 0);
	if (rc >= 0 || rc == -EAGAIN || rc == -EBUSY)
		return 0;
	if (rc != -ETIME && rc != -EINTR)
		ring->broken = rc;
	return rc;
}
