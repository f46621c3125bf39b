#!/usr/bin/env python3
"""test_files.py - what a server makes and reads in the file system: Unix sockets (security rule 8),
the pid file (20), config files (23). Rows that need another user skip without root.
"""
import os
import signal
import socket
import stat
import unittest

from ground import NOBODY, SANITIZED, Ground, needs_root, needs_strace, traced, tracer
from modes import MODES
from netd import Client, connect
from test_rules import as_nobody


class UnixSocket(Ground):
    """Rule 8."""

    def setUp(self):
        super().setUp()
        self.socket = self.path('socket')

    def serving(self, *args, **more):
        return self.server('--localpath', self.socket, *args, **more)

    def answers(self):
        try:
            with Client(connect(f'unix:{self.socket}')) as client:
                client.send(b'echo in\n').expect(b'in\n')
                return True
        except ConnectionRefusedError:
            return False

    def facts(self):
        seen = os.lstat(self.socket)
        self.assertTrue(stat.S_ISSOCK(seen.st_mode))
        return stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid

    def left_by_a_crash(self):
        server = self.serving().start()
        server.kill()
        self.facts()

    def test_rule08_mode_and_owner_whatever_the_umask(self):
        me = (os.geteuid(), os.getegid())
        for umask in 0, 0o777, 0o022, 0o117:
            for args, mode in ([], 0o660), (['--localmode', '0600'], 0o600), \
                    (['--localmode', '666'], 0o666), (['--localmode', '0'], 0):
                with self.subTest(args, umask=umask), \
                        self.serving(*args, preexec_fn=lambda mask=umask: os.umask(mask)):
                    self.assertEqual(self.facts(), (mode, *me))
                self.assertFalse(os.path.lexists(self.socket))

    @needs_strace
    def test_rule08_made_under_a_umask(self):
        """At no moment is it open to more than the mode says."""
        trace = self.path('trace')
        with self.serving('--localmode', '0640', env=SANITIZED, preexec_fn=lambda: os.umask(0),
                          wrapper=tracer(trace, 'umask,bind,listen,chmod,fchmod,fchmodat')):
            self.wait_for_file('trace', 'listen(')
            calls = [call.split('(')[0] for call in traced(trace)]
            self.assertEqual(calls[-4:], ['umask', 'bind', 'umask', 'listen'])
            self.assertIn('umask(0137)', traced(trace)[-4])

    @needs_root
    def test_rule08_owner_as_configured(self):
        for text, owner in (('nobody', (NOBODY, 0)), ('nobody:daemon', (NOBODY, 1)),
                            (':daemon', (0, 1)), ('4711:4712', (4711, 4712))):
            with self.subTest(text), self.serving('--localowner', text):
                self.assertEqual(self.facts(), (0o660, *owner))
        os.chmod(self.folder, 0o777)
        self.refused('--localpath', self.socket, '--localowner', 'daemon', status=1,
                     preexec_fn=as_nobody, words='only root may give a socket to another user')
        self.assertFalse(os.path.lexists(self.socket))

    @needs_root
    def test_rule08_the_mode_keeps_others_out(self):
        os.chmod(self.folder, 0o777)
        for mode, others in ('0660', False), ('0666', True):
            with self.serving('--localmode', mode):
                child = os.fork()
                if child == 0:
                    as_nobody()
                    sock = socket.socket(socket.AF_UNIX)
                    os._exit(0 if sock.connect_ex(self.socket) == 0 else 1)
                self.assertEqual(os.waitpid(child, 0)[1] == 0, others)

    def test_rule08_what_is_no_socket_is_left_alone(self):
        target = self.file('target', 'precious')
        makers = {
            'a regular file': lambda: self.file('socket', 'precious'),
            'a symbolic link': lambda: os.symlink(target, self.socket),
            'a directory': lambda: os.mkdir(self.socket),
            'a FIFO': lambda: os.mkfifo(self.socket),
        }
        for words, make in makers.items():
            with self.subTest(words):
                make()
                before = os.lstat(self.socket)
                self.refused('--localpath', self.socket, status=1,
                             words=f'unix:{self.socket}: {words} is in the way and is left alone')
                self.assertEqual(os.lstat(self.socket), before)
                (os.rmdir if words == 'a directory' else os.unlink)(self.socket)
        self.assertEqual(self.read('target'), 'precious')

    def test_rule08_links_are_not_followed(self):
        """To a stale socket, and to nothing at all."""
        self.left_by_a_crash()
        link = self.path('link')
        for target in self.socket, self.path('missing'):
            os.symlink(target, link)
            self.refused('--localpath', link, status=1, words='a symbolic link is in the way')
            os.unlink(link)
        self.facts()
        self.assertFalse(os.path.lexists(self.path('missing')))

    def test_rule08_a_live_server_keeps_its_socket(self):
        with self.serving():
            before = os.lstat(self.socket).st_ino
            self.refused('--localpath', self.socket, status=1, words='a server answers there')
            self.assertEqual(os.lstat(self.socket).st_ino, before)
            self.assertTrue(self.answers())
        other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # not ours, but alive
        with other:
            other.bind(self.socket)
            self.refused('--localpath', self.socket, status=1, words='a server answers there')

    def test_rule08_a_stale_socket_is_replaced(self):
        self.left_by_a_crash()
        self.assertFalse(self.answers())
        with self.serving():
            self.assertTrue(self.answers())
        self.assertFalse(os.path.lexists(self.socket))

    @needs_root
    def test_rule08_a_stale_socket_of_another_user_is_left_alone(self):
        self.left_by_a_crash()
        os.chmod(self.folder, 0o777)
        self.refused('--localpath', self.socket, status=1, preexec_fn=as_nobody,
                     words='belongs to user 0 and is left alone')
        self.facts()

    def test_rule08_removed_at_exit_in_every_mode(self):
        for mode, options in MODES.items():
            with self.subTest(mode):
                with self.serving(*options):
                    for _ in range(3):  # handler processes come and go
                        self.assertTrue(self.answers())
                    self.facts()
                self.assertFalse(os.path.lexists(self.socket))

    def test_rule08_not_removed_when_it_is_somebody_elses_by_now(self):
        for make in (lambda: self.file('socket', 'precious'), self.left_by_a_crash):
            with self.serving():
                os.rename(self.socket, self.path('moved'))
                make()
                before = os.lstat(self.socket)
            self.assertEqual(os.lstat(self.socket), before)
            os.unlink(self.socket)
            os.unlink(self.path('moved'))

    def test_rule08_a_directory_that_is_missing_or_closed(self):
        self.refused('--localpath', self.path('no', 'socket'), status=1,
                     words='No such file or directory (the directory does not exist)')
        if os.geteuid() == 0:
            self.refused('--localpath', self.socket, status=1, preexec_fn=as_nobody,
                         words='Permission denied (the user who starts the server must be able')

    @needs_root
    def test_rule08_after_the_drop_it_may_stay_but_never_blocks_a_start(self):
        for _ in range(2):
            with self.serving('--user', 'nobody'):
                self.assertTrue(self.answers())


class PidFile(Ground):
    """Rule 20."""

    def setUp(self):
        super().setUp()
        self.pid = self.path('pid')

    def serving(self, *args, **more):
        return self.server('--pidfile', self.pid, *args, **more)

    def refused_as(self, words, **more):
        return self.refused('--pidfile', self.pid, status=1, words=words, **more)

    def test_rule20_written_and_removed_in_every_mode(self):
        for mode, options in MODES.items():
            with self.subTest(mode):
                with self.serving(*options) as server:
                    self.assertEqual(self.read('pid'), f'{server.pid}\n')
                    self.assertEqual(stat.S_IMODE(os.stat(self.pid).st_mode) & 0o022, 0)
                    server.talk(b'echo in\n')
                    server.talk(b'fail 1\n')
                    self.assertEqual(self.read('pid'), f'{server.pid}\n')
                self.assertFalse(os.path.lexists(self.pid))

    def test_rule20_not_world_writable_under_any_umask(self):
        with self.serving(preexec_fn=lambda: os.umask(0)):
            self.assertEqual(stat.S_IMODE(os.stat(self.pid).st_mode), 0o644)

    def test_rule20_none_means_none(self):
        with self.server('--pidfile', 'none', cwd=self.folder):
            self.assertEqual(os.listdir(self.folder), [])

    def test_rule20_relative_to_where_it_was_started(self):
        with self.server('--pidfile', 'pid', cwd=self.folder) as server:
            self.assertEqual(self.read('pid'), f'{server.pid}\n')
        self.assertEqual(os.listdir(self.folder), [])

    def test_rule20_a_second_start_says_who_holds_it(self):
        for options in [], ['--childs', '2'], ['--mode', 'fork']:
            with self.serving(*options) as server, server.client() as client:
                client.send(b'echo in\n').expect(b'in\n')
                self.refused_as(f'{self.pid}: in use by process {server.pid}')
                self.assertEqual(self.read('pid'), f'{server.pid}\n')

    def test_rule20_what_the_file_says_is_not_believed(self):
        with self.serving() as server:
            for text in ('1 2\n', '-1\n', '0\n', '%n%s\n', '99999999999999\n', 'x' * 5000, '',
                         '2147483646\n', f'{server.pid}'):
                self.file('pid', text)
                self.refused_as(f'{self.pid}: in use by another process')
            self.file('pid', f'{os.getpid()}\n')  # somebody alive: the words may be wrong, no more
            self.refused_as(f'in use by process {os.getpid()}')
        for text in (f'{os.getpid()}\n', '1\n', 'garbage', '\0' * 100):  # not locked: stale
            self.file('pid', text)
            with self.serving() as server:
                self.assertEqual(self.read('pid'), f'{server.pid}\n')
            self.assertFalse(os.path.lexists(self.pid))

    def test_rule20_links_and_other_kinds_of_file_are_refused(self):
        target = self.file('target', 'precious')
        os.symlink(target, self.pid)
        self.refused_as(f'{self.pid}: is a symbolic link')
        os.unlink(self.pid)
        os.symlink(self.path('missing'), self.pid)
        self.refused_as(f'{self.pid}: is a symbolic link')
        os.unlink(self.pid)
        os.link(target, self.pid)
        self.refused_as(f'{self.pid}: has 2 links, must have one')
        os.unlink(self.pid)
        os.mkfifo(self.pid)
        self.refused_as(f'{self.pid}: is not a regular file')
        os.unlink(self.pid)
        os.mkdir(self.pid)
        self.refused_as(f'{self.pid}: ')
        self.assertEqual(self.read('target'), 'precious')
        self.assertEqual(sorted(os.listdir(self.folder)), ['pid', 'target'])

    @needs_root
    def test_rule20_a_file_of_another_user_is_refused(self):
        self.file('pid', '')
        os.chown(self.pid, NOBODY, NOBODY)
        self.refused_as(f'{self.pid}: belongs to user {NOBODY}, not to us or root')

    def test_rule20_no_place_for_it(self):
        self.pid = self.path('no', 'pid')
        self.refused_as(f'{self.pid}: No such file or directory')

    def test_rule20_sigkill_then_start_again(self):
        for options in [], ['--childs', '2']:
            server = self.serving(*options).start()
            before = self.read('pid')
            server.kill()
            self.assertEqual(self.read('pid'), before)
            with self.serving(*options) as server:
                self.assertEqual(self.read('pid'), f'{server.pid}\n')
            self.assertFalse(os.path.lexists(self.pid))

    def test_rule20_the_lock_is_not_kept_by_children(self):
        """The server dies alone; a handler's process lives on."""
        server = self.serving('--mode', 'fork').start()
        try:
            with server.client() as client:
                client.send(b'echo in\n').expect(b'in\n')
                os.kill(server.pid, signal.SIGKILL)
                server.process.wait()
                with self.serving() as other:
                    self.assertEqual(self.read('pid'), f'{other.pid}\n')
        finally:
            server.kill()

    def test_rule20_not_removed_when_replaced(self):
        with self.serving():
            os.unlink(self.pid)
            self.file('pid', 'another\n')
        self.assertEqual(self.read('pid'), 'another\n')
        os.unlink(self.pid)
        target = self.file('target', 'precious')
        with self.serving():
            os.unlink(self.pid)
            os.symlink(target, self.pid)
        self.assertEqual(self.read('target'), 'precious')

    @needs_root
    def test_rule20_emptied_when_it_cannot_be_removed_after_the_drop(self):
        jail = self.jail()
        for args in (['--user', 'nobody'], ['--user', 'nobody', '--chroot', jail],
                     ['--chroot', jail]):
            with self.subTest(args):
                with self.serving(*args) as server:
                    self.assertEqual(self.read('pid'), f'{server.pid}\n')
                self.assertEqual(self.read('pid'), '')
                with self.serving(*args) as server:  # and it is no obstacle
                    self.assertEqual(self.read('pid'), f'{server.pid}\n')

    @needs_root
    def test_rule20_written_before_the_drop(self):
        """In a folder where the user could not."""
        os.chmod(self.folder, 0o755)
        with self.serving('--user', 'nobody') as server:
            self.assertEqual(os.stat(self.pid).st_uid, 0)
            self.assertEqual(server.status()['Uid'].split()[0], str(NOBODY))


class ConfPerm(Ground):
    """Rule 23, for both syntaxes."""

    FILES = {'x.conf': "{ mode => 'fork' }", 'x.yaml': 'mode: fork\n'}

    def each(self, mode=0o644):
        for name, text in self.FILES.items():
            with self.subTest(name):
                yield self.file(name, text, mode)
                os.unlink(self.path(name))

    def accepted(self, path, **more):
        result = self.run_program('--configfile', path, '--localport', '0', '--check', **more)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('mode: fork', result.stdout)

    def test_rule23_conf_perm_others_must_not_write(self):
        for mode in 0o664, 0o646, 0o666, 0o777, 0o620, 0o602:
            for path in self.each(mode):
                line = self.refused('--configfile', path, words=f'{path}: found mode {mode:04o}, ')
                self.assertIn(f'run chmod go-w {path}', line)
        for mode in 0o644, 0o600, 0o400, 0o755, 0o640:
            for path in self.each(mode):
                self.accepted(path)

    @needs_root
    def test_rule23_conf_perm_foreign_owner(self):
        self.run_program('--version', preexec_fn=as_nobody)  # can he at all?
        for path in self.each():
            os.chown(path, NOBODY, NOBODY)
            line = self.refused('--configfile', path, words=f'{path}: found owner {NOBODY}, ')
            self.assertIn(f'run chown root {path}', line)
            self.accepted(path, preexec_fn=as_nobody)  # his own
            os.chown(path, 4711, 4711)
            self.refused('--configfile', path, words=f'{path}: found owner 4711, ',
                         preexec_fn=as_nobody)
            os.chown(path, 0, 0)
            self.accepted(path, preexec_fn=as_nobody)  # root's

    def test_rule23_conf_perm_only_regular_files(self):
        for name in self.FILES:
            path = self.path(name)
            os.mkdir(path)
            self.refused('--configfile', path, words=f'{path}: found a directory, expected a ')
            os.rmdir(path)
            os.mkfifo(path)
            self.refused('--configfile', path, words=f'{path}: found a FIFO, expected a regular')
            os.unlink(path)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(path)
                self.refused('--configfile', path, words=f'{path}: ')
            os.unlink(path)

    def test_rule23_conf_perm_a_link_counts_as_what_it_leads_to(self):
        for path in self.each():
            link = path.replace('x.', 'link.')
            os.symlink(path, link)
            self.accepted(link)
            os.chmod(path, 0o666)
            self.refused('--configfile', link, words=f'{link}: found mode 0666')
            os.unlink(link)

    def test_rule23_conf_perm_size(self):
        path = self.file('x.conf', '#' * (16 << 20))
        self.assertRegex(self.refused('--configfile', path), r'found \d+ bytes, expected at most')

    def test_rule23_conf_perm_nothing_of_a_bad_file_is_used(self):
        path = self.file('x.conf', 'system("touch made")', 0o666)
        self.refused('--configfile', path, words='found mode 0666', cwd=self.folder)
        os.chmod(path, 0o644)
        self.refused('--configfile', path, words='code is not run', cwd=self.folder)
        self.assertEqual(os.listdir(self.folder), ['x.conf'])


if __name__ == '__main__':
    unittest.main()
