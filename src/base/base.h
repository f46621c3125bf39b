/*
 * base.h - the small things everything else is made of: errors in words, growing buffers, lists of
 * strings, strict numbers, the clock. No module state, no I/O.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
/* What every line of every connection goes through. The linker puts it side by side: where each
 * system call makes the processor forget its page tables, fewer pages are looked up again. */
#if defined(__GNUC__)
#define HOT_PATH __attribute__((hot))
#else
#define HOT_PATH
#endif

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The object that starts at *ptr's enclosing struct: container(link, struct conn, pool_link). */
#define CONTAINER(ptr, type, member)                                                               \
	((type *)(void *)&((char *)(ptr))[-(ptrdiff_t)offsetof(type, member)])

/* ------------------------------------------------------- errors in words */

/* The last failure of an object: a negative errno value and the words for people. */
struct err {
	int code;
	char text[1024];
};

/* Record a failure; err may be NULL. Returns code, so that `return err_set(...)` works. */
int err_set(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);
int err_vset(struct err *err, int code, const char *format, va_list args) PRINTF_LIKE(3, 0);

/* "what: strerror(-code)", for a failed system call. Returns code. */
int err_sys(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Put words in front of those recorded: "file:3:7: " + what is there. Returns err's code. */
int err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* --------------------------------------------------------------- buffers */

/* A growing byte buffer, born with a maximum. data[len] is always NUL once data is not NULL. */
struct buf {
	char *data;
	size_t len, size;
	size_t max; /* no append makes len exceed this */
};

void buf_init(struct buf *buf, size_t max);
void buf_finish(struct buf *buf);
/* Each returns 0, -ENOMEM, or -EMSGSIZE past the maximum (buffer unchanged). */
int buf_add(struct buf *buf, const void *data, size_t size);
int buf_addc(struct buf *buf, char c);
int buf_adds(struct buf *buf, const char *text);
int buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Make room for size more bytes; then data + len may be written to. */
int buf_reserve(struct buf *buf, size_t size);
/* The text; "" for an empty buffer. */
const char *buf_text(const struct buf *buf);
/* Hand the memory over to the caller (free() it); the buffer is empty after. NULL: no memory. */
char *buf_steal(struct buf *buf);

/* ------------------------------------------------------- list of strings */

struct strlist {
	char **items; /* owned; items[count] is NULL once items is not NULL */
	size_t count;
};

void strlist_finish(struct strlist *list);
int strlist_add(struct strlist *list, const char *text); /* copies; 0 or -ENOMEM */
int strlist_addf(struct strlist *list, const char *format, ...) PRINTF_LIKE(2, 3);

/* --------------------------------------------------------------- numbers */

/*
 * Strict decimal: an optional minus, digits, nothing else (no blanks, no plus, no octal), within
 * [min, max]. Returns 0, -EINVAL (not a number) or -ERANGE.
 */
int num_parse(const char *text, long long min, long long max, long long *out);

/* Seconds with an optional fraction ("5", "0.25") to milliseconds. Returns as num_parse(). */
int num_parse_seconds(const char *text, int64_t max_ms, int64_t *out_ms);

/* ----------------------------------------------------------------- clock */

/* Milliseconds of CLOCK_MONOTONIC: never jumps. */
int64_t clock_ms(void);

/* The same, behind by some milliseconds at most (a tick of the kernel), at a fifth of the price. */
int64_t clock_coarse_ms(void);

/* Nanoseconds of the clock of clock_ms(). */
int64_t clock_ns(void);

/* Milliseconds from now until deadline for poll(2): 0 when passed, -1 for NETD_NEVER, rounded up
 * and capped at an hour. */
int clock_poll_timeout(int64_t deadline);

/* deadline = now + ms, saturating; ms < 0 means never. */
int64_t clock_deadline(int64_t ms);

/* The earlier of two deadlines. */
static inline int64_t clock_earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ----------------------------------------------------------------- hash */

/* SipHash-2-4: who does not know the key can neither guess a hash nor make two meet. */
uint64_t hash_keyed(const uint64_t key[2], const void *data, size_t size);

/* ---------------------------------------------------------- rate limited */

/* Lets one event through per period; counts what it holds back. Zero-initialised. Not locked. */
struct throttle {
	int64_t next_ms;
	uint64_t held; /* events held back since the last one let through */
};

/* True when the event may pass now; then *held is how many were held back before it. */
bool throttle_pass(struct throttle *throttle, int64_t period_ms, uint64_t *held);

#endif
