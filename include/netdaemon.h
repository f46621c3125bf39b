/*
 * netdaemon.h - write run(); everything else about a daemon is deployment.
 *
 * A program fills in a `struct netd_service` (its code), perhaps a `struct netd_config` (its
 * defaults), and calls netd_main(). The administrator decides the rest by options and a
 * configuration file: addresses, access rules, user, concurrency mode, logging.
 *
 * Conventions
 *   Return  0 or more for success, a negative errno value for failure; words about the failure by
 *           netd_server_error() or netd_conn_error(). Out-parameters are untouched on failure.
 *   Times   int64_t milliseconds. A deadline is absolute, on the clock of netd_now(); NETD_NEVER
 *           means no deadline.
 *   Memory  what the library hands out it keeps, for as long as the comment says; what it is given
 *           it copies, unless the comment says otherwise. Destructors take NULL and return NULL.
 *   Modes   every call works the same way in every mode unless its comment names an exception. In
 *           mode fibers all handlers of a worker take turns on one thread, whenever one waits in a
 *           call: netdaemon-modes(7) says what they must not do.
 *   Threads calls on one connection belong to the handler that serves it; calls on the server that
 *           may come from elsewhere say so.
 */
#ifndef NETDAEMON_H
#define NETDAEMON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NETD_VERSION "0.1.0"

/* Counts the changes that a service built before does not survive. */
#define NETD_ABI 1

/* The end of time for every deadline: wait for ever. */
#define NETD_NEVER INT64_MAX

#if defined(__GNUC__)
#define NETD_API __attribute__((visibility("default")))
#define NETD_EXPORT __attribute__((visibility("default")))
#define NETD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NETD_NORETURN __attribute__((noreturn))
#else
#define NETD_API
#define NETD_EXPORT
#define NETD_PRINTF(fmt, args)
#define NETD_NORETURN
#endif

/* The running object: listeners, configuration, workers. One per process tree. */
struct netd_server;

/* One accepted (or dialled) socket, valid until run() has returned and its clean-up ran. */
struct netd_conn;

/* A descriptor to wait for: netd_poll(). */
struct netd_pollfd;

/* ------------------------------------------ the service and its defaults */

/* What kind of value an option of the service takes. */
enum netd_option_type {
	NETD_OPTION_FLAG,   /* --name and --noname: "1" or "0" */
	NETD_OPTION_STRING, /* any text */
	NETD_OPTION_INT,    /* a whole number between .min and .max (both 0: any) */
	NETD_OPTION_CHOICE, /* one of the words in .choices, "dec|hex|oct" */
	NETD_OPTION_LIST,   /* any texts: may be given several times, in a file as a list; see
			     * netd_server_option_item() */
};

/* An option of the service itself, beside the standard ones. A list ends with .name = NULL. */
struct netd_option {
	const char *name;           /* "base": --base on the command line, base in a config file */
	enum netd_option_type type; /* how its value is checked */
	const char *value;          /* the default, as text; NULL: none */
	const char *choices;        /* NETD_OPTION_CHOICE: the words allowed, parted by | */
	long long min, max;         /* NETD_OPTION_INT: the range allowed; both 0: any */
	const char *argument;       /* what --help calls the value: "BASE"; NULL: "VALUE" */
	const char *help;           /* one line for --help */
};

/*
 * What the author writes: constant code. Fill it with NETD_SERVICE(.name = ..., .run = ...); only
 * .name and .run are required. Every callback returns 0 or more for success, negative for failure.
 */
struct netd_service {
	/* Set by NETD_SERVICE; these three stay in front for ever. */
	size_t size;           /* lets the struct grow */
	int abi;               /* NETD_ABI: another one is refused, with both versions named */
	const char *built_for; /* NETD_VERSION */

	const char *name;                  /* a word: ident in the log, name in messages */
	const char *version;               /* what --version prints after the name; NULL: none */
	const char *summary;               /* one line at the top of --help; NULL: none */
	const struct netd_option *options; /* the service's own options; NULL: none */

	/* Options are read, nothing is bound yet: check them, load data. Report a failure with
	 * return netd_server_fail(server, -EINVAL, "words"). Runs once, with start-up rights. */
	int (*configure)(struct netd_server *server);

	/* A connection was accepted by the rules: set up what it needs. Negative: skip it. */
	int (*open)(struct netd_conn *conn);

	/* The last word on a client after the rules said yes: 1 accept, 0 or negative refuse.
	 * Default: accept. */
	int (*accept)(struct netd_conn *conn);

	/* Serve the client; plain blocking code. The connection is flushed and closed after it.
	 * Negative: the connection ended in error, one line is logged, the server goes on. */
	int (*run)(struct netd_conn *conn);

	/* Called every loop-timeout seconds, in the accepting process (by --loop-child: beside it);
	 * never twice at the same time. With --childs: in the first worker only. */
	int (*loop)(struct netd_server *server);

	/*
	 * Something outside a handler may hold pointers to variables of it (on its stack) or to its
	 * connection while it waits in a read: its stack must then stay in place also in mode
	 * fibers, whatever --compact-after says.
	 */
	bool keep_stack;

	/* The server has stopped and drained; runs in each process that accepted connections. */
	void (*done)(struct netd_server *server);
};

#define NETD_SERVICE(...)                                                                          \
	{                                                                                          \
		.size = sizeof(struct netd_service), .abi = NETD_ABI, .built_for = NETD_VERSION,   \
		__VA_ARGS__                                                                        \
	}

/*
 * The service that a shared object holds, for netdaemon --service FILE.so:
 *   NETD_EXPORT_SERVICE(.name = "echo", .run = run);
 * It is the one name that the program netdaemon looks for, whatever else is hidden. A file with
 * this and a main() that calls netd_main(&netdaemon_service, ...) can be built as either.
 */
#ifdef __cplusplus
#define NETD_EXPORT_SERVICE(...)                                                                   \
	extern "C" NETD_EXPORT const struct netd_service netdaemon_service;                        \
	const struct netd_service netdaemon_service = NETD_SERVICE(__VA_ARGS__)
#else
#define NETD_EXPORT_SERVICE(...)                                                                   \
	extern NETD_EXPORT const struct netd_service netdaemon_service;                            \
	const struct netd_service netdaemon_service = NETD_SERVICE(__VA_ARGS__)
#endif

/*
 * Deployment defaults that the author chooses; the config file overrides them, the command line
 * overrides both. Zero or NULL always means the library's default. The manual page
 * netdaemon.conf(5) explains each one under the name of its option.
 */
struct netd_config {
	size_t size;               /* set by NETD_CONFIG: lets the struct grow */
	int accept_burst;          /* connections in a row; default: accept_rate of a second */
	const char *accept_rate;   /* "50/s", "600/m": who comes faster waits; NULL: no limit */
	const char *const *allow;  /* NULL-ended: who may connect, as by --allow */
	int catchint;              /* 1: EINTR never reaches the handler (default); -1: it does */
	int childs;                /* worker processes; 0: the server itself accepts */
	const char *chroot;        /* directory to lock the server into */
	const char *clients;       /* access rules: "[{net => '127.0.0.0/8', accept => 1}]" */
	const char *configfile;    /* file to read; NULL: none */
	double compact_after;      /* mode fibers: seconds; default 10; negative: never */
	int coredump;              /* 1: allow core dumps after privileges were dropped */
	int debug;                 /* 1: log messages of level debug */
	const char *const *deny;   /* NULL-ended: who may not, as by --deny */
	double drain_timeout;      /* seconds to let connections finish; default 30; negative: 0 */
	const char *facility;      /* syslog facility; default "daemon" */
	double first_byte_timeout; /* seconds until a client must have sent something */
	const char *group;         /* group name or number to run as */
	double idle_timeout;       /* seconds without a byte in or out; 0: for ever */
	const char *io;            /* mode fibers: "auto" (default), "io_uring", "epoll", "poll" */
	int listen;                /* backlog; default 1024 */
	const char *const *bind;   /* NULL-ended: "tcp:HOST:PORT", "unix:PATH", "fd:NUMBER" */
	const char *localaddr;     /* address to listen on; NULL: all, IPv4 and IPv6 */
	const char *localmode;     /* permissions of a Unix socket, octal; default "0660" */
	const char *localowner;    /* owner of a Unix socket: "USER", "USER:GROUP", ":GROUP" */
	const char *localpath;     /* path of a Unix socket to listen on */
	const char *localport;     /* port number or service name; "0": any free port */
	const char *logfile;       /* file to append to; "STDERR"; NULL: syslog */
	int loop_child;            /* 1: loop() runs beside the accept loop */
	double loop_timeout;       /* seconds between calls of loop(); 0: never */
	int max_connections;       /* connections at a time, over all workers; 0: no limit */
	int max_per_address;       /* of them from one address; more are refused; 0: no limit */
	int max_per_prefix;  /* and from one network (prefix_ipv4, prefix_ipv6); 0: no limit */
	const char *mode;    /* "single", "fork", "threads" (default), "fibers" */
	int notify_fd;       /* descriptor to tell that connections are accepted; 0: none */
	const char *pidfile; /* file to write the process number to; NULL, "none": none */
	int prefix_ipv4;     /* bits that make an IPv4 network; default 24 */
	int prefix_ipv6;     /* bits that make an IPv6 network; default 64 */
	int print_address;   /* 1: print the bound addresses on standard output */
	const char *proto;   /* "tcp", "unix"; default by localpath */
	int rate_burst;      /* connections in a row that rate_per_address lets pass */
	const char *rate_per_address; /* "5/s", "30/m": more are refused; NULL: no limit */
	const char *rules;    /* file of access rules in the syntax of tcprules; NULL: none */
	const char *section;  /* the service of the config file to be; NULL: the whole file */
	int stack_size;       /* bytes, of a thread or fiber; default 1 MiB, for a fiber 256 KiB */
	double stall_time;    /* mode fibers: seconds; default 0.1; negative: never */
	double timeout;       /* seconds until the server stops by itself (for tests); 0: never */
	double total_timeout; /* seconds that a connection may last; 0: for ever */
	const char *user;     /* user name or number to run as */
};

#define NETD_CONFIG(...)                                                                           \
	(&(const struct netd_config){.size = sizeof(struct netd_config), __VA_ARGS__})

/* ------------------------------------------------------------ the server */

/*
 * The whole life of a daemon: netd_server_new, netd_server_load, netd_server_run, netd_server_free.
 * service: borrowed for the call. config: the author's defaults, or NULL. argc, argv: as main() got
 * them; left as they are. Returns the exit status for main(): 0 after a clean stop, --help,
 * --version, --check; 1 when the server could not start or run; 2 for a wrong option or
 * configuration file. The reason goes to standard error, and to the log once it is open. As process
 * 1 (of a container) it forks first: call it before there are threads.
 */
NETD_API int netd_main(const struct netd_service *service, const struct netd_config *config,
		       int argc, char **argv);

/*
 * Make a server. service and argv are borrowed until netd_server_free(), config is copied. Returns
 * the server, or NULL when memory ran out or there is no service (errno: ENOMEM, EINVAL). Nothing
 * is read or bound yet, but what a supervisor has put into the environment (LISTEN_FDS,
 * NOTIFY_SOCKET ...) is taken out of it: call it before there are threads. A service that does not
 * fit (built for another NETD_ABI, no name, no run) is told by netd_server_load().
 */
NETD_API struct netd_server *netd_server_new(const struct netd_service *service,
					     const struct netd_config *config, int argc,
					     char **argv);

/*
 * Read command line and configuration file, check everything, call service.configure. Binds
 * nothing. Returns 0: ready for netd_server_run(); 1: an option such as --help or --check was
 * answered on standard output and there is nothing to run; -EINVAL (or another errno): the words
 * name the option, or file:line:column, what was found and what is allowed. Called by
 * netd_server_run() when the program did not.
 */
NETD_API int netd_server_load(struct netd_server *server);

/*
 * Bind, drop privileges, serve until stopped and drained. Returns 0 after a clean stop; 1 as
 * netd_server_load(); -errno when the server could not start (nothing stays bound) or had to give
 * up; -ETIMEDOUT when handlers did not end after a hard stop (such a process must exit).
 * One server runs at a time in a process, from one thread.
 */
NETD_API int netd_server_run(struct netd_server *server);

/*
 * Ask the server to stop: no new connections, those at work may finish within drain-timeout. Works
 * from any handler in any mode, child processes included, from any thread, and in a signal handler.
 * Returns 0.
 */
NETD_API int netd_server_stop(struct netd_server *server);

/* Free a server that does not run. Takes NULL, returns NULL. */
NETD_API struct netd_server *netd_server_free(struct netd_server *server);

/* Words about the last failure of a call on this server; "" when there was none. Valid until the
 * next call on the server. */
NETD_API const char *netd_server_error(const struct netd_server *server);

/* Record a failure from service.configure. code: a negative errno. Returns code. */
NETD_API int netd_server_fail(struct netd_server *server, int code, const char *format, ...)
    NETD_PRINTF(3, 4);

/*
 * The address of the listener with this index, as it is really bound: "tcp:127.0.0.1:2000",
 * "tcp:[::1]:2000", "unix:/run/x". Returns NULL past the last one, or before netd_server_run() has
 * bound. Valid until netd_server_free().
 */
NETD_API const char *netd_server_address(const struct netd_server *server, int index);

/*
 * The value of an option as text, the service's own or a standard one ("mode", "localport");
 * NULL when it was not given and has no default, or is unknown. Valid until netd_server_free().
 */
NETD_API const char *netd_server_option(const struct netd_server *server, const char *name);

/* One text of a list (bind, allow, deny; NETD_OPTION_LIST); of any other option, the value has
 * index 0. NULL past the last one. Valid until netd_server_free(). */
NETD_API const char *netd_server_option_item(const struct netd_server *server, const char *name,
					     int index);

/* The same as a number: flags give 0 or 1; text that is no number, or no value at all, 0. */
NETD_API long long netd_server_option_int(const struct netd_server *server, const char *name);

/* A pointer of the author's, kept with the server. The library does not look at it. */
NETD_API void netd_server_set_data(struct netd_server *server, void *data);
NETD_API void *netd_server_data(const struct netd_server *server);

/* What the server has done since it started, over all its workers. */
struct netd_stats {
	size_t size;        /* set by the caller to sizeof(struct netd_stats) */
	uint64_t active;    /* connections open now */
	uint64_t accepted;  /* connections taken from the listeners */
	uint64_t refused;   /* turned away by a rule or by service.accept */
	uint64_t failed;    /* handlers that returned an error, called netd_fatal() or crashed */
	uint64_t log_drops; /* log lines lost because the sink was full or gone */
	/* Mode fibers; these may be a second old: */
	uint64_t parked;    /* handlers that wait */
	uint64_t compacted; /* of them: those that gave their stack's memory back */
	uint64_t bytes;     /* memory for all that: stacks (a page each), saved ones, buffers */
	/* Beside accepted and refused: */
	uint64_t limited;   /* closed at once: too many from their address or network */
	uint64_t untracked; /* accepted, though there was no room to count their address */
};

/* Fill *stats (as far as stats->size reaches). Any thread, any mode. Returns 0. */
NETD_API int netd_server_stats(const struct netd_server *server, struct netd_stats *stats);

/* True once the server is stopping: a handler that could go on for long should come to an end. */
NETD_API bool netd_draining(const struct netd_server *server);

/* -------------------------------------------------------- connection I/O
 *
 * Blocking in style, and it blocks this handler only. Errors common to all: -ETIMEDOUT the deadline
 * passed; -ECANCELED the server is stopping now; -EINTR a signal came and catchint is off;
 * -ECONNRESET, -EPIPE the peer is gone; other errno values as recv(2) and send(2) give them.
 */

/* Read up to size bytes into buffer. Returns the number read, 0 at the end of input, or -errno. */
NETD_API ssize_t netd_read(struct netd_conn *conn, void *buffer, size_t size);

/* Read exactly size bytes. Returns size; fewer only at the end of input; or -errno. */
NETD_API ssize_t netd_read_exact(struct netd_conn *conn, void *buffer, size_t size);

/*
 * Copy one line, with its newline, into buffer and end it with NUL. The last line of the input may
 * lack the newline. Returns its length without the NUL, 0 at the end of input, or -errno:
 * -EMSGSIZE when line and NUL do not fit: the line is skipped, the next call gives the next one.
 */
NETD_API ssize_t netd_readline(struct netd_conn *conn, char *buffer, size_t size);

/*
 * Lend one line in place, with its newline: no buffer on the handler's stack, no copy. *line is
 * valid, and may be written to, until the next read from this connection; it has no NUL (see
 * netd_chomp). Returns its length, 0 at the end of input, or -errno: -EMSGSIZE for a line
 * over NETD_LINE_MAX, which is skipped.
 */
NETD_API ssize_t netd_line(struct netd_conn *conn, char **line);

/* The longest line that netd_line() and netd_readline() take, newline included. */
#define NETD_LINE_MAX 65536

/*
 * Take "\n" or "\r\n" off a line of length n > 0 that netd_line() or netd_readline() gave, and end
 * it with NUL in place. Returns the new length.
 */
NETD_API size_t netd_chomp(char *line, size_t n);

/*
 * Write all of it. Bytes go to a buffer that is sent when it is full, when the handler is about to
 * wait for input, at netd_flush(), and when run() has returned. Returns size, or -errno; after an
 * error the connection takes no more output.
 */
NETD_API ssize_t netd_write(struct netd_conn *conn, const void *data, size_t size);

/* Write formatted text, as netd_write(). Returns the number of bytes, or -errno. */
NETD_API ssize_t netd_printf(struct netd_conn *conn, const char *format, ...) NETD_PRINTF(2, 3);
NETD_API ssize_t netd_vprintf(struct netd_conn *conn, const char *format, va_list args)
    NETD_PRINTF(2, 0);

/* Send what netd_write() has gathered. Returns 0 or -errno. */
NETD_API int netd_flush(struct netd_conn *conn);

/*
 * Send count bytes of an open file from offset on, after what was written before. count -1: to the
 * end of the file. The file's own position does not move. Returns the number of bytes sent (fewer
 * when the file is shorter), or -errno.
 */
NETD_API int64_t netd_sendfile(struct netd_conn *conn, int file, int64_t offset, int64_t count);

/* Flush, then tell the peer that no more output comes; reading goes on. Returns 0 or -errno. */
NETD_API int netd_shutdown(struct netd_conn *conn);

/* Let every read and write of this connection fail with -ETIMEDOUT after this moment.
 * deadline: netd_now() + milliseconds, or NETD_NEVER. */
NETD_API void netd_set_deadline(struct netd_conn *conn, int64_t deadline);

/*
 * Let a read or write of this connection fail with -ETIMEDOUT when it has to wait this long without
 * getting any further: for clients that fall silent. It costs nothing while nobody waits, where a
 * deadline that moves on with each line asks for the time again and again. milliseconds of 1000 or
 * more may run over by 10; 0 or less, or NETD_NEVER: no limit (as at first); the deadline counts
 * besides.
 */
NETD_API void netd_set_timeout(struct netd_conn *conn, int64_t milliseconds);

/*
 * Wait as netd_poll() does, under the administrator's limits for this connection
 * (first-byte-timeout, idle-timeout, total-timeout): for a handler that leaves the socket to
 * somebody else, such as a program it has started. Whoever reads and writes it, the system knows
 * what moves on it. Flush first. Returns as netd_poll(); or -ETIMEDOUT: a limit has passed, one
 * line was logged, netd_conn_error() says which, and everything else on this connection fails from
 * now on; or -ENOTSUP, once: first-byte-timeout or idle-timeout is set, and the system does not
 * count what moves on this kind of socket (a Unix socket; any, on systems other than Linux); from
 * the next call on it watches without them, for total-timeout only.
 */
NETD_API int netd_watch(struct netd_conn *conn, struct netd_pollfd *fds, size_t count,
			int64_t deadline);

/*
 * How many bytes have come from the peer so far (*in), and were written to it (*out), whoever read
 * and wrote them; counted by the system, below TLS. in and out may be NULL. Returns 0; -ENOTSUP
 * where it does not count, as for netd_watch().
 */
NETD_API int netd_traffic(const struct netd_conn *conn, uint64_t *in, uint64_t *out);

/*
 * The socket, for code that needs one; still owned by the connection. Flush first; input that the
 * connection has buffered is not in the socket any more. From this call on the socket is read in
 * calls of the connection only: in mode fibers input may be taken from it at any time, unless this
 * was called before the first read. Returns -1 for a connection without a socket (test kit).
 */
NETD_API int netd_fd(struct netd_conn *conn);

/*
 * The connection as a stream for fprintf(3), fgets(3) ...; made at the first call, owned by the
 * connection, flushed and closed with it (before functions that were deferred earlier). Do not mix
 * it with the calls above without fflush(3), nor use it elsewhere than in the handler. Returns NULL
 * when memory ran out (errno).
 */
NETD_API FILE *netd_stdio(struct netd_conn *conn);

/* Words about the last failure on this connection; "" when there was none. */
NETD_API const char *netd_conn_error(const struct netd_conn *conn);

/* The server this connection belongs to. */
NETD_API struct netd_server *netd_conn_server(const struct netd_conn *conn);

/* -------------------------------------------------------------- the peer */

/* A number for this connection, from 1, unique in its worker process; it stands in the log. */
NETD_API uint64_t netd_conn_id(const struct netd_conn *conn);

/* The peer's numeric address: "192.0.2.7", "2001:db8::7"; "" for a Unix socket. Mapped IPv4
 * addresses (::ffff:192.0.2.7) are given as IPv4. Valid as long as the connection. */
NETD_API const char *netd_peer_host(const struct netd_conn *conn);

/* The peer's port; 0 for a Unix socket. */
NETD_API int netd_peer_port(const struct netd_conn *conn);

/* In one word for people: "192.0.2.7:4711", "[2001:db8::7]:4711", "unix:uid=1000,pid=42". */
NETD_API const char *netd_peer_text(const struct netd_conn *conn);

/* The peer's host name, only when it is confirmed: the name that the address points to points back
 * to the address. NULL when it is not, when no access rule needed a name, or for a Unix socket. */
NETD_API const char *netd_peer_name(const struct netd_conn *conn);

/* Who is at the other end of a Unix socket, when it connected (SO_PEERCRED). */
struct netd_cred {
	int64_t uid, gid, pid; /* -1: unknown */
};

/* Fill *cred. Returns 0, or -ENOTSUP for anything but a Unix socket. */
NETD_API int netd_peer_cred(const struct netd_conn *conn, struct netd_cred *cred);

/* The address the client connected to: "tcp:127.0.0.1:2000", "unix:/run/x". "" when unknown. */
NETD_API const char *netd_local_text(struct netd_conn *conn);

/* A further key of the access rule that let this client in: with { mask => '...', accept => 1,
 * group => 'staff' }, netd_client_get(conn, "group") is "staff". NULL: no such key, or no rules. */
NETD_API const char *netd_client_get(const struct netd_conn *conn, const char *key);

/*
 * A variable of this rule for the program that is started: env => { A => 'x' }, or 10.:allow,A="x"
 * in the rules file. index counts from 0. Returns 1 and *name and *value, which live as long as the
 * connection; 0 past the last one, and leaves them alone.
 */
NETD_API int netd_client_env(const struct netd_conn *conn, int index, const char **name,
			     const char **value);

/* The number of that rule, from 1; 0 when there are no rules. Counted in the order of asking: deny,
 * allow, clients; in the rules file it is the line, with the number of all those added. */
NETD_API int netd_client_rule(const struct netd_conn *conn);

/* ------------------------------------------------ memory, clean-up, data */

/* Have fn(arg) called when the connection ends, however the handler ends (a crash of the process
 * excepted); last in, first out; the connection can still be written to. Returns 0 or -ENOMEM. */
NETD_API int netd_defer(struct netd_conn *conn, void (*fn)(void *arg), void *arg);

/* Zeroed memory that is freed with the connection. Returns NULL when there is none (errno). */
NETD_API void *netd_alloc(struct netd_conn *conn, size_t size);

/* A pointer of the author's, kept with the connection. The library does not look at it. */
NETD_API void netd_set_data(struct netd_conn *conn, void *data);
NETD_API void *netd_data(const struct netd_conn *conn);

/* -------------------------------------------------- time and other waits */

/* Milliseconds on a clock that never jumps (CLOCK_MONOTONIC). */
NETD_API int64_t netd_now(void);

/* Wait. Returns 0; -ECANCELED when the server stops now; -EINTR when catchint is off (never in a
 * handler of mode fibers, as for all calls). */
NETD_API int netd_sleep(int64_t milliseconds);

/* A descriptor to wait for; the same fields and meaning as struct pollfd. */
struct netd_pollfd {
	int fd;
	short events;  /* NETD_IN, NETD_OUT */
	short revents; /* NETD_IN, NETD_OUT, NETD_FAILED, NETD_HUP */
};

#define NETD_IN 0x001     /* POLLIN */
#define NETD_OUT 0x004    /* POLLOUT */
#define NETD_FAILED 0x008 /* POLLERR */
#define NETD_HUP 0x010    /* POLLHUP */

/*
 * Wait until one of the descriptors (foreign ones too) is ready, or until the deadline; none of
 * them may be closed meanwhile. Returns how many are ready, 0 at the deadline, or -errno
 * (-ECANCELED, -EINTR as netd_sleep()).
 */
NETD_API int netd_poll(struct netd_pollfd *fds, size_t count, int64_t deadline);

/*
 * Connect to another server, with the same I/O calls as for a client. conn: the connection on whose
 * behalf it is done; the new one ends with it at the latest. address: "tcp:HOST:PORT",
 * "tcp:[V6]:PORT", "unix:PATH"; a HOST name is looked up. Returns 0 and the connection in *out, or
 * -errno: -EINVAL a bad address, -EHOSTUNREACH an unknown host, -ETIMEDOUT, or as connect(2).
 */
NETD_API int netd_dial(struct netd_conn *conn, const char *address, int64_t deadline,
		       struct netd_conn **out);

/* Flush and close a dialled connection. Takes NULL, returns NULL. */
NETD_API struct netd_conn *netd_hangup(struct netd_conn *dialled);

/* ------------------------------------------------------------- more work */

/*
 * Run fn the way the mode runs connections: single calls it, fork runs it in a child process (a
 * copy of memory), threads in a thread, fibers in a fiber, which begins when the caller waits. It
 * counts for drain and stop like a connection. Returns 0, or -errno when it could not be started
 * (-EAGAIN, -ENOMEM).
 */
NETD_API int netd_spawn(struct netd_server *server,
			int (*fn)(struct netd_server *server, void *arg), void *arg);

/*
 * Call a function that truly blocks (an old library, a slow disk) without stopping other
 * connections, and wait for it, whatever deadline passes and also when the server stops. fn must
 * not use a connection. single, fork, threads: a plain call; fibers: on one of at most 32 helper
 * threads. Returns what fn returned, or -EAGAIN when no helper could be had.
 */
NETD_API int netd_offload(int (*fn)(void *arg), void *arg);

/* ---------------------------------------------------------- log messages
 *
 * Levels as in syslog(3). A message is one line: control characters in it are escaped, 2,000 bytes
 * are kept. No call blocks or fails: what a sink cannot take is counted and reported.
 */
enum netd_level {
	NETD_EMERG,
	NETD_ALERT,
	NETD_CRIT,
	NETD_ERR,
	NETD_WARNING,
	NETD_NOTICE,
	NETD_INFO,
	NETD_DEBUG
};

/* Log for a connection; its number and peer stand in the line. */
NETD_API void netd_log(struct netd_conn *conn, enum netd_level level, const char *format, ...)
    NETD_PRINTF(3, 4);
NETD_API void netd_vlog(struct netd_conn *conn, enum netd_level level, const char *format,
			va_list args) NETD_PRINTF(3, 0);

/* netd_log() with level debug (written only with --debug), and with level err. */
NETD_API void netd_debug(struct netd_conn *conn, const char *format, ...) NETD_PRINTF(2, 3);
NETD_API void netd_error(struct netd_conn *conn, const char *format, ...) NETD_PRINTF(2, 3);

/*
 * Log with level err, then end this connection at once: deferred functions run, run() does not
 * return. Call it from open, accept or run of this connection only. It leaves by longjmp: no C++
 * destructors run.
 */
NETD_API void netd_fatal(struct netd_conn *conn, const char *format, ...)
    NETD_PRINTF(2, 3) NETD_NORETURN;

/* Log for the server, from loop, configure or any thread. */
NETD_API void netd_server_log(struct netd_server *server, enum netd_level level, const char *format,
			      ...) NETD_PRINTF(3, 4);

/* The library's version, as NETD_VERSION was when it was built. */
NETD_API const char *netd_version(void);

#ifdef __cplusplus
}
#endif

#endif
