"""test_many.py - two thousand clients who say nothing, and then all speak."""
import resource
import signal
import time
import unittest

from faults import (SANITIZED, InModes, books, cpu_share, in_modes, need_descriptors, ready, settle,
                    thread_count)
from netd import wait_until

COUNT = 2000
IDLE_S = 10  # a thread without work is kept for so long


class Idle(InModes):
    modes = ('threads', 'fork')

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
            self.assertEqual((before[0], threads), (1, 1))


class Kept(InModes):
    """What is kept for the next connections is let go after a while."""
    modes = ('threads', 'childs-threads')

    def test_threads_without_work_end(self):
        with self.server() as server:
            ready(server, self.mode)
            before = server.settled(lambda: (books(server), thread_count(server)))
            own = self.accepting if SANITIZED == 'thread' else 0  # made with the first of ours
            clients = [server.client() for _ in range(50)]
            for client in clients:
                client.send(b'echo here\n').expect(b'here\n')
            self.assertGreaterEqual(thread_count(server), before[1] + 50)
            begin = time.monotonic()
            for client in clients:
                client.close()
            settle(server, before[0])
            wait_until('they are gone', lambda: thread_count(server) <= before[1] + own,
                       IDLE_S + 20)
            self.assertGreater(time.monotonic() - begin, 1)  # not at once: they may be needed


load_tests = in_modes(Idle, Kept)

if __name__ == '__main__':
    unittest.main()
