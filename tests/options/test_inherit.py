"""Sockets handed down, --notify-fd and the like: what is refused, with which words; and a real
supervisor."""
import contextlib
import fcntl
import functools
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from ground import SANITIZED
from netd import Server, connect, program, run, wait_until
from supervisor import Manager, handed, listening, text_of

STANDARD = ['--logfile', 'STDERR', '--timeout', '60']
LONELY = 61234  # a user that nobody else is


@contextlib.contextmanager
def alone():
    """Its processes are counted: one test at a time may be this user, of all that run here."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    lock = os.open(f'/tmp/netd-test-user-{LONELY}.lock', flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Refused(unittest.TestCase):
    """One line on standard error, exit status 2, nothing started."""

    def refused(self, expected, *options, files=(), **variables):
        launch = handed(*files, **variables)
        result = run(*launch['wrapper'], program('conform'), *STANDARD, *options,
                     pass_fds=launch['pass_fds'], env={**os.environ, **launch['env']})
        self.assertEqual((result.returncode, result.stdout), (2, ''), result.stderr)
        self.assertEqual(result.stderr, f'conform: {expected}\n')

    def test_numbers_that_are_none(self):
        with listening() as sock:
            for count in ('-1', '99999', 'garbage', '', ' 1', '0x1', '1 ', '99999999999999999999'):
                self.refused(f"LISTEN_FDS: found '{count}', expected a number of sockets from 0 to "
                             '1024', files=[sock], count=count)
            for pid in ('-1', '0', 'garbage', '', '12x', '99999999999999999999'):
                self.refused(f"LISTEN_PID: found '{pid}', expected the number of a process",
                             files=[sock], pid=pid)

    def test_names_that_do_not_fit(self):
        expected = 'a name for each descriptor, of printable characters, with colons between'
        with listening() as sock:
            for names in ('a:b', '', 'n' * 256, 'a\x1b[31m', 'é'):
                files = [sock, sock] if names == '' else [sock]
                found = (names[:100].encode().decode('latin-1')
                         .replace('\x1b', '\\x1b'))
                launch = handed(*files, names=names)
                result = run(*launch['wrapper'], program('conform'), *STANDARD, text=False,
                             pass_fds=launch['pass_fds'], env={**os.environ, **launch['env']})
                self.assertEqual(result.returncode, 2)
                self.assertEqual(result.stderr.decode('latin-1'),
                                 f"conform: LISTEN_FDNAMES: found '{found}', expected {expected}\n")

    def test_descriptors_that_are_no_listening_sockets(self):
        one, other = socket.socketpair()
        with listening() as good, tempfile.TemporaryFile() as file, one, other, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, \
                socket.socket() as idle, socket.create_connection(good.getsockname()) as tcp, \
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets:
            reader, writer = os.pipe()
            rows = [
                (file, 'a regular file'), (reader, 'a FIFO'), (datagram, 'a datagram socket'),
                (idle, 'a socket that does not listen'), (packets, 'a socket that is no stream'),
            ]
            for bad, found in rows:
                self.refused(f'LISTEN_FDS: descriptor 4 (bad): found {found}, expected a listening '
                             'stream socket', files=[good, bad], names='good:bad')
                self.refused(f'--bind: descriptor 3: found {found}, expected a listening stream '
                             'socket', '--bind', 'fd:3', files=[bad], variables=False)
            for connected in (tcp, one):
                self.refused('LISTEN_FDS: descriptor 3 is a connected socket: set Accept=no (a '
                             'program for one connection is started by Accept=yes, not a server)',
                             files=[connected])
            os.close(reader)
            os.close(writer)

    def test_descriptors_that_are_closed(self):
        with listening() as sock:
            self.refused('LISTEN_FDS: descriptor 4: found nothing open, expected a listening '
                         'stream socket', files=[sock], count=2)
            self.refused('--bind: descriptor 77: found nothing open, expected a listening stream '
                         'socket', '--bind=fd:77')

    def test_descriptors_that_cannot_be_meant(self):
        with listening() as sock:
            for text in ('1', '2', '1000001', '99999999999999999999'):
                self.refused(f"--bind: found 'fd:{text}', expected 0 or a descriptor from 3 up",
                             f'--bind=fd:{text}', files=[sock])
            for text in ('', 'other', '-1', '3x'):
                self.refused(f"--bind: found 'fd:{text}', expected the number of a descriptor, or "
                             'a name that LISTEN_FDNAMES gives', f'--bind=fd:{text}', files=[sock],
                             names='web')
            self.refused('--bind: fd:3 is given twice', '--bind=fd:3', '--bind=fd:3', files=[sock])

    def test_variables_for_another_process_are_not_used(self):
        nowhere = ('no address to listen on: give --localport PORT, --localpath PATH or --bind '
                   'ADDRESS')
        with listening() as sock:
            self.refused(nowhere, files=[sock], pid=1)
            self.refused(nowhere, files=[sock], count=0)
            server = Server(program('conform'), **handed(sock, pid=1))
            with server:
                server.wait_for_log(r'warning.*LISTEN_FDS: not used, LISTEN_PID says it is for '
                                    r'process 1: ')
                self.assertNotEqual(server.address, text_of(sock))

    def test_notify_fd_that_cannot_be_written_to(self):
        reader, writer = os.pipe()
        try:
            with listening() as sock:
                rows = [(sock, 'a listening socket'), (reader, 'open for reading only')]
                for file, found in rows:
                    self.refused(f'--notify-fd: descriptor 3 is {found}, expected one to write to',
                                 '--notify-fd=3', '--localport=0', files=[file], variables=False)
            self.refused('--notify-fd: descriptor 9 is not open, expected one to write to',
                         '--notify-fd=9', '--localport=0')
        finally:
            os.close(reader)
            os.close(writer)


class Allowed(unittest.TestCase):
    def test_check_names_them_and_changes_nothing(self):
        with listening() as sock:
            launch = handed(sock, names='web')
            result = run(*launch['wrapper'], program('conform'), '--check',
                         pass_fds=launch['pass_fds'], env={**os.environ, **launch['env']})
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            self.assertIn(f'would listen on fd:3 ({text_of(sock)})\n', result.stdout)
            self.assertTrue(os.get_blocking(sock.fileno()))

    def test_help_needs_no_good_variables(self):
        result = run(program('conform'), '--help', env={**os.environ, 'LISTEN_PID': 'x',
                                                        'LISTEN_FDS': 'y'})
        self.assertEqual(result.returncode, 0)

    def test_ipv6_sockets_are_written_as_ours(self):
        with socket.socket(socket.AF_INET6) as dual, socket.socket(socket.AF_INET6) as only:
            dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            dual.bind(('::', 0))
            only.bind(('::1', 0))
            dual.listen()
            only.listen()
            server = Server(program('conform'), *STANDARD, standard=False, **handed(dual, only))
            with server:
                server.wait_for_log(rf'listening on fd:3 \(tcp:\*:{dual.getsockname()[1]}\)')
                server.wait_for_log(rf'listening on fd:4 \(tcp:\[::1\]:{only.getsockname()[1]}\)')

    def test_an_authors_port_gives_way(self):
        """The echo example listens on a port of its own, if nobody says otherwise."""
        echo = os.path.join(os.environ['EXAMPLES'], 'echo')
        with listening() as sock:
            server = Server(echo, *STANDARD, standard=False, **handed(sock))
            with server:
                self.assertEqual(server.talk(b'hello\n'), b'hello\n')
                server.stop()
                self.assertEqual(server.log_count('listening on'), 1)

    @unittest.skipUnless(os.geteuid() == 0, 'only root can drop privileges')
    def test_the_manager_is_reached_after_chroot_and_drop_of_privileges(self):
        with Manager() as manager, tempfile.TemporaryDirectory() as place:
            os.chmod(manager.env['NOTIFY_SOCKET'], 0o600)
            os.chmod(place, 0o755)
            env = {**SANITIZED, **manager.env}  # a leak checker needs /proc
            with Server(program('conform'), '--chroot', place, '--user', 'nobody',
                        env=env) as server:
                manager.wait_for('READY=1')
                server.signal(signal.SIGTERM)
                manager.wait_for('STOPPING=1')
                server.wait(0)

    def test_a_manager_that_is_too_busy_hears_of_the_start_later(self):
        with Manager() as manager:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                other.connect(manager.env['NOTIFY_SOCKET'])
                with self.assertRaises(BlockingIOError):
                    for _ in range(100000):
                        other.send(b'X=1')
            with Server(program('conform'), env=manager.env) as server:
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
                manager.wait_for('READY=1')

    def test_notify_socket_that_is_none(self):
        for found in ('relative', 'vsock:2:1', '@', '/' + 'x' * 200):
            with Server(program('conform'), env={'NOTIFY_SOCKET': found}) as server:
                server.wait_for_log(r"NOTIFY_SOCKET: found '" + found[:100])
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')

    def test_watchdog_variables_that_are_no_numbers(self):
        with Manager() as manager:
            env = {**manager.env, 'WATCHDOG_USEC': '-5'}
            with Server(program('conform'), env=env) as server:
                server.wait_for_log('WATCHDOG_USEC and WATCHDOG_PID: found no numbers')
                manager.wait_for('READY=1')

    def test_an_idle_server_without_a_watchdog_is_not_woken(self):
        def switches():
            with open(f'/proc/{server.pid}/status', encoding='ascii') as file:
                return [line for line in file if 'voluntary' in line]
        with Manager() as manager, Server(program('conform'), '--mode', 'fork',
                                          env=manager.env) as server:
            manager.wait_for('READY=1')
            before = server.settled(switches)
            self.assertTrue(manager.silent_for(1))
            self.assertEqual(switches(), before)


class Workers(unittest.TestCase):
    @unittest.skipUnless(os.geteuid() == 0, 'needs a user that nobody else is')
    def test_ready_waits_for_the_last_worker(self):
        """The second cannot start: nothing is said, and the first one serves all the same."""
        one_worker = functools.partial(resource.setrlimit, resource.RLIMIT_NPROC, (2, 100))
        user = str(LONELY)
        with alone(), Manager() as manager:
            with Server(program('conform'), '--childs', '2', '--user', user, '--group', user,
                        env=manager.env, preexec_fn=one_worker) as server:
                server.wait_for_log(r'cannot start worker 2: ')
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
                self.assertTrue(manager.silent_for(0.5))
                allowed = run('prlimit', f'--pid={server.pid}', '--nproc=100:100', user=LONELY,
                              group=LONELY, extra_groups=[])
                self.assertEqual((allowed.returncode, allowed.stderr), (0, ''))
                ready = manager.wait_for('READY=1')
                self.assertEqual(ready['sender'], server.pid)
                self.assertEqual(len(server.workers()), 2)

    def test_ready_is_said_once_however_often_workers_are_replaced(self):
        with Manager() as manager:
            with Server(program('conform'), '--childs', '2', env=manager.env) as server:
                manager.wait_for('READY=1')
                workers = set(server.workers())
                os.kill(min(workers), signal.SIGKILL)
                wait_until('it was replaced',
                           lambda: len(set(server.workers()) - workers) == 1)
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
                server.stop()
            self.assertEqual(sum('READY=1' in lines for _, lines in manager.heard), 1)


@unittest.skipUnless(shutil.which('systemd-socket-activate'), 'no systemd-socket-activate here')
class SocketActivate(unittest.TestCase):
    """systemd's own program starts the server when the first client comes."""

    def activated(self, address, mode, *options):
        command = [shutil.which('systemd-socket-activate'), '-l', address.split(':', 1)[1],
                   '--fdname=web', program('conform'), *STANDARD, '--mode', mode, *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def reached(address):
        """A connection; None: nobody listens there yet."""
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return connect(address)
        return None

    def test_a_real_client(self):
        for mode in ('single', 'fork', 'threads', 'fibers'):
            for options in ([], ['--bind=fd:web']):
                with tempfile.TemporaryDirectory() as place:
                    address = f'unix:{place}/s'
                    process = self.activated(address, mode, *options)
                    for _ in range(2):
                        with wait_until('it listens', lambda: self.reached(address)) as client:
                            client.sendall(b'echo hello\n')
                            self.assertEqual(client.recv(100), b'hello\n')
                    process.terminate()
                    log = process.stderr.read().decode()
                    self.assertEqual(process.wait(15), 0, log)
                    self.assertIn(f'listening on fd:3 (unix:{place}/s)', log)


if __name__ == '__main__':
    unittest.main()
