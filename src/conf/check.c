/*
 * check.c - one text against one row of the table: a checked value comes out, or words of what was
 * found and what was expected. The same checks serve all sources, so that a value means the same
 * wherever it stands. Looks at nothing but the text, save for service names (services(5)).
 */
#include "conf/table.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define EXPECTED_BYTES 400 /* the longest: all syslog facilities */
#define SERVICE_BYTES 32   /* of a service name: twice what RFC 6335 allows */

static int add_size(struct buf *out, long long size)
{
	static const char units[] = {'G', 'M', 'K'};

	for (size_t i = 0; i < sizeof units; i++) {
		long long unit = 1LL << (30 - 10 * (int)i);

		if (size >= unit && size % unit == 0)
			return buf_addf(out, "%lld%c", size / unit, units[i]);
	}
	return buf_addf(out, "%lld", size);
}

static int expect_size(struct buf *out, const struct conf_option *option)
{
	int rc = buf_adds(out, "a size from ");

	if (rc == 0)
		rc = add_size(out, option->min);
	if (rc == 0)
		rc = buf_adds(out, " to ");
	return rc < 0 ? rc : add_size(out, option->max);
}

int conf_expected(struct buf *out, const struct conf_option *option)
{
	if (option->expected)
		return buf_adds(out, option->expected);
	switch (option->kind) {
	case CONF_FLAG:
		return buf_adds(out, "true or false");
	case CONF_NUMBER:
		if (option->min == LLONG_MIN && option->max == LLONG_MAX)
			return buf_adds(out, "a whole number");
		return buf_addf(out, "a number from %lld to %lld", option->min, option->max);
	case CONF_SIZE:
		return expect_size(out, option);
	case CONF_MODE:
		return buf_addf(out, "octal permissions from 0 to 0%llo",
				(unsigned long long)option->max);
	case CONF_SECONDS:
		return buf_addf(out, "seconds from %lld to %lld", option->min, option->max);
	case CONF_RATE:
		return buf_addf(out, "a rate such as 50/s, 600/m or 1000/h, at most %lld/s, or 0",
				option->max / 3600);
	case CONF_PORT:
		return buf_addf(out, "a port from %lld to %lld or a service name", option->min,
				option->max);
	case CONF_CHOICE:
		return conf_words(out, option->choices);
	case CONF_STRING:
	case CONF_PATH:
	case CONF_LIST:
	case CONF_TREE:
		break;
	}
	return buf_adds(out, "a text");
}

int conf_wrong(const struct conf_option *option, const char *what, struct err *err)
{
	struct buf expected;

	buf_init(&expected, EXPECTED_BYTES);
	conf_expected(&expected, option);
	err_set(err, -EINVAL, "found %s, expected %s", what, buf_text(&expected));
	buf_finish(&expected);
	return -EINVAL;
}

/* "found 'text', expected ...", fit for a terminal. */
static int wrong_text(const struct conf_option *option, const char *text, struct err *err)
{
	char shown[CONF_SHOWN_BYTES], found[CONF_SHOWN_BYTES + 2];

	snprintf(found, sizeof found, "'%s'", conf_show(shown, sizeof shown, text, strlen(text)));
	return conf_wrong(option, found, err);
}

static int no_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

/* ------------------------------------------------------------------- the kinds; 0 or -EINVAL
 * (-ENOMEM) */

static int keep(const char *text, struct conf_scalar *out)
{
	out->text = strdup(text);
	return out->text ? 0 : -ENOMEM;
}

static int check_flag(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};

	(void)option;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			out->number = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

static int check_number(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	return num_parse(text, option->min, option->max, &out->number);
}

static int check_size(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	static const char units[] = "kmg";
	size_t length = strlen(text);
	char digits[24] = "";
	long long number = 0;
	int shift = 0;

	if (length == 0 || length >= sizeof digits)
		return -EINVAL;
	memcpy(digits, text, length);
	for (int i = 0; units[i]; i++) {
		if ((digits[length - 1] | 0x20) == units[i]) {
			shift = 10 * (i + 1);
			digits[length - 1] = '\0';
			break;
		}
	}
	if (num_parse(digits, 0, LLONG_MAX >> shift, &number) < 0)
		return -EINVAL;
	number <<= shift;
	if (number < option->min || number > option->max)
		return -ERANGE;
	out->number = number;
	return 0;
}

static int check_mode(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	size_t length = strlen(text);
	long long mode = 0;

	if (length == 0 || length > 4)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '7')
			return -EINVAL;
		mode = mode * 8 + (*text - '0');
	}
	if (mode > option->max)
		return -ERANGE;
	out->number = mode;
	return 0;
}

static int check_seconds(const struct conf_option *option, const char *text,
			 struct conf_scalar *out)
{
	int64_t ms = 0;
	int rc = num_parse_seconds(text, option->max * 1000, &ms);

	if (rc < 0)
		return rc;
	if (ms < option->min * 1000)
		return -ERANGE;
	out->number = ms;
	return 0;
}

/* "N/s", "N/m", "N/h"; a bare N is per second. */
static int check_rate(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	static const struct {
		const char *name;
		long long per_hour;
	} units[] = {{"/s", 3600}, {"/m", 60}, {"/h", 1}, {"", 3600}};
	size_t length = strcspn(text, "/");
	char digits[24] = "";
	long long number = 0;

	if (length == 0 || length >= sizeof digits)
		return -EINVAL;
	memcpy(digits, text, length);
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(text + length, units[i].name) != 0)
			continue;
		if (num_parse(digits, 0, option->max / units[i].per_hour, &number) < 0)
			return -EINVAL;
		out->number = number * units[i].per_hour;
		return 0;
	}
	return -EINVAL;
}

static int check_text(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	if (!*text && !(option->flags & CONF_EMPTY_OK))
		return -EINVAL;
	if (option->max && strlen(text) > (size_t)option->max)
		return -EMSGSIZE;
	return keep(text, out);
}

/* A name that the system knows for TCP. By getaddrinfo(3): getservbyname(3) is not thread-safe. */
static bool service_known(const char *name)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list = NULL;

	if (strlen(name) > SERVICE_BYTES || getaddrinfo(NULL, name, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

static int check_port(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	/* What is digits only, or might become a number for a lax look-up, is never a name. */
	bool name = text[strspn(text, "0123456789+- \t\r\n\v\f")] != '\0' &&
		    !strchr("+- \t\r\n\v\f", text[0]);
	long long port = 0;

	if (num_parse(text, option->min, option->max, &port) < 0 && !(name && service_known(text)))
		return -EINVAL;
	return keep(text, out);
}

/* The word that text stands for in "old=new|older=new"; NULL: none. */
static const char *alias(const char *aliases, const char *text, size_t *length)
{
	size_t size = strlen(text);

	for (const char *p = aliases; p && *p; p += strcspn(p, "|"), p += *p == '|') {
		if (strncmp(p, text, size) == 0 && p[size] == '=') {
			*length = strcspn(p + size + 1, "|");
			return p + size + 1;
		}
	}
	return NULL;
}

static int check_choice(const struct conf_option *option, const char *text, struct conf_scalar *out)
{
	size_t size = strlen(text);
	const char *word = alias(option->aliases, text, &size);

	if (!word)
		word = text;
	for (const char *p = option->choices; *p; p += strcspn(p, "|"), p += *p == '|') {
		if (size && strcspn(p, "|") == size && strncmp(p, word, size) == 0) {
			out->text = strndup(word, size);
			return out->text ? 0 : -ENOMEM;
		}
	}
	return -EINVAL;
}

static int (*const checks[])(const struct conf_option *, const char *, struct conf_scalar *) = {
    [CONF_FLAG] = check_flag, [CONF_NUMBER] = check_number,   [CONF_SIZE] = check_size,
    [CONF_MODE] = check_mode, [CONF_SECONDS] = check_seconds, [CONF_STRING] = check_text,
    [CONF_PATH] = check_text, [CONF_PORT] = check_port,       [CONF_CHOICE] = check_choice,
    [CONF_LIST] = check_text, [CONF_RATE] = check_rate,
};

int conf_check(const struct conf_option *option, const char *text, struct conf_scalar *out,
	       struct err *err)
{
	struct conf_scalar scalar = {0};
	int rc = checks[option->kind](option, text, &scalar);

	if (rc == -ENOMEM)
		return no_memory(err);
	if (rc < 0) {
		wrong_text(option, text, err);
		if (rc == -EMSGSIZE && err) {
			size_t used = strlen(err->text);

			snprintf(err->text + used, sizeof err->text - used,
				 " of at most %lld bytes", option->max);
		}
		return -EINVAL;
	}
	*out = scalar;
	return 0;
}
