#!/usr/bin/env python3
"""test_options.py - every option of --help does what the manual says, from outside; and the ways to
give one: command line (long, short, abbreviated, negated), config file in both syntaxes, which of
them wins. What is refused: test_refuse.py.

test_every_row_is_tested names the options that have no test: add test_NAME to Options, or to
one of the classes it is made of.
"""
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import unittest

from clients import OfClients
from completion import OfCompletion
from fibers import OfFibers
from ground import NOBODY, SANITIZED, Ground, needs_root, needs_strace, traced
from limits import OfLimits
from netd import Client, connect, program, wait_until
from supervised import OfSupervision


NOT = '(?:no|in doubt)'


class Rows(Ground):
    def rows(self):
        text = self.run_program('--help').stdout
        return re.findall(r'^  (?:--)?(?:\[no\])?([a-z][\w-]+)', text, re.M)

    def test_every_row_is_tested(self):
        rows = self.rows()
        self.assertGreater(len(rows), 32)
        missing = [name for name in rows
                   if not hasattr(Options, 'test_' + name.replace('-', '_'))]
        self.assertEqual(missing, [])

    def test_every_option_of_the_original_is_there(self):
        wanted = ('catchint childs chroot clients configfile debug facility group help listen '
                  'localaddr localpath localport logfile loop-child loop-timeout mode pidfile '
                  'proto user version').split()
        self.assertEqual([name for name in wanted if name not in self.rows()], [])


class Checked(Ground):
    def checked(self, *args, **more):
        """What --check says of each option: {name: (value, where from)}."""
        result = self.run_program('--check', *args, **more)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        return dict((name, (value, where)) for name, value, where in
                    re.findall(r'^([\w-]+): (.*) \((.*)\)$', result.stdout, re.M))


class Options(OfClients, OfFibers, OfCompletion, OfLimits, OfSupervision, Checked):
    """One test or more for each row of --help, named after it."""

    # ---- listening

    def test_bind(self):
        path = self.path('socket')
        with self.server('--bind', 'tcp:127.0.0.1:0', '--bind', f'unix:{path}', '--bind',
                         'tcp:127.0.0.2:0') as server:
            server.wait_for_log('listening on', count=3)
            for line in server.log:
                for address in re.findall(r'listening on (\S+)', line):
                    with Client(connect(address)) as client:
                        client.send(b'echo in\n').expect(b'in\n')

    def test_listen(self):
        for args, backlog in ([], 1024), (['--listen', '7'], 7):
            with self.subTest(args), self.server(*args) as server:
                if not shutil.which('ss'):
                    self.skipTest('needs ss')
                somaxconn = int(open('/proc/sys/net/core/somaxconn', encoding='ascii').read())
                line = subprocess.run(['ss', '-Hltn', f'sport = :{server.port}'], check=True,
                                      capture_output=True, text=True).stdout.split()
                self.assertEqual(int(line[2]), min(backlog, somaxconn))

    def test_localaddr(self):
        with self.server('--localaddr', '127.0.0.3', '--localport', '0') as server:
            self.assertRegex(server.address, r'^tcp:127\.0\.0\.3:\d+$')
            with self.assertRaises(ConnectionRefusedError):
                connect(f'tcp:127.0.0.1:{server.port}')
        for text, shown in (('localhost', r'tcp:(127\.0\.0\.1|\[::1\]):\d+'),
                            ('[::1]', r'tcp:\[::1\]:\d+'), ('::1', r'tcp:\[::1\]:\d+')):
            with self.subTest(text), self.server('--localaddr', text, '--localport', '0') as server:
                self.assertRegex(server.address, f'^{shown}$')
        with self.server('--localport', '0') as server:  # none given: all, as in the original
            self.assertRegex(server.address, r'^tcp:\*:\d+$')

    def test_localmode(self):
        path = self.path('socket')
        with self.server('--localpath', path, '--localmode', '0604'):
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o604)

    @needs_root
    def test_localowner(self):
        path = self.path('socket')
        with self.server('--localpath', path, '--localowner', 'nobody:daemon'):
            self.assertEqual((os.stat(path).st_uid, os.stat(path).st_gid), (NOBODY, 1))

    def test_localpath(self):
        path = self.path('socket')
        with self.server('--localpath', path) as server, server.client() as client:
            self.assertEqual(server.address, f'unix:{path}')
            client.send(b'peer\n').expect_line(rf'.* text=unix:uid=\d+,.*cred=0,{os.geteuid()},.*')
            client.send(b'option proto\n').expect(b'unix 0\n')
        with self.server('--localpath', 'socket', cwd=self.folder) as server:
            self.assertEqual(server.address, f'unix:{path}')

    def test_localport(self):
        with self.server('--localport', '0', '--localaddr', '127.0.0.1') as server:
            port = server.port
        self.assertGreater(port, 0)
        with self.server('--localport', str(port), '--localaddr', '127.0.0.1') as server:
            self.assertEqual(server.port, port)
        self.assertEqual(self.checked('--localport', 'http')['localport'], ('http', '--localport'))

    def test_proto(self):
        path = self.path('socket')
        for args, words in ((['--proto', 'tcp'], b'tcp 0\n'),
                            (['--localpath', path, '--proto', 'unix'], b'unix 0\n')):
            with self.server(*args) as server:
                self.assertEqual(server.talk(b'option proto\n'), words)

    # ---- access

    def test_clients(self):
        config = self.file('x.conf', r"""{
            # the first one that fits decides
            clients => [
                { mask => '^127\.0\.0\.[12]$', accept => 1, colour => 'red' },
                { mask => ['^127\.0\.0\.3$', '^127\.0\.0\.4$'], accept => 0 },
                { net => '127.0.0.0/28', accept => 1, colour => 'blue' },
            ] }""")
        with self.server('--configfile', config, '--bind', 'tcp:127.0.0.1:0') as server:
            for source, words in (('127.0.0.1', b'1 red\n'), ('127.0.0.4', b''),
                                  ('127.0.0.5', b'3 blue\n'), ('127.0.0.16', b'')):
                with server.client(source=source) as client:
                    try:
                        client.send(b'client colour\n').shutdown()
                        self.assertEqual(client.read_all(), words)
                    except OSError:
                        self.assertEqual(words, b'')

    def test_clients_by_credentials(self):
        path, me = self.path('socket'), os.geteuid()
        for rules, words in ((f'[{{ uid => {me}, accept => 1 }}]', b'in\n'),
                             (f'[{{ uid => {me + 1}, accept => 1 }}]', b''),
                             (f'[{{ gid => [7, {os.getegid()}], accept => 1 }}]', b'in\n')):
            config = self.file('x.conf', f'{{ clients => {rules} }}')
            with self.server('--configfile', config, '--localpath', path) as server, \
                    server.client() as client:
                try:
                    client.send(b'echo in\n').shutdown()
                    self.assertEqual(client.read_all(), words)
                except OSError:
                    self.assertEqual(words, b'')

    # ---- concurrency

    def test_childs(self):
        with self.server('--childs', '3') as server:
            wait_until('there are three', lambda: len(server.workers()) == 3)
            pids = set()
            clients = [server.client() for _ in range(3)]
            for client in clients:
                client.send(b'pid\n')
                pids.add(int(client.expect_line(r'(\d+) .*')[1]))
            self.assertEqual(pids, set(server.workers()))
            clients[0].send(b'option mode\n').expect(b'single 0\n')  # the default with --childs
            for client in clients:
                client.close()
        with self.server('--childs', '0') as server:
            self.assertEqual(server.workers(), [])

    def test_max_connections(self):
        with self.server('--max-connections', '2') as server:
            first, second, third = (server.client() for _ in range(3))
            first.send(b'echo in\n').expect(b'in\n')
            second.send(b'echo in\n').expect(b'in\n')
            third.send(b'echo in\n')
            first.send(b'stats\n').expect_line('active=2 .*')
            second.close()
            third.expect(b'in\n')
            first.close()
            third.close()

    def test_mode(self):
        for mode, said in (('single', 'single'), ('fork', 'fork'), ('threads', 'threads'),
                           ('ithreads', 'threads'), ('fibers', 'fibers')):
            with self.subTest(mode), self.server('--mode', mode) as server, \
                    server.client() as client:
                server.wait_for_log(f'starting: mode {said}, 0 childs')
                client.send(b'pid\n')
                pid = int(client.expect_line(r'(\d+) .*')[1])
                self.assertEqual(pid == server.pid, said != 'fork')
                # of one process, or one in each of two; in fibers the other one is the watchdog
                tasks = 1 if said == 'single' else 2
                self.assertEqual(server.thread_count(), tasks)
        with self.server() as server:
            self.assertEqual(server.talk(b'option mode\n'), b'threads 0\n')

    def test_stack_size(self):
        def stacks(size):
            """Mappings of about that size in a server with one thread for a connection."""
            args = ['--stack-size', size] if size else []
            with self.server('--mode', 'threads', *args) as server, server.client() as client:
                client.send(b'echo in\n').expect(b'in\n')
                with open(f'/proc/{server.pid}/maps', encoding='ascii') as maps:
                    ranges = re.findall(r'^(\w+)-(\w+) rw-p 00000000 00:00 0 *$', maps.read(), re.M)
            return [int(end, 16) - int(start, 16) for start, end in ranges]

        def near(sizes, wanted):
            return [size for size in sizes if 0 <= size - wanted <= 65536 or
                    0 <= wanted - size <= 8192]
        self.assertTrue(near(stacks('3M'), 3 << 20))
        self.assertTrue(near(stacks('5120K'), 5 << 20))
        self.assertTrue(near(stacks('7340032'), 7 << 20))
        self.assertFalse(near(stacks(None), 3 << 20))

    # ---- privileges

    @needs_root
    def test_chroot(self):
        jail = self.jail()
        with self.server('--chroot', jail) as server:
            self.assertEqual(os.readlink(f'/proc/{server.pid}/root'), jail)
            self.assertEqual(os.readlink(f'/proc/{server.pid}/cwd'), jail)
            self.assertEqual(server.talk(b'sendfile /etc/passwd\n'), b'error ENOENT\n')

    @needs_root
    def test_coredump(self):
        for args, owner in ([], 0), (['--coredump'], NOBODY), (['--coredump', '--nocoredump'], 0):
            with self.subTest(args), self.server('--user', 'nobody', *args) as server:
                self.assertEqual(os.stat(f'/proc/{server.pid}/environ').st_uid, owner)

    @needs_root
    def test_group(self):
        for text in 'daemon', '1':
            with self.subTest(text), self.server('--group', text) as server:
                seen = server.status()
                self.assertEqual((seen['Gid'].split(), seen['Uid'].split()), (['1'] * 4, ['0'] * 4))

    @needs_root
    def test_user(self):
        for args, uid, gid in ((['nobody'], NOBODY, NOBODY), ([str(NOBODY)], NOBODY, NOBODY),
                               (['nobody', '--group', 'daemon'], NOBODY, 1),
                               (['4711', '--group', '4712'], 4711, 4712), (['root'], 0, 0)):
            with self.subTest(args), self.server('--user', *args) as server:
                seen = server.status()
                self.assertEqual(seen['Uid'].split(), [str(uid)] * 4)
                self.assertEqual(seen['Gid'].split(), [str(gid)] * 4)

    # ---- logging

    def test_debug(self):
        for args, count in ([], 0), (['--debug'], 1), (['--debug', '--nodebug'], 0):
            with self.subTest(args), self.server(*args) as server:
                server.talk(b'log hello\n')
                server.wait_for_log('server hello')
                self.assertEqual(server.log_count(r'debug, .*: debug hello'), count)

    @needs_root
    def test_facility(self):
        """Its number stands in what goes to the system's log."""
        if not shutil.which('unshare'):
            self.skipTest('needs unshare')
        for args, facility in ([], 3), (['--facility', 'mail'], 2), (['--facility', 'local7'], 23):
            with self.subTest(args):
                self.assertEqual(self.syslog_priorities(args), {facility * 8 + 5, facility * 8 + 6})

    def syslog_priorities(self, args):
        """Run a server that sees a /dev of ours, and read its log there."""
        path, dev = self.path('log'), self.path('dev')
        os.makedirs(dev, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(path)
            log.settimeout(15)
            script = (f'mount -t tmpfs none {dev} && mknod -m 666 {dev}/null c 1 3 && '
                      f'ln -s {path} {dev}/log && mount --bind {dev} /dev && exec "$@"')
            server = self.server('--localaddr', '127.0.0.1', '--localport', '0', '--timeout', '60',
                                 '--user', 'root', *args, standard=False,
                                 wrapper=['unshare', '-m', 'sh', '-c', script, 'sh'])
            lines = []
            with server.start(wait=False):
                while not lines or b'listening on' not in lines[-1]:
                    lines.append(log.recv(4096))
                server.addresses = [lines[-1].decode().split('listening on ')[1].strip()]
                server.talk(b'log to the system\n')
                while b'server to the system' not in lines[-1]:
                    lines.append(log.recv(4096))
        os.unlink(path)
        for line in lines:
            self.assertRegex(line, rb'^<\d+>\w{3} [ \d]\d \d\d:\d\d:\d\d conform\[\d+\]: ')
        return {int(re.match(rb'<(\d+)>', line)[1]) for line in lines}

    def test_logfile(self):
        """Appended to, made where it is missing; STDERR in any case of letters."""
        path = self.file('log', 'before\n')
        args = ['--bind', f'unix:{self.path("s")}']
        for turn in 1, 2:
            server = self.server('--logfile', path, *args)
            with server.start(wait=False):
                wait_until('it listens', lambda: self.read('log').count('listening on') == turn)
                server.addresses = [f'unix:{self.path("s")}']
                server.talk(b'log hello\n')
        text = self.read('log')
        self.assertTrue(text.startswith('before\n'))
        self.assertEqual((text.count(': hello\n'), server.log), (2, []))
        with self.server('--logfile', 'stderr') as server:
            server.wait_for_log('starting')
        with self.server('--logfile', self.path('new'), *args).start(wait=False):
            self.wait_for_file('new', 'listening on')
        self.assertEqual(os.stat(self.path('new')).st_mode & 0o022, 0)

    # ---- life

    def test_catchint(self):
        """A signal that interrupts a handler's wait: gone on with, unless --nocatchint."""
        for mode in 'single', 'fork':
            for args, interrupted in (['--nocatchint'], True), (['--catchint'], False), ([], False):
                with self.subTest(mode, args=args), self.server('--mode', mode, *args) as server, \
                        server.client() as client:
                    client.send(b'pid\n')
                    pid = int(client.expect_line(r'(\d+) .*')[1])
                    # What it has to say comes when it is about to wait for the next line.
                    client.send(b'echo soon\nline\n').expect(b'soon\n')
                    for _ in range(50 if interrupted else 3):  # the first may come too early
                        os.kill(pid, signal.SIGUSR1)
                        if select.select([client.sock], [], [], 0.1)[0]:
                            break
                    if interrupted:
                        client.expect(b'error EINTR\n')
                    else:
                        client.send(b'four\n').expect(b'ok 5\n')

    def test_configfile(self):
        config = self.file('x.conf', "{ mode => 'fork', childs => 2 }")
        for args in (['--configfile', config], [f'--configfile={config}'], ['--configf', config]):
            seen = self.checked('--localport', '0', *args)
            self.assertEqual(seen['mode'], ('fork', f'{config}:1:11'))
            self.assertEqual(seen['childs'], ('2', f'{config}:1:29'))

    def test_drain_timeout(self):
        for text, least, most in ('0', 0, 3), ('0.7', 0.6, 5):
            with self.server('--drain-timeout', text) as server, server.client() as client:
                client.send(b'echo in\n').expect(b'in\n')
                began = time.monotonic()
                server.stop()
                took = time.monotonic() - began
                self.assertGreaterEqual(took, least)
                self.assertLess(took, most)

    def ends_a_client(self, option, said, words):
        """0.3 seconds are a limit, and 0 is none; test_deadlines.py has the rest."""
        with self.server(option, '0.3') as server, server.client() as client:
            client.send(said).expect_gone()
            server.wait_for_log(rf'{option[2:]}: {words} 0\.3 s$')
        with self.server(option, '0') as server, server.client() as client:
            time.sleep(0.5)
            client.send(b'echo x\n').expect(b'x\n')

    def test_first_byte_timeout(self):
        self.ends_a_client('--first-byte-timeout', b'', 'no byte within')

    def test_idle_timeout(self):
        self.ends_a_client('--idle-timeout', b'half a line', 'nothing moved for')

    def test_total_timeout(self):
        self.ends_a_client('--total-timeout', b'half a line', 'still open after')

    def test_loop_timeout(self):
        began = time.monotonic()
        with self.server('--loop-timeout', '0.2') as server:
            server.wait_for_log('loop in', count=4)
            self.assertGreater(time.monotonic() - began, 0.75)
        with self.server() as server:
            server.talk(b'sleep 300\n')
            self.assertEqual(server.log_count('loop in'), 0)

    def test_loop_child(self):
        for args, beside in ([], False), (['--loop-child'], True):
            with self.server('--mode', 'fork', '--loop-timeout', '0.1', *args) as server:
                pid = int(server.wait_for_log(r'loop in (\d+)')[1])
                self.assertEqual(pid != server.pid, beside)

    def test_pidfile(self):
        with self.server('--pidfile', self.path('pid')) as server:
            self.assertEqual(self.read('pid'), f'{server.pid}\n')
        self.assertFalse(os.path.exists(self.path('pid')))
        with self.server('--pidfile', 'none', cwd=self.folder):
            self.assertEqual(os.listdir(self.folder), [])

    def test_timeout(self):
        with self.server('--timeout', '0.3') as server:
            began = time.monotonic()
            server.wait()
            self.assertLess(time.monotonic() - began, 5)

    # ---- information

    @needs_strace
    def test_check(self):
        """Everything is read, nothing is bound or made."""
        config = self.file('x.conf', "{ clients => [{ mask => 'example' }], user => 'root' }")
        trace = self.path('trace')
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            self.file('log', '')
            result = subprocess.run(
                ['strace', '-f', '-qq', '-o', trace, '-e', 'trace=bind,listen,openat',
                 program('conform'), '--check', '--configfile', config, '--localaddr',
                 '127.0.0.1', '--localport', str(port), '--pidfile', self.path('pid'),
                 '--logfile', self.path('no', 'log')],
                capture_output=True, text=True, check=False, env=SANITIZED)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertFalse([call for call in traced(trace)
                          if re.match(r'bind|listen|openat.*O_(CREAT|WRONLY|RDWR)', call)])
        for words in (f'would listen on tcp:127.0.0.1:{port}', 'the clients that 1 rule allows',
                      'would run as user root (0), group root (0)', 'warning: ', 'not anchored',
                      'mode: threads (default)', f'localport: {port} (--localport)'):
            self.assertIn(words, result.stdout)
        self.assertEqual(result.stdout.splitlines()[-1], 'the configuration is good')
        self.assertFalse(os.path.exists(self.path('pid')))

    def test_check_of_what_is_wrong(self):
        config = self.file('x.conf', '{ mode => 1 }')
        self.refused('--check', '--configfile', config, words=f'{config}:1:11: mode: ')
        self.refused('--check', '--user', 'no-such-user', words='--user: ')

    def test_explain(self):
        config = self.file('x.conf', r"""{ clients => [
            { net => '192.0.2.0/24', accept => 1 },
            { mask => '^198\.51\.100\.', accept => 0 },
            { uid => 4711, accept => 1 },
            { net => '2001:db8::/32', accept => 1 },
        ] }""")
        for peer, tried, verdict in (
                ('192.0.2.7', 1, 'allowed by rule 1'), ('::ffff:192.0.2.7', 1, 'allowed by rule 1'),
                ('198.51.100.1', 2, 'denied by rule 2'), ('unix:uid=4711', 3, 'allowed by rule 3'),
                ('2001:db8::1', 4, 'allowed by rule 4'), ('unix', 4, 'denied: no rule matched'),
                ('unix:uid=1,gid=2', 4, 'denied: no rule matched'),
                ('203.0.113.9', 4, 'denied: no rule matched')):
            with self.subTest(peer):
                result = self.run_program('--configfile', config, '--explain', peer)
                self.assertEqual((result.returncode, result.stderr), (0, ''))
                *rules, last = result.stdout.splitlines()
                self.assertEqual((len(rules), last), (tried, verdict))
                for number, line in enumerate(rules, 1):
                    self.assertRegex(line, rf'^rule {number} \({config}:{number + 1}:13\) .*: '
                                     f'{"yes" if number == tried and "by" in verdict else NOT}: ')
        for text, verdict in ('{ }', 'allowed: there are no'), ('{ clients => [] }', 'denied'):
            config = self.file('y.conf', text)
            result = self.run_program('--configfile', config, '--explain', '192.0.2.1')
            self.assertIn(verdict, result.stdout)

    def test_help(self):
        result = self.run_program('--help')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertRegex(result.stdout, r'\AUsage: conform \[options\]\n')
        self.assertTrue(all(len(line) <= 80 for line in result.stdout.splitlines()))
        broken = self.file('x.conf', 'broken')  # help is needed most when nothing else works
        self.assertEqual(self.run_program('--configfile', broken, '--help').stdout,
                         result.stdout)

    def test_version(self):
        result = self.run_program('--version')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertRegex(result.stdout, r'\Aconform 1 \(netdaemon \d+\.\d+\.\d+\)\n\Z')

    # ---- the service's own

    def test_refuse(self):
        with self.server('--refuse') as server, server.client() as client:
            client.expect_end()
        with self.server('--refuse', '--norefuse') as server:
            self.assertEqual(server.talk(b'option refuse\n'), b'0 0\n')

    def test_open_fails(self):
        with self.server('--open-fails') as server, server.client() as client:
            client.expect_end()
            server.wait_for_log('set-up failed')

    def test_configure_fails(self):
        self.refused('--configure-fails', words='conform: --configure-fails: as you wish')

    def test_loop_does(self):
        with self.server('--loop-does', 'stop', '--loop-timeout', '0.1') as server:
            server.wait()
        config = self.file('x.yaml', 'loop-does: sleep\nrefuse: no\n')
        with self.server('--configfile', config, '--bind', 'tcp:127.0.0.1:0') as server:
            self.assertEqual(server.talk(b'option loop-does\n'), b'sleep 0\n')


class Spelling(Checked):
    """How options are written; and who has the last word."""

    def option(self, *args):
        return self.checked('--localport', '0', *args)

    def test_all_forms_of_a_value(self):
        for args in (['--mode', 'fork'], ['--mode=fork'], ['-mode', 'fork'], ['-mode=fork'],
                     ['--mod', 'fork'], ['--mo=fork'], ['--MODE', 'fork'],
                     ['--mode', 'single', '--mode', 'fork'], ['--mode', 'fork', '--']):
            self.assertEqual(self.option(*args)['mode'], ('fork', '--mode'), args)
        for args in (['--loop-timeout', '5'], ['--loop_timeout=5'], ['--loop-t', '5']):
            self.assertEqual(self.option(*args)['loop-timeout'], ('5', '--loop-timeout'), args)

    def test_all_forms_of_a_flag(self):
        for args in ['--nocatchint'], ['--no-catchint'], ['--nocat'], ['-nocatchint'], ['--noca']:
            self.assertEqual(self.option(*args)['catchint'], ('0', '--catchint'), args)
        for args in ['--debug'], ['--de'], ['-debug'], ['--nodebug', '--debug']:
            self.assertEqual(self.option(*args)['debug'], ('1', '--debug'), args)

    def test_both_syntaxes_of_the_file(self):
        perl = self.file('x.conf', r"""
            # a comment
            {
                'mode' => 'fork', childs => 2, "loop-timeout" => 1.5, debug => 1,
                loop_child => 0, 'stack-size' => '2M', bind => ['tcp:127.0.0.1:0', "unix:/x\x21"],
                clients => [ { mask => '^127\.', accept => 1 }, ],
            };""")
        yaml = self.file('x.yaml', r"""
# a comment
mode: fork
childs: 2
loop-timeout: 1.5
debug: yes
loop_child: false
stack-size: 2M
bind: ['tcp:127.0.0.1:0', "unix:/x\x21"]
clients:
  - {mask: '^127\.', accept: true}
""")
        json = self.file('x.json', r"""{"mode": "fork", "childs": 2, "loop-timeout": 1.5,
            "debug": true, "loop_child": 0, "stack-size": "2M",
            "bind": ["tcp:127.0.0.1:0", "unix:/x!"],
            "clients": [{"mask": "^127\\.", "accept": 1}]}""")
        wanted = {'mode': 'fork', 'childs': '2', 'loop-timeout': '1.5', 'debug': '1',
                  'loop-child': '0', 'stack-size': str(2 << 20),
                  'bind': 'tcp:127.0.0.1:0 unix:/x!'}
        for path in perl, yaml, json:
            seen = self.checked('--configfile', path)
            self.assertEqual({name: seen[name][0] for name in wanted}, wanted, path)
            self.assertTrue(all(seen[name][1].startswith(f'{path}:') for name in wanted), seen)
            self.assertRegex(seen['clients'][0],
                             r"\[\{'mask' => '\^127\\\\\.', 'accept' => '\w+'\}\]")

    def test_the_command_line_wins_over_the_file(self):
        for name, text in (('x.conf', "{ mode => 'fork', debug => 1, childs => 3, "
                            "bind => 'tcp:127.0.0.9:1' }"),
                           ('x.yaml', 'mode: fork\ndebug: 1\nchilds: 3\nbind: tcp:127.0.0.9:1\n')):
            path = self.file(name, text)
            late = ['--mode', 'single', '--nodebug', '--bind', 'tcp:127.0.0.1:0']
            for args in [*late, '--configfile', path], ['--configfile', path, *late]:
                seen = self.checked(*args)
                self.assertEqual(seen['mode'], ('single', '--mode'))
                self.assertEqual(seen['debug'], ('0', '--debug'))
                self.assertEqual(seen['bind'], ('tcp:127.0.0.1:0', '--bind'))
                self.assertEqual(seen['childs'][0], '3')

    def test_a_file_written_by_hand(self):
        """Missing commas between lines draw a warning each, and the values are what was meant."""
        path = os.path.join(os.environ.get('SOURCE_ROOT', '.'),
                            'tests/data/two-missing-commas.conf')
        with open(path, encoding='utf-8') as file:
            text = file.read()
        if os.geteuid() != 0:
            text = text.replace("user      => 'daemon'", f"user => {os.geteuid()}")
        path = self.file('hand.conf', text)
        result = self.run_program('--configfile', path, '--check')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        warnings = re.findall(r'^warning: (.*)$', result.stdout, re.M)
        self.assertEqual(len(warnings), 2, warnings)
        for warning in warnings:
            self.assertRegex(warning, rf'^{re.escape(path)}:\d+:\d+: a comma is missing here$')
        seen = self.checked('--configfile', path)
        self.assertEqual([seen[name][0] for name in ('localport', 'mode')], ['2000', 'threads'])
        self.assertIn('would serve the clients that 3 rules allow', result.stdout)
        for peer, rule in (('10.1.2.3', 'allowed by rule 1\n'), ('10.2.2.3', 'denied by rule ')):
            explained = self.run_program('--configfile', path, '--explain', peer).stdout
            self.assertIn(rule, explained)


if __name__ == '__main__':
    unittest.main()
