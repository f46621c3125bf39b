#!/usr/bin/env python3
"""test_recipes.py - the examples of netdaemon(1), as they stand in the page, with real clients.

Each display after a line `.\\" recipe NAME` is a shell command; `.\\" file NAME`, a file for the one
that follows. What cannot be as on a real machine is replaced: ports by free ones, paths of the
system by the folder of the test, and user nobody where we may not become it. Failure: a recipe
without a test, or a test without a recipe, is a failure too (test_every_recipe_is_tried).
"""
import http.server
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest
import urllib.request

from netd import Server, connect, wait_until

NETDAEMON = os.environ['PROGRAM']
ROOT = os.environ['SOURCE_ROOT']
PAGE = os.path.join(ROOT, 'docs/man/netdaemon.1')
LIBRARY = os.path.join(os.path.dirname(NETDAEMON), '../../src')
IS_ROOT = os.geteuid() == 0
# Only programs of other projects; a sanitizer in the preloaded or linked library is not for them.
MOVED = ['/srv/git', '/srv/www', '/etc/rsyncd.conf', '/run/web.sock', '/etc/netdaemon/smtp.rules',
         '/etc/netdaemon/services.yaml', '/usr/local/sbin/smtpd']


def displays(kind):
    """The displays of the page after lines `.\\" KIND NAME`: {name: text}."""
    with open(PAGE, encoding='utf-8') as file:
        found = re.findall(r'^\.\\" %s (\S+)\n\.Bd [^\n]*\n(.*?)^\.Ed$' % kind, file.read(),
                           re.M | re.S)
    return {name: text.replace(r'\e', '\\') for name, text in found}


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return unittest.skipIf(missing, f'needs {" ".join(missing)}')


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class Recipes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='netd-recipes-')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.chmod(self.folder, 0o755)

    def path(self, name):
        return os.path.join(self.folder, os.path.basename(name))

    def file(self, name, text, mode=0o644):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def fit(self, text):
        """The text of the page, for this machine."""
        for path in MOVED:
            text = text.replace(path, self.path(path))
        text = re.sub(r'(localport:?) \d+', r'\1 0', text)
        if not IS_ROOT:
            text = re.sub(r'--user nobody|user: nobody', '', text)
        return text

    def command(self, name):
        """The recipe as a shell command whose last one is netdaemon, on loopback, logging to us."""
        text = self.fit(displays('recipe')[name])
        more = '--logfile STDERR --timeout 300'
        if 'localpath' not in text and '--services' not in text:
            more += ' --localaddr 127.0.0.1'
        return re.sub(r'^netdaemon ', f'exec {NETDAEMON} {more} ', text, flags=re.M)

    def recipe(self, name, command=None, **more):
        return Server('/bin/sh', '-c', command or self.command(name), standard=False,
                      cwd=self.folder, **more)

    def test_every_recipe_is_tried(self):
        names = displays('recipe')
        self.assertGreaterEqual(len(names), 10)
        self.assertEqual([name for name in names if not hasattr(self, f'test_{name}')], [])

    def test_echo(self):
        with self.recipe('echo') as server:
            self.assertEqual(server.talk(b'hello\n'), b'hello\n')
            self.assertEqual(server.talk(bytes(range(256)) * 5000), bytes(range(256)) * 5000)

    @needs('git')
    def test_git(self):
        repository = self.path('git') + '/hello.git'
        author = ['-c', 'user.name=A', '-c', 'user.email=a@example.org']
        source = self.path('source')
        for args in (['init', '-q', source], ['-C', source, *author, 'commit', '-q', '--allow-empty',
                                              '-m', 'the first'],
                     ['clone', '-q', '--bare', source, repository]):
            subprocess.run(['git', *args], check=True, capture_output=True)
        with self.recipe('git') as server:
            clone = self.path('clone')
            subprocess.run(['git', 'clone', '-q', f'git://127.0.0.1:{server.port}/hello.git', clone],
                           check=True, capture_output=True, timeout=60)
            log = subprocess.run(['git', '-C', clone, 'log', '--format=%s'], check=True,
                                 capture_output=True, text=True)
            self.assertEqual(log.stdout, 'the first\n')

    @needs('rsync')
    def test_rsync(self):
        os.mkdir(self.path('files'))
        with open(os.path.join(self.path('files'), 'hello'), 'w', encoding='utf-8') as file:
            file.write('hello\n')
        self.file('rsyncd.conf', f'use chroot = no\n[files]\npath = {self.path("files")}\n')
        with self.recipe('rsync') as server:
            subprocess.run(['rsync', '-a', f'rsync://127.0.0.1:{server.port}/files/hello',
                            self.path('copy')], check=True, capture_output=True, timeout=60)
            with open(self.path('copy'), encoding='utf-8') as file:
                self.assertEqual(file.read(), 'hello\n')

    @needs('busybox')
    def test_web(self):
        os.mkdir(self.path('www'))
        with open(os.path.join(self.path('www'), 'index.html'), 'w', encoding='utf-8') as file:
            file.write('<p>hello\n')
        with self.recipe('web') as server:
            with urllib.request.urlopen(f'http://127.0.0.1:{server.port}/index.html',
                                        timeout=30) as answer:
                self.assertEqual((answer.status, answer.read()), (200, b'<p>hello\n'))
            with self.assertRaises(urllib.error.HTTPError) as missing:
                urllib.request.urlopen(f'http://127.0.0.1:{server.port}/nothing', timeout=30)
            self.assertEqual(missing.exception.code, 404)
            missing.exception.close()

    def test_script(self):
        with self.recipe('script') as server:
            self.assertRegex(server.talk(), rb'\Ayou are 127\.0\.0\.1\n.*\d\d:\d\d:\d\d.*\n\Z')

    def test_ident(self):
        with self.recipe('ident') as server:
            self.assertEqual(server.talk(b'6193, 23\r\n'), b'6193, 23 : ERROR : HIDDEN-USER\r\n')

    @needs('socat')
    def test_front(self):
        class Hello(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'hello from behind\n')

            def log_message(self, *args):
                pass

        behind = http.server.HTTPServer(('127.0.0.1', 0), Hello)
        thread = threading.Thread(target=behind.serve_forever)
        thread.start()
        self.addCleanup(behind.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(behind.shutdown)
        command = self.command('front').replace('127.0.0.1:8080',
                                                f'127.0.0.1:{behind.server_port}')
        if not IS_ROOT:
            command = command.replace('gid=www-data', f'gid={os.getegid()}')
        group = [] if not IS_ROOT else ['setpriv', '--regid', 'www-data', '--clear-groups']
        with self.recipe('front', command) as server:
            talk = ['socat', '-t', '10', 'STDIO', f'UNIX-CONNECT:{self.path("web.sock")}']
            answer = subprocess.run([*group, *talk], input=b'GET / HTTP/1.0\r\n\r\n', check=True,
                                    capture_output=True, timeout=60).stdout
            self.assertIn(b'hello from behind', answer)
            if IS_ROOT:  # whose group is another one
                answer = subprocess.run(talk, input=b'GET / HTTP/1.0\r\n\r\n', check=False,
                                        capture_output=True, timeout=60).stdout
                self.assertEqual(answer, b'')
                server.wait_for_log(r'refused|denied')

    @needs('recordio', 'fixcrio')
    def test_mail(self):
        self.file('smtpd', '#!/bin/sh\nprintf "220 hello $RELAYCLIENT\\n"\nread q\n'
                           'printf "you said %s\\n" "$q"\n', 0o755)
        self.file('smtp.rules', '127.0.0.1:allow,RELAYCLIENT="relay"\n:deny\n')
        with self.recipe('mail') as server:
            with server.client() as client:
                client.expect(b'220 hello relay\r\n')  # fixcrio mends the ends of lines
                client.send(b'NOOP\r\n').expect(b'you said NOOP\r\n').expect_end()
            server.wait_for_log(r'conn \d+.*220 hello relay')  # by recordio
            self.file('smtp.rules', '127.0.0.1:deny\n')
            with server.client() as client:
                client.expect_gone()

    @needs('systemd-socket-activate')
    def test_systemd(self):
        port = free_port()
        folder = os.path.dirname(NETDAEMON)
        command = 'exec ' + displays('recipe')['systemd'].replace('7017', f'127.0.0.1:{port}')
        server = self.recipe('systemd', command,
                             env={'PATH': folder + ':' + os.environ['PATH']}).start(wait=False)
        self.addCleanup(server.kill)
        server.wait_for_log(r'Listening on')
        with connect(f'tcp:127.0.0.1:{port}') as sock:
            sock.sendall(b'hello\n')
            self.assertEqual(sock.recv(6), b'hello\n')
        server.wait_for_log(r'listening on fd:3')
        server.stop()

    @needs('cc')
    def test_service(self):
        self.file('echo.c', displays('file')['echo.c'])
        command = self.command('service').replace(
            '$(pkg-config --cflags --libs netdaemon)',
            f'-I{ROOT}/include -L{LIBRARY} -lnetdaemon')
        with self.recipe('service', command) as server:
            self.assertEqual(server.talk(b'hello\n'), b'hello\n')

    @unittest.skipIf(os.environ.get('YAML') == '0', 'needs YAML')
    def test_services(self):
        text = self.fit(displays('file')['services.yaml'])
        self.file('services.yaml', text.replace('localport: 0', 'localaddr: 127.0.0.1\n    localport: 0'))
        with self.recipe('services') as server:
            wait_until('both listen', lambda: server.log_count(r'listening on tcp') == 2)
            log = '\n'.join(server.log)
            names = dict(re.findall(r'(\d+), (daytime|echo) .*starting', log))
            addresses = {names[pid]: address for pid, address in
                         re.findall(r'(\d+), listening on (\S+)', log)}
            self.assertEqual(sorted(addresses), ['daytime', 'echo'], server.log)
            self.assertEqual(server.talk(b'hello\n', address=addresses['echo']), b'hello\n')
            self.assertRegex(server.talk(address=addresses['daytime']), rb'\d\d:\d\d:\d\d')


if __name__ == '__main__':
    unittest.main()
