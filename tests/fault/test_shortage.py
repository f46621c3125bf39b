"""test_shortage.py - out of descriptors, processes, threads: wait, say it once, lose nobody."""
import errno
import math
import os
import resource
import signal
import time
import unittest

from faults import (BESIDE, PREFORK, SANITIZED, SHARING, InModes, accepting, books, cpu_share,
                    in_modes, need_root, ready, settle)
from inject import FOR_EVER, Faults, need_library
from netd import fds, program, run, wait_until

IDLE = 0.05  # of one processor, while nothing can be done
PAUSE = 0.1  # seconds between two tries, when nothing has changed
MANY = 100  # clients, of whom each would wait that long


def without_pauses(tries):
    """Half of what so many take with a pause before each. A sanitizer's fork is as slow as one."""
    return math.inf if SANITIZED else tries * PAUSE / 2


def first_free(pid):
    used = fds(pid)
    return next(number for number in range(len(used) + 1) if number not in used)


def limit_descriptors(pid, soft):
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard if soft is None else soft, hard))


def ask(client, text):
    client.send(b'echo ' + text + b'\n')


def serve_all(clients):
    for number, client in enumerate(clients):
        ask(client, b'%d' % number)
        client.shutdown()
    for number, client in enumerate(clients):
        client.expect(b'%d\n' % number).expect_end()
        client.close()


class Descriptors(InModes):
    """EMFILE for real: the limit of the running server comes down to what it has open."""

    def starve(self, server):
        for pid in accepting(server, self.mode):
            limit_descriptors(pid, first_free(pid))

    def feed(self, server):
        for pid in accepting(server, self.mode):
            limit_descriptors(pid, None)

    def prepared(self, server):
        ready(server, self.mode)
        for _ in range(4):
            server.talk(b'echo warm\n')
        return server.settled(lambda: books(server))

    def test_clients_wait_until_there_are_descriptors_again(self):
        with self.server() as server:
            before = self.prepared(server)
            self.starve(server)
            clients = [server.client() for _ in range(10)]
            for number, client in enumerate(clients):
                ask(client, b'%d' % number)
                client.shutdown()
            server.wait_for_log('err, .*cannot accept: Too many open files; trying again')
            self.assertLess(cpu_share(server), IDLE)
            self.assertLessEqual(server.log_count('cannot accept'), self.accepting)
            self.feed(server)
            for number, client in enumerate(clients):
                client.expect(b'%d\n' % number).expect_end()
                client.close()
            settle(server, before)


class Closing(Descriptors):
    """A connection that ends makes room for the next."""
    modes = SHARING

    def test_clients_wait_until_there_are_descriptors_again(self):
        with self.server() as server:
            self.prepared(server)
            held = [server.client() for _ in range(6)]
            for client in held:
                ask(client, b'in')
                client.expect(b'in\n')
            self.starve(server)
            waiting = [server.client() for _ in range(6)]
            for client in waiting:
                ask(client, b'at last')
            server.wait_for_log('cannot accept: Too many open files')
            for client in held:
                client.close()
            for client in waiting:
                client.expect(b'at last\n')
            self.feed(server)
            for client in waiting:
                client.close()

    def test_who_waits_is_served_as_soon_as_another_has_ended(self):
        with self.server() as server:
            self.prepared(server)
            held = [server.client() for _ in range(self.accepting)]
            for client in held:
                ask(client, b'in')
                client.expect(b'in\n')
            self.starve(server)
            clients = [server.client() for _ in range(MANY)]
            server.wait_for_log('cannot accept: Too many open files')
            begin = time.monotonic()
            for client in held:
                client.close()
            serve_all(clients)
            self.assertLess(time.monotonic() - begin, without_pauses(MANY / self.accepting))
            self.feed(server)


class Accepting(InModes):
    """What accept() can say, said again and again."""

    def setUp(self):
        need_library()

    def test_a_shortage_pauses_is_logged_once_and_passes(self):
        for error in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM):
            with self.subTest(errno.errorcode[error]), Faults() as faults, \
                    self.server(**faults.into()) as server:
                server.talk(b'echo warm\n')
                faults.arm('accept', error, FOR_EVER)
                with server.client() as client:
                    ask(client, b'patience')
                    server.wait_for_log('cannot accept: ' + os.strerror(error))
                    wait_until('it was tried again',
                               lambda: faults.hits('accept') >= 2 * self.accepting)
                    faults.disarm()
                    client.expect(b'patience\n')
                self.assertLessEqual(server.log_count('cannot accept'), self.accepting)

    def test_a_client_that_gave_up_in_the_queue_is_no_shortage(self):
        for error in (errno.ECONNABORTED, errno.EPROTO):
            with self.subTest(errno.errorcode[error]), Faults() as faults, \
                    self.server(**faults.into()) as server:
                server.talk(b'echo warm\n')
                faults.arm('accept', error, 500)
                with server.client() as client:
                    ask(client, b'next')
                    client.expect(b'next\n')
                self.assertEqual(faults.hits('accept'), 500)
                self.assertEqual(server.log_count('err, '), 0)


class Starting(InModes):
    """No process, or no thread, for a connection that was accepted."""
    modes = BESIDE

    @property
    def fault(self):
        return 'fork' if self.forks else 'thread'

    def test_an_accepted_client_is_kept_and_served_later(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            faults.arm(self.fault, errno.EAGAIN, FOR_EVER)
            clients = [server.client() for _ in range(5)]
            for number, client in enumerate(clients):
                ask(client, b'%d' % number)
            server.wait_for_log('err, .*cannot start a handler: Resource temporarily unavailable')
            self.assertLess(cpu_share(server), IDLE)
            self.assertLessEqual(server.log_count('cannot start'), self.accepting)
            faults.disarm()
            for number, client in enumerate(clients):
                client.expect(b'%d\n' % number)
                client.close()
            settle(server, before)

    def test_a_drain_waits_for_those_who_could_not_be_started(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            ready(server, self.mode)
            faults.arm(self.fault, errno.EAGAIN, FOR_EVER)
            clients = [server.client() for _ in range(4)]
            for number, client in enumerate(clients):
                ask(client, b'%d' % number)
                client.shutdown()
            server.wait_for_log('cannot start a handler')
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM: no new connections')
            faults.disarm()
            for number, client in enumerate(clients):
                client.expect(b'%d\n' % number).expect_end()
            server.wait()

    def test_a_stop_does_not_wait_for_them(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            ready(server, self.mode)
            faults.arm(self.fault, errno.EAGAIN, FOR_EVER)
            with server.client() as client:
                ask(client, b'never')
                server.wait_for_log('cannot start a handler')
                server.stop(signal.SIGINT)
                client.expect_gone()


class Workers(InModes):
    """No process for a worker."""
    modes = PREFORK

    def test_a_worker_is_replaced_when_fork_works_again(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            ready(server, self.mode)
            faults.arm('fork', errno.EAGAIN, FOR_EVER)
            victim = server.workers()[1]
            os.kill(victim, signal.SIGKILL)
            server.wait_for_log('err, .*cannot start worker [12]: Resource temporarily unavailable')
            self.assertLess(cpu_share(server), IDLE)
            self.assertEqual(server.log_count('cannot start worker'), 1)
            faults.disarm()
            wait_until('it is replaced', lambda: len(server.workers()) == 2)
            self.assertEqual(server.talk(b'echo on\n'), b'on\n')

    def test_a_worker_without_a_pipe_of_its_own_is_started_again(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            ready(server, self.mode)
            faults.arm('pipe', errno.EMFILE, 2)
            os.kill(server.workers()[1], signal.SIGKILL)
            server.wait_for_log('crit, .*worker cannot start: .*Too many open files')
            server.wait_for_log('worker [12] .* exited with status 1: replaced in', count=2)
            wait_until('it is replaced', lambda: len(server.workers()) == 2)
            self.assertEqual(server.talk(b'echo on\n'), b'on\n')


class Processes(InModes):
    """RLIMIT_NPROC for real: a user of its own may have three processes or threads."""
    modes = ('fork', 'threads')

    def as_a_user(self, processes):
        """A wrapper for server()."""
        need_root('to become a user without processes')
        if SANITIZED == 'thread':
            self.skipTest('this sanitizer makes threads of its own')
        user = str(62000 + os.getpid() % 3000)
        become = ['setpriv', f'--reuid={user}', f'--regid={user}', '--clear-groups']
        if run(*become, program('conform'), '--version').returncode:
            self.skipTest('other users may not run the programs of this build')
        return {'wrapper': [*become, 'prlimit', f'--nproc={processes}:{processes}']}

    def test_a_user_at_the_limit_of_processes(self):
        with self.server(**self.as_a_user(3)) as server:
            held = [server.client() for _ in range(2)]
            for client in held:
                ask(client, b'in')
                client.expect(b'in\n')
            waiting = [server.client() for _ in range(3)]
            for number, client in enumerate(waiting):
                ask(client, b'%d' % number)
                client.shutdown()
            server.wait_for_log('cannot start a handler: Resource temporarily unavailable')
            self.assertLess(cpu_share(server), IDLE)
            self.assertEqual(server.log_count('cannot start'), 1)
            for client in held:
                client.close()
            for number, client in enumerate(waiting):
                client.expect(b'%d\n' % number).expect_end()

    def test_who_waits_is_served_as_soon_as_another_has_ended(self):
        with self.server(**self.as_a_user(2)) as server:
            clients = [server.client() for _ in range(MANY)]
            server.wait_for_log('cannot start a handler')
            begin = time.monotonic()
            serve_all(clients)
            self.assertLess(time.monotonic() - begin, without_pauses(MANY))
            self.assertEqual(server.log_count('cannot start'), 1)


load_tests = in_modes(Descriptors, Closing, Accepting, Starting, Workers, Processes)

if __name__ == '__main__':
    unittest.main()
