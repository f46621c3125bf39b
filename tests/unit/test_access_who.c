/*
 * test_access_who.c - --allow and --deny: what may stand there, the order of the fronts, what
 * each is called; and the variables of rules.
 */
#include "access_fixture.h"

/* ----------------------------------------------------------------------------------------- tools
 */

/* Rules of the three fronts that have no file. deny and allow: arguments parted by blanks; NULL:
 * none. clients: Perl text; NULL: none. */
static int open_fronts(struct access **access, const char *deny, const char *allow,
		       const char *clients, struct err *err)
{
	struct strlist lists[2] = {{0}};
	const char *const texts[2] = {deny, allow};
	struct access_fronts fronts = {
	    .origin = "F",
	    .deny = &lists[0],
	    .allow = &lists[1],
	    .deny_label = "--deny",
	    .allow_label = "--allow",
	};
	struct value *tree = clients ? tree_of(clients) : NULL;
	int rc;

	for (int i = 0; i < 2; i++)
		for (const char *p = texts[i]; p && *p;) {
			size_t length = strcspn(p, " ");

			assert_int_equal(strlist_addf(&lists[i], "%.*s", (int)length, p), 0);
			p += length + (p[length] == ' ');
		}
	fronts.clients = tree;
	rc = access_open(access, &fronts, NULL, err);
	strlist_finish(&lists[0]);
	strlist_finish(&lists[1]);
	value_free(tree);
	return rc;
}

/* The number of the rule that lets in; minus the one that denies; 0: none. */
static int asked(const char *deny, const char *allow, const char *clients, const char *address,
		 struct liar *liar)
{
	const struct access_resolver resolver = {.names = lie, .arg = liar};
	const struct access_peer peer = peer_of(address);
	struct access *access = NULL;
	struct access_verdict verdict;
	struct err err;

	if (open_fronts(&access, deny, allow, clients, &err) < 0)
		fail_msg("%s", err.text);
	access_check(access, &peer, liar ? &resolver : NULL, &verdict);
	access_free(access);
	return verdict.allowed ? verdict.rule : -verdict.rule;
}

static void refused(const char *deny, const char *allow, const char *words)
{
	struct access *access = NULL;
	struct err err = {0};

	assert_int_equal(open_fronts(&access, deny, allow, NULL, &err), -EINVAL);
	assert_null(access);
	assert_string_equal(err.text, words);
}

/* ------------------------------------------------------------------------------------------ who */

static void rule11_addresses_and_networks(void **state)
{
	(void)state;
	assert_int_equal(asked(NULL, "192.0.2.7", NULL, "192.0.2.7", NULL), 1);
	assert_int_equal(asked(NULL, "192.0.2.7", NULL, "192.0.2.8", NULL), 0);
	assert_int_equal(asked(NULL, "192.0.2.0/24", NULL, "192.0.2.255", NULL), 1);
	assert_int_equal(asked(NULL, "2001:db8::/32", NULL, "2001:db8::9", NULL), 1);
	assert_int_equal(asked(NULL, "::ffff:192.0.2.7", NULL, "192.0.2.7", NULL), 1);
	assert_int_equal(asked(NULL, "192.0.2.0/24", NULL, "unix", NULL), 0);
	refused(NULL, "192.0.2.7/24",
		"--allow: net: 192.0.2.7/24: host bits are set, did you mean 192.0.2.0/24?");
	refused("10.1", "all",
		"--deny: net: 10.1: expected an address or a network in full, such as 192.0.2.7, "
		"192.0.2.0/24 or 2001:db8::/32");
}

static void all_unix_and_ids(void **state)
{
	(void)state;
	assert_int_equal(asked(NULL, "all", NULL, "192.0.2.7", NULL), 1);
	assert_int_equal(asked(NULL, "all", NULL, "unix", NULL), 1);
	assert_int_equal(asked(NULL, "unix", NULL, "unix", NULL), 1);
	assert_int_equal(asked(NULL, "unix", NULL, "127.0.0.1", NULL), 0);
	/* In any case, or "--deny UNIX" would be about a host of that name. */
	assert_int_equal(asked("UNIX", "All", NULL, "unix", NULL), -1);
	assert_int_equal(asked("Unix", "ALL", NULL, "192.0.2.7", NULL), 2);
	assert_int_equal(asked(NULL, "uid=1000", NULL, "unix", NULL), 1); /* of the fixture */
	assert_int_equal(asked(NULL, "uid=1001 gid=100", NULL, "unix", NULL), 2);
	assert_int_equal(asked("uid=root", "unix", NULL, "unix", NULL), 2);
	refused(NULL, "uid=no-such-user", "--allow: uid: there is no user no-such-user");
	refused(
	    NULL, "gid=0x1",
	    "--allow: gid: found '0x1', expected a number from 0 to 4294967294 or the name of a "
	    "group");
}

static void rule12_names_must_be_confirmed(void **state)
{
	struct liar good = {.rc = 1, .names = {"Good.Example.ORG"}}, none = {.rc = 0};
	struct liar slow = {.rc = -ETIMEDOUT};

	(void)state;
	assert_int_equal(asked(NULL, "good.example.org", NULL, "192.0.2.7", &good), 1);
	assert_int_equal(asked(NULL, "GOOD.example.org.", NULL, "192.0.2.7", &good), 1);
	assert_int_equal(asked(NULL, "example.org", NULL, "192.0.2.7", &good), 0);
	assert_int_equal(asked(NULL, "od.example.org", NULL, "192.0.2.7", &good), 0);
	assert_int_equal(asked(NULL, ".example.org", NULL, "192.0.2.7", &good), 1);
	assert_int_equal(asked(NULL, "*.example.org", NULL, "192.0.2.7", &good), 1);
	assert_int_equal(asked(NULL, ".good.example.org", NULL, "192.0.2.7", &good), 0);
	assert_int_equal(asked(NULL, "good.example.org", NULL, "192.0.2.7", &none), 0);
	assert_int_equal(asked(NULL, "good.example.org", NULL, "192.0.2.7", &slow), 0);
	assert_int_equal(asked("evil.org", "all", NULL, "192.0.2.7", &good), 2);
	assert_int_equal(asked("evil.org", "all", NULL, "192.0.2.7", &none), -1);
	assert_int_equal(asked(".evil.org", "all", NULL, "192.0.2.7", &slow), -1);
	assert_int_equal(asked("localhost", "all", NULL, "unix", NULL), 2); /* has no name */
	good.calls = 0;
	assert_int_equal(asked("192.0.2.7", "good.example.org", NULL, "192.0.2.7", &good), -1);
	assert_int_equal(good.calls, 0);
}

static void masks(void **state)
{
	struct liar good = {.rc = 1, .names = {"good.example.org"}};

	(void)state;
	assert_int_equal(asked(NULL, "mask=^192\\.0\\.2\\.", NULL, "192.0.2.7", NULL), 1);
	assert_int_equal(asked(NULL, "mask=^good\\.", NULL, "192.0.2.7", &good), 1);
	assert_int_equal(asked(NULL, "mask=a=b", NULL, "192.0.2.7", &good), 0);
	refused(NULL, "mask=(", "--allow: mask (: at offset 1: missing closing parenthesis");
}

static void what_is_nobody_is_refused(void **state)
{
	static const char *const bad[] = {"uid=",  "mask=", "foo=bar",   "*",
					  "*.",    "a..b",  "0x7f.1",    "-x",
					  "a_b!c", "UNIX:", "a\x01\x02", "name=x"};
	struct access *access = NULL;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(open_fronts(&access, NULL, bad[i], NULL, &err), -EINVAL);
		assert_true(strncmp(err.text, "--allow: ", 9) == 0);
		assert_non_null(strstr(err.text, "expected an address"));
	}
	refused("a\tb", "all",
		"--deny: found 'a\\x09b', expected an address, a network such as 192.0.2.0/24, a "
		"host name, .DOMAIN for all names below it, unix, uid=USER, gid=GROUP, mask=REGEX "
		"or all");
}

static void deny_alone_is_refused(void **state)
{
	(void)state;
	refused("192.0.2.7", NULL,
		"--deny: found no rule that lets anybody in: add --allow all to serve everybody "
		"else");
	assert_int_equal(asked("192.0.2.7", NULL, "[{accept => 1}]", "192.0.2.8", NULL), 2);
	assert_int_equal(asked("192.0.2.7", NULL, "[]", "192.0.2.8", NULL), 0); /* as it says */
}

/* ------------------------------------------------------------------------------------ the order */

static void rule10_deny_then_allow_then_clients(void **state)
{
	static const char clients[] =
	    "[{ net => '192.0.2.8' }, { net => '192.0.2.0/24', accept => 1 }]";

	(void)state;
	assert_int_equal(asked("192.0.2.7", "192.0.2.7", clients, "192.0.2.7", NULL), -1);
	assert_int_equal(asked("192.0.2.7", "192.0.2.8", clients, "192.0.2.8", NULL), 2);
	assert_int_equal(asked("192.0.2.7", "192.0.2.9", clients, "192.0.2.8", NULL), -3);
	assert_int_equal(asked("192.0.2.7", "192.0.2.9", clients, "192.0.2.6", NULL), 4);
	assert_int_equal(asked("192.0.2.7", "192.0.2.9", clients, "192.0.3.6", NULL), 0);
	assert_int_equal(asked(NULL, "192.0.2.9", "[]", "192.0.2.9", NULL), 1);
}

static void told(const char *address, const char *lines)
{
	struct access *access = NULL;
	struct err err;
	struct buf out;

	if (open_fronts(
		&access, "10.0.0.0/8 unix", "192.0.2.7",
		"[{ net => '192.0.2.0/24', accept => 1, env => { A => \"x\\ny\", B => '' } }]",
		&err) < 0)
		fail_msg("%s", err.text);
	buf_init(&out, 65536);
	access_explain(access, address, NULL, &out, NULL);
	assert_string_equal(buf_text(&out), lines);
	buf_finish(&out);
	access_free(access);
}

static void explain_names_front_and_rule(void **state)
{
	(void)state;
	told("10.1.1.1", "--deny #1 net 10.0.0.0/8: yes: address 10.1.1.1 is inside\n"
			 "denied by --deny #1\n");
	told("unix", "--deny #1 net 10.0.0.0/8: no: address 127.0.0.1 is outside\n"
		     "--deny #2: yes: the peer came by a Unix socket\n"
		     "denied by --deny #2\n");
	told("192.0.2.8", "--deny #1 net 10.0.0.0/8: no: address 192.0.2.8 is outside\n"
			  "--deny #2: no: the peer did not come by a Unix socket\n"
			  "--allow #1 net 192.0.2.7: no: address 192.0.2.8 is outside\n"
			  "rule 1 (F:1:2) net 192.0.2.0/24: yes: address 192.0.2.8 is inside\n"
			  "allowed by rule 1\n"
			  "with A=x\\ny\n"
			  "with B=\n");
}

static void described(const char *deny, const char *allow, const char *clients, const char *words)
{
	struct access *access = NULL;
	struct buf out;

	assert_int_equal(open_fronts(&access, deny, allow, clients, NULL), 0);
	buf_init(&out, 65536);
	assert_int_equal(access_describe(access, &out), 0);
	assert_string_equal(buf_text(&out), words);
	buf_finish(&out);
	access_free(access);
}

static void check_counts_every_front(void **state)
{
	(void)state;
	described(NULL, NULL, "[]", "0 rules allow");
	described(NULL, NULL, "[{}]", "1 rule allows");
	described(NULL, "all", NULL, "1 --allow allows");
	described("10.0.0.1 10.0.0.2", "all", "[{}, {}]", "2 --deny, 1 --allow, 2 rules allow");
}

/* ------------------------------------------------------------------------------------ variables */

static void env_is_checked(void **state)
{
	static const struct {
		const char *clients, *words;
	} bad[] = {
	    {"[{ env => 'A' }]", "F:1:11: clients rule 1: env: found text, expected a map of "
				 "variables such as {RELAYCLIENT => ''}"},
	    {"[{ env => { '1A' => 1 } }]",
	     "F:1:21: clients rule 1: env: found the variable '1A', expected letters, digits and "
	     "_, not beginning with a digit"},
	    {"[{ env => { 'A=B' => 1 } }]",
	     "F:1:22: clients rule 1: env: found the variable 'A=B', expected letters, digits and "
	     "_, not beginning with a digit"},
	    {"[{ env => { A => [] } }]",
	     "F:1:18: clients rule 1: env: A: found a list, expected text"},
	    {"[{ env => { A => undef } }]",
	     "F:1:18: clients rule 1: env: A: found undef, expected text"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct value *tree = tree_of(bad[i].clients);
		struct access *access = NULL;
		struct err err;

		assert_int_equal(access_new(&access, tree, "F", NULL, &err), -EINVAL);
		assert_string_equal(err.text, bad[i].words);
		value_free(tree);
	}
}

static void the_deciding_rule_has_its_variables(void **state)
{
	struct access *access = rules("[{ net => '10.0.0.1', accept => 1 }, "
				      "{ accept => 1, env => { A => 1, _b => 'two words' } }]");
	struct access_peer peer = peer_of("10.0.0.2");
	struct access_verdict verdict;

	(void)state;
	access_check(access, &peer, NULL, &verdict);
	assert_int_equal(verdict.env->count, 2);
	assert_string_equal(value_get(verdict.env, "_b")->text, "two words");
	peer = peer_of("10.0.0.1");
	access_check(access, &peer, NULL, &verdict);
	assert_null(verdict.env);
	access_free(access);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule11_addresses_and_networks),
	    cmocka_unit_test(all_unix_and_ids),
	    cmocka_unit_test(rule12_names_must_be_confirmed),
	    cmocka_unit_test(masks),
	    cmocka_unit_test(what_is_nobody_is_refused),
	    cmocka_unit_test(deny_alone_is_refused),
	    cmocka_unit_test(rule10_deny_then_allow_then_clients),
	    cmocka_unit_test(explain_names_front_and_rule),
	    cmocka_unit_test(check_counts_every_front),
	    cmocka_unit_test(env_is_checked),
	    cmocka_unit_test(the_deciding_rule_has_its_variables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
