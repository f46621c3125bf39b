"""ground.py - what tests of whole programs stand on: a folder of their own, config files, strace.

    class Some(Ground):
        def test_x(self):
            config = self.file('x.conf', "{ mode => 'fork' }")
            with self.server('--configfile', config) as server: ...

Each test gets a fresh folder (self.folder) that is gone after it. Failure modes: none of its own;
needs_root() and needs_strace() skip with a reason where the machine does not allow a test.
"""
import functools
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from netd import Server, program, run, wait_until

NOBODY = 65534  # the number of user nobody and of its group
# Environment for what is traced or locked away: there a sanitizer cannot look for leaks.
SANITIZED = {**os.environ, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}


def is_root():
    return os.geteuid() == 0


@functools.lru_cache(None)
def can_trace():
    return bool(shutil.which('strace')) and subprocess.run(
        ['strace', '-o', os.devnull, 'true'], check=False, capture_output=True).returncode == 0


needs_root = unittest.skipUnless(is_root(), 'needs root')
needs_strace = unittest.skipUnless(can_trace(), 'needs strace and the right to trace')


class Ground(unittest.TestCase):
    program = 'conform'

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='netd-ground-')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.chmod(self.folder, 0o755)

    def path(self, *names):
        """A path in the folder of this test."""
        return os.path.join(self.folder, *names)

    def file(self, name, text, mode=0o644):
        """A file in it."""
        path = self.path(name)
        with open(path, 'wb') as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(path, mode)
        return path

    def read(self, name):
        with open(self.path(name), encoding='utf-8', errors='replace') as file:
            return file.read()

    def wait_for_file(self, name, text):
        """Until a file in it holds this text."""
        wait_until(f'{name} holds {text!r}',
                   lambda: os.path.exists(self.path(name)) and text in self.read(name))

    def jail(self):
        """A folder to be locked into."""
        os.mkdir(self.path('jail'), 0o755)
        return self.path('jail')

    def server(self, *args, **more):
        if '--chroot' in args:
            more.setdefault('env', SANITIZED)
        return Server(program(self.program), *args, **more)

    def run_program(self, *args, **more):
        """A run that ends by itself."""
        return run(program(self.program), *args, **more)

    def refused(self, *args, status=2, words='', **more):
        """It must not start: this exit status and one line that holds these words. Returns it."""
        result = self.run_program('--localaddr', '127.0.0.1', '--localport', '0', '--logfile',
                                  'STDERR', '--timeout', '60', *args, **more)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, '')
        self.assertRegex(result.stderr, r'\A[^\n]+\n\Z')
        self.assertIn(words, result.stderr)
        return result.stderr.rstrip('\n')


# ------------------------------------------------------------------------------------------ strace

def tracer(path, calls, *rules):
    """A wrapper for Server: strace writes these calls to path; the server keeps its own number.
    rules: what to disturb, as "setuid:error=EPERM:when=1"."""
    wrapper = ['strace', '-D', '-f', '-qq', '-s', '200', '-o', path, '-e', f'trace={calls}']
    for rule in rules:
        wrapper += ['-e', f'inject={rule}']
    return wrapper


CALL = re.compile(r'^(?P<pid>\d+) +(?P<name>\w+)\((?P<text>.*)')


def traced(path):
    """The calls in a file of strace, each as "name(arguments) = result", in their order. One that
    another interrupted stands where it began, without its result."""
    calls = []
    with open(path, encoding='utf-8', errors='replace') as lines:
        for line in lines:
            found = CALL.match(line.rstrip('\n'))
            if found:
                calls.append(f"{found['name']}({found['text']}")
    return calls
