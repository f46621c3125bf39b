#!/usr/bin/env python3
"""test_endings.py - how programs come to their end: with netdaemon, by a limit, with their client.
No process is left, and one clear line stands in the log.

Happy path of a test: a shell script writes its number into a file and is then deaf to all signals
but one; the test looks whether that number is gone.
"""
import os
import signal
import time

from modes import every_mode
from netd import alive, wait_until
from programs import ENDED, Programs

TOTAL = '3'  # seconds: on a busy machine a program takes its time to start
# Says who it is and who its child is, and hears of nothing but SIGKILL.
DEAF = '''trap '' TERM HUP INT
sleep 1000 & echo $! >{folder}/child
echo $$ >{folder}/parent
echo ready
wait; wait; sleep 1000
'''


class Ending(Programs):
    def deaf(self):
        return self.script('deaf', DEAF.format(folder=self.folder))

    def family(self):
        return self.read_pid('parent'), self.read_pid('child')

    def assert_gone(self, *pids):
        for pid in pids:
            wait_until(f'process {pid} is gone', lambda pid=pid: not alive(pid))

    def parallel(self, *args, **more):
        """A server that serves two at a time."""
        return self.serve(*args, mode='threads' if self.serial else self.mode, **more)


class Stops(Ending):
    def test_a_stop_waits_for_programs(self):
        with self.serve(['sh', '-c', 'echo ready; read line; echo "$line"']) as server:
            with server.client() as client:
                client.expect(b'ready\n')
                server.signal(signal.SIGTERM)
                server.wait_for_log('SIGTERM')
                client.send(b'late\n').expect(b'late\n').expect_end()
            server.wait()

    def test_after_the_drain_time_programs_and_their_children_are_ended(self):
        with self.serve([self.deaf()], '--drain-timeout', '0.3') as server:
            with server.client() as client:
                client.expect(b'ready\n')
                family = self.family()
                server.stop(timeout=30)
                self.assert_gone(*family)

    def test_a_second_term_ends_them_at_once(self):
        with self.serve([self.deaf()]) as server, server.client() as client:
            client.expect(b'ready\n')
            family = self.family()
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM')
            server.stop(timeout=30)
            server_log = '\n'.join(server.log)
            self.assert_gone(*family)
        self.assertRegex(server_log, r'was ended by signal 9 \(SIGKILL\) .*\(netdaemon stops\)')

    def test_a_program_that_hears_sigterm_gets_no_sigkill(self):
        script = self.script('polite', f'trap "echo bye >{self.path("bye")}; exit 7" TERM\n'
                                       'echo ready; while :; do sleep 0.05; done\n')
        with self.serve([script]) as server, server.client() as client:
            client.expect(b'ready\n')
            server.stop(signal.SIGINT, timeout=30)
            log = '\n'.join(server.log)
        self.assertEqual(self.read('bye'), 'bye\n')
        self.assertIn('exited with status 7', log)

    def test_many_deaf_programs_are_ended_side_by_side(self):
        script = self.script('many', f'trap "" TERM; echo $$ >{self.folder}/pid.$$; echo ready; '
                                     'exec sleep 1000\n')
        with self.parallel([script], '--drain-timeout', '0') as server:
            clients = [server.client() for _ in range(40)]
            for client in clients:
                client.expect(b'ready\n')
            pids = [int(name[4:]) for name in os.listdir(self.folder) if name.startswith('pid.')]
            self.assertEqual(len(pids), 40)
            server.stop(timeout=30)
            self.assert_gone(*pids)
            for client in clients:
                client.close()

    def test_none_is_left_when_netdaemon_is_killed(self):
        script = self.script('long', f'echo $$ >{self.path("pid")}; echo ready; exec sleep 1000\n')
        with self.serve([script]) as server, server.client() as client:
            client.expect(b'ready\n')
            pid = self.read_pid('pid')
            for victim in server.pids():
                if victim != pid:
                    os.kill(victim, signal.SIGKILL)
            self.assert_gone(pid)
            server.kill()


class Limits(Ending):
    def test_a_client_that_has_gone_ends_the_program_after_a_while(self):
        with self.serve([self.deaf()], '--kill-after', '1') as server:
            with server.client() as client:
                client.expect(b'ready\n')
                family = self.family()
                self.assertTrue(alive(family[0]))
                gone = time.monotonic()
                client.reset()
            server.wait_for_log(r'was ended by signal 9 .*\(its client has gone\)')
            self.assertGreater(time.monotonic() - gone, 0.9)
            self.assert_gone(*family)
            server.stop()

    def test_without_kill_after_it_may_finish_its_work(self):
        done = self.path('done')
        script = self.script('work', f'echo ready; sleep 1; echo ok >{done}\n')
        with self.serve([script]) as server:
            with server.client() as client:
                client.expect(b'ready\n')
                client.reset()
            server.wait_for_log(ENDED)
            self.assertEqual(self.read('done'), 'ok\n')

    def test_a_gone_client_of_a_unix_socket_counts_as_well(self):
        with self.serve([self.deaf()], '--kill-after', '1', '--localpath',
                        self.path('socket')) as server:
            with server.client() as client:
                client.expect(b'ready\n')
                family = self.family()
            server.wait_for_log(r'was ended by signal 9 .*\(its client has gone\)')
            self.assert_gone(*family)

    def test_rule14_total_timeout_ends_the_program(self):
        with self.serve([self.deaf()], '--total-timeout', TOTAL) as server:
            with server.client() as client:
                client.expect(b'ready\n').expect_gone()
            server.wait_for_log('total-timeout')
            server.wait_for_log(r'was ended by signal 9 .*\(its time is over\)')
            self.assert_gone(*self.family())

    def test_rule14_total_timeout_holds_where_an_idle_timeout_cannot(self):
        with self.serve([self.deaf()], '--total-timeout', TOTAL, '--idle-timeout', '0.2',
                        '--localpath', self.path('socket')) as server:
            with server.client() as client:
                client.expect(b'ready\n').expect_gone()
            server.wait_for_log(f'total-timeout: still open after {TOTAL} s')
            server.wait_for_log(r'was ended by signal 9 .*\(its time is over\)')
            self.assertEqual(server.log_count('no first-byte-timeout or idle-timeout here'), 1)
            self.assert_gone(*self.family())

    def test_rule14_idle_timeout_counts_bytes_both_ways(self):
        with self.serve(['cat'], '--idle-timeout', '2') as server, server.client() as client:
            for _ in range(8):  # together longer than the limit
                client.send(b'x').expect(b'x')
                time.sleep(0.3)
            client.expect_gone()
            server.wait_for_log('idle-timeout')
            server.wait_for_log(ENDED)

    def test_rule14_a_client_that_says_nothing_is_sent_away(self):
        with self.serve(['cat'], '--first-byte-timeout', '2') as server:
            with server.client() as client:
                client.expect_gone()
            server.wait_for_log('first-byte-timeout')
            server.wait_for_log(ENDED)
            self.assertEqual(server.talk(b'quick'), b'quick')


load_tests = every_mode(Stops, Limits)
