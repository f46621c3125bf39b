/*
 * analyser.h - what clang-tidy is told about src/ before each file, by check_tidy.py. It looks at
 * one file at a time and so cannot know that `return err_set(err, -EINVAL, ...)` returns -EINVAL,
 * nor that `return -errno` after a failed call is negative: it would follow callers into successes
 * that never happen.
 */
#ifndef TOOLS_ANALYSER_H
#define TOOLS_ANALYSER_H

#include <errno.h>

#include "base/base.h"

#define err_set(err, code, ...) ((void)(err_set)(err, code, __VA_ARGS__), (code))
#define err_vset(err, code, format, args) ((void)(err_vset)(err, code, format, args), (code))
#define err_sys(err, code, ...) ((void)(err_sys)(err, code, __VA_ARGS__), (code))

static inline int *analyser_errno(void)
{
	int *place = __errno_location();

	if (*place <= 0)
		__builtin_unreachable();
	return place;
}

#undef errno
#define errno (*analyser_errno())

#endif
