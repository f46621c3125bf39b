#!/usr/bin/env python3
"""test_front_names.py - host names in --allow, --deny and the rules file, with a resolver that lies
(security rule 12).

The peers, and who of them is let in, are those of test_names.py; so is the fake name server. Needs
root.
"""
import unittest

import test_names
from modes import MODES
from netd import wait_until
from test_names import GOOD, PEERS, SLOW

ALLOWED = [GOOD, 'many.example.org', 'v6.example.org']
# Front: (what lets in those of ALLOWED only, what refuses those of evil.org only).
OPTIONS = ([arg for name in ALLOWED for arg in ('--allow', name)],
           ['--deny', 'evil.org', '--deny', '.evil.org', '--allow', 'all'])
LINES = (''.join(f'={name}:allow\n' for name in ALLOWED),
         '=evil.org:deny\n=.evil.org:deny\n:allow\n')

setUpModule = test_names.setUpModule


class FrontNames(test_names.Names):
    def fronts(self, which):
        """Of each front the arguments that say the same."""
        rules = self.file('rules', LINES[which])
        return {'options': OPTIONS[which], 'rules file': ['--rules', rules]}

    def check_all(self, which):
        for front, args in self.fronts(which).items():
            for mode, options in MODES.items():
                with self.server(*args, *options) as server:
                    for name, peer in PEERS.items():
                        with self.subTest(front, mode=mode, peer=name):
                            self.assertEqual(self.let_in(server, peer[0]), peer[3 + which])

    def test_rule12_only_confirmed_names_are_let_in(self):
        self.check_all(0)

    def test_rule12_doubt_meets_denials(self):
        self.check_all(1)

    def test_rule12_a_name_server_that_fails_or_is_gone(self):
        for which in 0, 1:
            for front, args in self.fronts(which).items():
                with self.subTest(front, which=which), self.server(*args) as server:
                    self.assertFalse(self.let_in(server, '127.0.0.26'))  # "server failed"
                    self.assertFalse(self.let_in(server, SLOW))

    def test_rule12_nobody_is_asked_when_an_address_decides(self):
        dns = test_names.dns
        for args in (['--deny', '127.0.0.13', '--deny', '.evil.org', '--allow', 'all'],
                     ['--rules', self.file('rules', '127.0.0.13:deny\n=.evil.org:deny\n:allow\n')]):
            with self.subTest(args), self.server(*args) as server:
                before = len(dns.asked)
                self.assertFalse(self.let_in(server, '127.0.0.13'))
                self.assertEqual(dns.asked[before:], [])
                self.assertTrue(self.let_in(server, '127.0.0.10'))
                self.assertIn(('ptr', '127.0.0.10'), dns.asked[before:])

    def test_rule12_the_file_changes_while_a_name_is_looked_up(self):
        """Whoever came before the edit is met by the lines of that time, whole."""
        path = self.file('rules', f'={GOOD}:allow,A="old"\n:deny\n')
        dns = test_names.dns
        dns.ptr['127.0.0.40'] = [GOOD]
        dns.hosts[GOOD] = dns.hosts[GOOD] + ['127.0.0.40']
        dns.delays['127.0.0.40'] = 1
        for mode in 'fork', 'threads', 'fibers':
            with self.subTest(mode), self.server('--rules', path, '--mode', mode) as server:
                before = len(dns.asked)
                with server.client(source='127.0.0.40') as client:
                    client.send(b'env\n')
                    wait_until('the name server is asked',
                               lambda at=before: ('ptr', '127.0.0.40') in dns.asked[at:])
                    self.file('rules', ':deny\n')
                    self.assertFalse(self.let_in(server, '127.0.0.10'))
                    client.expect(b'A=old \n')
            self.file('rules', f'={GOOD}:allow,A="old"\n:deny\n')

    def test_explain_tells_the_name(self):
        for args, where in ((['--allow', '.example.org'], '--allow #1 name .example.org'),
                            (['--rules', self.file('rules', '=.example.org:allow,A="x"\n')],
                             self.path('rules') + ':1 =.example.org')):
            result = self.run_program(*args, '--explain', '127.0.0.10')
            self.assertIn(f'{where}: yes: name {GOOD} matches\n', result.stdout)
            result = self.run_program(*args, '--explain', '127.0.0.12')
            self.assertIn('denied: no rule matched\n', result.stdout)


if __name__ == '__main__':
    unittest.main()
