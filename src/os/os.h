/*
 * os.h - the porting contract: everything that differs between systems, behind one header. Nothing
 * here knows a server or a connection. Backends: os_linux.c (the system's own calls) and
 * os_generic.c (POSIX only, built by -Dgeneric=true on any system so that it cannot rot); the build
 * picks exactly one, plus os_posix.c with what they share.
 * All calls return 0 or more, or a negative errno.
 */
#ifndef OS_OS_H
#define OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Fill out with numbers that nobody can guess. size: at most 256. */
int os_random(void *out, size_t size);

/* Accept one connection: close-on-exec, blocking. *size: room in *address, then its length. */
int os_accept(int listener, struct sockaddr_storage *address, socklen_t *size);

/* A socket, close-on-exec. */
int os_socket(int domain, int type, int protocol);

/* A pipe: both ends close-on-exec and non-blocking. */
int os_pipe(int fds[2]);

int os_set_nonblocking(int fd, bool on);
int os_set_cloexec(int fd, bool on);

/* Close every descriptor from first on that is not among keep[count] (ascending). Fit for a child
 * of a threaded process: no memory is taken. */
int os_close_from(int first, const int *keep, size_t count);

/* Who connected to this Unix socket; fields unknown to the system are -1. */
int os_peer_cred(int fd, int64_t *uid, int64_t *gid, int64_t *pid);

/* Set real, effective and saved ids at once, for good. */
int os_set_gid(gid_t gid);
int os_set_uid(uid_t uid);
/* 1 when real, effective and saved ids all are this one, 0 when not. */
int os_gid_is(gid_t gid);
int os_uid_is(uid_t uid);

/*
 * Capabilities; all -ENOSYS, and only then, where the system has none. The calling thread's: drop
 * them while there is no other.
 */
/* Let the next os_set_uid() leave the permitted set alone: the bounding set can only be cleared by
 * who still may. Nothing but os_drop_capabilities() may follow that change of user. */
int os_keep_capabilities(void);
/* Drop every capability, bounding and ambient sets included. Returns 0, or 1 when all but the
 * bounding set is empty, which this process is not allowed to change. */
int os_drop_capabilities(void);
/* 1 when no capability is left in any set (the bounding set counts if asked), 0 when some is. */
int os_no_capabilities(bool bounding);
/* Forbid gaining any right by exec, children included; read back. -ENOSYS: no such thing here. */
int os_no_new_privs(void);

/* No core dump, no ptrace by others of the same user. */
int os_no_dump(void);
/* Core dumps as the limits say, also after a change of user, which turns them off by itself. */
int os_allow_dump(void);

/* Have this signal sent to us when our parent dies; a change of user forgets it. -ENOSYS where
 * there is no such thing. */
int os_parent_death_signal(int signo);

/*
 * Zeroed memory of this process alone: a forked child does not get it, so that fork() neither
 * copies it nor makes our next write to it copy a page. (The generic backend's is inherited.)
 * Returns NULL when there is none.
 */
void *os_own_memory(size_t size);
void os_own_memory_free(void *memory, size_t size);

/*
 * Memory for stacks. Sizes and addresses are multiples of the page size.
 */
/* Zeroed, taken from the system page by page as it is written to. NULL: there is none. */
void *os_stack_memory(size_t size);
void os_stack_memory_free(void *memory, size_t size);
/* Any access to this part ends in SIGSEGV from now on, until it is freed. The first kind costs no
 * mapping (-ENOSYS: the system has none such), the second splits one in two or three (-ENOMEM: no
 * more mappings). */
int os_guard_light(void *memory, size_t size);
int os_guard(void *memory, size_t size);
/* Give the pages back to the system: they read as zero. Guards stay. 0, or an error after which
 * they are as they were. */
int os_memory_release(void *memory, size_t size);
/* Bytes from the first page that takes memory to the end; -ENOSYS: the system does not tell. */
ssize_t os_memory_depth(void *memory, size_t size);

/* A function of a library that is loaded while the program runs: where its address goes. */
struct os_symbol {
	const char *name;
	void (**address)(void);
};

/* Load a library and find all of its functions. Returns 0 and a handle, or -ENOENT: it is not
 * there, or is another one; nothing stays loaded then. */
int os_library_load(void **library, const char *name, const struct os_symbol *symbols,
		    size_t count);
/* Let go of it; NULL is taken. Its functions are gone then. Returns NULL. */
void *os_library_unload(void *library);

/* The number of the calling thread as the system's tools show it; that of the process where
 * threads have none. */
int64_t os_thread_id(void);

/* Name the calling thread, at most 15 characters, for ps and debuggers; where they can show it. */
void os_thread_name(const char *name);

/*
 * Where a signal handler has interrupted its thread: the addresses of code up to where the thread
 * began, the innermost first. context: the handler's third argument; NULL: where the caller is.
 * Only the first call in a process may take memory and load a library: make one beforehand. Returns
 * how many there are, at most size; 0 where the system has no such thing.
 */
size_t os_backtrace(const void *context, void **addresses, size_t size);

/* What is at this address, as text: "function+0x1f", or "file+0x1f" for a function that is not
 * exported; "0x1f" where that is all there is to say. */
void os_address_name(const void *address, char *out, size_t size);

/*
 * A stream over read, write and close functions, which report failure as fopencookie(3) has it:
 * errno set, and -1 from read and close, 0 from write. It has no buffer of its own, so that reading
 * and writing may take turns in any way: the functions are called for single bytes and must buffer.
 * fclose(3) calls close. Returns NULL with errno: ENOMEM; ENOTSUP where the system cannot do it
 * (the generic backend: POSIX has nothing of the kind).
 */
FILE *os_stream(void *cookie, ssize_t (*read)(void *, char *, size_t),
		ssize_t (*write)(void *, const char *, size_t), int (*close)(void *));

/* What has moved on a connected socket, by whomever. */
struct os_flow {
	bool counted;     /* in, out and quiet_ms are known: TCP, but not Unix sockets */
	uint64_t in, out; /* bytes that came, and that were written */
	uint64_t queued;  /* of those: not yet with the peer */
	uint32_t mark;    /* another one, and bytes have moved since the last time */
	int64_t quiet_ms; /* since bytes came or went: while output is queued, those that went
			   * may be the same once more */
};

/* Returns 0, or -ENOTSUP: the system does not tell for this kind of socket; or another -errno. */
int os_get_flow(int fd, struct os_flow *flow);

/* Copy count bytes from a file to a socket by the kernel; *offset moves. Returns bytes sent,
 * -EAGAIN, or -ENOSYS when this pair of descriptors needs read and write. */
ssize_t os_sendfile(int socket, int file, off_t *offset, size_t count);

#endif
