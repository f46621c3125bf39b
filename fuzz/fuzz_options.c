/*
 * fuzz_options.c - command lines and config files from anybody. The first byte tells which: 'p' a
 * file of Perl data, 'y' one of YAML, else the rest is a command line, one word per line. What is
 * taken must be within its bounds, and given back as options it must mean the same; what is refused
 * must be refused in words.
 */
#include "conf/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct netd_option options[] = {
    {.name = "base", .type = NETD_OPTION_CHOICE, .value = "dec", .choices = "dec|hex|oct"},
    {.name = "depth", .type = NETD_OPTION_INT, .min = 1, .max = 9},
    {.name = "title", .type = NETD_OPTION_STRING},
    {.name = "shout", .type = NETD_OPTION_FLAG},
    {.name = NULL},
};

static const struct netd_service service = NETD_SERVICE(.name = "fuzz", .options = options);

static void holds(bool condition)
{
	if (!condition)
		abort();
}

/* words end with NULL. */
static bool is_one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

static void is_within_bounds(const struct settings *settings)
{
	static const char *const modes[] = {"single", "fork", "threads", "fibers", NULL};
	static const char *const pollers[] = {"auto", "io_uring", "epoll", "poll", NULL};

	holds(settings->childs >= 0 && settings->childs <= 1024);
	holds(settings->listen >= 1 && settings->listen <= 65535);
	holds(settings->localmode >= 0 && settings->localmode <= 0777);
	holds(settings->stack_size == 0 || settings->stack_size >= 65536);
	holds(settings->stack_size <= 1 << 30);
	holds(settings->drain_timeout >= 0 && settings->timeout >= 0);
	holds(settings->compact_after >= 0 && settings->stall_time >= 0);
	holds(!settings->user || *settings->user);
	holds(!settings->group || *settings->group);
	holds(!settings->mode || is_one_of(settings->mode, modes));
	holds(is_one_of(settings->io, pollers));
}

/* The text of every value, given to its option, is the same value. */
static void comes_back(const struct settings *settings)
{
	for (size_t i = 0; i < conf_count(settings->own); i++) {
		const struct conf_option *option = conf_at(settings->own, i);
		const char *text = conf_get(settings, option->name);
		struct settings again = {0};

		if (!text || option->kind == CONF_LIST || option->kind == CONF_TREE)
			continue;
		if (option->kind == CONF_SIZE && strcmp(text, "0") == 0)
			continue; /* not settled yet: see the end of try_command_line() */
		holds(conf_own_new(&again.own, &service, NULL) == 0);
		holds(conf_set(&again, i, text, false, NULL) == 0);
		holds(conf_render(&again, NULL) == 0);
		holds(strcmp(conf_get(&again, option->name), text) == 0);
		conf_finish(&again);
	}
}

static void judge(const struct settings *settings, int rc, const struct err *err)
{
	if (rc < 0) {
		holds(err->code == rc && *err->text);
		return;
	}
	is_within_bounds(settings);
	comes_back(settings);
}

static void try_file(const char *path, const char *text, size_t size)
{
	struct settings settings = {0};
	struct err err = {0};
	int rc = conf_own_new(&settings.own, &service, &err);

	if (rc == 0)
		rc = conf_apply_defaults(&settings, &err);
	if (rc == 0)
		rc = conf_apply_text(&settings, path, text, size, &err);
	if (rc == 0)
		rc = conf_render(&settings, &err);
	judge(&settings, rc, &err);
	conf_finish(&settings);
}

/* text is taken apart in place. */
static void try_command_line(char *text)
{
	char name[] = "fuzz", *argv[WORDS_MAX + 2] = {name};
	struct settings settings;
	struct err err = {0};
	int argc = 1, rc;

	for (char *word; argc <= WORDS_MAX && (word = strsep(&text, "\n"));)
		argv[argc++] = word;
	rc = conf_load(&settings, &service, NULL, argc, argv, &err);
	judge(&settings, rc, &err);
	if (rc == 0)
		holds(settings.mode && settings.proto && settings.stack_size > 0);
	conf_finish(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (*text == 'p')
		try_file("fuzz.conf", text + 1, size - 1);
	else if (*text == 'y')
		try_file("fuzz.yaml", text + 1, size - 1);
	else
		try_command_line(size ? text + 1 : text);
	free(text);
	return 0;
}
