#!/usr/bin/env python3
"""test_deadlines.py - limits of time that the administrator sets, for handlers that know nothing of
them (security rule 14): first-byte-timeout, idle-timeout, total-timeout, in every mode.

The server is conform, which does what its client says. A limit has worked when the client's
connection is gone and the log names the limit; its number is a lower bound only, so that a slow
machine makes a test slow, not wrong.
"""
import contextlib
import functools
import os
import re
import socket
import tempfile
import time
import unittest

from modes import MODES, InEveryMode, chosen, every_mode
from netd import Failure, Server, program, wait_until

GENERIC = os.environ.get('GENERIC') == '1'  # the system's own counts are not asked for
PEER = r'127\.0\.0\.1:\d+'
FIRST = r'\): first-byte-timeout: no byte within '
IDLE = r'\): idle-timeout: nothing moved for '
TOTAL = r'\): total-timeout: still open after '
ANY = r'\): [a-z-]+-timeout: '
TRIES = 5  # of a test whose client has to be quick, on a machine that may be slow
QUICK = 0.2  # seconds: so much shorter than the limit is what it does
GRAIN = 0.02  # seconds: the server counts in milliseconds, the system in ticks


def due(limit, since=None):
    """Until when a limit must not end a connection that is made from now on, or that was heard of
    last then. The server's clock starts later than ours."""
    return (time.monotonic() if since is None else since) + limit - GRAIN


class TooSlow(Exception):
    """The client was: what happened says nothing of the server."""


def quick(server, speak):
    """A client that has spoken in time. If not, a limit may have ended it before."""
    began = time.monotonic()
    client = server.client()
    try:
        speak(client)
    except (Failure, OSError):
        server.wait_for_log(ANY)
    if time.monotonic() - began > QUICK:
        client.close()
        raise TooSlow
    return client


def say_x(client):
    client.send(b'echo x\n').expect(b'x\n')


def tried_again(test):
    """A test with quick() in it."""
    @functools.wraps(test)
    def tries(self):
        for _ in range(TRIES):
            with contextlib.suppress(TooSlow):
                return test(self)
        return self.skipTest('this machine is too busy for a client that is quick')
    return tries


def stats(client):
    """What the server has counted."""
    client.send(b'stats\n')
    line = client.line().decode()
    return {name: int(value) for name, value in re.findall(r'(\w+)=(\d+)', line)}


class Limits(InEveryMode):
    def ends(self, server, client, words, not_before=0):
        """The connection goes, not before its time, with this line in the log and no other."""
        client.expect_gone()
        self.assertGreaterEqual(time.monotonic(), not_before)
        line = server.wait_for_log(words).string
        self.assertRegex(line, PEER + words)
        self.assertEqual(server.log_count(ANY), 1)
        self.assertEqual(server.log_count('ended in error|set-up failed'), 0)

    def has_no_failure(self, server):
        """An end by a limit is not a failure of the service."""
        with server.client() as client:
            self.assertEqual(stats(client)['failed'], 0)


class FirstByte(Limits):
    def sleepy(self, *limits):
        """Its handlers sleep before they read for the first time."""
        return self.server(*limits, env={'CONFORM_OPEN_SLEEPS': '700'})

    def test_rule14_a_client_that_sends_nothing_is_ended(self):
        with self.server('--first-byte-timeout', '0.3') as server:
            at = due(0.3)
            with server.client() as client:
                self.ends(server, client, FIRST + r'0\.3 s', at)
            self.has_no_failure(server)

    @tried_again
    def test_rule14_one_byte_is_enough(self):
        with self.server('--first-byte-timeout', '0.3') as server:
            with quick(server, lambda client: client.send(b'e')) as client:
                time.sleep(0.7)
                client.send(b'cho x\n').expect(b'x\n')
            self.assertEqual(server.log_count(ANY), 0)

    @tried_again
    def test_rule14_a_byte_in_time_counts_though_it_is_read_late(self):
        with self.sleepy('--first-byte-timeout', '0.3') as server:
            with quick(server, lambda client: client.send(b'echo x\n')) as client:
                client.expect(b'x\n')
            self.assertEqual(server.log_count(ANY), 0)

    @tried_again
    def test_rule14_a_byte_in_time_counts_wherever_it_lies(self):
        """A ring may have taken it out of the socket, for a handler who has waited before."""
        with tempfile.TemporaryDirectory(prefix='netd-first-') as folder, \
                self.server('--localpath', os.path.join(folder, 'socket'), '--first-byte-timeout',
                            '0.3', env={'CONFORM_OPEN_SLEEPS': '700', 'CONFORM_OPEN_LOOKS': '1'}) \
                as server:
            def speak(client):
                client.expect(b'nothing\n').send(b'echo x\n')
            with quick(server, speak) as client:
                client.expect(b'x\n')
            self.assertEqual(server.log_count(ANY), 0)

    def test_rule14_the_time_runs_while_the_handler_does_something_else(self):
        with self.sleepy('--first-byte-timeout', '0.3') as server:
            at = due(0.7)  # it sleeps so long
            with server.client() as client:
                self.ends(server, client, FIRST, at)

    @tried_again
    def test_rule14_an_end_without_a_byte_is_an_end(self):
        with self.sleepy('--first-byte-timeout', '0.3') as server:
            with quick(server, lambda client: client.shutdown()) as client:
                client.expect_end()
            self.assertEqual(server.log_count(ANY), 0)


class Idle(Limits):
    @tried_again
    def test_rule14_a_client_that_falls_silent_is_ended(self):
        with self.server('--idle-timeout', '0.4') as server:
            at = due(0.4)
            with quick(server, say_x) as client:
                self.ends(server, client, IDLE + r'0\.4 s', at)
            self.has_no_failure(server)

    @tried_again
    def test_rule14_half_a_line_is_silence_as_well(self):
        with self.server('--idle-timeout', '0.4') as server:
            def speak(client):
                client.send(b'echo x\nech').expect(b'x\n')
            at = due(0.4)
            with quick(server, speak) as client:
                self.ends(server, client, IDLE, at)

    def test_rule14_a_client_that_never_reads_is_ended(self):
        with self.server('--idle-timeout', '0.5') as server, server.client() as client:
            client.send(b'big 100000000\n')
            server.wait_for_log(IDLE)
            self.ends(server, client, IDLE)

    def test_rule14_a_file_for_a_client_that_never_reads(self):
        with tempfile.NamedTemporaryFile() as file, self.server('--idle-timeout', '0.5') as server:
            os.ftruncate(file.fileno(), 100_000_000)
            with server.client() as client:
                client.send(f'sendfile {file.name} 0 -1\n'.encode())
                server.wait_for_log(IDLE)
                self.ends(server, client, IDLE)

    def test_rule14_a_half_closed_client_that_never_reads(self):
        with self.server('--idle-timeout', '0.5') as server, server.client() as client:
            client.send(b'big 100000000\n').shutdown()
            server.wait_for_log(IDLE)
            self.ends(server, client, IDLE)

    def test_rule14_the_end_of_input_is_an_end(self):
        with self.server('--idle-timeout', '5', '--total-timeout', '9') as server:
            with server.client() as client:
                client.send(b'echo x\n').shutdown().expect(b'x\n').expect_end()
            self.assertEqual(server.log_count(ANY), 0)

    @unittest.skipIf(GENERIC, 'nobody counts what moves')
    def test_rule14_a_slow_reader_is_not_idle(self):
        """Its answer is in the system's queue, and nothing of it passes the handler any more: what
        the client takes out counts all the same."""
        for _ in range(TRIES):
            with self.server('--idle-timeout', '1') as server, self.narrow(server) as client:
                client.send(b'big 400000\n')
                began, longest, got = time.monotonic(), 0, 0
                while got < 400000:
                    at = time.monotonic()
                    time.sleep(0.02)
                    got += len(client.read(min(4000, 400000 - got)))
                    longest = max(longest, time.monotonic() - at)
                took = time.monotonic() - began
                if longest > 0.5:
                    continue
                self.assertGreater(took, 1.5)
                client.send(b'echo x\n').expect(b'x\n')
                self.assertEqual(server.log_count(ANY), 0)
                return
        self.skipTest('this machine is too busy for a client that reads all the time')

    @staticmethod
    def narrow(server):
        """A client with little room for what it does not read yet."""
        client = server.client()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return client

    def test_rule14_ticks_of_the_handler_do_not_keep_it_alive(self):
        with self.server('--idle-timeout', '0.5') as server:
            at = due(0.5)
            with server.client() as client:
                client.send(b'tick 60\n')
                self.ends(server, client, IDLE, at)
                self.assertIn('ticks ended: read: idle-timeout: nothing moved for 0.5 s',
                              server.wait_for_log('ticks ended').string)

    @tried_again
    def test_rule14_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'socket')
            with self.server('--localpath', path, '--idle-timeout', '0.4') as server:
                with quick(server, say_x) as client:
                    client.expect_gone()
                    server.wait_for_log(IDLE)
                with server.client() as client:
                    client.send(b'big 10000000\n')
                    server.wait_for_log(IDLE, count=2)


class Total(Limits):
    def test_rule14_slow_loris(self):
        """A byte now and then: it is never idle for long, but its time is over some day."""
        for _ in range(TRIES):
            limits = ('--first-byte-timeout', '1', '--idle-timeout', '1', '--total-timeout', '2')
            with self.server(*limits) as server, server.client() as client:
                began = last = time.monotonic()
                longest = 0
                with contextlib.suppress(OSError):
                    while not server.log_count(ANY):
                        client.send(b'x')
                        longest = max(longest, time.monotonic() - last)
                        last = time.monotonic()
                        time.sleep(0.05)
                if longest > 0.5:
                    continue
                server.wait_for_log(PEER + TOTAL + '2 s')
                self.assertGreaterEqual(time.monotonic() - began, 1.9)
                client.expect_gone()
                self.assertEqual(server.log_count(ANY), 1)
                return
        self.skipTest('this machine is too busy for a client that never stops')

    def test_rule14_a_client_that_never_stops(self):
        """Whoever keeps the handler so busy that it never waits is ended as well."""
        with self.server('--total-timeout', '0.7') as server, server.client() as client:
            with contextlib.suppress(OSError):
                client.send(b'drain\n')
                while not server.log_count(ANY):
                    client.send(bytes(65536))
            server.wait_for_log(TOTAL)
            self.assertEqual(server.log_count(ANY), 1)

    def test_rule14_a_client_that_never_stops_reading(self):
        with self.server('--total-timeout', '0.7') as server, server.client() as client:
            client.send(b'big 2000000000\n')
            with contextlib.suppress(OSError):
                while client.sock.recv(1 << 20):
                    pass
            server.wait_for_log(TOTAL)
            self.assertEqual(server.log_count(ANY), 1)

    def test_rule14_everything_fails_afterwards(self):
        for option, limit in (('--total-timeout', TOTAL), ('--idle-timeout', IDLE)):
            with self.subTest(option), self.server(option, '0.4') as server:
                with server.client() as client:
                    client.send(b'after\n')
                    server.wait_for_log('after: ETIMEDOUT ETIMEDOUT ETIMEDOUT ETIMEDOUT')
                    self.ends(server, client, limit)


class Handler(Limits):
    """What the handler sets itself: the earlier counts."""

    LIMITS = ('--first-byte-timeout', '30', '--idle-timeout', '30', '--total-timeout', '30')

    def test_rule14_an_earlier_deadline_of_the_handler(self):
        with self.server(*self.LIMITS) as server, server.client() as client:
            client.send(b'deadline 50\n').expect(b'read: the deadline passed; error ETIMEDOUT\n')
            client.send(b'timeout 50\n')
            client.expect(b'read: nothing happened for 50 ms; error ETIMEDOUT\n')
            client.send(b'echo x\n').expect(b'x\n')
            self.assertEqual(server.log_count(ANY), 0)

    def test_rule14_a_later_deadline_of_the_handler(self):
        for said in b'deadline 60000\n', b'timeout 60000\n':
            for option, limit in (('--total-timeout', TOTAL), ('--idle-timeout', IDLE)):
                with self.subTest(said + option.encode()), self.server(option, '0.5') as server:
                    at = due(0.5)
                    with server.client() as client:
                        client.send(said)
                        self.ends(server, client, limit + r'0\.5 s', at)

    def test_rule14_an_earlier_write_deadline_of_the_handler(self):
        for said in b'writedeadline 100\n', b'writetimeout 100\n':
            with self.subTest(said), self.server(*self.LIMITS) as server:
                with server.client() as client:
                    client.send(said)
                    server.wait_for_log('write ended: ETIMEDOUT')
                    self.assertEqual(server.log_count(ANY), 0)

    def test_rule14_a_later_write_deadline_of_the_handler(self):
        for said in b'writedeadline 60000\n', b'writetimeout 60000\n':
            with self.subTest(said), self.server('--idle-timeout', '0.4') as server:
                with server.client() as client:
                    client.send(said)
                    server.wait_for_log('write ended: ETIMEDOUT')
                    server.wait_for_log(IDLE)

    def test_rule14_a_dialled_connection_has_no_limits(self):
        """The administrator's limits are for clients."""
        with self.server('--idle-timeout', '1') as server:
            with socket.create_server(('127.0.0.1', 0)) as other, server.client() as client:
                client.send(f'dial tcp:127.0.0.1:{other.getsockname()[1]}\n'.encode())
                with other.accept()[0] as dialled:
                    self.assertTrue(dialled.recv(1))
                    time.sleep(1.5)
                    self.assertEqual(server.log_count(ANY), 0)
                    dialled.sendall(b'answer\n')
                    self.assertIn(b'answer', client.line())


@unittest.skipIf(GENERIC, 'nobody counts what moves')
class Foreign(Limits):
    """The socket is in the hands of /bin/cat, and the handler calls netd_watch()."""

    def foreign(self, *limits):
        return self.server(*limits, env={'CONFORM_FOREIGN': '1'})

    def test_rule14_foreign_first_byte(self):
        with self.foreign('--first-byte-timeout', '0.4') as server:
            at = due(0.4)
            with server.client() as client:
                self.ends(server, client, FIRST + r'0\.4 s', at)
            server.wait_for_log('watch: ETIMEDOUT: watch: first-byte-timeout: no byte within')
            server.wait_for_log('traffic 0 in, 0 out')

    def test_rule14_foreign_one_byte_is_enough(self):
        with self.foreign('--first-byte-timeout', '0.4') as server, server.client() as client:
            client.send(b'x').expect(b'x')
            time.sleep(0.9)
            client.send(b'y').expect(b'y').shutdown().expect_end()
            server.wait_for_log('watch: 1$')
            server.wait_for_log('traffic 2 in, 2 out')
            self.assertEqual(server.log_count(ANY), 0)

    def test_rule14_foreign_idle(self):
        for _ in range(TRIES):
            with self.foreign('--idle-timeout', '1') as server, server.client() as client:
                longest, began = 0, time.monotonic()
                with contextlib.suppress(OSError):
                    while time.monotonic() < began + 2:
                        at = time.monotonic()
                        client.send(b'x').expect(b'x')
                        time.sleep(0.1)
                        longest = max(longest, time.monotonic() - at)
                if longest > 0.5:
                    continue
                self.assertEqual(server.log_count(ANY), 0)
                self.ends(server, client, IDLE + '1 s', due(1, since=at))
                return
        self.skipTest('this machine is too busy for a client that never stops')

    def test_rule14_foreign_never_reads(self):
        with self.foreign('--idle-timeout', '0.5') as server, server.client() as client:
            client.sock.settimeout(0.1)
            with contextlib.suppress(OSError):
                while not server.log_count(IDLE):
                    with contextlib.suppress(socket.timeout):
                        client.send(bytes(65536))
            client.sock.settimeout(15)
            server.wait_for_log(PEER + IDLE)
            client.expect_gone()

    def test_rule14_foreign_total(self):
        with self.foreign('--total-timeout', '0.6') as server, server.client() as client:
            with contextlib.suppress(OSError):
                while not server.log_count(TOTAL):
                    client.send(b'x')
                    client.sock.recv(100)
            server.wait_for_log(PEER + TOTAL + r'0\.6 s')
            client.expect_gone()
            self.assertEqual(server.log_count(ANY), 1)

    def test_rule14_foreign_ends_by_itself(self):
        limits = ('--first-byte-timeout', '30', '--idle-timeout', '30', '--total-timeout', '30')
        with self.foreign(*limits) as server, server.client() as client:
            client.send(bytes(300000)).shutdown()
            self.assertEqual(len(client.read_all()), 300000)
            server.wait_for_log('watch: 1$')
            server.wait_for_log('traffic 300000 in, 300000 out')

    def test_rule14_foreign_until_the_deadline_of_the_handler(self):
        for limits in (), ('--idle-timeout', '30', '--total-timeout', '30'):
            with self.subTest(limits), self.server(*limits) as server:
                with server.client() as client:
                    client.send(b'foreign 300\n').expect_gone()
                    server.wait_for_log('watch: 0$')

    def test_rule14_foreign_on_a_unix_socket(self):
        """The system does not count there: only the total is a limit."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'socket')
            with self.foreign('--localpath', path, '--idle-timeout', '30') as server:
                with server.client() as client:
                    client.expect_gone()
                    server.wait_for_log('watch: EOPNOTSUPP: watch: .*needs a TCP socket')
                    server.wait_for_log('traffic EOPNOTSUPP')
            with self.foreign('--localpath', path, '--total-timeout', '0.4') as server:
                with server.client() as client:
                    client.expect_gone()
                    server.wait_for_log(TOTAL)


@unittest.skipIf(GENERIC, 'no stack gives its memory back')
class Compacted(unittest.TestCase):
    """Fibers that have given their memory back while they waited."""

    def test_rule14_a_compacted_connection_is_ended(self):
        for mode in (name for name in chosen() if name.startswith('fibers')):
            limits = ('--compact-after', '0.1', '--idle-timeout', '3', '--total-timeout', '60')
            with self.subTest(mode), Server(program('conform'), *MODES[mode], *limits) as server:
                with server.client() as client, server.client() as other:
                    client.send(b'echo x\n').expect(b'x\n')

                    def compacted():
                        other.send(b'fibers\n')
                        return other.expect_line(r'parked=\d+ compacted=([1-9]\d*) .*|.*')[1]
                    wait_until('the connection is compacted', compacted)
                    client.expect_gone()
                    server.wait_for_log(IDLE)


def load_tests(loader, standard, pattern):
    suite = every_mode(FirstByte, Idle, Total, Handler, Foreign)(loader, standard, pattern)
    suite.addTests(loader.loadTestsFromTestCase(Compacted))
    return suite


if __name__ == '__main__':
    unittest.main()
