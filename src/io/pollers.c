/* pollers.c - the pollers of this build, the best one first. */
#include "io/pollers.h"

#include <stddef.h>
#include <string.h>

const struct poller_ops *const pollers[] = {
#ifdef HAVE_URING
    &poller_uring,
#endif
#ifdef HAVE_EPOLL
    &poller_epoll,
#endif
    &poller_poll,
    NULL,
};

const struct poller_ops *poller_find(const char *name)
{
	for (size_t i = 0; pollers[i]; i++)
		if (strcmp(pollers[i]->name, name) == 0)
			return pollers[i];
	return NULL;
}
