/*
 * Core.xs - Net::Daemon::Core: what Perl asks of the C core, one function per question.
 *
 * Happy path: values in, a call of step.h, handle.h, or of the core, values out. Failure: words by
 * croak(), with a newline, so that Perl adds no place. No function calls back into Perl, so nothing
 * unwinds through C but croak() itself, which is only called when there is nothing left to free.
 */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"
#include "perliol.h"

#undef open
#undef close

#include "access/access.h"
#include "handle.h"
#include "memory.h"
#include "os/os.h"
#include "shared.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>

typedef struct handle *Net__Daemon__Core;

#define BOUND_MAX 32 /* addresses of one name that are bound */

/* A packed address, 4 or 16 bytes, as Socket has it. False: it is none. */
static bool peer_from_packed(pTHX_ SV *packed, struct access_peer *peer)
{
	STRLEN length;
	const char *bytes;

	SvGETMAGIC(packed);
	if (!SvOK(packed))
		return false;
	bytes = SvPVbyte_nomg(packed, length);
	if (length != 4 && length != 16)
		return false;
	*peer = (struct access_peer){
	    .family = length == 4 ? AF_INET : AF_INET6, .uid = -1, .gid = -1};
	memcpy(peer->addr, bytes, length);
	access_peer_unmap(peer);
	return true;
}

/* The object's handle. No class but this one has handles. */
static struct handle *handle_of(pTHX_ SV *object)
{
	const SV *inner = SvROK(object) ? SvRV(object) : NULL;
	const char *class = inner && SvOBJECT(inner) ? HvNAME_get(SvSTASH(inner)) : NULL;

	if (!class || strNE(class, "Net::Daemon::Core") || !SvIOK(inner))
		croak("not a Net::Daemon::Core\n");
	return INT2PTR(struct handle *, SvIVX(inner));
}

/* NULL for undef and "". */
static const char *optional(pTHX_ SV *sv)
{
	return SvOK(sv) && SvCUR(sv) ? SvPV_nolen(sv) : NULL;
}

/* Text that is safe in one line of a log. */
static SV *escaped(pTHX_ SV *text)
{
	STRLEN length;
	const char *bytes = SvPV(text, length);
	SV *out = newSV(length * 4 + 1);

	SvPOK_only(out);
	SvCUR_set(out, log_escape(SvPVX(out), length * 4 + 1, bytes, length));
	return out;
}

/* -1: it has none. Asks nobody: an object may have any class. */
static int descriptor_of(pTHX_ SV *socket)
{
	const IO *io = SvROK(socket) && isGV(SvRV(socket)) ? GvIO((GV *)SvRV(socket)) : NULL;

	return io && IoIFP(io) ? PerlIO_fileno(IoIFP(io)) : -1;
}

/* What IO::Socket's accept copies, as far as anybody could tell. */
static void inherit(pTHX_ GV *socket, GV *listener)
{
	HV *fields = isGV_with_GP(listener) ? GvHV(listener) : NULL;
	SV **timeout = fields ? hv_fetchs(fields, "io_socket_timeout", 0) : NULL;

	if (timeout && SvOK(*timeout))
		(void)hv_stores(GvHVn(socket), "io_socket_timeout", newSVsv(*timeout));
}

/* A socket object of the listener's class, as IO::Socket makes it: an anonymous glob, autoflush on. */
static SV *connected(pTHX_ int fd, SV *listener)
{
	GV *gv = (GV *)newSV(0);
	SV *like = SvRV(listener);
	HV *home = isGV_with_GP(like) ? GvSTASH((GV *)like) : NULL; /* Symbol, as a rule */
	SV *socket;
	IO *io;

	gv_init(gv, home ? home : gv_stashpvs("Symbol", GV_ADD), "GEN", 3, 0);
	io = GvIOn(gv);
	IoIFP(io) = PerlIO_fdopen(fd, "r");
	IoOFP(io) = PerlIO_fdopen(fd, "w");
	IoTYPE(io) = IoTYPE_SOCKET;
	IoFLAGS(io) |= IOf_FLUSH;
	inherit(aTHX_ gv, (GV *)like);
	socket = sv_2mortal(newRV_noinc((SV *)gv));
	return sv_bless(socket, SvSTASH(like));
}

/* --------------------------------------------------------------------- the end of a child process
 *
 * A process that is about to end does not have to take itself apart: that would copy most of the
 * memory it shares with its parent, and cost more than a short connection did. It may only be left
 * out when nobody can tell the difference, which is what is looked at here.
 */

/* "sub DESTROY { }", as in IO::Handle and Config. */
static bool is_empty(const CV *cv)
{
	const OP *op = CvISXSUB(cv) ? NULL : CvSTART(cv);

	while (op && (op->op_type == OP_NEXTSTATE || op->op_type == OP_STUB))
		op = op->op_next;
	return op && op->op_type == OP_LEAVESUB;
}

/* Classes whose destructors mean nothing in a child: Perl's own, and ours. */
static const char *const idle[] = {"Regexp", "Net::Daemon::Serving", "Net::Daemon::Core"};

static bool has_destructor(pTHX_ HV *stash)
{
	/* A level of -1: what is found is not remembered, as that takes memory. */
	GV *destroy = gv_fetchmeth_pvn(stash, "DESTROY", 7, -1, 0);
	const char *home;

	if (!destroy || !GvCV(destroy))
		return gv_fetchmeth_pvn(stash, "AUTOLOAD", 8, -1, 0) != NULL;
	if (is_empty(GvCV(destroy)))
		return false;
	home = GvSTASH(destroy) ? HvNAME_get(GvSTASH(destroy)) : NULL;
	for (size_t i = 0; home && i < ARRAY_LEN(idle); i++)
		if (strEQ(home, idle[i]))
			return false;
	return true;
}

/* Layers of open files for which flushing is all that is left to do. Others, such as :gzip, may
 * have something to write when the file is closed. */
static const char *const plain_layers[] = {"unix", "perlio", "stdio", "crlf", "scalar"};

static bool is_plain(PerlIO *file)
{
	for (PerlIOl *layer = file ? PerlIOBase(file) : NULL; layer; layer = layer->next) {
		size_t i = 0;

		while (i < ARRAY_LEN(plain_layers) && layer->tab &&
		       strNE(layer->tab->name, plain_layers[i]))
			i++;
		if (i == ARRAY_LEN(plain_layers))
			return false;
	}
	return true;
}

/* Is there an object whose end matters? Reads only: memory that is shared with the parent is not
 * copied. */
static bool any_destructor(pTHX)
{
	HV *known = NULL;

	for (SV *arena = PL_sv_arenaroot; arena; arena = (SV *)SvANY(arena)) {
		const SV *end = &arena[SvREFCNT(arena)];

		for (SV *sv = arena + 1; sv < end; sv++) {
			if (!SvOBJECT(sv)) /* a free one is none */
				continue;
			if (SvTYPE(sv) == SVt_PVIO && !(is_plain(IoIFP(sv)) && is_plain(IoOFP(sv))))
				return true;
			if (SvSTASH(sv) != known && has_destructor(aTHX_ SvSTASH(sv)))
				return true;
			known = SvSTASH(sv);
		}
	}
	return false;
}

/* Processes that files are pipes to: who closes them waits. */
static bool any_pipe(pTHX)
{
	SV *pid;

	for (SSize_t i = PL_fdpid ? AvFILLp(PL_fdpid) : -1; i >= 0; i--) {
		pid = AvARRAY(PL_fdpid)[i];
		if (pid && SvTYPE(pid) == SVt_IV && !SvROK(pid) && SvIVX(pid)) /* perhaps not SvOK */
			return true;
	}
	return false;
}

/* Nothing of the program is left to run: no END block, no destructor, no hook. */
static bool nothing_to_run(pTHX)
{
	return (!PL_endav || AvFILLp(PL_endav) < 0) && PL_exitlistlen == 0 && !any_pipe(aTHX) &&
	       !any_destructor(aTHX);
}

/* ------------------------------------------------------------------------------ shared variables
 *
 * A thread that begins gets copies of the shared variables, and each copy counts as a reference to
 * what is behind it; a thread that ends gives them back. Older threads::shared, that of Perl 5.36 for
 * one, counts up without its lock: now and then one is lost, and the variable is freed while it is in
 * use. So those that are there when a server starts get more references than can ever be lost.
 */
#define HELD (1U << 30)

static const MAGIC *magic_behind(SV *reference, int type)
{
	SV *sv = SvROK(reference) ? SvRV(reference) : NULL;

	return sv && SvTYPE(sv) >= SVt_PVMG && SvMAGICAL(sv) ? mg_find(sv, type) : NULL;
}

/* Not objects with destructors: theirs are called when the last reference goes. */
static void hold(pTHX_ SV *sv, SV *shared)
{
	bool destroyed =
	    SvOBJECT(sv) ? has_destructor(aTHX_ SvSTASH(sv)) : cBOOL(SvOBJECT(shared));

	if (!destroyed && SvREFCNT(shared) < HELD)
		SvREFCNT(shared) += HELD;
}

/* All variables that have magic like one of these. */
static void hold_like(pTHX_ const MAGIC *scalar, const MAGIC *list)
{
	for (SV *arena = PL_sv_arenaroot; arena; arena = (SV *)SvANY(arena)) {
		const SV *end = &arena[SvREFCNT(arena)];

		for (SV *sv = arena + 1; sv < end; sv++) {
			const MAGIC *mg = SvMAGICAL(sv) ? SvMAGIC(sv) : NULL; /* a free one has none */

			for (; mg; mg = mg->mg_moremagic)
				if (mg->mg_ptr && (mg->mg_virtual == scalar->mg_virtual ||
						   mg->mg_virtual == list->mg_virtual))
					hold(aTHX_ sv, (SV *)mg->mg_ptr);
		}
	}
}

/* All is hidden but what Perl looks up when it loads this. */
#pragma GCC visibility push(default)

MODULE = Net::Daemon::Core    PACKAGE = Net::Daemon::Core

PROTOTYPES: DISABLE

# -------------------------------------------------------------------------------- a running Bind

Net::Daemon::Core
new(const char *class)
    CODE:
	PERL_UNUSED_VAR(class);
	RETVAL = handle_new();
	if (!RETVAL)
		croak("out of memory\n");
    OUTPUT:
	RETVAL

void
DESTROY(Net::Daemon::Core core)
    PREINIT:
	dSAVE_ERRNO;
    CODE:
	handle_free(core);
	RESTORE_ERRNO;

# leave(SOCKET...): a forked child: the listening sockets are not its own
void
leave(Net::Daemon::Core core, ...)
    CODE:
	handle_forget(core);
	for (I32 i = 1; i < items; i++)
		handle_leave(core, descriptor_of(aTHX_ ST(i)));

# A thread gets no handle: what this one holds is the process's.
int
CLONE_SKIP(...)
    CODE:
	RETVAL = 1;
    OUTPUT:
	RETVAL

void
forget(Net::Daemon::Core core)
    CODE:
	handle_forget(core);

# listen(ADDRESS, BACKLOG, MODE): descriptors that listen there
void
listen(Net::Daemon::Core core, const char *address, int backlog, unsigned mode)
    PREINIT:
	struct handle_bound bound[BOUND_MAX];
	struct err err;
	int count;
    PPCODE:
	count = handle_listen(core, address, backlog, mode, bound, BOUND_MAX, &err);
	if (count < 0)
		croak("%s\n", err.text);
	EXTEND(SP, count);
	for (int i = 0; i < count; i++)
		PUSHs(sv_2mortal(newSViv(bound[i].fd)));

void
pidfile(Net::Daemon::Core core, const char *path)
    PREINIT:
	struct err err;
    CODE:
	if (pidfile_take(&core->pidfile, path, &err) < 0)
		croak("%s\n", err.text);

# identity(USER, GROUP): (name of the user, name of the group), "" for what does not change
void
identity(Net::Daemon::Core core, SV *user, SV *group)
    PREINIT:
	struct err err;
    PPCODE:
	if (handle_identity(core, optional(aTHX_ user), optional(aTHX_ group), &err) < 0)
		croak("%s\n", err.text);
	EXTEND(SP, 2);
	PUSHs(sv_2mortal(newSVpv(core->identity.user, 0)));
	PUSHs(sv_2mortal(newSVpv(core->identity.group, 0)));

# drop(DIRECTORY, STRICT)
void
drop(Net::Daemon::Core core, SV *directory, bool strict)
    PREINIT:
	struct err err;
    CODE:
	if (handle_drop(core, optional(aTHX_ directory), strict, &err) < 0)
		croak("%s\n", err.text);

# wait(THREADS, LOOP_SECONDS, AT_MOST_SECONDS, WAKE, [DESCRIPTOR, LISTENER, PROTOCOL]...): what
# happened. AT_MOST_SECONDS: negative: as long as it takes. LISTENER: an object of the class that
# connections are to have; undef: they are not accepted here. After ACCEPT also: the connection, its
# protocol; without a connection: undef, the protocol, the socket's index, the number of the error.
void
wait(Net::Daemon::Core core, bool threads, NV loop, NV at_most, int wake, ...)
    PREINIT:
	struct step_socket sockets[STEP_SOCKETS_MAX];
	struct step_sources sources = {.sockets = sockets, .at_most_ms = -1};
	struct step_ready ready = {0};
	enum step_event event;
	SV **source;
    PPCODE:
	sources.wake = wake;
	sources.threads = threads;
	for (I32 i = 5; i + 2 < items && sources.count < STEP_SOCKETS_MAX; i += 3)
		sockets[sources.count++] =
		    (struct step_socket){.fd = (int)SvIV(ST(i)), .accept = SvROK(ST(i + 1))};
	sources.loop_ms = loop > 0 && loop < 0.001 ? 1 : (int64_t)(loop * 1000 + 0.5);
	if (at_most >= 0)
		sources.at_most_ms = (int64_t)(at_most * 1000);
	sources.signals = &PL_sig_pending;
	event = step_wait(&core->step, &sources, &ready);
	EXTEND(SP, 5); /* what is left there is written over: less than what came in */
	source = &ST(5 + 3 * (I32)ready.socket);
	mPUSHi(event);
	if (event == STEP_ACCEPT && ready.taken && ready.fd >= 0) {
		step_resume(&core->step);
		PUSHs(connected(aTHX_ ready.fd, source[1]));
		PUSHs(sv_2mortal(memory_value_of(aTHX_ source[2])));
	} else if (event == STEP_ACCEPT) {
		PUSHs(&PL_sv_undef);
		PUSHs(source[2]);
		mPUSHu(ready.socket);
		mPUSHi(-ready.fd);
	}

# Accepting has failed: undef while nobody needs to hear of it again, else how often nobody did
SV *
pause(Net::Daemon::Core core)
    PREINIT:
	uint64_t held;
    CODE:
	RETVAL = step_pause(&core->step, &held) ? newSVuv(held) : newSV(0);
    OUTPUT:
	RETVAL

void
resume(Net::Daemon::Core core)
    CODE:
	step_resume(&core->step);

# The next wait comes back at once, with INTR
void
interrupt(Net::Daemon::Core core)
    CODE:
	core->step.interrupted = true;

void
child_started(Net::Daemon::Core core, int pid)
    CODE:
	handle_child_started(core, pid);

void
child_ended(Net::Daemon::Core core, int pid)
    CODE:
	handle_child_ended(core, pid);

UV
children(Net::Daemon::Core core)
    CODE:
	RETVAL = handle_children(core);
    OUTPUT:
	RETVAL

void
kill_children(Net::Daemon::Core core, int signo)
    CODE:
	children_kill(&core->children, signo);

# Seconds of a clock that never jumps
NV
now()
    CODE:
	RETVAL = (NV)clock_ms() / 1000;
    OUTPUT:
	RETVAL

# copy_of(\%HASH): what {%HASH} makes, without a list of all keys and values in between
SV *
copy_of(SV *hash)
    CODE:
	if (!SvROK(hash) || SvTYPE(SvRV(hash)) != SVt_PVHV)
		croak("not a reference to a hash\n");
	RETVAL = newRV_noinc((SV *)memory_copy_of(aTHX_ (HV *)SvRV(hash)));
    OUTPUT:
	RETVAL

# A child has done its work: end it with status 0, unless END blocks, destructors or the like have to
# run first. Then this returns, and exit() is for Perl.
void
end_child()
    CODE:
	if (nothing_to_run(aTHX)) {
		PerlIO_flush(NULL);
		fflush(NULL);
		_exit(0);
	}

# keep_names(NAME...): the texts of these keys of hashes, side by side, for good
void
keep_names(...)
    CODE:
	memory_fill_gaps();
	for (I32 i = 0; i < items; i++)
		memory_keep_name(aTHX_ ST(i));

# From here on values are put side by side, in fresh memory, and not into the gaps of the old. A child
# that works with them has fewer pages to copy.
void
together()
    CODE:
	memory_fill_gaps();
	PL_sv_root = NULL;
	Zero(PL_body_roots, 1, PL_body_roots);

# A forked child ends with its parent
void
end_with_parent(int signo)
    CODE:
	os_parent_death_signal(signo);

# This signal comes to this process after so many seconds; a child does not inherit that
bool
signal_after(int signo, NV seconds)
    PREINIT:
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL};
	struct itimerspec when = {0};
	timer_t timer;
    CODE:
	event.sigev_signo = signo;
	when.it_value.tv_sec = (time_t)seconds;
	when.it_value.tv_nsec = (long)((seconds - (NV)when.it_value.tv_sec) * 1e9) + 1;
	RETVAL = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 &&
		 timer_settime(timer, 0, &when, NULL) == 0;
    OUTPUT:
	RETVAL

# --------------------------------------------------------------------------------------- threads

void
serving_started()

void
serving_ended()

UV
serving_count()

# hold_shared(\SCALAR, \ARRAY): keep what is shared as these two are
void
hold_shared(SV *scalar, SV *array)
    PREINIT:
	const MAGIC *like_scalar, *like_list;
    CODE:
	like_scalar = magic_behind(scalar, PERL_MAGIC_shared_scalar);
	like_list = magic_behind(array, PERL_MAGIC_tied);
	if (like_scalar && like_list)
		hold_like(aTHX_ like_scalar, like_list);

int
serving_wake_fd()

# --------------------------------------------------------------------------------- the other end

# address_text(PACKED): "192.0.2.7", IPv4 in the clothes of IPv6 as IPv4; undef: it is no address
SV *
address_text(SV *packed)
    PREINIT:
	struct access_peer peer;
	char text[ACCESS_TEXT_MAX];
    CODE:
	if (!peer_from_packed(aTHX_ packed, &peer))
		XSRETURN_UNDEF;
	access_peer_text(&peer, text);
	RETVAL = newSVpv(text, 0);
    OUTPUT:
	RETVAL

# net_has(NET, PACKED): is this address in the network? Croaks when that is none.
bool
net_has(const char *text, SV *packed)
    PREINIT:
	struct access_net net;
	struct access_peer peer;
	struct err err;
    CODE:
	if (access_net_parse(&net, text, &err) < 0)
		croak("%s\n", err.text);
	RETVAL = peer_from_packed(aTHX_ packed, &peer) && access_net_has(&net, &peer);
    OUTPUT:
	RETVAL

# names(PACKED): the names of an address that lead back to it, lower case; none when in doubt
void
names(SV *packed)
    PREINIT:
	struct access_peer peer;
	struct strlist names = {0};
    PPCODE:
	if (!peer_from_packed(aTHX_ packed, &peer))
		XSRETURN_EMPTY;
	if (access_system_resolver.names(access_system_resolver.arg, &peer,
					 clock_deadline(ACCESS_NAMES_MS), &names) > 0) {
		EXTEND(SP, (SSize_t)names.count);
		for (size_t i = 0; i < names.count; i++)
			PUSHs(sv_2mortal(newSVpv(names.items[i], 0)));
	}
	strlist_finish(&names);

# ------------------------------------------------------------------------------------------- log

SV *
escape(SV *text)
    CODE:
	RETVAL = escaped(aTHX_ text);
    OUTPUT:
	RETVAL

# syslog(PATH, IDENT, FACILITY, LEVEL, MESSAGE); LEVEL is a number as in syslog(3)
void
syslog(const char *path, const char *ident, const char *facility, int level, const char *message)
    PREINIT:
	struct err err;
    CODE:
	if (syslog_write(path, ident, facility, (enum netd_level)level, message, &err) < 0)
		croak("%s\n", err.text);
