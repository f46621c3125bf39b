/*
 * load.h - the load generator: one thread, closed loop. It knows nothing of the library and speaks
 * to any server that echoes lines, or (greet) speaks first. Each kind of work is one file; each
 * prints one line of JSON.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
	int port;
	int connections; /* open at the same time */
	int active;      /* flow: of these, how many have lines under way at a time */
	int depth;       /* flow: lines under way on each of them */
	double seconds;  /* measured time */
	double warmup;   /* seconds before it, not counted */
	size_t size;     /* bytes of a line, newline included */
	int sources;     /* source addresses 127.0.0.2 ... to take turns with */
	int cpu;         /* start: processor of the server; -1: any */
	bool greeted;    /* short: the server speaks first, and closes */
	char **command;  /* start: the server */
};

int load_short(const struct options *options);
int load_greet(const struct options *options);
int load_flow(const struct options *options);
int load_hold(const struct options *options);
int load_start(const struct options *options);

/* ---------------------------------------------------------------------------------------- clock */

int64_t now_ns(void);

/* --------------------------------------------------------------------------------------- client */

#define LINE_MAX_SIZE 4096
#define DEPTH_MAX 64

enum client_state {
	CLIENT_CLOSED,
	CLIENT_CONNECTING,
	CLIENT_IDLE,     /* connected, nothing asked */
	CLIENT_WAITING,  /* a line is out, its echo is awaited; or: the server is to speak */
	CLIENT_FINISHED, /* we said that no more comes, or want none: the server's end is awaited */
};

/* One connection. Events are edge-triggered: every client_*() call goes as far as it can. */
struct client {
	int fd;
	enum client_state state;
	unsigned line;    /* which line it sends */
	size_t got;       /* bytes of the echo so far */
	int64_t begun_ns; /* when it was opened */
	int64_t asked_ns; /* when the line was sent */
};

/* Make the lines that clients send and expect back; 1 <= line, line * depth <= LINE_MAX_SIZE.
 * Clients that come one after the other send different ones: an answer that goes astray shows. */
void client_set_lines(size_t line, int depth);
/* The line of the client with this number, depth times in a row. */
const char *line_of(unsigned number);
size_t line_size(void);

/* A connected socket (it blocks until then), or -errno. */
int client_connect(const struct options *options);

/* Each returns 0, or -errno: the client is of no more use then and must be closed. */
int client_open(struct client *client, int epoll, const struct options *options, void *tag);
int client_connected(struct client *client);
int client_ask(struct client *client);
int client_finish(struct client *client);
/* 1: the whole echo is there; 0: more to come; or -errno (-EPROTO: not what we sent). */
int client_answer(struct client *client);
/* Without a question of ours: 1: the server has said something; 0: not yet; or -errno. */
int client_hear(struct client *client);
/* 1: the server has closed; 0: not yet; or -errno. */
int client_ended(struct client *client);
void client_close(struct client *client);

/* ------------------------------------------------------------------------------------- latencies
 */

/* Counts in classes of nanoseconds, each at most 1.6 % wide. */
struct latencies {
	uint64_t counts[64 * 64];
	uint64_t total;
};

void latencies_add(struct latencies *latencies, int64_t ns);
/* Prints "p50_us":...,"p90_us":...,"p99_us":...,"p999_us":... */
void latencies_print(const struct latencies *latencies);

/* How much of the time the load generator had work: near 1 it is the limit, and not the server. */
struct busy {
	int64_t wall_ns, cpu_ns;
};

/* Says on standard output that what is measured begins: whoever started us looks at the server's
 * processor time then. */
void busy_begin(struct busy *busy);
double busy_share(const struct busy *busy);

#endif
