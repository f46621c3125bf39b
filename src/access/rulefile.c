/*
 * rulefile.c - a rules file that may change while we serve: whoever connects after an edit is met
 * by what it says then.
 *
 * Happy path: before each connection is served, the accepting thread asks stat(2) whether this is
 * still the file that was read; if not, it is read anew, and the new lines take the place of the
 * old ones, which live until the last connection that refers to them has ended. So no handler sees
 * half a set, nobody locks, and in mode fork the parent knows already what its children would have
 * to find out each for itself.
 * Failure: a file that is missing, unreadable, not safe to trust (security rule 23) or wrong lets
 * nobody in until it is mended (rule 10). The words are given once, and once in a while as long as
 * clients come. Times of files are coarse: a file that changed a moment ago is read again until its
 * time is far enough back that another change would show.
 */
#include "access/lines.h"
#include "conf/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define REPORT_MS 60000
#define SETTLED_MS 50          /* more than a tick of any kernel */
#define SETTLED_COARSE_MS 2100 /* of file systems that keep whole seconds, or every other one */

struct rulefile {
	char *label;           /* the path in messages */
	char *path;            /* the path now */
	uid_t owner;           /* may own it, beside root */
	struct lines *current; /* NULL: no memory */
	struct stat seen;      /* of the file that was read */
	bool again;            /* read it at the next chance, changed or not */
	struct throttle report;
};

/* -------------------------------------------------------------------------------- has it changed?
 */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* The change time too: it tells of a new owner or mode, and cannot be set by hand. */
static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

/* Did it change so lately that one more change might leave its times as they are? */
static bool is_fresh(const struct stat *st)
{
	struct timespec now;
	long long age, window = st->st_ctim.tv_nsec ? SETTLED_MS : SETTLED_COARSE_MS;

	clock_gettime(CLOCK_REALTIME, &now);
	age = (long long)(now.tv_sec - st->st_ctim.tv_sec) * 1000 +
	      (now.tv_nsec - st->st_ctim.tv_nsec) / 1000000;
	return age > -window && age < window;
}

/* ------------------------------------------------------------------------------------ reading */

static int read_lines(struct rulefile *file, struct lines **out, struct err *err)
{
	struct buf text;
	int rc = conf_read_trusted(&text, file->path, file->owner, &file->seen, err);

	if (rc < 0)
		return rc;
	rc = lines_parse(out, file->label, buf_text(&text), text.len, err);
	buf_finish(&text);
	return rc;
}

/* Put what was read, or why nothing was, in the place of what held. */
static int read_anew(struct rulefile *file, struct err *err)
{
	struct lines *lines = NULL;
	int rc;

	memset(&file->seen, 0, sizeof file->seen);
	rc = read_lines(file, &lines, err);
	if (rc < 0)
		lines = lines_broken(file->label, err->text);
	/* Only for what is wrong in the file itself it takes a change of the file to mend it. */
	file->again = !lines || (rc < 0 && rc != -EINVAL) || is_fresh(&file->seen);
	access_release(file->current);
	file->current = lines;
	return rc;
}

static bool is_broken(const struct rulefile *file)
{
	return !file->current || file->current->broken;
}

/* It cannot be used: shall that be said? */
static int report(struct rulefile *file, bool is_news, int rc, struct err *words)
{
	uint64_t held;

	if (is_news)
		file->report = (struct throttle){0};
	if (!throttle_pass(&file->report, REPORT_MS, &held))
		return 0;
	err_set(words, rc, "%s; nobody is let in until it is mended",
		file->current ? file->current->broken : "out of memory");
	return rc;
}

int rulefile_refresh(struct rulefile *file, struct err *words)
{
	struct err err = {0};
	struct stat st = {0};
	bool known = stat(file->path, &st) == 0 && same_file(&st, &file->seen);
	bool was_broken = is_broken(file);
	struct lines *before = file->current;
	bool is_news = true;
	int rc = -EINVAL;

	if (known && !file->again)
		return was_broken ? report(file, false, rc, words) : 0;
	if (before) /* kept for a moment, to compare */
		atomic_fetch_add(&before->references, 1);
	rc = read_anew(file, &err);
	if (rc < 0 && before && before->broken && file->current)
		is_news = strcmp(before->broken, file->current->broken) != 0;
	access_release(before);
	if (rc < 0)
		return report(file, is_news, rc, words);
	if (known && !was_broken)
		return 0; /* read again only to be sure */
	err_set(words, 0, "%s: read again: %zu %s", file->label, file->current->written,
		file->current->written == 1 ? "rule" : "rules");
	return 1;
}

/* --------------------------------------------------------------------------------------- life */

int rulefile_open(struct rulefile **out, const char *path, uid_t owner, struct err *err)
{
	struct rulefile *file = calloc(1, sizeof *file);
	struct err words = {0};
	int rc;

	if (!file)
		return err_set(err, -ENOMEM, "out of memory");
	file->owner = owner;
	file->label = strdup(path);
	file->path = strdup(path);
	rc = file->label && file->path ? read_anew(file, &words)
				       : err_set(&words, -ENOMEM, "out of memory");
	if (rc < 0) {
		rulefile_close(file);
		return err_set(err, rc, "%s", words.text);
	}
	*out = file;
	return 0;
}

struct rulefile *rulefile_close(struct rulefile *file)
{
	if (!file)
		return NULL;
	access_release(file->current);
	free(file->label);
	free(file->path);
	free(file);
	return NULL;
}

int rulefile_move(struct rulefile *file, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	free(file->path);
	file->path = copy;
	return 0;
}

struct lines *rulefile_hold(struct rulefile *file)
{
	if (file->current)
		atomic_fetch_add(&file->current->references, 1);
	return file->current;
}

const struct lines *rulefile_lines(const struct rulefile *file)
{
	return file->current;
}
