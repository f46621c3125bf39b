/*
 * caught.c - where the run-time library of C++ notes which exceptions a thread is handling.
 *
 * It keeps one list per thread, and takes the last one for the innermost. Fibers share a thread:
 * one that waits inside of a catch would end up with the exception of another. So each takes its
 * own list along (fiber_leave()).
 *
 * Happy path: a program or a service without C++: there is nothing to find, and nothing to do.
 * Failure modes: a run-time library that is linked in without being visible, or is loaded only
 * after the scheduler was opened, is not found: handlers must not wait inside of a catch then.
 */
#include "fiber/sched.h"

#include <dlfcn.h>
#include <string.h>

/* Of the Itanium C++ ABI, 2.5: all compilers here keep to it. Not there in a program without C++.
 */
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern void *__cxa_get_globals(void) __attribute__((weak));

/* A service was loaded with its libraries, and those are not seen by everybody. */
static void *look_into(const char *library, void *(**function)(void))
{
	void *loaded = dlopen(library, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
	void *address = loaded ? dlsym(loaded, "__cxa_get_globals") : NULL;

	if (address) /* POSIX: both kinds of pointers look the same */
		memcpy(function, &address, sizeof address);
	if (loaded)
		dlclose(loaded); /* it stays, as it was there before */
	return address;
}

struct caught *caught_here(void)
{
	void *(*function)(void) = __cxa_get_globals;

	if (!function && !look_into("libstdc++.so.6", &function) &&
	    !look_into("libc++abi.so.1", &function))
		return NULL;
	return function();
}
