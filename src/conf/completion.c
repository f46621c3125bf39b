/*
 * completion.c - --completion: the option table as a completion script for bash or zsh, the
 * service's own options included. What a value may be is read from its row: choices as they stand,
 * files, folders, users and groups by what --help calls them. Needs no package of helper functions.
 *
 * Happy path: a head, a line for each option, a foot. Failure: no memory, or no room in the buffer.
 */
#include "conf/table.h"

#include <errno.h>
#include <string.h>

/* How a shell finds values, by the word that --help has for them. */
static const struct values {
	const char *argument;
	const char *bash; /* arguments of compgen */
	const char *zsh;  /* a function */
} values[] = {
    {"FILE", "-f", "_files"},   {"DIRECTORY", "-d", "_files -/"}, {"PATH", "-f", "_files"},
    {"USER", "-u", "_users"},   {"OWNER", "-u", "_users"},        {"GROUP", "-g", "_groups"},
    {"PORT", "-A service", ""},
};

static const struct values *values_of(const struct conf_option *option)
{
	for (size_t i = 0; option->argument && i < ARRAY_LEN(values); i++)
		if (strcmp(values[i].argument, option->argument) == 0)
			return &values[i];
	return NULL;
}

/* "a|b" as "a b". */
static int add_choices(struct buf *out, const char *choices)
{
	int rc = 0;

	for (const char *p = choices; rc == 0 && *p; p++)
		rc = buf_addc(out, *p == '|' ? ' ' : *p);
	return rc;
}

/* The name as part of a function's. */
static int add_identifier(struct buf *out, const char *name)
{
	int rc = buf_addc(out, '_');

	for (; rc == 0 && *name; name++)
		rc = buf_addc(out, strchr("-./+", *name) ? '_' : *name);
	return rc;
}

/* -------------------------------------------------------------------------------------------- bash
 */

static const char bash_head[] =
    "()\n{\n"
    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i\n"
    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
    "\t\tif [ \"${COMP_WORDS[i]}\" = -- ]; then # a command of its own\n"
    "\t\t\tif ((i == COMP_CWORD - 1)); then\n"
    "\t\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
    "\t\t\telse\n"
    "\t\t\t\tcompopt -o default\n"
    "\t\t\t\tCOMPREPLY=()\n"
    "\t\t\tfi\n"
    "\t\t\treturn\n"
    "\t\tfi\n"
    "\tdone\n"
    "\t# --name=value comes as three words\n"
    "\tif [ \"$cur\" = = ]; then\n"
    "\t\tcur=\n"
    "\telif [ \"$prev\" = = ]; then\n"
    "\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "\tfi\n"
    "\tCOMPREPLY=()\n"
    "\tcase $prev in\n";

/* What follows an option; nothing for a flag. */
static int add_bash_values(struct buf *out, const struct conf_option *option)
{
	const struct values *kind = values_of(option);
	int rc;

	if (option->flags & CONF_FILE_ONLY || option->kind == CONF_FLAG)
		return 0;
	rc = buf_addf(out, "\t--%s)", option->name);
	if (rc == 0 && option->choices) {
		rc = buf_adds(out, " mapfile -t COMPREPLY < <(compgen -W '");
		if (rc == 0)
			rc = add_choices(out, option->choices);
		if (rc == 0)
			rc = buf_adds(out, "' -- \"$cur\");");
	} else if (rc == 0 && kind) {
		rc = buf_addf(out, "%s mapfile -t COMPREPLY < <(compgen %s -- \"$cur\");",
			      strcmp(kind->bash, "-f") == 0 || strcmp(kind->bash, "-d") == 0
				  ? " compopt -o filenames;"
				  : "",
			      kind->bash);
	}
	return rc < 0 ? rc : buf_adds(out, " return ;;\n");
}

static int add_bash(struct buf *out, const struct conf_own *own, const char *name)
{
	int rc = buf_addf(out, "# bash completion for %s\n", name);

	if (rc == 0)
		rc = add_identifier(out, name);
	if (rc == 0)
		rc = buf_adds(out, bash_head);
	for (size_t i = 0; rc == 0 && i < conf_count(own); i++)
		rc = add_bash_values(out, conf_at(own, i));
	if (rc == 0)
		rc = buf_adds(out, "\tesac\n\tmapfile -t COMPREPLY < <(compgen -W '");
	for (size_t i = 0; rc == 0 && i < conf_count(own); i++) {
		const struct conf_option *option = conf_at(own, i);

		if (option->flags & CONF_FILE_ONLY)
			continue;
		rc = buf_addf(out, "--%s ", option->name);
		if (rc == 0 && option->kind == CONF_FLAG && option->group != CONF_INFORMATION)
			rc = buf_addf(out, "--no%s ", option->name);
	}
	if (rc == 0)
		rc = buf_adds(out, "--' -- \"$cur\")\n}\ncomplete -F ");
	if (rc == 0)
		rc = add_identifier(out, name);
	return rc < 0 ? rc : buf_addf(out, " %s\n", name);
}

/* --------------------------------------------------------------------------------------------- zsh
 */

/* The first sentence of the help text, within [...] and '...'. */
static int add_zsh_help(struct buf *out, const char *help)
{
	int rc = 0;

	for (; rc == 0 && *help; help++) {
		if (help[0] == '.' && (help[1] == ' ' || help[1] == '\0'))
			break;
		if (strchr("[]:\\", *help))
			rc = buf_addc(out, '\\');
		if (rc == 0 && *help == '\'')
			rc = buf_adds(out, "'\\''");
		else if (rc == 0)
			rc = buf_addc(out, *help);
	}
	return rc;
}

static int add_zsh_option(struct buf *out, const struct conf_option *option)
{
	const struct values *kind = values_of(option);
	bool flag = option->kind == CONF_FLAG;
	int rc;

	if (option->flags & CONF_FILE_ONLY)
		return 0;
	rc = buf_addf(out, "\t'%s--%s%s[", option->kind == CONF_LIST ? "*" : "", option->name,
		      flag ? "" : "=");
	if (rc == 0)
		rc = add_zsh_help(out, option->help);
	if (rc == 0)
		rc = buf_addc(out, ']');
	if (rc == 0 && !flag)
		rc = buf_addf(out, ":%s:", option->argument);
	if (rc == 0 && option->choices) {
		rc = buf_addc(out, '(');
		if (rc == 0)
			rc = add_choices(out, option->choices);
		if (rc == 0)
			rc = buf_addc(out, ')');
	} else if (rc == 0 && kind) {
		rc = buf_adds(out, kind->zsh);
	}
	if (rc == 0)
		rc = buf_adds(out, "' \\\n");
	if (rc == 0 && flag && option->group != CONF_INFORMATION)
		rc = buf_addf(out, "\t'--no%s' \\\n", option->name);
	return rc;
}

static int add_zsh(struct buf *out, const struct conf_own *own, const char *name)
{
	int rc = buf_addf(out, "#compdef %s\n_arguments \\\n", name);

	for (size_t i = 0; rc == 0 && i < conf_count(own); i++)
		rc = add_zsh_option(out, conf_at(own, i));
	/* A command of its own after "--". */
	return rc < 0 ? rc : buf_adds(out, "\t'*:: :_normal'\n");
}

int conf_completion(struct buf *out, const struct netd_service *service, const char *shell)
{
	const char *name = service->name ? service->name : "netdaemon";
	struct conf_own *own = NULL;
	int rc = conf_own_new(&own, service, NULL);

	if (rc == 0 && strcmp(shell, "zsh") == 0)
		rc = add_zsh(out, own, name);
	else if (rc == 0)
		rc = add_bash(out, own, name);
	conf_own_free(own);
	return rc;
}
