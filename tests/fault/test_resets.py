"""test_resets.py - clients of fibers that are gone at the worst moment: nothing of them is left."""
import contextlib
import os
import re
import select
import signal
import unittest

from faults import (FIBERS, SANITIZED, InModes, accepting, books, in_modes, need_descriptors,
                    ready, settle)
from netd import Failure, status, wait_until

COUNT = 60
ROUNDS_MOST = 12
STEP_KB = 500  # less than that is no growth: 25 kB lost by each of 60 are seen, 10 kB are not


def resident(pid):
    """KB."""
    return int(status(pid)['VmRSS'].split()[0])


def figures(server):
    """Of one of the workers; up to a second old."""
    return {name: int(value)
            for name, value in re.findall(r'(\w+)=(\d+)', server.talk(b'fibers\n').decode())}


class Moments(InModes):
    """Many connections at once come to the same point, and are reset there."""
    modes = FIBERS

    def many(self, server, stack, count=COUNT):
        return [stack.enter_context(server.client()) for _ in range(count)]

    def is_flat(self, memory):
        """Did this round take no more than the last one? What is free is given back after a while."""
        def same():
            return all(resident(pid) - before < STEP_KB for pid, before in memory.items())
        with contextlib.suppress(Failure):
            return wait_until('memory is given back', same, 3)
        return False

    def suffer(self, bring_there, *args, rounds=3, count=COUNT):
        """bring_there(server, clients): all of them are at that point then. Something is kept for
        the next ones, and workers share out each round anew: so until one takes nothing more."""
        need_descriptors(2 * count + 100)
        with self.server('--compact-after', '0.2', *args) as server:
            ready(server, self.mode)
            server.talk(b'echo warm\n')
            before = server.settled(lambda: books(server))
            memory = {}
            for number in range(1, ROUNDS_MOST + 1):
                with contextlib.ExitStack() as stack:
                    clients = self.many(server, stack, count)
                    bring_there(server, clients)
                    for client in clients:
                        if client.sock.fileno() >= 0:
                            client.reset()
                settle(server, before)
                self.assertEqual(server.talk(b'echo after\n'), b'after\n')
                # Sanitizers keep what was freed, to find its users.
                if number >= rounds and (SANITIZED or self.is_flat(memory)):
                    break
                memory = {pid: resident(pid) for pid in accepting(server, self.mode)}
            else:
                self.fail(f'each of {ROUNDS_MOST} rounds took more memory')
            wait_until('the count is right',
                       lambda: server.talk(b'stats\n').startswith(b'active=1 '))
            wait_until('nobody is parked', lambda: figures(server)['parked'] == 0)
            self.assertEqual(server.log_count('(crit|err), '), 0)

    def test_right_after_connecting(self):
        self.suffer(lambda server, clients: None, count=1000)

    def test_in_the_middle_of_a_line(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'echo here\nech').expect(b'here\n')
        self.suffer(bring)

    def test_with_lines_that_nobody_has_read_yet(self):
        def bring(server, clients):
            for client in clients:
                client.send(b'echo in\n')
            for client in clients:
                client.expect(b'in\n')
            pids = accepting(server, self.mode)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                for client in clients:
                    client.send(b'echo x\n' * 1000)
                for client in clients:
                    client.reset()
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
        self.suffer(bring)

    def test_while_ten_megabytes_are_sent(self):
        def bring(server, clients):
            for client in clients:
                client.send(b'big 10000000\n')
            for client in clients:  # it has begun to come, and nobody reads on
                self.assertTrue(select.select([client.sock], [], [], server.patience)[0])
        self.suffer(bring)

    def test_while_much_is_received(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'echo in\nexact 1000000\n' + b'z' * 100000).expect(b'in\n')
        self.suffer(bring)

    def test_while_the_handler_sleeps(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'echo in\nhold\n').expect(b'in\nholding\n')
                client.send(b'\nsleep 500\nbig 100000\n')
        self.suffer(bring)

    def test_while_the_handler_polls_other_things(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'echo in\nhold\n').expect(b'in\nholding\n')
                client.send(b'\npoll 500\nbig 100000\n')
        self.suffer(bring)

    def test_while_a_helper_works(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'offload 1\n' * 50).expect(b'ok 2\n')
        self.suffer(bring)

    def test_while_the_handler_holds_a_line(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'dwell 300\n').expect(b'dwelling\n')
                client.send(b'this one\n')
        self.suffer(bring)

    def test_while_compacted(self):
        def bring(server, clients):
            for client in clients:
                client.send(b'defer A\necho in\n')
            for client in clients:
                client.expect(b'in\n')

            def compacted():
                told = figures(server)
                return told['parked'] > 0 and told['compacted'] == told['parked']
            wait_until('they are compacted', compacted)
        self.suffer(bring)

    def test_while_a_deadline_runs(self):
        def bring(_server, clients):
            for client in clients:
                client.send(b'echo in\ndeadline 300\n').expect(b'in\n')
        self.suffer(bring)

    def test_at_the_same_time_as_a_stop(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            clients = self.many(server, stack)
            for number, client in enumerate(clients):
                client.send((b'big 10000000\n', b'echo in\nech', b'sleep 60000\n')[number % 3])
            for client in clients[:COUNT // 2]:
                client.reset()
            server.signal(signal.SIGINT)
            for client in clients[COUNT // 2:]:
                client.reset()
            server.wait()


load_tests = in_modes(Moments)

if __name__ == '__main__':
    unittest.main()
