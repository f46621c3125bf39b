/*
 * layer.h - the seam between a socket and run(): a stack of protocols, each reading from and
 * writing to the one below. The socket layer is the bottom; PROXY and TLS go on top of it.
 */
#ifndef CONN_LAYER_H
#define CONN_LAYER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct layer;

/* Every call returns -errno on failure, and waits no longer than deadline. */
struct layer_ops {
	const char *name;
	/* As netd_read(). */
	ssize_t (*read)(struct layer *layer, void *data, size_t size, int64_t deadline);
	/* All of it, using up iov. */
	ssize_t (*write)(struct layer *layer, struct iovec *iov, int count, int64_t deadline);
	/* No more output. */
	int (*shutdown)(struct layer *layer);
	/* File to peer by the kernel; NULL, or -ENOSYS: read and write instead. */
	int64_t (*sendfile)(struct layer *layer, int file, int64_t offset, int64_t count,
			    int64_t deadline);
	/* Free what the layer holds; the descriptor belongs to the connection. */
	void (*close)(struct layer *layer);
};

struct layer {
	const struct layer_ops *ops;
	struct layer *below; /* NULL for the bottom */
};

extern const struct layer_ops layer_socket; /* embedded as conn->socket */

#endif
