/*
 * report.c - telling those outside how the server is.
 *
 * Happy path: report_ready() once, report_tick() at every turn of the loop, report_stopping().
 * Messages of the watchdog come from the loop itself and nowhere else: a loop that hangs falls
 * silent. The counts are told when they have changed and the loop is awake anyway, so that an idle
 * server sleeps.
 * Failure modes: nobody reads: nothing waits, nothing fails. A manager whose socket is full hears
 * of a new state a little later; one that is gone is logged once.
 */
#include "mode/report.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATUS_MS 5000 /* between two STATUS lines */
#define RETRY_MS 100   /* when the socket was full */

struct counts {
	uint64_t active, accepted, refused, failed;
};

static struct counts count(const struct report *report)
{
	const struct conn_counters *counters = &report->shared->page->counters;

	return (struct counts){
	    .active = shared_active(report->shared),
	    .accepted = atomic_load(&counters->accepted),
	    .refused = atomic_load(&counters->refused),
	    .failed = atomic_load(&counters->failed),
	};
}

/* Changes whenever one of them does, as good as always. */
static uint64_t sum(const struct counts *counts)
{
	return counts->active * 3 + counts->accepted * 5 + counts->refused * 7 +
	       counts->failed * 11;
}

static int sent(struct report *report, int rc)
{
	if (rc < 0 && rc != -EAGAIN && !report->failed) {
		report->failed = true;
		log_write(report->log, NETD_WARNING, NULL, "NOTIFY_SOCKET: %s", strerror(-rc));
	}
	return rc;
}

static void status_text(struct report *report, char *out, size_t size)
{
	struct counts now = count(report);

	report->told = sum(&now);
	snprintf(out, size,
		 "%s: %" PRIu64 " at work, %" PRIu64 " accepted, %" PRIu64 " refused, %" PRIu64
		 " failed",
		 report->state == REPORT_STOPPING ? "stopping" : "serving", now.active,
		 now.accepted, now.refused, now.failed);
}

static int send_state(struct report *report, const char *status)
{
	if (report->state == REPORT_READY)
		return notify_send(&report->notify, "READY=1\nMAINPID=%d\nSTATUS=%s\n",
				   (int)getpid(), status);
	/* The manager's own patience may be shorter than what was configured here. */
	return notify_send(&report->notify,
			   "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=%s\n",
			   report->extend_ms * 1000, status);
}

static void tell_state(struct report *report)
{
	char status[160];

	if (report->notify.fd < 0)
		return;
	status_text(report, status, sizeof status);
	report->unsent = sent(report, send_state(report, status)) == -EAGAIN;
	report->retry_at = clock_deadline(RETRY_MS);
	report->status_at = clock_deadline(STATUS_MS);
}

static void tell_status(struct report *report)
{
	struct counts now = count(report);
	char status[160];

	if (sum(&now) == report->told)
		return;
	status_text(report, status, sizeof status);
	sent(report, notify_send(&report->notify, "STATUS=%s\n", status));
	report->status_at = clock_deadline(STATUS_MS);
}

/* A pipe that is full would hold up the whole service. */
static bool takes_more(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	errno = EAGAIN;
	return poll(&ready, 1, 0) > 0;
}

static void tell_addresses(struct report *report)
{
	const struct listeners *listeners = report->listeners;
	int fd = report->address_fd;

	for (size_t i = 0; fd >= 0 && i < listeners->count; i++)
		if (!takes_more(fd) || dprintf(fd, "%s\n", listeners->items[i].text) < 0)
			log_write(report->log, NETD_WARNING, NULL, "cannot print the address: %s",
				  strerror(errno));
}

static void tell_newline(struct report *report)
{
	if (report->newline_fd < 0)
		return;
	if (!takes_more(report->newline_fd) || write(report->newline_fd, "\n", 1) < 0)
		log_write(report->log, NETD_WARNING, NULL, "--notify-fd %d: %s", report->newline_fd,
			  strerror(errno));
	close(report->newline_fd);
	report->newline_fd = -1;
}

void report_ready(struct report *report)
{
	if (!report || report->state != REPORT_STARTING)
		return;
	report->state = REPORT_READY;
	report->ping_at = report->notify.period_ms > 0 && report->notify.fd >= 0
			      ? clock_deadline(report->notify.period_ms)
			      : NETD_NEVER;
	tell_addresses(report);
	tell_newline(report);
	tell_state(report);
}

void report_stopping(struct report *report, int64_t most_ms)
{
	if (!report)
		return;
	report->state = REPORT_STOPPING;
	report->extend_ms = most_ms;
	tell_state(report);
}

void report_tick(struct report *report)
{
	int64_t now;

	if (!report || report->notify.fd < 0 || report->state == REPORT_STARTING)
		return;
	now = clock_ms();
	if (report->unsent && now >= report->retry_at)
		tell_state(report);
	if (report->ping_at && now >= report->ping_at) {
		sent(report, notify_send(&report->notify, "WATCHDOG=1\n"));
		report->ping_at = now + report->notify.period_ms;
	}
	if (now >= report->status_at)
		tell_status(report);
}

int64_t report_deadline(const struct report *report)
{
	int64_t deadline = NETD_NEVER;

	if (!report || report->state == REPORT_STARTING)
		return deadline;
	if (report->ping_at)
		deadline = report->ping_at;
	return report->unsent ? clock_earlier(deadline, report->retry_at) : deadline;
}

void report_forget(struct report *report)
{
	if (!report)
		return;
	notify_finish(&report->notify);
	if (report->newline_fd >= 0)
		close(report->newline_fd);
	report->newline_fd = -1;
}
