"""test_many.py - thousands of clients who say nothing, and then all speak."""
import contextlib
import os
import resource
import signal
import time
import unittest

from faults import (POLLERS, SANITIZED, InModes, books, cpu_share, in_modes, need_descriptors,
                    thread_count)
from netd import Server

COUNT = 2000
MOST = 10000  # of 20,000 descriptors that a process may have on many systems


class Idle(InModes):
    modes = ('threads', 'fork') + POLLERS

    def test_they_cost_nothing_are_all_served_and_all_let_go(self):
        need_descriptors(COUNT + 100)
        soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        if soft not in (resource.RLIM_INFINITY,) and soft < COUNT + 500:
            self.skipTest(f'only {soft} processes are allowed here')
        with self.server('--stack-size', '256K') as server:
            before = server.settled(lambda: books(server))
            threads = thread_count(server)
            clients = [server.client() for _ in range(COUNT)]
            try:
                for client in clients:
                    client.send(b'echo here\n')
                for client in clients:
                    client.expect(b'here\n')
                self.assertLess(cpu_share(server), 0.05)
                for number, client in enumerate(clients):
                    client.send(b'echo %d\n' % number)
                for number, client in enumerate(clients):
                    client.expect(b'%d\n' % number)
                for client in clients[:COUNT // 2]:
                    client.close()
                server.signal(signal.SIGTERM)
                server.wait_for_log('SIGTERM: no new connections')
                for client in clients[COUNT // 2:]:
                    client.send(b'echo last\n')
                for client in clients[COUNT // 2:]:
                    client.expect(b'last\n')
            finally:
                for client in clients:
                    client.close()
            server.wait()
            self.assertEqual(server.log_count('err, '), 0)
            # Fibers have someone who looks whether they stall.
            self.assertEqual((before[0], threads), (1, 2 if self.basic == 'fibers' else 1))


class Calculator(InModes):
    """A program that knows nothing of fibers, with ten thousand clients."""
    modes = POLLERS

    def server(self, *args, **more):
        return Server(os.path.join(os.environ['EXAMPLES'], 'calculator'), *self.options, *args,
                      **more)

    def gather(self, server, stack):
        clients = [stack.enter_context(server.client()) for _ in range(MOST)]
        self.all_compute(clients)
        return clients

    def all_compute(self, clients):
        for number, client in enumerate(clients):
            client.send(b'%d * %d - 1\n' % (number, number))
        for number, client in enumerate(clients):
            client.expect(b'%d\n' % (number * number - 1))

    def test_a_drain_lets_all_of_them_finish(self):
        need_descriptors(MOST + 200)
        with self.server('--compact-after', '1') as server, contextlib.ExitStack() as stack:
            clients = self.gather(server, stack)
            self.all_compute(clients)
            server.signal(signal.SIGTERM)
            server.wait_for_log(f'SIGTERM: no new connections; {MOST} at work may finish')
            self.all_compute(clients)
            for client in clients:
                client.send(b'1 +')
                client.shutdown()
            for client in clients:
                client.expect_line('error: column 4: .*')
                client.expect_end()
                client.close()
            server.wait()
            self.assertEqual(server.log_count('(err|crit), '), 0)

    def test_the_interrupt_key_ends_all_of_them_at_once(self):
        need_descriptors(MOST + 200)
        with self.server() as server, contextlib.ExitStack() as stack:
            clients = self.gather(server, stack)
            begin = time.monotonic()
            server.stop(signal.SIGINT)
            self.assertLess(time.monotonic() - begin, 30 if SANITIZED else 10)
            for client in clients:
                client.expect_gone()


load_tests = in_modes(Idle, Calculator)

if __name__ == '__main__':
    unittest.main()
