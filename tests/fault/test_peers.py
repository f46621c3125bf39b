"""test_peers.py - peers that are slow, silent, many, or gone at once: they cost themselves only."""
import contextlib
import select
import socket
import struct
import unittest

from faults import BESIDE, FIBERS, InModes, books, in_modes, ready, settle
from netd import wait_until

SIZE = 4000000
ALPHABET = b'abcdefghijklmnopqrstuvwxyz'


def hard_socket(port, connect=True):
    """A socket whose close is a reset."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    if connect:
        sock.connect(('127.0.0.1', port))
    return sock


class Slow(InModes):
    modes = BESIDE + FIBERS

    def small_window(self, server):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.settimeout(server.patience)
        sock.connect(('127.0.0.1', server.port))
        return sock

    def others_are_served(self, server, count=10):
        for number in range(count):
            self.assertEqual(server.talk(b'echo %d\n' % number), b'%d\n' % number)

    def test_peers_that_do_not_read_hold_up_nobody_and_get_it_all_later(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            slow = [stack.enter_context(self.small_window(server)) for _ in range(5)]
            for sock in slow:
                sock.sendall(b'big %d\n' % SIZE)
            for sock in slow:  # it has begun to come; nobody reads on: the window closes
                self.assertTrue(select.select([sock], [], [], server.patience)[0])
            self.others_are_served(server)
            want = (ALPHABET * (SIZE // 26 + 1))[:SIZE]
            slow[0].shutdown(socket.SHUT_WR)
            with slow[0].makefile('rb') as stream:
                self.assertEqual(stream.read(), want)
            for sock in slow[1:]:
                sock.close()  # unread: the peer gets a reset

    def test_silent_peers_hold_up_nobody(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            silent = [stack.enter_context(server.client()) for _ in range(50)]
            for client in silent[::2]:
                client.send(b'ech')  # a line that does not end
            self.others_are_served(server)
            for client in silent:
                client.close()
            settle(server, before)

    def test_twenty_peers_that_send_byte_by_byte(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(20)]
            for client in clients:
                client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = [b'echo slow %d\nexact 3\nabc' % number for number in range(len(clients))]
            for place in range(max(map(len, lines))):
                for client, line in zip(clients, lines):
                    client.send(line[place:place + 1])
            for number, client in enumerate(clients):
                client.expect(b'slow %d\n' % number).expect_line(r'3 \d+')


class Storms(InModes):
    """A thousand connections of no use; then all is as it was."""

    def weather(self, strike):
        with self.server() as server:
            ready(server, self.mode)
            server.talk(b'echo warm\n')
            before = server.settled(lambda: books(server))
            for number in range(1000):
                strike(server, number)
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')
            settle(server, before)
            wait_until('the count is right',
                       lambda: server.talk(b'stats\n').startswith(b'active=1 '))

    def test_a_port_scan(self):
        self.weather(lambda server, number: server.socket().close())

    def test_connections_that_are_reset_at_once(self):
        def strike(server, number):
            with hard_socket(server.port) as sock:
                if number % 2:
                    sock.sendall((b'echo x\n', b'big 100000\n', b'ech')[number % 3])
        self.weather(strike)

    def test_connections_given_up_before_they_are_made(self):
        def strike(server, _number):
            with hard_socket(server.port, connect=False) as sock:
                sock.setblocking(False)
                sock.connect_ex(('127.0.0.1', server.port))
        self.weather(strike)


load_tests = in_modes(Slow, Storms)

if __name__ == '__main__':
    unittest.main()
