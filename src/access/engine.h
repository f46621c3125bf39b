/*
 * engine.h - PCRE2, linked with the library or loaded when the first rule needs it. A server
 * without rules does without it: its mappings would cost every fork, and its code is out of reach.
 */
#ifndef ACCESS_ENGINE_H
#define ACCESS_ENGINE_H

#include "base/base.h"

/* Before any other function of PCRE2 is called, and before chroot. 0, or -ENOENT with words. */
int engine_load(struct err *err);

#endif
