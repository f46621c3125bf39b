/*
 * http_hello.c - a web server with one page, for every path: plain blocking code, which keeps
 * connections alive, takes requests sent ahead and answers them in order (gathered: the library
 * sends when this handler is about to wait), and accepts nothing that could be read in two ways.
 *
 * Happy path: read a request line and its fields (http_parse.h), throw its body away, write the
 * answer, begin again. Failure: whatever is wrong with a request is answered by a status code, and
 * the connection is closed, because nobody knows where the next request would begin; a client that
 * is idle between two requests for too long is hung up on without a word, one that stops in the
 * middle of a request is told 408.
 *
 * For speed: an answer is a block made at the start, the date in it is made once a second, and
 * nothing is allocated. For memory: a waiting handler has next to nothing on its stack.
 */
#include "http_parse.h"

#include <errno.h>
#include <netdaemon.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES 8192    /* of a line; the longest address that common clients send */
#define HEADER_MAX_BYTES 16384 /* of request line and fields together */
#define FIELDS_MAX 100
#define ANSWER_MS 10000    /* for the last words to a client that did something wrong */
#define LINGER_MS 2000     /* for such a client to read them and go */
#define LINGER_MAX 1048576 /* what it may still send meanwhile */

#define ENDED 1 /* in place of a status code: the client sends no more requests */

/* ------------------------------------------------------------------------------------- answers */

#define STATUS_OK "HTTP/1.1 200 OK\r\nDate: "
#define DATE_SIZE (sizeof "Sun, 06 Nov 1994 08:49:37 GMT" - 1)

/* What follows "200 OK" says whether the connection stays; HTTP/1.0 wants to be told that it does.
 */
enum manner { STAYS, STAYS_1_0, CLOSES, MANNERS };
static const char *const manners[MANNERS] = {"", "Connection: keep-alive\r\n",
					     "Connection: close\r\n"};

/* What all requests share; made by configure(), only read after that. */
struct site {
	struct {
		char text[256]; /* its date is filled in for each answer */
		size_t length;
	} heads[MANNERS];
	const char *body;
	size_t body_length;
	uint64_t most_body;          /* bytes of a request's body */
	int64_t idle_ms, request_ms; /* from answer to request line; from there to its end */
};

/*
 * The time in the form of RFC 9110, 5.6.7, made once a second in each thread. Copy it before the
 * next call that may wait: another handler on this thread may renew it.
 */
static const char *date(void)
{
	static _Thread_local struct {
		time_t second;
		char text[DATE_SIZE + 1];
	} made;
	time_t now = time(NULL);
	struct tm tm;

	if (now != made.second && gmtime_r(&now, &tm)) {
		/* in the "C" locale: nobody calls setlocale() here */
		strftime(made.text, sizeof made.text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		made.second = now;
	}
	return made.text;
}

/* Not inlined: run(), whose frame stays while it waits, has no need of this one's. */
__attribute__((noinline)) static ssize_t answer_page(struct netd_conn *c, const struct site *site,
						     const struct http_request *request)
{
	enum manner manner = !request->keep_alive ? CLOSES : request->minor ? STAYS : STAYS_1_0;
	size_t length = site->heads[manner].length;
	char head[sizeof site->heads[manner].text];
	ssize_t n;

	memcpy(head, site->heads[manner].text, length);
	memcpy(head + sizeof STATUS_OK - 1, date(), DATE_SIZE);
	n = netd_write(c, head, length);
	if (n < 0 || request->method == HTTP_HEAD)
		return n;
	return netd_write(c, site->body, site->body_length);
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *words;
	} reasons[] = {
	    {204, "No Content"},         {400, "Bad Request"},
	    {405, "Method Not Allowed"}, {408, "Request Timeout"},
	    {413, "Content Too Large"},  {414, "URI Too Long"},
	    {417, "Expectation Failed"}, {431, "Request Header Fields Too Large"},
	    {501, "Not Implemented"},    {505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].words;
	return "Error";
}

/* Anything but the page: no body. */
static ssize_t answer_status(struct netd_conn *c, int status, enum manner manner)
{
	return netd_printf(c, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%s%s\r\n", status, reason(status),
			   date(), status == 204 ? "" : "Content-Length: 0\r\n",
			   status == 204 || status == 405 ? "Allow: GET, HEAD, OPTIONS\r\n" : "",
			   manners[manner]);
}

/* The request was read to its end. Returns 0 or -errno. */
static int answer(struct netd_conn *c, const struct site *site, const struct http_request *request)
{
	enum manner manner = !request->keep_alive ? CLOSES : request->minor ? STAYS : STAYS_1_0;
	ssize_t n;

	switch (request->method) {
	case HTTP_GET:
	case HTTP_HEAD:
		n = answer_page(c, site, request);
		break;
	case HTTP_OPTIONS:
		n = answer_status(c, 204, manner);
		break;
	case HTTP_UNKNOWN:
		n = answer_status(c, 501, manner);
		break;
	default:
		n = answer_status(c, 405, manner);
		break;
	}
	return n < 0 ? (int)n : 0;
}

/*
 * Something was wrong: say what, and close. What the client is still sending is read for a while:
 * closing at once would reset the connection, and that overtakes the answer.
 */
static int refuse(struct netd_conn *c, int status)
{
	int64_t left = LINGER_MAX;
	char scrap[512];
	ssize_t n;
	int rc;

	netd_debug(c, "refused: %d", status);
	netd_set_deadline(c, netd_now() + ANSWER_MS);
	n = answer_status(c, status, CLOSES);
	rc = n < 0 ? (int)n : netd_shutdown(c);
	if (rc < 0)
		return rc;
	netd_set_deadline(c, netd_now() + LINGER_MS);
	while (left > 0 && (n = netd_read(c, scrap, sizeof scrap)) > 0)
		left -= n;
	return 0;
}

/* ------------------------------------------------------------------------------------ requests */

/*
 * One line without its CRLF; nothing else ends a line here. left: bytes that may still come.
 * Returns 0, a status code (too_long among them), ENDED or -errno.
 */
static int get_line(struct netd_conn *c, char **line, size_t *n, uint64_t *left, int too_long)
{
	ssize_t got = netd_line(c, line);
	size_t size = (size_t)got;

	if (got <= 0)
		return got == -EMSGSIZE ? too_long : got < 0 ? (int)got : ENDED;
	if (size > LINE_MAX_BYTES || size > *left)
		return too_long;
	if (size < 2 || (*line)[size - 2] != '\r' || (*line)[size - 1] != '\n')
		return 400;
	*left -= size;
	*n = netd_chomp(*line, size);
	return 0;
}

/* Fields up to the empty line: of a header, or behind a chunked body. */
static int get_fields(struct netd_conn *c, struct http_request *request, uint64_t left)
{
	char *line;
	size_t n;
	int rc;

	for (int count = 0; count <= FIELDS_MAX; count++) {
		rc = get_line(c, &line, &n, &left, 431);
		if (rc)
			return rc == ENDED ? 400 : rc;
		if (n == 0)
			return 0;
		rc = http_field(request, line, n);
		if (rc)
			return rc;
	}
	return 431;
}

/* The deadline passed in the first line of a request: had a part of it come? What is buffered can
 * still be read. */
static int late(struct netd_conn *c)
{
	char some;

	return netd_read(c, &some, 1) == 1 ? 408 : ENDED;
}

/* Returns 0, a status code, ENDED or -errno. */
static int get_request(struct netd_conn *c, const struct site *site, struct http_request *request)
{
	uint64_t left = HEADER_MAX_BYTES;
	char *line;
	size_t n;
	int rc;

	netd_set_deadline(c, netd_now() + site->idle_ms);
	rc = get_line(c, &line, &n, &left, 414);
	if (rc == 0 && n == 0) /* some clients end a body with it: RFC 9112, 2.2 */
		rc = get_line(c, &line, &n, &left, 414);
	if (rc)
		return rc == -ETIMEDOUT ? late(c) : rc;
	rc = http_request_line(request, line, n);
	if (rc)
		return rc;
	netd_set_deadline(c, netd_now() + site->request_ms);
	rc = get_fields(c, request, left);
	return rc ? rc : http_header_end(request);
}

/* -------------------------------------------------------------------------------------- bodies */

static int skip(struct netd_conn *c, uint64_t size)
{
	char scrap[512];
	ssize_t n;

	for (; size > 0; size -= (uint64_t)n) {
		n = netd_read(c, scrap, size < sizeof scrap ? (size_t)size : sizeof scrap);
		if (n <= 0)
			return n < 0 ? (int)n : 400; /* cut off */
	}
	return 0;
}

/* left: for chunks and the lines around them. */
static int skip_chunks(struct netd_conn *c, uint64_t left)
{
	struct http_request trailer = {0}; /* fields there must not change the request */
	uint64_t size;
	char *line;
	size_t n;
	int rc;

	for (;;) {
		rc = get_line(c, &line, &n, &left, 413);
		if (rc == 0)
			rc = http_chunk_size(line, n, &size);
		if (rc)
			return rc == ENDED ? 400 : rc;
		if (size == 0)
			return get_fields(c, &trailer, HEADER_MAX_BYTES);
		if (size > left)
			return 413;
		left -= size;
		rc = skip(c, size);
		if (rc == 0)
			rc = get_line(c, &line, &n, &left, 413);
		if (rc)
			return rc == ENDED ? 400 : rc;
		if (n != 0)
			return 400;
	}
}

static int skip_body(struct netd_conn *c, const struct site *site,
		     const struct http_request *request)
{
	ssize_t n = 0;

	if (request->length == 0 && !request->chunked)
		return 0;
	if (request->length > site->most_body)
		return 413;
	if (request->expects)
		n = netd_printf(c, "HTTP/1.1 100 Continue\r\n\r\n");
	if (n < 0)
		return (int)n;
	return request->chunked ? skip_chunks(c, site->most_body) : skip(c, request->length);
}

static int run(struct netd_conn *c)
{
	const struct netd_server *server = netd_conn_server(c);
	const struct site *site = netd_server_data(server);
	struct http_request request;
	int rc;

	do {
		rc = get_request(c, site, &request);
		if (rc == 0)
			rc = skip_body(c, site, &request);
		if (rc)
			break;
		/* What follows a CONNECT might be meant for whom it names. */
		if (request.method == HTTP_CONNECT || netd_draining(server))
			request.keep_alive = false;
		rc = answer(c, site, &request);
	} while (rc == 0 && request.keep_alive);
	if (rc == -ETIMEDOUT)
		rc = 408;
	if (rc > ENDED)
		rc = refuse(c, rc);
	return rc < 0 ? rc : 0;
}

/* ----------------------------------------------------------------------------------- start-up */

static int configure(struct netd_server *server)
{
	static struct site made;
	struct site *site = &made;
	int n;

	netd_server_set_data(server, site);
	site->body = netd_server_option(server, "body");
	site->body_length = strlen(site->body);
	site->most_body = (uint64_t)netd_server_option_int(server, "max-body");
	site->idle_ms = 1000 * netd_server_option_int(server, "idle-time");
	site->request_ms = 1000 * netd_server_option_int(server, "request-time");
	for (size_t i = 0; i < MANNERS; i++) {
		n = snprintf(site->heads[i].text, sizeof site->heads[i].text,
			     STATUS_OK "%*s\r\nContent-Type: text/plain; charset=utf-8\r\n"
				       "Content-Length: %zu\r\n%s\r\n",
			     (int)DATE_SIZE, "", site->body_length, manners[i]);
		if (n < 0 || (size_t)n >= sizeof site->heads[i].text)
			return netd_server_fail(server, -EOVERFLOW, "the answer has no room");
		site->heads[i].length = (size_t)n;
	}
	return 0;
}

static const struct netd_option options[] = {
    {.name = "body",
     .type = NETD_OPTION_STRING,
     .value = "Hello, world!\n",
     .argument = "TEXT",
     .help = "the page"},
    {.name = "max-body",
     .type = NETD_OPTION_INT,
     .value = "1048576",
     .min = 0,
     .max = 1LL << 40,
     .argument = "BYTES",
     .help = "refuse requests with a larger body"},
    {.name = "idle-time",
     .type = NETD_OPTION_INT,
     .value = "60",
     .min = 1,
     .max = 86400,
     .argument = "SECONDS",
     .help = "hang up when no request comes for so long"},
    {.name = "request-time",
     .type = NETD_OPTION_INT,
     .value = "20",
     .min = 1,
     .max = 86400,
     .argument = "SECONDS",
     .help = "a request must be there within this time"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
	static const struct netd_service hello =
	    NETD_SERVICE(.name = "http_hello", .version = "1.0",
			 .summary = "Answer every request with one page.", .options = options,
			 .configure = configure, .run = run);

	return netd_main(&hello, NETD_CONFIG(.localport = "7781"), argc, argv);
}
