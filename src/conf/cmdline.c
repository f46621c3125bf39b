/*
 * cmdline.c - the command line, as Getopt::Long reads it: --name value, --name=value, -name,
 * --noname and --no-name for flags, abbreviations, any case, "--" ends. An option given twice: the
 * last one wins; --bind gathers. Taking apart and applying are two steps, since the file that
 * --configfile names comes between them.
 *
 * The word after an option is its value even when it begins with '-' (a number, a lone "-"), but
 * not when it is itself an option or "--": "--user --debug" is a value forgotten. Getopt::Long
 * would run as user "--debug". Such a value can be given as --user=--debug.
 *
 * Failure: words that begin with the option, with a proposal for a name nobody has.
 */
#include "conf/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Where the name in a word begins: after one or two dashes. NULL: no option ("x", "-"). */
static const char *option_name(const char *word)
{
	if (word[0] != '-' || !word[1])
		return NULL;
	return word + (word[1] == '-' ? 2 : 1);
}

static int unknown(const struct conf_own *own, const char *word, const char *name, size_t length,
		   struct err *err)
{
	const struct conf_option *near = conf_nearest(own, name, length, CONF_FILE_ONLY);
	const char *form = "";
	char shown[CONF_SHOWN_BYTES];

	if (!near && length > 2 && strncasecmp(name, "no", 2) == 0) {
		size_t used = name[2] == '-' ? 3 : 2;

		form = "no";
		near = conf_nearest(own, name + used, length - used, CONF_FILE_ONLY);
		if (near && near->kind != CONF_FLAG)
			near = NULL;
	}
	conf_show(shown, sizeof shown, word, (size_t)(name - word) + length);
	if (near)
		return err_set(err, -EINVAL, "%s: unknown option, did you mean --%s%s?", shown,
			       form, near->name);
	return err_set(err, -EINVAL, "%s: unknown option, see --help", shown);
}

/* True when a word is an option of ours, in any spelling. */
static bool is_option(const struct conf_own *own, const char *word)
{
	const char *name = option_name(word);
	struct conf_match match;

	if (!name)
		return false;
	return strcmp(word, "--") == 0 ||
	       conf_find(own, name, strcspn(name, "="), &match, NULL) != -ENOENT;
}

/* The value of an option: behind its '=', or the next word, which is then used up. */
static int take_value(const struct conf_own *own, const struct conf_option *option,
		      const char *equals, int *argc, char ***argv, const char **out,
		      struct err *err)
{
	char shown[CONF_SHOWN_BYTES];
	const char *next = *argc > 0 ? **argv : NULL;

	if (equals) {
		*out = equals + 1;
		return 0;
	}
	if (!next)
		return err_set(err, -EINVAL, "--%s: no value given, expected --%s %s", option->name,
			       option->name, option->argument);
	if (is_option(own, next))
		return err_set(err, -EINVAL,
			       "--%s: no value given: %s is an option; if it is the "
			       "value, write --%s=VALUE",
			       option->name, conf_show(shown, sizeof shown, next, strlen(next)),
			       option->name);
	*out = next;
	--*argc;
	++*argv;
	return 0;
}

/* One option, its word already taken from argv. */
static int parse_option(const struct conf_own *own, const char *word, const char *name, int *argc,
			char ***argv, struct conf_argument *out, struct err *err)
{
	size_t length = strcspn(name, "=");
	const char *equals = name[length] ? name + length : NULL;
	const struct conf_option *option;
	struct conf_match match;
	int rc = conf_find(own, name, length, &match, err);

	if (rc == -ENOENT)
		return unknown(own, word, name, length, err);
	if (rc < 0)
		return rc;
	option = conf_at(own, match.index);
	out->index = match.index;
	if (option->kind != CONF_FLAG)
		return take_value(own, option, equals, argc, argv, &out->text, err);
	if (equals)
		return err_set(err, -EINVAL, "--%s%s: takes no value; use --%s or --no%s",
			       match.negated ? "no" : "", option->name, option->name, option->name);
	out->text = match.negated ? "0" : "1";
	return 0;
}

int conf_cmdline_parse(struct conf_cmdline *out, const struct conf_own *own, int argc, char **argv,
		       struct err *err)
{
	char shown[CONF_SHOWN_BYTES];
	int rc;

	*out = (struct conf_cmdline){0};
	if (argc < 2)
		return 0;
	out->items = calloc((size_t)argc, sizeof *out->items);
	if (!out->items)
		return err_set(err, -ENOMEM, "out of memory");
	for (argc--, argv++; argc > 0;) {
		const char *word = *argv;
		const char *name = option_name(word);

		argc--;
		argv++;
		if (strcmp(word, "--") == 0 && argc > 0)
			word = *argv; /* options end here, and there is nothing but options */
		else if (strcmp(word, "--") == 0)
			break;
		else if (name) {
			rc = parse_option(own, word, name, &argc, &argv, &out->items[out->count],
					  err);
			if (rc < 0)
				return rc;
			out->count++;
			continue;
		}
		return err_set(err, -EINVAL, "unexpected argument '%s'",
			       conf_show(shown, sizeof shown, word, strlen(word)));
	}
	return 0;
}

void conf_cmdline_finish(struct conf_cmdline *line)
{
	free(line->items);
	*line = (struct conf_cmdline){0};
}

const char *conf_cmdline_last(const struct conf_cmdline *line, const char *name)
{
	size_t index;

	if (conf_find_key(NULL, name, &index) < 0)
		return NULL;
	for (size_t i = line->count; i > 0; i--)
		if (line->items[i - 1].index == index)
			return line->items[i - 1].text;
	return NULL;
}

/* Does the option with this number stand on the line before, too? */
static bool given_before(const struct conf_cmdline *line, size_t number)
{
	for (size_t i = 0; i < number; i++)
		if (line->items[i].index == line->items[number].index)
			return true;
	return false;
}

int conf_cmdline_apply(struct settings *settings, const struct conf_cmdline *line, struct err *err)
{
	char where[64];

	for (size_t i = 0; i < line->count; i++) {
		size_t index = line->items[i].index;
		bool append = given_before(line, i); /* lists: the first one replaces */
		int rc = conf_set(settings, index, line->items[i].text, append, err);

		snprintf(where, sizeof where, "--%s", conf_at(settings->own, index)->name);
		if (rc < 0) {
			err_prefix(err, "%s: ", where);
			return rc;
		}
		if (conf_set_where(settings, index, where) < 0)
			return err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}
