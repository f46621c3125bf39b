/*
 * file.c - the config file: read safely (security rule 23), taken apart as YAML or Perl data by the
 * ending of its name, every key applied to its option.
 * Failure: "FILE:LINE:COLUMN: KEY: found ..., expected ..."; a file that others could have written
 * is refused before a byte of it is used, with the command that mends it.
 */
#include "conf/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536 /* bytes read at a time */

/* --------------------------------------------------------------------------------------- reading
 */

const char *conf_label(char out[CONF_LABEL_BYTES], const char *path)
{
	size_t length = strlen(path);

	if (length < CONF_LABEL_BYTES)
		snprintf(out, CONF_LABEL_BYTES, "%s", path);
	else
		snprintf(out, CONF_LABEL_BYTES, "...%s",
			 path + length - (CONF_LABEL_BYTES - sizeof "..."));
	return out;
}

static const char *type_word(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "something else";
	}
}

static int check_trust(int fd, const char *path, uid_t owner, struct stat *st, struct err *err)
{
	if (fstat(fd, st) < 0)
		return err_sys(err, -errno, "%s", path);
	if (!S_ISREG(st->st_mode))
		return err_set(err, -EINVAL, "%s: found %s, expected a regular file", path,
			       type_word(st->st_mode));
	if (st->st_uid != 0 && st->st_uid != owner)
		return err_set(err, -EACCES,
			       "%s: found owner %lld, expected root or the user that starts the "
			       "server (%lld): run chown root %s",
			       path, (long long)st->st_uid, (long long)owner, path);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EACCES,
			       "%s: found mode %04o, expected a file that neither group nor others "
			       "can write: run chmod go-w %s",
			       path, (unsigned)st->st_mode & 07777, path);
	if (st->st_size > (off_t)VALUE_FILE_MAX)
		return err_set(err, -EFBIG, "%s: found %lld bytes, expected at most %u", path,
			       (long long)st->st_size, VALUE_FILE_MAX);
	return 0;
}

/* The size was checked already, but a file may grow, and files in /proc have none. */
static int read_all(int fd, struct buf *out, const char *path, struct err *err)
{
	for (;;) {
		ssize_t n;
		int rc = buf_reserve(out, CHUNK);

		if (rc < 0)
			return err_set(err, rc, "%s: out of memory", path);
		n = read(fd, out->data + out->len, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "%s", path);
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len > VALUE_FILE_MAX)
			return err_set(err, -EFBIG, "%s: expected at most %u bytes", path,
				       VALUE_FILE_MAX);
		if (n == 0)
			return 0;
	}
}

int conf_read_file(struct buf *out, const char *path, struct err *err)
{
	struct stat st;

	return conf_read_trusted(out, path, geteuid(), &st, err);
}

int conf_read_trusted(struct buf *out, const char *path, uid_t owner, struct stat *st,
		      struct err *err)
{
	char label[CONF_LABEL_BYTES];
	struct buf text;
	int fd, rc;

	conf_label(label, path);
	/* Not blocking: opening a FIFO would wait for a writer. No terminal of a device becomes
	 * ours. A symbolic link is followed: what counts is the file that was opened. */
	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_sys(err, -errno, "%s", label);
	buf_init(&text, VALUE_FILE_MAX + 2 * CHUNK);
	rc = check_trust(fd, label, owner, st, err);
	if (rc == 0)
		rc = read_all(fd, &text, label, err);
	close(fd);
	if (rc < 0) {
		buf_finish(&text);
		return rc;
	}
	*out = text;
	return 0;
}

/* -------------------------------------------------------------------------------------- applying
 */

/* What the functions below share: where things go, and what messages begin with. */
struct file {
	struct settings *settings;
	const char *label;
	struct err *err;
	bool *seen; /* by option index: given in this file */
};

/* Behind what was recorded. */
static void add_words(struct err *err, const char *words)
{
	size_t used = err ? strlen(err->text) : 0;

	if (err)
		snprintf(err->text + used, sizeof err->text - used, "%s", words);
}

/* "FILE:LINE:COLUMN: " in front of what was recorded. */
static int at(const struct file *file, const struct value *value, int rc)
{
	err_prefix(file->err, "%s:%d:%d: ", file->label, value->line, value->column);
	return rc;
}

static int at_key(const struct file *file, const struct value *value, const char *key, int rc)
{
	err_prefix(file->err, "%s: ", key);
	return at(file, value, rc);
}

static int apply_scalar(const struct file *file, size_t index, const struct value *value,
			bool append)
{
	const struct conf_option *option = conf_at(file->settings->own, index);
	int rc;

	if (value->kind != VALUE_SCALAR)
		rc = conf_wrong(option, conf_kind_word(value), file->err);
	else
		rc = conf_set(file->settings, index, value->text, append, file->err);
	return rc < 0 ? at_key(file, value, option->name, rc) : 0;
}

static int apply_list(const struct file *file, size_t index, const struct value *value)
{
	int rc = 0;

	if (value->kind != VALUE_LIST)
		return apply_scalar(file, index, value, false);
	conf_clear_list(file->settings, index);
	for (size_t i = 0; rc == 0 && i < value->count; i++)
		rc = apply_scalar(file, index, value->items[i], true);
	return rc;
}

static int apply_tree(const struct file *file, size_t index, const struct value *value)
{
	const struct value *culprit;
	int rc = conf_set_tree(file->settings, index, value, &culprit, file->err);

	return rc < 0 ? at_key(file, culprit, conf_options[index].name, rc) : 0;
}

static int unknown(const struct file *file, const char *key, const struct value *value)
{
	const struct conf_option *near =
	    conf_nearest(file->settings->own, key, strlen(key), CONF_LINE_ONLY);
	char shown[CONF_SHOWN_BYTES];

	conf_show(shown, sizeof shown, key, strlen(key));
	if (near)
		err_set(file->err, -EINVAL, "unknown key '%s', did you mean '%s'?", shown,
			near->name);
	else
		err_set(file->err, -EINVAL, "unknown key '%s'", shown);
	err_prefix(file->err, "%s:%d:%d: ", file->label, value->key_line, value->key_column);
	return -EINVAL;
}

static int apply_key(const struct file *file, const char *key, const struct value *value)
{
	const struct conf_option *option;
	char where[CONF_LABEL_BYTES + 32];
	size_t index;
	int rc;

	if (conf_find_key(file->settings->own, key, &index) < 0)
		return unknown(file, key, value);
	option = conf_at(file->settings->own, index);
	if (option->flags & CONF_LINE_ONLY) {
		rc = err_set(file->err, -EINVAL, "belongs on the command line: --%s", option->name);
		return at_key(file, value, option->name, rc);
	}
	if (file->seen[index]) { /* once as loop_child, once as loop-child */
		rc = err_set(file->err, -EINVAL, "given twice");
		return at_key(file, value, option->name, rc);
	}
	file->seen[index] = true;
	if (option->kind == CONF_TREE)
		rc = apply_tree(file, index, value);
	else if (option->kind == CONF_LIST)
		rc = apply_list(file, index, value);
	else
		rc = apply_scalar(file, index, value, false);
	if (rc < 0)
		return rc;
	snprintf(where, sizeof where, "%s:%d:%d", file->label, value->line, value->column);
	rc = conf_set_where(file->settings, index, where);
	return rc < 0 ? err_set(file->err, rc, "out of memory") : 0;
}

/* The map of a service, or the top of the file, but for the services in it. */
static int apply_map(const struct file *file, const struct value *map)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < map->count; i++)
		if (strcmp(map->keys[i], CONF_SERVICES) != 0)
			rc = apply_key(file, map->keys[i], map->items[i]);
	return rc;
}

/* The service's own values come later and win over those at the top. */
static int apply_section(const struct file *file, const struct value *root,
			 const struct value *section)
{
	int rc = apply_map(file, root);

	if (rc < 0 || !section)
		return rc;
	memset(file->seen, 0, conf_count(file->settings->own) * sizeof *file->seen);
	return apply_map(file, section);
}

static int apply_root(const struct file *file, const struct value *root)
{
	const struct value *section, *culprit;
	size_t index;
	int rc;

	if (root->kind == VALUE_UNDEF && !file->settings->section)
		return 0; /* nothing but comments */
	if (root->kind != VALUE_MAP) {
		err_set(file->err, -EINVAL, "found %s, expected a map of options",
			conf_kind_word(root));
		return at(file, root, -EINVAL);
	}
	rc = conf_find_section(root, file->settings->section, &section, &culprit, file->err);
	if (rc == -ENOKEY && conf_find_key(file->settings->own, CONF_SERVICES, &index) == 0)
		add_words(file->err, ", or --" CONF_SERVICES " FILE for all of them");
	if (rc < 0)
		return at_key(file, culprit, CONF_SERVICES, -EINVAL);
	return apply_section(file, root, section);
}

static void warn(void *arg, int line, int column, const char *text)
{
	const struct file *file = arg;

	/* No memory for a warning is no reason to stop. */
	(void)strlist_addf(&file->settings->warnings, "%s:%d:%d: %s", file->label, line, column,
			   text);
}

static bool is_yaml(const char *path)
{
	static const char *const endings[] = {".yaml", ".yml", ".json"};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_LEN(endings); i++)
		if (strcasecmp(dot, endings[i]) == 0)
			return true;
	return false;
}

/* Is the first thing in it a key of YAML or JSON, "mode:" or {"mode": ? */
static bool looks_like_yaml(const char *text)
{
	static const char word[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t length;

	for (text += strspn(text, " \t\r\n"); *text == '#' || strncmp(text, "---", 3) == 0;
	     text += strspn(text, " \t\r\n"))
		text += strcspn(text, "\n");
	if (*text == '{')
		text += 1 + strspn(text + 1, " \t\r\n");
	if (*text == '"' || *text == '\'')
		text++;
	length = strspn(text, word);
	if (length && (text[length] == '"' || text[length] == '\''))
		length++;
	return length && text[length] == ':' && text[length + 1] != ':';
}

int conf_parse(struct value **out, const char *path, const char *text, size_t length,
	       const struct value_warn *on_warning, struct err *err)
{
	int rc;

	if (is_yaml(path))
		return value_read_yaml(out, text, length, on_warning, err);
	rc = value_read_perl(out, text, length, on_warning, err);
	if (rc == -EINVAL && looks_like_yaml(text))
		add_words(err, "; if this is YAML, its name must end in .yaml, .yml or .json");
	return rc;
}

int conf_apply_text(struct settings *settings, const char *path, const char *text, size_t length,
		    struct err *err)
{
	char label[CONF_LABEL_BYTES];
	struct file file = {.settings = settings, .label = label, .err = err};
	const struct value_warn on_warning = {warn, &file};
	struct value *root = NULL;
	int rc;

	conf_label(label, path);
	if (length == 0 && settings->section)
		return err_set(err, -EINVAL, "%s: nothing in it, expected the key %s", label,
			       CONF_SERVICES);
	if (length == 0)
		return 0;
	file.seen = calloc(conf_count(settings->own), sizeof *file.seen);
	if (!file.seen)
		return err_set(err, -ENOMEM, "out of memory");
	rc = conf_parse(&root, path, text, length, &on_warning, err);
	if (rc < 0)
		err_prefix(err, "%s:%s", label, rc == -EINVAL ? "" : " ");
	else
		rc = apply_root(&file, root);
	value_free(root);
	free(file.seen);
	return rc;
}

int conf_apply_file(struct settings *settings, const char *path, struct err *err)
{
	struct buf text;
	int rc = conf_read_file(&text, path, err);

	if (rc < 0)
		return rc;
	rc = conf_apply_text(settings, path, buf_text(&text), text.len, err);
	buf_finish(&text);
	return rc;
}
