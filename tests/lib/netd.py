"""netd.py - start a server for a test, talk to it, look into it, end it.

    with Server(program('echo'), '--mode', 'fork') as server:
        self.assertEqual(server.talk(b'hello\\n'), b'hello\\n')
        with server.client() as client:
            client.send(b'one\\n').expect(b'one\\n')
            client.shutdown().expect_end()
        server.wait_for_log(r'connection \\d+ ')
    # leaving the block: SIGTERM, exit status 0, no process left, no sanitizer report

Happy path: start() runs the program on a free loopback port with its log on standard error, a
thread reads that, start() returns when "listening on ..." was there. Failure modes: every wait has
a deadline and raises Failure with what was awaited and the log so far; whatever happens, stop(),
kill() or the end of Python leave no process behind, orphaned grandchildren included (this process
makes itself the reaper of its descendants).
"""
import atexit
import contextlib
import ctypes
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

# Seconds. Slow builds need more, and so do some tests: a variable for each, or one would hide the
# other.
PATIENCE = max(float(os.environ.get('TEST_PATIENCE', '15')),
               float(os.environ.get('TEST_PATIENCE_LEAST', '0')))
LISTENING = re.compile(r'\b(tcp:(?:\[[^]]*\]|[^\s:]*):\d+|unix:[^\s,]+)')
SANITIZER = re.compile(r'(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|: runtime error: ')

SIGNALS_HELD = os.environ.get('SIGNALS_HELD') == '1'  # by a sanitizer; see Server.signal()
HEARD = re.compile(r'SIGTERM: |SIGINT: |stop requested: |stopping now|terminated$')

_running = []


class Failure(AssertionError):
    """Something did not happen in time, or not as it should."""


def program(name):
    """The path of a program that the build made: in the folder PROGRAMS, or where build.sh builds."""
    here = os.path.dirname(os.path.abspath(__file__))
    folder = os.environ.get('PROGRAMS', os.path.join(here, '..', '..', 'build', 'examples'))
    return os.path.join(folder, name)


@contextlib.contextmanager
def within_reach(of_others):
    """Other users may not come as far as our programs, where they lie below /root: skip then."""
    try:
        yield
    except PermissionError as error:
        if not of_others:
            raise
        raise unittest.SkipTest(f'other users may not run {error.filename}') from error


def run(*argv, timeout=PATIENCE, text=True, **more):
    """Run a program that ends by itself (--help, --check): subprocess.CompletedProcess."""
    more.setdefault('stdin', subprocess.DEVNULL)
    with within_reach(of_others='preexec_fn' in more):
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              text=text, check=False, **more)


def wait_until(what, condition, timeout=PATIENCE):
    """Ask again and again (what /proc tells has no event); returns the first true answer."""
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise Failure(f'after {timeout:g} s still not: {what}')
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------- /proc

def status(pid):
    """/proc/PID/status as a dict of strings: {'Name': 'echo', 'Uid': '0\\t0\\t0\\t0', ...}."""
    with open(f'/proc/{pid}/status', encoding='utf-8', errors='replace') as file:
        return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)


def _entries(path):
    """What is in a folder of /proc; nothing, if the process has ended since."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return os.listdir(path)
    return []


def fds(pid):
    """Open descriptors: {3: 'socket:[4711]', ...}."""
    found = {}
    for name in _entries(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # closed since
            found[int(name)] = os.readlink(f'/proc/{pid}/fd/{name}')
    return found


def threads(pid):
    """The numbers of the threads of a process."""
    return sorted(int(name) for name in _entries(f'/proc/{pid}/task'))


def alive(pid):
    """Is there such a process, and not only its corpse?"""
    with contextlib.suppress(OSError):
        return not status(pid).get('State', 'Z').startswith('Z')
    return False


def processes():
    """(number, state, parent, session) of every process, corpses too. PID/task/*/children would be
    quicker, but may not be compiled into the kernel."""
    for name in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError, IndexError):
            with open(f'/proc/{name}/stat', 'rb') as file:
                state, parent, _, session = file.read().rsplit(b')', 1)[1].split()[:4]
                yield int(name), state, int(parent), int(session)


def children(pid):
    """Living direct children."""
    return sorted(number for number, state, parent, _ in processes()
                  if parent == pid and state != b'Z')


def tree(pid):
    """A process and all its living descendants, parents first."""
    below = {}
    for number, state, parent, _ in processes():
        if state != b'Z':
            below.setdefault(parent, []).append(number)
    found = [pid]
    for number in found:  # grows while it runs
        found += sorted(below.get(number, []))
    return found


def cpu_seconds(pid):
    """User and system time of a process (without its children) so far."""
    with open(f'/proc/{pid}/stat', 'rb') as file:
        fields = file.read().rsplit(b')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


# ----------------------------------------------------------------------------------------- clients

class Client:
    """One connection, used like a conversation; every step fails after the deadline."""

    def __init__(self, sock, timeout=PATIENCE):
        self.sock = sock
        self.held = b''  # read from the socket, not yet asked for
        self.sock.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def _more(self, wanted):
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise Failure(f'no answer in time; wanted {wanted}, have {self.held!r}') from None
        self.held += data
        return data

    def line(self):
        """The next line with its newline; at the end of input what is left, perhaps nothing."""
        while b'\n' not in self.held:
            if not self._more('a line'):
                line, self.held = self.held, b''
                return line
        line, newline, self.held = self.held.partition(b'\n')
        return line + newline

    def read(self, count):
        """Exactly so many bytes."""
        while len(self.held) < count:
            if not self._more(f'{count} bytes'):
                raise Failure(f'end of input; wanted {count} bytes, have {self.held!r}')
        data, self.held = self.held[:count], self.held[count:]
        return data

    def read_all(self):
        """Everything up to the end of input."""
        while self._more('the end of input'):
            pass
        data, self.held = self.held, b''
        return data

    def expect(self, wanted):
        """These very bytes come next."""
        got = self.read(len(wanted))
        if got != wanted:
            raise Failure(f'expected {wanted!r}, got {got!r}')
        return self

    def expect_line(self, pattern):
        """The next line matches this regular expression as a whole; returns the match."""
        line = self.line().decode('utf-8', 'replace').rstrip('\r\n')
        match = re.fullmatch(pattern, line)
        if not match:
            raise Failure(f'expected a line like {pattern!r}, got {line!r}')
        return match

    def expect_end(self):
        """The server closes, having said nothing more."""
        rest = self.read_all()
        if rest:
            raise Failure(f'expected the end of input, got {rest!r}')
        return self

    def expect_gone(self):
        """The connection ends somehow, by a close or a reset, whatever came before."""
        with contextlib.suppress(ConnectionError):
            self.read_all()
        return self

    def shutdown(self):
        """Say that no more comes."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        """Close by a reset, not an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close()

    def close(self):
        self.sock.close()


def connect(address, timeout=PATIENCE, source=None):
    """A plain socket to "tcp:HOST:PORT" or "unix:PATH"; wildcards mean loopback."""
    kind, rest = address.split(':', 1)
    if kind == 'unix':
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout)
            sock.connect(rest)
        except BaseException:
            sock.close()
            raise
        return sock
    host, port = rest.rsplit(':', 1)
    host = {'*': '127.0.0.1', '0.0.0.0': '127.0.0.1', '[::]': '127.0.0.1'}.get(host, host)
    return socket.create_connection((host.strip('[]'), int(port)), timeout,
                                    (source, 0) if source else None)


# ------------------------------------------------------------------------------------------ server

class Server:
    """A server under test. Arguments go to the program, after those that make it a test server."""

    def __init__(self, path, *args, localaddr='127.0.0.1', standard=True, env=None, cwd=None,
                 wrapper=(), patience=PATIENCE, **popen):
        """standard=False: nothing is added to args. wrapper: a command before it; its process is
        the one that gets the signals (so strace -D)."""
        self.argv = [*wrapper, path]
        if standard:
            self.argv += ['--logfile', 'STDERR', '--timeout', '300']
            if not any(re.match(r'--(localp|bind|configfile|check)', arg) for arg in args):
                self.argv += ['--localaddr', localaddr, '--localport', '0']
        self.argv += args
        self.env = {**os.environ, **(env or {})}
        self.cwd, self.popen_more, self.patience = cwd, popen, patience
        self.log = []        # lines of standard error so far, without newlines
        self.output = b''    # standard output, complete after the end
        self.addresses = []  # as in the start-up line
        self.process = None
        self._news = threading.Condition()
        self._open_logs = 0
        self._readers = []

    # ---- life

    def start(self, wait=True):
        """Run it; wait until it listens."""
        _prepare()
        with self._news:
            self.log, self.output, self.addresses = [], b'', []
        with within_reach(of_others='preexec_fn' in self.popen_more):
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=self.env, cwd=self.cwd, start_new_session=True, **self.popen_more)
        _running.append(self)
        self._open_logs = 1
        self._readers = [threading.Thread(target=self._read_log, args=(self.process.stderr,)),
                         threading.Thread(target=self._read_output, args=(self.process.stdout,))]
        for reader in self._readers:
            reader.daemon = True
            reader.start()
        if wait:
            try:
                line = self.wait_for_log(r'listening on ')
                self.addresses = LISTENING.findall(line.string)
                if not self.addresses:
                    raise Failure(f'no address in {line.string!r}')
            except BaseException:
                self.kill()
                raise
        return self

    def _read_log(self, stream):
        for line in stream:
            with self._news:
                self.log.append(line.decode('utf-8', 'replace').rstrip('\n'))
                self._news.notify_all()
        with self._news:
            self._open_logs = 0
            self._news.notify_all()

    def _read_output(self, stream):
        for data in stream:
            self.output += data

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, kind, value, traceback):
        if kind is None and self.process:
            self.stop()
        else:  # already failed: its words matter, not how the server ends
            self.kill()

    def stop(self, signum=signal.SIGTERM, status=0, timeout=None):
        """End it by a signal; fail when it ends otherwise than with this exit status, leaves
        processes behind, or a sanitizer complained. Returns the exit status."""
        self.signal(signum)
        return self.wait(status, timeout)

    def signal(self, signum, pid=None):
        """To the main process only, or to this other one of it, if it is still there."""
        said = self.log_count(HEARD)
        if self.process.poll() is None:
            os.kill(pid or self.process.pid, signum)
        if SIGNALS_HELD and signum in (signal.SIGTERM, signal.SIGINT):
            self._signal_until_heard(signum, pid or self.process.pid, said)

    def _signal_until_heard(self, signum, pid, said):
        """ThreadSanitizer's runtime keeps a signal for the flow of control that it interrupts; a
        fiber that then waits for input may never take it up: the process sits in poll(2), nothing
        is pending, and our handler never ran. A server that heard it says so in a new line, if it
        is not stopping already."""
        heard, count = HEARD, said + 1
        for _ in range(5):
            if self.log_count('stopping now') > 0:
                return
            with contextlib.suppress(Failure):
                self.wait_for_log(heard, timeout=2, count=count)
                return
            if self.process.poll() is not None or not self._open_logs:
                return
            try:
                seen = status(pid)
                if not seen['State'].startswith('S'):
                    return  # stopped, or a handler at work: it will hear later
                if not int(seen['SigCgt'], 16) & 1 << signum - 1:
                    # It dies of a second SIGINT, but a second SIGTERM stops it like the first.
                    signum, heard, count = signal.SIGTERM, 'stopping now|terminated$', 1
                os.kill(pid, signum)
            except (FileNotFoundError, ProcessLookupError):
                return

    def wait(self, status=0, timeout=None):
        """Wait for its end by itself; as stop(). status=None: any will do."""
        timeout = timeout or self.patience
        leader = self.process.pid
        try:
            code = self.process.wait(timeout)
            wait_until('all its processes are gone', lambda: not _session(leader), timeout)
            for reader in self._readers:
                reader.join(timeout)
        except subprocess.TimeoutExpired:
            stuck = [f'{pid} {self._wchan(pid)}' for pid in tree(self.process.pid)]
            self.kill()
            raise Failure(self._with_log(f'did not end in {timeout:g} s: {stuck}')) from None
        except Failure as failure:
            self.kill()
            raise Failure(self._with_log(str(failure))) from None
        self.kill()  # closes what is open; nobody is left to be killed
        if any(SANITIZER.search(line) for line in self.log):
            raise Failure(self._with_log('a sanitizer complained'))
        if status is not None and code != status:
            raise Failure(self._with_log(f'exit status {code}, expected {status}'))
        return code

    @staticmethod
    def _wchan(pid):
        with contextlib.suppress(OSError):
            with open(f'/proc/{pid}/wchan', encoding='ascii') as file:
                return file.read()
        return '?'

    def kill(self):
        """SIGKILL for every process of it; may be called at any time, more than once."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            # Stopped first, so that nobody forks or is replaced while the list is made.
            victims = []
            while fresh := [pid for pid in tree(process.pid) if pid not in victims]:
                for pid in fresh:
                    _send(pid, signal.SIGSTOP)
                victims += fresh
            for pid in victims:
                _send(pid, signal.SIGKILL)
            process.wait()
        while orphans := _session(process.pid):  # our own children by now
            for pid in orphans:
                _send(pid, signal.SIGKILL)
            _reap(process.pid)
        _reap(process.pid)
        for reader in self._readers:
            reader.join(2)
        for stream, reader in zip((process.stderr, process.stdout), self._readers):
            if not reader.is_alive():
                stream.close()
        if self in _running:
            _running.remove(self)
        self.process = None

    # ---- the log

    def wait_for_log(self, pattern, timeout=None, count=1):
        """Wait until this many lines match; returns the match (match.string: the whole line) of
        the count-th. Lines that are there already count. Fails at once when the log ends."""
        regex, end = re.compile(pattern), time.monotonic() + (timeout or self.patience)
        with self._news:
            while True:
                found = [match for match in map(regex.search, self.log) if match]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if left <= 0 or not self._open_logs:
                    why = 'in time' if self._open_logs else 'before its end'
                    raise Failure(self._with_log(f'log: no /{pattern}/ x {count} {why}'))
                self._news.wait(left)

    def log_count(self, pattern):
        """How many lines match so far."""
        with self._news:
            return sum(1 for line in self.log if re.search(pattern, line))

    def _with_log(self, words):
        return '\n'.join([f'{words}', f'command: {self.argv}', 'log:', *self.log[-40:]])

    # ---- talking

    @property
    def pid(self):
        return self.process.pid

    @property
    def address(self):
        """The first address it listens on."""
        return self.addresses[0]

    @property
    def port(self):
        """The port of the first tcp address."""
        return next(int(a.rsplit(':', 1)[1]) for a in self.addresses if a.startswith('tcp:'))

    def socket(self, timeout=None, source=None, address=None):
        """A plain connected socket."""
        return connect(address or self.address, timeout or self.patience, source)

    def client(self, timeout=None, source=None, address=None):
        """A connection for a conversation."""
        timeout = timeout or self.patience
        return Client(self.socket(timeout, source, address), timeout)

    def talk(self, data=b'', timeout=None, address=None):
        """Send it all, end the input, return everything that comes back. Sends and receives at the
        same time, so that neither side can wait for the other for ever."""
        with self.client(timeout, address=address) as client:
            sender = threading.Thread(target=self._send_all, args=(client, data), daemon=True)
            sender.start()
            answer = client.read_all()
            sender.join(timeout or self.patience)
            return answer

    @staticmethod
    def _send_all(client, data):
        with contextlib.suppress(OSError):  # the answer tells the test what is wrong
            client.send(data).shutdown()

    # ---- looking into it

    def pids(self):
        """All its processes, the main one first."""
        return tree(self.pid)

    def workers(self):
        """Its direct children."""
        return children(self.pid)

    def status(self):
        return status(self.pid)

    def fd_count(self):
        """Open descriptors over all its processes."""
        return sum(len(fds(pid)) for pid in self.pids())

    def thread_count(self):
        """Threads over all its processes."""
        return sum(len(threads(pid)) for pid in self.pids())

    def settled(self, measure, timeout=None):
        """Wait until measure() gives the same value ten times in a row, and return it: the figure
        to compare with when looking for leaks."""
        seen = []

        def same():
            seen.append(measure())
            return len(seen) >= 10 and len(set(map(str, seen[-10:]))) == 1
        wait_until(f'{measure} settles', same, timeout or self.patience)
        return seen[-1]


# ---------------------------------------------------------------------- leaving no process behind

def _send(pid, signum):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _session(leader):
    """Living processes that are still in the session of a process that we started."""
    return [number for number, state, _, session in processes()
            if session == leader and state != b'Z']


def _reap(leader):
    """Bury the orphans of that session that were handed to us."""
    for number, state, parent, session in processes():
        if session == leader and parent == os.getpid() and state == b'Z':
            with contextlib.suppress(ChildProcessError):
                os.waitpid(number, os.WNOHANG)


def _end_all(*unused):
    for server in list(_running):
        with contextlib.suppress(Exception):
            server.kill()


def _prepare():
    """Once: be the reaper of descendants, and end servers with us, also when we are terminated."""
    if _prepare.done:
        return
    _prepare.done = True
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    atexit.register(_end_all)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))


_prepare.done = False
