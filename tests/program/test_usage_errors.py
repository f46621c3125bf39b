#!/usr/bin/env python3
"""test_usage_errors.py - command lines that cannot work: one clear line that says what to do, exit
status 2 (or 1: bind and the like), nothing bound.
"""
import os
import socket
import unittest

from modes import every_mode
from netd import fds, run
from programs import NETDAEMON, Programs

PORT = ['--localaddr', '127.0.0.1', '--localport', '0']


class Refused(Programs):
    def refused(self, *argv, status=2, lines=1):
        """What it says, without the name in front."""
        done = run(NETDAEMON, *argv)
        said = done.stderr.splitlines()
        self.assertEqual((done.returncode, len(said), done.stdout), (status, lines, ''), said)
        for line in said:
            self.assertTrue(line.startswith('netdaemon: '), line)
        return '\n'.join(line[len('netdaemon: '):] for line in said)

    def test_a_forgotten_separator(self):
        said = self.refused('2000', 'cat', lines=2)
        self.assertIn("unexpected argument '2000'", said)
        self.assertIn('the program to run stands after --, as in netdaemon --localport 2000 -- cat',
                      said)

    def test_no_program(self):
        for words in [*PORT], [*PORT, '--']:
            self.assertEqual(self.refused(*words), 'no program given: it stands after --, as in '
                             'netdaemon --localport 2000 -- cat')
        path = self.path('empty.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write('{}')
        self.assertEqual(self.refused(*PORT, '--configfile', path), 'no program given: it stands '
                         'after --, or in the config file as the key program')
        self.assertIn('the program to run stands after --', self.refused('--localport', lines=2))

    def test_an_answer_that_cannot_be_written(self):
        for words in (['--help'], ['--version'], ['--completion=zsh'], [*PORT, '--check'],
                      [*PORT, '--explain', '::1']):
            for to, why in ('>/dev/full', 'No space left on device'), ('>&-', 'Bad file descriptor'):
                with self.subTest(words, to=to):
                    done = run('sh', '-c', f'exec "$@" {to}', 'sh', NETDAEMON, *words, '--', 'cat')
                    self.assertEqual((done.returncode, done.stderr),
                                     (2, f'netdaemon: standard output: {why}\n'))

    def test_an_answer_of_several_services_that_cannot_be_written(self):
        path = self.path('services.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{ services => { a => { program => ['cat'], localport => 0 } } }")
        for to in '>/dev/full', '>&-':
            for words in ['--check'], ['--help'], ['--check', '--section', 'a']:
                done = run('sh', '-c', f'exec "$@" {to}', 'sh', NETDAEMON, '--services', path, *words)
                self.assertNotEqual(done.returncode, 0, (to, words))
                self.assertIn('standard output: ', done.stderr)

    def test_a_server_needs_no_standard_streams(self):
        """What is missing is nobody else's: the program's output goes to its client."""
        with self.serve(['sh', '-c', 'echo out'],
                        wrapper=['sh', '-c', 'exec "$@" <&- >&-', 'sh']) as server:
            self.assertEqual(server.talk(), b'out\n')
            self.assertEqual([fds(server.pid)[fd] for fd in (0, 1)], ['/dev/null'] * 2)

    def test_a_file_of_several_services_names_the_option_for_it(self):
        path = self.path('services.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{ services => { a => { program => ['cat'], localport => 0 },\n"
                       "  b => { program => ['cat'], localport => 0 } } }")
        self.assertRegex(self.refused('--configfile', path), r':1:\d+: services: which of them is to be '
                         'run\\? expected --section a or b, or --services FILE for all of them$')
        self.assertNotIn('--services', run(NETDAEMON, '--configfile', path, '--section', 'c').stderr)

    def test_a_section_without_a_file(self):
        self.assertEqual(self.refused('--section', 'x', '--', 'cat'),
                         "--section: found 'x' without a file, expected --configfile FILE too")

    def test_a_relative_rules_file_in_a_folder_that_is_gone(self):
        os.mkdir(self.path('gone'))
        done = run('sh', '-c', 'rmdir "$PWD" && exec "$@"', 'sh', NETDAEMON, *PORT, '--rules', 'r',
                   '--', 'cat', cwd=self.path('gone'))
        self.assertEqual((done.returncode, done.stderr), (
            2, 'netdaemon: --rules: r: the current directory: No such file or directory\n'))

    def test_a_program_that_is_not_there(self):
        self.assertRegex(self.refused(*PORT, '--', 'no-such-program'),
                         r"^program 'no-such-program' is not in any folder of /")
        self.assertEqual(self.refused(*PORT, '--', '/no/such/program'),
                         "program '/no/such/program': No such file or directory")
        self.assertIn('in any folder of', self.refused(*PORT, '--', 'x' * 255))
        for name in 'x' * 256, '/' + 'x/' * 2048:
            self.assertEqual(self.refused(*PORT, '--', name),
                             f"program '{name[:60]}...': File name too long")

    def test_a_program_and_its_arguments_in_one_word(self):
        self.assertRegex(self.refused(*PORT, '--', 'cat -u'), r"^program 'cat -u' is not in any .*: "
                         r'each word stands for itself, as in -- cat -u, or in a file \[cat, -u\]$')

    def test_a_program_below_a_folder_that_is_gone(self):
        gone = self.path('gone')
        done = run('sh', '-c', 'mkdir "$1" && cd "$1" && rmdir "$1" && shift && exec "$@"', 'sh', gone,
                   NETDAEMON, *PORT, '--', './cat')
        self.assertEqual(done.stderr, "netdaemon: program './cat': the current directory: No such "
                         'file or directory: give an absolute path\n')

    def test_what_is_no_program(self):
        plain = self.path('plain')
        with open(plain, 'w', encoding='ascii') as file:
            file.write('echo\n')
        self.assertEqual(self.refused(*PORT, '--', plain),
                         f"program '{plain}' is not executable: chmod +x makes it so")
        self.assertEqual(self.refused(*PORT, '--', self.folder),
                         f"program '{self.folder}' is a directory")
        self.assertEqual(self.refused(*PORT, '--', '/dev/null'),
                         "program '/dev/null' is no regular file")
        self.assertEqual(self.refused(*PORT, '--', ''), 'program: the name is empty')

    def test_a_script_without_its_interpreter(self):
        script = self.script('script', '#!/no/such/interpreter -x\n')
        self.assertEqual(self.refused(*PORT, '--', script), f"program '{script}' is a script for "
                         "'/no/such/interpreter', which is not there")

    def test_a_script_with_the_line_ends_of_another_system(self):
        script = self.script('script', '#!/bin/sh\r\necho\r\n')
        self.assertEqual(self.refused(*PORT, '--', script), f"program '{script}' is a script for "
                         r"'/bin/sh\x0d', which is not there: its lines must not end in CR LF")

    def test_a_script_without_its_first_line(self):
        for text in 'echo hello\n', '\n', '', '\u00e4\t# x\r\n\f':
            script = self.path('script')
            with open(script, 'w', encoding='utf-8', newline='') as file:
                file.write(text)
            os.chmod(script, 0o755)
            self.assertEqual(self.refused(*PORT, '--', script), f"program '{script}' does not say "
                             'what runs it: a script begins with a line like #!/bin/sh')

    def test_bytes_that_another_handler_may_know_are_left_to_the_start(self):
        with open(self.script('other', 'x'), 'wb') as file:
            file.write(b'MZ\0\x7f')
        done = run(NETDAEMON, *PORT, '--check', '--', self.path('other'))
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_more_arguments_than_any_program_may_have(self):
        path = self.path('netdaemon.conf')
        for words, said in {
                ('x' * 131072,): 'program: found an argument of 131072 bytes, the system takes at '
                'most 131071',
                ('x' * 100000,) * 30: r'program: found arguments of \d+ bytes, the system takes at '
                r'most \d+ with the variables: see ulimit -s'}.items():
            with open(path, 'w', encoding='ascii') as file:
                file.write("{program => ['true', '" + "', '".join(words) + "']}")
            done = run('prlimit', '--stack=8388608:', NETDAEMON, *PORT, '--configfile', path)
            self.assertEqual((done.returncode, done.stdout), (2, ''))
            self.assertRegex(done.stderr, rf'\Anetdaemon: {said}\n\Z')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{program => ['true', '" + 'x' * 131071 + "']}")
        self.assertEqual(run(NETDAEMON, *PORT, '--check', '--configfile', path).returncode, 0)

    def test_options_of_ours(self):
        for given, said in {
                ('--kill-after', 'soon'): "--kill-after: found 'soon', expected a number",
                ('--banner', r'a\q'): r"--banner: found '\q', expected \r, \n, \t, \0, \\ or \xNN",
                ('--banner', r'\x4'): r"--banner: found '\x4', expected",
                ('--banner', 'x' * 5000): '--banner: found 5000 bytes, expected at most 4096',
                ('--env', 'A-B=1'): "--env: found 'A-B=1', expected NAME or NAME=VALUE",
                ('--env', '=x'): "--env: found '=x', expected NAME or NAME=VALUE",
                ('--env', '1A=x'): "--env: found '1A=x', expected NAME or NAME=VALUE",
                ('--env', 'TCPREMOTEIP=x'): "--env: found 'TCPREMOTEIP': PROTO, TCP... and IPC...",
                ('--env', 'PROTO'): "--env: found 'PROTO': PROTO, TCP... and IPC..."}.items():
            self.assertTrue(self.refused(*PORT, *given, '--', 'cat').startswith(said), given)

    def test_too_many_variables(self):
        many = [word for i in range(200) for word in ('--env', f'V{i}=x')]
        self.assertEqual(self.refused(*PORT, *many, '--', 'cat'), '--env: more than 128 variables')

    def test_a_program_outside_of_the_root(self):
        self.assertIn('below ' + self.folder,
                      self.refused(*PORT, '--chroot', self.folder, '--', 'cat'))
        self.assertIn('it must be an absolute path, as seen from ' + self.folder,
                      self.refused(*PORT, '--chroot', self.folder, '--', './cat'))

    @unittest.skipIf(os.geteuid() != 0, 'needs root')
    def test_links_below_the_root_lead_to_places_below_it(self):
        for folder in ('bin', 'opt'):
            os.mkdir(self.path(folder))
        self.script('opt/tool', 'echo\n')
        self.script('opt/sh', '#!/opt/tool\n')
        os.symlink('/opt/tool', self.path('bin/inside'))
        os.symlink('/opt/sh', self.path('bin/script'))
        os.symlink('/bin/sh', self.path('bin/outside'))
        os.symlink('../../../../../../opt/tool', self.path('bin/up'))
        with open(self.path('opt/tool'), 'wb') as file:
            file.write(b'\x7fELF')
        for name in ('inside', '/bin/inside', 'script', '/bin/up'):
            done = run(NETDAEMON, *PORT, '--chroot', self.folder, '--check', '--', name)
            self.assertEqual((done.returncode, done.stderr), (0, ''), name)
        self.assertIn('No such file', self.refused(*PORT, '--chroot', self.folder, '--',
                                                   '/bin/outside'))

    @unittest.skipIf(os.geteuid() != 0, 'needs root')
    def test_a_program_on_a_noexec_file_system(self):
        self.script('tool', 'echo\n')
        done = run('unshare', '-m', 'sh', '-c', f'mount -t tmpfs -o noexec none {self.folder} && '
                   f'cp /bin/true {self.folder}/tool && exec "$@"', 'sh', NETDAEMON, *PORT, '--',
                   self.path('tool'))
        if 'mount' in done.stderr and 'noexec' not in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"program '{self.path('tool')}' is not executable: not for this user, or its "
                      "file system is mounted noexec", done.stderr)

    def test_a_port_that_is_taken(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            said = self.refused('--localaddr', '127.0.0.1', '--localport',
                                str(taken.getsockname()[1]), '--logfile', 'STDERR', '--', 'cat',
                                status=1)
        self.assertIn('Address already in use', said)

    def test_an_unknown_user(self):
        self.assertIn("'no-such-user'", self.refused(*PORT, '--user', 'no-such-user', '--', 'cat'))

    @unittest.skipIf(os.geteuid() != 0, 'needs root')
    def test_a_port_that_only_root_may_have(self):
        become = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups',
                  '--bounding-set', '-all']
        if run(*become, NETDAEMON, '--version').returncode:
            self.skipTest('other users may not run the programs of this build')
        done = run(*become, NETDAEMON, '--localaddr', '127.0.0.1', '--localport', '7', '--logfile',
                   'STDERR', '--', 'cat')
        if done.returncode == 0 or 'Permission denied' not in done.stderr:
            with open('/proc/sys/net/ipv4/ip_unprivileged_port_start', encoding='ascii') as file:
                self.assertLessEqual(int(file.read()), 7, done.stderr)

    def test_help_shows_the_defaults_of_this_program(self):
        for limit, connections in (4096, '256'), (64, '10'):
            done = run('prlimit', f'--nofile={limit}', NETDAEMON, '--help', '--max-connections=5')
            text = ' '.join(done.stdout.split())
            self.assertIn('(single, fork, threads or fibers; default: fibers).', text)
            self.assertIn(f'over all workers; 0 means no limit (default: {connections}).', text)

    def test_check_shows_the_program(self):
        done = run(NETDAEMON, *PORT, '--check', '--', 'cat', '-u')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('program: cat -u (--program)', done.stdout)


class FromFile(Programs):
    def test_a_config_file_may_name_the_program(self):
        path = self.path('netdaemon.conf')
        with open(path, 'w', encoding='ascii') as file:
            file.write("{ localaddr => '127.0.0.1', localport => 0, logfile => 'STDERR',\n"
                       "  program => ['sh', '-c', 'echo \"$NAME\"'], env => ['NAME=from file'],\n"
                       "  banner => 'hi ' }\n")
        with self.serve([], '--configfile', path) as server:
            self.assertEqual(server.talk(), b'hi from file\n')


def load_tests(loader, standard, _pattern):
    """The command line does not know modes; one is enough for what starts."""
    os.environ.setdefault('MODES', 'fibers')
    return every_mode(FromFile, Refused)(loader, standard, None)
