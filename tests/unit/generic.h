/* generic.h - for tests of what only the system's own layer can do (see the meson option generic).
 */
#ifndef GENERIC_H
#define GENERIC_H

#include <stdio.h>

/* Leave a test, with a reason, where the portable layer is built. meson counts skip() as a failure.
 */
#define NEEDS_OWN_SYSTEM(why)                                                                      \
	do {                                                                                       \
		if (GENERIC) {                                                                     \
			printf("# skipped: %s\n", why);                                            \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#endif
