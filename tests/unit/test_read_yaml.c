/* test_read_yaml.c - YAML: what is read, what is refused and how; aliases that ask for too much. */
#include "conf/value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tree.h"

#ifdef HAVE_YAML

struct sample {
	const char *text, *meaning;
};

static void means(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct value *tree = NULL;
		struct err err = {0};
		char *found;

		if (value_read_yaml(&tree, samples[i].text, strlen(samples[i].text), NULL, &err))
			fail_msg("%s: %s", samples[i].text, err.text);
		found = tree_text(tree);
		assert_string_equal(found, samples[i].meaning);
		free(found);
	}
}

/* Must be refused with these words, nothing touched. */
static void refused(const char *text, size_t length, const char *words)
{
	struct value *const before = (struct value *)(void *)&length;
	struct value *tree = before;
	struct err err = {0};

	assert_int_equal(value_read_yaml(&tree, text, length, NULL, &err), -EINVAL);
	assert_string_equal(err.text, words);
	assert_int_equal(err.code, -EINVAL);
	assert_ptr_equal(tree, before);
	assert_int_equal(value_read_yaml(&tree, text, length, NULL, NULL), -EINVAL);
}

static void refuses(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++)
		refused(samples[i].text, strlen(samples[i].text), samples[i].meaning);
}

static void maps_lists_and_scalars_are_read(void **state)
{
	static const struct sample samples[] = {
	    {"a: 1\nb:\n  - x\n  - {c: d}\n", "{a=<1>,b=[<x>,{c=<d>}]}"},
	    {"- 1\n- [2]\n", "[<1>,[<2>]]"},
	    {"a: 0755\nb: 1.50\nc: yes\nd: 0x1F\n", "{a=<0755>,b=<1.50>,c=<yes>,d=<0x1F>}"},
	    {"a: |\n  x\n  y\nb: >\n  p\n  q\n", "{a=<x\ny\n>,b=<p q\n>}"},
	    {"'a b': \"c\\td\\u00e9\"\n", "{a b=<c\td\xC3\xA9>}"},
	    {"mask: '^192\\.168\\.\\d+$'\n", "{mask=<^192\\.168\\.\\d+$>}"},
	    {"%YAML 1.1\n---\na: 1\n...\n", "{a=<1>}"},
	    {"a: 1\r\nb:\r\n  - x\r\n", "{a=<1>,b=[<x>]}"},
	    {"\xEF\xBB\xBF"
	     "a: 1\n",
	     "{a=<1>}"},
	    {"a: '<<'\n'<<': 1\n", "{a=<<<>,<<=<1>}"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void json_is_read(void **state)
{
	static const struct sample samples[] = {
	    {"{\"a\":[1,-2.5,{\"b\":null,\"c\":\"x\\u00e9\\/\"}],\"d\":true}",
	     "{a=[<1>,<-2.5>,{b=undef,c=<x\xC3\xA9/>}],d=<true>}"},
	    {"[]", "[]"},
	    {"{\n\t\"a\": 1\n}\n", "{a=<1>}"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void only_plain_null_is_undef(void **state)
{
	static const struct sample samples[] = {
	    {"[~, null, Null, NULL, 'null', \"~\", nUll, '']",
	     "[undef,undef,undef,undef,<null>,<~>,<nUll>,<>]"},
	    {"a:\nb: \n", "{a=undef,b=undef}"},
	    {"[!!null '', !!null ~, !!str null, !!str ]", "[undef,undef,<null>,<>]"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void empty_document_is_an_empty_map(void **state)
{
	static const struct sample samples[] = {
	    {"", "{}"}, {"\n# c\n", "{}"}, {"---\n", "{}"}, {"--- ~\n...\n", "{}"}, {"{}", "{}"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void core_tags_are_read_others_named(void **state)
{
	static const struct sample samples[] = {
	    {"{a: !!int 7, b: !!seq [1], c: !!map {}, d: !!bool yes, e: !!float 1, !!str f: 1}",
	     "{a=<7>,b=[<1>],c={},d=<yes>,e=<1>,f=<1>}"},
	};
	static const struct sample wrong[] = {
	    {"a: !!binary aGk=\n", "1:4: found the tag 'tag:yaml.org,2002:binary', expected none, "
				   "or one of YAML's core that fits the value"},
	    {"- !ruby/object:X {}\n", "1:3: found the tag '!ruby/object:X', expected none, or one "
				      "of YAML's core that fits the value"},
	    {"!!set {a}\n", "1:1: found the tag 'tag:yaml.org,2002:set', expected none, or one of "
			    "YAML's core that fits the value"},
	    {"a: !!map [1]\n", "1:4: found the tag 'tag:yaml.org,2002:map', expected none, or one "
			       "of YAML's core that fits the value"},
	    {"a: !!null x\n", "1:4: found the tag 'tag:yaml.org,2002:null', expected none, or one "
			      "of YAML's core that fits the value"},
	    {"!x a: 1\n", "1:1: found the tag '!x', expected none, or one of YAML's core that "
			  "fits the value"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
	refuses(wrong, ARRAY_LEN(wrong));
}

static void aliases_are_copies(void **state)
{
	static const struct sample samples[] = {
	    {"a: &x [1, {b: 2}]\nc: *x\n", "{a=[<1>,{b=<2>}],c=[<1>,{b=<2>}]}"},
	    {"a: &x 1\nb: &x 2\nc: *x\n", "{a=<1>,b=<2>,c=<2>}"},
	    {"a: &x ~\nb: *x\n", "{a=undef,b=undef}"},
	    {"&all {a: &y q, b: *y}\n", "{a=<q>,b=<q>}"},
	};
	static const struct sample wrong[] = {
	    {"a: *x\n",
	     "1:4: found the alias '*x', expected one whose anchor '&x' comes before it"},
	    {"*x\n", "1:1: found the alias '*x', expected one whose anchor '&x' comes before it"},
	    {"a: &x [1, *x]\n",
	     "1:11: found the alias '*x', expected one whose anchor '&x' does not enclose it"},
	    {"a: &x 1\nb: &x {c: *x}\n",
	     "2:11: found the alias '*x', expected one whose anchor '&x' does not enclose it"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
	refuses(wrong, ARRAY_LEN(wrong));
}

static void bad_keys_are_refused(void **state)
{
	static const struct sample samples[] = {
	    {"a: 1\nb: 2\na: 3\n", "3:1: found the key 'a' twice, expected it once"},
	    {"a:\n\tb: 1\n", "2:1: found a tab, expected blanks: tabs indent nothing in YAML"},
	    {"a:\n  b: 1\n  \tc: 1\n",
	     "3:3: found a tab, expected blanks: tabs indent nothing in YAML"},
	    {"{\"\\e\": 1, \"\\e\": 2}", "1:11: found the key '\\x1B' twice, expected it once"},
	    {"? [x]\n: 1\n", "1:3: found a list or map as key, expected text"},
	    {"{{a: b}: 1}\n", "1:2: found a list or map as key, expected text"},
	    {"a: &x 1\n*x : 2\n", "2:1: found an alias as key, expected text"},
	    {"&k a: 1\n", "1:1: found an anchor on a key, expected text"},
	    {"~: 1\n", "1:1: found null as key, expected text"},
	    {"? \n: 1\n", "1:2: found null as key, expected text"},
	    {"\"a\\0\": 1\n", "1:1: found a NUL character, expected text without"},
	    {"a: &x {b: 1}\nc:\n  <<: *x\n",
	     "3:3: found the merge key '<<', expected keys written out"},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
}

static void bad_documents_are_refused(void **state)
{
	static const struct sample samples[] = {
	    {"x\n", "1:1: found text, expected a map (key: value)"},
	    {"a: 1\n---\nb: 2\n", "2:1: found another document, expected the end of the file"},
	    {"---\n---\n", "2:1: found another document, expected the end of the file"},
	    {"a: 1\n...\njunk", "3:1: did not find expected <document start>"},
	    {"a: [1\n", "2:1: while parsing a flow sequence: did not find expected ',' or ']'"},
	    {"a: \"x\n", "2:1: while scanning a quoted scalar: found unexpected end of stream"},
	    {"a: b: c\n", "1:5: mapping values are not allowed in this context"},
	    {"\ta: 1\n", "1:1: found a tab, expected blanks: tabs indent nothing in YAML"},
	    {"a: \"\\0\"\n", "1:4: found a NUL character, expected text without"},
	    {"a: 1\nb: \xFF\n", "2:4: found a byte that is no text: invalid leading UTF-8 octet"},
	    {"a: \xC3\xA9\x01\n",
	     "1:6: found a byte that is no text: control characters are not allowed"},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
	refused("a: 1\nb\0", 7, "2:2: found a NUL byte, expected text");
	refused("\xFF\xFE"
		"a\0",
		4, "1:4: found a NUL byte, expected text");
}

/* The length counts, not a NUL after it. */
static void text_ends_where_it_ends(void **state)
{
	char *text = malloc(2);
	struct value *tree;

	(void)state;
	memcpy(text, "[]", 2);
	assert_int_equal(value_read_yaml(&tree, text, 2, NULL, NULL), 0);
	value_free(tree);
	refused(text, 1, "1:2: while parsing a flow node: did not find expected node content");
	assert_int_equal(value_read_yaml(&tree, NULL, 0, NULL, NULL), 0);
	assert_int_equal(tree->kind, VALUE_MAP);
	value_free(tree);
	free(text);
}

static void places_are_lines_and_bytes_from_1(void **state)
{
	static const char text[] = "\xEF\xBB\xBF"
				   "\xC3\xA9: [\xE2\x98\xBA, x]\r\n"
				   "# \xC2\x85"
				   "b:\xE2\x80\xA8"
				   "  - \xF0\x9F\x98\x80\n"
				   "  - q\n";
	struct value *tree;
	const struct value *list;

	(void)state;
	assert_int_equal(value_read_yaml(&tree, text, strlen(text), NULL, NULL), 0);
	assert_int_equal(tree->line, 1);
	assert_int_equal(tree->column, 1);
	list = value_get(tree, "\xC3\xA9");
	assert_int_equal(list->column, 5);
	assert_int_equal(list->items[0]->column, 6);
	assert_int_equal(list->items[1]->column, 11);
	list = value_get(tree, "b");
	assert_int_equal(list->items[0]->line, 4);
	assert_int_equal(list->items[0]->column, 5);
	assert_int_equal(list->items[1]->line, 5);
	assert_int_equal(list->items[1]->column, 5);
	value_free(tree);
	refused("a: 1\r\n\xC3\xA9: [\xC3\xA9, *x]", 17,
		"2:10: found the alias '*x', expected one whose anchor '&x' comes before it");
}

static void limits_hold(void **state)
{
	char *text, *open;
	struct value *tree;

	(void)state;
	open = tree_repeat("", "[", VALUE_DEPTH_MAX, "");
	text = tree_repeat(open, "]", VALUE_DEPTH_MAX, "");
	assert_int_equal(value_read_yaml(&tree, text, strlen(text), NULL, NULL), 0);
	value_free(tree);
	free(text);
	free(open);

	text = tree_repeat("", "[", 100000, "");
	refused(text, strlen(text), "1:33: found too deep a nesting, expected at most 32");
	free(text);
	text = tree_repeat("", "- ", 100000, "");
	refused(text, strlen(text), "1:65: found too deep a nesting, expected at most 32");
	free(text);

	text = tree_repeat("[", "1,", VALUE_COUNT_MAX - 1, "]");
	assert_int_equal(value_read_yaml(&tree, text, strlen(text), NULL, NULL), 0);
	assert_int_equal(tree->count, VALUE_COUNT_MAX - 1);
	assert_int_equal(tree->items[VALUE_COUNT_MAX - 2]->column, 2 * VALUE_COUNT_MAX - 2);
	value_free(tree);
	free(text);

	text = tree_repeat("[", "1,", VALUE_COUNT_MAX, "]");
	refused(text, strlen(text), "1:400000: found too many values, expected at most 200000");
	free(text);

	text = tree_repeat("", " ", VALUE_FILE_MAX + 1, "");
	refused(text, strlen(text), "1:1: found 4194305 bytes, expected at most 4194304");
	free(text);
}

/* Each line stands for ten times the one before: 10^9 values in a few hundred bytes. */
static void billion_laughs_are_refused(void **state)
{
	static const char text[] = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
				   "a1: &a1 [*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0]\n"
				   "a2: &a2 [*a1,*a1,*a1,*a1,*a1,*a1,*a1,*a1,*a1,*a1]\n"
				   "a3: &a3 [*a2,*a2,*a2,*a2,*a2,*a2,*a2,*a2,*a2,*a2]\n"
				   "a4: &a4 [*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3]\n"
				   "a5: &a5 [*a4,*a4,*a4,*a4,*a4,*a4,*a4,*a4,*a4,*a4]\n";

	(void)state;
	refused(text, strlen(text), "6:10: found too many values, expected at most 200000");
}

static void aliases_of_much_text_are_refused(void **state)
{
	char *head = tree_repeat("a: &x ", "y", 1u << 20, "\nb: [");
	char *text = tree_repeat(head, "*x,", 5, "]");

	(void)state;
	refused(text, strlen(text),
		"2:17: found aliases for too much text, expected at most 4194304 bytes");
	free(text);
	free(head);
	/* The keys of a map are text too. */
	head = tree_repeat("- &x {? ", "y", 1u << 20, " : 1}\n");
	text = tree_repeat(head, "- *x\n", 4, "");
	refused(text, strlen(text),
		"5:3: found aliases for too much text, expected at most 4194304 bytes");
	free(text);
	free(head);
}

static void aliases_do_not_deepen_past_the_limit(void **state)
{
	char *head = tree_repeat("a: &x ", "[", 20, "]]]]]]]]]]]]]]]]]]]]\nb: ");
	char *text = tree_repeat(head, "[", 20, "*x");

	(void)state;
	refused(text, strlen(text), "2:24: found too deep a nesting, expected at most 32");
	free(text);
	free(head);
}

static void many_anchors_are_refused(void **state)
{
	struct value *tree;
	struct buf text;

	(void)state;
	buf_init(&text, 1u << 20);
	for (int i = 0; i < 257; i++)
		buf_addf(&text, "- &a%d x\n", i);
	refused(text.data, text.len, "257:3: found one more anchor, expected at most 256");
	text.len -= strlen("- &a256 x\n");
	buf_adds(&text, "- &a255 y\n- *a0\n- *a255\n");
	assert_int_equal(value_read_yaml(&tree, text.data, text.len, NULL, NULL), 0);
	assert_int_equal(tree->count, 259);
	assert_string_equal(tree->items[258]->text, "y");
	value_free(tree);
	buf_finish(&text);
}

/* libyaml alone would take minutes for a file full of them. */
static void many_directives_are_refused(void **state)
{
	char *text = tree_repeat("", "%TAG !a! b\n", 100000, "--- {}\n");

	(void)state;
	refused(text, strlen(text), "65:1: found one more %TAG, expected none");
	free(text);
	means(&(struct sample){"%TAG !a! tag:b,2000:\n--- {c: d}\n", "{c=<d>}"}, 1);
	refuses(&(struct sample){"%TAG !a! tag:b,2000:\n--- !a!x {}\n",
				 "2:5: found the tag 'tag:b,2000:x', expected none, or one of "
				 "YAML's core that fits the value"},
		1);
}

static void every_prefix_is_read_or_refused(void **state)
{
	static const char text[] = "%YAML 1.1\n---\na: &x [1, 'q', \"\\u00e9\", {b: c}]\n"
				   "d:\n  - *x\n  - |\n    z\n# \xC3\xA9\n...\n";

	(void)state;
	for (size_t n = 0; n <= strlen(text); n++) {
		struct value *tree = NULL;
		struct err err = {0};
		char *copy = malloc(n + 1);

		memcpy(copy, text, n);
		if (value_read_yaml(&tree, copy, n, NULL, &err) < 0) {
			assert_null(tree);
			assert_in_range(err.text[0], '1', '9');
		}
		value_free(tree);
		free(copy);
	}
}

static void running_out_of_memory_is_an_error(void **state)
{
	static const char text[] = "a: &x [1, ~, {b: c}]\nd: *x\n"
				   "e: {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9}\n"
				   "f: &e {}\n";

	(void)state;
	assert_in_range(tree_without_memory(value_read_yaml, text), 50, 500);
	assert_int_equal(tree_without_memory(value_read_yaml, ""), 1);
}

#else /* !HAVE_YAML */

static void yaml_left_out_is_said(void **state)
{
	struct value *tree = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(value_read_yaml(&tree, "a: 1", 4, NULL, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "meson option 'yaml'"));
	assert_null(tree);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef HAVE_YAML
	    cmocka_unit_test(maps_lists_and_scalars_are_read),
	    cmocka_unit_test(json_is_read),
	    cmocka_unit_test(only_plain_null_is_undef),
	    cmocka_unit_test(empty_document_is_an_empty_map),
	    cmocka_unit_test(core_tags_are_read_others_named),
	    cmocka_unit_test(aliases_are_copies),
	    cmocka_unit_test(bad_keys_are_refused),
	    cmocka_unit_test(bad_documents_are_refused),
	    cmocka_unit_test(places_are_lines_and_bytes_from_1),
	    cmocka_unit_test(text_ends_where_it_ends),
	    cmocka_unit_test(limits_hold),
	    cmocka_unit_test(billion_laughs_are_refused),
	    cmocka_unit_test(aliases_of_much_text_are_refused),
	    cmocka_unit_test(aliases_do_not_deepen_past_the_limit),
	    cmocka_unit_test(many_anchors_are_refused),
	    cmocka_unit_test(many_directives_are_refused),
	    cmocka_unit_test(every_prefix_is_read_or_refused),
	    cmocka_unit_test(running_out_of_memory_is_an_error),
#else
	    cmocka_unit_test(yaml_left_out_is_said),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
