"""test_life.py - how a server ends, drains, fails and goes on: the same in every mode."""
import contextlib
import os
import re
import signal
import socket
import time
import unittest

from modes import InEveryMode, every_mode
from netd import SIGNALS_HELD, wait_until


class Stopping(InEveryMode):
    def test_sigterm_lets_connections_finish(self):
        with self.server() as server, server.client() as client:
            client.send(b'echo begin\n').expect(b'begin\n')
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM: no new connections')
            wait_until('the port is free', lambda: self.refused(server))
            client.send(b'draining\n').expect(b'ok 1\n')
            client.send(b'echo end\n').expect(b'end\n')
            client.shutdown().expect_end()
            server.wait()

    @staticmethod
    def refused(server):
        try:
            server.socket().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass  # let in by the kernel in the very moment in which the door was closed
        return False

    def test_who_is_in_the_queue_is_served_before_the_door_closes(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            first = stack.enter_context(server.client())
            first.send(b'echo in\n').expect(b'in\n')
            server.signal(signal.SIGSTOP)
            waiting = [stack.enter_context(server.client()) for _ in range(5)]
            for client in waiting:
                client.send(b'echo served\n').shutdown()
            server.signal(signal.SIGTERM)
            server.signal(signal.SIGCONT)
            first.close()
            for client in waiting:
                client.expect(b'served\n').expect_end()
            server.wait()

    def test_the_drain_ends_after_its_time(self):
        with self.server('--drain-timeout', '0.3') as server, server.client() as client:
            client.send(b'echo begin\n').expect(b'begin\n')
            server.signal(signal.SIGTERM)
            server.wait_for_log('drain time over: stopping now')
            client.expect_gone()
            server.wait()

    def test_sigint_cuts_idle_clients(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client())
                       for _ in range(1 if self.serial else 3)]
            for client in clients:
                client.send(b'echo here\n').expect(b'here\n')
            server.stop(signal.SIGINT)
            for client in clients:
                client.expect_gone()

    def test_a_second_sigterm_cuts_as_well(self):
        with self.server() as server, server.client() as client:
            client.send(b'echo begin\n').expect(b'begin\n')
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM: no new')
            server.signal(signal.SIGTERM)
            client.expect_gone()
            server.wait()

    def test_sigint_ends_every_kind_of_wait(self):
        for command in (b'sleep 60000', b'poll 60000', b'deadline 60000', b'line', b'read 10',
                        b'writedeadline 60000', b'big 90000000'):
            with self.subTest(command), self.server() as server, server.client() as client:
                client.send(b'echo begin\n').expect(b'begin\n')
                client.send(command + b'\n')
                server.stop(signal.SIGINT)

    def test_deferred_functions_run_when_a_stop_cuts_the_connection(self):
        with self.server() as server, server.client() as client:
            client.send(b'defer ABC\necho begin\n').expect(b'begin\n')
            server.stop(signal.SIGINT)
            self.assertEqual([line[-1] for line in server.log if 'deferred' in line],
                             ['C', 'B', 'A'])

    def test_a_handler_that_does_not_end_is_left_behind(self):
        with self.server() as server, server.client() as client:
            client.send(b'spin 60000\n').expect(b'spinning\n')
            begin = time.monotonic()
            if self.shares_thread:  # the only thread is the handler's: the second one kills
                server.signal(signal.SIGINT)
                wait_until('the first was taken', lambda: not self.catches_sigint(server))
                server.stop(signal.SIGINT, status=-signal.SIGINT)
            else:
                server.stop(signal.SIGINT, status=1 if self.mode == 'threads' else 0)
            self.assertLess(time.monotonic() - begin, 10)

    def test_a_drain_waits_for_what_was_offloaded(self):
        with self.server() as server, server.client() as client:
            client.send(b'offloadnap 300\n').expect(b'napping\n')
            server.signal(signal.SIGTERM)
            client.expect(b'ok 0\n')
            client.shutdown().expect_end()
            server.wait()

    def test_a_stop_ends_the_wait_of_what_was_offloaded(self):
        with self.server() as server, server.client() as client:
            client.send(b'offloadnap 60000\n').expect(b'napping\n')
            begin = time.monotonic()
            server.stop(signal.SIGINT)
            self.assertLess(time.monotonic() - begin, 10)

    @staticmethod
    def catches_sigint(server):
        return int(server.status()['SigCgt'], 16) & 1 << signal.SIGINT - 1

    def test_a_handler_can_stop_the_server(self):
        with self.server() as server, server.client() as client:
            client.send(b'stop\n').expect(b'ok 0\n')
            server.wait_for_log('stop requested: no new connections')
            client.send(b'draining\n').expect(b'ok 1\n')
            client.close()
            server.wait()

    def test_stop_while_idle(self):
        for signum in (signal.SIGTERM, signal.SIGINT):
            with self.server() as server:
                server.stop(signum)
                self.assertTrue(any('conform terminated' in line for line in server.log))
                done = sum(' done in ' in line for line in server.log)
                self.assertEqual(done, self.accepting)

    def test_timeout(self):
        with self.server('--timeout', '0.3') as server, server.client() as client:
            server.wait_for_log('time-out: stopping now')
            client.expect_gone()
            server.wait()

    def test_a_spawned_function_holds_up_the_drain(self):
        with self.server() as server:
            server.talk(b'spawn tail\n')
            server.stop()
            self.assertTrue(any('spawned tail' in line for line in server.log))


class Failing(InEveryMode):
    def test_run_that_fails_costs_one_connection_and_one_line(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'echo before\nfail 5\n'), b'before\n')
            server.wait_for_log(r'err, .*conn \d+ \(127.0.0.1:\d+\): ended in error: '
                                'Input/output error')
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')
            self.assertEqual(server.log_count('err, '), 1)

    def test_fatal_ends_the_connection(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'defer AB\nfatal %n%s\necho never\n'),
                             b'last words\nBA')
            server.wait_for_log(r'err, .*conn \d+ .*: fatal: %n%s$')
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')
            self.assertEqual(server.log_count('err, '), 1)

    def test_fatal_in_a_deferred_function_ends_that_function_only(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'defer AFB\n'), b'BFA')
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')

    def test_deferred_functions_run_last_in_first_out(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'defer ABC\necho x\n'), b'x\nCBA')
            self.assertEqual(server.talk(b'defer ABC\nfail 1\n'), b'CBA')

    def test_refused_by_the_service(self):
        with self.server('--refuse') as server, server.client() as client:
            client.expect_end()
            server.wait_for_log('err, .*: refused by the service')

    def test_open_that_fails(self):
        with self.server('--open-fails') as server, server.client() as client:
            client.expect_end()
            server.wait_for_log('err, .*: set-up failed: Input/output error')

    def test_a_peer_that_resets(self):
        with self.server() as server:
            for command in (b'', b'echo x\n', b'line\n', b'big 5000000\n', b'sleep 20\necho x\n'):
                client = server.client()
                client.send(command)
                client.reset()
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')

    def test_a_crash_costs_what_the_mode_says(self):
        if self.shares_process:
            with self.server() as server:
                server.client().send(b'crash\n').expect_gone()
                server.wait(status=-signal.SIGSEGV)
            return
        with self.server() as server:
            server.client().send(b'crash\n').expect_gone()
            server.wait_for_log(r'err, .*died from signal 11')
            begin = time.monotonic()
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')
            self.assertLess(time.monotonic() - begin, 3)

    def test_exit_in_a_handler(self):
        if self.shares_process:
            with self.server() as server:
                server.client().send(b'exit 3\n').expect_gone()
                server.wait(status=3)
            return
        with self.server() as server:
            server.client().send(b'exit 3\n').expect_gone()
            server.wait_for_log('exited with status 3')
            self.assertEqual(server.talk(b'echo after\n'), b'after\n')

    def test_what_a_handler_prints_is_not_lost(self):
        with self.server() as server:
            server.talk(b'print hello\n')
            server.talk(b'print again\n')
            server.stop()
            self.assertEqual(sorted(server.output.split()), [b'again', b'hello'])


class Serving(InEveryMode):
    def test_many_at_a_time(self):
        count = self.accepting if self.serial else 50
        with self.server() as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(count)]
            for number, client in enumerate(clients):
                client.send(b'echo %d\n' % number)
            for number, client in reversed(list(enumerate(clients))):
                client.expect(b'%d\n' % number)
            if not self.serial:
                clients[0].send(b'stats\n').expect_line('active=50 .*')

    def test_where_connections_are_served(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(2)]
            pids = []
            for client in clients:
                client.send(b'pid\n')
                pids.append(client.expect_line(r'(\d+) (\d+) (\d+)').groups())
                if self.mode == 'single':
                    client.close()
            if self.forks:
                self.assertNotEqual(pids[0][0], pids[1][0])
                self.assertNotEqual(int(pids[0][0]), server.pid)
            elif not self.prefork:
                self.assertEqual([int(pid[0]) for pid in pids], [server.pid] * 2)
            if self.mode == 'threads':
                self.assertNotEqual(pids[0][2], pids[1][2])

    def test_at_the_limit_clients_wait_and_are_served(self):
        limit = 1 if self.serial else 3
        with self.server('--max-connections', str(limit)) as server, \
                contextlib.ExitStack() as stack:
            held = [stack.enter_context(server.client()) for _ in range(limit)]
            for client in held:
                client.send(b'echo in\n').expect(b'in\n')
            waiting = stack.enter_context(server.client())
            waiting.send(b'echo at last\n')
            waiting.sock.settimeout(0.2)
            with self.assertRaises(socket.timeout):
                waiting.sock.recv(1)
            waiting.sock.settimeout(server.patience)
            held[0].close()
            waiting.expect(b'at last\n')

    def test_the_log(self):
        with self.server('--debug') as server:
            server.talk(b'log hello\\ \x01\x1b[31m\xff\n')
            stamp = r'^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} '
            thread = r'\.\d+' if self.mode.endswith('threads') else ''
            server.wait_for_log(stamp + r'notice, \d+' + thread +
                                r', conn \d+ \(127.0.0.1:\d+\): hello\\\\ \\x01\\x1b\[31m\\xff$')
            server.wait_for_log(r'debug, .*: debug hello')
            server.wait_for_log(r'info, \d+' + thread + ', server hello')

    def test_debug_is_off_by_default(self):
        with self.server() as server:
            server.talk(b'log hello\n')
            server.wait_for_log('server hello')
            self.assertEqual(server.log_count(' debug'), 0)

    def test_loop_is_called_without_drift(self):
        start = time.monotonic()
        with self.server('--loop-timeout', '0.1') as server:
            server.wait_for_log(r'loop in', count=1)
            first = time.monotonic()
            server.wait_for_log(r'loop in', count=11)
            self.assertGreater(time.monotonic() - start, 1)  # we may have heard late of the first
            self.assertLess(time.monotonic() - first, 3)
            callers = {re.search(r'loop in (\d+)', line).group(1)
                       for line in server.log if 'loop in' in line}
            self.assertEqual(len(callers), 1)

    def test_loop_child_runs_beside_the_accept_loop(self):
        with self.server('--loop-timeout', '0.05', '--loop-child', '--loop-does', 'sleep') as server:
            server.wait_for_log('loop in')
            begin = time.monotonic()
            self.assertEqual(server.talk(b'echo meanwhile\n'), b'meanwhile\n')
            if not self.serial:
                self.assertLess(time.monotonic() - begin, 0.9)  # it sleeps for 1 s
            server.wait_for_log('loop in', count=2)
            if self.mode == 'fork':
                pids = re.findall(r'loop in (\d+)', '\n'.join(server.log))
                self.assertNotIn(str(server.pid), pids)

    def test_loop_that_fails_is_logged_and_called_again(self):
        with self.server('--loop-timeout', '0.05', '--loop-does', 'fail') as server:
            server.wait_for_log('err, .*loop failed: Input/output error', count=2)
            self.assertEqual(server.talk(b'echo on\n'), b'on\n')

    def test_loop_can_stop_the_server(self):
        with self.server('--loop-timeout', '0.05', '--loop-does', 'stop') as server:
            server.wait()

    def test_reopening_the_log(self):
        path = f'/tmp/netd-test-{os.getpid()}-{self.mode}.log'
        server = self.server('--logfile', path, '--bind', 'tcp:127.0.0.1:0')
        try:
            server.start(wait=False)
            wait_until('it listens', lambda: os.path.exists(path) and
                       'listening' in open(path, encoding='utf-8').read())
            with open(path, encoding='utf-8') as file:
                server.addresses = [re.search(r'listening on (\S+)', file.read()).group(1)]
            for signum in (signal.SIGHUP, signal.SIGUSR1):
                with server.client() as client:
                    client.send(b'echo open\n').expect(b'open\n')
                    os.rename(path, path + '.old')
                    server.signal(signum)

                    def reopened():
                        if SIGNALS_HELD:  # perhaps by the fiber that was interrupted: let it run
                            client.send(b'echo x\n').expect(b'x\n')
                        return os.path.exists(path)
                    wait_until('the new file is there', reopened)

                    def seen():
                        client.send(b'log after\n').expect(b'ok 0\n')
                        with open(path, encoding='utf-8') as file:
                            return 'after' in file.read()
                    wait_until('lines go to the new file', seen)
            server.stop()
        finally:
            server.kill()
            for name in (path, path + '.old'):
                if os.path.exists(name):
                    os.unlink(name)

    def test_nothing_leaks_per_connection(self):
        with self.server() as server:
            def work(count):
                for number in range(count):
                    server.talk((b'echo x\n', b'fail 5\n', b'fatal x\n', b'bye x\n')[number % 4])
            work(20)
            before = server.settled(server.fd_count)
            work(100)
            wait_until('descriptors are back', lambda: server.fd_count() <= before)

    def test_refused_clients_leak_nothing(self):
        with self.server('--refuse') as server:
            def work(count):
                for _ in range(count):
                    with server.client() as client:
                        client.expect_gone()
            work(20)
            before = server.settled(server.fd_count)
            work(100)
            wait_until('descriptors are back', lambda: server.fd_count() <= before)


load_tests = every_mode(Stopping, Failing, Serving)

if __name__ == '__main__':
    unittest.main()
