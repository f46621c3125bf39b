/*
 * test_access.c - decisions: who is let in, by which rule, in which words, and what happens when
 * memory runs out. Names are in test_access_names.c, what rules may look like in
 * test_access_rule.c.
 */
#include "access_fixture.h"

/* -------------------------------------------------------------------------- memory that fails */

/* The allocation that fails, counted down; below zero none does. */
static int allocations_left = -1;

static bool runs_out(void)
{
	return allocations_left >= 0 && allocations_left-- == 0;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return runs_out() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	return runs_out() ? NULL : __real_calloc(count, size);
}

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
	return runs_out() ? NULL : __real_realloc(old, size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
	return runs_out() ? NULL : __real_strdup(text);
}

pcre2_code *__real_pcre2_compile_8(PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options,
				   int *error, PCRE2_SIZE *offset, pcre2_compile_context *context);
pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options,
				   int *error, PCRE2_SIZE *offset, pcre2_compile_context *context);
pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR pattern, PCRE2_SIZE length, uint32_t options,
				   int *error, PCRE2_SIZE *offset, pcre2_compile_context *context)
{
	if (runs_out()) {
		*error = PCRE2_ERROR_HEAP_FAILED;
		return NULL;
	}
	return __real_pcre2_compile_8(pattern, length, options, error, offset, context);
}

pcre2_match_context *__real_pcre2_match_context_create_8(pcre2_general_context *context);
pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *context);
pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *context)
{
	return runs_out() ? NULL : __real_pcre2_match_context_create_8(context);
}

pcre2_match_data *__real_pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context);
pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context);
pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context)
{
	return runs_out() ? NULL : __real_pcre2_match_data_create_8(pairs, context);
}

/* ----------------------------------------------------------------------------------- deciding */

static void rule10_no_rules_are_open(void **state)
{
	const struct access_peer peer = peer_of("192.0.2.7"), nobody = {0};
	struct access *access = NULL;
	struct access_verdict verdict;

	(void)state;
	assert_int_equal(access_new(&access, NULL, "F", NULL, NULL), 0);
	assert_int_equal(access_count(access), -1);
	access_check(access, &peer, NULL, &verdict);
	assert_true(verdict.allowed);
	assert_int_equal(verdict.rule, 0);
	assert_null(verdict.keys);
	assert_string_equal(verdict.name, "");
	assert_false(verdict.name_unknown);
	assert_string_equal(verdict.why, "allowed: there are no rules");
	access_check(access, &nobody, NULL, &verdict);
	assert_true(verdict.allowed);
	access_free(access);
	assert_null(access_free(NULL));
}

static void rule10_rules_deny_by_default(void **state)
{
	struct access *access = rules("[]");
	struct access_verdict verdict = ask("[]", "192.0.2.7", NULL);

	(void)state;
	assert_int_equal(access_count(access), 0);
	access_free(access);
	assert_false(verdict.allowed);
	assert_string_equal(verdict.why, "denied: no rule matched");
	assert_int_equal(decided("[{mask => '^10\\.', accept => 1}]", "192.0.2.7", NULL), 0);
	assert_int_equal(decided("[{mask => '.*'}]", "192.0.2.7", NULL), -1);
	assert_int_equal(decided("[{mask => '.*', accept => 0}]", "192.0.2.7", NULL), -1);
	assert_int_equal(decided("[{mask => [], accept => 1}]", "192.0.2.7", NULL), 0);
}

static void rule10_a_peer_without_address_is_denied(void **state)
{
	struct access *access = rules("[{accept => 1}]");
	const struct access_peer nobody = {.uid = -1, .gid = -1};
	struct access_verdict verdict;

	(void)state;
	access_check(access, &nobody, NULL, &verdict);
	assert_false(verdict.allowed);
	assert_string_equal(verdict.why, "denied: the peer has no address");
	access_free(access);
}

static void the_first_rule_that_matches_decides(void **state)
{
	static const char text[] =
	    "[{mask => '^10\\.0\\.', accept => 0}, {mask => '^10\\.', accept "
	    "=> 1}, {mask => '.*'}, {accept => 1}]";

	(void)state;
	assert_int_equal(decided(text, "10.0.0.1", NULL), -1);
	assert_int_equal(decided(text, "10.1.0.1", NULL), 2);
	assert_int_equal(decided(text, "11.0.0.1", NULL), -3);
}

static void masks_that_are_false_match_all(void **state)
{
	(void)state;
	assert_int_equal(decided("[{mask => undef, accept => 1}]", "10.0.0.1", NULL), 1);
	assert_int_equal(decided("[{mask => '', accept => 1}]", "2001:db8::1", NULL), 1);
	assert_int_equal(decided("[{mask => '0', accept => 1}]", "11.1.1.1", NULL), 1);
	assert_int_equal(decided("[{accept => 1}]", "unix", NULL), 1);
	/* In a list "0" is a pattern, as in the original. */
	assert_int_equal(decided("[{mask => ['0'], accept => 1}]", "11.1.1.1", NULL), 0);
	assert_int_equal(decided("[{mask => ['0'], accept => 1}]", "11.0.1.1", NULL), 1);
}

static void any_of_several_masks_is_enough(void **state)
{
	static const char text[] = "[{mask => ['^10\\.', '^192\\.168\\.'], accept => 1}]";

	(void)state;
	assert_int_equal(decided(text, "10.0.0.1", NULL), 1);
	assert_int_equal(decided(text, "192.168.0.1", NULL), 1);
	assert_int_equal(decided(text, "192.169.0.1", NULL), 0);
}

static void all_keys_of_a_rule_must_match(void **state)
{
	static const char text[] = "[{mask => '\\.7$', net => ['192.0.2.0/24', '2001:db8::/32'], "
				   "accept => 1}]";
	static const char local[] = "[{mask => '^localhost$', uid => [0, 1000], gid => 'root', "
				    "accept => 1}, {uid => 1000, gid => [99, 100], accept => 1}]";

	(void)state;
	assert_int_equal(decided(text, "192.0.2.7", NULL), 1);
	assert_int_equal(decided(text, "192.0.2.8", NULL), 0);
	assert_int_equal(decided(text, "192.0.3.7", NULL), 0);
	assert_int_equal(decided(text, "::ffff:192.0.2.7", NULL), 1);
	assert_int_equal(decided(local, "unix", NULL), 2);
	assert_int_equal(decided(local, "127.0.0.1", NULL), 0);
}

static void unix_counts_as_127_0_0_1_and_localhost(void **state)
{
	struct liar liar = {.rc = 1, .names = {"evil.example"}};
	struct access_verdict verdict;

	(void)state;
	assert_int_equal(decided("[{mask => '^127\\.0\\.0\\.1$', accept => 1}]", "unix", NULL), 1);
	verdict = ask("[{mask => '^localhost$', accept => 1}]", "unix", &liar);
	assert_true(verdict.allowed);
	assert_string_equal(verdict.name, "localhost");
	assert_int_equal(liar.calls, 0);
	assert_int_equal(decided("[{net => '127.0.0.0/8', accept => 1}]", "unix", NULL), 0);
}

static void unknown_ids_never_allow_and_meet_deny_rules(void **state)
{
	const struct access_peer peer = {.family = AF_UNIX, .uid = -1, .gid = -1};
	struct access *access = rules("[{uid => 0, accept => 1}, {gid => 7, mask => '.*'}]");
	struct access_verdict verdict;

	(void)state;
	access_check(access, &peer, NULL, &verdict);
	assert_false(verdict.allowed);
	assert_int_equal(verdict.rule, 2);
	assert_string_equal(verdict.why,
			    "denied by rule 2 (F:1:27) gid 7: the id of the peer is unknown");
	access_free(access);
}

static void further_keys_stay_with_the_verdict(void **state)
{
	struct access *access = rules("[{mask => '^10\\.'}, {mask => '.*', accept => 1, quota => "
				      "5}]");
	const struct access_peer peer = peer_of("2001:db8::7");
	struct access_verdict verdict;

	(void)state;
	assert_int_equal(access_count(access), 2);
	access_check(access, &peer, NULL, &verdict);
	assert_true(verdict.allowed);
	assert_string_equal(value_get(verdict.keys, "quota")->text, "5");
	assert_string_equal(verdict.why,
			    "allowed by rule 2 (F:1:21) mask .*: address 2001:db8::7 matches");
	access_free(access);
}

/* --------------------------------------------------------------------------- hostile patterns */

static void rule10_catastrophic_patterns_end_and_are_doubt(void **state)
{
	static const char address[] = "1111:2222:3333:4444:5555:6666:7777:8888";
	struct access_verdict verdict;
	int64_t start = clock_ms();

	(void)state;
	verdict = ask("[{mask => '^(([0-9:]+)*)*[^0-9:]$'}, {accept => 1}]", address, NULL);
	assert_int_equal(verdict.rule, 1);
	assert_false(verdict.allowed);
	assert_non_null(strstr(verdict.why, ": cannot tell: match limit exceeded"));
	assert_int_equal(
	    decided("[{mask => '^(([0-9:]+)*)*[^0-9:]$', accept => 1}]", address, NULL), 0);
	assert_true(clock_ms() - start < 10000);
	/* Another mask of the same rule may still be sure. */
	assert_int_equal(
	    decided("[{mask => ['^(([0-9:]+)*)*[^0-9:]$', '^1111:'], accept => 1}]", address, NULL),
	    1);
}

static void rule10_every_failing_allocation_is_a_denial(void **state)
{
	struct access *access = rules("[{mask => '^bad\\.example$'}, {mask => '^x$', uid => 1000}, "
				      "{accept => 1}]");
	const struct access_peer peers[] = {peer_of("192.0.2.7"), peer_of("unix")};
	struct liar liar = {.rc = 1, .names = {"host.example", "b.example"}};
	const struct access_resolver resolver = {.names = lie, .arg = &liar};
	struct access_verdict verdict;

	(void)state;
	for (size_t p = 0; p < ARRAY_LEN(peers); p++) {
		int denied = 0;

		for (;; denied++) {
			allocations_left = denied;
			access_check(access, &peers[p], &resolver, &verdict);
			if (allocations_left >= 0)
				break;
			/* The look-up or the match failed: the rule that denies is met. */
			assert_false(verdict.allowed);
			assert_int_equal(verdict.rule, 1);
			allocations_left = -1;
		}
		allocations_left = -1;
		assert_true(verdict.allowed);
		assert_true(denied >= 3);
	}
	access_free(access);
}

static void new_fails_whole_when_memory_runs_out(void **state)
{
	struct value *tree =
	    tree_of("[{mask => ['^a$', '^b$'], net => '10.0.0.0/8', uid => 'root', "
		    "gid => 'root', accept => 1}, {accept => 1}]");
	struct access *const untouched = (void *)&tree;
	struct access *access = untouched;
	struct err err;
	int failed = 0;

	(void)state;
	for (;; failed++) {
		allocations_left = failed;
		err = (struct err){0};
		if (access_new(&access, tree, "F", NULL, &err) == 0)
			break;
		assert_int_equal(err.code, -ENOMEM);
		assert_string_equal(err.text, "out of memory");
		assert_ptr_equal(access, untouched);
	}
	allocations_left = -1;
	assert_true(failed > 10);
	assert_int_equal(access_count(access), 2);
	access_free(access);
	value_free(tree);
}

/* --------------------------------------------------------------------------------- explaining */

static int explain(const char *text, const char *address, struct liar *liar, const char *lines)
{
	const struct access_resolver resolver = {.names = lie, .arg = liar};
	struct access *access = rules(text);
	struct err err = {0};
	struct buf out;
	int rc;

	buf_init(&out, 65536);
	rc = access_explain(access, address, liar ? &resolver : NULL, &out, &err);
	assert_string_equal(rc < 0 ? err.text : buf_text(&out), lines);
	buf_finish(&out);
	access_free(access);
	return rc;
}

static void explain_names_each_rule_and_the_verdict(void **state)
{
	struct liar liar = {.rc = 1, .names = {"host.example"}}, dead = {.rc = -ETIMEDOUT};

	(void)state;
	assert_int_equal(
	    explain("[{mask => '^10\\.', accept => 1},\n {mask => '.*'}]", "192.0.2.7", NULL,
		    "rule 1 (F:1:2) mask ^10\\.: no: address 192.0.2.7 does not match\n"
		    "rule 2 (F:2:2) mask .*: yes: address 192.0.2.7 matches\n"
		    "denied by rule 2\n"),
	    0);
	assert_int_equal(
	    explain("[{net => ['10.0.0.0/8', '11.0.0.0/8']}, {net => '2001:db8::/32', "
		    "accept => 1}]",
		    "2001:db8::7", NULL,
		    "rule 1 (F:1:2) net (2 values): no: address 2001:db8::7 is outside\n"
		    "rule 2 (F:1:41) net 2001:db8::/32: yes: address 2001:db8::7 is "
		    "inside\n"
		    "allowed by rule 2\n"),
	    1);
	assert_int_equal(explain("[{mask => '^a$'}, {mask => '^host', accept => 1}]", "192.0.2.7",
				 &liar,
				 "rule 1 (F:1:2) mask ^a$: no: neither the address nor the name "
				 "host.example matches\n"
				 "rule 2 (F:1:19) mask ^host: yes: name host.example matches\n"
				 "allowed by rule 2\n"),
			 1);
	assert_int_equal(explain("[{mask => '^a$', accept => 1}, {mask => '^b$'}]", "192.0.2.7",
				 &dead,
				 "rule 1 (F:1:2) mask ^a$: in doubt: the name is unknown: the "
				 "look-up took too long, which lets nobody in\n"
				 "rule 2 (F:1:32) mask ^b$: in doubt: the name is unknown: the "
				 "look-up took too long, which a denial takes as yes\n"
				 "denied by rule 2\n"),
			 0);
	assert_int_equal(explain("[{accept => 1}]", "192.0.2.7", NULL,
				 "rule 1 (F:1:2): yes: matches everybody\nallowed by rule 1\n"),
			 1);
	assert_int_equal(explain("[]", "192.0.2.7", NULL, "denied: no rule matched\n"), 0);
}

static void explain_takes_unix_peers_with_ids(void **state)
{
	static const char text[] = "[{uid => 5}, {gid => [6, 7], accept => 1}]";

	(void)state;
	assert_int_equal(explain(text, "unix:uid=1000,gid=7", NULL,
				 "rule 1 (F:1:2) uid 5: no: id 1000 does not match\n"
				 "rule 2 (F:1:14) gid 7: yes: id 7 matches\n"
				 "allowed by rule 2\n"),
			 1);
	assert_int_equal(explain(text, "unix:gid=7,uid=5", NULL,
				 "rule 1 (F:1:2) uid 5: yes: id 5 matches\ndenied by rule 1\n"),
			 0);
	assert_int_equal(explain(text, "unix", NULL,
				 "rule 1 (F:1:2) uid 5: in doubt: the id of the peer is unknown, "
				 "which a denial takes as yes\ndenied by rule 1\n"),
			 0);
	assert_int_equal(
	    explain(text, "192.0.2.7", NULL,
		    "rule 1 (F:1:2) uid 5: no: the peer did not come by a Unix "
		    "socket\n"
		    "rule 2 (F:1:14) gid (2 values): no: the peer did not come by a Unix "
		    "socket\n"
		    "denied: no rule matched\n"),
	    0);
}

static void explain_refuses_what_is_no_address(void **state)
{
	static const char *const wrong[] = {
	    "",
	    "192.0.2",
	    "192.0.2.0/24",
	    "192.0.2.7/32",
	    "host",
	    "unixx",
	    "unix:",
	    "unix:uid",
	    "unix:uid=",
	    "unix:uid=x",
	    "unix:uid=-1",
	    "unix:uid=-0",
	    "unix:uid=1,",
	    "unix:,uid=1",
	    "unix:uid=1,uid=2",
	    "unix:gid=1,gid=1",
	    "unix:pid=1",
	    "unix:uid=1;gid=2",
	    "unix:uid=4294967295",
	    "unix:uid=00",
	    "unix: uid=1",
	    "UNIX",
	    "unix:uid=99999999999999999999",
	    "unix:gid=1,x",
	};
	char words[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(words, sizeof words,
			 "%s: expected an address such as 192.0.2.7, 2001:db8::7, unix or "
			 "unix:uid=1000,gid=100",
			 wrong[i]);
		assert_int_equal(explain("[{accept => 1}]", wrong[i], NULL, words), -EINVAL);
	}
}

static void explain_fails_rather_than_tell_half(void **state)
{
	struct access *access = rules("[{mask => '^10\\.'}, {accept => 1}]");
	struct access *open = NULL;
	struct err err;
	struct buf out;
	int rc = -1;

	(void)state;
	for (size_t room = 0; rc < 0; room++) {
		assert_true(room < 1000);
		buf_init(&out, room);
		rc = access_explain(access, "11.0.0.1", NULL, &out, &err);
		if (rc < 0) {
			assert_int_equal(rc, -EMSGSIZE);
			assert_string_equal(err.text, "explain 11.0.0.1: Message too long");
		} else {
			assert_int_equal(rc, 1);
			assert_int_equal(out.len, room);
		}
		buf_finish(&out);
	}
	assert_int_equal(access_new(&open, NULL, "F", NULL, NULL), 0);
	buf_init(&out, 1000);
	assert_int_equal(access_explain(open, "11.0.0.1", NULL, &out, NULL), 1);
	assert_string_equal(buf_text(&out), "allowed: there are no rules\n");
	buf_finish(&out);
	access_free(open);
	access_free(access);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule10_no_rules_are_open),
	    cmocka_unit_test(rule10_rules_deny_by_default),
	    cmocka_unit_test(rule10_a_peer_without_address_is_denied),
	    cmocka_unit_test(the_first_rule_that_matches_decides),
	    cmocka_unit_test(masks_that_are_false_match_all),
	    cmocka_unit_test(any_of_several_masks_is_enough),
	    cmocka_unit_test(all_keys_of_a_rule_must_match),
	    cmocka_unit_test(unix_counts_as_127_0_0_1_and_localhost),
	    cmocka_unit_test(unknown_ids_never_allow_and_meet_deny_rules),
	    cmocka_unit_test(further_keys_stay_with_the_verdict),
	    cmocka_unit_test(rule10_catastrophic_patterns_end_and_are_doubt),
	    cmocka_unit_test(rule10_every_failing_allocation_is_a_denial),
	    cmocka_unit_test(new_fails_whole_when_memory_runs_out),
	    cmocka_unit_test(explain_names_each_rule_and_the_verdict),
	    cmocka_unit_test(explain_takes_unix_peers_with_ids),
	    cmocka_unit_test(explain_refuses_what_is_no_address),
	    cmocka_unit_test(explain_fails_rather_than_tell_half),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
