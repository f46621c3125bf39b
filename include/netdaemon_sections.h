/*
 * netdaemon_sections.h - config files of several services, for a program that starts them all.
 *
 * A config file may describe several services: under the key `services`, one map for each name. A
 * server takes its part by --section NAME, and needs nothing of this. These calls tell which
 * services there are, before it is known what serves them. Nothing but the form of the file is
 * checked; netd_server_load() with that section checks the rest.
 */
#ifndef NETDAEMON_SECTIONS_H
#define NETDAEMON_SECTIONS_H

#include <netdaemon.h>

#ifdef __cplusplus
extern "C" {
#endif

struct netd_sections;

/* Read a file, trusted and read as --configfile. Returns the object, with words by
 * netd_sections_error() if there is no such file or it is wrong; NULL when memory ran out. */
NETD_API struct netd_sections *netd_sections_new(const char *path);

/* Words about the file, "FILE:LINE:COLUMN: found ..."; "" when it is good. */
NETD_API const char *netd_sections_error(const struct netd_sections *sections);

/* The name of the service with this index, in the order of the file; NULL past the last one. */
NETD_API const char *netd_sections_name(const struct netd_sections *sections, int index);

/* Where it stands: "FILE:LINE:COLUMN". */
NETD_API const char *netd_sections_where(const struct netd_sections *sections, int index);

/* A value of it, or else of the top of the file: the item-th text of a list, of a single text the
 * item 0. NULL past the last one, for an unknown key, and for what is no text. */
NETD_API const char *netd_sections_get(const struct netd_sections *sections, int index,
				       const char *key, int item);

/* Free it. Takes NULL, returns NULL. All texts end with it. */
NETD_API struct netd_sections *netd_sections_free(struct netd_sections *sections);

#ifdef __cplusplus
}
#endif

#endif
