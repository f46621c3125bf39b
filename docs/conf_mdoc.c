/*
 * conf_mdoc.c - keeps the section OPTIONS of netdaemon.conf(5) as the option table has it:
 *
 *   build/docs/conf_mdoc <docs/man/netdaemon.conf.5 >page && mv page docs/man/netdaemon.conf.5
 *
 * Happy path: a filter. Lines are copied, but what stands between ".Sh OPTIONS" and the next ".Sh"
 * is replaced; a test compares. Failure: no such section, or no memory: exit status 1.
 */
#include "base/base.h"
#include "conf/settings.h"

#include <stdio.h>
#include <string.h>

#define SECTION_MAX (1u << 20)

int main(void)
{
	char line[4096];
	struct buf section;
	bool inside = false, done = false;

	buf_init(&section, SECTION_MAX);
	if (conf_mdoc(&section) < 0)
		return 1;
	while (fgets(line, sizeof line, stdin)) {
		if (strncmp(line, ".Sh ", 4) == 0) {
			inside = strcmp(line, ".Sh OPTIONS\n") == 0;
			if (inside)
				fputs(buf_text(&section), stdout);
			done |= inside;
		}
		if (!inside)
			fputs(line, stdout);
	}
	buf_finish(&section);
	return done && fflush(stdout) == 0 ? 0 : 1;
}
