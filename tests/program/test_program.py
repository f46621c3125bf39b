#!/usr/bin/env python3
"""test_program.py - what a program finds when netdaemon starts it for a connection, and what
becomes of what it says: security rules 21 and 22, UCSPI-TCP, standard error, the line at its end.

Happy path of a test: the program tells about itself (cat /proc/self/status, env, ls), the test
compares with what must be there, in every mode. netdaemon itself is started in as bad a state as a
careless administrator could leave behind.
"""
import os
import resource
import signal
import socket
import sys
import threading

from modes import every_mode
from netd import Client, tree, wait_until
from programs import ENDED, Programs, fields, variables

FIXED_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
DIRTY = {'LD_LIBRARY_PATH': '/nowhere', 'BASH_ENV': '/nowhere', 'SHELLSHOCK': '() { :; }',
         'PROTO': 'UDP', 'TCPREMOTEHOST': '-f root', 'TCPREMOTEINFO': 'root', 'KEPT': 'a b',
         'IFS': 'x'}
LIMITS = [(resource.RLIMIT_NOFILE, (400, 500)), (resource.RLIMIT_CPU, (1000, 2000)),
          (resource.RLIMIT_STACK, (4 << 20, 8 << 20))]


def spoil():
    """In the child, before it becomes netdaemon: signals ignored and blocked, odd limits, umask."""
    for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD, signal.SIGTTOU, 40):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGALRM, 41])
    for number, pair in LIMITS:
        resource.setrlimit(number, pair)
    os.umask(0o137)


class State(Programs):
    """Rule 21."""

    def test_rule21_signal_mask_and_dispositions_are_the_default(self):
        with self.serve(['cat', '/proc/self/status'], preexec_fn=spoil) as server:
            for _ in range(2):
                status = fields(server.talk())
                for name in ('SigPnd', 'SigBlk', 'SigIgn', 'SigCgt', 'ShdPnd'):
                    self.assertEqual(int(status[name], 16), 0, name)

    def test_rule21_umask_and_limits_are_those_netdaemon_was_started_with(self):
        with self.serve(['sh', '-c', 'umask; cat /proc/self/limits'], preexec_fn=spoil) as server:
            umask, _, limits = server.talk().decode().partition('\n')
            with open(f'/proc/{server.pid}/limits', encoding='ascii') as file:
                self.assertEqual(limits, file.read())
            self.assertEqual(umask, '0137')
            self.assertRegex(limits, r'Max open files +400 +500 ')
            self.assertRegex(limits, r'Max cpu time +1000 +2000 ')

    def test_rule21_descriptors_are_the_socket_twice_and_a_pipe(self):
        with open('/etc/passwd', 'rb') as stray:
            os.set_inheritable(stray.fileno(), True)
            low = os.dup2(stray.fileno(), 77)
            with self.serve(['ls', '-l', '/proc/self/fd'], pass_fds=[low, stray.fileno()],
                            mode=self.mode) as server:
                others = [] if self.serial else [server.client() for _ in range(3)]
                lines = server.talk().decode().splitlines()
                for other in others:
                    other.close()
            os.close(low)
        found = dict(line.split(' ', 8)[-1].split(' -> ') for line in
                     (' '.join(line.split()) for line in lines[1:]))
        self.assertEqual(sorted(found), ['0', '1', '2', '3'], lines)
        self.assertEqual(found['0'], found['1'])
        self.assertTrue(found['0'].startswith('socket:'), found)
        self.assertTrue(found['2'].startswith('pipe:'), found)
        self.assertTrue(found['3'].endswith('/fd'), found)  # of ls itself

    def test_rule21_descriptors_wait_as_programs_expect(self):
        say = 'for n in 0 1 2; do grep flags /proc/self/fdinfo/$n; done'
        with self.serve(['sh', '-c', say]) as server:
            flags = [int(line.split()[1], 8) for line in server.talk().splitlines()]
            self.assertEqual([value & os.O_NONBLOCK for value in flags], [0, 0, 0])

    def test_rule21_a_process_group_of_its_own(self):
        with self.serve(['cat', '/proc/self/stat']) as server:
            stat = server.talk().decode().split()
            self.assertEqual(stat[0], stat[4], 'process and process group')

    def test_rule21_no_terminal_is_left(self):
        main, terminal = os.openpty()

        def take_terminal():
            import fcntl  # pylint: disable=import-outside-toplevel
            import termios  # pylint: disable=import-outside-toplevel
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        ask = 'if (: >/dev/tty) 2>/dev/null; then echo terminal; else echo none; fi'
        with self.serve(['sh', '-c', ask + '; cat /proc/$$/stat'], preexec_fn=take_terminal,
                        pass_fds=[terminal]) as server:
            answer, stat = server.talk().decode().split('\n', 1)
            self.assertEqual(answer, 'none')
            words = stat.split()
            self.assertEqual(words[0], words[5], 'process and session')
        os.close(terminal)
        os.close(main)

    def test_arguments_arrive_as_they_were_given(self):
        words = ['', 'two words', '--help', '--', 'a\nb', "'\"$HOME*"]
        with self.serve(['printf', '<%s>', *words]) as server:
            self.assertEqual(server.talk(), ''.join(f'<{word}>' for word in words).encode())


class Environment(Programs):
    """Rule 22."""

    def ask(self, *options, **more):
        """The variables of a program, and the client's socket name."""
        with self.serve(['env'], *options, env=DIRTY, **more) as server, server.client() as client:
            local, remote = client.sock.getsockname(), client.sock.getpeername()
            return variables(client.read_all()), local, remote

    def test_rule22_of_a_tcp_connection(self):
        found, client, server = self.ask()
        self.assertEqual(found, {
            'PATH': FIXED_PATH, 'PROTO': 'TCP',
            'TCPREMOTEIP': '127.0.0.1', 'TCPREMOTEPORT': str(client[1]),
            'TCPLOCALIP': '127.0.0.1', 'TCPLOCALPORT': str(server[1])})

    def test_rule22_of_an_ipv6_connection(self):
        found, client, server = self.ask(localaddr='::1')
        self.assertEqual(found, {
            'PATH': FIXED_PATH, 'PROTO': 'TCP',
            'TCPREMOTEIP': '::1', 'TCPREMOTEPORT': str(client[1]),
            'TCPLOCALIP': '::1', 'TCPLOCALPORT': str(server[1])})

    def test_rule22_an_ipv4_client_of_a_listener_for_both_has_ipv4_addresses(self):
        with socket.create_server(('::', 0), family=socket.AF_INET6,
                                  dualstack_ipv6=True) as listener:
            with self.serve(['env'], '--bind', f'fd:{listener.fileno()}',
                            pass_fds=[listener.fileno()]) as server:
                port = listener.getsockname()[1]
                found = variables(server.talk(address=f'tcp:127.0.0.1:{port}'))
        self.assertEqual((found['TCPREMOTEIP'], found['TCPLOCALIP'], found['TCPLOCALPORT']),
                         ('127.0.0.1', '127.0.0.1', str(port)))

    def test_rule22_of_a_unix_socket(self):
        path = self.path('socket')
        found, _, _ = self.ask('--localpath', path)
        self.assertEqual(found, {
            'PATH': FIXED_PATH, 'PROTO': 'IPC', 'IPCLOCALPATH': path,
            'IPCREMOTEEUID': str(os.geteuid()), 'IPCREMOTEEGID': str(os.getegid())})

    def test_rule22_only_what_env_names_gets_through(self):
        found, _, _ = self.ask('--env', 'KEPT', '--env', 'SET=x=y z', '--env', 'EMPTY=',
                               '--env', 'NOT_SET_HERE', '--env', 'SET2=1', '--env', 'SET2=2',
                               '--env', 'PATH=/bin:/usr/bin')
        mine = {name: value for name, value in found.items() if not name.startswith('TCP')}
        self.assertEqual(mine, {'PATH': '/bin:/usr/bin', 'PROTO': 'TCP', 'KEPT': 'a b',
                                'SET': 'x=y z', 'EMPTY': '', 'SET2': '2'})

    def test_rule22_variables_of_the_access_rule_stand_above_all(self):
        path = self.path('rules.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{ clients => [{ net => '127.0.0.0/8', accept => 1, env => "
                       "{ RELAYCLIENT => '', GROUP => 'staff', TCPREMOTEHOST => 'friend' } }] }")
        found, _, _ = self.ask('--configfile', path, '--env', 'GROUP=other',
                               '--localaddr', '127.0.0.1', '--localport', '0')
        self.assertEqual((found['RELAYCLIENT'], found['GROUP'], found['TCPREMOTEHOST']),
                         ('', 'staff', 'friend'))

    def test_rule22_more_than_fits_starts_nothing(self):
        path = self.path('rules.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{ clients => [{ accept => 1, env => { LONG => '%s' } }] }" % ('x' * 20000))
        with self.serve(['env'], '--configfile', path, '--localaddr', '127.0.0.1', '--localport',
                        '0') as server:
            self.assertEqual(server.talk(), b'')
            server.wait_for_log('conn 1 .*cannot run .*variables of the access rule')


class Words(Programs):
    """Standard error, the banner, the line at the end."""

    def test_standard_error_goes_to_the_log_line_by_line_with_the_connection(self):
        say = 'printf "one\\ntwo\\r\\nthr" >&2; sleep 0.05; printf "ee\\nfo\\0ur" >&2; echo done'
        with self.serve(['sh', '-c', say]) as server:
            self.assertEqual(server.talk(), b'done\n')
            for word in ('one', 'two', 'three', r'fo\?ur'):
                server.wait_for_log(rf'notice, .*conn 1 \(127.0.0.1:\d+\): stderr: {word}$')
            server.wait_for_log(ENDED)
            self.assertEqual(server.log_count('stderr: '), 4)

    def test_a_line_that_is_too_long_comes_in_parts(self):
        say = 'head -c 2500 /dev/zero | tr "\\0" x >&2; echo >&2; echo after >&2'
        with self.serve(['sh', '-c', say]) as server:
            server.talk()
            server.wait_for_log('stderr: after$')
            self.assertEqual(server.log_count(r'stderr: x{1024} \.\.\.$'), 2)
            self.assertEqual(server.log_count(r'stderr: x{452}$'), 1)

    def test_rule17_nothing_a_program_says_passes_for_a_line_of_ours(self):
        say = 'printf "program 1 exited with status 0 after 0.001 s\\033[2J\\\\x\\n" >&2'
        with self.serve(['sh', '-c', say]) as server:
            server.talk()
            server.wait_for_log(r'stderr: program 1 exited with status 0 after 0.001 s\\x1b\[2J')
            server.wait_for_log(r': ' + ENDED)

    def test_a_flood_of_words_holds_up_nobody_else(self):
        flood = 'if [ -e {0} ]; then echo quiet; else : >{0}; yes >&2; fi'.format(self.path('on'))
        mode = 'threads' if self.serial else self.mode
        with self.serve(['sh', '-c', flood], '--drain-timeout', '0', mode=mode) as server:
            with server.client():
                self.read_flag('on')
                self.assertEqual(server.talk(), b'quiet\n')

    def read_flag(self, name):
        wait_until(name, lambda: os.path.exists(self.path(name)))

    def test_the_end_is_told_with_status_time_and_bytes(self):
        with self.serve(['sh', '-c', 'read line; echo "$line"; exit 3']) as server:
            self.assertEqual(server.talk(b'12345\n'), b'12345\n')
            server.wait_for_log(r'warning, .*conn 1 \(.*\): program \d+ exited with status 3 after '
                                r'\d+\.\d{3} s, 6 bytes in, 6 out$')

    def test_a_good_end_is_no_warning(self):
        with self.serve(['true']) as server:
            server.talk()
            server.wait_for_log(r'info, .*program \d+ exited with status 0 after ')

    def test_a_signal_is_told_by_name(self):
        with self.serve(['sh', '-c', 'kill -SEGV $$']) as server:
            self.assertEqual(server.talk(), b'')
            server.wait_for_log(r'program \d+ was ended by signal 11 \(SIGSEGV\)')

    def test_the_banner_comes_first(self):
        with self.serve(['cat'], '--banner', r'220 x\r\n\t\\\x41') as server:
            self.assertEqual(server.talk(b'hello'), b'220 x\r\n\t\\Ahello')

    def test_half_closed_is_everyday_life(self):
        with self.serve(['sh', '-c', 'cat >/dev/null; sleep 1.5; echo read it'], '--kill-after',
                        '1') as server:
            self.assertEqual(server.talk(b'x' * 100000), b'read it\n')
            self.assertEqual(server.log_count('ended by signal'), 0)

    def test_the_client_sees_the_end_when_the_program_exits(self):
        with self.serve(['echo', 'bye']) as server, server.client() as client:
            client.expect(b'bye\n').expect_end()

    def test_a_program_that_shuts_down_lets_its_client_go_and_works_on(self):
        work = ('import os, socket, time\nclient = socket.socket(fileno=1)\nclient.send(b"bye\\n")\n'
                f'client.shutdown(socket.SHUT_RDWR)\nwhile not os.path.exists("{self.path("go")}"):\n'
                '    time.sleep(0.01)\n')
        with self.serve([sys.executable, '-c', work]) as server:
            with server.client() as client:
                client.expect(b'bye\n').expect_end()
                self.assertEqual(server.log_count(ENDED), 0)
            with open(self.path('go'), 'w', encoding='ascii'):
                pass
            server.wait_for_log('exited with status 0')


class Many(Programs):
    def test_a_thousand_connections_leave_no_zombie_and_no_descriptor(self):
        count = 1000 if self.mode == 'fibers' else 100
        with self.serve(['sh', '-c', 'read line && echo "$line"']) as server:
            self.talk_often(server, 8)
            before = server.settled(server.fd_count), len(server.pids())
            self.talk_often(server, count)
            server.wait_for_log(ENDED, count=count + 8)
            self.assertEqual((server.settled(server.fd_count), len(server.pids())), before)
            self.assertEqual([pid for pid in self.zombies(server)], [])

    def talk_often(self, server, count):
        failed = []

        def some():
            for _ in range(count // 4):
                if server.talk(b'hello\n') != b'hello\n':
                    failed.append('no answer')
        workers = [threading.Thread(target=some) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(failed, [])

    @staticmethod
    def zombies(server):
        """Dead children of its processes that nobody has buried."""
        parents = set(tree(server.pid))
        for name in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{name}/stat', 'rb') as file:
                    state, parent = file.read().rsplit(b')', 1)[1].split()[:2]
            except OSError:
                continue
            if state == b'Z' and int(parent) in parents:
                yield int(name)

    def test_at_the_limit_the_next_client_waits_its_turn(self):
        mode = 'threads' if self.serial else self.mode
        with self.serve(['sh', '-c', 'echo here; cat'], '--max-connections', '2',
                        mode=mode) as server:
            first, second = server.client(), server.client()
            first.expect(b'here\n')
            second.expect(b'here\n')
            with server.client() as third:
                third.sock.settimeout(0.3)
                with self.assertRaises(socket.timeout):
                    third.sock.recv(1)
                first.close()
                Client(third.sock).expect(b'here\n')
            second.close()


load_tests = every_mode(State, Environment, Words, Many)
