"""test_install.py - an installation, and the twenty-line server compiled against it."""
import os
import re
import socket
import subprocess
import tempfile
import unittest

ROOT, BUILD = os.environ['SOURCE_ROOT'], os.environ['BUILD_ROOT']
CC = os.environ['CC'].split()
STRICT = ['-std=c17', '-Wall', '-Wextra', '-Wpedantic', '-Werror']


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False, **more)
    if done.returncode:
        raise AssertionError(f'{command}: exit status {done.returncode}\n{done.stdout}')
    return done.stdout


def readme_servers():
    """The C programs in the README."""
    path = os.path.join(ROOT, 'README.md')
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8') as file:
        return [block for block in re.findall(r'```c\n(.*?)```', file.read(), re.S)
                if 'netd_main(' in block]


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory(prefix='netdaemon-install-')
        cls.addClassCleanup(holder.cleanup)
        cls.folder = holder.name
        run('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', cls.folder + '/dest')
        found = run('find', cls.folder, '-name', 'netdaemon.pc').split('\n')[0]
        with open(found, encoding='utf-8') as file:
            cls.prefix = re.search(r'^prefix=(.*)$', file.read(), re.M)[1]
        cls.pc = os.path.dirname(found)
        cls.libdir = os.path.dirname(cls.pc)
        cls.echo = os.path.join(ROOT, 'examples', 'echo.c')

    def flags(self, *options):
        return run('pkg-config', f'--define-variable=prefix={self.folder}/dest{self.prefix}',
                   '--cflags', '--libs', *options, 'netdaemon',
                   env={**os.environ, 'PKG_CONFIG_PATH': self.pc}).split()

    def build(self, name, source, *flags):
        program = os.path.join(self.folder, name)
        run(*CC, *STRICT, source, '-o', program, *flags)
        return program

    def answers(self, program):
        """Start the server on a port of the kernel's choice, send a line, expect it back."""
        server = subprocess.Popen(
            [program, '--logfile', 'STDERR', '--mode', 'single', '--localaddr', '127.0.0.1',
             '--localport', '0', '--timeout', '60'], stderr=subprocess.PIPE, text=True,
            env={**os.environ, 'LD_LIBRARY_PATH': self.libdir})
        try:
            log = ''
            for line in server.stderr:
                log += line
                where = re.search(r'tcp:127\.0\.0\.1:(\d+)', line)
                if where:
                    break
            else:
                raise AssertionError(f'it names no address:\n{log}')
            with socket.create_connection(('127.0.0.1', int(where[1])), timeout=30) as client:
                client.sendall(b'one line\n')
                with client.makefile('rb') as stream:
                    self.assertEqual(stream.readline(), b'one line\n')
        finally:
            server.terminate()
            server.communicate(timeout=60)

    def test_headers_libraries_and_pkgconfig_are_there(self):
        there = run('find', self.folder + '/dest', '-type', 'f', '-o', '-type', 'l')
        for name in ('netdaemon.h', 'netdaemon_sections.h', 'netdaemon_test.h',
                     'libnetdaemon.so', 'libnetdaemon.so.0', 'libnetdaemon.a', 'netdaemon.pc'):
            self.assertRegex(there, f'(?m)/{re.escape(name)}$')
        self.assertNotIn('netdaemon_core', there)

    def test_the_twenty_line_server_with_the_shared_library(self):
        program = self.build('shared', self.echo, *self.flags())
        self.assertIn('libnetdaemon.so.0', run('readelf', '-d', program))
        self.answers(program)

    def test_the_twenty_line_server_with_the_static_library(self):
        flags = [flag.replace('-lnetdaemon', '-l:libnetdaemon.a')
                 for flag in self.flags('--static')]
        program = self.build('static', self.echo, *flags)
        self.assertNotIn('libnetdaemon', run('readelf', '-d', program))
        self.answers(program)

    def test_the_static_library_leaves_internal_names_to_the_program(self):
        source = os.path.join(self.folder, 'mine.c')
        with open(self.echo, encoding='utf-8') as file, \
                open(source, 'w', encoding='utf-8') as out:
            out.write('int err_set(void);\nint err_set(void)\n{\n\treturn 1;\n}\n'
                      'int buf_init;\nint conn_serve;\n' + file.read())
        flags = [flag.replace('-lnetdaemon', '-l:libnetdaemon.a')
                 for flag in self.flags('--static')]
        self.answers(self.build('mine', source, *flags))

    def test_the_servers_of_the_readme_compile(self):
        for number, text in enumerate(readme_servers()):
            source = os.path.join(self.folder, f'readme{number}.c')
            with open(source, 'w', encoding='utf-8') as out:
                out.write(text)
            self.build(f'readme{number}', source, *self.flags())
