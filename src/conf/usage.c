/*
 * usage.c - the option table for people: --help, --version, and the OPTIONS section of the manual
 * page. What a row says about itself (choices, default) is added to its help text here, so that it
 * cannot say anything else than the parser does; --help has the defaults that the program itself
 * sets, the page those of the table. Failure: no memory, or no room in the buffer.
 */
#include "conf/table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 80         /* of --help, in columns */
#define INDENT 26        /* where help texts begin */
#define LABEL_BYTES 256  /* of "--name ARGUMENT"; own arguments may be long */
#define TEXT_BYTES 65536 /* of a help text with choices and default */
#define VALUE_BYTES 400  /* of a default; a program's own rules may be long */

static const char *const titles[CONF_GROUPS] = {
    [CONF_LISTENING] = "Listening",     [CONF_ACCESS] = "Access",
    [CONF_CONCURRENCY] = "Concurrency", [CONF_PRIVILEGES] = "Privileges",
    [CONF_LOGGING] = "Logging",         [CONF_LIFE] = "Life cycle",
    [CONF_INFORMATION] = "Information",
};

static const char *name_of(const struct netd_service *service)
{
	return service->name ? service->name : "netdaemon";
}

static bool on_by_default(const struct conf_option *option)
{
	return option->kind == CONF_FLAG && option->value && strcmp(option->value, "1") == 0;
}

/* What holds when nobody gives a value, in words; NULL: nothing to tell. chosen: what the program
 * itself sets, NULL: nothing. */
static const char *default_words(const struct conf_option *option, const char *chosen)
{
	if (chosen && option->kind == CONF_FLAG)
		return strcmp(chosen, "1") == 0 ? "on" : "off";
	if (chosen)
		return chosen;
	if (option->otherwise)
		return option->otherwise;
	if (option->kind == CONF_FLAG)
		return on_by_default(option) ? "on" : NULL;
	return option->value && *option->value ? option->value : NULL;
}

/* What the row knows beside its help text: "(a, b or c; default: b)". */
static int add_extras(struct buf *out, const struct conf_option *option, const char *chosen,
		      const char *before)
{
	const char *fallback = default_words(option, chosen);
	char shown[VALUE_BYTES];
	int rc;

	if (!option->choices && !fallback)
		return 0;
	rc = buf_adds(out, before);
	if (rc == 0 && option->choices)
		rc = conf_words(out, option->choices);
	if (rc == 0 && fallback)
		rc = buf_addf(out, "%sdefault: %s", option->choices ? "; " : "",
			      conf_show(shown, sizeof shown, fallback, strlen(fallback)));
	return rc < 0 ? rc : buf_addc(out, ')');
}

/* The help text, and the extras within its last sentence. */
static int add_help(struct buf *out, const struct conf_option *option, const char *chosen)
{
	size_t length = strlen(option->help);
	bool stop = length && option->help[length - 1] == '.';
	int rc = buf_add(out, option->help, length - stop);

	if (rc == 0)
		rc = add_extras(out, option, chosen, length ? " (" : "(");
	return rc == 0 && stop ? buf_addc(out, '.') : rc;
}

/* -------------------------------------------------------------------------------------------- help
 */

static int begin_line(struct buf *out)
{
	return buf_addf(out, "\n%*s", INDENT, "");
}

/* Words of text, wrapped; the cursor stands in column, the text begins at INDENT. */
static int add_wrapped(struct buf *out, const char *text, size_t column)
{
	int rc = 0;

	if (column + 2 > INDENT)
		rc = begin_line(out);
	else
		rc = buf_addf(out, "%*s", (int)(INDENT - column), "");
	column = INDENT;
	while (rc == 0 && *text) {
		size_t length = strcspn(text, " \n\t");

		if (column > INDENT && column + 1 + length > WIDTH) {
			rc = begin_line(out);
			column = INDENT;
		} else if (column > INDENT) {
			rc = buf_addc(out, ' ');
			column++;
		}
		if (rc == 0)
			rc = buf_add(out, text, length);
		column += length;
		text += length;
		text += strspn(text, " \n\t");
	}
	return rc < 0 ? rc : buf_addc(out, '\n');
}

static int add_usage_row(struct buf *out, const struct conf_option *option, const char *chosen)
{
	bool on = on_by_default(option) || (option->kind == CONF_FLAG && chosen && *chosen == '1');
	char label[LABEL_BYTES];
	struct buf text;
	int rc;

	snprintf(label, sizeof label, "  %s%s%s%s%s", option->flags & CONF_FILE_ONLY ? "" : "--",
		 on ? "[no]" : "", option->name, option->argument ? " " : "",
		 option->argument ? option->argument : "");
	buf_init(&text, TEXT_BYTES);
	rc = buf_adds(out, label);
	if (rc == 0)
		rc = add_help(&text, option, chosen);
	if (rc == 0)
		rc = add_wrapped(out, buf_text(&text), strlen(label));
	buf_finish(&text);
	return rc;
}

static int add_usage_group(struct buf *out, const struct conf_own *own, enum conf_group group,
			   const char *name)
{
	bool begun = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf_count(own); i++) {
		const struct conf_option *option = conf_at(own, i);

		if (option->group != group)
			continue;
		if (!begun && group == CONF_OWN)
			rc = buf_addf(out, "\nOptions of %s:\n", name);
		else if (!begun)
			rc = buf_addf(out, "\n%s:\n", titles[group]);
		begun = true;
		if (rc == 0)
			rc = add_usage_row(out, option,
					   i < conf_option_count ? own->chosen[i] : NULL);
	}
	return rc;
}

int conf_usage(struct buf *out, const struct netd_service *service, const struct settings *settings)
{
	const char *name = name_of(service);
	int rc = buf_addf(out, "Usage: %s [options]\n", name);

	if (rc == 0 && service->summary)
		rc = buf_addf(out, "%s\n", service->summary);
	for (int group = 0; rc == 0 && group < CONF_GROUPS; group++)
		rc = add_usage_group(out, settings->own, (enum conf_group)group, name);
	if (rc == 0)
		rc = buf_adds(out, "\nNames may be shortened as long as they stay unambiguous. The "
				   "config file takes\nthe same names; netdaemon.conf(5) "
				   "describes it.\n");
	return rc;
}

int conf_version(struct buf *out, const struct netd_service *service)
{
	const char *version = service->version;

	return buf_addf(out, "%s%s%s (netdaemon " NETD_VERSION ")\n", name_of(service),
			version ? " " : "", version ? version : "");
}

/* ------------------------------------------------------------------------------------- manual page
 */

/* One word as mdoc: no macro at the beginning of a line, dashes of options as dashes. */
static int add_mdoc_word(struct buf *out, const char *word, size_t length)
{
	bool dashes = true;
	int rc = *word == '.' || *word == '\'' ? buf_adds(out, "\\&") : 0;

	for (size_t i = 0; rc == 0 && i < length; i++) {
		if (word[i] == '\\')
			rc = buf_adds(out, "\\e");
		else if (word[i] == '-' && dashes)
			rc = buf_adds(out, "\\-");
		else
			rc = buf_addc(out, word[i]);
		dashes = dashes && (word[i] == '-' || word[i] == '(');
	}
	return rc;
}

/* Text in short lines, each sentence on a new one, as mdoc wants it. */
static int add_mdoc_text(struct buf *out, const char *text)
{
	size_t column = 0;
	int rc = 0;

	while (rc == 0 && *text) {
		size_t length = strcspn(text, " ");
		const char *next = text + length + strspn(text + length, " ");
		bool end_line = text[length - 1] == '.';

		rc = add_mdoc_word(out, text, length);
		column += length + 1;
		if (column + strcspn(next, " ") >= WIDTH - 8)
			end_line = true;
		if (rc == 0)
			rc = buf_addc(out, end_line || !*next ? '\n' : ' ');
		if (end_line)
			column = 0;
		text = next;
	}
	return rc;
}

static int add_mdoc_row(struct buf *out, const struct conf_option *option)
{
	struct buf text;
	int rc;

	if (option->flags & CONF_FILE_ONLY)
		rc = buf_addf(out, ".It Cm %s\n", option->name);
	else if (on_by_default(option))
		rc = buf_addf(out, ".It Fl -%s , Fl -no%s\n", option->name, option->name);
	else if (option->argument)
		rc = buf_addf(out, ".It Fl -%s Ar %s\n", option->name, option->argument);
	else
		rc = buf_addf(out, ".It Fl -%s\n", option->name);
	buf_init(&text, TEXT_BYTES);
	if (rc == 0)
		rc = add_help(&text, option, NULL);
	if (rc == 0)
		rc = add_mdoc_text(out, buf_text(&text));
	buf_finish(&text);
	return rc;
}

int conf_mdoc(struct buf *out)
{
	int rc = buf_adds(out, ".Sh OPTIONS\n");

	for (int group = CONF_OWN + 1; rc == 0 && group < CONF_GROUPS; group++) {
		rc = buf_addf(out, ".Ss %s\n.Bl -tag -width Ds\n", titles[group]);
		for (size_t i = 0; rc == 0 && i < conf_option_count; i++)
			if (conf_options[i].group == (enum conf_group)group)
				rc = add_mdoc_row(out, &conf_options[i]);
		if (rc == 0)
			rc = buf_adds(out, ".El\n");
	}
	return rc;
}
