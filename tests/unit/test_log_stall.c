/*
 * test_log_stall.c - rule 19 for files and standard error: a sink that is full, stopped or gone
 * costs lines and never time; what was lost is counted, and told once. A write that waits hangs the
 * test: the alarm in main() ends it.
 */
#include "log_bench.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WRITERS 8
#define LINES 1000

/* Write until lines are lost, then some more. Returns how many were written in all. */
static uint64_t write_until_lost(struct log *log)
{
	uint64_t n = 0, before = log_drops(log);

	while (log_drops(log) < before + 100 && n < 1000000) {
		log_write(log, NETD_INFO, NULL, "line %" PRIu64, n);
		n++;
	}
	assert_int_equal(log_drops(log), before + 100);
	return n;
}

/* fd replaces standard error; what stalls at its other end is read from reader. */
static void stall_and_recover(struct bench *b, int fd, int reader)
{
	int flags = fcntl(fd, F_GETFL);
	uint64_t written;
	char *text;

	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	written = write_until_lost(bench_open(b, "STDERR"));
	text = drain(reader);
	assert_int_equal(count(text, ", line "), written - 100);
	assert_int_equal(count(text, "lost"), 0);
	free(text);

	log_write(b->log, NETD_INFO, NULL, "back");
	log_write(b->log, NETD_INFO, NULL, "again");
	text = drain(reader);
	assert_int_equal(count(text, "lost"), 1);
	assert_int_equal(lost_count(text), 100);
	assert_non_null(strstr(text, " warning, "));
	assert_true(strstr(text, "lost") < strstr(text, ", back"));
	assert_int_equal(count(text, "\n"), 3);
	assert_int_equal(log_drops(b->log), 100);
	assert_int_equal(fcntl(fd, F_GETFL), flags); /* shared with whoever started us */
	free(text);
}

static void rule19_stalled_pipe_as_stderr(void **state)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	stall_and_recover(*state, fds[1], fds[0]);
	close(fds[0]);
	close(fds[1]);
}

static void rule19_stalled_socket_as_stderr(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	stall_and_recover(*state, fds[1], fds[0]);
	close(fds[0]);
	close(fds[1]);
}

/* How many lines all reports in a text say were lost. */
static uint64_t lost_in_all(const char *text)
{
	uint64_t sum = 0;

	for (; (text = strstr(text, " log lines were lost")); text++) {
		const char *number = text;

		while (number[-1] >= '0' && number[-1] <= '9')
			number--;
		sum += strtoull(number, NULL, 10);
	}
	return sum;
}

/* A terminal takes lines by half, and may make room at any moment: only what holds for it is asked.
 */
static void rule19_stalled_terminal_as_stderr(void **state)
{
	struct bench *b = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), slave;
	struct buf all;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip();
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	dup2(slave, STDERR_FILENO);
	write_until_lost(bench_open(b, "STDERR"));
	buf_init(&all, 1 << 20);
	for (int part = 0; !strstr(buf_text(&all), ", back"); part++) {
		char *text = drain(master); /* it may hold some back */

		assert_int_equal(buf_adds(&all, text), 0);
		free(text);
		if (part == 0)
			log_write(b->log, NETD_INFO, NULL, "back");
	}
	assert_int_equal(lost_in_all(buf_text(&all)), 100);
	buf_finish(&all);
	close(slave);
	close(master);
}

/* Without a description of our own, poll(2) keeps a shared pipe from stopping us. */
static void rule19_shared_pipe_is_polled(void **state)
{
	const struct log_record record = {
	    .level = NETD_INFO, .pid = 1, .message = "line", .length = 4};
	struct line_out out = {.way = LINE_POLL};
	size_t written = 0;
	int fds[2], code;
	char *text;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	out.fd = fds[1];
	while ((code = log_line_write(&out, &record)) == 0 && written < 1000000)
		written++;
	assert_int_equal(code, -EAGAIN);
	text = drain(fds[0]);
	assert_int_equal(count(text, ", line\n"), written);
	free(text);
	assert_int_equal(log_line_write(&out, &record), 0);
	close(fds[0]);
	assert_int_equal(log_line_write(&out, &record), -EPIPE);
	close(fds[1]);
}

static void rule19_closed_stderr_is_counted(void **state)
{
	struct bench *b = *state;
	int other;

	close(STDERR_FILENO);
	bench_open(b, "STDERR");
	assert_int_equal(log_fd(b->log), -1);
	log_write(b->log, NETD_INFO, NULL, "x");
	assert_int_equal(log_drops(b->log), 1);

	/* Whatever gets the number later is not written to. */
	other = open(bench_path(b, "other"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (other != STDERR_FILENO)
		dup2(other, STDERR_FILENO);
	assert_int_equal(log_reopen(b->log), 0);
	log_write(b->log, NETD_INFO, NULL, "x");
	assert_int_equal(log_drops(b->log), 2);
	assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_END), 0);
	if (other != STDERR_FILENO)
		close(other);
}

/* The reader is gone; the log neither dies of SIGPIPE nor leaves one waiting. */
static void reader_gone(struct bench *b, int fd, int reader)
{
	sigset_t pending;

	dup2(fd, STDERR_FILENO);
	bench_open(b, "STDERR");
	log_write(b->log, NETD_INFO, NULL, "x");
	assert_int_equal(log_drops(b->log), 0);
	close(reader);
	log_write(b->log, NETD_INFO, NULL, "x");
	assert_int_equal(log_drops(b->log), 1);
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
	b->log = log_close(b->log);
	close(fd);
}

static void rule19_no_sigpipe(void **state)
{
	struct sigaction action = {.sa_handler = SIG_DFL}, old;
	sigset_t set, mask;
	int fds[2];

	sigaction(SIGPIPE, &action, &old);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	reader_gone(*state, fds[1], fds[0]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	reader_gone(*state, fds[1], fds[0]);

	/* One that waited before, raised by somebody else, is left. */
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &mask);
	raise(SIGPIPE);
	bench_open(*state, "/dev/full");
	log_write(((struct bench *)*state)->log, NETD_INFO, NULL, "x");
	assert_int_equal(sigtimedwait(&set, NULL, &(struct timespec){0}), SIGPIPE);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGPIPE, &old, NULL);
}

static void rule19_fifo_whose_reader_leaves_and_returns(void **state)
{
	struct bench *b = *state;
	int reader;
	char *text;

	assert_int_equal(mkfifo(bench_path(b, "fifo"), 0600), 0);
	reader = open(b->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bench_open(b, "fifo");
	write_until_lost(b->log);
	close(reader);
	log_write(b->log, NETD_INFO, NULL, "unheard");
	assert_int_equal(log_drops(b->log), 101);
	reader = open(bench_path(b, "fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	free(drain(reader)); /* the FIFO kept what it had */
	log_write(b->log, NETD_INFO, NULL, "back");
	text = drain(reader);
	assert_int_equal(lost_count(text), 101);
	assert_non_null(strstr(text, ", back\n"));
	free(text);
	close(reader);
}

static void rule19_full_disk_and_recovery(void **state)
{
	struct bench *b = *state;
	char *text;

	assert_int_equal(symlink("/dev/full", bench_path(b, "log")), 0);
	bench_open(b, "log");
	for (int i = 0; i < 50; i++)
		log_write(b->log, NETD_INFO, NULL, "line");
	assert_int_equal(log_drops(b->log), 50);
	assert_int_equal(unlink(bench_path(b, "log")), 0);
	assert_int_equal(log_reopen(b->log), 0);
	log_write(b->log, NETD_INFO, NULL, "back");
	log_write(b->log, NETD_INFO, NULL, "again");
	text = bench_read(b, "log");
	assert_int_equal(count(text, "\n"), 3);
	assert_int_equal(count(text, " 50 log lines were lost\n"), 1);
	assert_int_equal(log_drops(b->log), 50);
	free(text);
}

/* The last moment to tell is when the log is closed. */
static void rule19_close_reports_what_was_lost(void **state)
{
	struct bench *b = *state;

	assert_int_equal(symlink("/dev/full", bench_path(b, "log")), 0);
	log_write(bench_open(b, "log"), NETD_INFO, NULL, "line");
	assert_int_equal(unlink(bench_path(b, "log")), 0);
	assert_int_equal(log_reopen(b->log), 0);
	b->log = log_close(b->log);
	bench_expect(b, "log", "1 log lines were lost");
}

/* A limit on file size lets half a line in, and raises SIGXFSZ at the next. */
static void rule19_half_a_line_is_ended_before_the_next(void **state)
{
	struct sigaction action = {.sa_handler = SIG_DFL}, old;
	struct bench *b = *state;
	struct rlimit limit, low;
	char *text, *at;
	struct stat st;

	sigaction(SIGXFSZ, &action, &old);
	log_write(bench_open(b, "log"), NETD_INFO, NULL, "first");
	assert_int_equal(fstat(log_fd(b->log), &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	low = (struct rlimit){.rlim_cur = (rlim_t)st.st_size + 10, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	for (int i = 0; i < 3; i++)
		log_write(b->log, NETD_INFO, NULL, "lost");
	assert_int_equal(log_drops(b->log), 3);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	sigaction(SIGXFSZ, &old, NULL);
	log_write(b->log, NETD_INFO, NULL, "back");
	text = bench_read(b, "log");
	at = text + st.st_size + 10; /* past the torn line */
	assert_int_equal(*at, '\n');
	assert_int_equal(lost_count(at), 3);
	assert_int_equal(count(text, "\n"), 4);
	assert_non_null(strstr(at, ", back\n"));
	free(text);
}

static void rule19_a_child_starts_its_own_account(void **state)
{
	struct bench *b = *state;
	int status;
	pid_t pid;

	assert_int_equal(symlink("/dev/full", bench_path(b, "log")), 0);
	bench_open(b, "log");
	log_write(b->log, NETD_INFO, NULL, "lost");
	pid = fork();
	if (pid == 0) {
		if (log_drops(b->log) != 0 || unlink(bench_path(b, "log")) < 0 ||
		    log_reopen(b->log) < 0)
			_exit(1);
		log_write(b->log, NETD_INFO, NULL, "from the child");
		_exit(log_drops(b->log) != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	bench_expect(b, "log", "from the child");
	assert_int_equal(log_drops(b->log), 1);
}

struct writer {
	struct log *log;
	unsigned number;
};

static void *write_lines(void *arg)
{
	const struct writer *w = arg;
	char tail[200];

	memset(tail, 'x', sizeof tail - 1);
	tail[sizeof tail - 1] = '\0';
	log_set_thread(w->number);
	for (int i = 0; i < LINES; i++)
		log_write(w->log, NETD_INFO, NULL, "<%u %d %s>", w->number, i, tail);
	return NULL;
}

/* Every line is whole and in its place; returns how many lines, *lost how many are reported lost.
 */
static size_t check_lines(char *text, int next[WRITERS], uint64_t *lost)
{
	size_t lines = 0;
	char *save;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *message = line_message(line);
		unsigned number;
		int i, end = 0;

		assert_non_null(message);
		if (strstr(message, "lost")) {
			*lost += lost_count(message);
			continue;
		}
		assert_int_equal(sscanf(message, "<%u %d %*[x]>%n", &number, &i, &end), 2);
		assert_int_equal(strlen(message), end);
		assert_in_range(number, 1, WRITERS);
		assert_true(i >= next[number - 1]);
		next[number - 1] = i + 1;
		lines++;
	}
	return lines;
}

static void start_writers(struct log *log, struct writer writers[WRITERS],
			  pthread_t threads[WRITERS])
{
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){log, i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
	}
}

static void rule19_threads_neither_join_nor_lose_lines(void **state)
{
	struct bench *b = *state;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	int next[WRITERS] = {0};
	uint64_t lost = 0;
	size_t lines = 0;
	char name[32], *text;

	start_writers(bench_open(b, "log"), writers, threads);
	for (int i = 0; i < 20; i++) { /* rotate the file under the writers */
		char to[96];

		snprintf(name, sizeof name, "log.%d", i);
		strcpy(to, bench_path(b, name));
		assert_int_equal(rename(bench_path(b, "log"), to), 0);
		assert_int_equal(log_reopen(b->log), 0);
		sched_yield();
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(log_drops(b->log), 0);
	for (int i = 0; i <= 20; i++) {
		snprintf(name, sizeof name, "log.%d", i);
		text = bench_read(b, i < 20 ? name : "log");
		lines += check_lines(text, next, &lost);
		free(text);
	}
	assert_int_equal(lines, WRITERS * LINES);
	assert_int_equal(lost, 0);
}

/* A reader slower than eight writers: what arrives and what is reported lost add up. */
static void rule19_threads_account_for_every_line(void **state)
{
	struct bench *b = *state;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	int next[WRITERS] = {0}, fds[2];
	uint64_t lost = 0;
	size_t used = 0, size = 4 << 20;
	char *text = malloc(size);

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	dup2(fds[1], STDERR_FILENO);
	start_writers(bench_open(b, "STDERR"), writers, threads);
	while (log_drops(b->log) < 1000) /* let it fill and overflow, then read along */
		sched_yield();
	for (int i = 0; i < 100000 && used < size - 1; i++) {
		ssize_t n = read(fds[0], text + used, 1000);

		used += n > 0 ? (size_t)n : 0;
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	for (ssize_t n; (n = read(fds[0], text + used, size - 1 - used)) > 0;)
		used += (size_t)n;
	b->log = log_close(b->log); /* reports the rest */
	for (ssize_t n; (n = read(fds[0], text + used, size - 1 - used)) > 0;)
		used += (size_t)n;
	text[used] = '\0';
	assert_int_equal(check_lines(text, next, &lost) + lost, WRITERS * LINES);
	assert_true(lost >= 1000);
	free(text);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BENCH_TEST(rule19_stalled_pipe_as_stderr),
	    BENCH_TEST(rule19_stalled_socket_as_stderr),
	    BENCH_TEST(rule19_stalled_terminal_as_stderr),
	    BENCH_TEST(rule19_shared_pipe_is_polled),
	    BENCH_TEST(rule19_closed_stderr_is_counted),
	    BENCH_TEST(rule19_no_sigpipe),
	    BENCH_TEST(rule19_fifo_whose_reader_leaves_and_returns),
	    BENCH_TEST(rule19_full_disk_and_recovery),
	    BENCH_TEST(rule19_close_reports_what_was_lost),
	    BENCH_TEST(rule19_half_a_line_is_ended_before_the_next),
	    BENCH_TEST(rule19_a_child_starts_its_own_account),
	    BENCH_TEST(rule19_threads_neither_join_nor_lose_lines),
	    BENCH_TEST(rule19_threads_account_for_every_line),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
