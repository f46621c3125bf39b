/*
 * table.h - private to conf: the option table and what the files around it share. A row says all
 * there is to know about one option; parser, --help, config-file keys, manual page and the
 * attributes of struct netd_config are read from it. The service's own options are made into rows
 * of the same form, so that nothing but the place of the value differs.
 *
 * An option has an index: the standard ones come first (0 .. conf_option_count - 1), then the
 * service's own.
 */
#ifndef CONF_TABLE_H
#define CONF_TABLE_H

#include "conf/settings.h"

/* How a value is checked, how it is kept in struct settings, and as what it stands in struct
 * netd_config. */
enum conf_kind {
	CONF_FLAG,    /* bool; int: 1 on, -1 off, 0 default */
	CONF_NUMBER,  /* long long within [min, max]; int, 0 default */
	CONF_SIZE,    /* the same in bytes, "64K", "1M", "1G" */
	CONF_MODE,    /* the same as octal text; const char * */
	CONF_SECONDS, /* int64_t milliseconds; min, max in seconds; double, 0 default */
	CONF_RATE,    /* long long times per hour, as "N/s", "N/m", "N/h"; const char * */
	CONF_STRING,  /* char * of at most max bytes (0: any length); const char * */
	CONF_PATH,    /* likewise */
	CONF_PORT,    /* char *: a number or a known service name; const char * */
	CONF_CHOICE,  /* char *: one of the words in choices; const char * */
	CONF_LIST,    /* struct strlist, repeatable; const char *const * */
	CONF_TREE,    /* struct value *: the client rules; const char * in Perl syntax */
};

/* The sections of --help and the manual page, in their order. */
enum conf_group {
	CONF_OWN,
	CONF_LISTENING,
	CONF_ACCESS,
	CONF_CONCURRENCY,
	CONF_PRIVILEGES,
	CONF_LOGGING,
	CONF_LIFE,
	CONF_INFORMATION,
	CONF_GROUPS,
};

enum conf_flags {
	CONF_LINE_ONLY = 1, /* command line (and perhaps attribute), no key of the config file */
	CONF_FILE_ONLY = 2, /* config file and attribute, not on the command line */
	CONF_EMPTY_OK = 4,  /* the empty text is a value */
	CONF_ORIGINAL = 8,  /* an option of Net::Daemon: abbreviations of it stay what they were */
};

struct conf_option {
	const char *name; /* lower case, words parted by '-' */
	enum conf_kind kind;
	unsigned flags;
	enum conf_group group;
	size_t offset;         /* of the value in struct settings; own options: unused */
	size_t attribute;      /* offset in struct netd_config; 0: no attribute */
	const char *value;     /* the default as text; NULL: none */
	const char *otherwise; /* words for what holds without a value; NULL: value says it */
	long long min, max;    /* see enum conf_kind */
	const char *choices;   /* CONF_CHOICE: "a|b|c" */
	const char *aliases;   /* CONF_CHOICE: further spellings, "old=new|older=new"; NULL: none */
	const char *argument;  /* what --help calls the value; NULL: a flag */
	const char *expected;  /* words for a wrong value; NULL: made from kind and range */
	const char *help;      /* one or two sentences; the default is added to them */
};

extern const struct conf_option conf_options[];
extern const size_t conf_option_count; /* at most ARRAY_LEN(settings.where) */

/* A checked value: number for CONF_FLAG, NUMBER, SIZE, MODE, SECONDS (ms), RATE (per hour); text
 * for the rest. */
struct conf_scalar {
	long long number;
	char *text; /* owned */
};

/* The service's own options as rows, their values, and the text of every value. */
struct conf_own {
	struct conf_option *options; /* names and texts are borrowed from the service */
	size_t count;
	char **values;         /* count: checked text; NULL: none, and for lists */
	struct strlist *lists; /* count: those of kind CONF_LIST */
	char **where;          /* count: who set it; NULL: default */
	char **texts;  /* conf_option_count + count: what conf_get() gives, made by conf_render() */
	char **chosen; /* conf_option_count: the program's own defaults, made by
			* conf_render_chosen(), for --help only; NULL: it leaves the table's */
};

/* ------------------------------------------------------------------------------------ own.c, rows
 */

/* Make rows of service.options. Refuses names that are taken or no names, and defaults that are no
 * values: mistakes of the author. 0, -EINVAL, -ENOMEM. */
int conf_own_new(struct conf_own **out, const struct netd_service *service, struct err *err);
struct conf_own *conf_own_free(struct conf_own *own);

/* Keep a checked value in own->values, numbers as text; it takes scalar's text over (in failure
 * too). 0 or -ENOMEM. */
int conf_own_keep(char **value, struct conf_scalar *scalar);

/* How many options there are, and the row of one. own may be NULL: the standard ones. */
size_t conf_count(const struct conf_own *own);
const struct conf_option *conf_at(const struct conf_own *own, size_t index);

/* -------------------------------------------------------------------------------- names.c, finding
 */

struct conf_match {
	size_t index;
	bool negated; /* --noNAME */
};

/* A command-line name of this length, without dashes: exact, negated, or an abbreviation that means
 * one option only, or only one of those that Net::Daemon and the service have. 0, -ENOENT (unknown,
 * err not set), -EINVAL with err (ambiguous). */
int conf_find(const struct conf_own *own, const char *name, size_t length, struct conf_match *out,
	      struct err *err);

/* The same, exact names only. 0 or -ENOENT. */
int conf_find_exact(const struct conf_own *own, const char *name, size_t length,
		    struct conf_match *out);

/* An exact key of a config file, in any spelling of '-' and '_'. 0 or -ENOENT. */
int conf_find_key(const struct conf_own *own, const char *key, size_t *index);

/* The option whose name is nearest to a mistyped one; NULL: none is near. except: conf_flags of
 * rows that are no answer. */
const struct conf_option *conf_nearest(const struct conf_own *own, const char *name, size_t length,
				       unsigned except);

/* "a|b|c" as "a, b or c". */
int conf_words(struct buf *out, const char *list);

/* Text for people: controls as \xNN, "..." where it was cut to fit into room (8 or more). Returns
 * out. */
const char *conf_show(char *out, size_t room, const char *text, size_t length);
#define CONF_SHOWN_BYTES 72 /* room for a text within a message */

/* -------------------------------------------------------------------------- check.c, text to value
 */

/* Check text against a row: any kind but CONF_TREE; of CONF_LIST one item. Returns 0, -ENOMEM, or
 * -EINVAL with err "found 'x', expected y". */
int conf_check(const struct conf_option *option, const char *text, struct conf_scalar *out,
	       struct err *err);

/* What a row expects, in words. */
int conf_expected(struct buf *out, const struct conf_option *option);

/* Record "found WHAT, expected ..."; what is put down as it is. Returns -EINVAL. */
int conf_wrong(const struct conf_option *option, const char *what, struct err *err);

/* ------------------------------------------------------------------------- apply.c, value to place
 */

/* Check and keep a value. append: add to a list rather than replace it. Returns as conf_check(). */
int conf_set(struct settings *settings, size_t index, const char *text, bool append,
	     struct err *err);

/* Keep a copy of the client rules: a list of maps. Returns 0, -ENOMEM, or -EINVAL with err, and in
 * *culprit the value that is wrong. */
int conf_set_tree(struct settings *settings, size_t index, const struct value *value,
		  const struct value **culprit, struct err *err);

/* What a value of a tree is, in words: "a list". */
const char *conf_kind_word(const struct value *value);

/* The values of a list option. */
const struct strlist *conf_list(const struct settings *settings, size_t index);

/* Empty a list option. */
void conf_clear_list(struct settings *settings, size_t index);

/* Note who set an option. 0 or -ENOMEM. */
int conf_set_where(struct settings *settings, size_t index, const char *where);

/* All defaults of the table; and the attributes a program gave (config may be NULL). */
int conf_apply_defaults(struct settings *settings, struct err *err);
int conf_apply_attributes(struct settings *settings, const struct netd_config *config,
			  struct err *err);

/* ------------------------------------------------------------------------------------ the sources
 */

/* One option of the command line; text is argv's. */
struct conf_argument {
	size_t index;
	const char *text;
};

struct conf_cmdline {
	struct conf_argument *items;
	size_t count;
};

/* Take a command line apart; values are not looked at. 0, -EINVAL, -ENOMEM. Finish in any case. */
int conf_cmdline_parse(struct conf_cmdline *out, const struct conf_own *own, int argc, char **argv,
		       struct err *err);
void conf_cmdline_finish(struct conf_cmdline *line);
/* The text an option was given last; NULL: not given. */
const char *conf_cmdline_last(const struct conf_cmdline *line, const char *name);
int conf_cmdline_apply(struct settings *settings, const struct conf_cmdline *line, struct err *err);

/* Read a config file and keep its values, if settings->section is set those of that service; and
 * the same for a text that came from path. */
int conf_apply_file(struct settings *settings, const char *path, struct err *err);
int conf_apply_text(struct settings *settings, const char *path, const char *text, size_t length,
		    struct err *err);

/* ------------------------------------------------------------------- sections.c, several services
 */

/* The key of a config file under which the services stand. */
#define CONF_SERVICES "services"

/* Note which of them is wanted, before the file is read. Returns as conf_set(). */
int conf_set_section(struct settings *settings, const char *name, struct err *err);

/* Find the service name in the tree of a config file; name NULL: the file must not have any, *out
 * is NULL then, or -ENOKEY. Returns 0, or -EINVAL; with err, and in *culprit the value that is
 * wrong. */
int conf_find_section(const struct value *root, const char *name, const struct value **out,
		      const struct value **culprit, struct err *err);

/* Take a text, ended by NUL, apart: as YAML or Perl data by the ending of path. Failure: err
 * "LINE:COLUMN: ...". */
int conf_parse(struct value **out, const char *path, const char *text, size_t length,
	       const struct value_warn *on_warning, struct err *err);

/* The end of a path: its beginning is the part that people can do without in a message. */
#define CONF_LABEL_BYTES 256 /* of a path in messages: what follows it must fit in too */
const char *conf_label(char out[CONF_LABEL_BYTES], const char *path);

/* ------------------------------------------------------------------------- render.c, value to text
 */

/* Make the texts that conf_get() gives. 0 or -ENOMEM. */
int conf_render(struct settings *settings, struct err *err);

/* Make the texts of the defaults that a program sets by attributes (config may be NULL). From a
 * wrong one on the table's stand: --help is needed most when nothing else works. 0 or -ENOMEM. */
int conf_render_chosen(struct conf_own *own, const struct netd_config *config, struct err *err);

/* Milliseconds as seconds: "30", "0.25". */
int conf_add_seconds(struct buf *out, long long ms);

/* Times per hour as "50/s", "30/m", "100/h"; 0 as "0". */
int conf_add_rate(struct buf *out, long long per_hour);

#endif
