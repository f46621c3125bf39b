"""test_logs.py - a log that cannot be written: the service goes on, and what was lost is told."""
import contextlib
import errno
import os
import re
import shlex
import signal
import socket
import time
import unittest

from faults import InModes, cpu_share, folder, in_modes, own_mounts, start_quietly
from inject import FOR_EVER, Faults
from modes import MODES
from netd import Server, fds, program

LOST = re.compile(r'warning, .*?(\d+) log lines were lost')


def lines_lost(text):
    """How many, by the server's own reports."""
    return sum(int(number) for number in LOST.findall(text))


def count_words(text):
    """How many lines of say() are there as a whole."""
    return len(re.findall(r'(?m)^\w{3} \w{3} .* (?:notice|info), [\d.]+, .*x{200}$', text))


def say(server, count, text=b'word'):
    """Have the server log this many lines twice over: a notice and an info."""
    with server.client() as client:
        for _ in range(count):
            client.send(b'log %s\n' % text).expect(b'ok 0\n')


class Disks(InModes):
    def test_a_full_disk_from_the_start(self):
        with folder() as place:
            path = f'{place}/socket'
            server = self.server('--logfile', '/dev/full', '--localpath', path)
            with start_quietly(server, path):
                say(server, 5)
                with server.client() as client:
                    drops = int(client.send(b'stats\n').expect_line(r'.*log_drops=(\d+)').group(1))
                self.assertGreaterEqual(drops, 10)
                self.assertLess(cpu_share(server, 0.3), 0.05)

    def test_what_could_not_be_written_is_counted_and_told(self):
        with Faults() as faults, self.server(**faults.into()) as server, server.client() as client:
            client.send(b'log before\n').expect(b'ok 0\n')
            server.wait_for_log('server before')
            if self.basic == 'fibers':  # each worker says how it waits
                server.wait_for_log('fibers wait by', count=self.accepting)
            faults.arm('log', errno.ENOSPC, FOR_EVER)
            for _ in range(50):
                client.send(b'log lost\n').expect(b'ok 0\n')
            faults.disarm()
            client.send(b'log after\n').expect(b'ok 0\n')
            server.wait_for_log('warning, .*100 log lines were lost')
            server.wait_for_log('server after')
            self.assertEqual(server.log_count('lost$'), 1)  # that line itself
            client.send(b'stats\n').expect_line('.*log_drops=100')


class SmallDisk(InModes):
    modes = ('threads', 'fork')

    def test_a_disk_that_fills_up_and_gets_room_again(self):
        with folder() as place:
            path, disk = f'{place}/socket', f'{place}/disk'
            os.mkdir(disk)
            server = self.server(
                '--logfile', f'{disk}/log', '--localpath', path,
                wrapper=own_mounts(f'mount -t tmpfs -o size=64k none {shlex.quote(disk)}'))
            with start_quietly(server, path), server.client() as client:
                inside = f'/proc/{server.pid}/root{disk}/log'

                def words(count):
                    for _ in range(count):
                        client.send(b'log %s\n' % (b'x' * 200)).expect(b'ok 0\n')
                words(300)
                first = self.read(inside)
                os.truncate(inside, 0)
                words(3)
                then = self.read(inside)
                self.assertGreater(lines_lost(then), 100)
                self.assertEqual(count_words(first + then) + lines_lost(first + then), 606)
                words(3)
                self.assertEqual(count_words(self.read(inside)), 12)

    @staticmethod
    def read(path):
        with open(path, encoding='utf-8') as file:
            return file.read()


DEV = '''mkdir {0}/dev; mount -t tmpfs none {0}/dev
for name in null full; do touch {0}/dev/$name; mount --bind /dev/$name {0}/dev/$name; done
{1}
mount --rbind {0}/dev /dev'''


class Syslog(InModes):
    """The default: /dev/log, in a /dev of the server's own."""
    modes = ('single', 'threads', 'childs-fork')

    def start(self, place, daemon):
        """daemon: there is a socket place/log, and it becomes /dev/log."""
        more = 'touch {0}/dev/log; mount --bind {0}/log {0}/dev/log' if daemon else ''
        script = DEV.format(shlex.quote(place), more.format(shlex.quote(place)))
        server = Server(program('conform'), *MODES[self.mode], '--localpath', f'{place}/socket',
                        '--timeout', '300', standard=False, wrapper=own_mounts(script))
        return start_quietly(server, f'{place}/socket')

    def test_a_syslog_daemon_that_stands_still(self):
        with folder() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(f'{place}/log')
            daemon.settimeout(5)
            with self.start(place, True) as server:
                begin = time.monotonic()
                say(server, 500)
                self.assertLess(time.monotonic() - begin, 5)
                with server.client() as client:
                    drops = int(client.send(b'stats\n').expect_line(r'.*log_drops=(\d+)').group(1))
                    self.assertGreater(drops, 500)  # the socket holds a few hundred at most
                    daemon.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            self.assertRegex(daemon.recv(9000), rb'^<\d+>... .. ..:..:.. conform\[')
                    daemon.settimeout(5)
                say(server, 1, b'awake')
                got = b''
                while b'server awake' not in got:
                    got += daemon.recv(9000)
                if not self.forks:  # each process tells its own, while it lives
                    self.assertIn(b'%d log lines were lost' % drops, got)

    def test_a_syslog_daemon_that_ends_and_comes_back(self):
        with folder() as place:
            daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            daemon.bind(f'{place}/log')
            with self.start(place, True) as server:
                daemon.close()
                say(server, 5)
                self.assertEqual(server.talk(b'echo on\n'), b'on\n')

    def test_no_syslog_at_all(self):
        with folder() as place, self.start(place, False) as server:
            server.wait_for_log('warning, .*no syslog at /dev/log: logging to standard error')
            say(server, 1)
            server.wait_for_log('notice, .*: word')


class StandardError(InModes):
    modes = ('single', 'fork', 'threads', 'childs-threads')

    def with_fifo(self, place):
        os.mkfifo(f'{place}/fifo')
        reader = os.open(f'{place}/fifo', os.O_RDONLY | os.O_NONBLOCK)
        server = self.server('--localpath', f'{place}/socket',
                             wrapper=['sh', '-c', f'exec "$@" 2>{place}/fifo', 'sh'])
        return reader, start_quietly(server, f'{place}/socket')

    def test_a_reader_that_went_away(self):
        with folder() as place:
            reader, server = self.with_fifo(place)
            with server:
                os.close(reader)
                say(server, 5)
                self.assertEqual(server.talk(b'echo on\n'), b'on\n')

    def test_a_reader_that_stands_still(self):
        with folder() as place:
            reader, server = self.with_fifo(place)
            with server, server.client() as client, open(reader, 'rb', buffering=0) as stream:
                for _ in range(1000):  # far more than a pipe holds
                    client.send(b'log %s\n' % (b'x' * 200)).expect(b'ok 0\n')
                text = b''
                while b'server awake' not in text:
                    while data := stream.read(65536):
                        text += data
                    client.send(b'log awake\n').expect(b'ok 0\n')
                text = text.decode()
                self.assertGreater(lines_lost(text), 1000)
                self.assertEqual(count_words(text) + lines_lost(text), 2000)


class Closed(InModes):
    """Started without standard input, output or error."""

    def test_no_socket_takes_their_place(self):
        for closed in ('<&-', '>&-', '2>&-', '<&- >&- 2>&-'):
            with self.subTest(closed), folder() as place:
                log, path = f'{place}/log', f'{place}/socket'
                server = self.server('--logfile', log, '--localpath', path,
                                     '--pidfile', f'{place}/pid',
                                     wrapper=['sh', '-c', f'exec "$@" {closed}', 'sh'])
                with start_quietly(server, path), server.client() as client:
                    client.send(b'print to nobody\necho on\n').expect(b'ok 0\non\n')
                    for pid in [server.pid, *server.workers()]:
                        with contextlib.suppress(OSError):  # a handler that ends
                            for number, name in fds(pid).items():
                                if number < 3:
                                    self.assertNotRegex(name, 'socket|netd-fault', number)
                    self.assertLessEqual({0, 1, 2}, set(fds(server.pid)))
                with open(log, encoding='utf-8') as file:
                    self.assertIn('conform terminated', file.read())

    def test_a_log_on_a_standard_error_that_is_closed(self):
        with folder() as place:
            server = self.server('--localpath', f'{place}/socket',
                                 wrapper=['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'])
            with start_quietly(server, f'{place}/socket'):
                say(server, 5)
                server.stop(signal.SIGTERM)


load_tests = in_modes(Disks, SmallDisk, Syslog, StandardError, Closed)

if __name__ == '__main__':
    unittest.main()
