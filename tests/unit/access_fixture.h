/*
 * access_fixture.h - rules from text, peers from text, and a resolver that says what the test
 * wants. Included by the tests of src/access that decide.
 */
#ifndef ACCESS_FIXTURE_H
#define ACCESS_FIXTURE_H

#include "access/rule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A resolver that says what the test wants. */
struct liar {
	int rc;
	const char *names[40];
	int calls;
	int64_t left_ms; /* what the deadline left at the last call */
};

static inline int lie(void *arg, const struct access_peer *peer, int64_t deadline,
		      struct strlist *names)
{
	struct liar *liar = arg;

	(void)peer;
	liar->calls++;
	liar->left_ms = deadline - clock_ms();
	for (size_t i = 0; i < ARRAY_LEN(liar->names) && liar->names[i]; i++)
		if (strlist_add(names, liar->names[i]) < 0)
			return -ENOMEM;
	return liar->rc;
}

static inline struct access_peer peer_of(const char *text)
{
	struct access_peer peer = {.family = AF_UNIX, .uid = 1000, .gid = 100};

	if (strcmp(text, "unix") == 0)
		return peer;
	peer.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(peer.family, text, peer.addr), 1);
	return peer;
}

static inline struct value *tree_of(const char *text)
{
	struct value *tree = NULL;
	struct err err;

	if (value_read_perl(&tree, text, strlen(text), NULL, &err) < 0)
		fail_msg("%s", err.text);
	return tree;
}

static inline struct access *rules(const char *text)
{
	struct value *tree = tree_of(text);
	struct access *access = NULL;
	struct err err;

	if (access_new(&access, tree, "F", NULL, &err) < 0)
		fail_msg("%s", err.text);
	value_free(tree); /* the rules keep their own copy */
	return access;
}

static inline struct access_verdict ask(const char *text, const char *address, struct liar *liar)
{
	const struct access_resolver resolver = {.names = lie, .arg = liar};
	const struct access_peer peer = peer_of(address);
	struct access *access = rules(text);
	struct access_verdict verdict;

	memset(&verdict, 0x5a, sizeof verdict);
	access_check(access, &peer, liar ? &resolver : NULL, &verdict);
	verdict.keys = NULL; /* lived in access */
	access_free(access);
	return verdict;
}

/* The number of the rule that lets in; minus the one that denies; 0: denied, none matched. */
static inline int decided(const char *text, const char *address, struct liar *liar)
{
	struct access_verdict verdict = ask(text, address, liar);

	assert_true(strncmp(verdict.why, verdict.allowed ? "allowed" : "denied", 6) == 0);
	return verdict.allowed ? verdict.rule : -verdict.rule;
}

#endif
