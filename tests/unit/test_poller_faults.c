/*
 * test_poller_faults.c - system calls and allocations that fail below the pollers that tell
 * readiness (epoll, poll), and events that the kernel should not have sent. The calls have a front
 * of the test's own (--wrap).
 */
#include "poller_fixture.h"
#include "scarce.h"

#include <poll.h>
#ifdef HAVE_EPOLL
#include <sys/epoll.h>
#endif

/* ----------------------------------------------------------------------------------- the front */

/* The next `times` calls of this kind, after `after` others, fail with this errno. */
static struct fault {
	int after, times, error;
	int calls;
} recv_fault, send_fault, poll_fault, create_fault, ctl_fault, wait_fault;

static void faults_reset(void)
{
	recv_fault = send_fault = poll_fault = create_fault = ctl_fault = wait_fault =
	    (struct fault){0};
	scarce_over();
}

static bool fails(struct fault *fault)
{
	fault->calls++;
	if (fault->times == 0 || fault->after-- > 0)
		return false;
	fault->after = 0;
	fault->times--;
	errno = fault->error;
	return true;
}

ssize_t __real_recv(int fd, void *data, size_t size, int flags);
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags)
{
	return fails(&recv_fault) ? -1 : __real_recv(fd, data, size, flags);
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	return fails(&send_fault) ? -1 : __real_send(fd, data, size, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return fails(&send_fault) ? -1 : __real_sendmsg(fd, message, flags);
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	return fails(&poll_fault) ? -1 : __real_poll(fds, count, timeout);
}

#ifdef HAVE_EPOLL
static struct epoll_event forged[4]; /* told instead of what has happened, once */
static int forged_count;

int __real_epoll_create1(int flags);
int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __real_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout);

int __wrap_epoll_create1(int flags)
{
	return fails(&create_fault) ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	return fails(&ctl_fault) ? -1 : __real_epoll_ctl(epoll, op, fd, event);
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
	int n = forged_count;

	if (fails(&wait_fault))
		return -1;
	if (n == 0)
		return __real_epoll_wait(epoll, events, max, timeout);
	memcpy(events, forged, sizeof forged);
	forged_count = 0;
	return n;
}
#endif

static bool is_epoll(void)
{
	return strcmp(ops->name, "epoll") == 0;
}

/* The others have fronts of their own. */
static bool tells_readiness(void)
{
	return is_epoll() || strcmp(ops->name, "poll") == 0;
}

/* ------------------------------------------------------------------------------- connections */

static void an_interrupted_call_is_made_again(void)
{
	struct end *end = connection();
	char data[8], two[] = "defg";
	struct iovec iov[2] = {{two, 2}, {two + 2, 2}};

	peer_says(end, "abc");
	recv_fault = (struct fault){.times = 3, .error = EINTR};
	assert_int_equal(get(end, data, sizeof data), 3);
	assert_int_equal(recv_fault.calls, 4);
	send_fault = (struct fault){.times = 3, .error = EINTR};
	assert_int_equal(put(end, "abc", 3), 0);
	assert_int_equal(send_fault.calls, 4);
	send_fault = (struct fault){.times = 2, .error = EINTR};
	assert_int_equal(ops->send(poller, &end->handle, iov, 2), 4);
	peer_expects(end, "abcdefg");
}

static void a_failed_call_gives_its_errno(void)
{
	static const int errors[] = {ECONNRESET, ENOMEM, ENOBUFS, EHOSTUNREACH, ETIMEDOUT};
	struct end *end = connection();
	char data[8], *loan = NULL;

	peer_says(end, "abc");
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		recv_fault = (struct fault){.times = 2, .error = errors[i]};
		send_fault = (struct fault){.times = 1, .error = errors[i]};
		assert_int_equal(get(end, data, sizeof data), -errors[i]);
		assert_int_equal(borrow(end, &loan), -errors[i]);
		assert_int_equal(put(end, "abc", 3), -errors[i]);
	}
	assert_null(loan);
	assert_int_equal(buffers.used, 0);
	expect(end, "abc");
}

/* One that is drained costs no call; the price of a request is what was promised. */
static void a_request_costs_one_receive(void)
{
	struct end *end = connection();
	char *data;

	for (int i = 0; i < 50; i++) {
		struct ear ear = ear_for(-1, NETD_IN);

		faults_reset();
		assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
		await(end, &ear);
		peer_says(end, "abc");
		wait_for(&ear, 1);
		assert_int_equal(ops->lend(poller, &end->handle, &data), 3);
		ops->give_back(poller, data);
		if (i < 2) /* the first ones may have to find out */
			continue;
		assert_int_equal(ctl_fault.calls, 0);
		if (over_tcp || !is_epoll())
			assert_int_equal(recv_fault.calls, 1);
	}
}

/* Whoever is woken finds something, also when he did not ask for it before he waited. */
static void awaited_without_asking_before(void)
{
	struct end *end = connection();
	char *data;

	for (int i = 0; i < 5; i++) {
		struct ear ear = ear_for(-1, NETD_IN);

		if (i == 0) {
			peer_says(end, "abc");
			assert_int_equal(borrow(end, &data), 3);
			ops->give_back(poller, data);
		}
		await(end, &ear);
		peer_says(end, "def");
		wait_for(&ear, 1);
		assert_int_equal(ops->lend(poller, &end->handle, &data), 3);
		ops->give_back(poller, data);
	}
}

static void no_memory_for_a_loan(void)
{
	struct end *end = connection();
	char *data = NULL;
	ssize_t n = 0;

	peer_says(end, "abc");
	for (long i = 0; n != 3; i++) {
		scarce_from(i);
		n = ops->lend(poller, &end->handle, &data);
		scarce_over();
		assert_true(n == 3 || n == -ENOMEM);
		assert_true((n == 3) == (data != NULL));
		assert_true(i < 10);
	}
	ops->give_back(poller, data);
	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
}

/* The n-th allocation fails, wherever that is; the next try is a success. */
static void no_memory_anywhere(void)
{
	bool spared = false;

	for (long n = 0; !spared; n++) {
		struct end *end = connection();
		struct ear in = ear_for(-1, NETD_IN), other;
		struct poller *first = poller;
		struct err err = {0};
		char *data, byte[] = "x";
		struct iovec iov = {.iov_base = byte, .iov_len = 1};
		int fds[2], rc;

		make_pipe(fds);
		other = ear_for(fds[0], NETD_IN);
		scarce_from(n);
		while ((rc = ops->open(&poller, &buffers, &err)) == -ENOMEM) {
			assert_int_equal(err.code, -ENOMEM);
			assert_true(err.text[0]);
		}
		assert_int_equal(rc, 0);
		while (ops->lend(poller, &end->handle, &data) == -ENOMEM)
			;
		while (ops->await(poller, &end->handle, &in.watch) == -ENOMEM)
			assert_false(in.watch.armed);
		while (ops->arm(poller, &other.watch) == -ENOMEM)
			assert_false(other.watch.armed);
		while (ops->send(poller, &end->handle, &iov, 1) == -ENOMEM)
			;
		ops->trim(poller);
		peer_says(end, "abc");
		write_one(fds[1]);
		wait_for(&in, 1);
		wait_for(&other, 1);
		spared = scarce_over();
		expect(end, "abc");
		peer_expects(end, "x");
		close_ours(end);
		ops->close(poller);
		poller = first;
		close_both(fds);
		assert_true(n < 50);
	}
}

/* ---------------------------------------------------------------------------------- watching */

static void a_broken_wait_says_so(void)
{
	static const int errors[] = {EINTR, ENOMEM, EBADF};

	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		poll_fault = wait_fault = (struct fault){.times = 1, .error = errors[i]};
		assert_int_equal(ops->wait(poller, 0), -errors[i]);
		turn(0);
		faults_reset();
	}
}

/* Which its owner should not do; nobody waits for ever. */
static void closed_while_others_watch_it(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(end->handle.fd, NETD_IN);
	char *data;

	assert_int_equal(ops->lend(poller, &end->handle, &data), -EAGAIN);
	arm(&ear);
	close_ours(end);
	wait_for(&ear, 1);
	assert_true(ear.watch.revents & NETD_FAILED);
}

#ifdef HAVE_EPOLL

static void what_is_due_fires_though_the_wait_fails(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct ear ear = ear_for(file, NETD_IN);

	arm(&ear); /* ready without asking the kernel */
	wait_fault = (struct fault){.times = 1, .error = EINTR};
	assert_int_equal(ops->wait(poller, NETD_NEVER), -EINTR);
	assert_int_equal(ear.fired, 1);
	close(file);
}

static void a_watch_that_cannot_be_armed(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_IN), out = ear_for(-1, NETD_OUT), other;
	int fds[2];

	make_pipe(fds);
	other = ear_for(fds[0], NETD_IN);
	ctl_fault = (struct fault){.times = 3, .error = ENOSPC};
	assert_int_equal(ops->arm(poller, &other.watch), -ENOSPC);
	assert_int_equal(ops->await(poller, &end->handle, &ear.watch), -ENOSPC);
	assert_int_equal(ops->await(poller, &end->handle, &out.watch), -ENOSPC);
	assert_false(other.watch.armed || ear.watch.armed || out.watch.armed);
	arm(&other);
	await(end, &ear);
	write_one(fds[1]);
	peer_says(end, "abc");
	wait_for(&other, 1);
	wait_for(&ear, 1);
	expect(end, "abc");
	close_both(fds);
}

/* The rest of several watches is armed again when one fires; when that fails they are told. */
static void watches_that_cannot_be_armed_again_fire(void)
{
	int fds[2];
	struct ear in, out;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	in = ear_for(fds[0], NETD_IN);
	out = ear_for(fds[0], NETD_OUT);
	arm(&in);
	arm(&out);
	ctl_fault = (struct fault){.times = 1, .error = ENOMEM};
	wait_for(&out, 1);
	wait_for(&in, 1);
	assert_true(in.watch.revents & NETD_FAILED);
	close_both(fds);
}

static void no_epoll_is_said_in_words(void)
{
	static const int errors[] = {ENOSYS, EPERM, EMFILE};

	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct poller *none = NULL;
		struct err err = {0};

		create_fault = (struct fault){.times = 1, .error = errors[i]};
		assert_int_equal(ops->open(&none, &buffers, &err), -errors[i]);
		assert_null(none);
		assert_int_equal(err.code, -errors[i]);
		assert_non_null(strstr(err.text, "epoll"));
	}
}

/* How epoll.c names a registration in its events. */
static uint64_t name_of(uint32_t number, int fd)
{
	return (uint64_t)number << 32 | (uint32_t)fd;
}

static void a_failure_alone_fires_both_directions(void)
{
	struct end *end = connection();
	struct ear in = ear_for(-1, NETD_IN), out = ear_for(-1, NETD_OUT);

	fill(end);
	await(end, &out);
	await(end, &in);
	settle();
	forged[0] =
	    (struct epoll_event){.events = EPOLLERR, .data.u64 = name_of(1, end->handle.fd)};
	forged_count = 1;
	turn(NETD_NEVER);
	assert_int_equal(in.fired, 1);
	assert_int_equal(out.fired, 1);
}

static void a_full_socket_costs_no_call(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_OUT);
	char byte[] = "x";
	struct iovec iov = {.iov_base = byte, .iov_len = 1};

	fill(end);
	await(end, &ear);
	faults_reset();
	assert_int_equal(ops->send(poller, &end->handle, &iov, 1), -EAGAIN);
	assert_int_equal(send_fault.calls, 0);
	disarm(&ear);
}

static void events_of_nobody_are_ignored(void)
{
	struct end *end = connection();
	struct ear ear = ear_for(-1, NETD_IN);
	int fd = end->handle.fd;

	peer_says(end, "x");
	expect(end, "x");
	await(end, &ear);
	forged[0] = (struct epoll_event){.events = EPOLLIN, .data.u64 = name_of(77, fd)};
	forged[1] = (struct epoll_event){.events = EPOLLIN, .data.u64 = name_of(0, fd)};
	forged[2] = (struct epoll_event){.events = EPOLLIN, .data.u64 = UINT64_MAX};
	forged[3] = (struct epoll_event){.events = EPOLLIN, .data.u64 = name_of(1, INT32_MAX)};
	forged_count = 4;
	turn(NETD_NEVER);
	assert_int_equal(ear.fired, 0);
	peer_says(end, "abc");
	wait_for(&ear, 1);
	expect(end, "abc");
}

#endif

/* --------------------------------------------------------------------------------- the program */

static const struct row rows[] = {
    ROW_FOR(tells_readiness, an_interrupted_call_is_made_again),
    ROW_FOR(tells_readiness, a_failed_call_gives_its_errno),
    ROW_FOR(tells_readiness, a_request_costs_one_receive),
    ROW_FOR(tells_readiness, awaited_without_asking_before),
    ROW_FOR(tells_readiness, no_memory_for_a_loan),
    ROW_FOR(tells_readiness, closed_while_others_watch_it),
    ROW_FOR(tells_readiness, no_memory_anywhere),
    ROW_FOR(tells_readiness, a_broken_wait_says_so),
#ifdef HAVE_EPOLL
    ROW_FOR(is_epoll, what_is_due_fires_though_the_wait_fails),
    ROW_FOR(is_epoll, a_watch_that_cannot_be_armed),
    ROW_FOR(is_epoll, watches_that_cannot_be_armed_again_fire),
    ROW_FOR(is_epoll, no_epoll_is_said_in_words),
    ROW_FOR(is_epoll, a_failure_alone_fires_both_directions),
    ROW_FOR(is_epoll, a_full_socket_costs_no_call),
    ROW_FOR(is_epoll, events_of_nobody_are_ignored),
#endif
};

int main(void)
{
	before_each = faults_reset;
	return run_rows(rows, ARRAY_LEN(rows), true);
}
