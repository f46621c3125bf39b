"""test_fibers.py - what only fibers can suffer from: a kernel or a sandbox without rings, buffers that
all are held, more completions than fit, a stack that is too small, a handler that never waits."""
import contextlib
import errno
import os
import re
import signal
import threading
import unittest

from faults import (FIBERS, POLLERS, SANITIZED, InModes, accepting, books, in_modes,
                    need_descriptors, no_core, ready, settle)
from netd import status

STACK = 256 * 1024


def denied(**calls):
    """A wrapper for Server(): these system calls fail with that."""
    path = os.environ.get('DENY')
    if not path:
        raise unittest.SkipTest('no seccomp filters here')
    return [path, *(f'{name}={code}' for name, code in calls.items()), '--']


def peer(client):
    return re.escape('127.0.0.1:%d' % client.sock.getsockname()[1])


def resident(pid):
    """Bytes."""
    return int(status(pid)['VmRSS'].split()[0]) * 1024


class Denied(InModes):
    """The system refuses what is asked for."""
    modes = ('fibers', 'childs-fibers')

    def serves(self, server, using):
        ready(server, self.mode)
        server.wait_for_log(f'info, .*fibers wait by {using}$', count=self.accepting)
        with server.client() as client:
            client.send(b'echo one\nbig 100000\n').expect(b'one\n')
            self.assertEqual(len(client.read(100000)), 100000)
            client.send(b'sleep 1\n').expect_line(r'ok \d+')
            client.send(b'deadline 1\n').expect_line('.*error ETIMEDOUT')

    def test_without_rings_epoll_serves_and_one_line_says_so(self):
        for calls in ({'io_uring_setup': errno.EPERM}, {'io_uring_setup': errno.ENOSYS},
                      {'io_uring_setup': errno.ENOMEM}, {'io_uring_setup': errno.EMFILE},
                      {'io_uring_setup': errno.EINVAL}, {'io_uring_register': errno.EPERM},
                      {'io_uring_enter': errno.EPERM}):
            with self.subTest(calls), self.server(wrapper=denied(**calls)) as server:
                self.serves(server, 'epoll')
                # Each worker says it for itself: workers may be told different things.
                self.assertEqual(server.log_count('io_uring'), self.accepting)
                self.assertEqual(server.log_count('notice, .*io_uring: .{10,}: using epoll instead'),
                                 self.accepting)

    def test_without_epoll_too_poll_serves(self):
        with self.server(wrapper=denied(io_uring_setup=errno.ENOSYS,
                                        epoll_create1=errno.EMFILE)) as server:
            self.serves(server, 'poll')
            self.assertEqual(server.log_count('using poll instead'), self.accepting)

    def test_who_asks_for_it_by_name_gets_it_or_nothing(self):
        for name, calls in (('io_uring', {'io_uring_setup': errno.EPERM}),
                            ('io_uring', {'io_uring_register': errno.EACCES}),
                            ('epoll', {'epoll_create1': errno.EMFILE})):
            with self.subTest(name):
                server = self.server('--io', name, '--debug', wrapper=denied(**calls))
                server.start(wait=False)
                server.wait(status=1)
                self.assertEqual(server.log_count(f'crit, .*cannot start fibers: {name}'), 1)
                for words in 'fibers wait by', 'connected from', 'replaced', 'instead':
                    self.assertEqual(server.log_count(words), 0, words)

    def test_what_was_not_asked_for_does_not_matter(self):
        with self.server('--io', 'poll', wrapper=denied(io_uring_setup=errno.EPERM,
                                                        epoll_create1=errno.EPERM)) as server:
            self.serves(server, 'poll')
            self.assertEqual(server.log_count('instead'), 0)


class Buffers(InModes):
    modes = FIBERS

    def test_when_hundreds_hold_a_line_others_are_served_all_the_same(self):
        count = 1200  # more than there are buffers of the kernel's
        need_descriptors(count + 100)
        with self.server() as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            holding = [stack.enter_context(server.client()) for _ in range(count)]
            for client in holding:
                client.send(b'dwell 4000\n')
            for client in holding:
                client.expect(b'dwelling\n')
            for number, client in enumerate(holding):
                client.send(b'%d %s\n' % (number, b'x' * (number % 100)))
            for number in range(30):  # nobody of them has to wait for those
                self.assertEqual(server.talk(b'exact 5\n%05decho x\n' % number)[-2:], b'x\n')
            self.assertEqual(server.talk(b'drain\n' + b'y' * 300000), b'ok 300000\n')
            for number, client in enumerate(holding):  # and each finds its own unchanged
                client.expect(b'ok %d\n' % (len(str(number)) + number % 100 + 2))
            for client in holding:
                client.send(b'echo on\n')
            for client in holding:
                client.expect(b'on\n').close()
            settle(server, before)

    def test_a_flood_that_nobody_reads_stays_outside(self):
        size = 50000000
        with self.server() as server, server.client() as flood:
            ready(server, self.mode)
            server.talk(b'big 100000\n')
            before = {pid: resident(pid) for pid in accepting(server, self.mode)}
            flood.send(b'dwell 3000\n').expect(b'dwelling\n')
            sender = threading.Thread(target=flood.send, daemon=True,
                                      args=(b'held\n' + b'x' * size + b'\necho end\n',))
            sender.start()
            for number in range(200):
                self.assertEqual(server.talk(b'echo %d\n' % number), b'%d\n' % number)
            for pid, bytes_before in before.items():
                self.assertLess(resident(pid) - bytes_before, 5000000)
            self.assertTrue(sender.is_alive())  # all that in the meantime
            flood.expect(b'ok 5\n').expect(b'error EMSGSIZE\n').expect(b'end\n')
            sender.join()


class Together(InModes):
    modes = FIBERS

    def test_five_thousand_clients_who_send_at_the_same_moment(self):
        count = 5000  # more than completions fit into the queue
        need_descriptors(count + 100)
        with self.server() as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            clients = [stack.enter_context(server.client()) for _ in range(count)]
            for client in clients:
                client.send(b'echo in\n')
            for client in clients:
                client.expect(b'in\n')
            for _ in range(3):
                pids = accepting(server, self.mode)
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                for number, client in enumerate(clients):
                    client.send(b'echo %d\nid\n' % number)
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
                for number, client in enumerate(clients):
                    client.expect(b'%d\n' % number).expect_line(r'\d+')
            for client in clients:
                client.close()
            settle(server, before)
            self.assertEqual(server.log_count('err, '), 0)


class Overflow(InModes):
    """A handler that needs more stack than it has."""
    modes = FIBERS

    def setUp(self):
        if 'address' in SANITIZED:
            self.skipTest('this sanitizer reports it itself')

    def test_it_is_told_with_its_connection_and_costs_one_process(self):
        with self.server('--stack-size', '256K', preexec_fn=no_core) as server:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            others = [server.client() for _ in range(10)]
            for client in others:
                client.send(b'echo in\n').expect(b'in\n')
            with server.client() as client:
                # What fits is no trouble, before and after a wait.
                client.send(b'overflow 40\n').expect(b'ok 41\n')
                client.send(b'sleep 1\n').expect_line(r'ok \d+')
                client.send(b'overflow 40\nid\n').expect(b'ok 41\n')
                number = client.expect_line(r'\d+').group()
                client.send(b'overflow\n').expect_gone()
                line = server.wait_for_log(r'crit, .*out of stack').string
                self.assertRegex(line, rf'crit, \d+, conn {number} \({peer(client)}\): '
                                       rf'out of stack \(--stack-size {STACK}\)')
            if not self.prefork:
                server.wait(status=-signal.SIGSEGV)
                return
            server.wait_for_log(r'err, .*worker \d .*died from signal 11 .*: replaced in')
            ready(server, self.mode)
            # The other worker's clients did not notice; whoever was with this one is cut.
            alive = 0
            for client in others:
                with contextlib.suppress(ConnectionError):
                    client.send(b'echo on\n')
                    alive += client.line() == b'on\n'
                client.close()
            self.assertIn(alive, range(1, 10))
            for number in range(10):
                self.assertEqual(server.talk(b'echo again\n'), b'again\n')
            settle(server, before)
            self.assertEqual(server.log_count('out of stack'), 1)

    def test_a_larger_stack_is_enough(self):
        with self.server('--stack-size', '1M') as server:
            self.assertEqual(server.talk(b'overflow 200\n'), b'ok 201\n')


class Stalls(InModes):
    """A handler that never waits."""
    modes = POLLERS

    def test_it_is_reported_once_with_its_connection_and_its_place(self):
        with self.server() as server, server.client() as client, server.client() as other:
            other.send(b'id\n')
            first = other.expect_line(r'\d+').group()
            client.send(b'id\n')
            number = client.expect_line(r'\d+').group()
            self.assertNotEqual(first, number)
            client.send(b'spin 500\n').expect(b'spinning\n')
            other.send(b'echo patience\n').expect(b'patience\n')
            who = rf'conn {number} \({peer(client)}\): '
            server.wait_for_log(r'warning, .*' + who + r'holds up all others: no wait for \d{3,} ms '
                                r'so far, in .*conform_spin\+0x')
            server.wait_for_log(r'notice, .*' + who + r'went on after \d{3,} ms')
            client.send(b'spin 300\nsleep 1\n').expect(b'spinning\n').expect_line(r'ok \d+')
            server.wait_for_log('went on after', count=2)
            # Of these two: on a busy machine the thread may stand still in any fiber.
            self.assertEqual(server.log_count(rf'conn {number} .*holds up'), 2)
            self.assertEqual(server.log_count(rf'conn {first} .*holds up'), 0)

    def test_who_is_quick_is_not_reported(self):
        with self.server('--stall-time', '2') as server, server.client() as client:
            for _ in range(5):
                client.send(b'spin 300\nsleep 1\n').expect(b'spinning\n').expect_line(r'ok \d+')
            client.send(b'sleep 3000\n').expect_line(r'ok \d+')  # a wait is no stall
            client.close()
            server.stop()
            self.assertEqual(server.log_count('holds up'), 0)

    def test_nobody_is_reported_who_does_not_want_it(self):
        with self.server('--stall-time', '0') as server, server.client() as client:
            client.send(b'spin 500\necho done\n').expect(b'spinning\n').expect(b'done\n')
            client.close()
            server.stop()
            self.assertEqual(server.log_count('holds up|went on'), 0)


load_tests = in_modes(Denied, Buffers, Together, Overflow, Stalls)

if __name__ == '__main__':
    unittest.main()
