/*
 * commands.h - what the program netdaemon can do; main.c looks at the command line and picks one.
 * Each takes its part of the command line, argv[0] first, and returns the exit status.
 */
#ifndef NETDAEMON_COMMANDS_H
#define NETDAEMON_COMMANDS_H

#include <stdbool.h>

/*
 * Options that say what is to be served: own options of the services that netdaemon runs, so that
 * --help shows them and a config file may have them as keys. main.c looks for --service and
 * --services itself, before there is a service; the library has only to know the names (their
 * abbreviations are ambiguous, which it says).
 */
#define OPTION_SERVICE                                                                             \
	{                                                                                          \
		.name = "service", .type = NETD_OPTION_STRING, .argument = "FILE.so",              \
		.help = "Serve by this shared object; a name without a slash is looked for in "    \
			"" SERVICE_FOLDER "."                                                      \
	}
#define OPTION_SERVICES                                                                            \
	{                                                                                          \
		.name = "services", .type = NETD_OPTION_STRING, .argument = "FILE",                \
		.help =                                                                            \
		    "Run every service of this config file; with --section NAME that one only."    \
	}
#define OPTION_PROGRAM                                                                             \
	{                                                                                          \
		.name = "program", .type = NETD_OPTION_LIST, .argument = "WORD",                   \
		.help =                                                                            \
		    "In a config file: the program and its arguments, as a list; on the command "  \
		    "line they stand after --."                                                    \
	}

/* What program_main() serves, with all its options. */
struct netd_service;
extern const struct netd_service program_service;

/* netdaemon [options] -- program [args]: argv are the options, program is what stands after "--",
 * ended by NULL. NULL: no "--" was there; the words are those of the option program
 * (netd_server_option_item()), and if there are none, that is a usage error. --help and --version
 * without anything else come here too. */
int program_main(int argc, char **argv, char **program);

/* netdaemon --service ./my.so [options]: path is the option's value; argv still holds the option.
 */
int service_main(const char *path, int argc, char **argv);

/* netdaemon --services FILE [options]: path is the option's value, which argv no longer holds. */
int services_main(const char *path, int argc, char **argv);

/* As process 1 of a container: no signal to stop is lost from here on. It waits for netd_main(),
 * which hands it on to the server (signals.c). */
void signals_hold_as_init(void);

/* What a service calls before its own configure: if it was started again by the master of several
 * services, its log begins with why (handover.c). */
struct netd_server;
void handover_tell_news(struct netd_server *server);

/* --------------------------------------------------------------------------------------- words.c
 */

/* Is this word the option of that name, "--name", "-name", "--name=..."? Abbreviations are the
 * library's business. *value: what stands behind "="; NULL: nothing. */
bool is_option(const char *word, const char *name, const char **value);

/* The value of the option name at argv[*i], and *i at its last word; "" when it was forgotten.
 * NULL: it is another option. */
const char *option_value(const char *name, int argc, char **argv, int *i);

#endif
