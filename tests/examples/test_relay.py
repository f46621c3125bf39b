"""test_relay.py - the proxy of the examples: what one side says the other hears, ends and resets
included, and a slow side slows nobody but itself."""
import fcntl
import os
import select
import socket
import tempfile
import termios
import threading
import unittest

import netd
from modes import InEveryMode, every_mode

SMALL = 16384  # a socket buffer that is soon full


def in_background(target, *args):
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


class Relay(InEveryMode):
    program = 'relay'

    def setUp(self):
        self.backend = socket.create_server(('127.0.0.1', 0))
        self.backend.settimeout(netd.PATIENCE)
        self.addCleanup(self.backend.close)

    def relay(self, *args):
        port = self.backend.getsockname()[1]
        return self.server('--to', f'tcp:127.0.0.1:{port}', *args)

    def accept(self):
        sock, _ = self.backend.accept()
        client = netd.Client(sock)
        self.addCleanup(client.close)
        return client

    def pair(self, server):
        """Both ends of a relayed connection: the client's and the server's."""
        client = server.client()
        self.addCleanup(client.close)
        return client, self.accept()

    def ended(self, server, up, down, words='ended by both'):
        server.wait_for_log(rf'relayed {up} bytes up, {down} down: {words}')


class Talking(Relay):
    def test_both_hear_each_other(self):
        with self.relay() as server:
            left, right = self.pair(server)
            left.send(b'hello').sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            right.expect(b'hello').send(b'welcome, ')
            left.expect(b'welcome, ')
            for byte in b'one by one':
                left.send(bytes([byte]))
                right.expect(bytes([byte])).send(bytes([byte ^ 1]))
                left.expect(bytes([byte ^ 1]))
            left.close()
            right.expect_end().close()
            self.ended(server, 15, 19)

    def test_the_server_may_speak_first(self):
        with self.relay() as server:
            left, right = self.pair(server)
            right.send(b'220 ready\r\n')
            left.expect(b'220 ready\r\n')
            left.close()
            right.expect_end().close()
            self.ended(server, 0, 11)

    def test_a_client_that_has_ended_still_hears(self):
        with self.relay() as server:
            left, right = self.pair(server)
            left.send(b'question').shutdown()
            self.assertEqual(right.read_all(), b'question')
            for word in (b'a', b'long', b'answer'):
                right.send(word)
                left.expect(word)
            right.close()
            left.expect_end()
            self.ended(server, 8, 11)

    def test_a_server_that_has_ended_still_hears(self):
        with self.relay() as server:
            left, right = self.pair(server)
            right.send(b'goodbye').shutdown()
            self.assertEqual(left.read_all(), b'goodbye')
            for word in (b'but', b'listen'):
                left.send(word)
                right.expect(word)
            left.close()
            right.expect_end()
            self.ended(server, 9, 7)

    def test_an_end_comes_after_all_that_was_said(self):
        data = os.urandom(3000000)
        with self.relay() as server:
            left, right = self.pair(server)
            sender = in_background(lambda: left.send(data).shutdown())
            self.assertEqual(right.read_all(), data)
            sender.join()
            right.close()
            left.expect_end()
            self.ended(server, len(data), 0)

    def test_much_both_ways_at_once(self):
        size = 10000000
        up, down = os.urandom(size), os.urandom(size)
        heard = {}
        with self.relay() as server:
            left, right = self.pair(server)
            work = [in_background(lambda: left.send(up).shutdown()),
                    in_background(lambda: right.send(down).shutdown()),
                    in_background(lambda: heard.update(left=left.read_all())),
                    in_background(lambda: heard.update(right=right.read_all()))]
            for thread in work:
                thread.join(4 * netd.PATIENCE)
            self.assertEqual(sorted(heard), ['left', 'right'], 'heard to the end')
            self.assertTrue(heard['left'] == down and heard['right'] == up)
            self.ended(server, size, size)

    def test_many_clients_at_a_time(self):
        with self.relay() as server:
            pairs = [self.pair(server) for _ in range(1 if self.serial else 50)]
            for number, (left, right) in enumerate(pairs):
                left.send(b'%d up' % number)
                right.send(b'%d down' % number)
            for number, (left, right) in reversed(list(enumerate(pairs))):
                left.expect(b'%d down' % number).close()
                right.expect(b'%d up' % number).expect_end().close()

    def test_it_relays_to_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as backend:
            backend.bind(os.path.join(folder, 'x'))
            backend.listen()
            backend.settimeout(netd.PATIENCE)
            self.backend.close()
            self.backend = backend
            with self.server('--to', f'unix:{folder}/x') as server:
                left, right = self.pair(server)
                left.send(b'over').shutdown()
                self.assertEqual(right.read_all(), b'over')
                right.send(b'and back').close()
                self.assertEqual(left.read_all(), b'and back')
                self.ended(server, 4, 8)


class Slow(Relay):
    def stuff(self, server):
        """A pair whose client reads nothing: as much as goes in on the way to it. Returns both ends
        and what was said to the client."""
        left, right = socket.socket(), None
        left.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        left.connect(('127.0.0.1', server.port))
        left, right = netd.Client(left), self.accept()
        self.addCleanup(left.close)
        right.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        said = 0
        right.sock.settimeout(0.5)  # nothing moves for so long: full
        try:
            while True:
                said += right.sock.send(b'x' * 65536)
        except socket.timeout:
            right.sock.settimeout(netd.PATIENCE)
        return left, right, said

    def test_a_slow_side_does_not_stop_the_other_way(self):
        data = os.urandom(5000000)
        with self.relay() as server:
            left, right, said = self.stuff(server)
            sender = in_background(lambda: left.send(data).shutdown())
            self.assertTrue(right.read_all() == data)
            sender.join()
            right.shutdown()
            self.assertEqual(left.read_all(), b'x' * said)
            self.ended(server, len(data), said)

    def test_a_slow_client_stops_no_other(self):
        if self.serial:
            self.skipTest('one client at a time')
        with self.relay() as server:
            slow = self.stuff(server)
            left, right = self.pair(server)
            left.send(b'quick')
            right.expect(b'quick').close()
            left.expect_end().close()
            slow[1].close()
            self.assertEqual(slow[0].read_all(), b'x' * slow[2])
            slow[0].close()

    def test_a_wait_costs_no_time(self):
        """The server has ended, and the relay has all it said, but the client does not read on; the
        other way is closed as well. Nothing to do, though the server's socket has hung up."""
        with self.relay() as server:
            left, right, said = self.stuff(server)
            left.shutdown()
            right.expect_end().shutdown()
            heard = 0
            while fcntl.ioctl(right.sock, termios.TIOCOUTQ, bytes(4)) != bytes(4):
                heard += len(left.sock.recv(SMALL))
            pids = server.settled(server.pids)
            before = sum(map(netd.cpu_seconds, pids))
            with self.assertRaises(socket.timeout):
                self.backend.settimeout(0.5)
                self.backend.accept()
            self.assertLess(sum(map(netd.cpu_seconds, pids)) - before, 0.2)
            self.assertEqual(left.read_all(), b'x' * (said - heard))
            self.ended(server, 0, said)


class Failing(Relay):
    def reset(self, client):
        """It is, or is about to be."""
        with self.assertRaises(ConnectionResetError):
            client.read_all()

    def test_a_reset_is_passed_on(self):
        with self.relay() as server:
            left, right = self.pair(server)
            left.send(b'a')
            right.expect(b'a')
            left.reset()
            self.reset(right)
            left, right = self.pair(server)
            right.send(b'a')
            left.expect(b'a')
            right.reset()
            self.reset(left)
            self.ended(server, 1, 0, 'Connection reset by peer')
            self.ended(server, 0, 1, 'Connection reset by peer')

    def test_a_reset_is_noticed_when_nothing_is_wanted_of_that_side(self):
        with self.relay() as server:
            left, right = self.pair(server)
            left.shutdown()
            right.expect_end()
            left.reset()
            poll = select.poll()
            poll.register(right.sock, 0)  # an end was read: only this still tells
            events = poll.poll(netd.PATIENCE * 1000)
            self.assertTrue(events and events[0][1] & select.POLLERR, events)

    def test_nobody_reads_what_was_reset(self):
        with self.relay() as server:
            left, right = self.pair(server)
            right.reset()
            with self.assertRaises(ConnectionError):
                while True:
                    left.send(b'x' * 1000)

    def test_a_server_that_is_not_there(self):
        self.backend.close()
        with self.relay_to_nobody() as server:
            for _ in range(3):
                with self.assertRaises(ConnectionResetError), server.client() as client:
                    client.read_all()
            server.wait_for_log(r'err, .*: ended in error: tcp:127\.0\.0\.1:\d+: Connection refused$',
                                count=3)
            self.assertEqual(server.log_count('refused'), 3)  # one line each

    def relay_to_nobody(self):
        with socket.create_server(('127.0.0.1', 0)) as sock:
            port = sock.getsockname()[1]
        return self.server('--to', f'tcp:127.0.0.1:{port}')

    def test_when_nothing_moves_both_are_reset(self):
        with self.relay('--idle-time', '1') as server:
            left, right = self.pair(server)
            left.send(b'hello')
            right.expect(b'hello')
            self.reset(left)
            self.reset(right)
            self.ended(server, 5, 0, 'Connection timed out')

    def test_a_stop_cuts_both(self):
        with self.relay('--drain-timeout', '0.2') as server:
            left, right = self.pair(server)
            left.send(b'hello')
            right.expect(b'hello')
            server.signal(netd.signal.SIGTERM)
            left.expect_gone()
            right.expect_gone()
            server.wait()

    def test_nothing_is_left_behind(self):
        with self.relay() as server:
            before = None
            for number in range(20):
                left, right = self.pair(server)
                left.send(b'a')
                right.expect(b'a')
                (left, right)[number % 2].reset()
                (right, left)[number % 2].expect_gone().close()
                if not before:
                    before = server.settled(server.fd_count)
            netd.wait_until('all descriptors are closed', lambda: server.fd_count() <= before)

    def test_it_does_not_start_without_an_address(self):
        for args, words in (((), '--to must be given'), (('--to', 'localhost:80'), 'localhost:80')):
            result = netd.run(netd.program('relay'), '--logfile', 'STDERR', '--localport', '0',
                              *args)
            self.assertEqual(result.returncode, 2)
            self.assertIn(words, result.stderr)


load_tests = every_mode(Talking, Slow, Failing)

if __name__ == '__main__':
    unittest.main()
