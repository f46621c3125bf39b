#!/usr/bin/env python3
"""test_names.py - host names in access rules, with a resolver that lies (security rule 12).

The name server is a fake in a network namespace (fake_dns.py); clients come from 127.0.0.N, and
what DNS says about each N stands in PEERS. Happy path of a peer: it sends a line and has it back;
of a refusal: the connection ends without a byte, with one line in the log. Needs root.
"""
import os
import signal
import time
import unittest

import fake_dns
from ground import Ground
from modes import MODES

GOOD = 'good.example.org'
ALLOW = "{ clients => [{ mask => '^(?:good|many|v6)\\.example\\.org$', accept => 1 }] }"
DENY = "{ clients => [{ mask => '(?:^|\\.)evil\\.org$' }, { accept => 1 }] }"
SLOW, TWICE_SLOW = '127.0.0.30', '127.0.0.31'
LIMIT_S = 5  # all look-ups of one connection

# Address: (names, addresses of those names; let in where only GOOD is, ... where all but evil is).
PEERS = {
    'honest': ('127.0.0.10', [GOOD], {GOOD: ['127.0.0.10', '127.0.0.19']}, True, True),
    'lying': ('127.0.0.11', [GOOD], {}, False, False),
    'no name': ('127.0.0.12', [], {}, False, False),
    'evil': ('127.0.0.13', ['host.evil.org'], {'host.evil.org': ['127.0.0.13']}, False, False),
    'name without address': ('127.0.0.14', ['nowhere.example.org'], {}, False, False),
    'alias of good': ('127.0.0.18', ['alias.other.org'], {'alias.other.org': ['127.0.0.18']},
                      False, True),
    'capitals': ('127.0.0.19', ['GOOD.Example.ORG'], {}, True, True),
    'good in front': ('127.0.0.20', [f'{GOOD}.other.org'],
                      {f'{GOOD}.other.org': ['127.0.0.20']}, False, True),
    'two hundred names': ('127.0.0.21', [GOOD] * 200, {}, False, False),
    'two thousand addresses': ('127.0.0.22', ['many.example.org'],
                               {'many.example.org': [f'10.{i // 250}.{i % 250}.1'
                                                     for i in range(2000)] + ['127.0.0.22']},
                               True, True),
    'longest name': ('127.0.0.23', ['.'.join(['x' * 60] * 4)],
                     {'.'.join(['x' * 60] * 4): ['127.0.0.23']}, False, True),
}

# Names that are none; the name server of their owner confirms each of them.
BAD_NAMES = [
    [b'good.example.org\n', b'other', b'org'], [b'good.example.org\0', b'other', b'org'],
    [b'() { :; }', b'other', b'org'], [b'-froot', b'other', b'org'], [b'a b', b'other', b'org'],
    [b'127', b'0', b'0', b'10'], [b'0x7f', b'1'], [b'2130706433'], [b'\xff\xfe', b'org'],
    [b'..', b'org'], [b'a/../b', b'org'], [b'%n%s', b'org'], [b'$(id)', b'org'], [b'\x1b[31m'],
]
GARBAGE = {
    '127.0.0.15': b'\xff' * 200,
    '127.0.0.16': b'\xc0\x0c' + b'\0\x0c\0\x01\0\0\0\0\0\x02\xc0\x0c',     # an answer: itself
    '127.0.0.17': b'\xc0\x0c' + b'\0\x0c\0\x01\0\0\0\0\xff\xff\x04good',    # longer than it is
    '127.0.0.24': b'',                                                       # none at all
    '127.0.0.25': b'\xc0\x0c' + b'\0\x0c\0\x01\0\0\0\0\0\x04\x3fabc',        # a cut label
}

dns = None


def setUpModule():
    global dns  # pylint: disable=global-statement
    if os.geteuid() != 0:
        raise unittest.SkipTest('needs root')
    try:
        fake_dns.enter()
    except OSError as error:
        raise unittest.SkipTest(f'no namespaces of our own here: {error}')
    dns = fake_dns.FakeDns()
    for address, names, hosts, _, _ in PEERS.values():
        dns.ptr[address] = names
        dns.hosts.update(hosts)
    dns.aliases['alias.other.org'] = GOOD
    for number, labels in enumerate(BAD_NAMES):
        dns.ptr[f'127.0.1.{number}'] = [labels]
        dns.hosts[b'.'.join(labels).decode('latin-1').lower()] = [f'127.0.1.{number}']
    dns.raw.update(GARBAGE)
    dns.ptr['127.0.0.26'] = [GOOD]
    dns.failing.add('127.0.0.26')
    dns.ptr['::1'] = ['v6.example.org']
    dns.hosts['v6.example.org'] = ['::1']
    dns.ptr['127.0.0.28'] = ['v6.example.org']
    dns.ptr[SLOW] = [GOOD]
    dns.delays[SLOW] = None
    dns.ptr[TWICE_SLOW] = ['slow.example.org']
    dns.hosts['slow.example.org'] = [TWICE_SLOW]
    dns.delays.update({TWICE_SLOW: LIMIT_S - 2, 'slow.example.org': LIMIT_S - 2})


class Names(Ground):
    def setUp(self):
        super().setUp()
        fake_dns.use_server('127.0.0.1')

    def serving(self, rules, *args, **more):
        return self.server('--configfile', self.file('rules.conf', rules), '--localaddr',
                           '127.0.0.1', '--localport', '0', *args, **more)

    @staticmethod
    def let_in(server, source, address=None):
        """One connection: was it served?"""
        with server.client(source=source, address=address) as client:
            try:
                client.send(b'echo in\n').shutdown()
            except OSError:
                pass
            try:
                return client.read_all() == b'in\n'
            except ConnectionError:
                return False


class Confirmed(Names):
    def check_all(self, rules, which):
        with self.serving(rules) as server:
            for name, peer in PEERS.items():
                with self.subTest(name):
                    self.assertEqual(self.let_in(server, peer[0]), peer[which])

    def test_rule12_only_confirmed_names_are_let_in(self):
        self.check_all(ALLOW, 3)

    def test_rule12_unconfirmed_names_meet_deny_rules(self):
        self.check_all(DENY, 4)

    def test_rule12_names_with_other_characters_are_no_names(self):
        for rules in DENY, "{ clients => [{ mask => ['good', 'org$', '^[a-z]'], accept => 1 }] }":
            with self.serving(rules) as server:
                for number, labels in enumerate(BAD_NAMES):
                    with self.subTest(rules=rules, name=labels):
                        self.assertFalse(self.let_in(server, f'127.0.1.{number}'))
                server.wait_for_log('access not permitted', count=len(BAD_NAMES))
                self.assertTrue(all(line.isprintable() for line in server.log))

    def test_rule12_garbage_is_no_name(self):
        for rules in ALLOW, DENY:
            with self.serving(rules) as server:
                for source in [*GARBAGE, '127.0.0.26']:
                    with self.subTest(rules=rules, source=source):
                        self.assertFalse(self.let_in(server, source))
                self.assertTrue(self.let_in(server, '127.0.0.10'))

    def test_rule12_ipv6(self):
        with self.server('--configfile', self.file('rules.conf', ALLOW), '--bind',
                         'tcp:[::1]:0', '--bind', 'tcp:127.0.0.1:0') as server:
            v4 = server.wait_for_log(r'listening on (tcp:127\.0\.0\.1:\d+)').group(1)
            self.assertTrue(self.let_in(server, None))
            # The same name, an address that it does not have.
            self.assertFalse(self.let_in(server, '127.0.0.28', v4))
            self.assertTrue(self.let_in(server, '127.0.0.10', v4))

    def test_rule12_ipv4_client_of_a_dual_stack_listener(self):
        with self.server('--configfile', self.file('rules.conf', ALLOW), '--localport',
                         '0') as server:
            self.assertTrue(self.let_in(server, '127.0.0.10'))
            self.assertFalse(self.let_in(server, '127.0.0.11'))

    def test_rule12_the_handler_is_told_confirmed_names_only(self):
        rules = "{ clients => [{ mask => 'example', accept => 1 }, { accept => 1 }] }"
        with self.serving(rules) as server:
            for source, name in (('127.0.0.10', GOOD), ('127.0.0.11', '-'), ('127.0.0.12', '-'),
                                 ('127.0.1.0', '-')):
                with server.client(source=source) as client:
                    client.send(b'peer\n').expect_line(rf'.* name={name} .*')

    def test_rule12_the_log_says_that_the_name_is_unknown(self):
        with self.serving(ALLOW) as server:
            self.let_in(server, '127.0.0.11')
            server.wait_for_log(r'err, .*conn 1 \(127\.0\.0\.11:\d+\): access not permitted')
        with self.serving(DENY) as server:
            self.let_in(server, '127.0.0.11')
            server.wait_for_log(r'denied by rule 1 .*the name is unknown')

    def test_rule12_in_every_mode(self):
        for mode, options in MODES.items():
            with self.subTest(mode), self.serving(ALLOW, *options) as server:
                self.assertFalse(self.let_in(server, '127.0.0.11'))
                self.assertTrue(self.let_in(server, '127.0.0.10'))

    def test_rule12_explain_asks_the_same_way(self):
        config = self.file('rules.conf', ALLOW)
        for source, words in (('127.0.0.10', 'allowed'), ('127.0.0.11', 'denied')):
            result = self.run_program('--configfile', config, '--explain', source)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertRegex(result.stdout.splitlines()[-1], words)


class Asking(Names):
    """DNS is asked only if a rule needs a name."""

    RULES_WITHOUT_NAMES = [
        '{ }', "{ clients => [] }", "{ clients => [{ net => '127.0.0.0/8', accept => 1 }] }",
        r"{ clients => [{ mask => '^127\.0\.0\.\d+$', accept => 1 }] }",
        r"{ clients => [{ mask => ['^10\.', '^192\.168\.', '^::1$'] }, { accept => 1 }] }",
        "{ clients => [{ mask => '.*', accept => 1 }] }",
        "{ clients => [{ accept => 1 }] }",
        "{ clients => [{ net => '127.0.0.0/8' }, { mask => 'example', accept => 1 }] }",
        "{ clients => [{ net => '127.0.0.0/8', accept => 1 }, { mask => 'example' }] }",
        "{ clients => [{ net => '10.0.0.0/8', mask => 'example', accept => 1 }] }",
        "{ clients => [{ uid => 0, mask => 'example', accept => 1 }] }",
    ]

    def test_rule12_nobody_is_asked_without_need(self):
        before = len(dns.asked)
        for rules in self.RULES_WITHOUT_NAMES:
            with self.subTest(rules), self.serving(rules) as server:
                self.let_in(server, '127.0.0.10')
                self.assertEqual(dns.asked[before:], [])

    def test_rule12_one_look_up_for_all_rules_of_a_connection(self):
        rules = ("{ clients => [{ mask => 'aaa' }, { mask => ['bbb', 'ccc'] }, "
                 "{ mask => 'example', accept => 1 }] }")
        with self.serving(rules) as server:
            before = len(dns.asked)
            self.assertTrue(self.let_in(server, '127.0.0.10'))
            self.assertEqual(dns.asked[before:], [('ptr', '127.0.0.10'), ('name', GOOD)])

    def test_rule12_a_change_in_dns_counts_at_once(self):
        with self.serving(ALLOW) as server:
            self.assertTrue(self.let_in(server, '127.0.0.10'))
            saved = dns.hosts[GOOD]
            try:
                dns.hosts[GOOD] = ['127.0.0.19']
                self.assertFalse(self.let_in(server, '127.0.0.10'))
            finally:
                dns.hosts[GOOD] = saved


class Waiting(Names):
    RULES = ("{ clients => [{ net => '127.0.0.1', accept => 1 }, "
             "{ mask => '^(?:good|slow)\\.example\\.org$', accept => 1 }] }")

    def test_rule12_slow_names_hold_up_nobody_else_and_end_after_five_seconds(self):
        servers = {mode: self.serving(self.RULES, *MODES[mode]).start()
                   for mode in ('fork', 'threads', 'childs-fork', 'childs-threads')}
        began, waiting = time.monotonic(), []
        try:
            for server in servers.values():
                waiting += [server.client(source=source)
                            for source in (SLOW, SLOW, TWICE_SLOW, TWICE_SLOW)]
            for mode, server in servers.items():
                asked = time.monotonic()
                self.assertTrue(self.let_in(server, '127.0.0.1'), mode)
                self.assertTrue(self.let_in(server, '127.0.0.10'), mode)
                self.assertLess(time.monotonic() - asked, 1.5, mode)
            for client in waiting:
                client.expect_end()
                took = time.monotonic() - began
                self.assertGreater(took, LIMIT_S - 0.5)
                self.assertLess(took, LIMIT_S + 3)
            for server in servers.values():
                server.wait_for_log('access not permitted', count=4)
        finally:
            for client in waiting:
                client.close()
            for server in servers.values():
                server.stop()

    def test_rule12_many_slow_names_at_a_time(self):
        with self.serving(self.RULES, '--mode', 'threads') as server:
            waiting = [server.client(source=SLOW) for _ in range(50)]
            self.assertTrue(self.let_in(server, '127.0.0.1'))
            for client in waiting:
                client.expect_end()
            server.wait_for_log('access not permitted', count=50)

    def test_rule12_dead_name_server(self):
        fake_dns.use_server('127.0.0.99')
        for rules in ALLOW, DENY:
            with self.serving(rules) as server:
                began = time.monotonic()
                self.assertFalse(self.let_in(server, '127.0.0.10'))
                self.assertLess(time.monotonic() - began, LIMIT_S + 1)
        with self.serving(self.RULES) as server:
            self.assertTrue(self.let_in(server, '127.0.0.1'))

    def test_rule12_a_stop_does_not_wait_for_names(self):
        for mode in ('single', 'fork', 'threads'):
            with self.subTest(mode), self.serving(self.RULES, '--mode', mode) as server:
                before = len(dns.asked)
                with server.client(source=SLOW):
                    while len(dns.asked) == before:
                        time.sleep(0.01)
                    began = time.monotonic()
                    server.stop(signal.SIGINT)
                    self.assertLess(time.monotonic() - began, LIMIT_S - 1)


if __name__ == '__main__':
    unittest.main()
