/*
 * table.c - the option table: every standard option, once. Adding an option means a field in struct
 * settings (and struct netd_config), and a row here; adding a mode means a word in MODES.
 * There is nothing to fail in it; tests/unit/test_settings.c checks it against the headers.
 */
#include "conf/table.h"

#include <sys/un.h>

#define MODES "single|fork|threads"
#define MODE_ALIASES "ithreads=threads" /* the original's name */
#define FACILITIES                                                                                 \
	"auth|authpriv|cron|daemon|ftp|kern|lpr|mail|news|syslog|user|uucp|"                       \
	"local0|local1|local2|local3|local4|local5|local6|local7"

#define YEAR_S 31536000 /* no time-out is longer: what is more was meant as milliseconds */
#define NAME_BYTES 255  /* users, groups, hosts: what the system's own limits allow */
#define PATH_BYTES 4095 /* PATH_MAX without the NUL */
#define SOCKET_PATH_BYTES ((long long)sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* A value of the same name in both structs; and one in struct settings only. */
#define BOTH(field)                                                                                \
	.offset = offsetof(struct settings, field), .attribute = offsetof(struct netd_config, field)
#define LINE(field) .flags = CONF_LINE_ONLY, .offset = offsetof(struct settings, field)

/* clang-format off */
const struct conf_option conf_options[] = {
	{"bind", CONF_LIST, .group = CONF_LISTENING, BOTH(bind), .max = PATH_BYTES,
	 .argument = "ADDRESS", .expected = "an address, tcp:HOST:PORT or unix:PATH",
	 .help = "A further address to listen on: tcp:HOST:PORT, tcp:[IPV6]:PORT or unix:PATH. "
		 "May be given several times."},
	{"catchint", CONF_FLAG, .group = CONF_LIFE, BOTH(catchint), .value = "1",
	 .help = "Go on with an interrupted system call; --nocatchint lets handlers see EINTR."},
	{"check", CONF_FLAG, .group = CONF_INFORMATION, LINE(check),
	 .help = "Read and check all settings, show them, and exit without listening."},
	{"childs", CONF_NUMBER, .group = CONF_CONCURRENCY, BOTH(childs), .value = "0",
	 .max = 1024, .argument = "NUMBER",
	 .help = "Worker processes that accept connections, each in the mode given. "
		 "With 0 the server accepts them itself."},
	{"chroot", CONF_PATH, .group = CONF_PRIVILEGES, BOTH(chroot), .max = PATH_BYTES,
	 .argument = "DIRECTORY", .expected = "the absolute path of a directory",
	 .help = "Make this directory the root of the file system once all addresses are bound."},
	{"clients", CONF_TREE, .flags = CONF_FILE_ONLY, .group = CONF_ACCESS, BOTH(clients),
	 .expected = "a list of rules",
	 .help = "The list of access rules, in the config file only. The first rule that fits "
		 "decides, and whom none fits is refused; without a list everybody may connect."},
	{"configfile", CONF_PATH, .flags = CONF_LINE_ONLY, .group = CONF_LIFE, BOTH(configfile),
	 .max = PATH_BYTES, .argument = "FILE", .expected = "a file name",
	 .help = "Read settings from this file; options on the command line win over it. Names that "
		 "end in .yaml, .yml or .json are read as YAML, all others as Perl data."},
	{"coredump", CONF_FLAG, .group = CONF_PRIVILEGES, BOTH(coredump), .value = "0",
	 .help = "Allow core dumps even after privileges were dropped."},
	{"debug", CONF_FLAG, .group = CONF_LOGGING, BOTH(debug), .value = "0",
	 .help = "Log messages of level debug too."},
	{"drain-timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(drain_timeout), .value = "30",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "How long open connections may go on when the server is told to stop."},
	{"explain", CONF_STRING, .group = CONF_INFORMATION, LINE(explain), .max = NAME_BYTES,
	 .argument = "ADDRESS", .expected = "an address",
	 .help = "Show which access rule a client with this address would meet, and exit."},
	{"facility", CONF_CHOICE, .group = CONF_LOGGING, BOTH(facility), .value = "daemon",
	 .choices = FACILITIES, .argument = "NAME",
	 .help = "The facility under which messages go to syslog."},
	{"group", CONF_STRING, .group = CONF_PRIVILEGES, BOTH(group), .max = NAME_BYTES,
	 .argument = "GROUP", .expected = "a group name or number",
	 .help = "The group to run as, by name or number, once all addresses are bound."},
	{"help", CONF_FLAG, .group = CONF_INFORMATION, LINE(help),
	 .help = "Show this list of options and exit."},
	{"listen", CONF_NUMBER, .group = CONF_LISTENING, BOTH(listen), .value = "1024",
	 .min = 1, .max = 65535, .argument = "NUMBER",
	 .help = "Connections that may wait to be accepted, for each address."},
	{"localaddr", CONF_STRING, .group = CONF_LISTENING, BOTH(localaddr), .max = NAME_BYTES,
	 .argument = "ADDRESS", .expected = "an IP address or host name",
	 .otherwise = "all, IPv4 and IPv6",
	 .help = "Listen on this address of the machine only."},
	{"localmode", CONF_MODE, .group = CONF_LISTENING, BOTH(localmode), .value = "0660",
	 .max = 0777, .argument = "MODE",
	 .help = "Permissions of a Unix socket, as an octal number."},
	{"localowner", CONF_STRING, .group = CONF_LISTENING, BOTH(localowner),
	 .max = 2 * NAME_BYTES + 1, .argument = "OWNER",
	 .expected = "USER, USER:GROUP or :GROUP",
	 .help = "Give a Unix socket to this owner: USER, USER:GROUP or :GROUP."},
	{"localpath", CONF_PATH, .group = CONF_LISTENING, BOTH(localpath),
	 .max = SOCKET_PATH_BYTES, .argument = "PATH", .expected = "the path of a Unix socket",
	 .help = "Listen on a Unix socket at this path; implies --proto unix."},
	{"localport", CONF_PORT, .group = CONF_LISTENING, BOTH(localport), .max = 65535,
	 .argument = "PORT",
	 .help = "The TCP port to listen on, a number or service name; 0 takes any free port. "
		 "Required unless --localpath or --bind is given."},
	{"logfile", CONF_PATH, .group = CONF_LOGGING, BOTH(logfile), .max = PATH_BYTES,
	 .argument = "FILE", .expected = "a file name or STDERR", .otherwise = "syslog",
	 .help = "Append log messages to this file; STDERR stands for standard error."},
	{"loop-child", CONF_FLAG, .group = CONF_LIFE, BOTH(loop_child), .value = "0",
	 .help = "Do the service's periodic work beside the accepting of connections, not in turn "
		 "with it."},
	{"loop-timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(loop_timeout), .value = "0",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "Time between two rounds of the service's periodic work; 0 means never."},
	{"max-connections", CONF_NUMBER, .group = CONF_CONCURRENCY, BOTH(max_connections),
	 .value = "0", .max = 10000000, .argument = "NUMBER",
	 .help = "Connections served at a time, over all workers; 0 means no limit."},
	{"mode", CONF_CHOICE, .group = CONF_CONCURRENCY, BOTH(mode), .choices = MODES,
	 .aliases = MODE_ALIASES, .otherwise = "threads, with --childs single",
	 .argument = "MODE",
	 .help = "How connections are served side by side."},
	{"pidfile", CONF_PATH, .group = CONF_LIFE, BOTH(pidfile), .max = PATH_BYTES,
	 .argument = "FILE", .expected = "a file name or none",
	 .help = "Write the process number to this file, hold it locked, and remove it at the end; "
		 "none means no file."},
	{"proto", CONF_CHOICE, .group = CONF_LISTENING, BOTH(proto), .choices = "tcp|unix",
	 .otherwise = "tcp, with --localpath unix",
	 .argument = "NAME",
	 .help = "The kind of socket."},
	{"stack-size", CONF_SIZE, .group = CONF_CONCURRENCY, BOTH(stack_size), .value = "1M",
	 .min = 64 << 10, .max = 1 << 30, .argument = "BYTES",
	 .help = "Stack of a connection's thread, in bytes or with K, M or G."},
	{"timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(timeout), .value = "0",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "Stop by itself after this time, which is for tests; 0 means never."},
	{"user", CONF_STRING, .group = CONF_PRIVILEGES, BOTH(user), .max = NAME_BYTES,
	 .argument = "USER", .expected = "a user name or number",
	 .help = "The user to run as, by name or number, once all addresses are bound."},
	{"version", CONF_FLAG, .group = CONF_INFORMATION, LINE(version),
	 .help = "Show the version and exit."},
};
/* clang-format on */

const size_t conf_option_count = ARRAY_LEN(conf_options);

_Static_assert(ARRAY_LEN(conf_options) <= ARRAY_LEN(((struct settings *)0)->where),
	       "struct settings has too little room in where");
