/* pollers.h - the kinds of pollers; which of them are built in, pollers.c knows. */
#ifndef IO_POLLERS_H
#define IO_POLLERS_H

#include "io/poller.h"

extern const struct poller_ops poller_uring; /* HAVE_URING */
extern const struct poller_ops poller_epoll; /* HAVE_EPOLL */
extern const struct poller_ops poller_poll;

#endif
