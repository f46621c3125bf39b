/*
 * os_posix.c - the parts of os.h that are the same on every POSIX system. Linked with either
 * backend.
 *
 * Happy path: one fcntl(2) or close(2) per call. Failure: the system's errno, negative.
 */
#include "os/os_posix.h"
#include "os/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Set or clear bits of a descriptor's flags, without a call when they are right already. */
static int change_flags(int fd, int get, int set, int bits, bool on)
{
	int old = fcntl(fd, get);
	int wanted = on ? old | bits : old & ~bits;

	if (old < 0 || (wanted != old && fcntl(fd, set, wanted) < 0))
		return -errno;
	return 0;
}

int os_random(void *out, size_t size)
{
	return getentropy(out, size) < 0 ? -errno : 0;
}

int os_set_nonblocking(int fd, bool on)
{
	return change_flags(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int os_set_cloexec(int fd, bool on)
{
	return change_flags(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int os_close_each_from(int first, const int *keep, size_t count)
{
	struct rlimit limit;
	int end;
	size_t k = 0;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	/* The hard limit: the soft one may have been lowered below what is open. */
	end = limit.rlim_max > INT_MAX ? INT_MAX : (int)limit.rlim_max;
	for (int fd = first; fd < end; fd++) {
		while (k < count && keep[k] < fd)
			k++;
		if (k == count || keep[k] != fd)
			close(fd);
	}
	return 0;
}

int os_guard(void *memory, size_t size)
{
	return mprotect(memory, size, PROT_NONE) < 0 ? -errno : 0;
}

int os_library_load(void **library, const char *name, const struct os_symbol *symbols, size_t count)
{
	void *loaded = dlopen(name, RTLD_NOW | RTLD_LOCAL);

	if (!loaded)
		return -ENOENT;
	for (size_t i = 0; i < count; i++) {
		void *address = dlsym(loaded, symbols[i].name);

		if (!address) {
			dlclose(loaded);
			return -ENOENT;
		}
		/* ISO C knows no way from an object's to a function's pointer; POSIX says that
		 * they look the same. */
		memcpy(symbols[i].address, &address, sizeof address);
	}
	*library = loaded;
	return 0;
}

void *os_library_unload(void *library)
{
	if (library)
		dlclose(library);
	return NULL;
}
