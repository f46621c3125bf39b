/*
 * inject.c - for LD_PRELOAD: makes calls of a running server fail, or do less than was asked.
 *
 * Happy path: the file that INJECT names is mapped, shared with the test that made it and with
 * every process the server forks. Each call below looks at its row of the table there; while the
 * row is armed, the call is failed with the error in the row, or cut to one byte. Disarmed, it
 * costs one load from memory. Failure modes: without such a file nothing is ever armed; a file that
 * is too short, or a libc without a call, ends the program.
 *
 * The layout of a row is known to inject.py, too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault {
	FAULT_FORK,
	FAULT_THREAD,
	FAULT_ACCEPT,
	FAULT_RECV,
	FAULT_SEND,
	FAULT_SENDFILE,
	FAULT_POLL,
	FAULT_ALLOC,
	FAULT_LOG, /* writev: what the log uses, and nothing else */
	FAULT_PIPE,
	FAULT_COUNT,
};

struct row {
	_Atomic int64_t left;  /* strikes to come; -1: no end; 0: not armed */
	_Atomic int64_t skip;  /* calls that pass before the first strike */
	_Atomic int64_t every; /* of the calls after those, each of this number is struck */
	_Atomic int64_t error; /* errno; 0: the call is cut to one byte instead */
	_Atomic int64_t calls; /* made since it was armed */
	_Atomic int64_t hits;  /* of them struck */
};

static struct row unarmed[FAULT_COUNT];
static struct row *rows = unarmed;

enum strike { PASS, FAIL, SHORTEN };

__attribute__((constructor)) static void map_table(void)
{
	const char *path = getenv("INJECT");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	struct stat st;
	void *memory;

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof unarmed)
		abort();
	memory = mmap(NULL, sizeof unarmed, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		abort();
	close(fd);
	rows = memory;
}

/* Does this call's turn come now? */
static enum strike strike(enum fault fault)
{
	struct row *row = &rows[fault];
	int64_t left = atomic_load(&row->left);
	int64_t number, every;

	if (left == 0)
		return PASS;
	number = atomic_fetch_add(&row->calls, 1) - atomic_load(&row->skip);
	every = atomic_load(&row->every);
	if (number < 0 || (every > 1 && number % every != 0))
		return PASS;
	while (left > 0 && !atomic_compare_exchange_weak(&row->left, &left, left - 1))
		continue;
	if (left == 0) /* another thread took the last one */
		return PASS;
	atomic_fetch_add(&row->hits, 1);
	if (atomic_load(&row->error) == 0)
		return SHORTEN;
	errno = (int)atomic_load(&row->error);
	return FAIL;
}

/* The real function of this name, into a pointer to a function; at every call, which is quick
 * enough here. */
static void find(void *out, const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		abort();
	memcpy(out, &found, sizeof found); /* ISO C has no cast for it */
}

#define REAL(name)                                                                                 \
	__typeof__(name) *real;                                                                    \
	find(&real, #name)

/* ------------------------------------------------------------------------------- processes */

pid_t fork(void)
{
	REAL(fork);

	return strike(FAULT_FORK) == FAIL ? -1 : real();
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	REAL(pthread_create);

	return strike(FAULT_THREAD) == FAIL ? errno : real(thread, attr, fn, arg);
}

int pipe2(int fds[2], int flags)
{
	REAL(pipe2);

	return strike(FAULT_PIPE) == FAIL ? -1 : real(fds, flags);
}

/* --------------------------------------------------------------------------------- sockets */

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *size, int flags)
{
	REAL(accept4);

	return strike(FAULT_ACCEPT) == FAIL ? -1 : real(fd, address, size, flags);
}

int accept(int fd, __SOCKADDR_ARG address, socklen_t *size)
{
	REAL(accept);

	return strike(FAULT_ACCEPT) == FAIL ? -1 : real(fd, address, size);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	enum strike what = size ? strike(FAULT_RECV) : PASS;
	REAL(recv);

	return what == FAIL ? -1 : real(fd, data, what == SHORTEN ? 1 : size, flags);
}

/* A message of one byte: the first that there is. */
static struct msghdr first_byte(const struct msghdr *message, struct iovec *piece)
{
	struct msghdr shorter = *message;

	*piece = (struct iovec){.iov_len = 0};
	for (size_t i = 0; i < message->msg_iovlen && piece->iov_len == 0; i++)
		*piece = message->msg_iov[i];
	if (piece->iov_len > 1)
		piece->iov_len = 1;
	shorter.msg_iov = piece;
	shorter.msg_iovlen = 1;
	return shorter;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	enum strike what = strike(FAULT_SEND);
	struct iovec piece;
	struct msghdr shorter = first_byte(message, &piece);
	REAL(sendmsg);

	return what == FAIL ? -1 : real(fd, what == SHORTEN ? &shorter : message, flags);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	enum strike what = size ? strike(FAULT_SEND) : PASS;
	REAL(send);

	return what == FAIL ? -1 : real(fd, data, what == SHORTEN ? 1 : size, flags);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	enum strike what = strike(FAULT_SENDFILE);
	REAL(sendfile);

	return what == FAIL ? -1 : real(out, in, offset, what == SHORTEN ? 1 : count);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	REAL(poll);

	return strike(FAULT_POLL) == FAIL ? -1 : real(fds, count, timeout);
}

/* ------------------------------------------ the same, as compilers and large files name them */

ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags);
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);

ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags)
{
	if (size > room)
		abort();
	return recv(fd, data, size, flags);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room)
{
	if (count > room / sizeof *fds)
		abort();
	return poll(fds, count, timeout);
}

/* ------------------------------------------------------------------------- memory and disk */

/* The names under which glibc keeps its own: dlsym() may itself allocate. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	return strike(FAULT_ALLOC) == FAIL ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return strike(FAULT_ALLOC) == FAIL ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return strike(FAULT_ALLOC) == FAIL ? NULL : __libc_realloc(old, size);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	REAL(writev);

	return strike(FAULT_LOG) == FAIL ? -1 : real(fd, iov, count);
}
