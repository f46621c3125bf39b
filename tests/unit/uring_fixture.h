/*
 * uring_fixture.h - the scene of the tests of the io_uring poller: that of poller_fixture.h, with a
 * look inside. Each test runs on a ring as usual, on one as an older kernel has it, and on one with
 * queues of two entries.
 */
#ifndef TESTS_UNIT_URING_FIXTURE_H
#define TESTS_UNIT_URING_FIXTURE_H

#include "poller_fixture.h"

#include "io/uring.h"

static inline struct uring *uring_here(void)
{
	return uring_of(poller);
}

/* What a completion calls a request of this connection. */
static inline uint64_t name_of(const struct end *end, enum uring_op op)
{
	uint16_t generation = uring_here()->slots[end->handle.slot].generation;

	return (uint64_t)end->handle.slot << 32 | (uint64_t)generation << 16 | op;
}

/* Post a text. */
static inline void an_answer(struct end *end, const char *text)
{
	char *buffer = buffers_take(&buffers);

	assert_non_null(buffer);
	memcpy(buffer, text, strlen(text));
	assert_int_equal(ops->post(poller, &end->handle, buffer, strlen(text)), 0);
}

static inline int open_plain(struct poller **out, struct buffers *given, struct err *err)
{
	const struct ring_config config = {.sq_entries = 64, .cq_entries = 256, .is_plain = true};

	return uring_open(out, given, &config, err);
}

static inline int open_tiny(struct poller **out, struct buffers *given, struct err *err)
{
	const struct ring_config config = {.sq_entries = 2, .cq_entries = 2};

	return uring_open(out, given, &config, err);
}

/* Run each row on each kind of ring, over Unix sockets and TCP. */
static inline int run_uring_rows(const char *group, const struct row *rows, size_t count)
{
	static struct poller_ops usual, plain, tiny;
	const struct {
		const char *name;
		const struct poller_ops *ops;
	} kinds[] = {{"usual", &usual}, {"plain", &plain}, {"tiny", &tiny}};
	enum { MOST = 200 };
	static struct trial given[MOST];
	static struct CMUnitTest all[MOST];
	static char names[MOST][128];
	size_t n = 0;

	if (ARRAY_LEN(kinds) * 2 * count > MOST)
		abort();
	usual = plain = tiny = poller_uring;
	plain.open = open_plain;
	tiny.open = open_tiny;
	for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++)
		for (size_t i = 0; i < 2 * count; i++, n++) {
			const struct row *row = &rows[i / 2];
			bool tcp = i % 2;

			snprintf(names[n], sizeof names[n], "%s_%s_%s", row->name, kinds[kind].name,
				 tcp ? "tcp" : "unix");
			given[n] = (struct trial){kinds[kind].ops, row->test, tcp};
			all[n] = (struct CMUnitTest){.name = names[n],
						     .test_func = run_trial,
						     .teardown_func = forget_ends,
						     .initial_state = &given[n]};
		}
	return _cmocka_run_group_tests(group, all, n, NULL, NULL);
}

#endif
