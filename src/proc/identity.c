/*
 * identity.c - names and numbers of users and groups, looked up before chroot (security rule 3).
 *
 * Happy path: a strict number, or a name that the user database knows; a user without a group takes
 * its primary one. Failure: -EINVAL for what is not known or not allowed, with words; the errno of
 * the database when it could not be asked. Nothing is guessed: "0day" is no number and "" nobody.
 */
#include "proc/proc.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_FIRST 1024        /* bytes for one entry of the database: most fit */
#define ENTRY_MAX (1024 * 1024) /* large groups have been seen, but not this large */
#define ID_MAX 4294967294LL     /* the next one is -1: "leave it" to the system calls */

/* One entry of the user or group database. */
struct entry {
	bool found;
	int64_t id;      /* uid or gid */
	int64_t primary; /* a user's group */
	char name[64];
};

/* The two databases: what they are called, and how to look up by name (or by id, if name is NULL)
 * with this memory; returns an errno value. */
struct database {
	const char *word;
	int (*get)(const char *name, int64_t id, char *memory, size_t size, struct entry *out);
};

static int get_user(const char *name, int64_t id, char *memory, size_t size, struct entry *out)
{
	struct passwd data, *found = NULL;
	int rc = name ? getpwnam_r(name, &data, memory, size, &found)
		      : getpwuid_r((uid_t)id, &data, memory, size, &found);

	if (!found)
		return rc;
	*out = (struct entry){.found = true, .id = data.pw_uid, .primary = data.pw_gid};
	snprintf(out->name, sizeof out->name, "%s", data.pw_name);
	return 0;
}

static int get_group(const char *name, int64_t id, char *memory, size_t size, struct entry *out)
{
	struct group data, *found = NULL;
	int rc = name ? getgrnam_r(name, &data, memory, size, &found)
		      : getgrgid_r((gid_t)id, &data, memory, size, &found);

	if (!found)
		return rc;
	*out = (struct entry){.found = true, .id = data.gr_gid};
	snprintf(out->name, sizeof out->name, "%s", data.gr_name);
	return 0;
}

static const struct database users = {"user", get_user};
static const struct database groups = {"group", get_group};

/* Libraries report "no such entry" by any of these, beside 0 (see getpwnam(3)). */
static bool means_unknown(int code)
{
	return code == ENOENT || code == ESRCH || code == EBADF || code == EPERM;
}

/* Ask with more and more memory. Returns 0 (out->found says whether there is one) or -errno. */
static int ask(const struct database *db, const char *name, int64_t id, struct entry *out)
{
	int rc = ERANGE;

	for (size_t size = ENTRY_FIRST; rc == ERANGE && size <= ENTRY_MAX; size *= 2) {
		char *memory = malloc(size);

		if (!memory)
			return -ENOMEM;
		do
			rc = db->get(name, id, memory, size, out);
		while (rc == EINTR);
		free(memory);
	}
	return means_unknown(rc) ? 0 : -rc;
}

/* A bare number is taken as it is; the database only adds its name and primary group, if it can. */
static void find_number(const struct database *db, long long number, const char *text,
			struct entry *out)
{
	*out = (struct entry){0};
	if (ask(db, NULL, number, out) < 0 || !out->found) {
		*out = (struct entry){.id = number, .primary = -1};
		snprintf(out->name, sizeof out->name, "%s", text);
	}
}

static int find_name(const struct database *db, const char *text, struct entry *out,
		     struct err *err)
{
	int rc;

	*out = (struct entry){0};
	rc = ask(db, text, 0, out);
	if (rc < 0)
		return err_sys(err, rc, "cannot look up %s '%s'", db->word, text);
	if (!out->found)
		return err_set(err, -EINVAL, "unknown %s '%s'", db->word, text);
	if (out->id > ID_MAX)
		return err_set(err, -EINVAL, "%s '%s' has the number %lld, which means nobody",
			       db->word, text, (long long)out->id);
	return 0;
}

static int find(const struct database *db, const char *text, struct entry *out, struct err *err)
{
	long long number;

	if (!*text)
		return err_set(err, -EINVAL, "the name of a %s is empty", db->word);
	switch (num_parse(text, 0, ID_MAX, &number)) {
	case 0:
		find_number(db, number, text, out);
		return 0;
	case -ERANGE:
		return err_set(err, -EINVAL, "%s '%s': a number must be between 0 and %lld",
			       db->word, text, ID_MAX);
	default:
		return find_name(db, text, out, err);
	}
}

/* The group that a user named without one gets. */
static int find_primary(const struct entry *user, struct entry *group, struct err *err)
{
	char text[32];

	if (user->primary < 0)
		return err_set(err, -EINVAL,
			       "user '%s' is not in the user database: name a group too",
			       user->name);
	if (user->primary > ID_MAX)
		return err_set(err, -EINVAL, "user '%s' has the group %lld, which means nobody",
			       user->name, (long long)user->primary);
	snprintf(text, sizeof text, "%lld", (long long)user->primary);
	find_number(&groups, user->primary, text, group);
	return 0;
}

int identity_find(struct identity *out, const char *user, const char *group, struct err *err)
{
	struct identity identity = {.set_uid = user, .set_gid = user || group};
	struct entry found_user, found_group;
	int rc = 0;

	if (user)
		rc = find(&users, user, &found_user, err);
	if (rc == 0 && group)
		rc = find(&groups, group, &found_group, err);
	else if (rc == 0 && user)
		rc = find_primary(&found_user, &found_group, err);
	if (rc != 0)
		return rc;
	if (identity.set_uid) {
		identity.uid = (uid_t)found_user.id;
		memcpy(identity.user, found_user.name, sizeof identity.user);
	}
	if (identity.set_gid) {
		identity.gid = (gid_t)found_group.id;
		memcpy(identity.group, found_group.name, sizeof identity.group);
	}
	*out = identity;
	return 0;
}

int owner_find(const char *text, int64_t *uid, int64_t *gid, struct err *err)
{
	const char *colon = strchr(text, ':');
	struct entry user = {.id = -1}, group = {.id = -1};
	char *name;
	int rc = 0;

	name = colon ? strndup(text, (size_t)(colon - text)) : strdup(text);
	if (!name)
		return err_sys(err, -ENOMEM, "owner '%s'", text);
	if (*name || !colon)
		rc = find(&users, name, &user, err);
	if (rc == 0 && colon)
		rc = find(&groups, colon + 1, &group, err);
	free(name);
	if (rc < 0) {
		err_prefix(err, "owner '%s': ", text);
		return rc;
	}
	*uid = user.id;
	*gid = group.id;
	return 0;
}
