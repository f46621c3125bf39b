/*
 * unix.c - listening on a path (security rule 8).
 *
 * Happy path: nothing stands at the path, or a stale socket of ours that is removed; bind under a
 * umask that gives the mode wanted; owner; listen; look again that the path is the socket we made.
 * Failure modes: anything that is not a socket, belongs to somebody else or is answered by a server
 * is never removed; the words say which. Until listen() nobody can connect, so between bind and
 * listen nothing is open to the wrong people. The umask belongs to the whole process: call this
 * before threads start. It is restored whatever happens.
 */
#include "listen/bind.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const struct file_kind {
	mode_t type;
	const char *words;
} file_kinds[] = {
    {S_IFREG, "a regular file"}, {S_IFLNK, "a symbolic link"}, {S_IFDIR, "a directory"},
    {S_IFIFO, "a FIFO"},         {S_IFCHR, "a device"},        {S_IFBLK, "a device"},
};

const char *file_kind_words(mode_t mode)
{
	for (size_t i = 0; i < ARRAY_LEN(file_kinds); i++)
		if (file_kinds[i].type == (mode & S_IFMT))
			return file_kinds[i].words;
	return "something else";
}

static int failed(struct err *err, int code, const char *path)
{
	char words[ADDRESS_TEXT_MAX];

	snprintf(words, sizeof words, "unix:%s", path);
	return listener_failed(err, code, ADDRESS_UNIX, words);
}

static socklen_t fill(struct sockaddr_un *sa, const char *path)
{
	memset(sa, 0, sizeof *sa);
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static int look(const char *path, struct stat *st)
{
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && S_ISSOCK(b->st_mode);
}

/* The time of change tells a new file with a reused number apart. */
static bool is_unchanged(const struct stat *a, const struct stat *b)
{
	return is_same(a, b) && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Knock: -ECONNREFUSED nobody is there; 0 a server answers, or would if it were not so busy, or
 * the socket is in use for datagrams; or -errno: cannot tell. */
static int knock(const char *path)
{
	struct sockaddr_un sa;
	socklen_t size = fill(&sa, path);
	int fd = os_socket(AF_UNIX, SOCK_STREAM, 0);
	int rc;

	if (fd < 0)
		return fd;
	rc = os_set_nonblocking(fd, true);
	if (rc == 0 && connect(fd, (const struct sockaddr *)&sa, size) < 0)
		rc = -errno;
	close(fd);
	return rc == -EAGAIN || rc == -EINPROGRESS || rc == -EPROTOTYPE ? 0 : rc;
}

static int remove_stale(const char *path, const struct stat *before, struct err *err)
{
	struct stat now;
	int rc = knock(path);

	if (rc == 0)
		return err_set(err, -EADDRINUSE, "unix:%s: a server answers there", path);
	if (rc != -ECONNREFUSED)
		return err_sys(err, rc, "unix:%s: cannot tell whether a server answers there",
			       path);
	if (look(path, &now) < 0 || !is_unchanged(before, &now))
		return err_set(err, -EADDRINUSE,
			       "unix:%s: the file changes under our hands: is another server "
			       "starting?",
			       path);
	if (unlink(path) < 0)
		return err_sys(err, -errno, "unix:%s: cannot remove the stale socket", path);
	return 0;
}

/* Make room at the path, as far as that is right. */
static int clear_path(const char *path, struct err *err)
{
	struct stat st;
	int rc = look(path, &st);

	if (rc == -ENOENT)
		return 0; /* bind() tells whether it is the directory that is missing */
	if (rc < 0)
		return failed(err, rc, path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			       "unix:%s: %s is in the way and is left alone: choose another path "
			       "or remove it yourself",
			       path, file_kind_words(st.st_mode));
	if (st.st_uid != geteuid() && geteuid() != 0)
		return err_set(err, -EPERM,
			       "unix:%s: the socket there belongs to user %ju and is left alone",
			       path, (uintmax_t)st.st_uid);
	return remove_stale(path, &st, err);
}

static int bind_with_mode(int fd, const char *path, unsigned mode)
{
	struct sockaddr_un sa;
	socklen_t size = fill(&sa, path);
	mode_t before = umask(0777 & ~(mode_t)mode);
	int rc = bind(fd, (const struct sockaddr *)&sa, size) < 0 ? -errno : 0;

	umask(before);
	return rc;
}

/* The owner as configured, and the mode where the directory's access list overruled the umask.
 * Neither call follows a link. */
static int set_owner_and_mode(const char *path, const struct stat *made,
			      const struct listen_config *config)
{
	uid_t uid = config->uid < 0 ? (uid_t)-1 : (uid_t)config->uid;
	gid_t gid = config->gid < 0 ? (gid_t)-1 : (gid_t)config->gid;

	if ((config->uid >= 0 || config->gid >= 0) &&
	    fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if ((made->st_mode & 07777) != config->mode &&
	    fchmodat(AT_FDCWD, path, (mode_t)config->mode, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static bool is_as_wanted(const struct stat *st, const struct listen_config *config)
{
	return (st->st_mode & 07777) == config->mode &&
	       (config->uid < 0 || st->st_uid == (uid_t)config->uid) &&
	       (config->gid < 0 || st->st_gid == (gid_t)config->gid);
}

/* After bind: owner, mode, listen, and the proof that it is still ours. *made: what bind made. */
static int finish_open(int fd, const char *path, const struct stat *made,
		       const struct listen_config *config, struct err *err)
{
	struct stat now;
	int rc = set_owner_and_mode(path, made, config);

	if (rc == -EPERM)
		return err_set(err, rc,
			       "unix:%s: cannot change the owner: only root may give a socket to "
			       "another user, or to a group it is not in",
			       path);
	if (rc < 0)
		return err_sys(err, rc, "unix:%s: cannot set owner and mode", path);
	if (listen(fd, config->backlog) < 0)
		return failed(err, -errno, path);
	if (look(path, &now) < 0 || !is_same(made, &now) || !is_as_wanted(&now, config))
		return err_set(err, -EADDRINUSE,
			       "unix:%s: the file changed under our hands: is another server "
			       "starting, or may others write the directory?",
			       path);
	return 0;
}

/* The path to remove later, whole where it fits: the server may change its directory. */
static void keep_path(struct listener *listener, const char *path)
{
	char directory[sizeof listener->path];
	int len;

	if (*path != '/' && getcwd(directory, sizeof directory)) {
		len = snprintf(listener->path, sizeof listener->path, "%s/%s", directory, path);
		if (len > 0 && (size_t)len < sizeof listener->path)
			return;
	}
	snprintf(listener->path, sizeof listener->path, "%s", path);
}

int unix_listen(struct listeners *out, const struct address *address,
		const struct listen_config *config, struct err *err)
{
	struct listener listener = {.kind = ADDRESS_UNIX};
	struct listen_config wanted = *config;
	struct stat made;
	int rc = clear_path(address->path, err);

	wanted.mode &= 0777;
	if (rc < 0)
		return rc;
	listener.fd = os_socket(AF_UNIX, SOCK_STREAM, 0);
	if (listener.fd < 0)
		return failed(err, listener.fd, address->path);
	rc = os_set_nonblocking(listener.fd, true);
	if (rc == 0)
		rc = bind_with_mode(listener.fd, address->path, wanted.mode);
	if (rc == 0)
		rc = look(address->path, &made);
	if (rc == 0 && (!S_ISSOCK(made.st_mode) || made.st_uid != geteuid()))
		rc = -EADDRINUSE; /* not what bind() made: somebody exchanged it */
	if (rc != 0) {
		close(listener.fd);
		return failed(err, rc, address->path);
	}
	keep_path(&listener, address->path);
	snprintf(listener.text, sizeof listener.text, "unix:%s", listener.path);
	listener.dev = (uint64_t)made.st_dev;
	listener.ino = (uint64_t)made.st_ino;
	/* From here on the list owns it: finishing the list removes the file, if it is ours. */
	rc = listeners_add(out, &listener);
	if (rc < 0) {
		unlink(address->path);
		close(listener.fd);
		return err_sys(err, rc, "unix:%s", address->path);
	}
	return finish_open(listener.fd, address->path, &made, &wanted, err);
}
