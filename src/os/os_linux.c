/*
 * os_linux.c - the Linux backend of os.h: each call is one system call of the kernel's, or a few.
 *
 * Capabilities are set by the raw system calls (no libcap). Clearing the bounding set needs
 * CAP_SETPCAP, which a change of user takes away: os_keep_capabilities() -> os_set_uid() ->
 * os_drop_capabilities() raises it once more, clears the bounding set with it, then clears all.
 * Backtraces are the C library's, where it has them: glibc loads libgcc_s for the first one.
 *
 * Failure: -errno. An ENOSYS from a filter in the place of a capability call becomes EPERM: to our
 * callers ENOSYS says that the system has no capabilities at all, and this one has.
 */
#include "os/os.h"
#include "os/os_posix.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* <netinet/tcp.h> lacks the counters in older C libraries */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __GLIBC__ /* other C libraries have no backtrace(3) */
#include <execinfo.h>
#endif

#define CAP_SETS_BITS 64 /* numbers that the kernel's sets have room for */
#define TRACE_MOST 64    /* addresses of a backtrace, those of the handler among them */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13; not yet in every C library's headers */
#endif

int os_accept(int listener, struct sockaddr_storage *address, socklen_t *size)
{
	int fd = accept4(listener, (struct sockaddr *)address, size, SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int os_socket(int domain, int type, int protocol)
{
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

int os_pipe(int fds[2])
{
	return pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}

/* Close first to last; -ENOSYS on kernels before 5.9, and where a filter says so. */
static int close_range_of(unsigned first, unsigned last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return 0;
	return -errno;
}

int os_close_from(int first, const int *keep, size_t count)
{
	unsigned next = (unsigned)first;
	int rc = 0;

	for (size_t k = 0; k < count && rc == 0; k++) {
		if (keep[k] < 0 || (unsigned)keep[k] < next)
			continue;
		if ((unsigned)keep[k] > next)
			rc = close_range_of(next, (unsigned)keep[k] - 1);
		next = (unsigned)keep[k] + 1;
	}
	if (rc == 0)
		rc = close_range_of(next, UINT_MAX);
	return rc < 0 ? os_close_each_from(first, keep, count) : 0;
}

int os_peer_cred(int fd, int64_t *uid, int64_t *gid, int64_t *pid)
{
	struct ucred cred;
	socklen_t size = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	/* A socket that has no such peer says 0 and all ones. */
	*uid = cred.uid == (uid_t)-1 ? -1 : (int64_t)cred.uid;
	*gid = cred.gid == (gid_t)-1 ? -1 : (int64_t)cred.gid;
	*pid = cred.pid > 0 ? cred.pid : -1;
	return 0;
}

int os_set_gid(gid_t gid)
{
	return setresgid(gid, gid, gid) < 0 ? -errno : 0;
}

int os_set_uid(uid_t uid)
{
	return setresuid(uid, uid, uid) < 0 ? -errno : 0;
}

/* The ids start as what no one can be: a call that only claims to have worked is not believed. */
int os_gid_is(gid_t gid)
{
	gid_t real = (gid_t)-1, effective = (gid_t)-1, saved = (gid_t)-1;

	if (getresgid(&real, &effective, &saved) < 0)
		return 0;
	return real == gid && effective == gid && saved == gid;
}

int os_uid_is(uid_t uid)
{
	uid_t real = (uid_t)-1, effective = (uid_t)-1, saved = (uid_t)-1;

	if (getresuid(&real, &effective, &saved) < 0)
		return 0;
	return real == uid && effective == uid && saved == uid;
}

static int capability_errno(void)
{
	return errno == ENOSYS ? -EPERM : -errno;
}

/* Effective and permitted become these bits, inheritable nothing. */
static int set_capabilities(uint64_t bits)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
	    {.effective = (uint32_t)bits, .permitted = (uint32_t)bits},
	    {.effective = (uint32_t)(bits >> 32), .permitted = (uint32_t)(bits >> 32)},
	};

	return syscall(SYS_capset, &header, data) < 0 ? capability_errno() : 0;
}

/* All three sets start full, for the same reason as the ids above. */
static int get_capabilities(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	memset(data, 0xff, _LINUX_CAPABILITY_U32S_3 * sizeof *data);
	return syscall(SYS_capget, &header, data) < 0 ? capability_errno() : 0;
}

int os_keep_capabilities(void)
{
	return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ? capability_errno() : 0;
}

/* The first capability exists on every kernel; EINVAL for another one: this kernel has none such.
 */
static bool no_such_capability(unsigned long cap)
{
	return errno == EINVAL && cap > 0;
}

static int clear_bounding(void)
{
	int rc = set_capabilities(UINT64_C(1) << CAP_SETPCAP);

	for (unsigned long cap = 0; cap < CAP_SETS_BITS && rc == 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && !no_such_capability(cap))
			rc = capability_errno();
	return rc;
}

int os_drop_capabilities(void)
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	bool allowed;
	int rc = get_capabilities(data);

	if (rc < 0)
		return rc;
	allowed = data[0].permitted & (UINT32_C(1) << CAP_SETPCAP);
	if (allowed && (rc = clear_bounding()) < 0)
		return rc;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return capability_errno();
	rc = set_capabilities(0);
	if (rc < 0)
		return rc;
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return capability_errno();
	return allowed ? 0 : 1;
}

/* 1: this capability is in the set that prctl(option, argument) asks for. */
static int capability_is_set(int option, unsigned long argument, unsigned long cap)
{
	int rc = option == PR_CAP_AMBIENT ? prctl(option, argument, cap, 0, 0)
					  : prctl(option, cap, 0, 0, 0);

	if (rc < 0)
		return no_such_capability(cap) ? 0 : capability_errno();
	return rc;
}

int os_no_capabilities(bool bounding)
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	int rc = get_capabilities(data);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (data[i].effective | data[i].permitted | data[i].inheritable)
			return 0;
	for (unsigned long cap = 0; cap < CAP_SETS_BITS; cap++) {
		rc = capability_is_set(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap);
		if (rc == 0 && bounding)
			rc = capability_is_set(PR_CAPBSET_READ, 0, cap);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	return 1;
}

int os_no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return capability_errno();
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -EPERM;
}

/* Set it and look whether it is so. */
static int set_dumpable(unsigned long dumpable)
{
	if (prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == (int)dumpable ? 0 : -EPERM;
}

int os_no_dump(void)
{
	return set_dumpable(0);
}

int os_allow_dump(void)
{
	return set_dumpable(1);
}

int os_parent_death_signal(int signo)
{
	return prctl(PR_SET_PDEATHSIG, (unsigned long)signo, 0, 0, 0) < 0 ? -errno : 0;
}

int64_t os_thread_id(void)
{
	return syscall(SYS_gettid);
}

void os_thread_name(const char *name)
{
	prctl(PR_SET_NAME, name, 0, 0, 0); /* cuts it to 15 bytes itself */
}

/* The instruction that a handler has interrupted. NULL: not known for this processor. */
static void *interrupted_at(const ucontext_t *context)
{
#if defined(__x86_64__)
	uintptr_t address = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	uintptr_t address = (uintptr_t)context->uc_mcontext.pc;
#else
	uintptr_t address = 0 * sizeof context;
#endif

	return (void *)address; // NOLINT(performance-no-int-to-ptr)
}

static size_t trace(void **addresses, size_t size)
{
#ifdef __GLIBC__
	int count = backtrace(addresses, (int)size);

	return count > 0 ? (size_t)count : 0;
#else
	(void)addresses;
	(void)size;
	return 0;
#endif
}

size_t os_backtrace(const void *context, void **addresses, size_t size)
{
	void *all[TRACE_MOST];
	void *start = context ? interrupted_at(context) : NULL;
	size_t first = 0, count = trace(all, TRACE_MOST);

	if (size == 0 || (count == 0 && !start))
		return 0;
	if (start) { /* what is above it are the handler and its helpers */
		while (first < count && all[first] != start)
			first++;
		if (first == count) {
			addresses[0] = start;
			return 1;
		}
	}
	count = count - first < size ? count - first : size;
	addresses[0] = all[first];
	for (size_t i = 1; i < count; i++) /* of the call, not of what follows it */
		addresses[i] = (char *)all[first + i] - 1;
	return count;
}

void os_address_name(const void *address, char *out, size_t size)
{
	const char *base, *name;
	Dl_info info = {0};

	if (!dladdr(address, &info) || !info.dli_fbase) {
		snprintf(out, size, "%p", address);
		return;
	}
	base = info.dli_sname ? info.dli_saddr : info.dli_fbase;
	name = info.dli_sname;
	if (!name) {
		name = info.dli_fname && *info.dli_fname ? info.dli_fname : "?";
		name = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	}
	snprintf(out, size, "%s+0x%tx", name, (const char *)address - base);
}

/* The functions behind a stream; it lives as long as the stream. */
struct stream {
	void *cookie;
	ssize_t (*read)(void *, char *, size_t);
	ssize_t (*write)(void *, const char *, size_t);
	int (*close)(void *);
	char last;  /* the last byte that was read */
	bool have;  /* there is one */
	bool again; /* it was put back, and is read next */
};

static ssize_t stream_read(void *cookie, char *data, size_t size)
{
	struct stream *stream = cookie;
	ssize_t n;

	if (stream->again && size) {
		stream->again = false;
		*data = stream->last;
		return 1;
	}
	n = stream->read(stream->cookie, data, size);
	if (n > 0) {
		stream->last = data[n - 1];
		stream->have = true;
	}
	return n;
}

/* A byte too far, as scanf(3) reads it, is put back by going back one place: the only seek we have.
 * Without it the next write fails. */
static int stream_seek(void *cookie, off64_t *offset, int whence)
{
	struct stream *stream = cookie;

	if (whence != SEEK_CUR || *offset != -1 || !stream->have || stream->again) {
		errno = ESPIPE;
		return -1;
	}
	stream->again = true;
	*offset = 0;
	return 0;
}

static ssize_t stream_write(void *cookie, const char *data, size_t size)
{
	struct stream *stream = cookie;

	return stream->write(stream->cookie, data, size);
}

static int stream_close(void *cookie)
{
	struct stream *stream = cookie;
	int rc = stream->close(stream->cookie);
	int saved = errno;

	free(stream);
	errno = saved;
	return rc;
}

FILE *os_stream(void *cookie, ssize_t (*read)(void *, char *, size_t),
		ssize_t (*write)(void *, const char *, size_t), int (*close)(void *))
{
	static const cookie_io_functions_t functions = {
	    .read = stream_read,
	    .write = stream_write,
	    .seek = stream_seek,
	    .close = stream_close,
	};
	struct stream *stream = malloc(sizeof *stream);
	FILE *file;

	if (!stream)
		return NULL;
	*stream = (struct stream){.cookie = cookie, .read = read, .write = write, .close = close};
	file = fopencookie(stream, "r+", functions);
	if (!file) {
		free(stream);
		return NULL;
	}
	/* One buffer for both directions would lose input when they take turns. */
	setvbuf(file, NULL, _IONBF, 0);
	return file;
}

ssize_t os_sendfile(int socket, int file, off_t *offset, size_t count)
{
	ssize_t n = sendfile(socket, file, offset, count);

	if (n >= 0)
		return n;
	return errno == EINVAL ? -ENOSYS : -errno;
}

void *os_own_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	madvise(memory, size, MADV_DONTFORK); /* refused: it is inherited, which costs time only */
	return memory;
}

void os_own_memory_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

void *os_stack_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* One touched page must not become a huge one; a kernel that has none refuses. */
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

void os_stack_memory_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

/* Kernels before 6.13 know no such advice, and some refuse it on locked memory; a sandbox may
 * refuse it, too. */
int os_guard_light(void *memory, size_t size)
{
	if (madvise(memory, size, MADV_GUARD_INSTALL) == 0)
		return 0;
	return errno == EINVAL || errno == EPERM ? -ENOSYS : -errno;
}

int os_memory_release(void *memory, size_t size)
{
	return madvise(memory, size, MADV_DONTNEED) < 0 ? -errno : 0;
}

ssize_t os_memory_depth(void *memory, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char here[256]; /* one byte a page */
	size_t done = 0;

	while (done < size) {
		size_t part = size - done < page * sizeof here ? size - done : page * sizeof here;

		if (mincore((char *)memory + done, part, here) < 0)
			return -ENOSYS;
		for (size_t i = 0; i < part / page; i++)
			if (here[i] & 1)
				return (ssize_t)(size - done - i * page);
		done += part;
	}
	return 0;
}

/* ------------------------------------------------------------------------ what moves on a socket
 */

/* States of TCP, as tcpi_state has them: <netinet/tcp.h> names them. */
enum { FIN_WAIT1 = 4, FIN_WAIT2 = 5, TIME_WAIT = 6, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

#define BIT(state) (1U << (state))
#define FIN_SENT (BIT(FIN_WAIT1) | BIT(FIN_WAIT2) | BIT(TIME_WAIT) | BIT(LAST_ACK) | BIT(CLOSING))
#define FIN_CAME (BIT(CLOSE_WAIT) | BIT(LAST_ACK) | BIT(CLOSING) | BIT(TIME_WAIT))

static bool is_state(unsigned state, unsigned set)
{
	return state < 32 && BIT(state) & set;
}

/* The end of a direction takes a number in its sequence, and is counted like a byte. */
static uint64_t without_end(uint64_t bytes, bool ended)
{
	return bytes > 0 && ended ? bytes - 1 : bytes;
}

static int tcp_flow(int fd, struct os_flow *flow)
{
	struct tcp_info info;
	socklen_t size = sizeof info;
	int queued = 0;

	memset(&info, 0, sizeof info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return errno == EBADF || errno == ENOTSOCK ? -errno : -ENOTSUP;
	if (size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
		return -ENOTSUP;
	if (ioctl(fd, SIOCOUTQ, &queued) < 0)
		return -errno;
	flow->counted = true;
	flow->queued = (uint64_t)queued;
	flow->in = without_end(info.tcpi_bytes_received, is_state(info.tcpi_state, FIN_CAME));
	flow->out =
	    without_end(info.tcpi_bytes_acked + flow->queued, is_state(info.tcpi_state, FIN_SENT));
	flow->mark = (uint32_t)(info.tcpi_bytes_received + info.tcpi_bytes_acked);
	/* Not the last acknowledgement: the answers to keep-alive probes are some, too. */
	flow->quiet_ms = info.tcpi_last_data_recv < info.tcpi_last_data_sent
			     ? info.tcpi_last_data_recv
			     : info.tcpi_last_data_sent;
	return 0;
}

/* An empty queue on both sides is 0: most that wait have nothing in them. */
static int unix_flow(int fd, struct os_flow *flow)
{
	int in, out;

	if (ioctl(fd, SIOCINQ, &in) < 0 || ioctl(fd, SIOCOUTQ, &out) < 0)
		return -errno;
	*flow = (struct os_flow){
	    .queued = (uint64_t)out,
	    .mark = (uint32_t)out * 31 + (uint32_t)in,
	};
	return 0;
}

int os_get_flow(int fd, struct os_flow *flow)
{
	struct os_flow found = {0};
	int domain;
	socklen_t size = sizeof domain;
	int rc;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return -errno;
	rc = domain == AF_UNIX ? unix_flow(fd, &found) : tcp_flow(fd, &found);
	if (rc == 0)
		*flow = found;
	return rc;
}
