"""A server under a supervisor, in every mode: sockets handed down, readiness, the watchdog."""
import os
import re
import signal
import socket
import tempfile
import unittest

from modes import InEveryMode, every_mode
from netd import children, fds, processes, program, run, status, wait_until
from supervisor import Manager, handed, listening, text_of

PERIOD_MS = 400  # of the watchdog in these tests: a message every 200 ms
STANDARD = ['--logfile', 'STDERR', '--timeout', '300']


def inode_link(sock):
    return f'socket:[{os.fstat(sock.fileno()).st_ino}]'


class HandedDown(InEveryMode):
    def supervised(self, *args, **more):
        """Nothing says where to listen but what is handed down."""
        return self.server(*STANDARD, *args, standard=False, **more)

    def talks(self, server, address):
        with server.client(address=address) as client:
            client.send(b'echo hello\n').expect(b'hello\n')

    def test_all_of_them_serve_and_no_port_is_asked_for(self):
        with tempfile.TemporaryDirectory() as place, listening() as tcp, \
                listening(socket.AF_UNIX, f'{place}/s') as unix:
            with self.supervised(**handed(tcp, unix, names='web:local')) as server:
                server.wait_for_log(rf'listening on fd:3 \({re.escape(text_of(tcp))}\)')
                server.wait_for_log(rf'listening on fd:4 \({re.escape(text_of(unix))}\)')
                self.talks(server, text_of(tcp))
                self.talks(server, text_of(unix))

    def test_they_stay_the_givers_after_the_end(self):
        """Not shut down, and the file of a Unix socket not removed: the next server takes over."""
        with tempfile.TemporaryDirectory() as place, listening() as tcp, \
                listening(socket.AF_UNIX, f'{place}/s') as unix:
            with self.supervised(**handed(tcp, unix)) as server:
                self.talks(server, text_of(tcp))
            self.assertTrue(os.path.exists(f'{place}/s'))
            with self.supervised(**handed(tcp, unix)) as server:
                self.talks(server, text_of(tcp))
                self.talks(server, text_of(unix))
                server.signal(signal.SIGINT)
                server.wait(status=0)
            with socket.create_connection(tcp.getsockname()) as client:
                tcp.settimeout(10)
                tcp.accept()[0].close()
                self.assertEqual(client.recv(1), b'')

    def test_what_waited_at_the_door_before_the_start_is_served(self):
        with listening() as tcp, socket.create_connection(tcp.getsockname(), 15) as early:
            early.sendall(b'echo early\n')
            with self.supervised(**handed(tcp)) as server:
                with early.makefile('rb') as answer:
                    self.assertEqual(answer.readline(), b'early\n')
                early.close()
                self.talks(server, text_of(tcp))

    def test_addresses_given_besides_are_bound_too(self):
        with listening() as tcp, self.supervised('--bind', 'tcp:127.0.0.1:0', **handed(tcp)) as server:
            other = server.wait_for_log(r'listening on (tcp:127\.0\.0\.1:\d+)').group(1)
            self.assertNotEqual(other, text_of(tcp))
            self.talks(server, text_of(tcp))
            self.talks(server, other)

    def test_bind_takes_only_those_it_names(self):
        with listening() as one, listening() as two, listening() as three:
            with self.supervised('--bind', 'fd:web', '--bind', 'fd:5',
                                 **handed(one, two, three, names='admin:web:')) as server:
                server.wait_for_log(r'descriptor 3 \(admin\) is not used')
                self.talks(server, text_of(two))
                self.talks(server, text_of(three))
                self.assertEqual(server.log_count(r'listening on fd:'), 2)
                for pid in server.pids():
                    self.assertNotIn(inode_link(one), fds(pid).values())

    def test_bind_takes_a_descriptor_that_no_variable_speaks_of(self):
        with listening() as tcp:
            with self.supervised('--bind=fd:3', **handed(tcp, variables=False)) as server:
                self.talks(server, text_of(tcp))

    def test_bind_takes_standard_input(self):
        """As s6's socket binders have it; what a handler reads there is /dev/null."""
        with listening() as tcp:
            shell = ['bash', '-c', f'exec "$0" "$@" <&{tcp.fileno()}']
            with self.supervised('--bind=fd:0', wrapper=shell,
                                 pass_fds=(tcp.fileno(),)) as server:
                server.wait_for_log(r'listening on fd:0 \(tcp:127')
                self.talks(server, text_of(tcp))
                self.assertEqual(fds(server.pid)[0], '/dev/null')

    def test_rule21_no_handler_holds_a_listener_or_the_managers_socket(self):
        if not self.forks:
            self.skipTest('handlers are not processes of their own')
        with Manager() as manager, listening() as tcp:
            with self.supervised(**handed(tcp, env=manager.env)) as server:
                manager.wait_for('READY=1')
                with server.client(address=text_of(tcp)) as client:
                    client.send(b'pid\n')
                    handler = int(client.expect_line(r'(\d+) .*').group(1))
                    sockets = [link for link in fds(handler).values() if 'socket' in link]
                    self.assertEqual(len(sockets), 1, 'its connection only')


class Told(InEveryMode):
    def test_ready_when_connections_are_accepted_and_stopping_at_the_end(self):
        for abstract in (False, True):
            with Manager(abstract=abstract) as manager, self.server(env=manager.env) as server:
                ready = manager.wait_for('READY=1')
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
                self.assertEqual(ready['MAINPID'], str(server.pid))
                self.assertEqual(ready['sender'], server.pid)
                self.assertEqual(ready['STATUS'],
                                 'serving: 0 at work, 0 accepted, 0 refused, 0 failed')
                server.signal(signal.SIGTERM)
                stopping = manager.wait_for('STOPPING=1')
                self.assertEqual(stopping['sender'], server.pid)
                self.assertEqual(stopping['EXTEND_TIMEOUT_USEC'], '32000000')
                self.assertRegex(stopping['STATUS'], r'^stopping: \d at work, 1 accepted')
                server.wait(0)
                self.assertEqual(sum('READY=1' in lines for _, lines in manager.heard), 1)

    def test_the_watchdog_hears_an_idle_server_and_not_one_that_hangs(self):
        with Manager(PERIOD_MS) as manager:
            with self.server(wrapper=handed()['wrapper'], env=manager.env) as server:
                manager.wait_for('READY=1')
                for _ in range(3):
                    self.assertEqual(manager.wait_for('WATCHDOG=1')['sender'], server.pid)
                os.kill(server.pid, signal.SIGSTOP)
                wait_until('it is stopped', lambda: status(server.pid)['State'][0] == 'T')
                manager.empty()
                self.assertTrue(manager.silent_for(3 * PERIOD_MS / 1000))
                os.kill(server.pid, signal.SIGCONT)
                manager.wait_for('WATCHDOG=1')

    def test_the_watchdog_is_heard_while_clients_keep_their_handlers_waiting(self):
        with Manager(PERIOD_MS, watchdog_pid=None) as manager, \
                self.server(env=manager.env) as server:
            manager.wait_for('READY=1')
            with server.client() as client:
                client.send(b'echo x\n').expect(b'x\n')  # and now its handler waits
                manager.empty()
                for _ in range(3):
                    manager.wait_for('WATCHDOG=1')

    def test_the_watchdog_is_heard_while_draining(self):
        with Manager(PERIOD_MS, watchdog_pid=None) as manager, \
                self.server(env=manager.env) as server:
            manager.wait_for('READY=1')
            with server.client() as client:
                client.send(b'echo x\n').expect(b'x\n')
                server.signal(signal.SIGTERM)
                manager.wait_for('STOPPING=1')
                for _ in range(3):
                    manager.wait_for('WATCHDOG=1')
                client.send(b'bye\n').expect_gone()
                server.wait(0)

    def test_a_watchdog_for_another_process_is_left_alone(self):
        with Manager(PERIOD_MS, watchdog_pid=1) as manager, self.server(env=manager.env) as server:
            manager.wait_for('READY=1')
            self.assertTrue(manager.silent_for(2 * PERIOD_MS / 1000))
            server.stop()
            self.assertFalse([1 for _, lines in manager.heard if 'WATCHDOG=1' in lines])

    def test_counts_are_told_when_they_have_changed(self):
        with Manager(PERIOD_MS, watchdog_pid=None) as manager, \
                self.server(env=manager.env) as server:
            manager.wait_for('READY=1')
            self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
            manager.wait_for('STATUS=serving: 0 at work, 1 accepted, 0 refused, 0 failed')

    def test_a_manager_that_is_not_there_or_goes_away_is_no_reason_to_fail(self):
        with Manager() as manager:
            pass  # it is gone, with its folder
        with self.server(env=manager.env) as server:
            server.wait_for_log(r'NOTIFY_SOCKET: no service manager is told anything: .*No such file')
            self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
        manager = Manager(PERIOD_MS, watchdog_pid=None)
        with manager, self.server(env=manager.env) as server:
            manager.wait_for('WATCHDOG=1')
            manager.close()
            server.wait_for_log(r'NOTIFY_SOCKET: Connection refused')
            self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
            server.stop()
            self.assertEqual(server.log_count('NOTIFY_SOCKET'), 1)

    def test_notify_fd_gets_a_newline_and_is_closed(self):
        reader, writer = os.pipe()
        with os.fdopen(reader, 'rb') as pipe:
            with os.fdopen(writer, 'wb') as end:
                server = self.server('--notify-fd', str(writer), pass_fds=(writer,)).start()
                end.close()
            with server:
                self.assertEqual(pipe.read(), b'\n')  # up to the end: nobody holds it any more
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')

    def test_print_address_prints_each_when_connections_are_accepted(self):
        with self.server('--print-address', '--bind', 'tcp:127.0.0.1:0', '--bind',
                         'tcp:127.0.0.2:0') as server:
            server.wait_for_log('listening on ', count=2)
            bound = [line.split('listening on ')[1] for line in server.log
                     if 'listening on ' in line]
            wanted = '\n'.join(bound + ['']).encode()
            wait_until('it is printed', lambda: len(server.output) >= len(wanted))
            self.assertEqual(server.output, wanted)
            self.assertEqual(server.talk(b'echo hello\n', address=bound[1]), b'hello\n')


UNSHARE = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
if os.geteuid() != 0:
    UNSHARE[1:1] = ['--user', '--map-root-user']


class ProcessOne(InEveryMode):
    def setUp(self):
        if run(*UNSHARE, 'true').returncode != 0:
            self.skipTest('no process namespaces here')

    def contained(self, *args, **more):
        return self.server(*args, wrapper=UNSHARE, **more)

    @staticmethod
    def first(server):
        """The process that is number 1 inside."""
        return children(server.pid)[0]

    def test_term_drains_and_the_exit_status_is_the_servers(self):
        with self.contained() as server:
            with server.client() as client:
                client.send(b'echo x\n').expect(b'x\n')
                server.signal(signal.SIGTERM, self.first(server))
                server.wait_for_log(r'SIGTERM: no new connections; 1 at work')
                client.send(b'echo y\n').expect(b'y\n')
                client.send(b'bye\n').expect_gone()
            server.wait(0)

    def test_signals_are_passed_on(self):
        with self.contained('--debug') as server:
            os.kill(self.first(server), signal.SIGHUP)  # would end what does not handle it
            os.kill(self.first(server), signal.SIGUSR1)
            self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
            server.signal(signal.SIGINT, self.first(server))
            server.wait_for_log(r'SIGINT: stopping now')
            server.wait(0)

    def test_a_server_that_is_killed_ends_it_with_128_and_the_signal(self):
        with self.contained() as server:
            os.kill(children(self.first(server))[0], signal.SIGKILL)
            server.wait(128 + signal.SIGKILL)

    def test_a_failed_start_ends_it_with_the_servers_status(self):
        result = run(*UNSHARE, program(self.program), '--localport', 'x y')
        self.assertEqual(result.returncode, 2)
        self.assertIn('--localport', result.stderr)

    def test_orphans_are_reaped(self):
        with self.contained() as server:
            first = self.first(server)
            own = self.all_children(first)

            def orphans():
                return [pid for pid in self.all_children(first) if pid not in own]
            result = run('nsenter', f'--target={first}', '--pid', 'sh', '-c',
                         'for i in 1 2 3; do sleep 1000 >/dev/null 2>&1 & done')
            self.assertEqual(result.returncode, 0, result.stderr)
            # The shell has ended: its children are those of process 1, beside the server.
            wait_until('orphans came', lambda: len(orphans()) == 3)
            for pid in orphans():
                os.kill(pid, signal.SIGKILL)
            wait_until('they are buried', lambda: not orphans())
            self.assertEqual(self.all_children(first), own)
            server.signal(signal.SIGTERM, first)
            server.wait(0)

    @staticmethod
    def all_children(pid):
        """Corpses too."""
        return [number for number, _, parent, _ in processes() if parent == pid]

    def test_sockets_and_the_watchdog_reach_the_server_behind_it(self):
        with Manager(PERIOD_MS, watchdog_pid=1) as manager, listening() as tcp:
            env = {**manager.env, 'LISTEN_PID': '1', 'LISTEN_FDS': '1'}
            launch = handed(tcp, env=env, variables=False)
            launch['wrapper'] += [unshare_path(), *UNSHARE[1:]]
            with self.server(*STANDARD, standard=False, **launch) as server:
                ready = manager.wait_for('READY=1')
                behind = children(self.first(server))[0]
                inside = status(behind)['NSpid'].split()[-1]
                self.assertEqual((ready['MAINPID'], ready['sender']), (inside, behind))
                manager.wait_for('WATCHDOG=1')
                self.assertEqual(server.talk(b'echo hello\n', address=text_of(tcp)), b'hello\n')
                server.signal(signal.SIGTERM, self.first(server))
                server.wait(0)


def unshare_path():
    return run('sh', '-c', 'command -v unshare').stdout.strip()


load_tests = every_mode(HandedDown, Told, ProcessOne)

if __name__ == '__main__':
    unittest.main()
