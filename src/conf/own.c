/*
 * own.c - the service's own options as rows of the table, mixed in with the standard ones.
 * Failure is a mistake of the service's author, found at the first start: a name that is taken
 * (also by a negation: "nodebug") or no name, a type without what it needs, a default that is no
 * value.
 */
#include "conf/table.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define NAME_MAX_BYTES 40

static const enum conf_kind kinds[] = {
    [NETD_OPTION_FLAG] = CONF_FLAG,  [NETD_OPTION_STRING] = CONF_STRING,
    [NETD_OPTION_INT] = CONF_NUMBER, [NETD_OPTION_CHOICE] = CONF_CHOICE,
    [NETD_OPTION_LIST] = CONF_LIST,
};

size_t conf_count(const struct conf_own *own)
{
	return conf_option_count + (own ? own->count : 0);
}

const struct conf_option *conf_at(const struct conf_own *own, size_t index)
{
	if (index < conf_option_count)
		return &conf_options[index];
	return &own->options[index - conf_option_count];
}

static bool may_be_empty(enum netd_option_type type)
{
	return type == NETD_OPTION_STRING || type == NETD_OPTION_LIST;
}

static struct conf_option make_row(const struct netd_option *option)
{
	bool any = option->min == 0 && option->max == 0;
	struct conf_option row = {
	    .name = option->name,
	    .kind = kinds[option->type],
	    .flags = may_be_empty(option->type) ? CONF_EMPTY_OK : 0,
	    .group = CONF_OWN,
	    .value = option->value,
	    .help = option->help ? option->help : "",
	};

	if (row.kind == CONF_NUMBER) {
		row.min = any ? LLONG_MIN : option->min;
		row.max = any ? LLONG_MAX : option->max;
	}
	if (row.kind == CONF_CHOICE)
		row.choices = option->choices;
	if (row.kind == CONF_FLAG && !row.value)
		row.value = "0";
	if (row.kind != CONF_FLAG)
		row.argument = option->argument ? option->argument : "VALUE";
	return row;
}

static int fault(const struct netd_option *option, struct err *err, const char *words)
{
	return err_set(err, -EINVAL, "service option '%.40s': %s", option->name, words);
}

static int check_form(const struct netd_option *option, struct err *err)
{
	const char *name = option->name;

	size_t length = strspn(name, LETTERS "0123456789-_");

	if (!strspn(name, LETTERS) || name[length] || length > NAME_MAX_BYTES)
		return fault(option, err,
			     "a name begins with a letter and has letters, digits, - and _ only, "
			     "at most 40");
	if ((unsigned)option->type >= ARRAY_LEN(kinds))
		return fault(option, err, "unknown type");
	if (option->type == NETD_OPTION_CHOICE && (!option->choices || !*option->choices))
		return fault(option, err, "a choice needs .choices");
	if (option->type == NETD_OPTION_INT && option->min > option->max)
		return fault(option, err, ".min is greater than .max");
	return 0;
}

/* True when the name, or a flag's negation, already means something. */
static bool taken(const struct conf_own *own, const struct conf_option *row)
{
	static const char *const forms[] = {"", "no", "no-"};
	char name[NAME_MAX_BYTES + 4];
	struct conf_match match;
	size_t index;

	if (conf_find_key(own, row->name, &index) == 0)
		return true;
	for (size_t i = 0; i < (row->kind == CONF_FLAG ? ARRAY_LEN(forms) : 1); i++) {
		snprintf(name, sizeof name, "%s%s", forms[i], row->name);
		if (conf_find_exact(own, name, strlen(name), &match) == 0)
			return true;
	}
	return false;
}

/* The default is a value like any other, and stands until somebody gives another. */
static int set_default(struct conf_own *own, const struct netd_option *option, struct err *err)
{
	const struct conf_option *row = &own->options[own->count];
	struct conf_scalar scalar = {0};
	int rc;

	if (!row->value)
		return 0;
	rc = conf_check(row, row->value, &scalar, err);
	if (rc < 0) {
		err_prefix(err, "service option '%s': default: ", option->name);
		return rc;
	}
	if (row->kind == CONF_LIST) {
		rc = strlist_add(&own->lists[own->count], scalar.text);
		free(scalar.text);
	} else {
		rc = conf_own_keep(&own->values[own->count], &scalar);
	}
	return rc < 0 ? err_set(err, rc, "out of memory") : 0;
}

static int add(struct conf_own *own, const struct netd_option *option, struct err *err)
{
	struct conf_option row;
	int rc = check_form(option, err);

	if (rc < 0)
		return rc;
	row = make_row(option);
	if (taken(own, &row))
		return fault(option, err, "the name is taken");
	own->options[own->count] = row;
	rc = set_default(own, option, err);
	if (rc == 0)
		own->count++;
	return rc;
}

static size_t count_options(const struct netd_service *service)
{
	const size_t end = offsetof(struct netd_service, options) + sizeof service->options;
	size_t n = 0;

	if (service->size < end || !service->options)
		return 0;
	while (service->options[n].name)
		n++;
	return n;
}

int conf_own_new(struct conf_own **out, const struct netd_service *service, struct err *err)
{
	size_t n = count_options(service);
	struct conf_own *own = calloc(1, sizeof *own);
	int rc = 0;

	if (!own)
		return err_set(err, -ENOMEM, "out of memory");
	own->options = calloc(n + 1, sizeof *own->options);
	own->values = calloc(n + 1, sizeof *own->values);
	own->lists = calloc(n + 1, sizeof *own->lists);
	own->where = calloc(n + 1, sizeof *own->where);
	own->texts = calloc(conf_option_count + n, sizeof *own->texts);
	own->chosen = calloc(conf_option_count, sizeof *own->chosen);
	if (!own->options || !own->values || !own->lists || !own->where || !own->texts ||
	    !own->chosen)
		rc = err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add(own, &service->options[i], err);
	if (rc < 0) {
		conf_own_free(own);
		return rc;
	}
	*out = own;
	return 0;
}

struct conf_own *conf_own_free(struct conf_own *own)
{
	if (!own)
		return NULL;
	for (size_t i = 0; i < own->count; i++) {
		free(own->values[i]);
		strlist_finish(&own->lists[i]);
		free(own->where[i]);
	}
	for (size_t i = 0; own->texts && i < conf_count(own); i++)
		free(own->texts[i]);
	for (size_t i = 0; own->chosen && i < conf_option_count; i++)
		free(own->chosen[i]);
	free(own->chosen);
	free(own->texts);
	free(own->where);
	free(own->values);
	free(own->lists);
	free(own->options);
	free(own);
	return NULL;
}

int conf_own_keep(char **value, struct conf_scalar *scalar)
{
	char number[24];
	char *text = scalar->text;

	if (!text) {
		snprintf(number, sizeof number, "%lld", scalar->number);
		text = strdup(number);
		if (!text)
			return -ENOMEM;
	}
	free(*value);
	*value = text;
	return 0;
}
