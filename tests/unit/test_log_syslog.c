/* test_log_syslog.c - the syslog sink against daemons that listen, stop, leave and come back. */
#include "log_bench.h"

#include <poll.h>
#include <regex.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A syslog daemon of this socket type at dir/sock. */
static int listen_at(struct bench *b, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, bench_path(b, "sock"));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void stop_listening(struct bench *b, int fd)
{
	close(fd);
	assert_int_equal(unlink(bench_path(b, "sock")), 0);
}

static struct log *open_syslog(struct bench *b, const char *ident, const char *facility)
{
	const struct log_config config = {.ident = ident, .facility = facility};
	struct err err;

	if (log_open_syslog_at(&b->log, &config, bench_path(b, "sock"), &err) < 0)
		fail_msg("%s", err.text);
	return b->log;
}

/* The next datagram, as text; "" when there is none. */
static const char *receive(int fd)
{
	static char text[4096];
	ssize_t n = recv(fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* Messages of all datagrams that wait, one per line; free it. */
static char *receive_all(int fd)
{
	size_t used = 0, size = 1 << 20;
	char *all = calloc(1, size);

	for (const char *text; *(text = receive(fd));) {
		const char *at = strstr(text, "]: ");

		assert_non_null(at);
		used += (size_t)snprintf(all + used, size - used, "%s\n", at + 3);
	}
	return all;
}

/* Standard error becomes a pipe; returns its non-blocking reading end. */
static int pipe_as_stderr(void)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	return fds[0];
}

/* Write until the daemon gets something: the sink looks for it once per second. */
static void write_until_heard(struct bench *b, int server)
{
	struct pollfd pollfd = {.fd = server, .events = POLLIN};

	for (int i = 0; i < 500; i++) {
		log_write(b->log, NETD_INFO, NULL, "is there anybody?");
		if (poll(&pollfd, 1, 20) == 1)
			return;
	}
	fail_msg("%s", "never reconnected");
}

static void datagram_has_the_exact_form(void **state)
{
	static const struct log_context context = {17, "192.0.2.7:4711"};
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM);
	char pattern[256];
	regex_t regex;

	snprintf(pattern, sizeof pattern,
		 "^<29>(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123][0-9] "
		 "[0-2][0-9]:[0-5][0-9]:[0-6][0-9] echo\\[%ld\\]: "
		 "conn 17 \\(192\\.0\\.2\\.7:4711\\): hello\\\\n$",
		 (long)getpid());
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	log_write(open_syslog(b, "echo", NULL), NETD_NOTICE, &context, "hello\n");
	assert_int_equal(regexec(&regex, receive(server), 0, NULL, 0), 0);
	assert_int_equal(fcntl(log_fd(b->log), F_GETFD), FD_CLOEXEC);
	regfree(&regex);
	close(server);
}

static void priority_is_facility_and_level(void **state)
{
	static const struct {
		const char *facility;
		enum netd_level level;
		const char *wanted;
	} table[] = {
	    {"kern", NETD_EMERG, "<0>"},    {"user", NETD_ERR, "<11>"},
	    {"daemon", NETD_INFO, "<30>"},  {"authpriv", NETD_ALERT, "<81>"},
	    {"local0", NETD_CRIT, "<130>"}, {"local7", NETD_WARNING, "<188>"},
	};
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM);

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		log_write(open_syslog(b, "x", table[i].facility), table[i].level, NULL, "x");
		assert_memory_equal(receive(server), table[i].wanted, strlen(table[i].wanted));
		b->log = log_close(b->log);
	}
	close(server);
}

static void rule17_rule18_every_field_is_data(void **state)
{
	static const struct log_context context = {1, "%n\n%s"};
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM);
	char ident[200], long_text[5000];
	const char *text;

	log_write(open_syslog(b, "%n%s\nx", NULL), NETD_INFO, &context, "%s", "%n\r%s");
	text = receive(server);
	assert_non_null(strstr(text, " %n%s\\nx["));
	assert_non_null(strstr(text, "]: conn 1 (%n\\n%s): %n\\x0d%s"));
	b->log = log_close(b->log);

	memset(ident, 'i', sizeof ident - 1);
	ident[sizeof ident - 1] = '\0';
	memset(long_text, 'm', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	log_write(open_syslog(b, ident, NULL), NETD_INFO, NULL, "%s", long_text);
	text = strstr(receive(server), "]: ");
	assert_non_null(text);
	assert_int_equal(strlen(text), LOG_MESSAGE_MAX + 3);
	assert_string_equal(text + strlen(text) - 4, "m...");
	close(server);
}

static void rule19_stopped_daemon_costs_lines_not_time(void **state)
{
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM);
	uint64_t drops;
	char *text;

	alarm(60);
	open_syslog(b, "x", NULL);
	for (int i = 0; i < 5000; i++)
		log_write(b->log, NETD_INFO, NULL, "line");
	drops = log_drops(b->log);
	assert_in_range(drops, 1, 5000);
	text = receive_all(server);
	assert_int_equal(count(text, "line\n"), 5000 - drops);
	free(text);

	log_write(b->log, NETD_INFO, NULL, "back");
	log_write(b->log, NETD_INFO, NULL, "again");
	text = receive_all(server);
	assert_int_equal(lost_count(text), drops);
	assert_int_equal(count(text, "lost"), 1);
	assert_non_null(strstr(text, "lost\nback\nagain\n"));
	free(text);
	close(server);
}

static void rule19_daemon_gone_and_back(void **state)
{
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM), fd;
	int64_t start = clock_ms();
	uint64_t drops;
	char *text;

	fd = log_fd(open_syslog(b, "x", NULL));
	stop_listening(b, server);
	for (int i = 0; i < 10; i++)
		log_write(b->log, NETD_INFO, NULL, "unheard");
	assert_int_equal(log_drops(b->log), 10);

	server = listen_at(b, SOCK_DGRAM);
	log_write(b->log, NETD_INFO, NULL, "looked for it this second");
	assert_true(log_drops(b->log) == 11 || clock_ms() - start >= 1000);
	write_until_heard(b, server);
	drops = log_drops(b->log);
	log_write(b->log, NETD_INFO, NULL, "heard");
	text = receive_all(server);
	assert_int_equal(lost_count(text), drops);
	assert_int_equal(count(text, "lost"), 1);
	assert_non_null(strstr(text, "lost\nis there anybody?\nheard\n"));
	assert_int_equal(log_drops(b->log), drops);
	assert_int_equal(log_fd(b->log), fd);
	free(text);
	close(server);
}

/* A daemon that was restarted in between costs nothing. */
static void restarted_daemon_gets_the_very_next_line(void **state)
{
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM);

	open_syslog(b, "x", NULL);
	stop_listening(b, server);
	server = listen_at(b, SOCK_DGRAM);
	log_write(b->log, NETD_INFO, NULL, "hello");
	assert_non_null(strstr(receive(server), "]: hello"));
	assert_int_equal(log_drops(b->log), 0);
	close(server);
}

static void nobody_there_means_standard_error_until_somebody_is(void **state)
{
	struct bench *b = *state;
	int reader = pipe_as_stderr(), server;
	char *text, notice[160];

	open_syslog(b, "x", NULL);
	log_write(b->log, NETD_ERR, NULL, "one");
	log_write(b->log, NETD_ERR, NULL, "two");
	text = drain(reader);
	snprintf(notice, sizeof notice, "no syslog at %s: logging to standard error\n",
		 bench_path(b, "sock"));
	assert_int_equal(count(text, notice), 1);
	assert_int_equal(count(text, "\n"), 3);
	assert_non_null(strstr(text, " err, "));
	assert_non_null(strstr(text, ", two\n"));
	free(text);

	server = listen_at(b, SOCK_DGRAM);
	write_until_heard(b, server);
	free(drain(reader));
	log_write(b->log, NETD_ERR, NULL, "to syslog");
	text = receive_all(server);
	assert_non_null(strstr(text, "to syslog\n"));
	free(text);
	text = drain(reader);
	assert_string_equal(text, "");
	assert_int_equal(log_drops(b->log), 0);
	free(text);
	close(server);
	close(reader);
}

static void rule19_nobody_there_and_standard_error_stalled(void **state)
{
	struct bench *b = *state;
	int reader = pipe_as_stderr(), server;
	uint64_t written = 0, drops;
	char *text;

	alarm(60);
	open_syslog(b, "x", NULL);
	for (; log_drops(b->log) < 10 && written < 1000000; written++)
		log_write(b->log, NETD_INFO, NULL, "line");
	drops = log_drops(b->log);
	assert_int_equal(drops, 10);
	server = listen_at(b, SOCK_DGRAM);
	assert_int_equal(log_reopen(b->log), 0);
	log_write(b->log, NETD_INFO, NULL, "back");
	text = receive_all(server);
	assert_string_equal(text, "10 log lines were lost\nback\n");
	free(text);
	close(server);
	close(reader);
}

static void stream_daemon_gets_records_ended_by_nul(void **state)
{
	struct bench *b = *state;
	int server = listen_at(b, SOCK_STREAM), peer;
	char text[512];
	ssize_t n;

	open_syslog(b, "x", NULL);
	peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	log_write(b->log, NETD_INFO, NULL, "one");
	log_write(b->log, NETD_INFO, NULL, "two");
	n = recv(peer, text, sizeof text - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text + strlen(text) - 3, "one");
	assert_string_equal(text + n - 4, "two");
	assert_int_equal(strlen(text) * 2 + 2, n);

	close(peer); /* it is gone, and there again: a new connection, no SIGPIPE */
	log_write(b->log, NETD_INFO, NULL, "three");
	peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	assert_true(recv(peer, text, sizeof text, 0) > 0);
	assert_string_equal(text + strlen(text) - 5, "three");
	close(peer);
	close(server);
}

static void rule19_stopped_stream_daemon(void **state)
{
	struct bench *b = *state;
	int server = listen_at(b, SOCK_STREAM), peer;
	size_t used = 0, heard = 0, size = 8 << 20;
	char *text = malloc(size);
	ssize_t n;

	alarm(60);
	open_syslog(b, "x", NULL);
	peer = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	for (int i = 0; i < 20000; i++)
		log_write(b->log, NETD_INFO, NULL, "<line>");
	while ((n = recv(peer, text + used, size - used, 0)) > 0)
		used += (size_t)n;
	for (size_t at = 0; at < used; at += strlen(text + at) + 1) {
		assert_string_equal(text + at + strlen(text + at) - 6, "<line>");
		heard++;
	}
	assert_in_range(log_drops(b->log), 1, 20000);
	assert_int_equal(heard + log_drops(b->log), 20000);
	free(text);
	close(peer);
	close(server);
}

static void reopen_that_fails_keeps_the_connection(void **state)
{
	struct bench *b = *state;
	int server = listen_at(b, SOCK_DGRAM);
	const char *text;

	open_syslog(b, "x", NULL);
	assert_int_equal(unlink(bench_path(b, "sock")), 0);
	assert_int_equal(log_reopen(b->log), -ENOENT);
	text = receive(server);
	assert_memory_equal(text, "<27>", 4);
	assert_non_null(strstr(text, b->path));
	assert_non_null(strstr(text, "No such file or directory"));
	log_set_root(b->log, b->dir); /* a connection needs no path */
	log_write(b->log, NETD_INFO, NULL, "still here");
	assert_non_null(strstr(receive(server), "]: still here"));
	close(server);
}

static void a_path_that_fits_no_socket_is_refused(void **state)
{
	const struct log_config config = {.ident = "x"};
	struct log *log = NULL;
	char path[200];
	struct err err;

	(void)state;
	memset(path, 'p', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	assert_int_equal(log_open_syslog_at(&log, &config, path, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "too long"));
	assert_null(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BENCH_TEST(datagram_has_the_exact_form),
	    BENCH_TEST(priority_is_facility_and_level),
	    BENCH_TEST(rule17_rule18_every_field_is_data),
	    BENCH_TEST(rule19_stopped_daemon_costs_lines_not_time),
	    BENCH_TEST(rule19_daemon_gone_and_back),
	    BENCH_TEST(restarted_daemon_gets_the_very_next_line),
	    BENCH_TEST(nobody_there_means_standard_error_until_somebody_is),
	    BENCH_TEST(rule19_nobody_there_and_standard_error_stalled),
	    BENCH_TEST(stream_daemon_gets_records_ended_by_nul),
	    BENCH_TEST(rule19_stopped_stream_daemon),
	    BENCH_TEST(reopen_that_fails_keeps_the_connection),
	    BENCH_TEST(a_path_that_fits_no_socket_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
