/*
 * event_echo.c - the same echo by libevent: bufferevents, and lines moved from the input's buffer
 * to the output's without a copy. The epoll change list is on: it saves system calls, and it is
 * safe here, where no descriptor is ever duplicated.
 */
#include "lines.h"
#include "peer.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>

#define OUT_LIMIT (256 * 1024)

/* How many bytes of the buffer belong to lines that are complete. */
static size_t whole_lines(struct evbuffer *in)
{
	struct evbuffer_ptr at;
	size_t whole = 0;
	size_t newline;

	evbuffer_ptr_set(in, &at, 0, EVBUFFER_PTR_SET);
	while ((at = evbuffer_search_eol(in, &at, &newline, EVBUFFER_EOL_LF)).pos >= 0) {
		whole = (size_t)at.pos + 1;
		evbuffer_ptr_set(in, &at, 1, EVBUFFER_PTR_ADD);
	}
	return whole;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer *out = bufferevent_get_output(bev);
	size_t whole = whole_lines(in);

	(void)arg;
	if (whole > 0)
		evbuffer_remove_buffer(in, out, whole);
	if (evbuffer_get_length(in) > LONGEST_LINE)
		bufferevent_free(bev);
	else if (evbuffer_get_length(out) > OUT_LIMIT)
		bufferevent_disable(bev, EV_READ);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	(void)arg;
	if (!(bufferevent_get_enabled(bev) & EV_READ))
		bufferevent_enable(bev, EV_READ);
}

static void on_last_written(struct bufferevent *bev, void *arg)
{
	(void)arg;
	bufferevent_free(bev);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct evbuffer *out = bufferevent_get_output(bev);

	if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING)) {
		evbuffer_add_buffer(out, bufferevent_get_input(bev));
		bufferevent_setcb(bev, NULL, on_last_written, on_event, arg);
		bufferevent_disable(bev, EV_READ);
		if (evbuffer_get_length(out) > 0)
			return;
	}
	bufferevent_free(bev);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
			  struct sockaddr *peer, int size, void *base)
{
	struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)listener, (void)peer, (void)size;
	if (!bev) {
		close(fd);
		return;
	}
	bufferevent_setcb(bev, on_read, on_written, on_event, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

int main(int argc, char **argv)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	signal(SIGPIPE, SIG_IGN);
	if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK |
							 EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) < 0)
		peer_die("libevent");
	base = event_base_new_with_config(config);
	event_config_free(config);
	if (!base || !evconnlistener_new(base, on_connection, base, LEV_OPT_CLOSE_ON_FREE, 0,
					 peer_listen(argc, argv, SOCK_NONBLOCK)))
		peer_die("libevent");
	return event_base_dispatch(base);
}
