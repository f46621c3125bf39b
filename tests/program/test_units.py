"""The unit files of contrib/: as strict as they say, and without a mistake."""
import os
import shlex
import shutil
import subprocess
import tempfile
import unittest

from netd import Server
from supervisor import Manager, handed, listening

UNITS = os.environ['UNITS']
PROGRAM = os.environ['PROGRAM']
EXPOSURE_MAX = 20  # tenths, of 100: the "2.0" of systemd-analyze


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout


class Units(unittest.TestCase):
    def setUp(self):
        if not shutil.which('systemd-analyze'):
            self.skipTest('no systemd-analyze here')
        if run('systemd-analyze', 'security', '--offline=yes', '--help')[0] != 0:
            self.skipTest('systemd-analyze knows no --offline')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in os.listdir(UNITS):
            if name.endswith(('.service', '.socket')):
                with open(os.path.join(UNITS, name), encoding='utf-8') as file:
                    text = file.read()
                # The program as built, for it need not be installed where the unit says.
                lines = [self.built(line) for line in text.split('\n')]
                with open(os.path.join(self.folder, name), 'w', encoding='utf-8') as file:
                    file.write('\n'.join(lines))

    @staticmethod
    def built(line):
        if not line.startswith('ExecStart='):
            return line
        path, rest = line[len('ExecStart='):].split(' ', 1)
        assert path.endswith('/bin/netdaemon'), path
        return f'ExecStart={PROGRAM} {rest}'

    def test_exposure_is_low(self):
        services = [name for name in os.listdir(self.folder) if name.endswith('.service')]
        self.assertEqual(sorted(services), ['netdaemon-echo.service', 'netdaemon@.service'])
        for name in services:
            path = os.path.join(self.folder, name)
            code, words = run('systemd-analyze', 'security', '--offline=yes', '--no-pager',
                              f'--threshold={EXPOSURE_MAX}', path)
            self.assertEqual(code, 0, words)
            self.assertIn('Overall exposure level', words)

    def test_a_lax_unit_is_not_low(self):
        """The figure that the test above relies on."""
        path = os.path.join(self.folder, 'lax.service')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'[Service]\nExecStart={PROGRAM}\n')
        self.assertNotEqual(run('systemd-analyze', 'security', '--offline=yes', '--no-pager',
                                f'--threshold={EXPOSURE_MAX}', path)[0], 0)

    def test_systemd_finds_no_mistake(self):
        os.rename(f'{self.folder}/netdaemon@.service', f'{self.folder}/netdaemon@x.service')
        names = [os.path.join(self.folder, name) for name in sorted(os.listdir(self.folder))]
        self.assertEqual(run('systemd-analyze', 'verify', '--man=no', *names), (0, ''))
        with open(names[0], 'a', encoding='utf-8') as file:
            file.write('[Service]\nProtectEverything=yes\n')
        self.assertIn('ProtectEverything', run('systemd-analyze', 'verify', '--man=no', *names)[1])


class Commands(unittest.TestCase):
    def test_the_echo_service_echoes_on_the_socket_of_its_unit(self):
        with open(os.path.join(UNITS, 'netdaemon-echo.service'), encoding='utf-8') as file:
            line = next(line for line in file if line.startswith('ExecStart='))
        options = shlex.split(line)[1:]
        self.assertEqual(options[-2:], ['--', '/bin/cat'])
        with Manager() as manager, listening() as sock:
            server = Server(PROGRAM, '--logfile', 'STDERR', *options, standard=False,
                            **handed(sock, names='echo', env=manager.env))
            with server:
                manager.wait_for('READY=1')
                self.assertEqual(server.talk(b'hello\n'), b'hello\n')


if __name__ == '__main__':
    unittest.main()
