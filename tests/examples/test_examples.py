"""test_examples.py - each example, in every mode, used as a client would use it."""
import contextlib
import os
import re
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import netd

MODES = [
    ('--mode', 'single'),
    ('--mode', 'fork'),
    ('--mode', 'threads'),
    ('--mode', 'fibers'),
    ('--mode', 'fibers', '--io', 'epoll'),
    ('--childs', '2'),
    ('--childs', '2', '--mode', 'fork'),
    ('--childs', '2', '--mode', 'threads'),
    ('--childs', '2', '--mode', 'fibers'),
]


class Examples(unittest.TestCase):
    def start(self, name, *args, **more):
        """A server that ends with the test, if the test does not end it."""
        server = netd.Server(netd.program(name), *args, **more)
        self.addCleanup(server.kill)
        return server.start()

    @contextlib.contextmanager
    def serving(self, name, mode, *args):
        """A server in this mode, as a subtest; it must end well at the end of the block."""
        server = self.start(name, *mode, *args)
        with self.subTest(' '.join(mode)), server:
            yield server

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name


class Help(unittest.TestCase):
    def test_a_default_is_told_once(self):
        for name in ('calculator', 'chat', 'echo', 'http_hello', 'multiplier', 'relay', 'spooler',
                     'whoami'):
            with self.subTest(name):
                text = subprocess.run([netd.program(name), '--help'], check=True, timeout=60,
                                      stdout=subprocess.PIPE, text=True).stdout
                self.assertIn('--mode MODE', text)
                for option in re.split(r'(?m)^  (?=--)', text):
                    self.assertLess(len(re.findall(r'\bdefault\b', option)), 2, option)


class Echo(Examples):
    def test_lines_come_back_in_every_mode(self):
        for mode in MODES:
            with self.serving('echo', mode) as server:
                with server.client() as client:
                    client.send(b'one\n').expect(b'one\n')
                    client.send(b'two\r\nthree').expect(b'two\r\n')
                    client.shutdown().expect(b'three').expect_end()

    def test_many_clients_get_their_own_lines(self):
        for mode in MODES:
            with self.serving('echo', mode) as server:
                one_at_a_time = 'single' in mode or mode == ('--childs', '2')
                for number in range(20):
                    line = f'client {number}\n'.encode()
                    self.assertEqual(server.talk(line), line)
                if one_at_a_time:
                    continue
                clients = [server.client() for _ in range(10)]
                for number, client in enumerate(clients):
                    client.send(f'{number}\n'.encode())
                for number, client in reversed(list(enumerate(clients))):
                    client.expect(f'{number}\n'.encode()).close()

    def test_much_data_comes_back_complete(self):
        lines = b''.join(b'%d %s\n' % (n, b'x' * (n % 900)) for n in range(2000))
        for mode in MODES:
            with self.serving('echo', mode) as server:
                self.assertEqual(server.talk(lines), lines)

    def test_a_line_too_long_ends_the_connection_not_the_server(self):
        for mode in MODES:
            with self.serving('echo', mode) as server:
                with server.client() as client:
                    client.send(b'y' * 2000 + b'\n').expect_gone()
                self.assertEqual(server.talk(b'still here\n'), b'still here\n')

    def test_a_reset_leaves_nothing_behind(self):
        for mode in MODES:
            with self.serving('echo', mode) as server:
                server.talk(b'warm\n')
                before = server.settled(server.fd_count)
                for _ in range(10):
                    client = server.client()
                    client.send(b'a\n').expect(b'a\n')
                    client.reset()
                self.assertEqual(server.talk(b'still here\n'), b'still here\n')
                netd.wait_until('all descriptors are closed', lambda: server.fd_count() == before)

    def test_it_serves_a_unix_socket(self):
        path = os.path.join(self.folder(), 'echo')
        for mode in MODES:
            with self.serving('echo', mode, '--localpath', path) as server:
                self.assertEqual(server.address, f'unix:{path}')
                self.assertEqual(server.talk(b'hello\n'), b'hello\n')
                self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))


class Calculator(Examples):
    CONVERSATION = [
        (b'1 + 2 * 3\n', b'7\n'),
        (b'-2 ** 2\r\n', b'-4\n'),
        (b'\n', b''),
        (b' \t\r\n', b''),
        (b'1 / 0\n', b'error: column 3: division by zero\n'),
        (b'9223372036854775807 + 1\n', b'error: column 21: result out of range\n'),
        (b'(' * 60000 + b'\n', b'error: column 201: nested too deeply\n'),
        (b'9' * 70000 + b'\n', b'error: line too long\n'),
        (b'1\0 + 1\n', b'error: column 2: an operator expected\n'),
        (b'system("id")\n', b'error: column 1: a number, a sign or ( expected\n'),
        (b'0xff', b'255\n'),
    ]

    def test_every_line_is_answered_in_every_mode(self):
        for mode in MODES:
            with self.serving('calculator', mode) as server:
                with server.client() as client:
                    for question, answer in self.CONVERSATION[:-1]:
                        client.send(question).expect(answer)
                    client.send(self.CONVERSATION[-1][0]).shutdown()
                    client.expect(self.CONVERSATION[-1][1]).expect_end()

    def test_questions_sent_at_once_are_answered_in_order(self):
        questions = b''.join(question for question, _ in self.CONVERSATION)
        answers = b''.join(answer for _, answer in self.CONVERSATION)
        for mode in MODES:
            with self.serving('calculator', mode) as server:
                self.assertEqual(server.talk(questions), answers)

    def test_the_base_is_an_option(self):
        for base, answers in (('dec', b'255\n-1\n'), ('hex', b'ff\nffffffffffffffff\n'),
                              ('oct', b'377\n1777777777777777777777\n')):
            server = self.start('calculator', '--base', base)
            self.assertEqual(server.talk(b'255\n-1\n'), answers)
            server.stop()

    def test_the_base_may_stand_in_a_config_file(self):
        path = os.path.join(self.folder(), 'calculator.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{ 'base' => 'hex', 'localport' => 0, 'localaddr' => '127.0.0.1' }\n")
        os.chmod(path, 0o600)
        server = self.start('calculator', '--configfile', path)
        self.assertEqual(server.talk(b'255\n'), b'ff\n')
        server.stop()

    def test_another_base_is_refused_with_words(self):
        result = netd.run(netd.program('calculator'), '--base', 'bin', '--logfile', 'STDERR')
        self.assertEqual(result.returncode, 2)
        self.assertIn('bin', result.stderr)
        for word in ('base', 'dec', 'hex', 'oct'):
            self.assertIn(word, result.stderr)


class Multiplier(Examples):
    def test_products_in_every_mode(self):
        for mode in MODES:
            with self.serving('multiplier', mode) as server:
                with server.client() as client:
                    client.send(b'6 7\n').expect(b'42\n')
                    client.send(b'-3\t 5 \r\n').expect(b'-15\n')
                    client.send(b'4611686018427387904 2\n').expect(b'error: out of range\n')
                    client.send(b'9223372036854775808 1\n').expect(b'error: out of range\n')
                    for wrong in (b'6', b'', b'  ', b'6 x', b'6 7 8', b'6 7\0', b'6 7.5'):
                        client.send(wrong + b'\n').expect(b'error: two whole numbers expected\n')
                    client.send(b'2 ' * 40000 + b'\n').expect(b'error: line too long\n')
                    client.send(b'0 9').shutdown().expect(b'0\n').expect_end()


class Whoami(Examples):
    KEYS = ['connection', 'peer', 'address', 'port', 'name', 'local', 'uid', 'gid', 'pid', 'mode',
            'rule', 'group']

    @staticmethod
    def facts(answer):
        return dict(line.split(': ', 1) for line in answer.decode().splitlines())

    def test_a_tcp_client_learns_its_address(self):
        for mode in MODES:
            with self.serving('whoami', mode) as server:
                with server.client() as client:
                    host, port = client.sock.getsockname()
                    facts = self.facts(client.read_all())
                self.assertEqual(list(facts), self.KEYS)
                wanted = mode[mode.index('--mode') + 1] if '--mode' in mode else 'single'
                self.assertEqual(facts, {
                    'connection': facts['connection'], 'peer': f'{host}:{port}', 'address': host,
                    'port': str(port), 'name': '-', 'local': server.address, 'uid': '-', 'gid': '-',
                    'pid': '-', 'mode': wanted, 'rule': '0', 'group': '-'})
                self.assertGreater(int(facts['connection']), 0)

    def test_connections_have_numbers_of_their_own(self):
        server = self.start('whoami', '--mode', 'threads')
        numbers = [self.facts(server.talk())['connection'] for _ in range(5)]
        self.assertEqual(len(set(numbers)), 5)
        server.stop()

    def test_a_unix_client_learns_its_ids(self):
        path = os.path.join(self.folder(), 'whoami')
        for mode in MODES:
            with self.serving('whoami', mode, '--localpath', path) as server:
                facts = self.facts(server.talk())
                me = {'uid': os.getuid(), 'gid': os.getgid(), 'pid': os.getpid()}
                for key, value in me.items():
                    self.assertEqual(facts[key], str(value))
                self.assertEqual(facts['peer'], f'unix:uid={me["uid"]},pid={me["pid"]}')
                self.assertEqual((facts['address'], facts['port']), ('-', '0'))
                self.assertEqual(facts['local'], f'unix:{path}')

    def test_a_client_learns_its_rule_and_a_key_of_it(self):
        path = os.path.join(self.folder(), 'whoami.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write(r"""{ localport => 0, localaddr => '127.0.0.1', key => 'team', clients => [
                { mask => '^192\.0\.2\.1$', accept => 1, team => 'nobody' },
                { mask => '^127\.0\.0\.1$', accept => 1, team => 'home' } ] }""")
        os.chmod(path, 0o600)
        for mode in MODES:
            with self.serving('whoami', mode, '--configfile', path) as server:
                facts = self.facts(server.talk())
                self.assertEqual((facts['rule'], facts['team']), ('2', 'home'))
                with server.client(source='127.0.0.2') as stranger:
                    self.assertNotIn(b'team', stranger.expect_gone().held)


class Spooler(Examples):
    def setUp(self):
        base = self.folder()
        self.spool, self.output = os.path.join(base, 'spool'), os.path.join(base, 'output')
        os.mkdir(self.spool, 0o700)

    def options(self, *more, loop='0.05'):
        return ('--spool', self.spool, '--output', self.output, '--loop-timeout', loop, *more)

    def spooled(self, end='.job'):
        return sorted(name for name in os.listdir(self.spool) if name.endswith(end))

    def put(self, name, content=b'', age=0):
        path = os.path.join(self.spool, name)
        with open(path, 'wb') as file:
            file.write(content)
        os.utime(path, (time.time() - age,) * 2)
        return path

    def written(self):
        try:
            with open(self.output, 'rb') as file:
                return file.read()
        except FileNotFoundError:
            return b''

    def wait_for_output(self, content):
        netd.wait_until(f'the output is {content!r}', lambda: self.written() == content)

    def test_a_job_is_queued_then_written_in_every_mode(self):
        for mode in MODES:
            self.setUp()
            with self.serving('spooler', mode, *self.options()) as server:
                self.assertRegex(server.talk(b'a job\nof two lines\n'), rb'^queued [0-9a-f.-]+\n$')
                self.wait_for_output(b'a job\nof two lines\n')
                netd.wait_until('the spool is empty', lambda: os.listdir(self.spool) == [])

    def test_a_queued_job_is_a_complete_private_file(self):
        for mode in MODES:
            self.setUp()
            with self.serving('spooler', mode, *self.options(loop='0')) as server:
                answer = server.talk(b'content\n')
                name = answer.decode().split()[1] + '.job'
                self.assertEqual(os.listdir(self.spool), [name])
                path = os.path.join(self.spool, name)
                with open(path, 'rb') as file:
                    self.assertEqual(file.read(), b'content\n')
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_jobs_are_written_in_order_of_arrival_even_after_a_restart(self):
        server = self.start('spooler', *self.options(loop='0'))
        jobs = [b'job %d\n' % n for n in range(10)]
        for job in jobs:
            server.talk(job)
        server.stop()
        self.assertEqual(len(self.spooled()), 10)
        server = self.start('spooler', *self.options())
        self.wait_for_output(b''.join(jobs))
        netd.wait_until('the spool is empty', lambda: os.listdir(self.spool) == [])
        server.stop()

    def test_one_worker_only_works_off_the_spool(self):
        server = self.start('spooler', *self.options('--childs', '3'))
        for number in range(30):
            server.talk(b'%d\n' % number)
        netd.wait_until('the spool is empty', lambda: os.listdir(self.spool) == [])
        self.assertEqual(self.written(), b''.join(b'%d\n' % n for n in range(30)))
        server.stop()

    def test_a_client_that_breaks_off_leaves_nothing(self):
        for mode in MODES:
            self.setUp()
            with self.serving('spooler', mode, *self.options(loop='0')) as server:
                client = server.client()
                client.send(b'half a job')
                netd.wait_until('the job is being taken', lambda: self.spooled('.tmp'))
                client.reset()
                netd.wait_until('it is gone', lambda: os.listdir(self.spool) == [])

    def test_what_is_empty_or_too_large_is_refused(self):
        for mode in MODES:
            self.setUp()
            options = self.options('--max-job', '10', loop='0')
            with self.serving('spooler', mode, *options) as server:
                self.assertEqual(server.talk(b'0123456789A'), b'error: job too large\n')
                self.assertEqual(server.talk(b'x' * 5000000), b'error: job too large\n')
                self.assertEqual(server.talk(b''), b'error: empty job\n')
                netd.wait_until('nothing is left', lambda: os.listdir(self.spool) == [])
                self.assertRegex(server.talk(b'0123456789'), rb'^queued ')

    def test_only_plain_files_of_ours_are_jobs(self):
        secret = os.path.join(os.path.dirname(self.spool), 'secret')
        with open(secret, 'wb') as file:
            file.write(b'secret\n')
        os.symlink(secret, os.path.join(self.spool, '1.job'))
        os.mkfifo(os.path.join(self.spool, '2.job'))
        os.mkdir(os.path.join(self.spool, '3.job'))
        os.link(secret, os.path.join(self.spool, '4.job'))
        self.put('5.other', b'other\n')
        if os.getuid() == 0:
            os.chown(self.put('6.job', b'foreign\n'), 65534, 65534)
        before = sorted(os.listdir(self.spool))
        self.put('9.job', b'mine\n')
        server = self.start('spooler', *self.options())
        self.wait_for_output(b'mine\n')
        server.talk(b'next\n')
        self.wait_for_output(b'mine\nnext\n')
        server.stop()
        self.assertEqual(sorted(os.listdir(self.spool)), before)

    def test_the_output_is_no_symbolic_link(self):
        target = os.path.join(os.path.dirname(self.spool), 'target')
        os.symlink(target, self.output)
        self.put('1.job', b'mine\n')
        server = self.start('spooler', *self.options())
        server.talk(b'next\n')
        server.wait_for_log('Too many levels of symbolic links')
        self.assertFalse(os.path.exists(target))
        self.assertEqual(len(self.spooled()), 2)
        os.unlink(self.output)
        self.wait_for_output(b'mine\nnext\n')
        server.stop()

    def test_abandoned_deliveries_are_swept_and_fresh_ones_kept(self):
        self.put('1.tmp', b'old', age=7200)
        self.put('2.tmp', b'new')
        server = self.start('spooler', *self.options())
        netd.wait_until('the old one is gone', lambda: self.spooled('.tmp') == ['2.tmp'])
        server.wait_for_log(r'removing 1\.tmp, abandoned')
        server.stop()
        self.assertEqual(self.spooled('.tmp'), ['2.tmp'])

    def test_a_full_output_keeps_the_job_and_is_cut_back(self):
        with open(self.output, 'wb') as file:
            file.write(b'before\n')
        self.put('1.job', b'x' * 300000)
        limit = 200000  # bytes of a file, in place of a full disk
        server = self.start(
            'spooler', *self.options(),
            wrapper=['/bin/sh', '-c', f'trap "" XFSZ; ulimit -f {limit // 512}; exec "$@"', 'sh'])
        server.wait_for_log(r'1\.job: File too large')
        server.stop()
        self.assertEqual(self.written(), b'before\n')
        self.assertEqual(self.spooled(), ['1.job'])

    def test_it_does_not_start_without_a_spool(self):
        for args, word in (((), 'spool'),
                           (('--spool', self.spool), 'output'),
                           (('--spool', '/nonexistent', '--output', self.output), '/nonexistent')):
            result = netd.run(netd.program('spooler'), '--logfile', 'STDERR', '--localport', '0',
                              *args)
            self.assertIn(result.returncode, (1, 2))
            self.assertIn(word, result.stderr)


class All(Examples):
    OPTIONS = {'echo': [], 'multiplier': [], 'whoami': ['--key'], 'calculator': ['--base'],
               'spooler': ['--spool', '--output', '--max-job'], 'chat': [],
               'http_hello': ['--body', '--max-body', '--idle-time', '--request-time'],
               'relay': ['--to', '--connect-time', '--idle-time']}

    def test_help_names_every_option_with_words(self):
        for name, options in self.OPTIONS.items():
            result = netd.run(netd.program(name), '--help')
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            for option in [*options, '--localport', '--mode', '--help']:
                self.assertRegex(result.stdout, rf'(?m)^ *{option}\b.*\S')

    def test_version_names_the_program(self):
        for name in self.OPTIONS.keys() - {'echo'}:
            result = netd.run(netd.program(name), '--version')
            self.assertEqual(result.returncode, 0)
            self.assertRegex(result.stdout, rf'^{name} 1\.0')

    def test_stop_is_clean_while_clients_are_connected(self):
        for mode in MODES:
            with self.serving('echo', mode, '--drain-timeout', '0.2') as server:
                client = server.client()
                client.send(b'a\n').expect(b'a\n')
                server.signal(netd.signal.SIGTERM)
                client.expect_gone().close()
                server.wait()

    def test_a_stopped_server_gives_its_port_back(self):
        server = self.start('echo')
        port = server.port
        server.talk(b'a\n')
        server.stop()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(('127.0.0.1', port))
        server = self.start('echo', '--localaddr', '127.0.0.1', '--localport', str(port))
        self.assertEqual(server.port, port)
        self.assertEqual(server.talk(b'b\n'), b'b\n')
        server.stop()

    def test_the_start_up_line_is_one_line(self):
        server = self.start('echo')
        self.assertEqual(server.log_count('listening on'), 1)
        self.assertTrue(re.search(r'listening on tcp:127\.0\.0\.1:\d+', '\n'.join(server.log)))
        server.stop()


if __name__ == '__main__':
    unittest.main()
