/*
 * test_access_lines.c - a rules file in the syntax of tcprules: what is taken and what is refused,
 * which line is the most specific, and random files against the naive oracle.
 */
#include "access_fixture.h"

#include "../../fuzz/lines_oracle.h"

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

/* -------------------------------------------------------------------------------------- tools */

static struct lines *lines_of(const char *text)
{
	struct lines *lines = NULL;
	struct err err;

	if (lines_parse(&lines, "F", text, strlen(text), &err) < 0)
		fail_msg("%s", err.text);
	return lines;
}

/* The line that address meets, minus one that denies, 0 for none. name: NULL, nobody must ask for
 * it; "": it is unknown. */
static int met(const char *text, const char *address, const char *name)
{
	struct lines *lines = lines_of(text);
	struct check check = {.peer = peer_of(address)};
	enum meets meets;
	const struct line *line;
	int answer;

	access_peer_text(&check.peer, check.address);
	line = lines_find(lines, &check, &meets);
	assert_int_equal(check.wanted, name != NULL);
	if (check.wanted) {
		assert_null(line);
		check.wanted = false;
		check.asked = true;
		check.name_unknown = !*name;
		if (*name)
			assert_int_equal(strlist_add(&check.names, name), 0);
		line = lines_find(lines, &check, &meets);
	}
	answer = !line ? 0 : line->allow ? line->number : -line->number;
	strlist_finish(&check.names);
	access_release(lines);
	return answer;
}

static void refused(const char *text, const char *words)
{
	struct lines *lines = NULL;
	struct err err = {0};

	assert_int_equal(lines_parse(&lines, "F", text, strlen(text), &err), -EINVAL);
	assert_null(lines);
	assert_string_equal(err.text, words);
}

/* --------------------------------------------------------------------------------- what is taken
 */

static void addresses_in_every_form(void **state)
{
	(void)state;
	assert_int_equal(met("192.0.2.7:allow\n", "192.0.2.7", NULL), 1);
	assert_int_equal(met("192.0.2.7:allow\n", "192.0.2.8", NULL), 0);
	assert_int_equal(met("192.0.2.:deny\n", "192.0.2.8", NULL), -1);
	assert_int_equal(met("192.0.:deny\n", "192.0.255.8", NULL), -1);
	assert_int_equal(met("192.:deny\n", "192.1.1.1", NULL), -1);
	assert_int_equal(met("19.:deny\n", "192.1.1.1", NULL), 0);
	assert_int_equal(met("192.0.2.0/25:allow\n", "192.0.2.127", NULL), 1);
	assert_int_equal(met("192.0.2.0/25:allow\n", "192.0.2.128", NULL), 0);
	assert_int_equal(met("0.0.0.0/0:allow\n", "192.0.2.128", NULL), 1);
	assert_int_equal(met("0.0.0.0/0:allow\n", "::1", NULL), 0);
	assert_int_equal(met("2001:db8::7:allow\n", "2001:db8::7", NULL), 1);
	assert_int_equal(met("[2001:db8::7]:allow\n", "2001:db8::7", NULL), 1);
	assert_int_equal(met("[2001:db8::]/32:deny\n", "2001:db8:1::7", NULL), -1);
	assert_int_equal(met("2001:db8::/32:deny\n", "2001:db9::7", NULL), 0);
	assert_int_equal(met("[::ffff:192.0.2.7]:allow\n", "192.0.2.7", NULL), 1);
	assert_int_equal(met(":deny\n", "192.0.2.7", NULL), -1);
	assert_int_equal(met(":allow\n", "::1", NULL), 1);
	assert_int_equal(met(":allow\n", "unix", NULL), 1);
	assert_int_equal(met("", "192.0.2.7", NULL), 0);
}

static void ranges_are_many_lines(void **state)
{
	(void)state;
	assert_int_equal(met("192.0.2.7-9:allow\n", "192.0.2.6", NULL), 0);
	assert_int_equal(met("192.0.2.7-9:allow\n", "192.0.2.7", NULL), 1);
	assert_int_equal(met("192.0.2.7-9:allow\n", "192.0.2.9", NULL), 1);
	assert_int_equal(met("192.0.2.7-9:allow\n", "192.0.2.10", NULL), 0);
	assert_int_equal(met("10.2-3.:deny\n", "10.3.255.1", NULL), -1);
	assert_int_equal(met("10.2-3.:deny\n", "10.4.0.1", NULL), 0);
	assert_int_equal(met("10.2-3.4.:deny\n", "10.2.4.1", NULL), -1);
	assert_int_equal(met("0-255.:deny\n", "255.0.0.1", NULL), -1);
	assert_int_equal(met("7-7.:deny\n", "7.0.0.1", NULL), -1);
}

static void blanks_comments_and_empty_lines(void **state)
{
	(void)state;
	assert_int_equal(met("# one\n\n \t\n#:deny\n:allow \t\n", "192.0.2.7", NULL), 5);
}

static void check_variable(const struct value *env, const char *name, const char *text)
{
	const struct value *value = value_get(env, name);

	assert_non_null(value);
	assert_string_equal(value->text, text);
}

static void variables_with_any_quote(void **state)
{
	struct lines *lines =
	    lines_of(":allow,A=\"x y\",B=/\"/,C=\"\",_d1=x:deny,x,A=\"again\",E=,,\n");
	const struct value *env = lines->items[0].env;

	(void)state;
	assert_int_equal(env->count, 5);
	check_variable(env, "A", "again"); /* the last one, as putenv would have it */
	check_variable(env, "B", "\"");
	check_variable(env, "C", "");
	check_variable(env, "_d1", ":deny,");
	check_variable(env, "E", "");
	access_release(lines);
}

/* ------------------------------------------------------------------------------ what is refused */

static void rule10_what_is_not_understood_is_refused(void **state)
{
	(void)state;
	refused(":allow\n192.0.2.7\n",
		"F:2: found '192.0.2.7', expected ADDRESS:allow or ADDRESS:deny");
	refused("x:alow\n", "F:1: found 'x:alow', expected ADDRESS:allow or ADDRESS:deny");
	refused(":allowed\n", "F:1: found 'ed', expected ,NAME=\"VALUE\" or the end of the line");
	refused(":deny\r\n", "F:1: found '\\x0D', expected ,NAME=\"VALUE\" or the end of the line");
	refused(":deny,\n", "F:1: found ',', expected ,NAME=\"VALUE\" or the end of the line");
	refused(":deny,A\n", "F:1: found ',A', expected ,NAME=\"VALUE\" or the end of the line");
	refused(":deny,A=\n", "F:1: found no end of the value of A, expected \"VALUE\"");
	refused(":deny,A=\"x\n", "F:1: found no end of the value of A, expected \"VALUE\"");
	refused(":deny,1A=\"x\"\n", "F:1: found the variable '1A', expected letters, digits and _, "
				    "not beginning with a digit");
	refused(":deny,=\"x\"\n", "F:1: found the variable '', expected letters, digits and _, "
				  "not beginning with a digit");
	refused(":deny,A-B=\"x\"\n",
		"F:1: found the variable 'A-B', expected letters, digits and _, "
		"not beginning with a digit");
	refused("=a b:deny\n", "F:1: found '=a b', expected = and a host name, or =.DOMAIN");
	refused("=.:deny\n", "F:1: found '=.', expected = and a host name, or =.DOMAIN");
	refused("=10.0.0.1:deny\n",
		"F:1: found '=10.0.0.1', expected = and a host name, or =.DOMAIN");
}

static void rule10_half_a_file_is_refused(void **state)
{
	struct lines *lines = NULL;
	struct err err;

	(void)state;
	refused(":allow", "F:1: found the end of the file, expected a newline: is it only half "
			  "written?");
	refused("1.2.3.4:deny\n:allow",
		"F:2: found the end of the file, expected a newline: is it only half written?");
	assert_int_equal(lines_parse(&lines, "F", ":allow\n:de\0ny\n", 14, &err), -EINVAL);
	assert_string_equal(err.text, "F:2: found a NUL byte, expected text");
}

static void ident_is_refused_with_a_reason(void **state)
{
	(void)state;
	refused("joe@192.0.2.7:allow\n",
		"F:1: found 'joe@192.0.2.7': ident is not asked here, so nobody would ever meet "
		"this line; leave out what stands before the @, or the line");
	refused("joe@=host:deny\n",
		"F:1: found 'joe@=host': ident is not asked here, so nobody would ever meet "
		"this line; leave out what stands before the @, or the line");
}

static void rule11_addresses_are_strict(void **state)
{
	static const char *const bad[] = {
	    "10.1:deny\n",        "010.:deny\n",
	    "256.:deny\n",        "1.2.3.4.:deny\n",
	    ".:deny\n",           "..:deny\n",
	    "1..:deny\n",         "1.2.3.04:deny\n",
	    "1.2.3.4/33:deny\n",  "1.2.3.4/8:deny\n",
	    "1.2.3.0/024:deny\n", "1.2.3.9-4:deny\n",
	    "1.2.3.1-256:deny\n", "1.2.3.01-4:deny\n",
	    "1.2.3.-4:deny\n",    "1.2.3.4-:deny\n",
	    "1.2-3.4-5:deny\n",   "1.2.3.4-5x:deny\n",
	    "[1.2.3.4]:deny\n",   "[::1:deny\n",
	    "[::1]x:deny\n",      "[]/0:deny\n",
	    "::g:deny\n",         "2001:db8:.:deny\n",
	    "host:deny\n",        " 1.2.3.4:deny\n",
	    "*:deny\n",           "[2001:db8::1]/32:deny\n",
	    "::1%lo:deny\n",      "0x7f.0.0.1:deny\n",
	};
	struct lines *lines = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = {0};

		if (lines_parse(&lines, "F", bad[i], strlen(bad[i]), &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_true(strncmp(err.text, "F:1: ", 5) == 0);
		assert_true(strstr(err.text, "expected") || strstr(err.text, "did you mean"));
	}
}

static void too_many_addresses_are_refused(void **state)
{
	static const char line[] = "0-255.0.0.0/8:deny\n";
	const size_t length = sizeof line - 1, count = LINES_MAX / 256 + 2;
	char *text = malloc(count * length);
	struct lines *lines = NULL;
	struct err err;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < count; i++)
		memcpy(text + i * length, line, length);
	assert_int_equal(lines_parse(&lines, "F", text, count * length, &err), -EINVAL);
	assert_non_null(strstr(err.text, "found more than 1000000 addresses in all"));
	free(text);
}

/* -------------------------------------------------------------------------- the most specific one
 */

/* Each line gives way to all before it. */
static const char order[] = "192.0.2.7:allow\n"
			    "=host.example.org:allow\n"
			    "192.0.2.0/29:allow\n"
			    "192.0.2.:allow\n"
			    "192.0.:allow\n"
			    "192.:allow\n"
			    "0.0.0.0/0:allow\n"
			    "=.example.org:allow\n"
			    "=.org:allow\n"
			    "=:allow\n"
			    ":allow\n";

static void the_order_of_tcprulescheck(void **state)
{
	(void)state;
	assert_int_equal(met(order, "192.0.2.7", NULL), 1);
	assert_int_equal(met(order, "192.0.2.6", "host.example.org"), 2);
	assert_int_equal(met(order, "192.0.2.6", "other.example.org"), 3);
	assert_int_equal(met(order, "192.0.2.8", ""), 4);
	assert_int_equal(met(order, "192.0.3.8", ""), 5);
	assert_int_equal(met(order, "192.1.3.8", ""), 6);
	assert_int_equal(met(order, "10.1.3.8", ""), 7);
	assert_int_equal(met(order, "::1", "a.example.org"), 8);
	assert_int_equal(met(order, "::1", "example.org"), 9);
	assert_int_equal(met(order, "::1", "org"), 10);
	assert_int_equal(met(order, "::1", ""), 11);
	assert_int_equal(met(order, "unix", NULL), 11);
}

static void of_two_alike_the_first_counts_and_is_told_of(void **state)
{
	struct lines *lines = lines_of("192.0.2.7:deny\n192.0.2.7/32:allow\n192.0.2.6-8:allow\n"
				       "=HOST.org:deny\n=host.org.:allow\n");

	(void)state;
	assert_int_equal(lines->count, 4);
	assert_int_equal(lines->remarks.count, 3);
	assert_string_equal(
	    lines->remarks.items[0],
	    "F:2: '192.0.2.7/32' counts in line 1 already, so this one is never met");
	access_release(lines);
	assert_int_equal(met("192.0.2.7:deny\n192.0.2.7:allow\n", "192.0.2.7", NULL), -1);
	lines = lines_of(":deny\n");
	assert_string_equal(lines->remarks.items[0], "F: no line allows anybody");
	access_release(lines);
}

static void rule12_a_missing_name_meets_denials_only(void **state)
{
	(void)state;
	assert_int_equal(met("=evil.org:deny\n10.:allow\n", "10.0.0.1", ""), -1);
	assert_int_equal(met("=good.org:allow\n10.:allow\n", "10.0.0.1", ""), 2);
	assert_int_equal(met("=.evil.org:deny\n10.:allow\n", "10.0.0.1", NULL), 2);
	assert_int_equal(met("=.evil.org:deny\n:allow\n", "10.0.0.1", ""), -1);
	assert_int_equal(met("=.good.org:allow\n:deny\n", "10.0.0.1", ""), -2);
	assert_int_equal(met("=:allow\n", "10.0.0.1", ""), 0);
	assert_int_equal(met("=:deny\n:allow\n", "10.0.0.1", ""), -1);
	assert_int_equal(met("=.a.org:allow\n=.b.org:deny\n", "10.0.0.1", ""), -2);
	/* a line that never counts denies nobody */
	assert_int_equal(met("=a.org:allow\n=a.org:deny\n:allow\n", "10.0.0.1", ""), 3);
}

static void rule12_names_are_asked_for_only_when_needed(void **state)
{
	(void)state;
	assert_int_equal(met("10.0.0.1:allow\n=evil.org:deny\n", "10.0.0.1", NULL), 1);
	assert_int_equal(met("10.:allow\n=.evil.org:deny\n", "10.0.0.1", NULL), 1);
	assert_int_equal(met("10.:allow\n:deny\n", "11.0.0.1", NULL), -2);
	assert_int_equal(met("10.:allow\n=:deny\n", "11.0.0.1", "x.org"), -2);
	assert_int_equal(met("=:deny\n", "unix", NULL), 0);
}

static void of_several_names_the_longest_and_the_strictest(void **state)
{
	struct lines *lines = lines_of("=.org:allow\n=.b.org:deny\n=a.org:allow\n=c.org:deny\n");
	struct check check = {.peer = peer_of("10.0.0.1"), .asked = true};
	enum meets meets;

	(void)state;
	assert_int_equal(strlist_add(&check.names, "x.org"), 0);
	assert_int_equal(strlist_add(&check.names, "x.b.org"), 0);
	assert_int_equal(lines_find(lines, &check, &meets)->number, 2);
	assert_string_equal(check.name, "x.b.org");
	assert_int_equal(strlist_add(&check.names, "a.org"), 0);
	assert_int_equal(lines_find(lines, &check, &meets)->number, 3);
	assert_int_equal(strlist_add(&check.names, "c.org"), 0);
	assert_int_equal(lines_find(lines, &check, &meets)->number, 4);
	check.name_unknown = true; /* some were thrown out */
	assert_int_equal(lines_find(lines, &check, &meets)->number, 4);
	strlist_finish(&check.names);
	access_release(lines);
}

/* ------------------------------------------------------------------------------ random files */

static uint32_t seed = 20261122;

static unsigned below(unsigned limit)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 16) % limit;
}

/* Few different numbers, so that addresses do meet. */
static int random_address(char *out, size_t room)
{
	static const char *const v6[] = {"::1", "2001:db8::7", "2001:db8:1::7", "fe80::1"};
	static const char *const nets[] = {"[2001:db8::]/32", "2001:db8::/47", "[::]/0",
					   "fe80::/10"};
	static const char *const names[] = {"a.org", "b.a.org", ".a.org", ".org", "", ".b.a.org"};
	unsigned a = below(3), b = below(3), c = below(3), d = below(6);

	switch (below(10)) {
	case 0:
		return snprintf(out, room, "10.%u.%u.%u", a, b, d);
	case 1:
		return snprintf(out, room, "10.%u.%u.", a, b);
	case 2:
		return snprintf(out, room, "10.%u.", a);
	case 3:
		return snprintf(out, room, "10.%u.%u.%u-%u", a, b, c, c + below(3));
	case 4:
		return snprintf(out, room, "10.%u-%u.", a, a + below(3));
	case 5:
		return snprintf(out, room, "10.%u.0.0/%u", below(2) * 2, 15 + below(4));
	case 6:
		return snprintf(out, room, "%s", v6[below(ARRAY_LEN(v6))]);
	case 7:
		return snprintf(out, room, "%s", nets[below(ARRAY_LEN(nets))]);
	case 8:
		return snprintf(out, room, "=%s", names[below(ARRAY_LEN(names))]);
	default:
		return snprintf(out, room, "%s", below(4) ? "10." : "");
	}
}

static void random_file(char *out, size_t room)
{
	size_t used = 0;

	for (unsigned n = below(12); n > 0; n--) {
		used += (size_t)random_address(out + used, room - used);
		used += (size_t)snprintf(out + used, room - used, "%s",
					 below(2) ? ":allow\n" : ":deny,A=\"x\"\n");
	}
	out[used] = '\0';
}

static void random_peer(struct oracle_peer *who)
{
	static const char *const v6[] = {"::1", "2001:db8::7", "2001:db8:1::8", "fe80::1"};
	static const char *const names[] = {"a.org", "b.a.org", "c.b.a.org", "x.net"};
	char text[64];

	snprintf(text, sizeof text, "10.%u.%u.%u", below(3), below(3), below(6));
	*who = (struct oracle_peer){.peer = peer_of(below(8) == 0   ? "unix"
						    : below(3) == 0 ? v6[below(ARRAY_LEN(v6))]
								    : text)};
	access_peer_text(&who->peer, who->text);
	if (below(3) > 0)
		who->names[0] = names[below(ARRAY_LEN(names))];
	who->unknown = !who->names[0] || below(4) == 0;
}

static void rule10_random_files_against_the_oracle(void **state)
{
	unsigned found = 0, doubts = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct oracle_answer answer;
		struct oracle_peer who;
		struct check check = {.asked = true};
		struct lines *lines;
		const struct line *line;
		enum meets meets;
		char text[1024];

		random_file(text, sizeof text);
		random_peer(&who);
		lines = lines_of(text);
		check.peer = who.peer;
		check.name_unknown = who.unknown;
		memcpy(check.address, who.text, sizeof check.address);
		if (who.names[0])
			assert_int_equal(strlist_add(&check.names, who.names[0]), 0);
		answer = oracle_decide(text, &who);
		line = lines_find(lines, &check, &meets);
		if ((line ? line->number : 0) != answer.line ||
		    (line &&
		     (line->allow != answer.allow || (meets == MEETS_DOUBT) != answer.doubt)))
			fail_msg("%s (%s%s): line %d, not %d, of\n%s", who.text,
				 who.names[0] ? who.names[0] : "", who.unknown ? " ?" : "",
				 line ? line->number : 0, answer.line, text);
		found += line != NULL;
		doubts += answer.doubt;
		strlist_finish(&check.names);
		access_release(lines);
	}
	assert_in_range(found, 8000, 19000); /* else the files say nothing */
	assert_in_range(doubts, 500, 19000);
}

/* ------------------------------------------------------------------------------------- the rest */

static void a_large_file_is_searched_by_halves(void **state)
{
	struct buf text;
	struct lines *lines = NULL;
	int64_t started;

	(void)state;
	buf_init(&text, 8u << 20);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buf_addf(&text, "10.%d.%d.%d:%s\n", i >> 16, i >> 8 & 255, i & 255,
					  i % 2 ? "allow" : "deny"),
				 0);
	assert_int_equal(lines_parse(&lines, "F", buf_text(&text), text.len, NULL), 0);
	started = clock_ms();
	for (int i = 0; i < 100000; i++) { /* ten minutes, line by line */
		struct check check = {.peer = {.family = AF_INET}};
		enum meets meets;

		check.peer.addr[0] = 10;
		check.peer.addr[1] = (uint8_t)(i >> 16);
		check.peer.addr[2] = (uint8_t)(i >> 8);
		check.peer.addr[3] = (uint8_t)i;
		assert_int_equal(lines_find(lines, &check, &meets)->number, i + 1);
	}
	assert_true(clock_ms() - started < 20000);
	access_release(lines);
	buf_finish(&text);
}

static void rule10_no_memory_is_an_error_at_every_place(void **state)
{
	static const char text[] =
	    "10.1-3.:allow,A=\"x\",B=\"y\"\n=a.org:deny\n=a.org:allow\n:deny\n";
	int rc = -ENOMEM, place;

	(void)state;
	for (place = 0; rc < 0; place++) {
		struct lines *lines = NULL;
		struct err err = {0};

		allocations_left = place;
		rc = lines_parse(&lines, "F", text, strlen(text), &err);
		allocations_left = -1;
		if (rc < 0) {
			assert_int_equal(rc, -ENOMEM);
			assert_non_null(strstr(err.text, "out of memory"));
		}
		access_release(lines);
		assert_in_range(place, 0, 100);
	}
	assert_in_range(place, 8, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_in_every_form),
	    cmocka_unit_test(ranges_are_many_lines),
	    cmocka_unit_test(blanks_comments_and_empty_lines),
	    cmocka_unit_test(variables_with_any_quote),
	    cmocka_unit_test(rule10_what_is_not_understood_is_refused),
	    cmocka_unit_test(rule10_half_a_file_is_refused),
	    cmocka_unit_test(ident_is_refused_with_a_reason),
	    cmocka_unit_test(rule11_addresses_are_strict),
	    cmocka_unit_test(too_many_addresses_are_refused),
	    cmocka_unit_test(the_order_of_tcprulescheck),
	    cmocka_unit_test(of_two_alike_the_first_counts_and_is_told_of),
	    cmocka_unit_test(rule12_a_missing_name_meets_denials_only),
	    cmocka_unit_test(rule12_names_are_asked_for_only_when_needed),
	    cmocka_unit_test(of_several_names_the_longest_and_the_strictest),
	    cmocka_unit_test(rule10_random_files_against_the_oracle),
	    cmocka_unit_test(a_large_file_is_searched_by_halves),
	    cmocka_unit_test(rule10_no_memory_is_an_error_at_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
