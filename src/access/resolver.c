/*
 * resolver.c - the system's resolver behind one function: who is this address, and does that name
 * lead back to it?
 *
 * Happy path: a helper thread asks getnameinfo(3) for the name and getaddrinfo(3) for its
 * addresses; the caller waits at the job's pipe, as handlers wait for anything, until the job is
 * done. Failure: at the deadline, or when the server stops, the caller leaves; the helper keeps its
 * half of the job, and frees it when the library returns at last. So nobody ever waits for a dead
 * server, and a hanging helper touches nothing but its job: the process may exit, or fork, around
 * it. No more than HELPERS_MAX of them are out at a time; past that the name is simply unknown.
 * What DNS says is checked byte by byte before it is taken for a name.
 */
#include "access/access.h"
#include "netdaemon.h"
#include "os/os.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELPERS_MAX 32
#define HELPER_STACK (512 * 1024) /* name service plug-ins can be hungry */
#define NAME_MAX_BYTES 255

/* ---------------------------------------------------------------------------- helpers at work */

/*
 * How many helpers are out, in the lower half; in the upper half the process they belong to. After
 * a fork the child has none of them, and sees that by the number: no lock that could be held by a
 * thread that is not there.
 */
static _Atomic uint64_t helpers_out;

static bool helper_take(void)
{
	const uint64_t pid = (uint64_t)getpid();
	uint64_t was = atomic_load(&helpers_out), count;

	do {
		count = was >> 32 == pid ? was & UINT32_MAX : 0;
		if (count >= HELPERS_MAX)
			return false;
	} while (!atomic_compare_exchange_weak(&helpers_out, &was, pid << 32 | (count + 1)));
	return true;
}

/* Only for one that was taken in this process. */
static void helper_give(void)
{
	atomic_fetch_sub(&helpers_out, 1);
}

/* ------------------------------------------------------------------------------------ the job */

/* Shared by the caller and the helper; the last to leave frees it. */
struct job {
	pthread_mutex_t lock;
	int finished[2]; /* a pipe: the helper writes a byte when it is done */
	int references;
	bool done;
	int rc; /* 1: name is confirmed; 0: there is none; -errno */
	struct access_peer peer;
	char name[NI_MAXHOST];
};

/* Returns 0 or -errno. */
static int job_new(struct job **out, const struct access_peer *peer)
{
	struct job *job = calloc(1, sizeof *job);
	int rc;

	if (!job)
		return -ENOMEM;
	rc = os_pipe(job->finished);
	if (rc < 0) {
		free(job);
		return rc;
	}
	pthread_mutex_init(&job->lock, NULL);
	job->references = 2;
	job->peer = *peer;
	*out = job;
	return 0;
}

static void job_leave(struct job *job)
{
	bool last;

	pthread_mutex_lock(&job->lock);
	last = --job->references == 0;
	pthread_mutex_unlock(&job->lock);
	if (!last)
		return;
	close(job->finished[0]);
	close(job->finished[1]);
	pthread_mutex_destroy(&job->lock);
	free(job);
}

/* -------------------------------------------------------------------------------- one look-up */

bool access_name_clean(char *name)
{
	size_t length = strlen(name);
	bool letter = false;
	struct in_addr number;

	if (strstr(name, ".."))
		return false;
	if (length > 0 && name[length - 1] == '.')
		name[--length] = '\0';
	if (length == 0 || length > NAME_MAX_BYTES || *name == '.' || *name == '-')
		return false;
	for (char *p = name; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
		if (*p >= 'a' && *p <= 'z')
			letter = true;
		else if (!(*p >= '0' && *p <= '9') && !strchr("-._", *p))
			return false;
	}
	/* "0x7f.1" would confirm itself: the library takes it for an address. */
	return letter && !inet_aton(name, &number);
}

static socklen_t to_sockaddr(struct sockaddr_storage *out, const struct access_peer *peer)
{
	memset(out, 0, sizeof *out);
	if (peer->family == AF_INET) {
		struct sockaddr_in *in = (void *)out;

		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, peer->addr, 4);
		return sizeof *in;
	}
	struct sockaddr_in6 *in6 = (void *)out;

	in6->sin6_family = AF_INET6;
	memcpy(&in6->sin6_addr, peer->addr, 16);
	return sizeof *in6;
}

/* The library's errors: a name that does not exist is an answer, the rest is not. */
static int from_gai(int rc, int sys)
{
	switch (rc) {
	case EAI_NONAME:
#ifdef EAI_NODATA
	case EAI_NODATA:
#endif
		return 0;
	case EAI_AGAIN:
		return -EAGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SYSTEM:
		return sys ? -sys : -EIO;
	default:
		return -EIO;
	}
}

static bool same_address(const struct addrinfo *info, const struct access_peer *peer)
{
	struct sockaddr_storage address = {0};
	struct access_peer found;

	if (info->ai_addrlen > sizeof address)
		return false;
	memcpy(&address, info->ai_addr, info->ai_addrlen);
	access_peer_from(&found, &address);
	return found.family == peer->family && memcmp(found.addr, peer->addr, 16) == 0;
}

/* 1: one of the name's addresses is the peer's; 0: none is; -errno. */
static int confirm(const char *name, const struct access_peer *peer)
{
	const struct addrinfo hints = {.ai_family = peer->family, .ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;
	int found = 0;
	int rc = getaddrinfo(name, NULL, &hints, &all);

	if (rc != 0)
		return from_gai(rc, errno);
	for (const struct addrinfo *info = all; info; info = info->ai_next)
		if (same_address(info, peer)) {
			found = 1;
			break;
		}
	freeaddrinfo(all);
	return found;
}

static int look_up(const struct access_peer *peer, char name[NI_MAXHOST])
{
	struct sockaddr_storage address;
	socklen_t size = to_sockaddr(&address, peer);
	int rc = getnameinfo((const struct sockaddr *)&address, size, name, NI_MAXHOST, NULL, 0,
			     NI_NAMEREQD);

	if (rc != 0)
		return from_gai(rc, errno);
	return access_name_clean(name) ? confirm(name, peer) : 0;
}

static void *helper(void *arg)
{
	struct job *job = arg;
	int rc = look_up(&job->peer, job->name);
	ssize_t n;

	pthread_mutex_lock(&job->lock);
	job->rc = rc;
	job->done = true;
	pthread_mutex_unlock(&job->lock);
	n = write(job->finished[1], "", 1);
	(void)n; /* an empty pipe takes it, and its reading end is open as long as the job */
	job_leave(job);
	helper_give();
	return NULL;
}

/* --------------------------------------------------------------------------------- the caller */

/* Signals are the program's: none of them must end up in a helper. */
static int start(struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, HELPER_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &attr, helper, job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

static int await(struct job *job, int64_t deadline)
{
	struct netd_pollfd finished = {.fd = job->finished[0], .events = NETD_IN};
	int rc;

	do
		rc = netd_poll(&finished, 1, deadline);
	while (rc == -EINTR);
	if (rc == 0)
		rc = -ETIMEDOUT;
	pthread_mutex_lock(&job->lock);
	if (job->done)
		rc = job->rc;
	pthread_mutex_unlock(&job->lock);
	return rc;
}

static int system_names(void *arg, const struct access_peer *peer, int64_t deadline,
			struct strlist *names)
{
	struct access_peer plain = *peer;
	struct job *job;
	int rc;

	(void)arg;
	access_peer_unmap(&plain);
	if (plain.family != AF_INET && plain.family != AF_INET6)
		return -EAFNOSUPPORT;
	rc = job_new(&job, &plain);
	if (rc < 0)
		return rc;
	if (!helper_take()) {
		rc = -EAGAIN;
		goto unused;
	}
	rc = start(job);
	if (rc < 0)
		goto given;
	rc = await(job, clock_earlier(deadline, clock_deadline(ACCESS_NAMES_MS)));
	if (rc > 0) { /* the helper has left the name for good */
		int added = strlist_add(names, job->name);

		rc = added < 0 ? added : rc;
	}
	job_leave(job);
	return rc;

given:
	helper_give();
unused:
	job->references = 1;
	job_leave(job);
	return rc;
}

const struct access_resolver access_system_resolver = {.names = system_names};
