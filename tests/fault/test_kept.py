"""test_kept.py - what a server keeps for the next connections, and for how long."""
import time
import unittest

from faults import SANITIZED, InModes, books, in_modes, ready, settle, thread_count
from netd import wait_until

IDLE_S = 10  # a thread without work is kept for so long


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


load_tests = in_modes(Kept)

if __name__ == '__main__':
    unittest.main()
