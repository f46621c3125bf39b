/*
 * sections.c - config files of several services: which there are, where one of them stands, and
 * what a program that starts them all asks of them (netd_sections_...).
 *
 * Happy path: conf_find_section() gives file.c the map of one service. netd_sections_new() reads
 * the file, the others answer from its tree. Failure: "FILE:LINE:COLUMN: services: found ...,
 * expected
 * ..."; a service is looked at when its turn comes, its name and form with all the others.
 */
#include "conf/table.h"
#include "netdaemon_sections.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define NAME_BYTES_MAX 64  /* it stands in the log and in lists of processes */
#define LIST_BYTES_MAX 300 /* of the names in a message */

/* ------------------------------------------------------------------------------------ one of them
 */

/* A word that can stand anywhere: in the log, in a file name, on a command line. */
static bool good_name(const char *name)
{
	size_t length = strspn(name, NAME_LETTERS "-.");

	return length && !name[length] && length <= NAME_BYTES_MAX && name[0] != '-' &&
	       name[0] != '.';
}

static int check_service(const char *name, const struct value *service, struct err *err)
{
	char shown[CONF_SHOWN_BYTES];

	conf_show(shown, sizeof shown, name, strlen(name));
	if (!good_name(name))
		return err_set(err, -EINVAL,
			       "found the name '%s', expected at most %d letters, digits, _ - "
			       "and . (the latter two not in front)",
			       shown, NAME_BYTES_MAX);
	if (service->kind != VALUE_MAP)
		return err_set(err, -EINVAL, "%s: found %s, expected a map of options", shown,
			       conf_kind_word(service));
	return value_get(service, CONF_SERVICES)
		   ? err_set(err, -EINVAL, "%s: found services within a service", shown)
		   : 0;
}

static int check_services(const struct value *services, const struct value **culprit,
			  struct err *err)
{
	int rc = 0;

	*culprit = services;
	if (services->kind != VALUE_MAP)
		return err_set(err, -EINVAL, "found %s, expected a map of services",
			       conf_kind_word(services));
	if (!services->count)
		return err_set(err, -EINVAL, "found none, expected at least one");
	for (size_t i = 0; rc == 0 && i < services->count; i++) {
		*culprit = services->items[i];
		rc = check_service(services->keys[i], services->items[i], err);
	}
	return rc;
}

/* "a, b or c"; "..." where there are too many of them. */
static const char *list_names(struct buf *out, const struct value *services)
{
	struct buf bars;
	int rc = 0;

	buf_init(&bars, LIST_BYTES_MAX);
	buf_init(out, 2 * LIST_BYTES_MAX);
	for (size_t i = 0; rc == 0 && i < services->count; i++) {
		bool room = bars.len + strlen(services->keys[i]) + sizeof "|..." < LIST_BYTES_MAX;

		rc = buf_addf(&bars, "%s%s", i ? "|" : "", room ? services->keys[i] : "...");
		if (!room)
			break;
	}
	if (rc == 0)
		conf_words(out, buf_text(&bars));
	buf_finish(&bars);
	return buf_text(out);
}

/* Wrong or missing name: say which there are. */
static int choose_one(const struct value *services, const char *name, struct err *err)
{
	char shown[CONF_SHOWN_BYTES];
	struct buf names;

	if (name)
		err_set(err, -EINVAL, "found no service '%s', expected --section %s",
			conf_show(shown, sizeof shown, name, strlen(name)),
			list_names(&names, services));
	else
		err_set(err, -EINVAL, "which of them is to be run? expected --section %s",
			list_names(&names, services));
	buf_finish(&names);
	return name ? -EINVAL : -ENOKEY;
}

int conf_find_section(const struct value *root, const char *name, const struct value **out,
		      const struct value **culprit, struct err *err)
{
	const struct value *services = value_get(root, CONF_SERVICES);
	const struct value *found;
	int rc;

	*culprit = services ? services : root;
	if (!services && name)
		return err_set(err, -EINVAL, "found no such key, which --section asks for");
	if (!services) {
		*out = NULL;
		return 0;
	}
	rc = check_services(services, culprit, err);
	if (rc < 0)
		return rc;
	*culprit = services;
	found = name ? value_get(services, name) : NULL;
	if (!found)
		return choose_one(services, name, err);
	*out = found;
	return 0;
}

int conf_set_section(struct settings *settings, const char *name, struct err *err)
{
	size_t index;
	int rc = conf_find_key(settings->own, "section", &index);

	if (rc == 0)
		rc = conf_set(settings, index, name, false, err);
	return rc < 0 ? err_prefix(err, "--section: ") : 0;
}

/* ------------------------------------------------------------------------------------ all of them
 */

struct netd_sections {
	struct value *root;
	const struct value *services; /* in root; NULL: the file is wrong */
	char **where;                 /* of each, made at the start */
	char label[CONF_LABEL_BYTES];
	struct err err;
};

static int note_places(struct netd_sections *sections)
{
	const struct value *services = sections->services;

	sections->where = calloc(services->count + 1, sizeof *sections->where);
	if (!sections->where)
		return -ENOMEM;
	for (size_t i = 0; i < services->count; i++) {
		char text[CONF_LABEL_BYTES + 32];

		snprintf(text, sizeof text, "%s:%d:%d", sections->label, services->items[i]->line,
			 services->items[i]->column);
		sections->where[i] = strdup(text);
		if (!sections->where[i])
			return -ENOMEM; /* the list ends here */
	}
	return 0;
}

/* Find the services in the tree. */
static int look_around(struct netd_sections *sections)
{
	const struct value *root = sections->root;
	const struct value *services = value_get(root, CONF_SERVICES);
	const struct value *culprit = root;
	int rc;

	if (services)
		rc = check_services(services, &culprit, &sections->err);
	else
		rc = err_set(&sections->err, -EINVAL,
			     "found no such key, expected a map of services");
	if (rc < 0) {
		err_prefix(&sections->err, "%s:%d:%d: " CONF_SERVICES ": ", sections->label,
			   culprit->line, culprit->column);
		return rc;
	}
	sections->services = services;
	rc = note_places(sections);
	if (rc < 0)
		sections->services = NULL;
	return rc;
}

static int read_sections(struct netd_sections *sections, const char *path)
{
	struct err *err = &sections->err;
	struct buf text;
	int rc = conf_read_file(&text, path, err);

	if (rc < 0)
		return rc;
	/* Warnings come when each service reads its part. */
	rc = conf_parse(&sections->root, path, buf_text(&text), text.len, NULL, err);
	buf_finish(&text);
	if (rc < 0)
		err_prefix(err, "%s:%s", sections->label, rc == -EINVAL ? "" : " ");
	else
		rc = look_around(sections);
	return rc;
}

struct netd_sections *netd_sections_new(const char *path)
{
	struct netd_sections *sections = calloc(1, sizeof *sections);

	if (!sections)
		return NULL;
	conf_label(sections->label, path);
	if (read_sections(sections, path) == -ENOMEM) {
		netd_sections_free(sections);
		errno = ENOMEM;
		return NULL;
	}
	return sections;
}

struct netd_sections *netd_sections_free(struct netd_sections *sections)
{
	if (!sections)
		return NULL;
	for (size_t i = 0; sections->where && sections->where[i]; i++)
		free(sections->where[i]);
	free(sections->where);
	value_free(sections->root);
	free(sections);
	return NULL;
}

const char *netd_sections_error(const struct netd_sections *sections)
{
	return sections->err.text;
}

static bool is_there(const struct netd_sections *sections, int index)
{
	return sections->services && index >= 0 && (size_t)index < sections->services->count;
}

const char *netd_sections_name(const struct netd_sections *sections, int index)
{
	return is_there(sections, index) ? sections->services->keys[index] : NULL;
}

const char *netd_sections_where(const struct netd_sections *sections, int index)
{
	return is_there(sections, index) ? sections->where[index] : NULL;
}

const char *netd_sections_get(const struct netd_sections *sections, int index, const char *key,
			      int item)
{
	const struct value *value;

	if (!is_there(sections, index) || item < 0)
		return NULL;
	value = value_get(sections->services->items[index], key);
	if (!value)
		value = value_get(sections->root, key);
	if (value && value->kind == VALUE_LIST)
		value = (size_t)item < value->count ? value->items[item] : NULL;
	else if (item > 0)
		return NULL;
	return value && value->kind == VALUE_SCALAR ? value->text : NULL;
}
