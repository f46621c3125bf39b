#!/usr/bin/env python3
"""test_limits.py - security rule 13 shown from outside, in every mode: how many may come from one
address or network, how fast, and that nobody else notices. The table behind it:
tests/unit/test_limits*.c.

Clients come from 127.0.0.2 and on; those of IPv6 from a network namespace of the test's own.
"""
import concurrent.futures
import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from ground import needs_root
from modes import InEveryMode, every_mode
from netd import PATIENCE, Failure, status, wait_until

SANITIZED = os.environ.get('SANITIZED')
CLONE_NEWNET = 0x40000000
OFFENDER, FRIEND = '127.0.0.2', '127.0.0.3'
ONCE_AN_HOUR = ('--rate-per-address', '1/h', '--rate-burst', '1')


class Limited(InEveryMode):
    """What the tests below say to a server."""

    @property
    def places(self):
        """A limit that can be reached: a worker of mode single serves one at a time."""
        return 1 if self.serial else 3

    def hold(self, stack, server, source):
        """A connection that is served, and stays."""
        client = stack.enter_context(server.client(source=source))
        client.send(b'echo in\n').expect(b'in\n')
        return client

    def assert_refused(self, server, source):
        """Closed without a word, though we said something."""
        with server.client(source=source) as client:
            got = b''
            with contextlib.suppress(ConnectionError):
                got = client.read_all()
            self.assertEqual(got, b'')

    def served(self, server, source):
        """Is somebody who comes now served?"""
        with contextlib.suppress(ConnectionError, Failure), server.client(source=source) as client:
            client.send(b'echo in\n').expect(b'in\n')
            client.shutdown().expect_end()
            return True
        return False

    def counters(self, server, source='127.0.0.1'):
        with server.client(source=source) as client:
            client.send(b'limited\n')
            words = client.line().decode().split()
            client.shutdown().expect_end()
        return {name: int(value) for name, value in (word.split('=') for word in words)}

    def not_for_one_at_a_time(self):
        if self.mode == 'single':
            self.skipTest('there is never more than one')


class AtATime(Limited):
    def test_rule13_an_address_is_held_to_its_limit(self):
        self.not_for_one_at_a_time()
        with self.server('--max-per-address', str(self.places)) as server, \
                contextlib.ExitStack() as stack:
            held = [self.hold(stack, server, OFFENDER) for _ in range(self.places)]
            for _ in range(5):
                self.assert_refused(server, OFFENDER)
            self.assertTrue(self.served(server, FRIEND))
            held[0].shutdown().expect_end()
            self.hold(stack, server, OFFENDER)
            self.assert_refused(server, OFFENDER)
            self.assertEqual(self.counters(server)['limited'], 6)

    def test_rule13_the_place_is_free_when_the_client_sees_the_end(self):
        with self.server('--max-per-address', '1', '--max-per-prefix', '1') as server:
            for _ in range(100):
                self.assertEqual(server.talk(b'echo again\n'), b'again\n')
            self.assertEqual(self.counters(server)['limited'], 0)

    def test_rule13_a_network_is_held_to_its_limit(self):
        self.not_for_one_at_a_time()
        with self.server('--max-per-prefix', str(self.places), '--prefix-ipv4', '24') as server, \
                contextlib.ExitStack() as stack:
            held = [self.hold(stack, server, f'127.0.1.{i}') for i in range(self.places)]
            self.assert_refused(server, '127.0.1.77')
            self.assert_refused(server, '127.0.1.255')
            self.assertTrue(self.served(server, '127.0.2.1'))
            held[0].shutdown().expect_end()
            self.hold(stack, server, '127.0.1.77')

    def test_rule13_prefixes_are_as_long_as_asked_for(self):
        self.not_for_one_at_a_time()
        with self.server('--max-per-prefix', '1', '--prefix-ipv4', '31') as server, \
                contextlib.ExitStack() as stack:
            self.hold(stack, server, '127.0.1.6')
            self.assert_refused(server, '127.0.1.7')
            self.assertTrue(self.served(server, '127.0.1.5'))
            self.assertTrue(self.served(server, '127.0.1.8'))

    def test_rule13_one_at_a_time_refuses_nobody(self):
        """In mode single the next one waits, whatever the limit."""
        if self.mode != 'single':
            self.skipTest('more are served at a time')
        with self.server('--max-per-address', '1') as server, contextlib.ExitStack() as stack:
            first = self.hold(stack, server, OFFENDER)
            second = stack.enter_context(server.client(source=OFFENDER))
            first.shutdown().expect_end()
            second.send(b'echo in\n').expect(b'in\n')

    def test_rule13_unix_sockets_have_no_sources(self):
        self.not_for_one_at_a_time()
        with tempfile.TemporaryDirectory(prefix='netd-limits-') as folder:
            path = os.path.join(folder, 'socket')
            with self.server('--localpath', path, '--max-per-address', '1', '--max-per-prefix', '1',
                             *ONCE_AN_HOUR) as server, contextlib.ExitStack() as stack:
                held = 2 if self.serial else 5
                for _ in range(held):
                    client = stack.enter_context(server.client())
                    client.send(b'echo in\n').expect(b'in\n')

    def test_rule13_connections_that_wait_to_be_started_are_given_back(self):
        """A hard stop closes them; whatever they hold must not be looked for afterwards."""
        with self.server('--max-per-address', '3', '--max-connections', '1') as server, \
                contextlib.ExitStack() as stack:
            self.hold(stack, server, OFFENDER)
            for _ in range(2):
                stack.enter_context(server.client(source=OFFENDER))
            server.signal(signal.SIGINT)


class Ends(Limited):
    """However a handler ends, its place is free."""

    def after(self, server, last_words):
        with server.client(source=OFFENDER) as client:
            client.send(b'echo in\n').expect(b'in\n')
            self.assertFalse(self.served(server, OFFENDER) and not self.serial)
            client.send(last_words).expect_gone()
        wait_until(f'a place after {last_words}', lambda: self.served(server, OFFENDER))

    def test_rule13_a_handler_that_fails_gives_its_place_back(self):
        self.not_for_one_at_a_time()
        with self.server('--max-per-address', '1') as server:
            for words in (b'fail 5\n', b'fatal oh\n', b'bye\n', b'defer ab\nbye\n'):
                self.after(server, words)

    def test_rule13_a_handler_that_crashes_gives_its_place_back(self):
        if not self.forks:
            self.skipTest('a crash ends the worker')
        with self.server('--max-per-address', '1') as server:
            for words in (b'crash\n', b'exit 0\n', b'exit 3\n'):
                self.after(server, words)
            with server.client(source=OFFENDER) as client:
                client.send(b'pid\n')
                os.kill(int(client.line().split()[0]), signal.SIGKILL)
                client.expect_gone()
            wait_until('a place after SIGKILL', lambda: self.served(server, OFFENDER))

    def test_rule13_a_dead_worker_holds_no_place(self):
        if not self.prefork:
            self.skipTest('no workers')
        with self.server('--max-per-address', str(self.places)) as server, \
                contextlib.ExitStack() as stack:
            for _ in range(self.places):
                self.hold(stack, server, OFFENDER)
            self.assert_refused(server, OFFENDER)
            for pid in server.workers():
                os.kill(pid, signal.SIGKILL)
            server.wait_for_log(r'died from signal 9', count=2)
            wait_until('a place', lambda: self.served(server, OFFENDER))
            stack.close()
            self.assertTrue(self.served(server, FRIEND))


class Rates(Limited):
    def test_rule13_new_connections_of_an_address_have_a_rate(self):
        with self.server('--rate-per-address', '1/h', '--rate-burst', '4') as server:
            for _ in range(4):
                self.assertTrue(self.served(server, OFFENDER))
            for _ in range(10):
                self.assert_refused(server, OFFENDER)
            self.assertTrue(self.served(server, FRIEND))
            self.assertEqual(self.counters(server), {'limited': 10, 'untracked': 0, 'accepted': 6})

    def test_rule13_a_rate_comes_back(self):
        with self.server('--rate-per-address', '10/s', '--rate-burst', '1') as server:
            self.assertTrue(self.served(server, OFFENDER))
            wait_until('another one', lambda: self.served(server, OFFENDER))

    def test_rule13_the_accept_rate_makes_others_wait_and_refuses_nobody(self):
        clients, burst, rate = 8, 2, 20
        with self.server('--accept-rate', f'{rate}/s', '--accept-burst', str(burst)) as server, \
                contextlib.ExitStack() as stack:
            begin = time.monotonic()
            waiting = [stack.enter_context(server.client()) for _ in range(clients)]
            for client in waiting:
                client.send(b'echo at last\n').shutdown()
            for client in waiting:
                client.expect(b'at last\n').expect_end()
            self.assertGreaterEqual(time.monotonic() - begin, (clients - burst) / rate)
            server.wait_for_log(r'--accept-rate is reached: new connections wait \(1 since')
            self.assertEqual(self.counters(server)['limited'], 0)

    def test_rule13_offenders_take_no_turn_and_those_who_wait_are_served_in_the_end(self):
        with self.server('--accept-rate', '1/h', '--accept-burst', '2', *ONCE_AN_HOUR) as server:
            self.assertTrue(self.served(server, OFFENDER))
            for _ in range(50):
                self.assert_refused(server, OFFENDER)
            self.assertTrue(self.served(server, FRIEND))
            with server.client(source='127.0.0.4') as client:
                client.send(b'echo at last\n').shutdown()
                server.wait_for_log('--accept-rate is reached')
                client.sock.settimeout(0.2)
                with self.assertRaises(socket.timeout):
                    client.sock.recv(1)
                client.sock.settimeout(PATIENCE)
                server.signal(signal.SIGTERM)  # who has been let in is served
                client.expect(b'at last\n').expect_end()

    def test_rule13_waiting_for_a_turn_costs_no_time(self):
        with self.server('--accept-rate', '1/h', '--accept-burst', '1') as server, \
                server.client() as first, server.client() as second:
            first.send(b'echo in\n').expect(b'in\n')
            second.send(b'echo in\n')
            if self.mode == 'single':  # it looks for others when it has ended
                first.shutdown().expect_end()
            server.wait_for_log('--accept-rate is reached')
            spent = self.cpu(server)
            time.sleep(0.5)
            self.assertLess(self.cpu(server) - spent, 0.25)

    @staticmethod
    def cpu(server):
        total = 0
        for pid in server.pids():
            with open(f'/proc/{pid}/stat', 'rb') as file:
                fields = file.read().rsplit(b')', 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf('SC_CLK_TCK')


class Floods(Limited):
    def flood(self, server, count):
        """So many connections of the offender's, a few dozen at a time, each to its end."""
        at_a_time = 32
        for _ in range(0, count, at_a_time):
            socks = [server.socket(source=OFFENDER) for _ in range(at_a_time)]
            for sock in socks:
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(sock.recv(1), b'')
                sock.close()

    def memory(self, server):
        """Resident kB over all processes, without what they share."""
        return sum(int(status(pid)['RssAnon'].split()[0]) for pid in server.pids())

    def test_rule13_a_flood_leaves_others_served(self):
        with self.server(*ONCE_AN_HOUR) as server:
            self.assertTrue(self.served(server, OFFENDER))
            stop = threading.Event()

            def go_on():
                while not stop.is_set():
                    self.flood(server, 64)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                floods = [pool.submit(go_on) for _ in range(2)]
                try:
                    server.wait_for_log(f'refused: too many new connections from {OFFENDER} ')
                    for i in range(20):
                        self.assertTrue(self.served(server, f'127.0.1.{i}'))
                finally:
                    stop.set()
                for flood in floods:
                    flood.result()
            counters = self.counters(server)
            self.assertEqual(counters['accepted'], 22)
            self.assertGreaterEqual(counters['limited'], 64)

    def test_rule13_refused_connections_leave_nothing_behind(self):
        count = 20480
        with self.server(*ONCE_AN_HOUR) as server:
            self.assertTrue(self.served(server, OFFENDER))
            self.flood(server, 1024)
            before = server.settled(server.fd_count), self.memory(server)
            self.flood(server, count)
            after = server.settled(server.fd_count), self.memory(server)
            self.assertEqual(after[0], before[0])
            if not SANITIZED:  # those keep freed memory for a while
                self.assertLess(after[1] - before[1], 512)
            self.assertEqual(self.counters(server),
                             {'limited': 1024 + count, 'untracked': 0, 'accepted': 2})

    def test_rule13_the_log_has_a_line_in_five_seconds_with_the_address(self):
        count = 320
        with self.server(*ONCE_AN_HOUR) as server:
            self.assertTrue(self.served(server, OFFENDER))
            begin = time.monotonic()
            self.flood(server, 32)
            server.wait_for_log(r'warning, \d+\S*, refused: too many new connections from '
                                rf'{OFFENDER} \(--rate-per-address; 1 since the last report\)$')
            self.flood(server, count - 32)
            lines = server.log_count('refused: too many')
            self.assertLessEqual(lines, 1 + (time.monotonic() - begin) / 5)
            self.assertEqual(self.counters(server)['limited'], count)


@needs_root
class OverIPv6(Limited):
    """Loopback has one address of IPv6; a namespace of our own has as many as we like."""

    def in_namespace(self, test):
        """Run test() on a thread whose network is its own, and of whatever it starts."""
        def enter():
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(CLONE_NEWNET) < 0:
                self.skipTest(f'no network namespace: {os.strerror(ctypes.get_errno())}')
            subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
            for address in ('fd00::1', 'fd00::2', 'fd00::ffff:0:0:1', 'fd00:0:0:1::1'):
                subprocess.run(['ip', '-6', 'addr', 'add', f'{address}/128', 'dev', 'lo', 'nodad'],
                               check=True)
            test()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(enter).result()

    def test_rule13_a_64_is_one_network(self):
        self.not_for_one_at_a_time()

        def test():
            with self.server('--max-per-prefix', '1', localaddr='fd00::1') as server, \
                    contextlib.ExitStack() as stack:
                held = self.hold(stack, server, 'fd00::2')
                self.assert_refused(server, 'fd00::1')
                self.assert_refused(server, 'fd00::ffff:0:0:1')
                self.assertTrue(self.served(server, 'fd00:0:0:1::1'))
                held.shutdown().expect_end()
                self.hold(stack, server, 'fd00::ffff:0:0:1')
        self.in_namespace(test)

    def test_rule13_an_address_is_one_of_a_64(self):
        self.not_for_one_at_a_time()

        def test():
            with self.server('--max-per-address', '1', localaddr='fd00::1') as server, \
                    contextlib.ExitStack() as stack:
                self.hold(stack, server, 'fd00::2')
                self.assert_refused(server, 'fd00::2')
                self.assertTrue(self.served(server, 'fd00::1'))
        self.in_namespace(test)

    def test_rule13_a_64_has_one_rate(self):
        def test():
            with self.server(*ONCE_AN_HOUR, localaddr='fd00::1') as server:
                self.assertTrue(self.served(server, 'fd00::2'))
                self.assert_refused(server, 'fd00::1')
                self.assertTrue(self.served(server, 'fd00:0:0:1::1'))
                line = server.wait_for_log('refused: too many new connections from').string
                self.assertTrue(re.search(r'from fd00::1 \(', line), line)
        self.in_namespace(test)


load_tests = every_mode(AtATime, Ends, Rates, Floods, OverIPv6)

if __name__ == '__main__':
    unittest.main()
