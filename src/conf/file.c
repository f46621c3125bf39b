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

#define CHUNK 65536     /* bytes read at a time */
#define LABEL_BYTES 256 /* of a path in messages: what follows it must fit in too */

/* --------------------------------------------------------------------------------------- reading
 */

/* The end of a path: its beginning is the part that people can do without in a message. */
static void make_label(char *out, size_t room, const char *path)
{
	size_t length = strlen(path);

	if (length < room)
		snprintf(out, room, "%s", path);
	else
		snprintf(out, room, "...%s", path + length - (room - sizeof "..."));
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

static int check_trust(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s: found %s, expected a regular file", path,
			       type_word(st.st_mode));
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(err, -EACCES,
			       "%s: found owner %lld, expected root or the user that starts the "
			       "server (%lld): run chown root %s",
			       path, (long long)st.st_uid, (long long)geteuid(), path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EACCES,
			       "%s: found mode %04o, expected a file that neither group nor others "
			       "can write: run chmod go-w %s",
			       path, (unsigned)st.st_mode & 07777, path);
	if (st.st_size > (off_t)VALUE_FILE_MAX)
		return err_set(err, -EFBIG, "%s: found %lld bytes, expected at most %u", path,
			       (long long)st.st_size, VALUE_FILE_MAX);
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
	char label[LABEL_BYTES];
	struct buf text;
	int fd, rc;

	make_label(label, sizeof label, path);
	/* Not blocking: opening a FIFO would wait for a writer. No terminal of a device becomes
	 * ours. A symbolic link is followed: what counts is the file that was opened. */
	do
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_sys(err, -errno, "%s", label);
	buf_init(&text, VALUE_FILE_MAX + 2 * CHUNK);
	rc = check_trust(fd, label, err);
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
	return at(file, value, -EINVAL);
}

static int apply_key(const struct file *file, const char *key, const struct value *value)
{
	const struct conf_option *option;
	char where[LABEL_BYTES + 32];
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

static int apply_root(const struct file *file, const struct value *root)
{
	int rc = 0;

	if (root->kind == VALUE_UNDEF)
		return 0; /* nothing but comments */
	if (root->kind != VALUE_MAP) {
		err_set(file->err, -EINVAL, "found %s, expected a map of options",
			conf_kind_word(root));
		return at(file, root, -EINVAL);
	}
	for (size_t i = 0; rc == 0 && i < root->count; i++)
		rc = apply_key(file, root->keys[i], root->items[i]);
	return rc;
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

int conf_apply_text(struct settings *settings, const char *path, const char *text, size_t length,
		    struct err *err)
{
	char label[LABEL_BYTES];
	struct file file = {.settings = settings, .label = label, .err = err};
	const struct value_warn on_warning = {warn, &file};
	struct value *root = NULL;
	int rc;

	if (length == 0)
		return 0;
	make_label(label, sizeof label, path);
	file.seen = calloc(conf_count(settings->own), sizeof *file.seen);
	if (!file.seen)
		return err_set(err, -ENOMEM, "out of memory");
	if (is_yaml(path))
		rc = value_read_yaml(&root, text, length, &on_warning, err);
	else
		rc = value_read_perl(&root, text, length, &on_warning, err);
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
