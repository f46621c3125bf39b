"""test_io.py - system calls of a conversation that are interrupted, do less, or say "not yet"."""
import errno
import os
import tempfile
import unittest

from faults import ALL, InModes, in_modes
from inject import FOR_EVER, SHORTEN, Faults

ALPHABET = b'abcdefghijklmnopqrstuvwxyz'


def big(size):
    return (ALPHABET * (size // 26 + 1))[:size]


class Troubled(InModes):
    """Each of them is held with one kind of trouble, and must not differ from one without."""
    # A ring receives and sends without calls that could be made to fail.
    modes = tuple(mode for mode in ALL if mode not in ('fibers', 'childs-fibers'))

    def setUp(self):
        self.faults = Faults()
        self.addCleanup(self.faults.__exit__)
        self.server_ = self.server(**self.faults.into())
        self.server_.start()
        self.addCleanup(self.server_.kill)

    def converse(self, size=1000000):
        """Lines, exact amounts, much input, much output, a time-out, a stream, a file."""
        data = bytes(range(256)) * 40
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            with self.server_.client() as client:
                client.send(b'echo one\necho two\r\n').expect(b'one\ntwo\n')
                client.send(b'exact 10240\n' + data).expect_line(r'10240 \d+')
                client.send(b'big %d\necho done\n' % size)
                self.assertEqual(client.read(size), big(size))
                client.expect(b'done\n')
                client.send(b'deadline 20\n').expect_line('.*; error ETIMEDOUT')
                client.send(b'sleep 5\n').expect_line(r'ok \d+')
                client.send(b'poll\n').expect(b'ok 1\n')
                client.send(b'sendfile %s 0 3000\n' % file.name.encode())
                self.assertEqual(client.read(3000), data[:3000])
                client.expect(b'ok 3000\n')
                client.send(b'drain\n' + b'y' * size).shutdown()
                client.expect(b'ok %d\n' % size).expect_end()
        self.assertEqual(self.server_.log_count('err, '), 0)

    def after(self, *faults):
        """The trouble was real, is over, and left nothing behind."""
        for fault in faults:
            self.assertGreater(self.faults.hits(fault), 0, f'{fault} was not met')
        self.faults.disarm()
        self.assertEqual(self.server_.talk(b'echo after\n'), b'after\n')
        self.server_.stop()


class Conversations(Troubled):
    """Calls that are interrupted, or fail."""

    def test_every_other_call_is_interrupted(self):
        calls = ('recv', 'send', 'sendfile', 'poll', 'accept')
        for fault in calls:
            self.faults.arm(fault, errno.EINTR, FOR_EVER, every=2)
        self.converse()
        self.after(*calls)

    def test_calls_that_fail_for_good_cost_their_connection_only(self):
        for fault, error in (('recv', errno.EIO), ('recv', errno.ENOMEM),
                             ('recv', errno.EHOSTUNREACH), ('send', errno.EHOSTUNREACH),
                             ('send', errno.EPIPE), ('send', errno.ENOBUFS)):
            self.faults.arm(fault, error, 1)
            with self.server_.client() as client:
                client.send(b'echo hello\n').expect_gone()
            self.assertEqual(self.faults.hits(fault), 1)
            self.server_.wait_for_log('(err|info), .*conn .*: ended in error: .*' + os.strerror(error))
            self.assertEqual(self.server_.talk(b'echo after\n'), b'after\n')
        self.after()


class LessThanAsked(Troubled):
    """Calls that do less, or nothing, although more could be done: no kernel does that to epoll's
    edges, where a short answer tells that there is no more (epoll(7))."""
    modes = tuple(mode for mode in Troubled.modes if mode != 'fibers-epoll')

    def test_every_other_call_moves_one_byte(self):
        calls = ('recv', 'send', 'sendfile')
        for fault in calls:
            self.faults.arm(fault, SHORTEN, FOR_EVER, every=2)
        self.converse()
        self.after(*calls)

    def test_every_call_moves_one_byte(self):
        for fault in ('recv', 'send', 'sendfile'):
            self.faults.arm(fault, SHORTEN, FOR_EVER)
        self.converse(20000)
        self.after('recv', 'send', 'sendfile')

    def test_ready_descriptors_that_are_not(self):
        for fault in ('recv', 'send', 'sendfile', 'accept'):
            self.faults.arm(fault, errno.EAGAIN, 1000, every=3)
        self.converse()
        self.after('recv', 'send', 'sendfile', 'accept')


load_tests = in_modes(Conversations, LessThanAsked)

if __name__ == '__main__':
    unittest.main()
