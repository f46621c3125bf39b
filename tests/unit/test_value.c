/* test_value.c - the value tree: building, finding, copying, truth, words for messages. */
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

static struct value *scalar(const char *text)
{
	struct value *value = value_new_scalar(text, 1, 1);

	assert_non_null(value);
	return value;
}

static void value_keeps_its_place(void **state)
{
	struct value *value = value_new_scalar("x", 3, 7);

	(void)state;
	assert_non_null(value);
	assert_int_equal(value->kind, VALUE_SCALAR);
	assert_int_equal(value->line, 3);
	assert_int_equal(value->column, 7);
	assert_string_equal(value->text, "x");
	assert_null(value_free(value));
	assert_null(value_free(NULL));
}

static void scalar_is_a_copy(void **state)
{
	char text[] = "one";
	struct value *value = value_new_scalar(text, 1, 1);

	(void)state;
	text[0] = 'X';
	assert_string_equal(value->text, "one");
	value_free(value);
}

static void list_keeps_order(void **state)
{
	struct value *list = value_new(VALUE_LIST, 1, 1);
	char text[16];

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "%d", i);
		assert_int_equal(value_list_add(list, scalar(text)), 0);
	}
	assert_int_equal(list->count, 100);
	assert_string_equal(list->items[0]->text, "0");
	assert_string_equal(list->items[99]->text, "99");
	assert_null(value_get(list, "0"));
	value_free(list);
}

static void map_keys_are_unique_and_in_order(void **state)
{
	struct value *map = value_new(VALUE_MAP, 1, 1);

	(void)state;
	assert_int_equal(value_map_add(map, "b", scalar("1")), 0);
	assert_int_equal(value_map_add(map, "a", scalar("2")), 0);
	assert_int_equal(value_map_add(map, "", scalar("3")), 0);
	assert_int_equal(value_map_add(map, "b", scalar("4")), -EEXIST);
	assert_int_equal(map->count, 3);
	assert_string_equal(map->keys[0], "b");
	assert_string_equal(map->keys[1], "a");
	assert_string_equal(value_get(map, "b")->text, "1");
	assert_string_equal(value_get(map, "")->text, "3");
	assert_null(value_get(map, "c"));
	assert_null(value_get(NULL, "c"));
	value_free(map);
}

static void put_replaces_in_place(void **state)
{
	struct value *map = value_new(VALUE_MAP, 1, 1);

	(void)state;
	assert_int_equal(value_map_put(map, "a", scalar("1")), 0);
	assert_int_equal(value_map_put(map, "b", scalar("2")), 0);
	assert_int_equal(value_map_put(map, "a", scalar("3")), 1);
	assert_int_equal(map->count, 2);
	assert_string_equal(map->keys[0], "a");
	assert_string_equal(map->items[0]->text, "3");
	value_free(map);
}

/* Past the few keys that are searched one by one, and over several growths of the index. */
static void large_map_finds_every_key(void **state)
{
	struct value *map = value_new(VALUE_MAP, 1, 1);
	const int many = 20000;
	char text[16];

	(void)state;
	for (int i = 0; i < many; i++) {
		snprintf(text, sizeof text, "key%d", i);
		assert_null(value_get(map, text));
		assert_int_equal(value_map_add(map, text, scalar(text)), 0);
	}
	for (int i = 0; i < many; i++) {
		snprintf(text, sizeof text, "key%d", i);
		assert_string_equal(map->keys[i], text);
		assert_ptr_equal(value_get(map, text), map->items[i]);
		assert_int_equal(value_map_add(map, text, scalar("again")), -EEXIST);
	}
	assert_int_equal(value_map_put(map, "key77", scalar("new")), 1);
	assert_string_equal(value_get(map, "key77")->text, "new");
	assert_null(value_get(map, "key20000"));
	assert_int_equal(map->count, many);
	value_free(map);
}

static void truth_is_perl_and_yaml(void **state)
{
	static const char *const no[] = {"", "0", "false", "False", "NO", "no", "off", "Off"};
	static const char *const yes[] = {"1", "00", "0.0", "yes", "on", "true", " ", "-0", "n"};
	struct value *value;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(no); i++) {
		value = scalar(no[i]);
		assert_false(value_true(value));
		value_free(value);
	}
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		value = scalar(yes[i]);
		assert_true(value_true(value));
		value_free(value);
	}
	assert_false(value_true(NULL));
	value = value_new(VALUE_UNDEF, 1, 1);
	assert_false(value_true(value));
	value_free(value);
	value = value_new(VALUE_LIST, 1, 1);
	assert_true(value_true(value));
	value_free(value);
}

static void copy_is_deep(void **state)
{
	struct value *map = value_new(VALUE_MAP, 1, 2);
	struct value *list = value_new(VALUE_LIST, 3, 4);
	struct value *copy;

	(void)state;
	value_list_add(list, scalar("x"));
	value_list_add(list, value_new(VALUE_UNDEF, 5, 6));
	value_map_add(map, "list", list);
	for (int i = 0; i < 20; i++)
		value_map_add(map, (char[]){(char)('a' + i), '\0'}, scalar("v"));
	copy = value_copy(map);
	value_free(map);
	assert_non_null(copy);
	assert_int_equal(copy->count, 21);
	assert_int_equal(copy->column, 2);
	assert_string_equal(copy->keys[0], "list");
	assert_string_equal(value_get(copy, "list")->items[0]->text, "x");
	assert_int_equal(value_get(copy, "list")->items[1]->kind, VALUE_UNDEF);
	assert_int_equal(value_get(copy, "list")->items[1]->column, 6);
	assert_string_equal(value_get(copy, "t")->text, "v");
	value_free(copy);
}

static void rule17_shown_text_is_printable_and_short(void **state)
{
	char out[VALUE_SHOW_SIZE];
	char all[256];

	(void)state;
	assert_string_equal(value_show(out, "", 0), "");
	assert_string_equal(value_show(out, "plain 'text'", 12), "plain 'text'");
	assert_string_equal(value_show(out, "a\n\x1B[2J\xC2\x85\x7F", 9),
			    "a\\x0A\\x1B[2J\\xC2\\x85\\x7F");
	for (size_t first = 0; first < sizeof all; first++) {
		for (size_t i = 0; i < sizeof all; i++)
			all[i] = (char)(first + i);
		value_show(out, all, sizeof all);
		assert_true(strlen(out) < sizeof out);
		assert_string_equal(out + strlen(out) - 3, "...");
		for (const char *p = out; *p; p++)
			assert_in_range(*p, ' ', '~');
	}
	memset(all, 'x', sizeof all);
	for (size_t length = 0; length < sizeof all; length++)
		assert_true(strlen(value_show(out, all, length)) < sizeof out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(value_keeps_its_place),
	    cmocka_unit_test(scalar_is_a_copy),
	    cmocka_unit_test(list_keeps_order),
	    cmocka_unit_test(map_keys_are_unique_and_in_order),
	    cmocka_unit_test(put_replaces_in_place),
	    cmocka_unit_test(large_map_finds_every_key),
	    cmocka_unit_test(truth_is_perl_and_yaml),
	    cmocka_unit_test(copy_is_deep),
	    cmocka_unit_test(rule17_shown_text_is_printable_and_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
