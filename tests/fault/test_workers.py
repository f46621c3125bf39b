"""test_workers.py - worker processes that die, hang or never come up; a master that is gone."""
import contextlib
import os
import re
import signal
import time
import unittest

from faults import PREFORK, InModes, books, in_modes, no_core, ready, settle
from netd import Failure, alive, status, tree, wait_until

# A sanitizer would make a report and an exit of it.
ENV = {name: os.environ.get(name, '') + ':handle_segv=0:handle_abort=0'
       for name in ('ASAN_OPTIONS', 'TSAN_OPTIONS', 'UBSAN_OPTIONS')}


def serves(test, server, times=10):
    for number in range(times):
        test.assertEqual(server.talk(b'echo %d\n' % number), b'%d\n' % number)


class Dying(InModes):
    modes = PREFORK

    def worker_of(self, server, client):
        """The accepting process behind a connection, whose handler waits for more."""
        client.send(b'pid\n')
        own, parent, _ = client.expect_line(r'(\d+) (\d+) (\d+)').groups()
        wait_until('its handler waits', lambda: status(int(own))['State'].startswith('S'))
        worker = int(parent if self.forks else own)
        self.assertIn(worker, server.workers())
        return worker

    def replaced(self, server, victim):
        workers = server.workers()
        return len(workers) == 2 and victim not in workers

    def test_a_worker_that_dies_is_replaced_within_a_second_and_nobody_else_notices(self):
        with self.server(env=ENV, preexec_fn=no_core) as server:
            ready(server, self.mode)
            serves(self, server)
            before = server.settled(lambda: books(server))
            with server.client() as held:
                mine = self.worker_of(server, held)
                for signum in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
                    victim = next(pid for pid in server.workers() if pid != mine)
                    begin = time.monotonic()
                    os.kill(victim, signum)
                    wait_until('it is replaced', lambda: self.replaced(server, victim))
                    self.assertLess(time.monotonic() - begin, 3)
                    server.wait_for_log(rf'err, .*worker \d \(process {victim}\) died from '
                                        rf'signal {int(signum)} .*: replaced in \d+ ms')
                    held.send(b'echo still here\n').expect(b'still here\n')
            serves(self, server)
            settle(server, before)
            self.assertEqual(server.log_count('died from'), 3)

    def test_clients_of_a_dead_worker_are_cut_or_finish_and_leave_nothing(self):
        with self.server(env=ENV, preexec_fn=no_core, ) as server:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            with server.client() as held:
                victim = self.worker_of(server, held)
                os.kill(victim, signal.SIGKILL)
                wait_until('it is replaced', lambda: self.replaced(server, victim))
                if self.forks:  # a process of its own: it goes on
                    held.send(b'echo still here\n').expect(b'still here\n')
                    held.shutdown().expect_end()
                else:
                    held.expect_gone()
            serves(self, server)
            settle(server, before)

    def test_no_handler_of_a_dead_worker_outlives_the_server(self):
        with self.server('--drain-timeout', '0.5', env=ENV) as server:
            ready(server, self.mode)
            with server.client() as held:
                os.kill(self.worker_of(server, held), signal.SIGKILL)
                server.wait_for_log('died from')
                server.stop()

    def test_a_stopped_worker_holds_up_neither_clients_nor_the_end(self):
        with self.server('--drain-timeout', '0.5') as server:
            ready(server, self.mode)
            stopped = server.workers()[0]
            os.kill(stopped, signal.SIGSTOP)
            serves(self, server)
            begin = time.monotonic()
            server.stop()  # which also looks that no process is left
            self.assertLess(time.monotonic() - begin, 8)
            self.assertFalse(alive(stopped))

    def test_workers_that_die_at_every_start_are_started_at_growing_distances(self):
        with self.server('--loop-timeout', '0.01', '--loop-does', 'crash') as server:
            server.wait_for_log(r'replaced in 800 ms')
            pauses = [int(ms) for line in server.log
                      for ms in re.findall(r'worker 1 .*replaced in (\d+) ms', line)]
            self.assertEqual(pauses, [100, 200, 400, 800])
            serves(self, server, 3)  # the other one, whose loop does nothing
            server.stop()
            self.assertEqual(server.log_count('worker 2 .*replaced'), 0)


class Masters(InModes):
    modes = PREFORK + ('fork',)

    def rebind(self, port):
        """A new server takes the port as soon as it is free."""
        def started():
            second = self.server('--localport', str(port))
            with contextlib.suppress(Failure):
                return second.start()
        return wait_until('the port is free', started)

    def test_without_their_master_idle_workers_end_at_once(self):
        with self.server() as server:
            serves(self, server, 4)
            pids = server.pids()
            os.kill(server.pid, signal.SIGKILL)
            begin = time.monotonic()
            wait_until('all are gone', lambda: not any(map(alive, pids)))
            self.assertLess(time.monotonic() - begin, 2)
            with self.rebind(server.port) as second:
                serves(self, second, 2)
            server.wait(status=-signal.SIGKILL)

    def test_without_their_master_connections_may_finish_and_the_port_is_free(self):
        with self.server() as server, server.client() as held:
            held.send(b'echo before\n').expect(b'before\n')
            pids, port = tree(server.pid), server.port
            os.kill(server.pid, signal.SIGKILL)
            with self.rebind(port) as second:
                serves(self, second, 2)
                held.send(b'echo after\n').expect(b'after\n')
                held.shutdown().expect_end()
                wait_until('all are gone', lambda: not any(map(alive, pids)))
            server.wait(status=-signal.SIGKILL)


load_tests = in_modes(Dying, Masters)

if __name__ == '__main__':
    unittest.main()
