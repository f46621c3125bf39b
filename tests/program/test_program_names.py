#!/usr/bin/env python3
"""test_program_names.py - host names that DNS gives reach a program only when they are confirmed and
have letters, digits, hyphens and dots: security rule 22. The name server is the fake one of the
security tests, in a network namespace; needs root.
"""
import os
import sys
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'security'))

import fake_dns  # pylint: disable=wrong-import-position
from modes import every_mode  # pylint: disable=wrong-import-position
from programs import Programs, variables  # pylint: disable=wrong-import-position

RULES = "{ clients => [{ mask => '\\.nowhere\\.invalid$', accept => 1 }, { accept => 1 }] }"
NAMES = {  # address: the name's labels, what the program finds (None: no TCPREMOTEHOST)
    '127.0.0.10': ([b'Good-1', b'Example', b'ORG'], 'good-1.example.org'),
    '127.0.0.11': ([b'() { :;}; x', b'example', b'org'], None),
    '127.0.0.12': ([b'-f root', b'example', b'org'], None),
    '127.0.0.13': ([b'-froot', b'example', b'org'], None),
    '127.0.0.14': ([b'a\nSHELL=x', b'example', b'org'], None),
    '127.0.0.15': ([b'$(id)', b'example', b'org'], None),
    '127.0.0.16': ([b'a_b', b'example', b'org'], None),
    '127.0.0.17': ([b'lying', b'example', b'org'], None),
}


def setUpModule():
    if os.geteuid() != 0:
        raise unittest.SkipTest('needs root')
    try:
        fake_dns.enter()
    except OSError as error:
        raise unittest.SkipTest(f'no namespaces of our own here: {error}')
    dns = fake_dns.FakeDns()
    for address, (labels, _) in NAMES.items():
        dns.ptr[address] = [labels]
        name = b'.'.join(labels).decode('latin-1').lower()
        dns.hosts[name] = ['127.0.0.99' if 'lying' in name else address]
    fake_dns.use_server('127.0.0.1')


class Names(Programs):
    def test_rule22_only_clean_confirmed_names_reach_the_program(self):
        path = self.path('rules.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write(RULES)
        with self.serve(['env'], '--configfile', path, '--localaddr', '127.0.0.1', '--localport',
                        '0') as server:
            for address, (_, wanted) in NAMES.items():
                with server.client(source=address) as client:
                    found = variables(client.read_all())
                self.assertEqual(found['TCPREMOTEIP'], address)
                self.assertEqual(found.get('TCPREMOTEHOST'), wanted, address)
                self.assertNotIn('SHELL', found)


load_tests = every_mode(Names)
