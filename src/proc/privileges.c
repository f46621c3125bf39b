/*
 * privileges.c - giving up root, for good, and making sure of it (security rules 1, 2, 4, 24).
 *
 * Happy path: enter_chroot() when a directory is named, then the table drop_steps from top to
 * bottom when a user or group is. Every change has a step that reads it back, so that a call which
 * only claims to have worked is found out.
 *
 * Failure: the first step that fails or doubts ends it with words. The process may then be half
 * way down: the caller must exit.
 */
#include "os/os.h"
#include "proc/proc.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCAN_MAX 65536 /* descriptors looked at where /proc does not list them */

/* A drop on its way. */
struct drop {
	const struct identity *identity;
	bool root;             /* we are root now */
	uid_t uid;             /* who we are in the end */
	bool bounding_cleared; /* the bounding set of capabilities was in our reach */
	bool coredump;
};

/* ---------------------------------------------------------------------------------------- chroot
 */

static int refuse_directory(int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return errno == EBADF ? 0
				      : err_sys(err, -errno, "cannot look at descriptor %d", fd);
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EBUSY,
			       "descriptor %d is an open directory, which leads out of a chroot: "
			       "close it before",
			       fd);
	return 0;
}

/* The directory that is read here is a descriptor itself, and gone after. */
static int scan_listed(DIR *dir, struct err *err)
{
	struct dirent *entry;
	long long fd;
	int rc = 0;

	while (rc == 0 && (errno = 0, entry = readdir(dir)))
		if (num_parse(entry->d_name, 0, INT_MAX, &fd) == 0 && fd != dirfd(dir))
			rc = refuse_directory((int)fd, err);
	if (rc == 0 && errno)
		rc = err_sys(err, -errno, "cannot list the open descriptors");
	return rc;
}

static int scan_all(struct err *err)
{
	struct rlimit limit = {SCAN_MAX, SCAN_MAX};
	int end = SCAN_MAX;
	int rc = 0;

	/* Whoever cannot tell the limit has all of them looked at. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < SCAN_MAX)
		end = (int)limit.rlim_max;
	for (int fd = 0; rc == 0 && fd < end; fd++)
		rc = refuse_directory(fd, err);
	return rc;
}

static int refuse_directories(struct err *err)
{
	DIR *dir = opendir("/proc/self/fd");
	int rc;

	if (!dir)
		return scan_all(err);
	rc = scan_listed(dir, err);
	closedir(dir);
	return rc;
}

/* stat(2), unable to pass for done when it was not: `fill` differs between what is compared. */
static int identify(const char *path, int fill, struct stat *st)
{
	memset(st, fill, sizeof *st);
	return stat(path, st) < 0 ? -errno : 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int enter_chroot(const char *path, struct err *err)
{
	struct stat wanted, root, here;
	int rc = refuse_directories(err);

	if (rc < 0)
		return rc;
	rc = identify(path, 0, &wanted);
	if (rc < 0)
		return err_sys(err, rc, "chroot to '%s'", path);
	rc = chroot(path) < 0 ? -errno : 0;
	if (rc == -EPERM)
		return err_set(err, -EPERM, "chroot to '%s': %s: it takes root, or CAP_SYS_CHROOT",
			       path, strerror(EPERM));
	if (rc < 0)
		return err_sys(err, rc, "chroot to '%s'", path);
	if (chdir("/") < 0)
		return err_sys(err, -errno, "chdir to '/' after chroot to '%s'", path);
	if (identify("/", 1, &root) < 0 || identify(".", 2, &here) < 0 ||
	    !same_file(&wanted, &root) || !same_file(&root, &here))
		return err_set(err, -EPERM, "chroot to '%s' did not take place", path);
	return 0;
}

/* -------------------------------------------------------------------------------------- changing
 */

/* What the identity asks for must mean something, and be ours to do. A group is set from here on.
 */
static int check_request(struct drop *drop, struct err *err)
{
	const struct identity *id = drop->identity;

	if (id->set_uid && !id->set_gid)
		return err_set(err, -EINVAL, "no group is known for user %s", id->user);
	if ((id->set_uid && id->uid == (uid_t)-1) || id->gid == (gid_t)-1)
		return err_set(err, -EINVAL, "-1 is neither a user nor a group");
	if (drop->root)
		return 0;
	if (id->set_uid && os_uid_is(id->uid) != 1)
		return err_set(err, -EPERM, "only root can become user %s", id->user);
	if (os_gid_is(id->gid) != 1)
		return err_set(err, -EPERM, "only root can become group %s", id->group);
	return 0;
}

static int replace_groups(struct drop *drop, struct err *err)
{
	if (drop->root && setgroups(1, &drop->identity->gid) < 0)
		return err_sys(err, -errno, "cannot replace the supplementary groups by %s",
			       drop->identity->group);
	return 0;
}

static int become_group(struct drop *drop, struct err *err)
{
	int rc = drop->root ? os_set_gid(drop->identity->gid) : 0;

	return rc < 0 ? err_sys(err, rc, "cannot become group %s", drop->identity->group) : 0;
}

static int become_user(struct drop *drop, struct err *err)
{
	int rc = 0;

	if (!drop->root || !drop->identity->set_uid)
		return 0;
	if (drop->uid != 0 && !drop->identity->exec_may_gain)
		rc = os_keep_capabilities();
	if (rc < 0 && rc != -ENOSYS)
		return err_sys(err, rc, "cannot keep capabilities for as long as the drop takes");
	rc = os_set_uid(drop->uid);
	return rc < 0 ? err_sys(err, rc, "cannot become user %s", drop->identity->user) : 0;
}

static int clear_capabilities(struct drop *drop, struct err *err)
{
	int rc = drop->uid != 0 ? os_drop_capabilities() : 0;

	if (rc < 0 && rc != -ENOSYS)
		return err_sys(err, rc, "cannot drop all capabilities");
	if (rc == 1 && drop->root && !drop->identity->exec_may_gain)
		return err_set(err, -EPERM,
			       "cannot drop all capabilities: root without CAP_SETPCAP may not "
			       "clear the bounding set (grant it, or start as the user itself)");
	drop->bounding_cleared = rc != 1;
	return 0;
}

static int forbid_new_privileges(struct drop *drop, struct err *err)
{
	int rc = drop->identity->exec_may_gain ? 0 : os_no_new_privs();

	if (rc < 0 && rc != -ENOSYS)
		return err_sys(err, rc, "cannot forbid to gain privileges (no_new_privs)");
	return 0;
}

/* ----------------------------------------------------------------------------------- making sure
 */

static int verify_ids(struct drop *drop, struct err *err)
{
	const struct identity *id = drop->identity;
	gid_t list[2] = {(gid_t)-1, (gid_t)-1};

	if (id->set_uid && os_uid_is(id->uid) != 1)
		return err_set(err, -EPERM, "the user is not %s after the change", id->user);
	if (os_gid_is(id->gid) != 1)
		return err_set(err, -EPERM, "the group is not %s after the change", id->group);
	if (drop->root && (getgroups(2, list) != 1 || list[0] != id->gid))
		return err_set(err, -EPERM,
			       "the supplementary groups are not just %s after the change",
			       id->group);
	return 0;
}

static int verify_capabilities(struct drop *drop, struct err *err)
{
	int rc = drop->uid != 0 ? os_no_capabilities(drop->bounding_cleared) : 1;

	if (rc < 0 && rc != -ENOSYS)
		return err_sys(err, rc, "cannot read the capabilities");
	if (rc == 0)
		return err_set(err, -EPERM, "some capability is left after the drop");
	return 0;
}

/* Try every way back; each one must fail. */
static int verify_no_way_back(struct drop *drop, struct err *err)
{
	const gid_t root_group = 0;

	if (drop->uid == 0)
		return 0;
	if (os_set_uid(0) == 0 || seteuid(0) == 0)
		return err_set(err, -EPERM, "root could be had back after the drop");
	if (drop->identity->gid != 0 && (os_set_gid(0) == 0 || setegid(0) == 0))
		return err_set(err, -EPERM, "root's group could be had back after the drop");
	if (setgroups(1, &root_group) == 0)
		return err_set(err, -EPERM, "root's groups could be had back after the drop");
	return 0;
}

/* Memory may hold what only root could read: a core dump would hand it to the user. */
static int settle_core_dumps(struct drop *drop, struct err *err)
{
	int rc;

	if (!drop->root || drop->uid == 0)
		return 0;
	rc = drop->coredump ? os_allow_dump() : os_no_dump();
	return rc < 0 ? err_sys(err, rc, "cannot turn core dumps %s", drop->coredump ? "on" : "off")
		      : 0;
}

/* The order is security rule 1. */
static int (*const drop_steps[])(struct drop *drop, struct err *err) = {
    check_request,         /* nothing has changed yet */
    replace_groups,        /* while we still may */
    become_group,          /* likewise */
    become_user,           /* capabilities stay a moment longer */
    clear_capabilities,    /* bounding and ambient sets too */
    forbid_new_privileges, /* not by exec either */
    verify_ids,            /* all three, and the groups */
    verify_capabilities,   /* every set */
    verify_no_way_back,    /* tried, not believed */
    settle_core_dumps,     /* a change of user has turned them off */
};

int privileges_drop(const struct identity *identity, const char *chroot_dir, bool coredump,
		    struct err *err)
{
	struct drop drop = {.identity = identity, .root = geteuid() == 0, .coredump = coredump};
	int rc = chroot_dir ? enter_chroot(chroot_dir, err) : 0;

	if (rc < 0 || !identity || (!identity->set_uid && !identity->set_gid))
		return rc;
	drop.uid = identity->set_uid ? identity->uid : geteuid();
	for (size_t i = 0; i < ARRAY_LEN(drop_steps) && rc == 0; i++)
		rc = drop_steps[i](&drop, err);
	return rc;
}
