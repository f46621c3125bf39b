/*
 * netdaemon_test.h - tests for a service: run its handler on a conversation in memory, or start the
 * real server in any mode on a free port, talk to it, and end it. Works with any test framework:
 * every call returns 0 or more, or a negative errno, with words by netd_test_error().
 *
 * Nothing here can hang a test run: every wait ends by the time-out, and a server that a test left
 * behind ends with the test's process.
 */
#ifndef NETDAEMON_TEST_H
#define NETDAEMON_TEST_H

#include <netdaemon.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A server under test, in a process of its own. */
struct netd_test;

/* A connection to it. */
struct netd_test_client;

/*
 * Run a conversation in memory, without a server: configure, open, accept and run are called as in
 * a real one, input is what the peer sends before it closes. options: a NULL-ended list of
 * command-line options, or NULL. The access rules see a Unix socket's peer (127.0.0.1). The answer,
 * ended with NUL, goes to *output (free() it) and its length to *length; either may be NULL.
 * Returns 0: served; 1: refused; -ECONNABORTED: run() failed or called netd_fatal(); -EINVAL: an
 * option is wrong, or configure failed; -ENOMEM. What the service logs goes to standard error.
 */
NETD_API int netd_test_talk(const struct netd_service *service, const struct netd_config *config,
			    const char *const *options, const void *input, size_t size,
			    char **output, size_t *length);

/*
 * Start a server on a free port of the loopback address (unless config or options name an address).
 * options: a NULL-ended list such as {"--mode=fork", NULL}, or NULL. timeout_ms: for every later
 * wait on this server or its clients, and until it stops by itself (--timeout, which options may
 * set); 0: 10 seconds. *out is made in every case but -ENOMEM: free it with netd_test_free().
 * Returns 0 when it accepts connections; -EINVAL, -EADDRINUSE ... as netd_server_run();
 * -ETIMEDOUT. What it logs goes to standard error unless options say otherwise.
 */
NETD_API int netd_test_start(struct netd_test **out, const struct netd_service *service,
			     const struct netd_config *config, const char *const *options,
			     int64_t timeout_ms);

/* Where the server listens: "tcp:127.0.0.1:40123". Valid as long as the test. */
NETD_API const char *netd_test_address(const struct netd_test *test);

/* The port of that address; 0 for a Unix socket. */
NETD_API int netd_test_port(const struct netd_test *test);

/* The server's process number; -1 when it has ended. */
NETD_API int64_t netd_test_pid(const struct netd_test *test);

/* Words about the last failure of this server or one of its clients; "" when there was none. */
NETD_API const char *netd_test_error(const struct netd_test *test);

/*
 * Send SIGTERM and wait until the server has ended: close the clients first, it lets them finish.
 * Returns its exit status (0 after a clean stop),
 * 128 + the signal that killed it, or -ETIMEDOUT: it was killed.
 */
NETD_API int netd_test_stop(struct netd_test *test);

/* Stop the server if it still runs, forget its clients. Takes NULL, returns NULL. */
NETD_API struct netd_test *netd_test_free(struct netd_test *test);

/* Connect a client. Returns 0 and *out (owned by the test), or -errno. */
NETD_API int netd_test_connect(struct netd_test *test, struct netd_test_client **out);

/* Send size bytes. Returns 0 or -errno. */
NETD_API int netd_test_send(struct netd_test_client *client, const void *data, size_t size);

/* Send text. Returns 0 or -errno. */
NETD_API int netd_test_say(struct netd_test_client *client, const char *text);

/*
 * Read as many bytes as text has; they must be these. Returns 0; -EBADMSG: others came (the words
 * show both); -EPIPE: the server closed before; -ETIMEDOUT; or as recv(2).
 */
NETD_API int netd_test_expect(struct netd_test_client *client, const char *text);

/* The server must close without another byte. Returns 0, -EBADMSG, -ETIMEDOUT, or as recv(2). */
NETD_API int netd_test_expect_close(struct netd_test_client *client);

/* Tell the server that no more comes; reading goes on. Returns 0 or -errno. */
NETD_API int netd_test_shutdown(struct netd_test_client *client);

/* Close the connection. Takes NULL, returns NULL. */
NETD_API struct netd_test_client *netd_test_close(struct netd_test_client *client);

#ifdef __cplusplus
}
#endif

#endif
