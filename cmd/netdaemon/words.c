/*
 * words.c - the few options that must be known before there is a service whose options could be
 * read: found on the command line by their full names. There is nothing to fail.
 */
#include "commands.h"

#include <string.h>
#include <strings.h>

bool is_option(const char *word, const char *name, const char **value)
{
	size_t length = strlen(name);

	if (word[0] != '-')
		return false;
	word += word[1] == '-' ? 2 : 1;
	if (strncasecmp(word, name, length) != 0 || (word[length] && word[length] != '='))
		return false;
	*value = word[length] ? word + length + 1 : NULL;
	return true;
}

const char *option_value(const char *name, int argc, char **argv, int *i)
{
	const char *value;

	if (!is_option(argv[*i], name, &value))
		return NULL;
	if (value)
		return value;
	/* What follows is an option: the value was forgotten, as the library would say. */
	return *i + 1 < argc && argv[*i + 1][0] != '-' ? argv[++*i] : "";
}
