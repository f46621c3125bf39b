#!/usr/bin/env python3
"""test_fronts.py - access rules from --deny, --allow and the rules file, shown from outside, in
every mode (security rules 10, 11, 23). Names: test_front_names.py; `clients`: test_rules.py.

Clients come from 127.0.0.N. Happy path: a line is sent and comes back; of a refusal: the connection
ends without a byte.
"""
import os
import re
import time
import unittest

from ground import NOBODY, SANITIZED, Ground, needs_root, needs_strace, traced, tracer
from modes import MODES
from netd import wait_until

ONE, TWO, THREE = '127.0.0.1', '127.0.0.2', '127.0.0.3'


class Fronts(Ground):
    @staticmethod
    def asked(server, line, source=None, address=None):
        """The answer to one line; b'' for who is not let in."""
        with server.client(source=source, address=address) as client:
            try:
                client.send(line).shutdown()
                return client.read_all()
            except OSError:
                return b''

    def let_in(self, server, source=None, address=None):
        return self.asked(server, b'echo in\n', source, address) == b'in\n'

    def replace(self, text, name='rules'):
        """As a careful editor does it: nobody sees half a file."""
        new = self.file(name + '.new', text)
        os.rename(new, self.path(name))

    def check(self, expected, *args):
        for mode, options in MODES.items():
            with self.server(*args, *options) as server:
                for source, verdict in expected.items():
                    with self.subTest(args, mode=mode, source=source):
                        self.assertEqual(self.let_in(server, source), verdict)


class Options(Fronts):
    """--deny and --allow."""

    def test_rule10_deny_is_asked_before_allow_and_the_rest_is_denied(self):
        self.check({ONE: True, TWO: False, THREE: True, '127.0.0.9': False},
                   '--allow', '127.0.0.0/29', '--deny', TWO)

    def test_rule10_clients_come_after_the_options(self):
        config = self.file('x.conf', f"{{ clients => [{{ net => '{ONE}' }}, {{ accept => 1, "
                           "env => { A => 'x' } }], deny => '127.0.0.2' }")
        with self.server('--configfile', config, '--bind', 'tcp:127.0.0.1:0') as server:
            self.assertEqual([self.let_in(server, source) for source in (ONE, TWO, THREE)],
                             [False, False, True])
            self.assertEqual(self.asked(server, b'env\n', THREE), b'A=x \n')
            self.assertEqual(self.asked(server, b'client x\n', THREE), b'3 -\n')
            server.wait_for_log(re.escape(f'denied by {config}:1:') +
                                r'\d+: deny #1 net 127\.0\.0\.2: ')

    def test_rule10_deny_alone_is_refused(self):
        self.refused('--deny', TWO, words='--deny: found no rule that lets anybody in: add '
                                          '--allow all')
        config = self.file('x.conf', "{ deny => ['127.0.0.2'] }")
        self.refused('--configfile', config, words=f'{config}:1:')

    def test_rule10_what_is_nobody_is_refused_before_anything_is_bound(self):
        path = self.path('socket')
        for who, words in (('10.0.0.1/8', 'host bits are set'), ('10.1', 'in full'),
                           ('a b', "found 'a b', expected an address"), ('*', "found '*'"),
                           ('uid=no-such', 'there is no user no-such'), ('mask=(', 'offset 1'),
                           ('foo=bar', "found 'foo=bar', expected"), ('', "found ''")):
            for option in '--allow', '--deny':
                with self.subTest(who, option=option):
                    line = self.refused('--bind', f'unix:{path}', option, who, '--allow', 'all',
                                        words=words)
                    self.assertIn(f'{option}: ', line)
        self.assertFalse(os.path.exists(path))

    def test_rule11_mapped_clients_are_compared_as_ipv4(self):
        with self.server('--localport', '0', '--allow', '127.0.0.0/8') as server:
            self.assertTrue(self.let_in(server))

    def test_rule10_unix_sockets_and_their_users(self):
        address = f'unix:{self.path("s")}'
        mine = os.geteuid()
        for args, verdict in ((['--allow', 'unix'], True), (['--allow', f'uid={mine}'], True),
                              (['--allow', f'uid={mine + 1}'], False),
                              (['--allow', f'gid={os.getegid()}'], True),
                              (['--deny', f'uid={mine}', '--allow', 'all'], False),
                              (['--allow', '0.0.0.0/0', '--allow', '::/0'], False),
                              (['--rules', self.file('rules', ':allow\n')], True),
                              (['--rules', self.file('none', '0.0.0.0/0:allow\n')], False)):
            with self.subTest(args), self.server('--bind', address, *args) as server:
                self.assertEqual(self.let_in(server, address=address), verdict)

    def test_masks_are_warned_of(self):
        result = self.run_program('--allow', 'mask=host', '--localport', '0', '--check')
        self.assertIn('warning: --allow #1: mask host: not anchored', result.stdout)
        self.assertIn('would serve the clients that 1 --allow allows\n', result.stdout)


class Lines(Fronts):
    """--rules."""

    def test_rule10_the_most_specific_line_decides_and_the_rest_is_denied(self):
        rules = self.file('rules', '127.0.0.:allow\n127.0.0.2-3:deny\n127.0.0.3/32:allow\n'
                                   '127.1.0.0/16:allow\n')
        self.check({ONE: True, TWO: False, THREE: False, '127.0.1.1': False, '127.1.9.9': True},
                   '--rules', rules)

    def test_rule10_the_file_comes_last(self):
        rules = self.file('rules', f'{ONE}:deny\n{TWO}:allow\n127.:allow\n')
        self.check({ONE: True, TWO: False, THREE: True}, '--rules', rules, '--allow', ONE, '--deny',
                   TWO)

    def test_variables_of_the_line_in_every_mode(self):
        rules = self.file('rules', f'{ONE}:allow,A="x y",B=/"/,C=""\n{TWO}:allow\n')
        for mode, options in MODES.items():
            with self.subTest(mode), self.server('--rules', rules, *options) as server:
                self.assertEqual(self.asked(server, b'env\n', ONE), b'A=x y B=" C= \n')
                self.assertEqual(self.asked(server, b'env\n', TWO), b'-\n')
                self.assertEqual(self.asked(server, b'client A\n', TWO), b'2 -\n')

    def test_rule10_an_edit_counts_for_the_next_connection_in_every_mode(self):
        for mode, options in MODES.items():
            path = self.file('rules', ':allow,A="one"\n')
            with self.subTest(mode), self.server('--rules', path, *options) as server:
                for word in 'one', 'two', 'three':
                    self.replace(f':allow,A="{word}"\n')
                    self.assertEqual(self.asked(server, b'env\n'), f'A={word} \n'.encode())
                    self.replace('# nobody\n')
                    self.assertFalse(self.let_in(server))
                for number in range(20):  # in place, of the same size, at once
                    self.file('rules', ':allow\n' if number % 2 else ':deny \n')
                    self.assertEqual(self.let_in(server), number % 2 == 1, number)

    def test_who_is_connected_keeps_the_lines_of_that_time(self):
        for mode in 'fork', 'threads', 'fibers', 'childs-threads':
            path = self.file('rules', ':allow,A="old"\n')
            with self.subTest(mode), self.server('--rules', path, *MODES[mode]) as server, \
                    server.client() as client:
                client.send(b'env\n').expect(b'A=old \n')
                for text in ':allow,A="new"\n', 'broken\n', ':deny\n':
                    self.replace(text)
                    self.let_in(server)
                os.unlink(path)
                self.assertFalse(self.let_in(server))
                client.send(b'env\n').expect(b'A=old \n')

    def spoil_missing(self):
        os.unlink(self.path('rules'))

    def spoil_line(self):
        self.replace(f'{THREE}:allow\n{TWO}:alow\n')

    def spoil_half(self):
        self.file('rules', f'{TWO}:deny\n{ONE}:allow\n127.:al')

    def spoil_mode(self):
        os.chmod(self.path('rules'), 0o666)

    def spoil_kind(self):
        os.unlink(self.path('rules'))
        os.mkfifo(self.path('rules'))

    def test_rule10_a_file_that_cannot_be_used_denies_until_it_is_mended(self):
        """In every mode; with one line in the log; also who --allow would let in."""
        for spoil, words in ((self.spoil_missing, 'No such file or directory'),
                             (self.spoil_line, r"rules:2: found '127\.0\.0\.2:alow', expected"),
                             (self.spoil_half, 'rules:3: found the end of the file, expected'),
                             (self.spoil_mode, 'found mode 0666, expected'),
                             (self.spoil_kind, 'found a FIFO, expected a regular file')):
            for mode, options in MODES.items():
                path = self.file('rules', f'{ONE}:allow\n')
                with self.subTest(words, mode=mode), \
                        self.server('--rules', path, '--allow', TWO, *options) as server:
                    self.assertTrue(self.let_in(server, ONE))
                    spoil()
                    for source in ONE, ONE, TWO, ONE, ONE, TWO, ONE:
                        self.assertFalse(self.let_in(server, source))
                    server.wait_for_log(f'err, .*rules: .*{words}.*nobody is let in until it is')
                    workers = 2 if mode.startswith('childs') else 1
                    said = server.log_count('cannot be used|nobody is let in')
                    self.assertLessEqual(said, workers)
                    if os.path.exists(path):
                        os.unlink(path)
                    self.replace(f'{ONE}:allow\n')
                    self.assertTrue(self.let_in(server, ONE))
                    self.assertTrue(self.let_in(server, TWO))
                    server.wait_for_log('notice, .*rules: .*read again: 1 rule$')

    @needs_root
    def test_rule23_the_owner_counts_at_the_start_and_after_the_drop(self):
        """nobody, whom the server becomes, must not bring rules of its own."""
        path = self.file('rules', ':allow\n')
        with self.server('--rules', path, '--user', 'nobody') as server:
            self.assertTrue(self.let_in(server))
            os.chown(path, NOBODY, NOBODY)
            self.assertFalse(self.let_in(server))
            server.wait_for_log(f'found owner {NOBODY}, expected root or the user that starts')
            os.chown(path, 0, 0)
            self.assertTrue(self.let_in(server))
        os.chown(path, NOBODY, NOBODY)
        self.refused('--rules', path, words=f'--rules: {path}: found owner {NOBODY}, expected root')

    def test_rule10_no_start_with_a_file_that_cannot_be_used(self):
        path = self.path('rules')
        self.refused('--rules', path, words=f'--rules: {path}: No such file or directory')
        for text, words in (('x\n', f'{path}:1: found \'x\', expected ADDRESS:allow'),
                            (':allow\n\njoe@1.2.3.4:deny\n', f"{path}:3: found 'joe@1.2.3.4': "),
                            (':allow', f'{path}:1: found the end of the file'),
                            (b':allow\n\0:deny\n', f'{path}:2: found a NUL byte'),
                            ('10.1:allow\n', f'{path}:1: found \'10.1\', expected an address')):
            self.refused('--rules', self.file('rules', text), words=f'--rules: {words}')
        self.refused('--rules', self.file('rules', ':allow\n', 0o664), words='found mode 0664')
        os.unlink(path)
        os.mkdir(path)
        self.refused('--rules', path, words='found a directory, expected a regular file')

    def test_the_path_may_be_relative(self):
        self.file('rules', ':allow\n')
        with self.server('--rules', 'rules', cwd=self.folder) as server:
            self.assertTrue(self.let_in(server))
            self.replace(':deny\n')
            self.assertFalse(self.let_in(server))

    @needs_strace
    def test_the_file_is_read_once_whatever_the_mode(self):
        """Not by the children of mode fork, each for itself."""
        path = self.file('rules', ':allow\n')
        wait_until('the file is old enough', lambda: self.age(path) > 0.2)
        for mode in 'single', 'fork', 'threads', 'fibers':
            trace = self.path(f'trace.{mode}')
            server = self.server('--rules', path, '--mode', mode, env=SANITIZED,
                                 wrapper=tracer(trace, 'openat,accept4'))
            with self.subTest(mode), server:
                for _ in range(5):
                    self.assertTrue(self.let_in(server))
            calls = traced(trace)
            self.assertEqual(len([call for call in calls if f'"{path}"' in call]), 1, calls)

    @staticmethod
    def age(path):
        return time.time() - os.stat(path).st_ctime


@needs_root
class Dropped(Fronts):
    """The file must stay in reach of whom the server becomes, and where."""

    def test_rule10_no_start_when_it_could_not_be_read_again(self):
        path = self.file('rules', ':allow\n', 0o600)
        for more in [], ['--check'], ['--childs', '2']:
            self.refused('--rules', path, '--user', 'nobody', *more, words=f'--rules: {path} could '
                         'not be read again as user nobody when it has changed: Permission denied')
        os.chmod(path, 0o644)
        os.chmod(self.folder, 0o700)
        self.refused('--rules', path, '--user', 'nobody', words='Permission denied')

    def test_rule10_no_start_when_it_is_outside_of_the_chroot(self):
        path, jail = self.file('rules', ':allow\n'), self.jail()
        for root in jail, jail + '/':
            self.refused('--rules', path, '--chroot', root,
                         words=f'found {path}, expected a file below {root} (--chroot)')

    def test_rule10_below_the_chroot_it_is_read_again(self):
        self.jail()
        for args in [], ['--user', 'nobody'], ['--user', 'nobody', '--childs', '2']:
            path = self.file('jail/rules', ':allow,A="one"\n')
            for root in self.path('jail'), self.path('jail') + '/', '/':
                with self.subTest(args, root=root), \
                        self.server('--rules', path, '--chroot', root, *args) as server:
                    self.replace(':allow,A="two"\n', 'jail/rules')
                    self.assertEqual(self.asked(server, b'env\n'), b'A=two \n')
                    os.unlink(path)
                    self.assertFalse(self.let_in(server))
                    self.replace(':allow,A="one"\n', 'jail/rules')
                    self.assertEqual(self.asked(server, b'env\n'), b'A=one \n')

    def test_rule10_a_link_that_leads_out_of_the_chroot_is_refused(self):
        path = self.file('rules', ':allow\n')
        os.symlink(path, os.path.join(self.jail(), 'rules'))
        self.refused('--rules', self.path('jail', 'rules'), '--chroot', self.path('jail'),
                     words='could not be read again below')

    def test_rule10_a_link_to_another_file_within_the_chroot_is_refused(self):
        """What --check has told of would not be what is served by."""
        path = self.file('rules', ':deny\n')
        os.symlink(path, os.path.join(self.jail(), 'rules'))
        within = self.path('jail') + path
        os.makedirs(os.path.dirname(within), 0o755)
        with open(within, 'w', encoding='ascii') as file:
            file.write(':allow\n')
        self.refused('--rules', self.path('jail', 'rules'), '--chroot', self.path('jail'),
                     words='could not be read again below')


class Told(Fronts):
    """--explain and --check."""

    def explain(self, address, *args):
        result = self.run_program(*args, '--explain', address)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        return result.stdout.splitlines()

    def test_explain_names_front_and_rule(self):
        rules = self.file('rules', '# x\n127.0.0.4:allow,A="x\ty",B=""\n127.:deny\n')
        config = self.file('x.conf', f"{{ clients => [{{ net => '{THREE}', accept => 1, "
                           "env => { C => 1 } }] }")
        args = ['--deny', TWO, '--allow', ONE, '--configfile', config, '--rules', rules]
        where = f'rule 1 ({config}:1:15) net {THREE}'
        tried = ['--deny #1 net {}: no: address {} is outside',
                 '--allow #1 net 127.0.0.1: no: address {1} is outside',
                 where + ': no: address {1} is outside']
        self.assertEqual(self.explain(TWO, *args), [
            f'--deny #1 net {TWO}: yes: address {TWO} is inside', 'denied by --deny #1'])
        self.assertEqual(self.explain(THREE, *args), [
            *[line.format(TWO, THREE) for line in tried[:2]],
            f'{where}: yes: address {THREE} is inside', 'allowed by rule 1', 'with C=1'])
        self.assertEqual(self.explain('127.0.0.4', *args), [
            *[line.format(TWO, '127.0.0.4') for line in tried],
            f'{rules}:2 127.0.0.4: yes: address 127.0.0.4 is inside', f'allowed by {rules}:2',
            r'with A=x\ty', 'with B='])
        self.assertEqual(self.explain('127.0.0.5', *args)[3:], [
            f'{rules}:3 127.: yes: address 127.0.0.5 is inside', f'denied by {rules}:3'])
        self.assertEqual(self.explain('10.0.0.1', *args)[3:], [
            f'{rules} (2 lines): no: no line is about this peer', 'denied: no rule matched'])

    def test_check_counts_and_warns(self):
        rules = self.file('rules', f'{ONE}:deny\n{TWO}:deny\n{ONE}:deny\n')
        result = self.run_program('--rules', rules, '--deny', ONE, '--localport', '0', '--check')
        self.assertIn(f'would serve the clients that 1 --deny, 3 lines of {rules} allow\n',
                      result.stdout)
        self.assertIn(f"warning: {rules}:3: '{ONE}' counts in line 1 already, so this one is never "
                      'met\n', result.stdout)
        self.assertIn(f'warning: {rules}: no line allows anybody\n', result.stdout)
        self.assertNotIn('never asked', result.stdout)
        for args in (['--allow', 'all', '--rules', rules], ['--allow', 'all', '--allow', ONE],
                     ['--deny', ONE, '--allow', 'all', '--rules', rules]):
            result = self.run_program(*args, '--localport', '0', '--check')
            self.assertIn('warning: --allow #1: everybody meets it, so the rules after it are '
                          'never asked\n', result.stdout)
        result = self.run_program('--deny', ONE, '--allow', 'all', '--localport', '0', '--check')
        self.assertNotIn('warning', result.stdout)


if __name__ == '__main__':
    unittest.main()
