/*
 * settings.h - what the server shall do, from attributes, file and command line (in this order, the
 * later wins). One option table (table.c) yields the parser, --help, the config file's keys, the
 * man page section and the checks.
 */
#ifndef CONF_SETTINGS_H
#define CONF_SETTINGS_H

#include "base/base.h"
#include "conf/value.h"
#include "netdaemon.h"

#include <sys/types.h>

struct conf_own; /* values of the service's own options */

/* Every value is checked: a struct settings that conf_load() filled needs no further doubt. */
struct settings {
	long long accept_burst; /* 0: what accept_rate gives in a second, at least 1 */
	long long accept_rate;  /* connections per hour over all; 0: no limit */
	struct strlist allow;   /* --allow, in order; checked by access/ */
	bool catchint;
	long long childs;      /* 0..1024 */
	char *chroot;          /* absolute path; NULL: none */
	struct value *clients; /* a list of maps; NULL: no rules at all, open */
	char *configfile;      /* NULL: none */
	bool coredump;
	bool debug;
	struct strlist deny;   /* --deny, likewise; looked at first */
	int64_t drain_timeout; /* ms */
	char *facility;
	int64_t first_byte_timeout; /* ms; 0: never */
	char *group;                /* as given; NULL: keep */
	int64_t idle_timeout;       /* ms; 0: never */
	long long listen;           /* backlog, 1..65535 */
	struct strlist bind;        /* --bind addresses in order, syntax checked later by listen/ */
	char *localaddr;            /* NULL: all addresses */
	long long localmode;        /* permission bits, 0..0777 */
	char *localowner;           /* NULL: leave */
	char *localpath;            /* NULL: none */
	char *localport;            /* NULL: none */
	char *logfile;              /* NULL: syslog */
	bool loop_child;
	int64_t loop_timeout;      /* ms; 0: never */
	long long max_connections; /* 0: no limit */
	long long max_per_address; /* 0: no limit */
	long long max_per_prefix;  /* 0: no limit */
	char *mode;          /* canonical: "single", "fork", "threads", "fibers"; never NULL */
	long long notify_fd; /* 0: none */
	char *pidfile;       /* NULL: none ("none" is mapped to NULL) */
	long long prefix_ipv4, prefix_ipv6; /* bits that make a network */
	bool print_address;
	char *proto;                /* "tcp", "unix" (also by localpath); never NULL */
	char *io;                   /* "auto", "io_uring", "epoll", "poll"; never NULL */
	int64_t compact_after;      /* ms; 0: never */
	int64_t stall_time;         /* ms; 0: never */
	long long rate_burst;       /* 0: what rate_per_address gives in a second, at least 5 */
	long long rate_per_address; /* new connections per hour; 0: no limit */
	char *rules;                /* a file in the syntax of tcprules; NULL: none */
	char *section;              /* of the config file; NULL: all of it */
	long long stack_size;       /* bytes */
	int64_t total_timeout;      /* ms; 0: never */
	int64_t timeout;            /* ms; 0: never */
	char *user;                 /* as given; NULL: keep */

	/* command line only */
	bool help, version, check;
	char *completion; /* "bash", "zsh": print its script; NULL: no */
	char *explain;    /* address to explain; NULL: no */

	struct conf_own *own;
	struct strlist warnings; /* "file:3:7: words", for the log and for --check */
	char *where[64]; /* by table index: who set it: "--mode", "file:3:7"; NULL: default */
};

/*
 * Fill *out from all sources. argv[0] is skipped and argv left as it is. Attributes that are wrong
 * are reported as "attribute NAME". Returns 0, or -EINVAL, -ENOENT, -EACCES, -ENOMEM ... with err:
 *   "--localport: found 'abc', expected a port (0-65535) or a service name"
 *   "/etc/echo.conf:12:3: unknown key 'mod', did you mean 'mode'?"
 * out is initialised by the call and must be given to conf_finish() in either case; the service's
 * options are borrowed as long. With help or version set, only the command line was looked at (and
 * for help, what the attributes make of the defaults).
 */
int conf_load(struct settings *out, const struct netd_service *service,
	      const struct netd_config *config, int argc, char **argv, struct err *err);
void conf_finish(struct settings *settings);

/* Where an option's value came from: "--mode", "/etc/x.conf:3:7", "attribute mode", "default". */
const char *conf_where(const struct settings *settings, const char *name);

/* The value of any option, own or standard, as text; NULL: none. Lives as long as settings. */
const char *conf_get(const struct settings *settings, const char *name);

/* One text of a list, or of any other option the value as item 0; NULL: none. Lives likewise. */
const char *conf_get_item(const struct settings *settings, const char *name, size_t item);

/* The text of --help and of --version, from the table. settings: what conf_load() made of --help;
 * it has the defaults that the program sets. Return 0 or -ENOMEM. */
int conf_usage(struct buf *out, const struct netd_service *service,
	       const struct settings *settings);
int conf_version(struct buf *out, const struct netd_service *service);

/* A script that lets shell ("bash", "zsh") complete the options. Returns 0 or -ENOMEM. */
int conf_completion(struct buf *out, const struct netd_service *service, const char *shell);

/* The OPTIONS section of a man page (mdoc), from the table. */
int conf_mdoc(struct buf *out);

/* Every setting and where it came from, one per line, for --check. */
int conf_describe(struct buf *out, const struct settings *settings);

/*
 * Read a file that must be safe to trust (security rule 23): a regular file, owner root or us, not
 * writable by group or others, at most VALUE_FILE_MAX bytes; checked on the opened descriptor. out
 * is initialised by the call when it succeeds, else untouched.
 */
int conf_read_file(struct buf *out, const char *path, struct err *err);

/* The same where we may be another by now: the file belongs to root or to owner. Tells which file
 * it was in *st, in failure too as far as it could be opened. */
struct stat;
int conf_read_trusted(struct buf *out, const char *path, uid_t owner, struct stat *st,
		      struct err *err);

#endif
