/*
 * test_conf_memory.c - memory runs out at every place where conf asks for some: each time -ENOMEM
 * and words, nothing leaked, and what stood before stands. Linked with --wrap for the allocators.
 */
#include "conf_fixture.h"
#include "scarce.h"

static char words[][80] = {"echo",       "--mode=ithreads", "--bind",    "tcp::1",
			   "--bind=b",   "--title=x",       "--depth=3", "--localport=0",
			   "--chroot=/", "--configfile",    ""};

/* Load from all sources, the n-th allocation failing. True when there was no n-th one. */
static bool load_with_failure(long n)
{
	const struct netd_config *config =
	    NETD_CONFIG(.user = "joe", .io = "poll", .clients = "[{mask => 'x'}]",
			.drain_timeout = 2);
	char *argv[ARRAY_LEN(words) + 1] = {NULL};
	struct err err = {0};
	bool spared;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		argv[i] = i + 1 < ARRAY_LEN(words) ? words[i] : fixture_path;
	conf_finish(&got);
	scarce_from(n);
	rc = conf_load(&got, &fixture_service, config, (int)ARRAY_LEN(words), argv, &err);
	spared = scarce_over();
	if (spared) {
		assert_int_equal(rc, 0);
	} else if (rc < 0) {
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(err.code, -ENOMEM);
		if (!strstr(err.text, "memory"))
			fail_msg("allocation %ld: %s", n, err.text);
	}
	return spared;
}

static void every_allocation_may_fail(const char *name, const char *text)
{
	long n = 0;

	write_file(name, text, strlen(text));
	while (!load_with_failure(n))
		n++;
	assert_true(n > 50);
	assert_string_equal(got.mode, "threads");
	assert_string_equal(conf_get(&got, "bind"), "tcp::1 b");
	assert_int_equal(got.clients->count, 2);
}

static void loading_with_a_perl_file(void **state)
{
	(void)state;
	every_allocation_may_fail("perl", "{group => 'g', clients => [{a => 1}, {b => [2]}],\n"
					  " bind => ['y', 'z'], shout => 1}");
}

static void loading_with_a_yaml_file(void **state)
{
	(void)state;
	if (!READS_YAML)
		skip();
	every_allocation_may_fail("x.yaml", "group: g\nclients:\n- a: 1\n- b: [2]\nbind: [y, z]\n");
}

/* A message may lose words, never its meaning. */
static void refusing_without_memory(void **state)
{
	static const char *const wrong[] = {"--mode=x", "--loc=1", "--zebra", "--user", "x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		for (long n = 0;; n++) {
			char name[] = "echo", word[20], *argv[] = {name, word, NULL};
			struct err err = {0};
			bool spared;
			int rc;

			snprintf(word, sizeof word, "%s", wrong[i]);
			conf_finish(&got);
			scarce_from(n);
			rc = conf_load(&got, &fixture_service, NULL, 2, argv, &err);
			spared = scarce_over();
			assert_true(rc == -EINVAL || rc == -ENOMEM);
			assert_int_equal(err.code, rc);
			assert_true(*err.text);
			if (spared)
				break;
		}
	}
}

static void texts_without_memory(void **state)
{
	(void)state;
	for (long n = 0;; n++) {
		char name[] = "echo", word[] = "--help", *argv[] = {name, word, NULL};
		struct buf buf;
		bool spared;
		int rc;

		buf_init(&buf, 65536);
		conf_finish(&got);
		scarce_from(n);
		rc = conf_load(
		    &got, &fixture_service,
		    NETD_CONFIG(.mode = "fork", .localport = "1", .clients = "[{accept => 1}]"), 2,
		    argv, NULL);
		if (rc == 0)
			rc = conf_usage(&buf, &fixture_service, &got);
		if (rc == 0)
			rc = conf_mdoc(&buf);
		spared = scarce_over();
		buf_finish(&buf);
		assert_int_equal(rc, spared ? 0 : -ENOMEM);
		if (spared)
			break;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loading_with_a_perl_file),
	    cmocka_unit_test(loading_with_a_yaml_file),
	    cmocka_unit_test(refusing_without_memory),
	    cmocka_unit_test(texts_without_memory),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
