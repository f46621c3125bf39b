/*
 * os_generic.c - the backend of os.h for any POSIX system: only what the standard has.
 * Close-on-exec is set after the fact, so a fork and exec in another thread may see a descriptor in
 * between.
 *
 * Failure: -errno; -ENOSYS (a stream: ENOTSUP) where the standard has nothing for it.
 */
#include "os/os.h"
#include "os/os_posix.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* What a system needs to hear of a stack, or a promise of memory not taken; nothing elsewhere. */
#ifndef MAP_STACK
#define MAP_STACK 0
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#define STACK_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK)

/* Keep the descriptor only if it can be made close-on-exec. Returns it, or -errno. */
static int adopt(int fd)
{
	int rc;

	if (fd < 0)
		return -errno;
	rc = os_set_cloexec(fd, true);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int os_accept(int listener, struct sockaddr_storage *address, socklen_t *size)
{
	int fd = adopt(accept(listener, (struct sockaddr *)address, size));
	int rc;

	if (fd < 0)
		return fd;
	rc = os_set_nonblocking(fd, false); /* some systems inherit it from the listener */
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int os_socket(int domain, int type, int protocol)
{
	return adopt(socket(domain, type, protocol));
}

int os_pipe(int fds[2])
{
	int made[2];
	int rc = 0;

	if (pipe(made) < 0)
		return -errno;
	for (int i = 0; i < 2 && rc == 0; i++) {
		rc = os_set_cloexec(made[i], true);
		if (rc == 0)
			rc = os_set_nonblocking(made[i], true);
	}
	if (rc < 0) {
		close(made[0]);
		close(made[1]);
		return rc;
	}
	fds[0] = made[0];
	fds[1] = made[1];
	return 0;
}

int os_close_from(int first, const int *keep, size_t count)
{
	return os_close_each_from(first, keep, count);
}

int os_peer_cred(int fd, int64_t *uid, int64_t *gid, int64_t *pid)
{
	int type;
	socklen_t size = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return -errno;
	*uid = *gid = *pid = -1;
	return 0;
}

/* Setting the real id sets the saved one to the effective one. */
int os_set_gid(gid_t gid)
{
	return setregid(gid, gid) < 0 ? -errno : 0;
}

int os_set_uid(uid_t uid)
{
	return setreuid(uid, uid) < 0 ? -errno : 0;
}

/* The saved id cannot be read; that it does not lead back is for the caller to try. */
int os_gid_is(gid_t gid)
{
	return getgid() == gid && getegid() == gid;
}

int os_uid_is(uid_t uid)
{
	return getuid() == uid && geteuid() == uid;
}

int os_keep_capabilities(void)
{
	return -ENOSYS;
}

int os_drop_capabilities(void)
{
	return -ENOSYS;
}

int os_no_capabilities(bool bounding)
{
	(void)bounding;
	return -ENOSYS;
}

int os_no_new_privs(void)
{
	return -ENOSYS;
}

int os_no_dump(void)
{
	const struct rlimit none = {0, 0};

	return setrlimit(RLIMIT_CORE, &none) < 0 ? -errno : 0;
}

int os_allow_dump(void)
{
	return 0; /* nothing but the limits is in the way, and those are the administrator's */
}

int os_parent_death_signal(int signo)
{
	(void)signo;
	return -ENOSYS;
}

int64_t os_thread_id(void)
{
	return getpid();
}

void os_thread_name(const char *name)
{
	(void)name;
}

size_t os_backtrace(const void *context, void **addresses, size_t size)
{
	(void)context;
	(void)addresses;
	(void)size;
	return 0;
}

void os_address_name(const void *address, char *out, size_t size)
{
	snprintf(out, size, "%p", address);
}

FILE *os_stream(void *cookie, ssize_t (*read)(void *, char *, size_t),
		ssize_t (*write)(void *, const char *, size_t), int (*close)(void *))
{
	(void)cookie;
	(void)read;
	(void)write;
	(void)close;
	errno = ENOTSUP;
	return NULL;
}

ssize_t os_sendfile(int socket, int file, off_t *offset, size_t count)
{
	(void)socket;
	(void)file;
	(void)offset;
	(void)count;
	return -ENOSYS;
}

void *os_own_memory(size_t size)
{
	return calloc(1, size);
}

void os_own_memory_free(void *memory, size_t size)
{
	(void)size;
	free(memory);
}

void *os_stack_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, STACK_FLAGS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void os_stack_memory_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

int os_guard_light(void *memory, size_t size)
{
	(void)memory;
	(void)size;
	return -ENOSYS;
}

/* Nothing in the standard empties a page, and systems differ in what their advice does to it; a new
 * mapping in the place of the old one means the same everywhere. Should there be no memory to make
 * it, the old one may be gone: that is checked first, by making one elsewhere. */
int os_memory_release(void *memory, size_t size)
{
	void *trial = os_stack_memory(size);

	if (!trial)
		return -ENOMEM;
	munmap(trial, size);
	if (mmap(memory, size, PROT_READ | PROT_WRITE, STACK_FLAGS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		return -errno;
	return 0;
}

ssize_t os_memory_depth(void *memory, size_t size)
{
	(void)memory;
	(void)size;
	return -ENOSYS;
}

int os_get_flow(int fd, struct os_flow *flow)
{
	(void)fd;
	(void)flow;
	return -ENOTSUP;
}
