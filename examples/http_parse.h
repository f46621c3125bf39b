/*
 * http_parse.h - an HTTP/1.x request, line by line: text in, struct out, no I/O. RFC 9110 and 9112
 * as a server must read them, and strictly: what two readers could understand in two ways is an
 * error, because that is how requests are smuggled past a proxy.
 *
 * Every function takes a line of n bytes without its CRLF and with a NUL behind it (netd_chomp()
 * leaves it so), and returns 0 or the status code that says what is wrong with it.
 */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_OPTIONS,
	HTTP_CONNECT,
	HTTP_KNOWN,   /* one of RFC 9110 or 5789, and none of those above */
	HTTP_UNKNOWN, /* a token that means nothing to us */
};

struct http_request {
	enum http_method method;
	int minor;       /* of HTTP/1.x; more than 1 is understood as 1 */
	unsigned seen;   /* fields that may stand only once: a bit for each */
	bool close;      /* "Connection: close" */
	bool keep_alive; /* "Connection: keep-alive"; after http_header_end(): does it stay? */
	bool expects;    /* "Expect: 100-continue" */
	bool chunked;
	uint64_t length; /* of a body that is not chunked; 0: none */
};

/* Begin a request: the rest of *request is cleared. */
int http_request_line(struct http_request *request, const char *line, size_t n);

/* One header field. */
int http_field(struct http_request *request, const char *line, size_t n);

/* The header is complete: do its fields go together? */
int http_header_end(struct http_request *request);

/* The line before a chunk; *size 0: the last one. */
int http_chunk_size(const char *line, size_t n, uint64_t *size);

#endif
