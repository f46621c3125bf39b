/*
 * sink_none.c - the sink that takes everything and keeps nothing: tests, and the time before a log
 * is open. It owns nothing and cannot fail; log_none() has one made at compile time, so that there
 * is nothing to open.
 */
#include "log/sink.h"

static int none_write(struct sink *sink, const struct log_record *record)
{
	(void)sink;
	(void)record;
	return 0;
}

static int none_reopen(struct sink *sink, struct err *err)
{
	(void)sink;
	(void)err;
	return 0;
}

static void none_close(struct sink *sink)
{
	(void)sink;
}

static int none_fd(const struct sink *sink)
{
	(void)sink;
	return -1;
}

const struct sink_ops log_sink_none = {
    .name = "none",
    .write = none_write,
    .reopen = none_reopen,
    .close = none_close,
    .fd = none_fd,
};
