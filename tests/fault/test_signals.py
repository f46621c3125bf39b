"""test_signals.py - storms of signals, groups of processes, stops and starts: nothing is lost."""
import contextlib
import itertools
import os
import signal
import socket
import time
import unittest

from faults import InModes, books, folder, in_modes, ready, settle, start_quietly
from netd import alive, tree, wait_until

STORM = (signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP,
         signal.SIGPIPE)


def to_all(server, signum):
    """To every process of the server; the first may end others before their turn."""
    for pid in server.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


class Storms(InModes):
    def test_a_hundred_thousand_signals_then_sigterm(self):
        with folder() as place:
            path = f'{place}/socket'
            server = self.server('--logfile', '/dev/null', '--localpath', path)
            with start_quietly(server, path):
                with server.client() as client:
                    for number, signum in zip(range(100000), itertools.cycle(STORM)):
                        os.kill(server.pid, signum)
                        if number % 10000 == 0:
                            client.send(b'echo %d\n' % number).expect(b'%d\n' % number)
                server.stop(signal.SIGTERM)

    def test_sigterm_in_the_midst_of_a_storm(self):
        for signum in (signal.SIGTERM, signal.SIGINT):
            with self.server() as server:
                for number, other in zip(range(300), itertools.cycle(STORM)):
                    if number == 150:
                        os.kill(server.pid, signum)
                    if server.process.poll() is None:
                        server.signal(other)
                server.wait()


class Groups(InModes):
    def test_a_sigterm_to_every_process_lets_connections_finish(self):
        """As service managers send it."""
        with self.server() as server, server.client() as client:
            client.send(b'echo before\n').expect(b'before\n')
            to_all(server, signal.SIGTERM)
            server.wait_for_log('SIGTERM: no new connections')
            client.send(b'draining\necho after\n').expect(b'ok 1\nafter\n')
            client.shutdown().expect_end()
            server.wait()

    def test_a_sigint_to_every_process_ends_all(self):
        """As Ctrl-C sends it."""
        with self.server() as server, server.client() as client:
            client.send(b'echo before\n').expect(b'before\n')
            to_all(server, signal.SIGINT)
            server.wait()
            client.expect_gone()


class Stopped(InModes):
    def test_who_comes_while_all_is_stopped_is_served_after(self):
        with self.server() as server:
            ready(server, self.mode)
            server.talk(b'echo warm\n')
            before = server.settled(lambda: books(server))
            pids = server.pids()
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            clients = [server.client() for _ in range(200)]  # held by the queue of the kernel
            for number, client in enumerate(clients):
                client.send(b'echo %d\n' % number)
                client.sock.shutdown(socket.SHUT_WR)
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)
            for number, client in enumerate(clients):
                client.expect(b'%d\n' % number).expect_end()
                client.close()
            settle(server, before)


class Loops(InModes):
    """service.loop waits in the accepting process: what happens meanwhile is not forgotten."""
    modes = ('fork',)

    def test_a_handler_that_ends_and_a_sigterm_in_a_turn_of_the_loop(self):
        with self.server('--loop-timeout', '0.1', '--loop-does', 'sleep') as server:
            client = server.client()
            client.send(b'pid\n')
            handler = int(client.expect_line(r'(\d+) .*').group(1))
            turns = server.log_count('loop in')
            server.wait_for_log('loop in', count=turns + 1)  # it sleeps for 1 s from now on
            client.close()
            wait_until('the handler is a corpse', lambda: not alive(handler))
            server.signal(signal.SIGTERM)
            begin = time.monotonic()
            server.wait()
            self.assertLess(time.monotonic() - begin, 3)


class Pipes(InModes):
    def test_a_peer_that_is_gone_while_we_write_ends_no_process(self):
        with self.server() as server:
            pids = tree(server.pid)
            for _ in range(5):
                client = server.client()
                client.send(b'sleep 30\nbig 3000000\nbig 3000000\n')
                client.reset()
            self.assertEqual(server.talk(b'echo on\n'), b'on\n')
            self.assertTrue(all(map(alive, pids)))
            self.assertEqual(server.log_count('signal'), 0)


load_tests = in_modes(Storms, Groups, Stopped, Loops, Pipes)

if __name__ == '__main__':
    unittest.main()
