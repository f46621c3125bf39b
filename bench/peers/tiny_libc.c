/* tiny_libc.c - an ordinary small program, linked statically: what most of it costs is the start of
 * the C library, which is the same for every server. See tiny.c. */
#include <unistd.h>

int main(void)
{
	return write(STDOUT_FILENO, "hello\n", 6) == 6 ? 0 : 1;
}
