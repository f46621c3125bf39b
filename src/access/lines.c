/*
 * lines.c - a rules file in the syntax of tcprules, from text to lines.
 *
 *   ADDRESS:allow,VAR="x",OTHER=/y/
 *   ADDRESS:deny
 *
 * Happy path: each line is cut in place at its first ":allow" or ":deny", so that IPv6 addresses
 * may hold colons; variables become a map, the address a network, a name or "everybody"; a range
 * (192.0.2.7-9) becomes as many lines. Blanks at the end of a line, empty lines and lines that
 * begin with # do not count, as in tcprules.
 * Failure: what is not understood refuses the whole file, with its line (security rule 10). That
 * goes for what tcprules takes and tcpserver never finds, too: a prefix without its dot, a number
 * over 255; for lines about info@, as nobody asks ident here; and for a last line without its
 * newline, which may be the first half of another one.
 */
#include "access/lines.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESS_BYTES 300 /* longer than any address or name that is one */

/* Where reading stands. */
struct reader {
	struct lines *lines;
	size_t room;      /* of lines->items */
	struct line line; /* what is known of the line at work */
	struct err *err;
};

/* Words about the line at work. Returns -EINVAL. */
static int PRINTF_LIKE(2, 3) wrong(struct reader *reader, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(reader->err, -EINVAL, format, args);
	va_end(args);
	return -EINVAL;
}

static int no_memory(struct reader *reader)
{
	return err_set(reader->err, -ENOMEM, "out of memory");
}

/* ---------------------------------------------------------------------------------- variables */

bool rule_env_name(const char *name)
{
	if (!*name || isdigit((unsigned char)*name))
		return false;
	for (; *name; name++)
		if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
		      (*name >= '0' && *name <= '9') || *name == '_'))
			return false;
	return true;
}

static int add_variable(struct reader *reader, struct value *env, const char *name,
			const char *text)
{
	struct value *value = value_new_scalar(text, reader->line.number, 1);

	if (!value || value_map_put(env, name, value) < 0)
		return no_memory(reader);
	return 0;
}

/* One ,NAME="value" at *p, which moves behind it. Any byte may be the quote, as in tcprules. */
static int read_variable(struct reader *reader, struct value *env, char **p)
{
	char shown[VALUE_SHOW_SIZE];
	char *name = *p + 1, *equals = strchr(name, '='), *value, *end;

	if (**p != ',' || !equals)
		return wrong(reader, "found '%s', expected ,NAME=\"VALUE\" or the end of the line",
			     value_show(shown, *p, strlen(*p)));
	*equals = '\0';
	if (!rule_env_name(name))
		return wrong(reader,
			     "found the variable '%s', expected letters, digits and _, not "
			     "beginning with a digit",
			     value_show(shown, name, strlen(name)));
	value = equals + 1;
	end = *value ? strchr(value + 1, *value) : NULL;
	if (!end)
		return wrong(reader, "found no end of the value of %s, expected \"VALUE\"",
			     value_show(shown, name, strlen(name)));
	*end = '\0';
	*p = end + 1;
	return add_variable(reader, env, name, value + 1);
}

/* What follows allow or deny. */
static int read_variables(struct reader *reader, char *p)
{
	struct value *env;
	int rc = 0;

	if (!*p)
		return 0;
	env = value_new(VALUE_MAP, reader->line.number, 1);
	if (!env || value_list_add(reader->lines->envs, env) < 0)
		return no_memory(reader);
	reader->line.env = env;
	while (rc == 0 && *p)
		rc = read_variable(reader, env, &p);
	return rc;
}

/* ---------------------------------------------------------------------------------- addresses */

static int add_line(struct reader *reader)
{
	struct lines *lines = reader->lines;

	if (lines->count == LINES_MAX)
		return wrong(reader, "found more than %u addresses in all", LINES_MAX);
	if (lines->count == reader->room) {
		size_t room = reader->room ? reader->room * 2 : 16;
		struct line *items = realloc(lines->items, room * sizeof *items);

		if (!items)
			return no_memory(reader);
		lines->items = items;
		reader->room = room;
	}
	lines->items[lines->count++] = reader->line;
	return 0;
}

/* Names are looked for in lower case; text is the file's own copy and may be changed. */
static int read_name(struct reader *reader, char *text)
{
	bool suffix = *text == '.';
	char shown[VALUE_SHOW_SIZE];

	reader->line.kind = !*text ? LINE_NAMED : suffix ? LINE_SUFFIX : LINE_NAME;
	reader->line.name = text;
	if (*text && !access_name_clean(text + suffix))
		return wrong(reader, "found '=%s', expected = and a host name, or =.DOMAIN",
			     value_show(shown, text, strlen(text)));
	return add_line(reader);
}

/* "192.0.2." as 192.0.2.0/24. */
static int read_prefix(struct reader *reader, const char *text)
{
	char net[ADDRESS_BYTES];
	size_t numbers = 0, length = strlen(text);
	char shown[VALUE_SHOW_SIZE];

	for (const char *p = text; *p; p++)
		numbers += *p == '.';
	snprintf(net, sizeof net, "%.*s%s/%zu", (int)(length - 1), text,
		 numbers == 1   ? ".0.0.0"
		 : numbers == 2 ? ".0.0"
				: ".0",
		 numbers * 8);
	if (numbers > 3 || access_net_parse(&reader->line.net, net, NULL) < 0)
		return wrong(reader,
			     "found '%s', expected one to three numbers from 0 to 255, each with "
			     "a dot behind it",
			     value_show(shown, text, length));
	reader->line.kind = LINE_NETWORK;
	return add_line(reader);
}

/* [2001:db8::]/32 as 2001:db8::/32. */
static int read_brackets(struct reader *reader, const char *text, char plain[ADDRESS_BYTES])
{
	const char *end = strchr(text, ']');
	char shown[VALUE_SHOW_SIZE];

	if (!end || !memchr(text, ':', (size_t)(end - text)) || (end[1] && end[1] != '/'))
		return wrong(reader, "found '%s', expected [IPV6] or [IPV6]/BITS",
			     value_show(shown, text, strlen(text)));
	snprintf(plain, ADDRESS_BYTES, "%.*s%s", (int)(end - text - 1), text + 1, end + 1);
	return 0;
}

static int read_net(struct reader *reader, const char *text)
{
	char plain[ADDRESS_BYTES];
	struct access_net *net = &reader->line.net;
	int rc;

	snprintf(plain, sizeof plain, "%s", text);
	if (*text == '[') {
		rc = read_brackets(reader, text, plain);
		if (rc < 0)
			return rc;
	} else if (!text[strspn(text, "0123456789.")] && access_net_parse(net, text, NULL) < 0) {
		return wrong(reader,
			     "found '%s', expected an address in full, or a prefix with a dot at "
			     "its end, such as %s.",
			     text, text);
	}
	rc = access_net_parse(net, plain, reader->err);
	if (rc < 0)
		return rc;
	reader->line.kind =
	    net->bits == (net->family == AF_INET ? 32 : 128) ? LINE_ADDRESS : LINE_NETWORK;
	return add_line(reader);
}

static int read_plain(struct reader *reader, const char *text)
{
	if (!*text) {
		reader->line.kind = LINE_ALL;
		return add_line(reader);
	}
	if (text[strlen(text) - 1] == '.')
		return read_prefix(reader, text);
	return read_net(reader, text);
}

/* A number of up to three digits that ends where it should. */
static bool range_number(const char *text, size_t length, long long *out)
{
	char digits[4];

	if (length == 0 || length >= sizeof digits || (length > 1 && *text == '0'))
		return false;
	memcpy(digits, text, length);
	digits[length] = '\0';
	return num_parse(digits, 0, 255, out) == 0;
}

/* "192.0.2.7-9" and "10.2-3." as a line for each number, like tcprules. */
static int read_range(struct reader *reader, const char *text, const char *dash)
{
	const char *left = dash, *right = dash + 1 + strcspn(dash + 1, ".");
	long long from, to;
	char shown[VALUE_SHOW_SIZE];
	int rc = 0;

	while (left > text && left[-1] != '.')
		left--;
	if (!range_number(left, (size_t)(dash - left), &from) ||
	    !range_number(dash + 1, (size_t)(right - dash - 1), &to) || from > to)
		return wrong(reader,
			     "found '%s', expected a range of numbers from 0 to 255, the smaller "
			     "one first, such as 192.0.2.7-9",
			     value_show(shown, text, strlen(text)));
	for (long long n = from; rc == 0 && n <= to; n++) {
		char one[ADDRESS_BYTES];

		snprintf(one, sizeof one, "%.*s%lld%s", (int)(left - text), text, n, right);
		rc = read_plain(reader, one);
	}
	return rc;
}

static int read_address(struct reader *reader, char *text)
{
	const char *dash = strchr(text, '-');
	char shown[VALUE_SHOW_SIZE];

	if (strchr(text, '@'))
		return wrong(reader,
			     "found '%s': ident is not asked here, so nobody would ever meet this "
			     "line; leave out what stands before the @, or the line",
			     value_show(shown, text, strlen(text)));
	if (strlen(text) >= ADDRESS_BYTES - 8)
		return wrong(reader, "found '%s', expected an address",
			     value_show(shown, text, strlen(text)));
	if (*text == '=')
		return read_name(reader, text + 1);
	return dash ? read_range(reader, text, dash) : read_plain(reader, text);
}

/* -------------------------------------------------------------------------------------- lines */

/* Where the address ends: at the first colon with allow or deny behind it. */
static char *find_verdict(char *text, size_t *word, bool *allow)
{
	for (char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
		*allow = strncmp(colon + 1, "allow", 5) == 0;
		*word = *allow ? 5 : 4;
		if (*allow || strncmp(colon + 1, "deny", 4) == 0)
			return colon;
	}
	return NULL;
}

static int read_line(struct reader *reader, char *text)
{
	char shown[VALUE_SHOW_SIZE];
	size_t word;
	char *colon = find_verdict(text, &word, &reader->line.allow);
	int rc;

	if (!colon)
		return wrong(reader, "found '%s', expected ADDRESS:allow or ADDRESS:deny",
			     value_show(shown, text, strlen(text)));
	*colon = '\0';
	reader->line.text = text;
	rc = read_variables(reader, colon + 1 + word);
	if (rc == 0)
		rc = read_address(reader, text);
	reader->lines->written++;
	return rc;
}

/* One line, which ends before end; its newline is there. */
static int take_line(struct reader *reader, char *line, char *end)
{
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	if (strlen(line) != (size_t)(end - line))
		return wrong(reader, "found a NUL byte, expected text");
	return !*line || *line == '#' ? 0 : read_line(reader, line);
}

static int read_all(struct reader *reader, size_t length)
{
	char *line = reader->lines->text, *stop = line + length;
	int rc = 0;

	for (int number = 1; rc == 0 && line < stop; number++) {
		char *end = memchr(line, '\n', (size_t)(stop - line));

		reader->line = (struct line){.number = number};
		if (end)
			rc = take_line(reader, line, end);
		else
			rc = wrong(reader, "found the end of the file, expected a newline: is it "
					   "only half written?");
		if (rc == -EINVAL)
			err_prefix(reader->err, "%s:%d: ", reader->lines->path, number);
		line = end ? end + 1 : stop;
	}
	return rc;
}

/* Room for everything but the lines themselves; one reference is taken. */
static struct lines *lines_new(const char *path, const char *text, size_t length)
{
	struct lines *lines = calloc(1, sizeof *lines);

	if (!lines)
		return NULL;
	atomic_init(&lines->references, 1);
	lines->path = strdup(path);
	lines->text = malloc(length + 1);
	lines->envs = value_new(VALUE_LIST, 1, 1);
	if (!lines->path || !lines->text || !lines->envs)
		return access_release(lines);
	memcpy(lines->text, text, length);
	lines->text[length] = '\0';
	return lines;
}

int lines_parse(struct lines **out, const char *path, const char *text, size_t length,
		struct err *err)
{
	struct reader reader = {.lines = lines_new(path, text, length), .err = err};
	int rc;

	if (!reader.lines)
		return err_set(err, -ENOMEM, "out of memory");
	rc = read_all(&reader, length);
	if (rc == 0 && lines_index(reader.lines) < 0)
		rc = no_memory(&reader);
	if (rc < 0) {
		access_release(reader.lines);
		return rc;
	}
	*out = reader.lines;
	return 0;
}

struct lines *lines_broken(const char *path, const char *words)
{
	struct lines *lines = lines_new(path, "", 0);

	if (!lines)
		return NULL;
	lines->broken = strdup(words);
	return lines->broken ? lines : access_release(lines);
}

struct lines *access_release(struct lines *lines)
{
	if (!lines || atomic_fetch_sub(&lines->references, 1) > 1)
		return NULL;
	free(lines->path);
	free(lines->broken);
	free(lines->text);
	free(lines->items);
	free(lines->groups);
	value_free(lines->envs);
	strlist_finish(&lines->remarks);
	free(lines);
	return NULL;
}
