/*
 * table.c - the option table: every standard option, once. Adding an option means a field in struct
 * settings (and struct netd_config), and a row here; adding a mode means a word in MODES.
 * There is nothing to fail in it; tests/unit/test_settings.c checks it against the headers.
 */
#include "conf/table.h"

#include <sys/un.h>

#define MODES "single|fork|threads|fibers"
#define MODE_ALIASES "ithreads=threads" /* the original's name */
#define POLLERS "auto|io_uring|epoll|poll"
#define FACILITIES                                                                                 \
	"auth|authpriv|cron|daemon|ftp|kern|lpr|mail|news|syslog|user|uucp|"                       \
	"local0|local1|local2|local3|local4|local5|local6|local7"

#define WHO_EXPECTED                                                                               \
	"an address, a network, a host name, .DOMAIN, unix, uid=USER, gid=GROUP, mask=REGEX or "   \
	"all"
#define WHO_BYTES (4096 + 5)        /* mask= and the longest pattern */
#define RATE_MAX (1000000LL * 3600) /* per hour: a million per second */
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
	{"accept-burst", CONF_NUMBER, .group = CONF_ACCESS, BOTH(accept_burst), .min = 1,
	 .max = 1000000, .argument = "NUMBER",
	 .otherwise = "what --accept-rate gives in a second",
	 .help = "Connections that --accept-rate lets pass in a row after a quiet time."},
	{"accept-rate", CONF_RATE, .group = CONF_ACCESS, BOTH(accept_rate), .value = "0",
	 .max = RATE_MAX, .argument = "RATE",
	 .help = "Connections taken from the listeners in a time, over all workers, as 50/s, 600/m "
		 "or 1000/h; what comes faster waits in the queue of the system. 0 means no limit."},
	{"allow", CONF_LIST, .group = CONF_ACCESS, BOTH(allow), .max = WHO_BYTES,
	 .argument = "WHO", .expected = WHO_EXPECTED,
	 .help = "Let these clients in: an address, a network (192.0.2.0/24), a confirmed host name "
		 "(.example.org for all names below it), unix, uid=USER or gid=GROUP of a Unix "
		 "socket, mask=REGEX, or all. May be given several times; whoever nothing lets in is "
		 "refused."},
	{"bind", CONF_LIST, .group = CONF_LISTENING, BOTH(bind), .max = PATH_BYTES,
	 .argument = "ADDRESS", .expected = "an address, tcp:HOST:PORT or unix:PATH",
	 .help = "A further address to listen on: tcp:HOST:PORT, tcp:[IPV6]:PORT or unix:PATH; or a "
		 "listening socket that was handed down, fd:NUMBER or fd:NAME. May be given several "
		 "times."},
	{"catchint", CONF_FLAG, .flags = CONF_ORIGINAL, .group = CONF_LIFE, BOTH(catchint),
	 .value = "1",
	 .help = "Go on with an interrupted system call; --nocatchint lets handlers see EINTR."},
	{"check", CONF_FLAG, .group = CONF_INFORMATION, LINE(check),
	 .help = "Read and check all settings, show them, and exit without listening."},
	{"childs", CONF_NUMBER, .flags = CONF_ORIGINAL, .group = CONF_CONCURRENCY, BOTH(childs),
	 .value = "0",
	 .max = 1024, .argument = "NUMBER",
	 .help = "Worker processes that accept connections, each in the mode given. "
		 "With 0 the server accepts them itself."},
	{"chroot", CONF_PATH, .flags = CONF_ORIGINAL, .group = CONF_PRIVILEGES, BOTH(chroot),
	 .max = PATH_BYTES,
	 .argument = "DIRECTORY", .expected = "the absolute path of a directory",
	 .help = "Make this directory the root of the file system once all addresses are bound."},
	{"clients", CONF_TREE, .flags = CONF_FILE_ONLY, .group = CONF_ACCESS, BOTH(clients),
	 .expected = "a list of rules",
	 .help = "The list of access rules, in the config file only. The first rule that fits "
		 "decides, and whom none fits is refused; without a list everybody may connect."},
	{"compact-after", CONF_SECONDS, .group = CONF_CONCURRENCY, BOTH(compact_after),
	 .value = "10", .max = YEAR_S, .argument = "SECONDS",
	 .help = "In mode fibers, a connection that has waited for input this long gives the memory "
		 "of its stack back until more comes; 0 means never."},
	{"completion", CONF_CHOICE, .group = CONF_INFORMATION, LINE(completion),
	 .choices = "bash|zsh", .argument = "SHELL",
	 .help = "Print a script that lets this shell complete the options, and exit."},
	{"configfile", CONF_PATH, .flags = CONF_ORIGINAL | CONF_LINE_ONLY, .group = CONF_LIFE,
	 BOTH(configfile),
	 .max = PATH_BYTES, .argument = "FILE", .expected = "a file name",
	 .help = "Read settings from this file; options on the command line win over it. Names that "
		 "end in .yaml, .yml or .json are read as YAML, all others as Perl data."},
	{"coredump", CONF_FLAG, .group = CONF_PRIVILEGES, BOTH(coredump), .value = "0",
	 .help = "Allow core dumps even after privileges were dropped."},
	{"debug", CONF_FLAG, .flags = CONF_ORIGINAL, .group = CONF_LOGGING, BOTH(debug),
	 .value = "0",
	 .help = "Log messages of level debug too."},
	{"deny", CONF_LIST, .group = CONF_ACCESS, BOTH(deny), .max = WHO_BYTES,
	 .argument = "WHO", .expected = WHO_EXPECTED,
	 .help = "Refuse these clients, named as for --allow; looked at before every --allow and "
		 "before the other rules. May be given several times."},
	{"drain-timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(drain_timeout), .value = "30",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "How long open connections may go on when the server is told to stop."},
	{"explain", CONF_STRING, .group = CONF_INFORMATION, LINE(explain), .max = NAME_BYTES,
	 .argument = "ADDRESS", .expected = "an address",
	 .help = "Show which access rule a client with this address would meet, and exit."},
	{"facility", CONF_CHOICE, .flags = CONF_ORIGINAL, .group = CONF_LOGGING, BOTH(facility),
	 .value = "daemon",
	 .choices = FACILITIES, .argument = "NAME",
	 .help = "The facility under which messages go to syslog."},
	{"first-byte-timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(first_byte_timeout),
	 .value = "0", .max = YEAR_S, .argument = "SECONDS",
	 .help = "End a connection whose client has sent nothing at all for this long after it was "
		 "accepted; 0 means never."},
	{"group", CONF_STRING, .flags = CONF_ORIGINAL, .group = CONF_PRIVILEGES, BOTH(group),
	 .max = NAME_BYTES,
	 .argument = "GROUP", .expected = "a group name or number",
	 .help = "The group to run as, by name or number, once all addresses are bound."},
	{"help", CONF_FLAG, .group = CONF_INFORMATION, .flags = CONF_ORIGINAL | CONF_LINE_ONLY,
	 .offset = offsetof(struct settings, help),
	 .help = "Show this list of options and exit."},
	{"idle-timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(idle_timeout), .value = "0",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "End a connection on which nothing has moved, in either direction, for this long; "
		 "0 means never."},
	{"io", CONF_CHOICE, .group = CONF_CONCURRENCY, BOTH(io), .value = "auto",
	 .choices = POLLERS, .argument = "NAME",
	 .help = "How mode fibers waits for descriptors; auto takes the best one that the system "
		 "allows."},
	{"listen", CONF_NUMBER, .flags = CONF_ORIGINAL, .group = CONF_LISTENING, BOTH(listen),
	 .value = "1024",
	 .min = 1, .max = 65535, .argument = "NUMBER",
	 .help = "Connections that may wait to be accepted, for each address."},
	{"localaddr", CONF_STRING, .flags = CONF_ORIGINAL, .group = CONF_LISTENING,
	 BOTH(localaddr), .max = NAME_BYTES,
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
	{"localpath", CONF_PATH, .flags = CONF_ORIGINAL, .group = CONF_LISTENING, BOTH(localpath),
	 .max = SOCKET_PATH_BYTES, .argument = "PATH", .expected = "the path of a Unix socket",
	 .help = "Listen on a Unix socket at this path; implies --proto unix."},
	{"localport", CONF_PORT, .flags = CONF_ORIGINAL, .group = CONF_LISTENING, BOTH(localport),
	 .max = 65535,
	 .argument = "PORT",
	 .help = "The TCP port to listen on, a number or service name; 0 takes any free port. "
		 "Required unless --localpath or --bind is given, or sockets are handed down."},
	{"logfile", CONF_PATH, .flags = CONF_ORIGINAL, .group = CONF_LOGGING, BOTH(logfile),
	 .max = PATH_BYTES,
	 .argument = "FILE", .expected = "a file name or STDERR", .otherwise = "syslog",
	 .help = "Append log messages to this file; STDERR stands for standard error."},
	{"loop-child", CONF_FLAG, .flags = CONF_ORIGINAL, .group = CONF_LIFE, BOTH(loop_child),
	 .value = "0",
	 .help = "Do the service's periodic work beside the accepting of connections, not in turn "
		 "with it."},
	{"loop-timeout", CONF_SECONDS, .flags = CONF_ORIGINAL, .group = CONF_LIFE,
	 BOTH(loop_timeout), .value = "0",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "Time between two rounds of the service's periodic work; 0 means never."},
	{"max-connections", CONF_NUMBER, .group = CONF_CONCURRENCY, BOTH(max_connections),
	 .value = "0", .max = 10000000, .argument = "NUMBER",
	 .help = "Connections served at a time, over all workers; 0 means no limit."},
	{"max-per-address", CONF_NUMBER, .group = CONF_ACCESS, BOTH(max_per_address),
	 .value = "0", .max = 10000000, .argument = "NUMBER",
	 .help = "Connections at a time from one address, over all workers; more are refused. "
		 "0 means no limit."},
	{"max-per-prefix", CONF_NUMBER, .group = CONF_ACCESS, BOTH(max_per_prefix),
	 .value = "0", .max = 10000000, .argument = "NUMBER",
	 .help = "Connections at a time from one network, as --prefix-ipv4 and --prefix-ipv6 cut "
		 "it, over all workers; more are refused. 0 means no limit."},
	{"mode", CONF_CHOICE, .flags = CONF_ORIGINAL, .group = CONF_CONCURRENCY, BOTH(mode),
	 .choices = MODES,
	 .aliases = MODE_ALIASES, .otherwise = "threads, with --childs single",
	 .argument = "MODE",
	 .help = "How connections are served side by side."},
	{"notify-fd", CONF_NUMBER, .group = CONF_LIFE, BOTH(notify_fd), .min = 3, .max = 1000000,
	 .argument = "NUMBER", .otherwise = "none",
	 .help = "Write a newline to this inherited descriptor when connections are accepted, and "
		 "close it, as s6 wants it."},
	{"pidfile", CONF_PATH, .flags = CONF_ORIGINAL, .group = CONF_LIFE, BOTH(pidfile),
	 .max = PATH_BYTES,
	 .argument = "FILE", .expected = "a file name or none",
	 .help = "Write the process number to this file, hold it locked, and remove it at the end; "
		 "none means no file."},
	{"prefix-ipv4", CONF_NUMBER, .group = CONF_ACCESS, BOTH(prefix_ipv4), .value = "24",
	 .min = 8, .max = 32, .argument = "BITS",
	 .help = "Bits of an IPv4 address that make a network for --max-per-prefix."},
	{"prefix-ipv6", CONF_NUMBER, .group = CONF_ACCESS, BOTH(prefix_ipv6), .value = "64",
	 .min = 16, .max = 128, .argument = "BITS",
	 .help = "Bits of an IPv6 address that make a network for --max-per-prefix and "
		 "--rate-per-address: whoever has one address mostly has all of a /64."},
	{"print-address", CONF_FLAG, .group = CONF_LIFE, BOTH(print_address), .value = "0",
	 .help = "Print each address really bound on standard output, one a line, once connections "
		 "are accepted: the way to learn the port after --localport 0."},
	{"proto", CONF_CHOICE, .flags = CONF_ORIGINAL, .group = CONF_LISTENING, BOTH(proto),
	 .choices = "tcp|unix",
	 .otherwise = "tcp, with --localpath unix",
	 .argument = "NAME",
	 .help = "The kind of socket."},
	{"rate-burst", CONF_NUMBER, .group = CONF_ACCESS, BOTH(rate_burst), .min = 1,
	 .max = 1000000, .argument = "NUMBER",
	 .otherwise = "what --rate-per-address gives in a second, at least 5",
	 .help = "Connections that --rate-per-address lets pass in a row after a quiet time."},
	{"rate-per-address", CONF_RATE, .group = CONF_ACCESS, BOTH(rate_per_address),
	 .value = "0", .max = RATE_MAX, .argument = "RATE",
	 .help = "New connections from one address in a time (of IPv6: one network by "
		 "--prefix-ipv6), over all workers, as 5/s, 30/m or 100/h; more are refused. "
		 "0 means no limit."},
	{"rules", CONF_PATH, .group = CONF_ACCESS, BOTH(rules), .max = PATH_BYTES,
	 .argument = "FILE", .expected = "a file name",
	 .help = "Access rules in a text file as tcprules has them, looked at after all others and "
		 "read again when it has changed; whoever no line lets in is refused."},
	{"section", CONF_STRING, .flags = CONF_LINE_ONLY, .group = CONF_LIFE, BOTH(section),
	 .max = NAME_BYTES, .argument = "NAME", .expected = "the name of a service",
	 .otherwise = "the whole file",
	 .help = "Read the settings from what stands under this name in services of the config "
		 "file."},
	{"stack-size", CONF_SIZE, .group = CONF_CONCURRENCY, BOTH(stack_size),
	 .min = 64 << 10, .max = 1 << 30, .argument = "BYTES", .otherwise = "1M, in mode fibers 256K",
	 .help = "Stack of a connection's thread or fiber, in bytes or with K, M or G."},
	{"stall-time", CONF_SECONDS, .group = CONF_CONCURRENCY, BOTH(stall_time), .value = "0.1",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "In mode fibers, report a connection that keeps all others of its worker waiting for "
		 "this long; 0 means never."},
	{"timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(timeout), .value = "0",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "Stop by itself after this time, which is for tests; 0 means never."},
	{"total-timeout", CONF_SECONDS, .group = CONF_LIFE, BOTH(total_timeout), .value = "0",
	 .max = YEAR_S, .argument = "SECONDS",
	 .help = "End every connection this long after it was accepted; 0 means never."},
	{"user", CONF_STRING, .flags = CONF_ORIGINAL, .group = CONF_PRIVILEGES, BOTH(user),
	 .max = NAME_BYTES,
	 .argument = "USER", .expected = "a user name or number",
	 .help = "The user to run as, by name or number, once all addresses are bound."},
	{"version", CONF_FLAG, .group = CONF_INFORMATION, .flags = CONF_ORIGINAL | CONF_LINE_ONLY,
	 .offset = offsetof(struct settings, version),
	 .help = "Show the version and exit."},
};
/* clang-format on */

const size_t conf_option_count = ARRAY_LEN(conf_options);

_Static_assert(ARRAY_LEN(conf_options) <= ARRAY_LEN(((struct settings *)0)->where),
	       "struct settings has too little room in where");
