/*
 * options.c - the command line of netdaemon --services: what is for the master, what is for every
 * service, and what cannot be for all of them.
 *
 * Happy path: options_spell_out() makes short forms of the few names that matter here full ones,
 * options_read() takes out what the master keeps for itself; the rest goes to the services, whose
 * library reads it. Failure: one line that names the option in full and says why not or what was
 * expected.
 */
#include "commands.h"
#include "services.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#define FD_MAX 1000000
#define WORD_BYTES 64 /* of an option without its value: no name is as long */
#define ADDRESSES "each service has its own addresses: a key of its section"

/* What must be known here; why: that it cannot be for all services at once. */
static const struct {
	const char *option, *why;
} known[] = {
    {"--bind", ADDRESSES},
    {"--check", NULL},
    {"--completion", NULL},
    {"--configfile", "the file is the one of --services"},
    {"--explain", "each service has its own rules: give --section NAME too"},
    {"--help", NULL},
    {"--localaddr", ADDRESSES},
    {"--localpath", ADDRESSES},
    {"--localport", ADDRESSES},
    {"--notify-fd", NULL},
    {"--pidfile", "each service has its own process: a key of its section; that of the "
		  "master is known to whoever starts it ($! in a shell)"},
    {"--program", "each service has its own: a key of its section"},
    {"--section", NULL},
    {"--version", NULL},
};

/* ---------------------------------------------------------------------------------- short forms */

enum meaning { ANOTHER, FLAG, VALUE };

static int fold(char c)
{
	return c == '_' ? '-' : tolower((unsigned char)c);
}

/* Is text, of this length, short for this name, or another spelling of it? */
static bool may_mean(const char *name, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (fold(text[i]) != fold(name[i]))
			return false;
	return length > 0;
}

/* Give the option one value after the other, and see which of them it has then. */
static enum meaning ask_library(const char *option, size_t length, const char *name)
{
	static const char *const values[] = {"", "=3", "=zsh"};
	char self[] = "netdaemon", help[] = "--help", version[] = "--version", text[WORD_BYTES];
	char *argv[] = {self, text, strcmp(name, "help") == 0 ? version : help, NULL};
	struct netd_server *server;
	const char *value;

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		snprintf(text, sizeof text, "%.*s%s", (int)length, option, values[i]);
		server = netd_server_new(&program_service, NULL, 3, argv);
		value = server ? netd_server_option(server, name) : NULL;
		if (value && strcmp(value, *values[i] ? values[i] + 1 : "1") == 0)
			return *values[i] ? VALUE : FLAG;
	}
	return ANOTHER;
}

/* Short forms mean what the library says, which knows all options. It is asked in a process of its
 * own: a server takes what a supervisor has handed down out of its environment. */
static enum meaning ask(const char *option, size_t length, const char *name)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit((int)ask_library(option, length, name));
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return ANOTHER;
	return (enum meaning)WEXITSTATUS(status);
}

/* The known option that a word is short for, and in *equals where its value begins; NULL: none. */
static const char *full_name(const char *word, const char **equals)
{
	const char *text = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
	size_t length = strcspn(text, "=");
	const char *unused;
	enum meaning meaning;

	if (text == word || length + (size_t)(text - word) > WORD_BYTES / 2)
		return NULL;
	*equals = text[length] ? text + length : NULL;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		const char *name = known[i].option + 2;

		if (is_option(word, name, &unused))
			return NULL; /* full already */
		if (!may_mean(name, text, length))
			continue;
		meaning = ask(word, length + (size_t)(text - word), name);
		if (meaning == VALUE || (meaning == FLAG && !*equals))
			return known[i].option;
	}
	return NULL;
}

int options_spell_out(struct services *services)
{
	char **argv = calloc(2 * (size_t)services->argc + 1, sizeof *argv);
	int count = 0;

	if (!argv)
		return -ENOMEM;
	for (int i = 0; i < services->argc; i++) {
		const char *equals = NULL;
		const char *option = i > 0 ? full_name(services->argv[i], &equals) : NULL;

		argv[count++] = option ? handover_word(option) : services->argv[i];
		if (option && equals)
			argv[count++] = handover_word(equals + 1);
	}
	services->argc = count;
	services->argv = argv;
	return 0;
}

/* -------------------------------------------------------------------------------------- reading */

bool options_ask(const struct services *services)
{
	static const char *const questions[] = {"help", "version", "completion"};
	const char *unused;

	for (int i = 1; i < services->argc; i++)
		for (size_t k = 0; k < sizeof questions / sizeof *questions; k++)
			if (is_option(services->argv[i], questions[k], &unused))
				return true;
	return false;
}

/* Is it one that only makes sense for one service? Told on standard error then. */
static bool is_misplaced(const struct services *services, const char *word)
{
	const char *unused;

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (services->section || !known[i].why ||
		    !is_option(word, known[i].option + 2, &unused))
			continue;
		fprintf(stderr, "netdaemon: %s: not together with --services: %s\n",
			known[i].option, known[i].why);
		return true;
	}
	return false;
}

static int read_notify_fd(struct services *services, const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (!*text || *end || number < 3 || number > FD_MAX ||
	    fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0) {
		fprintf(stderr,
			"netdaemon: --notify-fd: found '%s', expected the number of a "
			"descriptor that is open, 3 or more\n",
			text);
		return -EINVAL;
	}
	services->notify_fd = (int)number;
	return 0;
}

/* --section first: what the others mean depends on it. */
static void read_section(struct services *services)
{
	int kept = 1;

	for (int i = 1; i < services->argc; i++) {
		const char *text = option_value("section", services->argc, services->argv, &i);

		if (text)
			services->section = text;
		else
			services->argv[kept++] = services->argv[i];
	}
	services->argc = kept;
}

int options_read(struct services *services)
{
	int kept = 1, rc = 0;

	read_section(services);
	for (int i = 1; rc == 0 && i < services->argc; i++) {
		char **argv = services->argv;
		const char *text;

		if (is_option(argv[i], "check", &text) && !text)
			services->check = true;
		else if (!services->section &&
			 (text = option_value("notify-fd", services->argc, argv, &i)))
			rc = read_notify_fd(services, text);
		else if (is_misplaced(services, argv[i]))
			rc = -EINVAL;
		else
			argv[kept++] = argv[i];
	}
	services->argc = kept;
	return rc;
}
