"""programs.py - netdaemon with a program for each connection, as the tests of this folder start it.

    with self.serve(['cat'], '--mode', 'fork') as server: ...

Happy path: options, then "--" and the words of the program. A test that needs a program of its own
writes a shell script into a folder that goes with the test.
"""
import os
import re
import shutil
import tempfile

from modes import MODES, InEveryMode
from netd import Server, wait_until

NETDAEMON = os.environ['PROGRAM']
ENDED = r'program (\d+) (.*) after \d+\.\d{3} s'


class Programs(InEveryMode):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='netd-program-')
        self.addCleanup(shutil.rmtree, self.folder)

    def serve(self, program, *options, mode=None, wait=True, **more):
        """A server that has been started."""
        options = [*MODES[mode or self.mode], *options, '--', *program]
        return Server(NETDAEMON, *options, **more).start(wait)

    def path(self, name):
        return os.path.join(self.folder, name)

    def script(self, name, text):
        """An executable file; without a first line of its own, a shell script."""
        path = self.path(name)
        with open(path + '.new', 'w', encoding='utf-8') as file:
            file.write(text if text.startswith('#!') else '#!/bin/sh\n' + text)
        os.chmod(path + '.new', 0o755)
        os.rename(path + '.new', path)
        return path

    def read(self, name):
        """What a program has written there, once it has."""
        def content():
            if os.path.exists(self.path(name)):
                with open(self.path(name), encoding='utf-8') as file:
                    return file.read()
            return None
        return wait_until(f'{name} is written', content)

    def read_pid(self, name):
        return int(wait_until(f"a number in {name}",
                              lambda: re.match(r"(\d+)\n", self.read(name)))[1])


def fields(text):
    """/proc/PID/status, as a program sent it, as a dict."""
    return dict(line.split(':\t', 1) for line in text.decode().splitlines() if ':\t' in line)


def variables(text):
    """What env(1) printed."""
    return dict(line.split('=', 1) for line in text.decode().splitlines())
