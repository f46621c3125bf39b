/*
 * test_access_resolver.c - the system's resolver over a library that lies, hangs and fails. The
 * library's two functions are replaced at link time (--wrap).
 */
#include "access/rule.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* -------------------------------------------------------------------------------- the library */

/* Children of the tests start helpers of their own; the thread sanitizer would not let them. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}

/* What DNS says in the test at hand. Helpers look at it: it is locked. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool real;  /* ask the system */
	bool shut;         /* look-ups hang until it is opened */
	int entered;       /* look-ups that came in so far */
	int forward_calls; /* getaddrinfo() calls so far */
	int name_error;    /* of getnameinfo(), with errno_value */
	int address_error; /* of getaddrinfo(), with errno_value */
	int errno_value;
	const char *name;
	const char *addresses[4]; /* numeric, NULL-ended */
	bool huge;                /* the first address claims to be larger than any */
	int family;               /* what was asked for */
	sigset_t mask;            /* the signals that a helper blocks */
} dns = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool calloc_fails, strdup_fails;
static atomic_bool helpers_fail; /* threads of the tests, which have no attributes, do start */

int __real_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
		       socklen_t host_size, char *service, socklen_t service_size, int flags);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
		       socklen_t host_size, char *service, socklen_t service_size, int flags);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
		       socklen_t host_size, char *service, socklen_t service_size, int flags)
{
	int rc;

	pthread_mutex_lock(&dns.lock);
	dns.entered++;
	dns.family = address->sa_family;
	pthread_sigmask(SIG_BLOCK, NULL, &dns.mask);
	pthread_cond_broadcast(&dns.changed);
	while (dns.shut)
		pthread_cond_wait(&dns.changed, &dns.lock);
	rc = dns.name_error;
	if (rc == 0 && !dns.real)
		strncpy(host, dns.name, host_size);
	errno = dns.errno_value;
	pthread_mutex_unlock(&dns.lock);
	return dns.real ? __real_getnameinfo(address, size, host, host_size, service, service_size,
					     flags)
			: rc;
}

/* One entry of the answer, in one piece with its address. */
struct answer {
	struct addrinfo info;
	struct sockaddr_storage address;
};

static struct addrinfo *answer_of(const char *text, struct addrinfo *next)
{
	struct answer *answer = calloc(1, sizeof *answer);
	struct sockaddr_in *in = (void *)&answer->address;
	struct sockaddr_in6 *in6 = (void *)&answer->address;

	answer->info.ai_next = next;
	answer->info.ai_addr = (struct sockaddr *)&answer->address;
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		answer->info.ai_addrlen = sizeof *in;
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
		in6->sin6_family = AF_INET6;
		answer->info.ai_addrlen = sizeof *in6;
	}
	return &answer->info;
}

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		       struct addrinfo **out);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		       struct addrinfo **out);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		       struct addrinfo **out)
{
	struct addrinfo *list = NULL;
	int rc;

	if (dns.real)
		return __real_getaddrinfo(node, service, hints, out);
	pthread_mutex_lock(&dns.lock);
	dns.forward_calls++;
	rc = dns.address_error;
	for (size_t i = ARRAY_LEN(dns.addresses); rc == 0 && i-- > 0;)
		if (dns.addresses[i])
			list = answer_of(dns.addresses[i], list);
	if (list && dns.huge)
		list->ai_addrlen = sizeof(struct sockaddr_storage) + 1;
	if (rc == 0)
		*out = list;
	errno = dns.errno_value;
	pthread_mutex_unlock(&dns.lock);
	return rc;
}

void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
	if (dns.real) {
		__real_freeaddrinfo(list);
		return;
	}
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(CONTAINER(list, struct answer, info));
		list = next;
	}
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	return calloc_fails ? NULL : __real_calloc(count, size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
	return strdup_fails ? NULL : __real_strdup(text);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	return helpers_fail && attr ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

/* ---------------------------------------------------------------------------------- the tools */

/* DNS as it should be: host.example is 192.0.2.7 and 2001:db8::7. */
static int honest(void **state)
{
	(void)state;
	pthread_mutex_lock(&dns.lock);
	dns.real = dns.shut = dns.huge = false;
	dns.entered = dns.forward_calls = 0;
	dns.name_error = dns.address_error = dns.errno_value = 0;
	dns.name = "host.example";
	dns.addresses[0] = "192.0.2.9";
	dns.addresses[1] = "192.0.2.7";
	dns.addresses[2] = "2001:db8::7";
	dns.addresses[3] = NULL;
	pthread_mutex_unlock(&dns.lock);
	return 0;
}

static void shut(bool on)
{
	pthread_mutex_lock(&dns.lock);
	dns.shut = on;
	pthread_cond_broadcast(&dns.changed);
	pthread_mutex_unlock(&dns.lock);
}

static void wait_entered(int count)
{
	pthread_mutex_lock(&dns.lock);
	while (dns.entered < count)
		pthread_cond_wait(&dns.changed, &dns.lock);
	pthread_mutex_unlock(&dns.lock);
}

static struct access_peer peer_of(const char *text)
{
	struct access_peer peer = {.uid = -1, .gid = -1};

	peer.family = strchr(text, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(peer.family, text, peer.addr), 1);
	return peer;
}

static int names_until(const char *address, int64_t deadline, struct strlist *names)
{
	const struct access_resolver *resolver = &access_system_resolver;
	struct access_peer peer = peer_of(address);

	return resolver->names(resolver->arg, &peer, deadline, names);
}

/* Look up with all the time there is. Nothing may be left in the list unless there was a name. */
static int names_of(const char *address, const char *expected)
{
	struct strlist names = {0};
	int rc = names_until(address, INT64_MAX, &names);

	assert_int_equal(names.count, rc > 0 ? rc : 0);
	if (rc > 0)
		assert_string_equal(names.items[0], expected);
	strlist_finish(&names);
	return rc;
}

/* Helpers leave a moment after their answer was taken: until then there may be too many. */
static void wait_for_a_free_helper(void)
{
	while (names_of("192.0.2.7", "host.example") == -EAGAIN)
		sched_yield();
}

/* -------------------------------------------------------------------------------------- tests */

static void rule12_a_name_that_leads_back_is_confirmed(void **state)
{
	(void)state;
	assert_int_equal(names_of("192.0.2.7", "host.example"), 1);
	assert_int_equal(dns.family, AF_INET);
	assert_int_equal(names_of("2001:db8::7", "host.example"), 1);
	assert_int_equal(dns.family, AF_INET6);
	assert_int_equal(names_of("::ffff:192.0.2.7", "host.example"), 1);
	assert_int_equal(dns.family, AF_INET);
	dns.name = "HOST.Example.";
	assert_int_equal(names_of("192.0.2.7", "host.example"), 1);
}

static void rule12_a_name_that_leads_elsewhere_is_none(void **state)
{
	(void)state;
	assert_int_equal(names_of("192.0.2.8", NULL), 0);
	assert_int_equal(names_of("2001:db8::8", NULL), 0);
	dns.huge = true;
	dns.addresses[0] = "192.0.2.8";
	assert_int_equal(names_of("192.0.2.8", NULL), 0);
	dns.addresses[0] = dns.addresses[1] = dns.addresses[2] = NULL;
	assert_int_equal(names_of("192.0.2.7", NULL), 0);
	assert_int_equal(dns.forward_calls, 4);
}

static void rule12_a_name_of_other_bytes_is_none_and_not_asked_for(void **state)
{
	static const char *const wrong[] = {"",           "-f.root",   "() { :;}",   "a\nb",
					    "a b",        "192.0.2.7", "0xc0000207", "a..b",
					    "3221225991", "h\xc3\xa4"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		dns.name = wrong[i];
		assert_int_equal(names_of("192.0.2.7", NULL), 0);
	}
	assert_int_equal(dns.entered, ARRAY_LEN(wrong));
	assert_int_equal(dns.forward_calls, 0);
}

static void rule12_failures_are_told_apart_from_answers(void **state)
{
	static const struct {
		int gai, sys, rc;
	} cases[] = {
	    {EAI_NONAME, 0, 0},
	    {EAI_NODATA, 0, 0},
	    {EAI_AGAIN, 0, -EAGAIN},
	    {EAI_MEMORY, 0, -ENOMEM},
	    {EAI_SYSTEM, ENFILE, -ENFILE},
	    {EAI_SYSTEM, 0, -EIO},
	    {EAI_FAIL, ENFILE, -EIO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		dns.errno_value = cases[i].sys;
		dns.name_error = cases[i].gai;
		assert_int_equal(names_of("192.0.2.7", NULL), cases[i].rc);
		assert_int_equal(dns.forward_calls, i);
		dns.name_error = 0;
		dns.address_error = cases[i].gai;
		assert_int_equal(names_of("192.0.2.7", NULL), cases[i].rc);
		dns.address_error = 0;
	}
}

static void other_families_have_no_names(void **state)
{
	const struct access_peer local = {.family = AF_UNIX}, none = {0};
	struct strlist names = {0};

	(void)state;
	assert_int_equal(access_system_resolver.names(NULL, &local, INT64_MAX, &names),
			 -EAFNOSUPPORT);
	assert_int_equal(access_system_resolver.names(NULL, &none, INT64_MAX, &names),
			 -EAFNOSUPPORT);
	assert_int_equal(dns.entered, 0);
}

static void rule12_the_deadline_holds_while_the_library_hangs(void **state)
{
	struct strlist names = {0};
	int64_t start = clock_ms();

	(void)state;
	shut(true);
	assert_int_equal(names_until("192.0.2.7", clock_deadline(30), &names), -ETIMEDOUT);
	assert_in_range(clock_ms() - start, 29, ACCESS_NAMES_MS);
	assert_int_equal(names_until("192.0.2.7", clock_ms() - 1000, &names), -ETIMEDOUT);
	assert_int_equal(names_until("192.0.2.7", 0, &names), -ETIMEDOUT);
	wait_entered(3);
	assert_int_equal(names.count, 0);
	shut(false);
	assert_int_equal(names_of("192.0.2.7", "host.example"), 1);
}

static void rule12_no_deadline_means_five_seconds(void **state)
{
	struct strlist names = {0};
	int64_t start = clock_ms();

	(void)state;
	shut(true);
	assert_int_equal(names_until("192.0.2.7", INT64_MAX, &names), -ETIMEDOUT);
	assert_in_range(clock_ms() - start, ACCESS_NAMES_MS - 1, 3 * ACCESS_NAMES_MS);
	shut(false);
}

/*
 * Ask in a child process: its exit status is the answer, -1 when it has none. leave: exit or _exit.
 * The lock is held across the fork: a helper that is just leaving might have it.
 */
static int in_child(int (*ask)(void), void (*leave)(int))
{
	int status = -1;
	pid_t pid;

	pthread_mutex_lock(&dns.lock);
	pid = fork();
	if (pid == 0)
		dns.changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	pthread_mutex_unlock(&dns.lock);
	if (pid == 0)
		leave(ask());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Look up with no time at all: the helper is left behind. */
static int leave_a_helper(void)
{
	struct strlist names = {0};

	return names_until("192.0.2.7", 0, &names);
}

/* 1 when a name was found, once a helper is free. */
static int finds_a_name(void)
{
	struct strlist names = {0};
	int rc;

	shut(false);
	while ((rc = names_until("192.0.2.7", INT64_MAX, &names)) == -EAGAIN)
		sched_yield();
	strlist_finish(&names);
	return rc;
}

static int finds_a_name_at_once(void)
{
	struct strlist names = {0};

	shut(false);
	return names_until("192.0.2.7", INT64_MAX, &names) == 1 ? 7 : 8;
}

static void *fail_often(void *arg)
{
	struct strlist names = {0};

	(void)arg;
	for (int i = 0; i < 20000; i++)
		names_until("192.0.2.7", 0, &names);
	return NULL;
}

/* Many threads take a place at the same time, and give it back for want of a helper. */
static void crowd(void)
{
	pthread_t threads[4];
	size_t count = 0;

	helpers_fail = true;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		count += pthread_create(&threads[count], NULL, fail_often, NULL) == 0;
	fail_often(NULL);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	helpers_fail = false;
}

/* How many helpers may hang; 99 for any other fault. */
static int counts_helpers(void)
{
	int out = 0, rc;

	honest(NULL);
	crowd();
	shut(true);
	while ((rc = leave_a_helper()) == -ETIMEDOUT && out < 98)
		out++;
	if (rc != -EAGAIN)
		return 99;
	wait_entered(out);
	if (leave_a_helper() != -EAGAIN)
		return 99;
	/* A forked child has none of them. */
	if (in_child(finds_a_name_at_once, _exit) != 7)
		return 99;
	/* Those that come back make room. */
	return finds_a_name() == 1 ? out : 99;
}

static void helpers_are_limited_per_process(void **state)
{
	(void)state;
	assert_int_equal(in_child(counts_helpers, _exit), 32);
}

static int leaves_while_a_helper_hangs(void)
{
	honest(NULL);
	shut(true);
	if (leave_a_helper() != -ETIMEDOUT)
		return 1;
	wait_entered(1);
	return 9;
}

static void a_process_may_exit_while_a_helper_hangs(void **state)
{
	(void)state;
	assert_int_equal(in_child(leaves_while_a_helper_hangs, exit), 9);
}

static void helpers_take_no_signals(void **state)
{
	sigset_t before, after;

	(void)state;
	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(names_of("192.0.2.7", "host.example"), 1);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	for (int signo = 1; signo < 32; signo++) {
		assert_int_equal(sigismember(&before, signo), sigismember(&after, signo));
		if (signo != SIGKILL && signo != SIGSTOP)
			assert_int_equal(sigismember(&dns.mask, signo), 1);
	}
}

static void threads_that_cannot_start_leave_no_trace(void **state)
{
	(void)state;
	helpers_fail = true;
	for (int i = 0; i < 40; i++) /* more than the limit: each place is given back */
		assert_int_equal(names_of("192.0.2.7", NULL), -EAGAIN);
	helpers_fail = false;
	assert_int_equal(dns.entered, 0);
	assert_int_equal(names_of("192.0.2.7", "host.example"), 1);
}

static void memory_that_runs_out_is_an_error(void **state)
{
	(void)state;
	calloc_fails = true;
	assert_int_equal(names_of("192.0.2.7", NULL), -ENOMEM);
	calloc_fails = false;
	strdup_fails = true;
	assert_int_equal(names_of("192.0.2.7", NULL), -ENOMEM);
	strdup_fails = false;
}

static void *ask_often(void *arg)
{
	int *wrong = arg;

	for (int i = 0; i < 50; i++) {
		struct strlist names = {0};
		int rc = names_until("192.0.2.7", INT64_MAX, &names);

		*wrong += rc != 1 && rc != -EAGAIN; /* helpers that are about to leave count too */
		strlist_finish(&names);
	}
	return NULL;
}

static void threads_may_ask_side_by_side(void **state)
{
	pthread_t threads[8];
	int wrong[8] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &wrong[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(wrong[i], 0);
	}
	wait_for_a_free_helper();
}

static void the_real_library_confirms_loopback(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	char name[NI_MAXHOST];

	(void)state;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (__real_getnameinfo((const struct sockaddr *)&in, sizeof in, name, sizeof name, NULL, 0,
			       NI_NAMEREQD) != 0)
		skip(); /* a machine without an entry for itself */
	dns.real = true;
	assert_int_equal(names_of("127.0.0.1", name), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, honest)
	const struct CMUnitTest tests[] = {
	    TEST(rule12_a_name_that_leads_back_is_confirmed),
	    TEST(rule12_a_name_that_leads_elsewhere_is_none),
	    TEST(rule12_a_name_of_other_bytes_is_none_and_not_asked_for),
	    TEST(rule12_failures_are_told_apart_from_answers),
	    TEST(other_families_have_no_names),
	    TEST(rule12_the_deadline_holds_while_the_library_hangs),
	    TEST(rule12_no_deadline_means_five_seconds),
	    TEST(helpers_are_limited_per_process),
	    TEST(a_process_may_exit_while_a_helper_hangs),
	    TEST(helpers_take_no_signals),
	    TEST(threads_that_cannot_start_leave_no_trace),
	    TEST(memory_that_runs_out_is_an_error),
	    TEST(threads_may_ask_side_by_side),
	    TEST(the_real_library_confirms_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
