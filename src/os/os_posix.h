/*
 * os_posix.h - what the backends of os.h share beside the contract itself. For src/os only.
 */
#ifndef OS_OS_POSIX_H
#define OS_OS_POSIX_H

#include <stddef.h>

/* os_close_from() by trying every number up to the limit: slow, but it needs nothing. */
int os_close_each_from(int first, const int *keep, size_t count);

#endif
