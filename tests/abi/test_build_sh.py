"""test_build_sh.py - build.sh: what it would install, whom it tells, how it starts the example.

A copy of build.sh stands in a folder with blanks in its name and finds only what the test puts on
the PATH: the few tools it uses, and stand-ins for apt-get, dpkg-query, id, meson and ninja that
write down how they were called.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

ROOT = os.environ['SOURCE_ROOT']
TOOLS = ['sh', 'dirname', 'cat', 'tr', 'mkdir', 'rm', 'env', 'tail', 'getconf', 'sed', 'find',
         'date']
DPKG_QUERY = '''#!/bin/sh
for last; do :; done
grep -qx "$last" "$STATE/installed" || { echo "no package $last" >&2; exit 1; }
printf ' installed '
'''
APT_GET = '''#!/bin/sh
echo "apt-get ($DEBIAN_FRONTEND) $*" >>"$STATE/calls"
[ ! -e "$STATE/broken" ]
'''
MESON = '''#!/bin/sh
echo "meson $*" >>"$STATE/calls"
[ ! -e "$STATE/no-setup" ] || { echo 'meson has a reason'; exit 1; }
for word; do folder=$last last=$word; done
[ "$1" != setup ] || : >"$folder/build.ninja"
'''
NINJA = '''#!/bin/sh
echo "ninja $*" >>"$STATE/calls"
mkdir -p "$2/examples"
cp "$STATE/server" "$2/examples/calculator"
'''
SERVER = '''#!/bin/sh
trap 'echo ended by INT; exit 7' INT
echo "server $$ $* in $PWD"
while :; do sleep 0.1; done
'''


class Front(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix='with blanks ')
        self.addCleanup(holder.cleanup)
        self.top = os.path.realpath(holder.name)
        self.tree, self.bin = os.path.join(self.top, 'a tree'), os.path.join(self.top, 'bin')
        os.makedirs(os.path.join(self.tree, 'tools'))
        os.makedirs(self.bin)
        shutil.copy(os.path.join(ROOT, 'build.sh'), self.tree)
        shutil.copy(os.path.join(ROOT, 'tools', 'packages.txt'), self.tree + '/tools')
        for tool in TOOLS + ['grep', 'cp', 'sleep']:
            os.symlink(shutil.which(tool), os.path.join(self.bin, tool))
        for name, text in (('dpkg-query', DPKG_QUERY), ('apt-get', APT_GET), ('meson', MESON),
                           ('ninja', NINJA)):
            self.put(name, text)
        self.user(0)
        self.write('server', SERVER, 0o755)
        self.sections = self.read_list()
        self.installed(*self.sections['build'], *self.sections['run'])

    def write(self, name, text='', mode=0o644):
        path = os.path.join(self.top, name)
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(path, mode)

    def put(self, name, text):
        self.write(os.path.join('bin', name), text, 0o755)

    def user(self, number):
        self.put('id', f'#!/bin/sh\necho {number}\n')

    def installed(self, *names):
        self.write('installed', ''.join(name + '\n' for name in names))

    def read_list(self):
        sections, current = {}, None
        with open(self.tree + '/tools/packages.txt', encoding='utf-8') as file:
            for line in file:
                word = line.split('#')[0].strip()
                if word.startswith('['):
                    current = sections.setdefault(word.strip('[]'), [])
                elif word:
                    current.append(word)
        return sections

    def environment(self):
        return {'PATH': self.bin, 'STATE': self.top, 'LC_ALL': 'C', 'HOME': self.top}

    def build_sh(self, *words, cwd='/', **more):
        done = subprocess.run([os.path.join(self.tree, 'build.sh'), *words], cwd=cwd,
                              env=self.environment(), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              **more)
        return done.returncode, done.stdout, done.stderr

    def calls(self, what):
        path = os.path.join(self.top, 'calls')
        if not os.path.exists(path):
            return []
        with open(path, encoding='utf-8') as file:
            return [line.rstrip('\n') for line in file if line.startswith(what)]

    def without(self, *names):
        self.installed(*[name for names_ in self.sections.values() for name in names_
                         if name not in names])

    def test_nothing_missing_nothing_installed(self):
        status, _, _ = self.build_sh('build')
        self.assertEqual((status, self.calls('apt-get')), (0, []))
        self.assertEqual(len(self.calls('ninja')), 1)

    def test_root_gets_what_is_missing(self):
        self.without('meson', 'libyaml-dev')
        status, _, words = self.build_sh('build')
        self.assertEqual(status, 0, words)
        self.assertIn('installing: meson libyaml-dev\n', words)
        self.assertEqual(self.calls('apt-get'), [
            'apt-get (noninteractive) update -q',
            'apt-get (noninteractive) install -y -q --no-install-recommends meson libyaml-dev'])

    def test_each_command_asks_for_its_own_sections(self):
        self.installed()
        wanted = {'build': ['build'], 'fuzz': ['build', 'fuzz'], 'run': ['build', 'run'],
                  'test': ['build', 'perl', 'test', 'lint'],
                  'lint': ['build', 'perl', 'test', 'lint'],
                  'bench': ['build', 'bench'], 'coverage': ['build', 'test', 'coverage'],
                  'install': ['build'], 'install --perl': ['perl']}
        self.write('broken')
        for command, sections in wanted.items():
            status, _, words = self.build_sh(*command.split())
            names = list(dict.fromkeys(n for s in sections for n in self.sections[s]))
            self.assertEqual(status, 1, command)
            self.assertIn(f'installing: {" ".join(names)}\n', words, command)

    def test_a_failed_installation_ends_it(self):
        self.without('gcc')
        self.write('broken')
        status, _, words = self.build_sh('build')
        self.assertEqual((status, self.calls('meson')), (1, []))
        self.assertIn('could not be installed: gcc;', words)

    def test_without_rights_it_names_the_command(self):
        self.user(1000)
        self.without('gcc', 'ninja-build')
        status, _, words = self.build_sh('build')
        self.assertEqual((status, self.calls('apt-get'), self.calls('meson')), (1, [], []))
        self.assertIn('apt-get install -y --no-install-recommends gcc ninja-build\n', words)

    def test_sudo_is_used_where_it_is(self):
        self.user(1000)
        self.put('sudo', '#!/bin/sh\necho "sudo $*" >>"$STATE/calls"\n[ "$1" != -n ] || shift\n'
                 'exec "$@"\n')
        self.without('gcc')
        status, _, words = self.build_sh('build')
        self.assertEqual(status, 0, words)
        self.assertEqual([line.split()[1:3] for line in self.calls('sudo')], [['-n', 'env']] * 2)
        self.assertEqual(len(self.calls('apt-get (noninteractive)')), 2)

    def test_no_install_names_what_is_missing_and_goes_on(self):
        self.without('gcc')
        status, _, words = self.build_sh('--no-install', 'build')
        self.assertEqual((status, self.calls('apt-get')), (0, []))
        self.assertIn('not installed: gcc;', words)
        self.assertEqual(len(self.calls('ninja')), 1)

    def test_a_system_without_apt_is_told_the_list(self):
        os.unlink(os.path.join(self.bin, 'apt-get'))
        os.unlink(os.path.join(self.bin, 'dpkg-query'))
        status, _, words = self.build_sh('build')
        self.assertEqual((status, self.calls('meson')), (1, []))
        self.assertIn('no apt', words)
        self.assertIn(' '.join(self.sections['build']), words)
        self.assertEqual(self.build_sh('--no-install', 'build')[0], 0)

    def test_misuse_shows_the_usage_and_exits_2(self):
        for words in ([], ['no-such-command'], ['--no-such-option'], ['build', 'x'], ['lint', 'x'],
                      ['test', 'no-such-row'], ['test', '--no-such-option'], ['fuzz', '-1'],
                      ['fuzz', '1s'], ['install', '--prefix'], ['install', 'x'],
                      ['install', '--perl', 'x'], ['clean', 'x']):
            status, out, err = self.build_sh(*words)
            self.assertEqual((status, out), (2, ''), words)
            self.assertIn('usage: ./build.sh', err)
        self.assertEqual(self.calls(''), [])

    def test_every_command_of_ours_has_help(self):
        usage = self.build_sh('help')[1]
        for command in 'build', 'test', 'install', 'clean', 'lint', 'coverage', 'fuzz':
            for word in '--help', '-h':
                self.assertEqual(self.build_sh(command, word), (0, usage, ''))
        server, said = self.started('--help')
        server.kill()
        server.communicate(timeout=30)
        self.assertIn('--logfile STDERR --help in', said)

    def test_help_goes_to_standard_output(self):
        for words in (['help'], ['--help'], ['-h']):
            status, out, _ = self.build_sh(*words)
            self.assertEqual(status, 0)
            for command in 'build run test lint bench coverage fuzz install clean'.split():
                self.assertRegex(out, rf'(?m)^  {command} ')
            for row in 'main asan tsan clang generic valgrind lint'.split():
                self.assertRegex(out, rf'(?m)^  {row} +\S')

    def test_setup_is_done_once_and_again_after_a_move(self):
        self.assertEqual((self.build_sh('build')[0], self.build_sh('build')[0]), (0, 0))
        self.assertEqual(len(self.calls('meson setup')), 1)
        moved = os.path.join(self.top, 'another place')
        os.rename(self.tree, moved)
        self.tree = moved
        self.assertEqual(self.build_sh('build')[0], 0)
        self.assertEqual(len(self.calls('meson setup')), 2)

    def test_a_failed_setup_shows_its_reason(self):
        self.write('no-setup')
        status, _, words = self.build_sh('build')
        self.assertEqual((status, self.calls('ninja')), (1, []))
        self.assertIn('meson has a reason', words)

    def test_a_folder_of_somebody_else_is_told(self):
        folder = os.path.join(self.tree, 'build')
        somebody = {'user': 65534} if os.geteuid() == 0 else {}
        os.chmod(self.top, 0o755)
        os.chmod(self.tree, 0o555)
        self.addCleanup(os.chmod, self.tree, 0o755)
        words = f'build.sh: {folder} cannot be written to: build as its owner, or a copy of the ' \
                'sources\n'
        self.assertEqual(self.build_sh('build', **somebody), (1, '', words))
        os.chmod(self.tree, 0o755)
        self.assertEqual(self.build_sh('build')[0], 0)  # as with sudo, to install
        os.chmod(folder, 0o555)
        self.addCleanup(os.chmod, folder, 0o755)
        self.assertEqual(self.build_sh('run', **somebody), (1, '', words))

    def test_clean_removes_the_builds_and_nothing_else(self):
        self.build_sh('build')
        self.assertEqual(self.build_sh('clean')[0], 0)
        self.assertEqual(sorted(os.listdir(self.tree)), ['build.sh', 'tools'])

    def started(self, *words):
        server = subprocess.Popen([os.path.join(self.tree, 'build.sh'), 'run', *words],
                                  cwd=self.top, env=self.environment(), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        said = ''
        for line in server.stdout:
            said += line
            if line.startswith('server '):
                break
        return server, said

    def test_run_says_what_to_try_and_becomes_the_server(self):
        server, said = self.started('--debug')
        self.assertRegex(said, re.escape("printf '1+2*3\\n' | nc -N localhost 2000"))
        self.assertIn(f'server {server.pid} --logfile STDERR --debug in {self.top}\n', said)
        server.send_signal(signal.SIGINT)
        self.assertEqual(server.communicate(timeout=30)[0], 'ended by INT\n')
        self.assertEqual(server.returncode, 7)

    def test_run_names_the_port_that_was_asked_for(self):
        for words in (['--localport', '3000'], ['--localport=3000']):
            server, said = self.started(*words)
            server.kill()
            server.communicate(timeout=30)
            self.assertIn('nc -N localhost 3000', said)

    def test_run_with_any_free_port_says_where_to_find_it(self):
        server, said = self.started('--localport', '0')
        server.kill()
        server.communicate(timeout=30)
        self.assertIn('answers on the port named by "listening on" below', said)
        self.assertIn('nc -N localhost PORT', said)

    def test_every_package_has_a_reason(self):
        with open(self.tree + '/tools/packages.txt', encoding='utf-8') as file:
            for line in file:
                if line.strip() and line[0] not in '[#':
                    self.assertRegex(line, r'^[a-z0-9][a-z0-9.+-]+ +# \S.+$')
