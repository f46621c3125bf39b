/*
 * settings.c - what the server shall do: defaults, attributes, config file and command line in this
 * order, then what follows from several options together. Read conf_load() first.
 * Failure: words that name the option and where it was set; what was gathered so far is freed by
 * conf_finish(). --help and --version need nothing to be right but the command line.
 */
#include "conf/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define THREAD_STACK (1 << 20)  /* bytes */
#define FIBER_STACK (256 << 10) /* there are many of them: less of the address space */

/* --------------------------------------------------------------------- what follows from the rest
 */

/* "--chroot: ", "file:3:7: chroot: ": in front of a complaint about a value set before. */
static int blame(const struct settings *settings, const char *name, struct err *err, int rc)
{
	const char *where = conf_where(settings, name);

	if (strncmp(where, "--", 2) == 0 || strncmp(where, "attribute ", 10) == 0)
		err_prefix(err, "%s: ", where);
	else
		err_prefix(err, "%s: %s: ", where, name);
	return rc;
}

static int set_text(char **out, const char *text, struct err *err)
{
	*out = strdup(text);
	return *out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* What nobody chose. */
static int settle_defaults(struct settings *settings, struct err *err)
{
	int rc = 0;

	if (!settings->mode)
		rc = set_text(&settings->mode, settings->childs > 0 ? "single" : "threads", err);
	if (rc == 0 && settings->stack_size == 0)
		settings->stack_size =
		    strcmp(settings->mode, "fibers") == 0 ? FIBER_STACK : THREAD_STACK;
	if (rc == 0 && !settings->proto)
		rc = set_text(&settings->proto, settings->localpath ? "unix" : "tcp", err);
	return rc;
}

static int settle_proto(const struct settings *settings, struct err *err)
{
	bool local = strcmp(settings->proto, "unix") == 0;

	if (local == (settings->localpath != NULL))
		return 0;
	if (local)
		err_set(err, -EINVAL, "found 'unix' without a path, expected --localpath PATH too");
	else
		err_set(err, -EINVAL, "found 'tcp' together with localpath (%s), expected unix",
			conf_where(settings, "localpath"));
	return blame(settings, "proto", err, -EINVAL);
}

static int settle_chroot(const struct settings *settings, struct err *err)
{
	const char *path = settings->chroot;
	char shown[CONF_SHOWN_BYTES];
	struct stat st;
	int rc = 0;

	if (!path)
		return 0;
	conf_show(shown, sizeof shown, path, strlen(path));
	if (path[0] != '/')
		rc = err_set(err, -EINVAL, "found '%s', expected an absolute path", shown);
	else if (stat(path, &st) < 0)
		rc = err_sys(err, -errno, "found '%s', expected a directory", shown);
	else if (!S_ISDIR(st.st_mode))
		rc = err_set(err, -ENOTDIR, "found '%s', expected a directory", shown);
	return rc < 0 ? blame(settings, "chroot", err, rc) : 0;
}

static int settle_section(struct settings *settings, struct err *err)
{
	char shown[CONF_SHOWN_BYTES];

	if (!settings->section || settings->configfile)
		return 0;
	conf_show(shown, sizeof shown, settings->section, strlen(settings->section));
	err_set(err, -EINVAL, "found '%s' without a file, expected --configfile FILE too", shown);
	free(settings->section); /* what is no service gives the server no name */
	settings->section = NULL;
	return blame(settings, "section", err, -EINVAL);
}

/* Elsewhere it stands for standard output, which is no place for a log. */
static int settle_logfile(const struct settings *settings, struct err *err)
{
	if (!settings->logfile || strcmp(settings->logfile, "-") != 0)
		return 0;
	err_set(err, -EINVAL, "found '-', expected STDERR for standard error, or a file as in ./-");
	return blame(settings, "logfile", err, -EINVAL);
}

static int settle(struct settings *settings, struct err *err)
{
	int rc = settle_defaults(settings, err);

	if (settings->pidfile && strcmp(settings->pidfile, "none") == 0) {
		free(settings->pidfile);
		settings->pidfile = NULL;
	}
	if (rc < 0 || settings->help || settings->version || settings->completion)
		return rc;
	rc = settle_section(settings, err);
	if (rc == 0)
		rc = settle_logfile(settings, err);
	if (rc == 0)
		rc = settle_proto(settings, err);
	return rc < 0 ? rc : settle_chroot(settings, err);
}

/* ---------------------------------------------------------------------------------------- loading
 */

static bool asked(const struct conf_cmdline *line, const char *name)
{
	const char *text = conf_cmdline_last(line, name);

	return text && strcmp(text, "1") == 0;
}

/* Attributes, then the file that they or the command line name. */
static int apply_sources(struct settings *settings, const struct netd_config *config,
			 const struct conf_cmdline *line, struct err *err)
{
	const char *file = conf_cmdline_last(line, "configfile");
	const char *section = conf_cmdline_last(line, "section");
	int rc;

	if (asked(line, "help") || asked(line, "version") || conf_cmdline_last(line, "completion"))
		return 0;
	rc = conf_apply_attributes(settings, config, err);
	if (rc < 0)
		return rc;
	if (section)
		rc = conf_set_section(settings, section, err);
	if (rc < 0)
		return rc;
	if (!file)
		file = settings->configfile;
	/* An empty name is left to the check of the command line. */
	return file && *file ? conf_apply_file(settings, file, err) : 0;
}

int conf_load(struct settings *out, const struct netd_service *service,
	      const struct netd_config *config, int argc, char **argv, struct err *err)
{
	struct conf_cmdline line = {0};
	int rc;

	*out = (struct settings){0};
	rc = conf_own_new(&out->own, service, err);
	if (rc < 0)
		return rc;
	rc = conf_cmdline_parse(&line, out->own, argc, argv, err);
	if (rc == 0)
		rc = conf_apply_defaults(out, err);
	if (rc == 0 && asked(&line, "help"))
		rc = conf_render_chosen(out->own, config, err);
	if (rc == 0)
		rc = apply_sources(out, config, &line, err);
	if (rc == 0)
		rc = conf_cmdline_apply(out, &line, err);
	if (rc == 0)
		rc = settle(out, err);
	if (rc == 0)
		rc = conf_render(out, err);
	conf_cmdline_finish(&line);
	return rc;
}

static void finish_value(struct settings *settings, const struct conf_option *option)
{
	void *place = (char *)settings + option->offset;

	switch (option->kind) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_PORT:
	case CONF_CHOICE:
		free(*(char **)place);
		break;
	case CONF_LIST:
		strlist_finish(place);
		break;
	case CONF_TREE:
		value_free(*(struct value **)place);
		break;
	case CONF_FLAG:
	case CONF_NUMBER:
	case CONF_SIZE:
	case CONF_MODE:
	case CONF_SECONDS:
	case CONF_RATE:
		break;
	}
}

void conf_finish(struct settings *settings)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		finish_value(settings, &conf_options[i]);
		free(settings->where[i]);
	}
	strlist_finish(&settings->warnings);
	conf_own_free(settings->own);
	*settings = (struct settings){0};
}

/* ----------------------------------------------------------------------------------------- asking
 */

const char *conf_where(const struct settings *settings, const char *name)
{
	const char *where = NULL;
	size_t index;

	if (conf_find_key(settings->own, name, &index) == 0)
		where = index < conf_option_count ? settings->where[index]
						  : settings->own->where[index - conf_option_count];
	return where ? where : "default";
}

const char *conf_get_item(const struct settings *settings, const char *name, size_t item)
{
	const struct strlist *list;
	size_t index;

	if (!settings->own || conf_find_key(settings->own, name, &index) < 0)
		return NULL;
	if (conf_at(settings->own, index)->kind != CONF_LIST)
		return item == 0 ? settings->own->texts[index] : NULL;
	list = conf_list(settings, index);
	return item < list->count ? list->items[item] : NULL;
}

const char *conf_get(const struct settings *settings, const char *name)
{
	size_t index;

	if (!settings->own || conf_find_key(settings->own, name, &index) < 0)
		return NULL;
	return settings->own->texts[index];
}
