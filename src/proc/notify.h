/*
 * notify.h - what a service manager hears of us, by systemd's documented protocol: one datagram per
 * message to the socket that NOTIFY_SOCKET names.
 */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

#include "base/base.h"

/* {.fd = -1} before it is taken. */
struct notify {
	int fd;            /* connected, non-blocking, close-on-exec; -1: nobody hears us */
	char *path;        /* NOTIFY_SOCKET; owned; NULL: nobody asked */
	int64_t period_ms; /* between two WATCHDOG=1; 0: nobody waits for them */
	bool odd_watchdog; /* WATCHDOG_USEC made no sense */
};

/* Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and take them out of the environment. Call
 * it before there are threads. */
void notify_take(struct notify *notify);

/* Connect, before chroot and the drop of privileges take the socket out of reach. 0, also when
 * nobody asked; -errno with err: no reason not to serve. */
int notify_open(struct notify *notify, struct err *err);

/* Send one message: lines "KEY=value". Never waits. 0, also when nobody hears us; -EAGAIN: the
 * socket is full; another -errno: the manager is gone. */
int notify_send(const struct notify *notify, const char *format, ...) PRINTF_LIKE(2, 3);

/* Close and free; also half-made, also twice. */
void notify_finish(struct notify *notify);

#endif
