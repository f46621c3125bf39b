/*
 * http_parse.c - the parser behind http_parse.h. A table says which bytes may stand where; a line
 * is walked along it once, up to the first byte that may not (the NUL behind the line at the
 * latest), and fields that matter are found in a table of their names.
 *
 * Happy path: http_request_line(), http_field() for each field, http_header_end(). Failure: the
 * first thing wrong is returned as a status code; the caller answers with it and hangs up.
 */
#include "http_parse.h"

#include <string.h>
#include <strings.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MOST_LENGTH (UINT64_MAX / 16 - 1) /* of a body: another digit, hex ones too, still fits */

/* ---------------------------------------------------------------------------------- characters */

enum { TOKEN = 1, TARGET = 2, HOST = 4, VALUE = 8, DIGIT = 16, HEX = 32 };

#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_LOWER_HEX(c) ((c) >= 'a' && (c) <= 'f')
#define IS_ALNUM(c) (IS_DIGIT(c) || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define IS_UNRESERVED(c) (IS_ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define IS_SUB_DELIM(c)                                                                            \
	((c) == '!' || (c) == '$' || ((c) >= '&' && (c) <= ',') || (c) == ';' || (c) == '=')
#define IS_TOKEN(c)                                                                                \
	(IS_UNRESERVED(c) || (c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' ||            \
	 (c) == '+' || (c) == '^' || (c) == '`' || (c) == '|')
/* Brackets stand for addresses only, but clients put them into queries. '%' is looked at apart. */
#define IS_TARGET(c)                                                                               \
	(IS_UNRESERVED(c) || IS_SUB_DELIM(c) || (c) == '/' || (c) == '?' || (c) == ':' ||          \
	 (c) == '@' || (c) == '[' || (c) == ']')
#define IS_HOST(c)                                                                                 \
	(IS_UNRESERVED(c) || IS_SUB_DELIM(c) || (c) == '%' || (c) == ':' || (c) == '[' ||          \
	 (c) == ']')
#define IS_VALUE(c) ((c) == '\t' || ((c) >= ' ' && (c) != 0x7f))

#define KIND(c)                                                                                    \
	((IS_TOKEN(c) ? TOKEN : 0) | (IS_TARGET(c) ? TARGET : 0) | (IS_HOST(c) ? HOST : 0) |       \
	 (IS_VALUE(c) ? VALUE : 0) | (IS_DIGIT(c) ? DIGIT : 0) |                                   \
	 (IS_DIGIT(c) || IS_LOWER_HEX((c) | 0x20) ? HEX : 0))
#define ROW4(c) KIND(c), KIND((c) + 1), KIND((c) + 2), KIND((c) + 3)
#define ROW16(c) ROW4(c), ROW4((c) + 4), ROW4((c) + 8), ROW4((c) + 12)
#define ROW64(c) ROW16(c), ROW16((c) + 16), ROW16((c) + 32), ROW16((c) + 48)

static const uint8_t kinds[256] = {ROW64(0), ROW64(64), ROW64(128), ROW64(192)};

static bool is(char c, unsigned kind)
{
	return kinds[(unsigned char)c] & kind;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The first byte that is not of this kind. A NUL is of none. */
static const char *span(const char *text, unsigned kind)
{
	while (is(*text, kind))
		text++;
	return text;
}

static bool same(const char *text, size_t n, const char *word)
{
	return n == strlen(word) && strncasecmp(text, word, n) == 0;
}

/* -------------------------------------------------------------------------------- request line */

/* Case matters in methods. */
static enum http_method find_method(const char *text, size_t n)
{
	static const struct {
		char name[8];
		enum http_method method;
	} methods[] = {{"GET", HTTP_GET},         {"HEAD", HTTP_HEAD},   {"OPTIONS", HTTP_OPTIONS},
		       {"CONNECT", HTTP_CONNECT}, {"POST", HTTP_KNOWN},  {"PUT", HTTP_KNOWN},
		       {"DELETE", HTTP_KNOWN},    {"PATCH", HTTP_KNOWN}, {"TRACE", HTTP_KNOWN}};

	for (size_t i = 0; i < COUNT(methods); i++)
		if (strlen(methods[i].name) == n && memcmp(text, methods[i].name, n) == 0)
			return methods[i].method;
	return HTTP_UNKNOWN;
}

static const char *target_end(const char *text)
{
	text = span(text, TARGET);
	while (text[0] == '%' && is(text[1], HEX) && is(text[2], HEX))
		text = span(text + 3, TARGET);
	return text;
}

/* The four forms of RFC 9112, 3.2. */
static bool target_fits(enum http_method method, const char *target, size_t n)
{
	if (method == HTTP_CONNECT)
		return span(target, HOST) == target + n && memchr(target, ':', n);
	if (target[0] == '/')
		return true;
	if (target[0] == '*')
		return n == 1 && method == HTTP_OPTIONS;
	return (n > 7 && strncasecmp(target, "http://", 7) == 0 && is(target[7], HOST)) ||
	       (n > 8 && strncasecmp(target, "https://", 8) == 0 && is(target[8], HOST));
}

int http_request_line(struct http_request *request, const char *line, size_t n)
{
	const char *space = span(line, TOKEN), *target = space + 1, *end, *version;

	if (space == line || *space != ' ')
		return 400;
	end = target_end(target);
	if (end == target || *end != ' ')
		return 400;
	version = end + 1;
	if (line + n - version != 8 || memcmp(version, "HTTP/", 5) != 0 || !is(version[5], DIGIT) ||
	    version[6] != '.' || !is(version[7], DIGIT))
		return 400;
	if (version[5] != '1')
		return 505;
	*request = (struct http_request){.method = find_method(line, (size_t)(space - line)),
					 .minor = version[7] == '0' ? 0 : 1};
	return target_fits(request->method, target, (size_t)(end - target)) ? 0 : 400;
}

/* -------------------------------------------------------------------------------------- fields */

enum { SEEN_HOST = 1, SEEN_LENGTH = 2, SEEN_CODING = 4 };

/* Returns false the second time. */
static bool first(struct http_request *request, unsigned field)
{
	bool before = request->seen & field;

	request->seen |= field;
	return !before;
}

static int take_host(struct http_request *request, const char *value, size_t n)
{
	return first(request, SEEN_HOST) && span(value, HOST) == value + n ? 0 : 400;
}

/* One number, once: "5, 5" may be taken for a 5, but need not. */
static int take_length(struct http_request *request, const char *value, size_t n)
{
	uint64_t length = 0;

	if (!first(request, SEEN_LENGTH) || n == 0 || span(value, DIGIT) != value + n)
		return 400;
	for (size_t i = 0; i < n; i++) {
		if (length > MOST_LENGTH)
			return 413;
		length = length * 10 + (uint64_t)(value[i] - '0');
	}
	request->length = length;
	return 0;
}

/* What does not end with "chunked" has no end at all: RFC 9112, 6.3. */
static int take_coding(struct http_request *request, const char *value, size_t n)
{
	static const char chunked[] = "chunked";
	size_t size = sizeof chunked - 1;

	if (!first(request, SEEN_CODING) || n < size || !same(value + n - size, size, chunked))
		return 400;
	if (n > size)
		return is_blank(value[n - size - 1]) || value[n - size - 1] == ',' ? 501 : 400;
	request->chunked = true;
	return 0;
}

static const char *skip_blanks(const char *text)
{
	while (is_blank(*text))
		text++;
	return text;
}

/* A list; elements may be empty. */
static int take_connection(struct http_request *request, const char *value, size_t n)
{
	const char *end = value + n, *word;

	while (value < end) {
		word = value;
		value = span(value, TOKEN);
		if (same(word, (size_t)(value - word), "close"))
			request->close = true;
		if (same(word, (size_t)(value - word), "keep-alive"))
			request->keep_alive = true;
		value = skip_blanks(value);
		if (value < end && *value++ != ',')
			return 400;
		value = skip_blanks(value);
	}
	return 0;
}

static int take_expect(struct http_request *request, const char *value, size_t n)
{
	request->expects = same(value, n, "100-continue");
	return request->expects ? 0 : 417;
}

static const struct {
	const char *name;
	size_t length;
	int (*take)(struct http_request *request, const char *value, size_t n);
} fields[] = {
    {"Host", 4, take_host},
    {"Expect", 6, take_expect},
    {"Connection", 10, take_connection},
    {"Content-Length", 14, take_length},
    {"Transfer-Encoding", 17, take_coding},
};

/* No blank before the colon, no line that begins with one (obs-fold), no control characters. */
int http_field(struct http_request *request, const char *line, size_t n)
{
	const char *colon = span(line, TOKEN), *value = colon + 1, *end = line + n;
	size_t length = (size_t)(colon - line);

	if (length == 0 || *colon != ':' || span(value, VALUE) != end)
		return 400;
	value = skip_blanks(value);
	while (end > value && is_blank(end[-1]))
		end--;
	for (size_t i = 0; i < COUNT(fields); i++)
		if (fields[i].length == length && strncasecmp(line, fields[i].name, length) == 0)
			return fields[i].take(request, value, (size_t)(end - value));
	return 0;
}

int http_header_end(struct http_request *request)
{
	bool old = request->minor == 0;

	if (!old && !(request->seen & SEEN_HOST))
		return 400;
	if ((request->seen & SEEN_CODING) && (old || (request->seen & SEEN_LENGTH)))
		return 400;
	if (old)
		request->expects = false; /* RFC 9110, 10.1.1: did not exist */
	request->keep_alive = !request->close && (request->keep_alive || !old);
	return 0;
}

/* ---------------------------------------------------------------------------------------- body */

static unsigned hex_value(char c)
{
	return is(c, DIGIT) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* What follows a semicolon is an extension; nobody knows any. */
int http_chunk_size(const char *line, size_t n, uint64_t *size)
{
	const char *text = line, *end = span(line, HEX), *rest = end;
	uint64_t value = 0;

	rest = skip_blanks(rest);
	if (end == line || (*rest != ';' && end != line + n) || span(rest, VALUE) != line + n)
		return 400;
	for (; text < end; text++) {
		if (value > MOST_LENGTH)
			return 413;
		value = value * 16 + hex_value(*text);
	}
	*size = value;
	return 0;
}
