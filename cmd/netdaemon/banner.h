/* banner.h - the text that clients get before the program starts. */
#ifndef NETDAEMON_BANNER_H
#define NETDAEMON_BANNER_H

#include <stddef.h>

/* No longer than what any fresh socket takes without waiting. */
#define BANNER_MAX 4096

/* The bytes of text, escapes done, in *banner (freed by the caller). 0, or -errno with words. */
int banner_read(char **banner, size_t *size, const char *text, char *words, size_t room);

#endif
