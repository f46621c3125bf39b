/*
 * coverage_exit.c - part of the library in the coverage build only: children end by _exit(), which
 * writes no counters; what they ran would look as if nobody had. The linker puts __wrap__exit() in
 * the place of _exit() (-Wl,--wrap=_exit). A process that is killed still leaves nothing.
 */
void __gcov_dump(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
