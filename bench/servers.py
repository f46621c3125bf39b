"""servers.py - what is compared: how each server is started, watched and ended.

A server is started for one turn, on a port of its own and with files of its own, and ended by its
pid afterwards. Failure modes: it does not answer within READY_SECONDS, or ends: RuntimeError with
its last words. What a server needs may not be there (missing()): it is named then and left out.
"""

import getpass
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
READY_SECONDS = 20
STOP_SECONDS = 5
SETTLED = 0.005        # memory that changes by less than this share has settled
SETTLE_LIMIT = 30      # seconds

PERL_HOLD = 1000       # Perl needs 0.7 to 2.2 MB for each connection

ACCESS = "{ clients => [ { mask => '^127\\.', accept => 1 } ] }\n"
NGINX = """daemon off;
worker_processes 1;
worker_rlimit_nofile 19000;
pid %(folder)s/pid;
error_log %(folder)s/error.log;
events { worker_connections 16384; }
http {
	access_log off;
	default_type text/plain;
	server_tokens off;
	keepalive_timeout 600s;
	keepalive_requests 1000000000;
	client_body_temp_path %(folder)s/body;
	proxy_temp_path %(folder)s/proxy;
	fastcgi_temp_path %(folder)s/fastcgi;
	uwsgi_temp_path %(folder)s/uwsgi;
	scgi_temp_path %(folder)s/scgi;
	server {
		listen 127.0.0.1:%(port)s backlog=1024;
		location / { return 200 "Hello, world!\\n"; }
	}
}
"""
XINETD = """service tiny
{
	type = UNLISTED
	bind = 127.0.0.1
	port = %(port)s
	socket_type = stream
	protocol = tcp
	wait = no
	user = %(user)s
	server = %(program)s
	instances = UNLIMITED
	cps = 1000000 1
	log_type = FILE %(folder)s/log
	log_on_success = HOST EXIT DURATION
}
"""
# What is started for each connection, by kind of work.
PROGRAMS = {"spawn": "{build}/bench/tiny", "spawn_libc": "{build}/bench/tiny_libc"}


class Server:
    """One row of the tables.

    command   words; {port}, {build}, {bench}, {folder} and the abbreviations of NETD are filled in
    at_once   how many connections it serves at a time; None: any number
    hold      how many the hold test may open; None: what it wants to
    http      it speaks HTTP, and takes part in that kind of work only
    starts    it starts a program for each connection, and takes part in those kinds only
    loop      it is made for very many connections, and takes part in kinds that need that
    only      the kinds of work it takes part in; None: all
    words     {kind: options} that it gets beside its command
    uncounted its processes leave no trace of their time behind
    module    of Perl, that it needs
    """

    def __init__(self, command, at_once=None, hold=None, http=False, loop=False, only=None,
                 words=None, uncounted=False, module=None, files=None, starts=False):
        self.command, self.at_once, self.hold, self.http = command, at_once, hold, http
        self.loop, self.only, self.words = loop, only, words or {}
        self.uncounted, self.module, self.files = uncounted, module, files or {}
        self.starts = starts

    def argv(self, build, port, kind, folder):
        """Its command; folder: for its files, which are written there. None: only the command."""
        words = {"bench": HERE, "build": build, "port": port, "folder": folder,
                 "user": getpass.getuser(), "program": PROGRAMS.get(kind, "").format(build=build)}
        for name, text in self.files.items() if folder else []:
            with open(os.path.join(folder, name), "w") as f:
                f.write(text % words)
        starts = {name: start.format(**words) for name, start in NETD.items()}
        return (self.command.format(**words, **starts) + " " + self.words.get(kind, "")).split()

    def missing(self, build):
        """What is not there, in words; or None."""
        program = self.argv(build, 0, "", None)[0]
        if not shutil.which(program):
            return program
        perl = ["perl", f"-M{self.module}", "-e", "1"]
        if self.module and subprocess.run(perl, stderr=subprocess.DEVNULL).returncode:
            return f"Perl's {self.module}"
        return None


NETD = {
    "netd": "{build}/bench/netd_echo --localaddr 127.0.0.1 --localport {port} --logfile /dev/null",
    # A line in the log for each program, as xinetd has it.
    "program_front": "{build}/cmd/netdaemon/netdaemon --localaddr 127.0.0.1 --localport {port}"
                     " --logfile {folder}/log",
    # The way a daemon really runs: access rules, a deadline for each line, a log.
    "fibers": "{build}/bench/netd_echo --localaddr 127.0.0.1 --localport {port}"
              " --logfile {folder}/log --configfile {folder}/access.conf --mode fibers",
    "hello": "{build}/examples/http_hello --localaddr 127.0.0.1 --localport {port}"
             " --logfile {folder}/log --configfile {folder}/access.conf --mode fibers",
}
LIMIT = "--idle-limit 60"
LONG = "--idle-limit 3600"  # idle connections are to stay


def fibers(io, compacted=False):
    """A row of netd_echo in fibers, on one of the pollers."""
    idle = f"{LONG} --compact-after {1 if compacted else 0}"
    kinds = ["short", "pingpong1", "pingpong", "pingpong1k", "inflight", "growth", "start",
             "memory"]
    words = {**{kind: LIMIT for kind in kinds}, "hold": idle,
             "hold100k": f"{idle} --childs 6"}
    only = ["hold", "hold100k"] if compacted else kinds + ["hold"]
    return Server("{fibers} --io " + io, loop=True, words=words, only=only,
                  files={"access.conf": ACCESS})


def hello(io):
    return Server("{hello} --io " + io, http=True, files={"access.conf": ACCESS})


SERVERS = {
    "fibers-uring": fibers("io_uring"),
    "fibers-epoll": fibers("epoll"),
    "fibers-poll": fibers("poll"),
    "fibers-uring-compacted": fibers("io_uring", compacted=True),
    "fibers-epoll-compacted": fibers("epoll", compacted=True),
    "uring_loop": Server("{build}/bench/uring_loop {port}", loop=True),
    "epoll_loop": Server("{build}/bench/epoll_loop {port}", loop=True),
    "libuv": Server("{build}/bench/uv_echo {port}", loop=True),
    "libevent": Server("{build}/bench/event_echo {port}", loop=True),
    "Go": Server("{build}/bench/go_echo {port}", loop=True),
    "accept_loop": Server("{build}/bench/accept_loop {port}", at_once=1),
    "fork_loop": Server("{build}/bench/fork_loop {port}", uncounted=True),
    "thread_loop": Server("{build}/bench/thread_loop {port}"),
    "netd-single": Server("{netd} --mode single", at_once=1),
    "netd-fork": Server("{netd} --mode fork"),
    "netd-threads": Server("{netd} --mode threads"),
    "netd-prefork": Server("{netd} --childs 8 --mode single", at_once=8),
    "Net::Daemon-fork": Server("perl {bench}/peers/net_daemon.pl fork {port}", hold=PERL_HOLD,
                               module="Net::Daemon"),
    "Net::Daemon-ithreads": Server("perl {bench}/peers/net_daemon.pl ithreads {port}",
                                   hold=PERL_HOLD, module="Net::Daemon"),
    "Net::Server-Fork": Server("perl {bench}/peers/net_server.pl Fork {port}", hold=PERL_HOLD,
                               module="Net::Server"),
    "Net::Server-PreFork": Server("perl {bench}/peers/net_server.pl PreFork {port}", at_once=100,
                                  module="Net::Server"),
    "netdaemon": Server("{program_front} -- {program}", starts=True),
    "netdaemon-threads": Server("{program_front} --mode threads -- {program}", starts=True),
    "netdaemon-fork": Server("{program_front} --mode fork -- {program}", starts=True),
    "spawn_loop": Server("{build}/bench/spawn_loop {port} {program}", starts=True),
    "tcpserver": Server("tcpserver -RHl0 -c256 127.0.0.1 {port} {program}", starts=True),
    "xinetd": Server("/usr/sbin/xinetd -dontfork -f {folder}/xinetd.conf -pidfile {folder}/pid",
                     starts=True, files={"xinetd.conf": XINETD}),
    "socat": Server("socat TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=1024 "
                    "EXEC:{program}", starts=True),
    "socat-nofork": Server("socat TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=1024 "
                           "EXEC:{program},nofork", starts=True),
    "http-fibers-uring": hello("io_uring"),
    "http-fibers-epoll": hello("epoll"),
    "nginx": Server("/usr/sbin/nginx -p {folder} -c {folder}/nginx.conf", http=True,
                    files={"nginx.conf": NGINX}),
    "Go net/http": Server("{build}/bench/go_http {port}", http=True),
}

GROUPS = {
    "fibers": [name for name in SERVERS if name.startswith("fibers-")],
    "loops": ["uring_loop", "epoll_loop", "libuv", "libevent", "Go"],
    "bare": ["accept_loop", "fork_loop", "thread_loop"],
    "netd": [name for name in SERVERS if name.startswith("netd-")],
    "perl": [name for name in SERVERS if name.startswith("Net::")],
    "http": [name for name, server in SERVERS.items() if server.http],
    "programs": [name for name, server in SERVERS.items() if server.starts],
}


# ------------------------------------------------------------------------------- starting, ending

def free_port():
    """A port below the range of outgoing connections, so that no client ever sits on it."""
    while True:
        port = 20000 + int.from_bytes(os.urandom(2), "big") % 12000
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def prepare_child(cpu):
    """Runs in the child before exec: processor, and as many descriptors as allowed."""
    def prepare():
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return prepare


def has_ended(pid):
    """True when it has ended; it stays unreaped, so that its number is nobody else's yet."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def converse(port, text):
    """Send this, end, and read all that comes."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
            return s.makefile("rb").read()
    except OSError:
        return b""


def echoes(port):
    return converse(port, b"ready?\n") == b"ready?\n"


def greets(port):
    """Has it started a program?"""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            return s.makefile("rb").read() == b"hello\n"
    except OSError:
        return False


def http_body(port):
    """The body of the answer to GET /, or None."""
    answer = converse(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if b" 200 " in head.split(b"\r\n")[0] else None


class Running:
    """A server for one turn, in a session of its own."""

    def __init__(self, server, build, kind, cpu):
        self.server = server
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="netdaemon-bench-")
        self.words = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            server.argv(build, self.port, kind, self.folder.name), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.words, start_new_session=True,
            preexec_fn=prepare_child(cpu))

    def answers(self):
        if self.server.starts:
            return greets(self.port)
        return http_body(self.port) is not None if self.server.http else echoes(self.port)

    def last_words(self):
        self.words.seek(0)
        words = self.words.read()
        for name in ("log", "error.log"):
            path = os.path.join(self.folder.name, name)
            if os.path.exists(path):
                with open(path, "rb") as f:
                    words += f.read()
        return words[-500:].decode(errors="replace").strip()

    def __enter__(self):
        end = time.monotonic() + READY_SECONDS
        while not self.answers():
            if has_ended(self.process.pid) or time.monotonic() > end:
                words = self.last_words()
                self.stop()
                raise RuntimeError(f"does not answer: {words}")
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """TERM by pid; what is left of its session after STOP_SECONDS is killed."""
        pid = self.process.pid
        os.kill(pid, signal.SIGTERM)  # not send_signal(): that may reap it
        end = time.monotonic() + STOP_SECONDS
        while not has_ended(pid) and time.monotonic() < end:
            time.sleep(0.005)
        os.killpg(pid, signal.SIGKILL)
        self.process.wait()
        self.folder.cleanup()

    # ------------------------------------------------------------------------------------ watching

    def pids(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as f:
                        todo += [int(word) for word in f.read().split()]
            except OSError:
                pass  # it has ended meanwhile
        return found

    def cpu_seconds(self):
        """Processor time so far: of its processes, and of the children they have reaped."""
        return sum(cpu_clock(pid) + reaped_seconds(pid) for pid in self.pids())

    def memory(self):
        """VmRSS and Pss in kB over all its processes."""
        return (sum(field(pid, "status", "VmRSS:") for pid in self.pids()),
                sum(field(pid, "smaps_rollup", "Pss:") + field(pid, "smaps_rollup", "SwapPss:")
                    for pid in self.pids()))

    def settled_pss(self, quiet):
        """Pss once it has not changed for so many seconds; or after SETTLE_LIMIT."""
        last, since = self.memory()[1], time.monotonic()
        end = since + SETTLE_LIMIT
        while time.monotonic() < min(since + quiet, end):
            time.sleep(0.1)
            now = self.memory()[1]
            if abs(now - last) > SETTLED * last:
                last, since = now, time.monotonic()
        return now


def cpu_clock(pid):
    """Of a process with all its threads, those that have ended too: precise, unlike the ticks."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # the kernel's number for that process's clock
    except OSError:
        return 0  # it has ended meanwhile


def reaped_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            words = f.read().rpartition(")")[2].split()
        return (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def field(pid, name, key):
    try:
        with open(f"/proc/{pid}/{name}") as f:
            for line in f:
                if line.startswith(key):
                    return int(line.split()[1])
    except OSError:
        pass  # it has ended meanwhile
    return 0
