"""modes.py - the ways in which a server can run, and test classes that are run in each of them.

    class Reading(InEveryMode):
        def test_lines(self):
            with self.server() as server: ...
    load_tests = every_mode(Reading)

makes Reading[single], Reading[fork], ... of it: one conformance suite, every mode. A mode is a list
of options; what differs between modes that a test must know is asked by self.has_children etc.
"""
import os
import unittest

from netd import Server, program

MODES = {
    'single': ['--mode', 'single'],
    'fork': ['--mode', 'fork'],
    'threads': ['--mode', 'threads'],
    'fibers': ['--mode', 'fibers'],
    'fibers-epoll': ['--mode', 'fibers', '--io', 'epoll'],
    'fibers-poll': ['--mode', 'fibers', '--io', 'poll'],
    'childs-single': ['--childs', '2', '--mode', 'single'],
    'childs-fork': ['--childs', '2', '--mode', 'fork'],
    'childs-threads': ['--childs', '2', '--mode', 'threads'],
    'childs-fibers': ['--childs', '2', '--mode', 'fibers'],
}


def chosen():
    """The modes to run: all, or those named in MODES=fork,threads."""
    wanted = os.environ.get('MODES')
    return [name for name in MODES if not wanted or name in wanted.split(',')]


class InEveryMode(unittest.TestCase):
    mode = 'threads'  # replaced in the classes that every_mode() makes
    program = 'conform'

    @property
    def options(self):
        return MODES[self.mode]

    def server(self, *args, **more):
        return Server(program(self.program), *self.options, *args, **more)

    @property
    def serial(self):
        """One connection at a time (per worker)."""
        return self.mode.endswith('single')

    @property
    def prefork(self):
        return self.mode.startswith('childs')

    @property
    def basic(self):
        """The value of --mode."""
        options = MODES[self.mode]
        return options[options.index('--mode') + 1]

    @property
    def shares_process(self):
        """Handlers run in the process that the test started."""
        return not self.prefork and not self.forks

    @property
    def shares_thread(self):
        """Handlers run on the thread that takes the signals of that process."""
        return not self.prefork and self.basic in ('single', 'fibers')

    @property
    def forks(self):
        """A process for each connection."""
        return self.mode.endswith('fork')

    @property
    def accepting(self):
        """How many processes accept."""
        return 2 if self.prefork else 1


def every_mode(*classes):
    """For load_tests: each test of each class, in each mode."""
    def load_tests(loader, _standard, _pattern):
        suite = unittest.TestSuite()
        for base in classes:
            for mode in chosen():
                name = f'{base.__name__}[{mode}]'
                suite.addTests(loader.loadTestsFromTestCase(type(name, (base,), {
                    'mode': mode, '__module__': base.__module__, '__qualname__': name})))
        return suite
    return load_tests
