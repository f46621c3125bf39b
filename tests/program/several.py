"""several.py - a master and its services under test; their addresses and processes by name.

    with self.services({'a': self.section(mode='fork'), 'b': {'program': ['cat'], ...}}) as server:
        self.assertEqual(server.talk_to('a'), b'hello\\n')

Failure modes: those of netd.Server.
"""
import contextlib
import re
import unittest

from netd import Server, connect, fds, run, wait_until
from objects import PROGRAM, YAML, Objects, example

HERE = '127.0.0.1'


class Services(Server):
    """A master and its services; addresses and processes by the services' names."""

    def __init__(self, path, *args, **more):
        super().__init__(PROGRAM, '--services', path, *args, standard=False, **more)

    def process_of(self, name, count=1):
        """The number of the process that this service has at its count-th start."""
        line = self.wait_for_log(rf', (\d+), {name} (\S+ )?starting: mode', count=count)
        return int(line[1])

    def address_of(self, name, count=1):
        pid = self.process_of(name, count)
        return self.wait_for_log(rf', {pid}, listening on (\S+)')[1]

    def talk_to(self, name, data=b'hello\n', count=1):
        return self.talk(data, address=self.address_of(name, count))


class Case(Objects):
    def section(self, service='echo', **more):
        return {'service': example(service), 'localport': '0', **more}

    def services(self, sections, *args, top=None, **more):
        tree = {'logfile': 'STDERR', 'localaddr': HERE, 'timeout': '300', **(top or {}),
                'services': sections}
        return Services(self.tree(tree), *args, **more)

    def two(self, *args, **more):
        return self.services({'first': self.section(), 'second': self.section('calculator')}, *args,
                             **more)

    def ready(self, server, *names):
        """All accept connections, and the master knows."""
        for name in names or ('first', 'second'):
            wait_until(f'{name} serves', lambda at=server.address_of(name): not closed(at))
        wait_until('the master has heard', lambda: not self.listens_for_news(server))

    @staticmethod
    def listens_for_news(server):
        """Reading ends of pipes that the master still waits at."""
        flags = []
        for number, name in fds(server.pid).items():
            if name.startswith('pipe:') and number > 2:
                with contextlib.suppress(FileNotFoundError), \
                        open(f'/proc/{server.pid}/fdinfo/{number}', encoding='ascii') as file:
                    flags.append(int(re.search(r'flags:\s*(\d+)', file.read())[1], 8) & 3)
        return 0 in flags  # O_RDONLY

    def refused(self, tree, *args, words, code=2):
        """It must not start; returns what is said on standard error."""
        result = run(PROGRAM, '--services', self.tree(tree), *args)
        self.assertEqual((result.returncode, result.stdout), (code, ''), result.stderr)
        self.assertIn(words, result.stderr)
        return result.stderr


def closed(address):
    """Nobody listens there any more."""
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


def in_both_syntaxes(perl, *plain):
    """For load_tests: without libyaml the plain classes use Perl's syntax, and `perl` is no more."""
    def load_tests(loader, _standard, _pattern):
        suite = unittest.TestSuite()
        for case in (*plain, perl) if YAML else plain:
            suite.addTests(loader.loadTestsFromTestCase(case))
        return suite
    return load_tests
