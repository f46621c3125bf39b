#!/usr/bin/env python3
"""test_rules.py - security rules shown from outside, through a real server: privileges (1 to 4,
24), addresses (9), access (10, 11), the log (17 to 19). Files and sockets: test_files.py; names:
test_names.py; every single call of the drop: test_priv.py.

What needs root or strace skips without.
"""
import contextlib
import os
import re
import socket
import subprocess
import unittest

from ground import NOBODY, SANITIZED, Ground, needs_root, needs_strace, traced, tracer
from modes import MODES
from netd import Client, connect, fds, program, run, status, threads, wait_until

DROP_CALLS = ('bind,listen,openat,flock,write,writev,pwrite64,chroot,chdir,setgroups,setresgid,'
              'setresuid,setgid,setuid,prctl,capset,getresuid,getresgid,accept4,poll,ppoll')


def as_nobody():
    """For preexec_fn."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@needs_root
@needs_strace
class Order(Ground):
    """Rules 1 and 2."""

    def test_rule01_priv_order(self):
        jail, trace, log = self.jail(), self.path('trace'), self.path('log')
        server = self.server(
            '--user', 'nobody', '--chroot', jail, '--pidfile', self.path('pid'), '--logfile', log,
            '--localaddr', '127.0.0.1', '--localport', '0', env=SANITIZED,
            wrapper=tracer(trace, DROP_CALLS)).start(wait=False)
        try:
            self.wait_for_file('log', 'listening')
            server.addresses = [re.search(r'listening on (\S+)', self.read('log'))[1]]
            self.assertEqual(server.talk(b'echo in\n'), b'in\n')
            server.stop()
        finally:
            server.kill()
        self.wait_for_file('trace', 'accept4')
        calls = traced(trace)
        steps = [r'bind\(\d+, \{sa_family=AF_INET, .* = 0', r'listen\(\d+, .* = 0',
                 rf'openat\(.*"{log}", O_WRONLY.*O_APPEND.*',
                 rf'openat\(.*"{self.path("pid")}", .*', r'flock\(.* = 0',
                 r'pwrite64\(\d+, "\d+\\n".*', rf'chroot\("{jail}"\) += 0',
                 r'chdir\("/"\) += 0', rf'setgroups\(1, \[{NOBODY}\]\) += 0',
                 rf'setresgid\({NOBODY}, {NOBODY}, {NOBODY}\) += 0',
                 rf'setresuid\({NOBODY}, {NOBODY}, {NOBODY}\) += 0',
                 r'prctl\(PR_CAPBSET_DROP, CAP_CHOWN.* = 0', r'capset\(.*permitted=0.* = 0',
                 r'prctl\(PR_SET_NO_NEW_PRIVS, 1.* = 0', r'getresuid\(.*', r'getresgid\(.*',
                 r'writev?\(\d+, .*listening on tcp.*', r'p?poll\(\[.*events=POLLIN.*',
                 r'accept4\(.*']
        at = 0
        for step in steps:
            ahead = [i for i, call in enumerate(calls) if i >= at and re.match(step, call)]
            self.assertTrue(ahead, f'{step} does not come after {calls[:at][-3:]}')
            at = ahead[0] + 1
        drop = next(i for i, call in enumerate(calls) if call.startswith('chroot('))
        no_new = next(i for i, call in enumerate(calls) if 'PR_SET_NO_NEW_PRIVS' in call)
        self.assertFalse([call for call in calls[:no_new] if re.match('accept4|p?poll', call)])
        self.assertFalse([call for call in calls[drop:] if re.match('bind|listen', call)])

    def test_rule02_a_drop_that_fails_or_lies_ends_the_start(self):
        """One line, status 1, nothing accepted, nothing left but an empty pid file."""
        calls = ('chroot', 'chdir', 'setgroups', 'setresgid', 'setresuid', 'capset')
        rules = [f'{call}:error=EPERM:when=1' for call in calls]
        rules += [f'{call}:retval=0:when=1' for call in calls if call != 'chdir']
        jail = self.jail()
        for rule in rules:
            for mode in ([], ['--childs', '2']):
                with self.subTest(rule, mode=mode):
                    self.check_fault(rule, jail, mode)

    def check_fault(self, rule, jail, mode):
        pid, trace = self.path('pid'), self.path('trace')
        result = run('strace', '-f', '-qq', '-o', trace, '-e', f'trace={DROP_CALLS},capset',
                     '-e', f'inject={rule}', program('conform'), '--user', 'nobody', '--chroot',
                     jail, '--pidfile', pid, '--logfile', 'STDERR', '--timeout', '60',
                     '--localaddr', '127.0.0.1', '--localport', '0', *mode, env=SANITIZED)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stderr, r'\Aconform: [^\n]{20,}\n\Z')
        calls = traced(trace)
        self.assertTrue([call for call in calls if '(INJECTED)' in call])
        self.assertFalse([call for call in calls if re.match('accept4|p?poll', call)])
        self.assertTrue(not os.path.exists(pid) or os.path.getsize(pid) == 0)


class Identity(Ground):
    """Rule 3, and what is left after a drop (1, 2, 24)."""

    def test_rule03_unknown_users_and_groups(self):
        for option in '--user', '--group', '--localowner':
            for value in '0day', '-1', '4294967295', '', 'no-such-name', '0x0', '00':
                with self.subTest(option, value=value):
                    self.refused(f'{option}={value}', words=f'{option}: ')
        self.refused('--user', '4711', words="--user: user '4711' is not in the user database")

    @needs_root
    def test_rule03_serving_as_root_draws_a_warning(self):
        warning = 'warning, .*serving as root: give --user NAME'
        for args, count in (([], 1), (['--chroot', self.jail()], 1), (['--group', 'daemon'], 1),
                            (['--user', 'root'], 0), (['--user', '0'], 0),
                            (['--user', 'nobody'], 0), (['--childs', '2'], 1)):
            with self.subTest(args), self.server(*args) as server:
                server.talk(b'log now\n')
                server.wait_for_log('server now')
                self.assertEqual(server.log_count(warning), count)
        with self.server(preexec_fn=as_nobody) as server:
            server.talk(b'log now\n')
            server.wait_for_log('server now')
            self.assertEqual(server.log_count(warning), 0)

    @needs_root
    def test_rule03_only_root_can_become_another(self):
        self.refused('--user', 'daemon', status=1, words='only root can become user daemon',
                     preexec_fn=as_nobody)
        self.refused('--group', 'daemon', status=1, words='only root can become group daemon',
                     preexec_fn=as_nobody)
        with self.server('--user', 'nobody', preexec_fn=as_nobody) as server:
            self.assertEqual(server.talk(b'echo in\n'), b'in\n')

    @needs_root
    def test_rule02_nothing_of_root_is_left_in_any_process(self):
        bounding = '0000000000000000'
        for mode, options in MODES.items():
            with self.subTest(mode), self.server('--user', 'nobody', *options) as server, \
                    server.client() as client:
                client.send(b'escape /\n').expect(b'chroot EPERM, setuid EPERM\n')
                client.send(b'pid\n')
                pids = server.pids()
                self.assertIn(int(client.expect_line(r'(\d+) .*')[1]), pids)
                for pid in pids:
                    for task in threads(pid):
                        self.check_status(status(f'{pid}/task/{task}'), bounding)

    def check_status(self, seen, bounding):
        self.assertEqual(seen['Uid'].split(), [str(NOBODY)] * 4)
        self.assertEqual(seen['Gid'].split(), [str(NOBODY)] * 4)
        self.assertEqual(seen['Groups'].split(), [str(NOBODY)])
        for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd'):
            self.assertEqual(seen[name], bounding, name)
        self.assertEqual(seen['NoNewPrivs'], '1')

    @needs_root
    def test_rule02_group_of_its_own(self):
        with self.server('--user', 'nobody', '--group', 'daemon') as server:
            seen = server.status()
            self.assertEqual((seen['Uid'].split()[1], seen['Gid'].split()[1]), (str(NOBODY), '1'))
            self.assertEqual(seen['Groups'].split(), ['1'])

    @needs_root
    def test_rule24_core_dumps_are_off_unless_asked(self):
        """Who cannot be dumped has /proc files that belong to root."""
        for mode, options in MODES.items():
            for args, owner in (([], 0), (['--coredump'], NOBODY)):
                with self.subTest(mode, args=args), \
                        self.server('--user', 'nobody', *options, *args) as server, \
                        server.client() as client:
                    client.send(b'echo in\n').expect(b'in\n')
                    for pid in server.pids():
                        self.assertEqual(os.stat(f'/proc/{pid}/environ').st_uid, owner)


@needs_root
class Jail(Ground):
    """Rule 4."""

    def test_rule04_a_handler_cannot_leave(self):
        jail = self.jail()
        with open(os.path.join(jail, 'inside'), 'w', encoding='ascii') as file:
            file.write('inside\n')
        for mode, options in MODES.items():
            with self.subTest(mode), \
                    self.server('--chroot', jail, '--user', 'nobody', *options) as server, \
                    server.client() as client:
                client.send(b'sendfile /inside\n').expect(b'inside\nok 7\n')
                for path in ('/etc/passwd', '../../../../../../etc/passwd', self.path('jail'),
                             '/proc/1/root/etc/passwd', '/proc/self/cwd/../etc/passwd'):
                    client.send(f'sendfile {path}\n'.encode()).expect(b'error ENOENT\n')
                client.send(b'escape ..\n').expect(b'chroot EPERM, setuid EPERM\n')
                for pid in server.pids():
                    self.check_process(pid, jail)

    def check_process(self, pid, jail):
        self.assertEqual(os.readlink(f'/proc/{pid}/root'), jail)
        self.assertEqual(os.readlink(f'/proc/{pid}/cwd'), jail)
        for fd in fds(pid):
            self.assertFalse(os.path.isdir(f'/proc/{pid}/fd/{fd}'), fd)

    def test_rule04_an_inherited_directory_is_refused(self):
        for flags in os.O_DIRECTORY, os.O_PATH:
            fd = os.open('/', os.O_RDONLY | flags)
            try:
                self.refused('--chroot', self.folder, status=1, pass_fds=[fd],
                             words=f'descriptor {fd} is an open directory')
            finally:
                os.close(fd)


# ----------------------------------------------------------------------------------- addresses (9)

def listening(pid):
    """What the kernel says a process listens on by tcp: {('127.0.0.1', 2000), ('::', 2001)}."""
    inodes = {target[8:-1] for target in fds(pid).values() if target.startswith('socket:[')}
    found = set()
    for table, family in (('tcp', socket.AF_INET), ('tcp6', socket.AF_INET6)):
        with open(f'/proc/{pid}/net/{table}', encoding='ascii') as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                if fields[3] == '0A' and fields[9] in inodes:
                    host, port = fields[1].split(':')
                    words = [bytes.fromhex(host[i:i + 8])[::-1] for i in range(0, len(host), 8)]
                    found.add((socket.inet_ntop(family, b''.join(words)), int(port, 16)))
    return found


def told(server):
    """What the log says it listens on."""
    lines = [re.search(r'listening on (\S+)$', line) for line in server.log]
    return [line[1] for line in lines if line]


class Addresses(Ground):
    def check(self, *args, count, localaddr='127.0.0.1'):
        with self.server(*args, localaddr=localaddr) as server:
            server.wait_for_log('listening on', count=count)
            said = {tuple(text[4:].rsplit(':', 1)) for text in told(server)
                    if text.startswith('tcp:')}
            said = {({'*': '::'}.get(host, host.strip('[]')), int(port)) for host, port in said}
            self.assertEqual(said, listening(server.pid))
            self.assertEqual(len(told(server)), count)
            self.assertTrue(all(port > 0 for _, port in said))
            for address in told(server):
                with Client(connect(address)) as client:
                    client.send(b'echo in\n').expect(b'in\n')
            return told(server)

    def test_rule09_every_address_bound_is_named(self):
        path = self.path('socket')
        all_told = self.check('--bind', 'tcp:127.0.0.1:0', '--bind', 'tcp:127.0.0.2:0', '--bind',
                              f'unix:{path}', '--bind', 'tcp:[::1]:0', count=4)
        self.assertEqual(all_told[2], f'unix:{path}')

    def test_rule09_localaddr_and_bind_together(self):
        self.check('--localport', '0', '--localaddr', '127.0.0.3', '--bind', 'tcp:127.0.0.1:0',
                   count=2)

    def test_rule09_wildcard_is_named_as_such(self):
        self.assertRegex(self.check('--localport', '0', count=1)[0], r'^tcp:\*:\d+$')

    def test_rule09_a_name_with_two_addresses(self):
        for text in self.check('--localport', '0', '--localaddr', 'localhost',
                               count=len({info[4][0] for info in socket.getaddrinfo(
                                   'localhost', 0, type=socket.SOCK_STREAM)})):
            self.assertRegex(text, r'^tcp:(127\.0\.0\.1|\[::1\]):\d+$')

    def test_rule09_one_that_cannot_be_bound_stops_all(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            line = self.refused('--bind', f'tcp:127.0.0.1:{port}', '--bind',
                                f'unix:{self.path("s")}', status=1)
            self.assertIn(f'tcp:127.0.0.1:{port}: Address already in use', line)
        self.refused('--bind', f'unix:{self.path("s")}', '--bind', 'tcp:192.0.2.1:0', status=1,
                     words='tcp:192.0.2.1:0: Cannot assign requested address')
        self.assertEqual(os.listdir(self.folder), [])


# -------------------------------------------------------------------------------- access (10, 11)

class Access(Ground):
    def let_in(self, server, source=None, address=None):
        with server.client(source=source, address=address) as client:
            try:
                client.send(b'echo in\n').shutdown()
                return client.read_all() == b'in\n'
            except OSError:
                return False

    def check(self, rules, expected, everywhere=False):
        """expected: {source: let in?}"""
        config = self.file('x.conf', f'{{ clients => {rules} }}')
        args = [] if everywhere else ['--localaddr', '127.0.0.1']
        with self.server('--configfile', config, '--localport', '0', *args) as server:
            for source, verdict in expected.items():
                with self.subTest(rules, source=source):
                    host = '[::1]' if ':' in source else '127.0.0.1'
                    address = f'tcp:{host}:{server.port}'
                    self.assertEqual(self.let_in(server, source, address), verdict)

    def test_rule10_any_rule_denies_by_default(self):
        self.check("[{ net => '127.0.0.2', accept => 1 }]", {'127.0.0.2': True, '127.0.0.3': False})
        self.check("[{ net => '127.0.0.2' }]", {'127.0.0.2': False, '127.0.0.3': False})
        self.check("[{ net => '127.0.0.2', accept => 0 }, { accept => 1 }]",
                   {'127.0.0.2': False, '127.0.0.3': True})
        self.check('[{ }]', {'127.0.0.1': False})

    def test_rule10_an_empty_list_denies_all(self):
        self.check('[]', {'127.0.0.1': False, '127.0.0.2': False})
        for text in 'clients: []\n', '{"clients": []}':
            config = self.file('x.yaml', text)
            with self.server('--configfile', config, '--bind', 'tcp:127.0.0.1:0') as server:
                self.assertFalse(self.let_in(server))
                server.wait_for_log('access not permitted: denied: no rule matched')

    def test_rule10_the_first_rule_decides(self):
        self.check(r"[{ mask => '^127\.0\.0\.[23]$', accept => 1 }, { mask => '.*' }, "
                   "{ accept => 1 }]", {'127.0.0.2': True, '127.0.0.3': True, '127.0.0.4': False})

    def test_rule10_a_hard_pattern_denies(self):
        """The match runs into its limits: that is doubt, which lets nobody in and meets denials."""
        mask, source = '^(?:(?:(?:[0-9.]+)+)+)+[xy]$', '127.100.100.100'
        config = self.file('x.conf', f"{{ clients => [{{ mask => '{mask}', accept => 1 }}] }}")
        result = self.run_program('--configfile', config, '--explain', source)
        self.assertIn('in doubt: cannot tell: ', result.stdout)
        self.check(f"[{{ mask => '{mask}', accept => 1 }}]", {source: False})
        self.check(f"[{{ mask => '{mask}' }}, {{ accept => 1 }}]", {source: False})
        self.check(f"[{{ mask => '{mask}', accept => 1 }}, {{ accept => 1 }}]", {source: True})

    def test_rule10_no_start_without_the_file(self):
        self.refused('--configfile', self.path('missing.conf'), words='No such file or directory')
        broken = self.file('broken.conf', "{ clients => [{ mask => '(' }] }")
        self.refused('--configfile', broken, words=f'{broken}:1:25: clients rule 1: mask')
        cut = self.file('cut.conf', '{ clients => [')
        self.refused('--configfile', cut, words='end of the file')

    @needs_root
    def test_rule10_no_start_with_an_unreadable_file(self):
        config = self.file('x.conf', '{ }', 0o600)
        self.refused('--configfile', config, words='Permission denied', preexec_fn=as_nobody)

    def test_rule11_networks_are_strict_and_binary(self):
        self.check("[{ net => ['127.0.0.2', '127.0.1.0/24'], accept => 1 }]",
                   {'127.0.0.2': True, '127.0.0.22': False, '127.0.1.255': True,
                    '127.0.2.0': False})
        self.check("[{ net => '127.128.0.0/9', accept => 1 }]",
                   {'127.128.0.1': True, '127.255.255.254': True, '127.127.255.255': False})
        for net in ('127.0.0.1/8', '127.1', '0177.0.0.1', '127.0.0.0/08', '127.0.0.0/33', '127.0.0',
                    '127.0.0.0/255.0.0.0', '0x7f.0.0.1', '127.0.0.1 ', '2130706433', '::1/0',
                    '::ffff:127.0.0.0/8', '::1%lo', 'localhost', '', '*', '127.0.0.*'):
            with self.subTest(net):
                config = self.file('x.conf', f"{{ clients => [{{ net => '{net}' }}] }}")
                self.refused('--configfile', config, words=f'{config}:1:24: clients rule 1: net: ')

    def test_rule11_mapped_clients_are_compared_as_ipv4(self):
        """Every client of a dual-stack listener that comes by IPv4 has a mapped address."""
        with self.server('--localport', '0') as server:
            if listening(server.pid) != {('::', server.port)}:
                self.skipTest('no IPv6 here')
            with server.client() as client:
                client.send(b'peer\n').expect_line(r'host=127\.0\.0\.1 .*')
        for rules, v4, v6 in (
                ("[{ net => '127.0.0.0/8', accept => 1 }]", True, False),
                ("[{ net => '::ffff:127.0.0.0/104', accept => 1 }]", True, False),
                (r"[{ mask => '^127\.0\.0\.1$', accept => 1 }]", True, False),
                ("[{ net => '127.0.0.1' }, { accept => 1 }]", False, True),
                ("[{ net => '::/0', accept => 1 }]", False, True),
                ("[{ net => '0.0.0.0/0', accept => 1 }]", True, False),
                (r"[{ mask => '^::ffff:', accept => 1 }]", False, False)):
            self.check(rules, {'127.0.0.1': v4, '::1': v6}, everywhere=True)


# ------------------------------------------------------------------------------- the log (17 - 19)

LINE = re.compile(r'\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} (\w+), \d+(?:\.\d+)?, '
                  r'([^\x00-\x1f\x7f-\x9f]*)')


class Log(Ground):
    def test_rule17_one_event_is_one_line(self):
        """Every byte a client can put into a line, alone and between others; in every place."""
        ever = [bytes([byte]) for byte in range(256) if byte not in b'\0\n']
        talk = [b''.join(ever), *ever, *(b'x' + byte + b'notice, 1, forged' for byte in ever),
                b'\r' * 40, b'\xc3\xa9', b'\xc2\x85', b'\x1b]0;title\x07', b'x' * 1000]
        for mode in 'threads', 'fork':
            with self.server('--mode', mode, '--debug') as server, server.client() as client:
                for number, piece in enumerate(talk, 1):
                    client.send(b'log ' + piece + b'\n').expect(b'ok 0\n')
                    if number % 32 == 0:  # more than the pipe holds would be dropped (rule 19)
                        server.wait_for_log('info, .*server ', count=number)
                client.send(b'fatal ' + talk[0] + b'\n').expect(b'last words\n')
                server.wait_for_log('fatal: ')
                server.stop()
                found = [LINE.fullmatch(line) for line in server.log]
                self.assertNotIn(None, found, server.log)
                seen = [match.groups() for match in found]
                for level, words in (('notice', 'conn 1 ('), ('info', 'server ')):
                    self.assertEqual(sum(one == level and text.startswith(words)
                                         for one, text in seen), len(talk), level)

    def test_rule17_in_a_log_file_too(self):
        log = self.path('log')
        with self.server('--logfile', log, '--bind', f'unix:{self.path("s")}',
                         wrapper=()).start(wait=False) as server:
            self.wait_for_file('log', 'listening')
            with Client(connect(f'unix:{self.path("s")}')) as client:
                client.send(b'log a\rb\x1b[2Jc\x85d\n').expect(b'ok 0\n')
            with open(log, 'rb') as file:
                data = file.read()
        self.assertIn(rb'a\x0db\x1b[2Jc\x85d', data)
        self.assertEqual([byte for byte in data if byte < 32 and byte != 10 or byte > 126], [])

    def test_rule18_formats_in_what_others_say(self):
        nasty = '%n%s%s%s%99999d'
        config = self.file(f'{nasty}.conf', f"{{ clients => [{{ mask => '{nasty}' }}, "
                           "{ accept => 1 }] }")
        path = self.path(f'{nasty}.sock')
        server = self.server('--configfile', config, '--bind', f'unix:{path}', '--debug')
        with server:
            server.wait_for_log(re.escape(f'listening on unix:{path}'))
            server.wait_for_log(re.escape(f'{config}:1:25: clients rule 1: mask {nasty}: not'))
            with server.client() as client:
                client.send(f'log {nasty}\n'.encode()).expect(b'ok 0\n')
                client.send(f'bye {nasty}\n'.encode()).expect(nasty.encode()).expect_end()
            with server.client() as client:
                client.send(f'fatal {nasty}\n'.encode()).expect(b'last words\n').expect_end()
            server.wait_for_log(re.escape(f'fatal: {nasty}'))
            for words in (f': {nasty}', f': debug {nasty}', f', server {nasty}'):
                server.wait_for_log(re.escape(words) + '$')

    def test_rule18_formats_in_names_of_files_and_addresses(self):
        nasty = '/nonexistent/%n%s%99999d'
        for option, value in (('--logfile', nasty), ('--pidfile', nasty), ('--localpath', nasty),
                              ('--bind', f'unix:{nasty}')):
            with self.subTest(option):
                self.refused(option, value, status=1, words=nasty)

    @contextlib.contextmanager
    def unread(self, *args):
        """A server whose standard error is a pipe that nobody empties."""
        command = [program('conform'), '--logfile', 'STDERR', '--timeout', '300', *args]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
            try:
                yield server
            finally:
                server.kill()

    def test_rule19_a_stalled_log_does_not_stop_the_service(self):
        path = self.path('socket')
        for mode in 'threads', 'fork', 'single':
            with self.subTest(mode), self.unread('--localpath', path, '--mode', mode) as server:
                wait_until('it listens', lambda: os.path.exists(path) and self.answers(path))
                with Client(connect(f'unix:{path}')) as client:
                    for _ in range(400):  # twice what a pipe holds
                        client.send(b'log ' + b'x' * 300 + b'\n').expect(b'ok 0\n')
                    client.send(b'stats\n').expect_line(r'.* log_drops=[1-9]\d*')
                    self.assertTrue(mode == 'single' or self.answers(path))
                    written = os.read(server.stderr.fileno(), 1 << 20)
                    client.send(b'log after\n').expect(b'ok 0\n')
                server.terminate()
                written += server.stderr.read()
                self.assertEqual(server.wait(), 0)
                lost = re.findall(rb'warning, .*, (\d+) log lines were lost\n', written)
                self.assertEqual(written.count(b'x' * 300) + sum(map(int, lost)), 800)
                self.assertIn(b': after\n', written)

    @staticmethod
    def answers(path):
        try:
            with Client(connect(f'unix:{path}')) as client:
                client.send(b'echo in\n').expect(b'in\n')
                return True
        except ConnectionRefusedError:
            return False

    def test_rule19_a_reader_that_went_away(self):
        path = self.path('socket')
        with self.unread('--localpath', path) as server:
            wait_until('it listens', lambda: os.path.exists(path) and self.answers(path))
            server.stderr.close()
            with Client(connect(f'unix:{path}')) as client:
                client.send(b'log x\n').expect(b'ok 0\n')
                client.send(b'echo in\n').expect(b'in\n')
            server.terminate()
            self.assertEqual(server.wait(), 0)


if __name__ == '__main__':
    unittest.main()
