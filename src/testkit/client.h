/* client.h - a test's end of a connection. */
#ifndef TESTKIT_CLIENT_H
#define TESTKIT_CLIENT_H

#include "base/base.h"

struct netd_test_client;

/*
 * Connect to an address; timeout_ms holds for every wait. The client joins *list, and puts words
 * about failures into err; both outlive it. 0 or -errno.
 */
int client_connect(struct netd_test_client **out, const char *address, int64_t timeout_ms,
		   struct netd_test_client **list, struct err *err);

#endif
