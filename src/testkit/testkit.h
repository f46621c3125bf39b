/* testkit.h - between the files of the test kit. */
#ifndef TESTKIT_TESTKIT_H
#define TESTKIT_TESTKIT_H

#include "netdaemon.h"
#include "server/server.h"

/*
 * A server object with the test's options after those of the test kit (a free port of the loopback
 * address, unless config or options name an address). Returns 0 or -ENOMEM, -EINVAL.
 */
int testkit_server(struct netd_server **out, const struct netd_service *service,
		   const struct netd_config *config, const char *const *options);

#endif
