/*
 * render.c - values back to text: what netd_server_option() gives to a service, and the list that
 * --check shows. Done once, when all sources are read, so that asking needs no memory. Client rules
 * are written as Perl data, as they could stand in a config file.
 */
#include "conf/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES (8 * (size_t)VALUE_FILE_MAX) /* of a value: no file can make a longer one */
#define LINE_BYTES 400                          /* of a value in the list of --check */

int conf_add_seconds(struct buf *out, long long ms)
{
	int rc;

	if (ms % 1000 == 0)
		return buf_addf(out, "%lld", ms / 1000);
	rc = buf_addf(out, "%lld.%03lld", ms / 1000, ms % 1000);
	while (rc == 0 && out->data[out->len - 1] == '0')
		out->data[--out->len] = '\0';
	return rc;
}

int conf_add_rate(struct buf *out, long long per_hour)
{
	if (per_hour == 0)
		return buf_addc(out, '0');
	if (per_hour % 3600 == 0)
		return buf_addf(out, "%lld/s", per_hour / 3600);
	if (per_hour % 60 == 0)
		return buf_addf(out, "%lld/m", per_hour / 60);
	return buf_addf(out, "%lld/h", per_hour);
}

static int add_quoted(struct buf *out, const char *text)
{
	int rc = buf_addc(out, '\'');

	for (; rc == 0 && *text; text++) {
		if (*text == '\'' || *text == '\\')
			rc = buf_addc(out, '\\');
		if (rc == 0)
			rc = buf_addc(out, *text);
	}
	return rc < 0 ? rc : buf_addc(out, '\'');
}

/* Recursion ends: both readers stop at VALUE_DEPTH_MAX. */
static int add_tree(struct buf *out, const struct value *value)
{
	bool map = value->kind == VALUE_MAP;
	int rc;

	if (value->kind == VALUE_UNDEF)
		return buf_adds(out, "undef");
	if (value->kind == VALUE_SCALAR)
		return add_quoted(out, value->text);
	rc = buf_addc(out, map ? '{' : '[');
	for (size_t i = 0; rc == 0 && i < value->count; i++) {
		if (i)
			rc = buf_adds(out, ", ");
		if (rc == 0 && map)
			rc = add_quoted(out, value->keys[i]);
		if (rc == 0 && map)
			rc = buf_adds(out, " => ");
		if (rc == 0)
			rc = add_tree(out, value->items[i]);
	}
	return rc < 0 ? rc : buf_addc(out, map ? '}' : ']');
}

static int add_list(struct buf *out, const struct strlist *list)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < list->count; i++) {
		if (i)
			rc = buf_addc(out, ' ');
		if (rc == 0)
			rc = buf_adds(out, list->items[i]);
	}
	return rc;
}

/* Append a value. Returns 1, 0 when there is none, or -errno. */
static int add_value(struct buf *out, const struct settings *settings, size_t index)
{
	const struct conf_option *option = conf_at(settings->own, index);
	const void *at = (const char *)settings + option->offset;
	const char *text = NULL;
	int rc;

	if (option->kind == CONF_LIST) {
		if (!conf_list(settings, index)->count)
			return 0;
		return add_list(out, conf_list(settings, index)) < 0 ? -ENOMEM : 1;
	}
	if (index >= conf_option_count) {
		text = settings->own->values[index - conf_option_count];
		return text ? (buf_adds(out, text) < 0 ? -ENOMEM : 1) : 0;
	}
	switch (option->kind) {
	case CONF_FLAG:
		rc = buf_addc(out, *(const bool *)at ? '1' : '0');
		break;
	case CONF_NUMBER:
	case CONF_SIZE:
		if (*(const long long *)at < option->min)
			return 0; /* nobody has given one */
		rc = buf_addf(out, "%lld", *(const long long *)at);
		break;
	case CONF_MODE:
		rc = buf_addf(out, "%04llo", (unsigned long long)*(const long long *)at);
		break;
	case CONF_SECONDS:
		rc = conf_add_seconds(out, *(const int64_t *)at);
		break;
	case CONF_RATE:
		rc = conf_add_rate(out, *(const long long *)at);
		break;
	case CONF_TREE:
		if (!*(struct value *const *)at)
			return 0;
		rc = add_tree(out, *(struct value *const *)at);
		break;
	default:
		text = *(char *const *)at;
		if (!text)
			return 0;
		rc = buf_adds(out, text);
	}
	return rc < 0 ? -ENOMEM : 1;
}

/* The text of a value in *to, in place of another. 0 or -ENOMEM. */
static int keep_text(char **to, const struct settings *settings, size_t index, struct err *err)
{
	char *text = NULL;
	struct buf buf;
	int rc;

	buf_init(&buf, TEXT_BYTES);
	rc = add_value(&buf, settings, index);
	if (rc > 0)
		text = buf_steal(&buf);
	buf_finish(&buf);
	if (rc < 0 || (rc > 0 && !text))
		return err_set(err, -ENOMEM, "out of memory");
	free(*to);
	*to = text;
	return 0;
}

int conf_render(struct settings *settings, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf_count(settings->own); i++)
		rc = keep_text(&settings->own->texts[i], settings, i, err);
	return rc;
}

int conf_render_chosen(struct conf_own *own, const struct netd_config *config, struct err *err)
{
	struct settings chosen = {0};
	struct err wrong;
	int rc = conf_apply_defaults(&chosen, err);

	if (rc == 0 && conf_apply_attributes(&chosen, config, &wrong) == -ENOMEM)
		rc = err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; rc == 0 && i < conf_option_count; i++)
		if (chosen.where[i])
			rc = keep_text(&own->chosen[i], &chosen, i, err);
	conf_finish(&chosen);
	return rc;
}

int conf_describe(struct buf *out, const struct settings *settings)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf_count(settings->own); i++) {
		const struct conf_option *option = conf_at(settings->own, i);
		const char *text = settings->own->texts[i];
		char shown[LINE_BYTES];

		if (option->flags & CONF_LINE_ONLY && !option->attribute)
			continue; /* --check itself, and other questions */
		if (text)
			conf_show(shown, sizeof shown, text, strlen(text));
		rc = buf_addf(out, "%s: %s (%s)\n", option->name, text ? shown : "none",
			      conf_where(settings, option->name));
	}
	return rc;
}
