/*
 * test_uring.c - what is special about the io_uring poller (test_poller*.c have what it shares with
 * the others): what the ring may do, completions that make no sense or find no room, memory that
 * runs out, kernels that refuse. test_uring_input.c and test_uring_output.c have the connections.
 */
#include "scarce.h"
#include "uring_fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

void *__real_mmap(void *where, size_t size, int rights, int flags, int fd, off_t offset);
void *__wrap_mmap(void *where, size_t size, int rights, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *where, size_t size, int rights, int flags, int fd, off_t offset);

/* Counts with the allocations of scarce.h. */
void *__wrap_mmap(void *where, size_t size, int rights, int flags, int fd, off_t offset)
{
	return scarce_fails() ? MAP_FAILED : __real_mmap(where, size, rights, flags, fd, offset);
}

void *__wrap_mmap64(void *where, size_t size, int rights, int flags, int fd, off_t offset)
{
	return __wrap_mmap(where, size, rights, flags, fd, offset);
}

/* --------------------------------------------------------------------------- what a ring may do */

/* The result of one request. */
static int result_of(const struct io_uring_sqe *wanted)
{
	struct ring *ring = &uring_here()->ring;
	const struct io_uring_cqe *cqe;
	int result;

	*ring_sqe(ring) = *wanted;
	assert_int_equal(ring_enter(ring, clock_deadline(PATIENCE_MS)), 0);
	cqe = ring_cqe(ring);
	assert_non_null(cqe);
	result = cqe->res;
	ring_seen(ring);
	return result;
}

static void rule6_a_ring_opens_no_file(void)
{
	const char *path = "/dev/null";
	struct io_uring_sqe sqe = {
	    .opcode = IORING_OP_OPENAT,
	    .fd = AT_FDCWD,
	    .addr = (uintptr_t)path,
	};

	assert_int_equal(result_of(&sqe), -EACCES);
}

static void rule6_a_ring_does_what_it_needs_and_nothing_else(void)
{
	for (unsigned op = 0; op < 64; op++) {
		struct io_uring_sqe sqe = {.opcode = (uint8_t)op, .fd = -1};
		int rc;

		if (op == IORING_OP_RECV || op == IORING_OP_SEND || op == IORING_OP_POLL_ADD ||
		    op == IORING_OP_TIMEOUT || op == IORING_OP_ASYNC_CANCEL)
			continue;
		rc = result_of(&sqe);
		assert_true(rc == -EACCES || (op >= IORING_OP_LAST && rc == -EINVAL));
	}
	/* Nor in ways of its own. */
	for (unsigned bit = 0; bit < 8; bit++) {
		struct io_uring_sqe sqe = {
		    .opcode = IORING_OP_SEND, .fd = -1, .flags = (uint8_t)(1U << bit)};

		if (sqe.flags & (IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS))
			continue;
		assert_true(result_of(&sqe) == -EACCES || bit > IOSQE_CQE_SKIP_SUCCESS_BIT);
	}
}

static void rule6_nothing_can_be_registered_later(void)
{
	const struct ring *ring = &uring_here()->ring;
	int fds[] = {0};
	struct io_uring_restriction any = {.opcode = IORING_RESTRICTION_SQE_OP,
					   .sqe_op = IORING_OP_OPENAT};

	assert_int_equal(ring_register(ring, IORING_REGISTER_FILES, fds, 1), -EACCES);
	assert_int_equal(ring_register(ring, IORING_REGISTER_PERSONALITY, NULL, 0), -EACCES);
	assert_int_equal(ring_register(ring, IORING_REGISTER_RESTRICTIONS, &any, 1), -EACCES);
}

static void rule7_no_thread_of_the_kernel_submits(void)
{
	char path[64], line[256];
	FILE *file;
	int found = 0;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", uring_here()->ring.fd);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		if (strncmp(line, "SqThread:", 9) == 0) {
			assert_int_equal(atoi(line + 9), -1);
			found++;
		}
	fclose(file);
	assert_int_equal(found, 1);
}

static void rule21_a_ring_is_closed_on_exec(void)
{
	assert_true(fcntl(uring_here()->ring.fd, F_GETFD) & FD_CLOEXEC);
}

/* ---------------------------------------------------------------------------------- completions */

static void a_completion_of_nothing_is_dropped(void)
{
	struct uring *uring = uring_here();
	struct end *end = connection();
	char *data;
	uint32_t strays;
	uint64_t state = 88172645463325252U;

	peer_says(end, "still here");
	assert_int_equal(borrow(end, &data), 10);
	strays = uring->strays;
	for (unsigned i = 0; i < 20000; i++) {
		struct io_uring_cqe cqe = {.res = (int)(i % 9000) - 200};
		uint16_t generation = uring->slots[end->handle.slot].generation;

		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		/* Names near those in use, and any; buffers that do not exist. */
		cqe.user_data = i % 2 ? state : state & 0x0000000300030007ULL;
		cqe.flags = (uint32_t)(state >> 8 & 15) | (URING_BUFFERS_MAX + i % 1000)
							      << IORING_CQE_BUFFER_SHIFT;
		if (cqe.user_data >> 32 == end->handle.slot &&
		    (uint16_t)(cqe.user_data >> 16) == generation)
			cqe.user_data = (cqe.user_data & ~0xffffULL) | URING_POLL_OUT;
		if (cqe.user_data == 0)
			cqe.user_data = 1;
		uring_complete(uring, &cqe);
		strays++;
	}
	assert_int_equal(uring->strays, strays);
	ops->give_back(poller, data);
	peer_says(end, "and well");
	expect(end, "and well");
}

/* The kernel has filled a buffer for somebody who is gone: the buffer is not lost. */
static void a_buffer_for_nobody_is_provided_again(void)
{
	struct uring *uring = uring_here();
	struct io_uring_cqe cqe = {
	    .user_data = (uint64_t)1 << 32,
	    .res = 100,
	    .flags = IORING_CQE_F_BUFFER | 7 << IORING_CQE_BUFFER_SHIFT,
	};
	uint16_t tail = uring->received.tail;

	uring_complete(uring, &cqe);
	assert_int_equal(uring->strays, 1);
	assert_int_equal(uring->received.used, 0);
	assert_int_equal((uint16_t)(uring->received.tail - tail), 1);
}

/* The right request, but buffers that do not exist or are not the kernel's. */
static void a_completion_with_a_false_buffer_brings_nothing(void)
{
	struct uring *uring = uring_here();
	struct end *end = connection();
	struct io_uring_cqe cqe;
	char *data;
	ssize_t n;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	peer_says(end, "one");
	assert_int_equal(borrow(end, &data), 3);
	cqe.user_data = name_of(end, URING_RECEIVE);
	for (int i = 0; i < 3; i++) {
		unsigned number = i == 0   ? uring_buffers_find(&uring->received, data)
				  : i == 1 ? URING_BUFFERS_MAX
					   : UINT16_MAX;

		cqe.res = 100;
		cqe.flags =
		    IORING_CQE_F_MORE | IORING_CQE_F_BUFFER | number << IORING_CQE_BUFFER_SHIFT;
		uring_complete(uring, &cqe);
		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	}
	cqe.res = URING_BUFFER + 1; /* more than fits */
	cqe.flags = IORING_CQE_F_MORE | IORING_CQE_F_BUFFER | 5 << IORING_CQE_BUFFER_SHIFT;
	uring_complete(uring, &cqe);
	n = ops->lend(poller, &end->handle, &data);
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(uring->strays, 4);
	ops->give_back(poller, data);
}

static void more_completions_than_fit_are_not_lost(void)
{
	enum { MANY = 100 };
	struct end *all[MANY];
	char text[32];

	for (int i = 0; i < MANY; i++) {
		char *data;

		all[i] = connection();
		assert_int_equal(ops->lend(poller, &all[i]->handle, &data), -EAGAIN);
	}
	turn(0);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof text, "%d to %d.", round, i);
			peer_says(all[i], text);
			an_answer(all[i], text);
		}
		for (int i = 0; i < MANY; i++) {
			snprintf(text, sizeof text, "%d to %d.", round, i);
			expect(all[i], text);
			peer_expects(all[i], text);
		}
	}
	assert_int_equal(uring_here()->strays, 0);
}

/* ------------------------------------------------------------------------------------ no memory */

static void no_memory_for_slots_is_told(void)
{
	struct end *end = connection();
	int fds[2];
	struct ear ear;
	char *data, *buffer = buffers_take(&buffers);
	bool spared;

	assert_int_equal(pipe(fds), 0);
	ear = ear_for(fds[0], NETD_IN);
	scarce_from(0);
	assert_int_equal(ops->arm(poller, &ear.watch), -ENOMEM);
	assert_false(ear.watch.armed);
	scarce_from(0);
	assert_int_equal(ops->lend(poller, &end->handle, &data), -ENOMEM);
	scarce_from(0);
	assert_int_equal(ops->recv(poller, &end->handle, &fds, 1), -ENOMEM);
	scarce_from(0);
	assert_int_equal(ops->post(poller, &end->handle, buffer, 1), -ENOSYS);
	scarce_from(0);
	assert_int_equal(ops->await(poller, &end->handle, &ear.watch), -ENOMEM);
	assert_false(ear.watch.armed);
	spared = scarce_over();
	assert_false(spared);
	assert_int_equal(end->handle.slot, 0);
	peer_says(end, "now there is");
	expect(end, "now there is");
	buffers_give(&buffers, buffer);
	close(fds[0]);
	close(fds[1]);
}

/* What could be sent without memory is not lost for want of it. */
static void no_memory_for_a_copy_leaves_it_to_send(void)
{
	struct end *end = connection();
	char *buffer = buffers_take(&buffers);
	struct iovec iov = {buffer, 5};
	bool spared;

	peer_says(end, "first");
	expect(end, "first");
	memcpy(buffer, "small", 5);
	scarce_from(0);
	assert_int_equal(ops->post(poller, &end->handle, buffer, 5), -ENOSYS);
	spared = scarce_over();
	assert_false(spared);
	scarce_from(0);
	assert_int_equal(ops->send(poller, &end->handle, &iov, 1), 5);
	spared = scarce_over();
	assert_true(spared);
	peer_expects(end, "small");
	buffers_give(&buffers, buffer);
	an_answer(end, "posted again");
	peer_expects(end, "posted again");
}

static void no_memory_to_open_is_told(void)
{
	bool spared = false;

	for (long n = 0; !spared; n++) {
		struct poller *second = NULL;
		struct err err = {0};
		int rc, before = files_open();

		scarce_from(n);
		rc = ops->open(&second, &buffers, &err);
		spared = scarce_over();
		if (spared) {
			assert_int_equal(rc, 0);
			assert_true(n >= 4); /* the poller, two queues, the buffers */
			ops->close(second);
		} else {
			assert_int_equal(rc, -ENOMEM);
			assert_null(second);
			assert_non_null(strstr(err.text, "no memory"));
		}
		assert_int_equal(files_open(), before);
	}
	ops->close(NULL);
}

/* -------------------------------------------------------------------------- kernels that refuse */

/* From now on this system call of the process fails so. */
static void forbid(long call, int error)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA)),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_LEN(filter), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(99);
}

struct refusal {
	long call;
	int error, result;
	const char *words;
};

static void try_open(const struct refusal *refusal)
{
	struct poller *second = NULL;
	struct err err = {0};
	int rc, before = files_open();

	forbid(refusal->call, refusal->error);
	rc = ops->open(&second, &buffers, &err);
	if (rc != refusal->result || second || files_open() != before ||
	    !strstr(err.text, refusal->words)) {
		fprintf(stderr, "# %d: %s\n", rc, err.text);
		_exit(1);
	}
	_exit(0);
}

static void a_refusal_has_words(void)
{
	static const struct refusal refusals[] = {
	    {SYS_io_uring_setup, EPERM, -EPERM, "not permitted"},
	    {SYS_io_uring_setup, ENOSYS, -ENOSYS, "this kernel has none"},
	    {SYS_io_uring_setup, EINVAL, -ENOSYS, "too old"},
	    {SYS_io_uring_setup, ENOMEM, -ENOMEM, "no memory for its queues"},
	    {SYS_io_uring_setup, EMFILE, -EMFILE, "io_uring: Too many open files"},
	    {SYS_io_uring_register, EPERM, -EPERM, "not permitted"},
	    {SYS_io_uring_register, EINVAL, -ENOSYS, "too old"},
	    {SYS_io_uring_enter, EPERM, -EPERM, "not permitted"},
	};

	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0)
			try_open(&refusals[i]);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* Found when the queue is full. */
static void a_ring_that_takes_nothing_says_so(void)
{
	struct uring *uring = uring_here();
	struct ear ears[300];
	int fd = uring->ring.fd, fds[2];

	assert_int_equal(pipe(fds), 0);
	uring->ring.fd = -1;
	for (size_t i = 0; i < ARRAY_LEN(ears); i++) {
		ears[i] = ear_for(fds[0], NETD_IN);
		arm(&ears[i]);
	}
	assert_int_equal(uring->ring.broken, -EBADF);
	for (size_t i = 0; i < ARRAY_LEN(ears); i++)
		disarm(&ears[i]);
	assert_int_equal(ops->wait(poller, NETD_NEVER), -EBADF);
	uring->ring.fd = fd;
	close(fds[0]);
	close(fds[1]);
}

/* A ring that the kernel takes no more from says so, and hurts nobody. */
static void a_broken_ring_says_so(void)
{
	struct uring *uring = uring_here();
	struct end *end = connection();
	char *data;
	int fd = uring->ring.fd, rc;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	turn(0);
	uring->ring.fd = -1;
	rc = ops->wait(poller, 0);
	assert_int_equal(rc, -EBADF);
	for (int i = 0; i < 1000; i++) {
		struct ear ear = ear_for(end->peer, NETD_IN);

		arm(&ear);
		disarm(&ear);
		assert_int_equal(ops->wait(poller, NETD_NEVER), -EBADF);
	}
	ops->expose(poller, &end->handle);
	uring->ring.fd = fd;
	close(end->handle.fd); /* which nobody will do now */
	end->handle.fd = -1;
}

/* ---------------------------------------------------------------------------------- the program */

static const struct row rows[] = {
    ROW(rule6_a_ring_opens_no_file),
    ROW(rule6_a_ring_does_what_it_needs_and_nothing_else),
    ROW(rule6_nothing_can_be_registered_later),
    ROW(rule7_no_thread_of_the_kernel_submits),
    ROW(rule21_a_ring_is_closed_on_exec),
    ROW(a_completion_of_nothing_is_dropped),
    ROW(a_buffer_for_nobody_is_provided_again),
    ROW(a_completion_with_a_false_buffer_brings_nothing),
    ROW(more_completions_than_fit_are_not_lost),
    ROW(no_memory_for_slots_is_told),
    ROW(no_memory_for_a_copy_leaves_it_to_send),
    ROW(no_memory_to_open_is_told),
    ROW(a_refusal_has_words),
    ROW(a_ring_that_takes_nothing_says_so),
    ROW(a_broken_ring_says_so),
};

int main(void)
{
	return run_uring_rows("uring", rows, ARRAY_LEN(rows));
}
