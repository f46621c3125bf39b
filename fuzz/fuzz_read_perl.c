/*
 * fuzz_read_perl.c - config files in Perl literals. Whatever comes in: no crash, a tree that keeps
 * all its promises (tree.h), or words and nothing else.
 */
#include "tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	tree_test(value_read_perl, data, size);
	return 0;
}
