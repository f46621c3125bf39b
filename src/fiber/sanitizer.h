/*
 * sanitizer.h - which of the programs that watch memory is built in (AddressSanitizer,
 * ThreadSanitizer) or may be watching (valgrind), and what they have to be told of stacks that are
 * used again. Nothing is left of it in a plain build but a few instructions that only valgrind
 * understands, and those only where its headers are. For src/fiber only.
 */
#ifndef FIBER_SANITIZER_H
#define FIBER_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __has_feature
#define SANITIZER_FEATURE(name) __has_feature(name)
#else
#define SANITIZER_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SANITIZER_FEATURE(address_sanitizer)
#define SANITIZER_ADDRESS 1
#else
#define SANITIZER_ADDRESS 0
#endif

#if defined(__SANITIZE_THREAD__) || SANITIZER_FEATURE(thread_sanitizer)
#define SANITIZER_THREAD 1
#else
#define SANITIZER_THREAD 0
#endif

#define SANITIZER_VALGRIND 0
#if !SANITIZER_ADDRESS && !SANITIZER_THREAD && !defined(NVALGRIND) && defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#undef SANITIZER_VALGRIND
#define SANITIZER_VALGRIND 1
#endif
#endif

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif SANITIZER_THREAD
#include <sanitizer/tsan_interface.h>
#elif SANITIZER_VALGRIND
#include <valgrind/memcheck.h>
#endif

/* For functions that run while it is unclear whose stack this is, or look at anybody's. */
#if SANITIZER_ADDRESS
#define SANITIZER_BLIND __attribute__((no_sanitize("address"), noinline))
#elif SANITIZER_THREAD
#define SANITIZER_BLIND __attribute__((no_sanitize("thread"), noinline))
#else
#define SANITIZER_BLIND
#endif

/* Nothing lives in this part of a stack any more: it may be written to by whoever comes next. The
 * frames of functions that never returned have left it marked otherwise. */
static inline void sanitizer_forget(char *memory, size_t size)
{
#if SANITIZER_ADDRESS
	__asan_unpoison_memory_region(memory, size);
#elif SANITIZER_VALGRIND
	(void)VALGRIND_MAKE_MEM_UNDEFINED(memory, size);
#else
	(void)memory;
	(void)size;
#endif
}

/* Words that nobody has written are looked at on purpose; for valgrind they count as written. */
static inline void sanitizer_define(const char *memory, size_t size)
{
#if SANITIZER_VALGRIND
	(void)VALGRIND_MAKE_MEM_DEFINED(memory, size);
#else
	(void)memory;
	(void)size;
#endif
}

/* Say nothing about the reads and writes from here on; or do again. */
static inline void sanitizer_mute(bool on)
{
#if SANITIZER_VALGRIND
	if (on)
		VALGRIND_DISABLE_ERROR_REPORTING;
	else
		VALGRIND_ENABLE_ERROR_REPORTING;
#else
	(void)on;
#endif
}

#endif
