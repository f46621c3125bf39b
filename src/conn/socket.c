/* socket.c - the bottom layer: the connection's own descriptor, through the I/O seam. */
#include "conn/conn.h"
#include "os/os.h"

#include <errno.h>

#define SENDFILE_CHUNK (1 << 20) /* bytes per system call: deadlines are looked at in between */

static struct netd_conn *conn_of(struct layer *layer)
{
	return CONTAINER(layer, struct netd_conn, socket);
}

static ssize_t socket_read(struct layer *layer, void *data, size_t size, int64_t deadline)
{
	return io_get_ops()->recv(&conn_of(layer)->io, data, size, deadline);
}

static ssize_t socket_write(struct layer *layer, struct iovec *iov, int count, int64_t deadline)
{
	return io_get_ops()->send(&conn_of(layer)->io, iov, count, deadline);
}

static int socket_shutdown(struct layer *layer)
{
	return shutdown(conn_of(layer)->io.fd, SHUT_WR) < 0 ? -errno : 0;
}

/* sendfile(2) on a blocking socket could wait past a deadline or a stop: ask for room first. */
static int wait_writable(struct io_handle *handle, int64_t deadline)
{
	struct io_wait wait = io_wait_begin(handle, NETD_OUT, deadline);
	struct netd_pollfd ready = {.fd = handle->fd, .events = NETD_OUT};
	int rc;

	do
		rc = io_get_ops()->poll(&ready, 1, wait.until);
	while (rc == 0 && !io_wait_over(handle, &wait));
	if (rc == 0)
		return -ETIMEDOUT;
	return rc < 0 ? rc : 0;
}

/* A peer that reads as fast as we send would never make us wait. */
static int let_others_run(void)
{
	int rc = io_get_ops()->poll(NULL, 0, 0);

	return rc < 0 ? rc : 0;
}

static int64_t socket_sendfile(struct layer *layer, int file, int64_t offset, int64_t count,
			       int64_t deadline)
{
	int fd = conn_of(layer)->io.fd;
	int64_t total = 0;
	off_t position = offset;
	int rc = os_set_nonblocking(fd, true);

	while (rc == 0 && total < count) {
		size_t chunk =
		    count - total < SENDFILE_CHUNK ? (size_t)(count - total) : SENDFILE_CHUNK;
		bool late = deadline != NETD_NEVER && clock_ms() >= deadline;
		ssize_t n = late ? -ETIMEDOUT : os_sendfile(fd, file, &position, chunk);

		if (n == -EAGAIN || n == -EINTR)
			rc = wait_writable(&conn_of(layer)->io, deadline);
		else if (n < 0)
			rc = (int)n;
		else if (n == 0)
			break; /* the file is shorter */
		else
			rc = let_others_run();
		if (n > 0) {
			io_moved(&conn_of(layer)->io);
			total += n;
		}
	}
	os_set_nonblocking(fd, false);
	return rc < 0 ? rc : total;
}

static void socket_close(struct layer *layer)
{
	(void)layer; /* conn_free() closes the descriptor */
}

const struct layer_ops layer_socket = {
    .name = "socket",
    .read = socket_read,
    .write = socket_write,
    .shutdown = socket_shutdown,
    .sendfile = socket_sendfile,
    .close = socket_close,
};
