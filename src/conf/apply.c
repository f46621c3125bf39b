/*
 * apply.c - checked values to their places in struct settings, and the two sources that need no
 * reading: the table's defaults and the attributes of struct netd_config. Attributes go through the
 * same checks as text from people; a struct shorter or longer than ours is that of an older or
 * newer program. Failure: "attribute NAME: found ..., expected ...".
 */
#include "conf/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOUBLE_BYTES 400 /* DBL_MAX as "%.3f" and some */

/* The place of a standard option's value. */
static void *place(struct settings *settings, size_t index)
{
	return (char *)settings + conf_options[index].offset;
}

/* The place of a list's values, of the service's own options too. */
static struct strlist *list_of(struct settings *settings, size_t index)
{
	return index < conf_option_count ? place(settings, index)
					 : &settings->own->lists[index - conf_option_count];
}

static void replace_text(char **place_of, char *text)
{
	free(*place_of);
	*place_of = text;
}

static int add_item(struct strlist *list, char *text)
{
	int rc = strlist_add(list, text);

	free(text);
	return rc;
}

static int store(struct settings *settings, size_t index, struct conf_scalar *scalar)
{
	void *to;

	if (conf_at(settings->own, index)->kind == CONF_LIST)
		return add_item(list_of(settings, index), scalar->text);
	if (index >= conf_option_count)
		return conf_own_keep(&settings->own->values[index - conf_option_count], scalar);
	to = place(settings, index);
	switch (conf_options[index].kind) {
	case CONF_FLAG:
		*(bool *)to = scalar->number != 0;
		return 0;
	case CONF_NUMBER:
	case CONF_SIZE:
	case CONF_MODE:
	case CONF_RATE:
		*(long long *)to = scalar->number;
		return 0;
	case CONF_SECONDS:
		*(int64_t *)to = (int64_t)scalar->number;
		return 0;
	case CONF_STRING:
	case CONF_PATH:
	case CONF_PORT:
	case CONF_CHOICE:
		replace_text(to, scalar->text);
		return 0;
	case CONF_LIST:
	case CONF_TREE:
		break; /* above; conf_set_tree() */
	}
	return -EINVAL;
}

int conf_set(struct settings *settings, size_t index, const char *text, bool append,
	     struct err *err)
{
	const struct conf_option *option = conf_at(settings->own, index);
	struct conf_scalar scalar = {0};
	int rc = conf_check(option, text, &scalar, err);

	if (rc < 0)
		return rc;
	if (option->kind == CONF_LIST && !append)
		conf_clear_list(settings, index);
	rc = store(settings, index, &scalar);
	return rc < 0 ? err_set(err, rc, "out of memory") : 0;
}

int conf_set_tree(struct settings *settings, size_t index, const struct value *value,
		  const struct value **culprit, struct err *err)
{
	struct value **to = place(settings, index);
	struct value *copy;

	*culprit = value;
	if (value->kind != VALUE_LIST)
		return conf_wrong(&conf_options[index], conf_kind_word(value), err);
	for (size_t i = 0; i < value->count; i++) {
		if (value->items[i]->kind == VALUE_MAP)
			continue;
		*culprit = value->items[i];
		return err_set(err, -EINVAL, "found %s, expected a rule: a map of mask, accept ...",
			       conf_kind_word(value->items[i]));
	}
	copy = value_copy(value);
	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	value_free(*to);
	*to = copy;
	return 0;
}

const char *conf_kind_word(const struct value *value)
{
	static const char *const words[] = {
	    [VALUE_UNDEF] = "nothing (undef)",
	    [VALUE_SCALAR] = "a single value",
	    [VALUE_LIST] = "a list",
	    [VALUE_MAP] = "a map",
	};

	return words[value->kind];
}

const struct strlist *conf_list(const struct settings *settings, size_t index)
{
	if (index >= conf_option_count)
		return &settings->own->lists[index - conf_option_count];
	return (const void *)((const char *)settings + conf_options[index].offset);
}

void conf_clear_list(struct settings *settings, size_t index)
{
	strlist_finish(list_of(settings, index));
}

int conf_set_where(struct settings *settings, size_t index, const char *where)
{
	char **to = index < conf_option_count ? &settings->where[index]
					      : &settings->own->where[index - conf_option_count];
	char *copy = strdup(where);

	if (!copy)
		return -ENOMEM;
	replace_text(to, copy);
	return 0;
}

int conf_apply_defaults(struct settings *settings, struct err *err)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		int rc = 0;

		if (conf_options[i].value)
			rc = conf_set(settings, i, conf_options[i].value, false, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ------------------------------------------------------------------------------------ attributes
 */

/* The bytes an attribute takes in struct netd_config. */
static size_t attribute_size(enum conf_kind kind)
{
	switch (kind) {
	case CONF_FLAG:
	case CONF_NUMBER:
	case CONF_SIZE:
		return sizeof(int);
	case CONF_SECONDS:
		return sizeof(double);
	default:
		return sizeof(const char *);
	}
}

/* Each gives 1: the attribute was set; 0: it says "default"; or as conf_set(). */
static int from_int(struct settings *settings, size_t index, const void *from, struct err *err)
{
	bool flag = conf_options[index].kind == CONF_FLAG;
	char text[16];
	int number, rc;

	memcpy(&number, from, sizeof number);
	if (number == 0)
		return 0;
	snprintf(text, sizeof text, "%d", number);
	if (flag && number != 1 && number != -1)
		return err_set(err, -EINVAL, "found '%s', expected 1 (on), -1 (off) or 0 (default)",
			       text);
	if (flag)
		snprintf(text, sizeof text, "%d", number > 0);
	rc = conf_set(settings, index, text, false, err);
	return rc < 0 ? rc : 1;
}

/* "1.500" to "1.5", "2.000" to "2". */
static void trim_fraction(char *text)
{
	size_t n = strlen(text);

	if (!strchr(text, '.'))
		return; /* "inf" */
	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[n - 1] = '\0';
}

static int from_double(struct settings *settings, size_t index, const void *from, struct err *err)
{
	char text[DOUBLE_BYTES];
	double seconds;
	int rc;

	memcpy(&seconds, from, sizeof seconds);
	if (seconds >= 0 && seconds <= 0)
		return 0;
	/* Where 0 stands for a default that is not 0, there is no other way to say 0. */
	if (seconds < 0 && strcmp(conf_options[index].value, "0") != 0)
		seconds = 0;
	snprintf(text, sizeof text, "%.3f", seconds);
	trim_fraction(text);
	rc = conf_set(settings, index, text, false, err);
	return rc < 0 ? rc : 1;
}

static int from_list(struct settings *settings, size_t index, const char *const *list,
		     struct err *err)
{
	int rc = 0;

	conf_clear_list(settings, index);
	for (; rc == 0 && *list; list++)
		rc = conf_set(settings, index, *list, true, err);
	return rc < 0 ? rc : 1;
}

static int from_tree(struct settings *settings, size_t index, const char *text, struct err *err)
{
	const struct value *culprit;
	struct value *tree;
	int rc = value_read_perl(&tree, text, strlen(text), NULL, err);

	if (rc < 0)
		return rc;
	rc = conf_set_tree(settings, index, tree, &culprit, err);
	value_free(tree);
	return rc < 0 ? rc : 1;
}

static int from_pointer(struct settings *settings, size_t index, const void *from, struct err *err)
{
	const void *pointer;
	int rc;

	memcpy(&pointer, from, sizeof pointer);
	if (!pointer)
		return 0;
	switch (conf_options[index].kind) {
	case CONF_LIST:
		return from_list(settings, index, pointer, err);
	case CONF_TREE:
		return from_tree(settings, index, pointer, err);
	default:
		rc = conf_set(settings, index, pointer, false, err);
		return rc < 0 ? rc : 1;
	}
}

static int apply_attribute(struct settings *settings, const struct netd_config *config,
			   size_t index, struct err *err)
{
	const struct conf_option *option = &conf_options[index];
	const char *from = (const char *)config + option->attribute;
	size_t size = attribute_size(option->kind);
	char where[64];
	int rc;

	if (!option->attribute || option->attribute + size > config->size)
		return 0; /* none, or the program is older than the attribute */
	if (option->kind == CONF_SECONDS)
		rc = from_double(settings, index, from, err);
	else if (size == sizeof(int))
		rc = from_int(settings, index, from, err);
	else
		rc = from_pointer(settings, index, from, err);
	if (rc == 0)
		return 0;
	snprintf(where, sizeof where, "attribute %s", option->name);
	if (rc < 0) {
		err_prefix(err, "%s: ", where);
		return rc;
	}
	rc = conf_set_where(settings, index, where);
	return rc < 0 ? err_set(err, rc, "out of memory") : 0;
}

/* What a newer program says in fields unknown here must not be passed over: it may be a lock. */
static int check_size(const struct netd_config *config, struct err *err)
{
	const unsigned char *bytes = (const unsigned char *)config;

	if (config->size < sizeof config->size)
		return err_set(err, -EINVAL,
			       "attribute size: found '%zu', expected what NETD_CONFIG() "
			       "sets",
			       config->size);
	for (size_t i = sizeof *config; i < config->size; i++)
		if (bytes[i])
			return err_set(err, -EINVAL,
				       "attributes: the program was built for a newer "
				       "library and sets an attribute unknown to this "
				       "one (" NETD_VERSION ")");
	return 0;
}

int conf_apply_attributes(struct settings *settings, const struct netd_config *config,
			  struct err *err)
{
	int rc;

	if (!config)
		return 0;
	rc = check_size(config, err);
	for (size_t i = 0; rc == 0 && i < conf_option_count; i++)
		rc = apply_attribute(settings, config, i, err);
	return rc;
}
