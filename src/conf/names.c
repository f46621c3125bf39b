/*
 * names.c - from what people type to an option: exact names, --noNAME, abbreviations, and "did you
 * mean". Names are compared without regard to case, and '_' is as good as '-'.
 * Failure: -ENOENT for a name nobody has, -EINVAL and words for an abbreviation of several.
 */
#include "conf/table.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME_LENGTH_MAX 40    /* longer ones are no typing mistakes of ours */
#define CANDIDATES_BYTES 600u /* of an ambiguous name's candidates: leaves room in struct err */

/* What may stand in front of a flag's name to turn it off. The first is no negation. */
static const char *const forms[] = {"", "no", "no-"};

static char fold(char c)
{
	return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

/* How many characters of name (of this length) the beginning of text has in common. */
static size_t common(const char *name, size_t length, const char *text)
{
	size_t n = 0;

	while (n < length && text[n] && fold(name[n]) == fold(text[n]))
		n++;
	return n;
}

/* True when name is form + option's name, or (not exact) the beginning of it. */
static bool matches(const char *form, const struct conf_option *option, const char *name,
		    size_t length, bool exact)
{
	size_t used = common(name, length, form);
	size_t rest;

	if (used < length && form[used])
		return false;
	if (used == length)
		return !exact && *form; /* "--n", "--no": may become any negation */
	rest = common(name + used, length - used, option->name);
	return used + rest == length && (!exact || !option->name[rest]);
}

/* Only flags can be negated. */
static bool takes(const struct conf_option *option, size_t form)
{
	return form == 0 || option->kind == CONF_FLAG;
}

int conf_find_exact(const struct conf_own *own, const char *name, size_t length,
		    struct conf_match *out)
{
	for (size_t i = 0; i < conf_count(own); i++) {
		const struct conf_option *option = conf_at(own, i);

		if (option->flags & CONF_FILE_ONLY)
			continue;
		for (size_t form = 0; form < ARRAY_LEN(forms) && takes(option, form); form++) {
			if (matches(forms[form], option, name, length, true)) {
				*out = (struct conf_match){i, form > 0};
				return 0;
			}
		}
	}
	return -ENOENT;
}

/* Did programs have this option before us? The service's own count as such. */
static bool is_older(const struct conf_option *option)
{
	return option->flags & CONF_ORIGINAL || option->group == CONF_OWN;
}

/*
 * Count what name may be short for; the last one goes to *out, all of them to list as "--a|--b".
 * What was unambiguous before we added options has to stay so: then it counts as one.
 */
static size_t find_short(const struct conf_own *own, const char *name, size_t length,
			 struct conf_match *out, struct buf *list)
{
	size_t found = 0, older = 0;

	for (size_t i = 0; i < conf_count(own); i++) {
		const struct conf_option *option = conf_at(own, i);

		if (option->flags & CONF_FILE_ONLY)
			continue;
		for (size_t form = 0; form < ARRAY_LEN(forms) && takes(option, form); form++) {
			/* --noX and --no-X are the same thing: the first one that fits counts. */
			if (form == 2 && matches(forms[1], option, name, length, false))
				continue;
			if (!matches(forms[form], option, name, length, false))
				continue;
			older += is_older(option);
			if (is_older(option) || older == 0)
				*out = (struct conf_match){i, form > 0};
			buf_addf(list, "%s--%s%s", found++ ? "|" : "", forms[form], option->name);
		}
	}
	return older == 1 ? 1 : found;
}

int conf_find(const struct conf_own *own, const char *name, size_t length, struct conf_match *out,
	      struct err *err)
{
	struct conf_match match = {0};
	struct buf list, words;
	size_t found;
	int rc = 0;

	if (!length)
		return -ENOENT;
	if (conf_find_exact(own, name, length, out) == 0)
		return 0;
	buf_init(&list, CANDIDATES_BYTES);
	buf_init(&words, 2 * CANDIDATES_BYTES);
	found = find_short(own, name, length, &match, &list);
	if (found == 0) {
		rc = -ENOENT;
	} else if (found > 1) {
		conf_words(&words, buf_text(&list));
		rc = err_set(err, -EINVAL, "--%.*s: ambiguous, may be %s", (int)length, name,
			     buf_text(&words));
	} else {
		*out = match;
	}
	buf_finish(&words);
	buf_finish(&list);
	return rc;
}

int conf_find_key(const struct conf_own *own, const char *key, size_t *index)
{
	size_t length = strlen(key);

	for (size_t i = 0; i < conf_count(own); i++) {
		const char *name = conf_at(own, i)->name;
		size_t n = 0;

		/* Keys are data, not typing: case counts. */
		while (n < length && (name[n] == key[n] || (key[n] == '_' && name[n] == '-') ||
				      (key[n] == '-' && name[n] == '_')))
			n++;
		if (n == length && !name[n]) {
			*index = i;
			return 0;
		}
	}
	return -ENOENT;
}

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Changes of one letter (or swaps of neighbours) that make name into text. */
static size_t distance(const char *name, size_t length, const char *text)
{
	size_t rows[3][NAME_LENGTH_MAX + 2] = {{0}};
	size_t *before = rows[0], *last = rows[1], *now = rows[2];
	size_t width = strlen(text);

	if (width > NAME_LENGTH_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= width; j++)
		last[j] = j;
	for (size_t i = 1; i <= length; i++) {
		size_t *spare = before;

		now[0] = i;
		for (size_t j = 1; j <= width; j++) {
			size_t differ = fold(name[i - 1]) != fold(text[j - 1]);

			now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + differ);
			if (i > 1 && j > 1 && fold(name[i - 1]) == fold(text[j - 2]) &&
			    fold(name[i - 2]) == fold(text[j - 1]))
				now[j] = least(now[j], now[j], before[j - 2] + 1);
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[width];
}

const struct conf_option *conf_nearest(const struct conf_own *own, const char *name, size_t length,
				       unsigned except)
{
	const struct conf_option *best = NULL;
	size_t best_distance = length / 2 < 2 ? length / 2 + 1 : 3; /* less than this is near */

	if (length > NAME_LENGTH_MAX)
		return NULL;
	for (size_t i = 0; i < conf_count(own); i++) {
		const struct conf_option *option = conf_at(own, i);
		size_t size = strlen(option->name);
		size_t d = distance(name, length, option->name);

		if (option->flags & except)
			continue;
		/* "protocol" for "proto", "port" for "localport": not near, but meant. */
		if (size >= 4 && common(name, length, option->name) == size && d > 2)
			d = 2;
		if (length >= 4 && size > length && d > 2 &&
		    common(name, length, option->name + size - length) == length)
			d = 2;
		if (d < best_distance) {
			best = option;
			best_distance = d;
		}
	}
	return best;
}

int conf_words(struct buf *out, const char *list)
{
	int rc = 0;

	while (rc == 0 && *list) {
		size_t length = strcspn(list, "|");
		const char *rest = list + length + (list[length] == '|');

		rc = buf_add(out, list, length);
		if (rc == 0 && *rest)
			rc = buf_adds(out, strchr(rest, '|') ? ", " : " or ");
		list = rest;
	}
	return rc;
}

const char *conf_show(char *out, size_t room, const char *text, size_t length)
{
	const size_t end = room - sizeof "..."; /* text ends here at the latest */
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		size_t size = c < 0x20 || c == 0x7f ? 4 : 1;

		if (used + size > end) {
			memcpy(out + used, "...", sizeof "...");
			return out;
		}
		if (size == 4)
			snprintf(out + used, size + 1, "\\x%02x", c);
		else
			out[used] = (char)c;
		used += size;
	}
	out[used] = '\0';
	return out;
}
