#!/usr/bin/env python3
"""test_misbehaved.py - programs that are missing, broken, or behave badly, and shortages: each has
one clear line in the log, and the service goes on.
"""
import os
import resource
import signal
import subprocess
import threading
import unittest

from ground import SANITIZED, needs_root
from modes import every_mode
from netd import Failure, alive, fds, run, wait_until
from programs import ENDED, NETDAEMON, Programs


class Misbehaved(Programs):
    def assert_goes_on(self, server, answer=b'well\n', count=1):
        """All it takes for a service to be well."""
        for _ in range(count):
            self.assertEqual(server.talk(b'well\n'), answer)

    def test_a_program_that_vanishes_is_told_and_comes_back(self):
        script = self.script('cat', 'exec cat\n')
        with self.serve([script]) as server:
            self.assert_goes_on(server)
            os.rename(script, script + '.away')
            self.assertEqual(server.talk(), b'')
            server.wait_for_log(rf'cannot run {script}: No such file or directory$')
            os.rename(script + '.away', script)
            self.assert_goes_on(server)

    def test_a_program_that_is_replaced_is_taken_as_it_is_now(self):
        script = self.script('say', 'echo old\n')
        with self.serve([script]) as server:
            self.assertEqual(server.talk(), b'old\n')
            self.script('say', 'echo new\n')
            self.assertEqual(server.talk(), b'new\n')

    def test_a_program_that_is_executable_no_more(self):
        script = self.script('say', 'echo hello\n')
        with self.serve([script]) as server:
            os.chmod(script, 0o644)
            self.assertEqual(server.talk(), b'')
            server.wait_for_log(rf'cannot run {script}: Permission denied$')

    def test_a_script_that_loses_its_first_line(self):
        script = self.script('script', 'echo hello\n')
        with self.serve([script]) as server:
            with open(script, 'w', encoding='ascii') as file:
                file.write('echo hello\n')
            self.assertEqual(server.talk(), b'')
            server.wait_for_log(r'Exec format error: .* a script begins with a line like #!/bin/sh')

    def test_a_script_whose_interpreter_vanishes(self):
        interpreter = self.script('interpreter', 'echo hello\n')
        script = self.script('script', '#!/bin/sh\n')
        with self.serve([script]) as server:
            with open(script, 'w', encoding='ascii') as file:
                file.write(f'#!{interpreter}.not\n')
            self.assertEqual(server.talk(), b'')
            server.wait_for_log(rf"a script for '{interpreter}.not', which is not there$")

    def test_a_program_that_dies_at_once(self):
        with self.serve(['false']) as server:
            for _ in range(5):
                self.assertEqual(server.talk(), b'')
            server.wait_for_log('program .* exited with status 1 after ', count=5)

    def test_a_program_that_never_reads(self):
        with self.serve(['sh', '-c', 'sleep 0.3; echo well']) as server:
            with server.client() as client:
                client.send(b'x' * 30000)  # less than any buffer
                try:
                    client.expect(b'well\n')
                except (Failure, ConnectionError):
                    pass  # a close with input unread may overtake the answer
            server.wait_for_log(ENDED)
            self.assertEqual(server.talk(), b'well\n')

    def test_a_program_that_closes_0_but_not_1(self):
        with self.serve(['sh', '-c', 'exec <&-; sleep 0.1; echo well']) as server:
            for _ in range(2):
                self.assertEqual(server.talk(), b'well\n')
            server.wait_for_log('exited with status 0', count=2)

    def test_a_program_that_closes_everything(self):
        with self.serve(['sh', '-c', 'exec <&- >&- 2>&-; sleep 0.2; exit 5']) as server:
            self.assertEqual(server.talk(), b'')
            ended = server.wait_for_log(r'exited with status 5 after (\d+\.\d{3}) s')
            self.assertGreaterEqual(float(ended[1]), 0.2)

    def test_a_program_that_forks_away_serves_its_client_to_the_end(self):
        away = ('exec 3<&0; '
                f'(read line <&3; echo "$line"; echo $$ >{self.path("done")}) & exit 0')
        with self.serve(['sh', '-c', away]) as server:
            with server.client() as client:
                server.wait_for_log(r'program (\d+) left processes behind \(process group \1\)')
                server.wait_for_log('exited with status 0')
                client.send(b'served\n').expect(b'served\n').expect_end()
            self.read('done')

    def test_a_program_that_leaves_its_standard_error_to_another(self):
        with self.serve(['sh', '-c', f'sleep 1000 & echo $! >{self.path("child")}']) as server:
            with server.client():
                server.wait_for_log('left processes behind')
                server.wait_for_log(ENDED)
            os.kill(self.read_pid('child'), signal.SIGKILL)

    def test_a_stopped_program_is_ended_as_well(self):
        script = self.script('stop', f'echo $$ >{self.path("pid")}; echo ready; kill -STOP $$\n')
        with self.serve([script], '--drain-timeout', '0') as server, server.client() as client:
            client.expect(b'ready\n')
            server.stop(timeout=30)
            pid = self.read_pid('pid')
            wait_until('it is gone', lambda: not alive(pid))

    def test_no_pidfd_to_be_had(self):
        trace = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e',
                 'inject=pidfd_open:error=ENOSYS']
        if subprocess.run([*trace, 'true'], check=False).returncode != 0:
            raise unittest.SkipTest('strace cannot inject here')
        with self.serve(['cat'], wrapper=trace, env=SANITIZED) as server:
            self.assert_goes_on(server)
            server.wait_for_log('exited with status 0 after ')
            self.assertEqual([name for name in fds(server.pid).values() if 'pidfd' in name], [])

    def test_a_shortage_of_descriptors_is_waited_out(self):
        few = (40, 40)
        go = self.path('go')
        wait = f'sleep 0.1; until [ -e {go} ]; do sleep 0.05; done; exec cat'
        with self.serve(['sh', '-c', wait], '--max-connections', '256',
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                              few)) as server:
            answers = []
            clients = [threading.Thread(target=lambda: answers.append(server.talk(b'well\n')))
                       for _ in range(25)]
            for client in clients:
                client.start()
            if self.shares_process and not self.serial:
                server.wait_for_log('Too many open files')
            with open(go, 'w', encoding='ascii'):
                pass
            for client in clients:
                client.join()
            self.assertEqual(answers, [b'well\n'] * 25)
            self.assert_goes_on(server)

    def test_by_default_no_more_are_served_than_there_are_descriptors_for(self):
        few = (30, 30)
        mode = 'threads' if self.serial else self.mode
        with self.serve(['cat'], mode=mode,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                              few)) as server:
            answers = []
            clients = [threading.Thread(target=lambda: answers.append(server.talk(b'well\n')))
                       for _ in range(60)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            self.assertEqual(answers, [b'well\n'] * 60)
            self.assertEqual(server.log_count('Too many open files'), 0)

    def test_more_connections_than_descriptors_for_programs_are_warned_of(self):
        if self.serial or self.forks:
            self.skipTest('connections of this mode do not share descriptors')
        wanted = 30 * self.accepting
        for limit, said in ((100, 1), (200, 0)):
            with self.serve(['cat'], '--max-connections', str(wanted),
                            wrapper=['prlimit', f'--nofile={limit}:{limit}']) as server:
                server.wait_for_log('listening on')
                server.talk(b'well\n')
                self.assertEqual(server.log_count(
                    rf'warning, .*--max-connections: found {wanted}, but the descriptors of a '
                    r'process \(RLIMIT_NOFILE\) are enough for 19 programs'), said)
                self.assertEqual(server.log_count('RLIMIT_NOFILE'), said)

    @needs_root
    def test_by_default_no_more_are_served_than_there_are_processes_for(self):
        if self.prefork:
            self.skipTest('each worker counts for itself')
        user = str(62000 + os.getpid() % 3000)
        become = ['setpriv', f'--reuid={user}', f'--regid={user}', '--clear-groups']
        if run(*become, NETDAEMON, '--version').returncode:
            self.skipTest('other users may not run the programs of this build')
        with self.serve(['cat'], wrapper=[*become, 'prlimit', '--nproc=8:8']) as server:
            clients = [server.client() for _ in range(30)]
            for client in clients:
                client.send(b'well\n').shutdown()
            for client in clients:
                client.expect(b'well\n').expect_end()
                client.close()


load_tests = every_mode(Misbehaved)
