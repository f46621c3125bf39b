"""test_rings.py - io_uring must not be a way around what a process may do (security rules 6, 7).

A ring works with the rights of who made it, for ever, and past seccomp filters. So rings are made
after the drop, by the process that uses them, and can do nothing but what connections need.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from netd import Server, fds, program, wait_until

ATTACK = os.environ.get('RING_ATTACK', './ring_attack')
NOBODY = 65534
# A sanitizer's leak check can neither be traced nor work without the rights that were given up.
ENV = {'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}
CALL = re.compile(r'(\w+)\((.*)\) += (-?\d+)')
CALLS = 'io_uring_setup,io_uring_enter,setresuid,clone,clone3,fork,vfork,accept4'


def can_trace():
    return bool(shutil.which('strace')) and subprocess.run(
        ['strace', '-o', os.devnull, 'true'], check=False, capture_output=True).returncode == 0


def rings(pid):
    return [number for number, name in fds(pid).items() if name == 'anon_inode:[io_uring]']


def need_ring(server):
    if not server.wait_for_log(r'fibers wait by (\S+)').group(1) == 'io_uring':
        server.stop()
        raise unittest.SkipTest('io_uring is not allowed here')


class Made(unittest.TestCase):
    """When and by whom rings are made."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('needs root')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.file = os.path.join(self.folder, 'trace')

    def server(self, *args, **more):
        return Server(program('conform'), '--mode', 'fibers', *args, env=ENV, **more)

    def trace(self, *args):
        """The calls of a server that has served: (pid, name, text, result)."""
        if not can_trace():
            self.skipTest('needs strace and the right to trace')
        with self.server(*args, wrapper=['strace', '-D', '-f', '-q', '-o', self.file,
                                         '-e', f'trace={CALLS}', '-e', 'signal=none']) as server:
            need_ring(server)
            self.assertEqual(server.talk(b'echo in\n'), b'in\n')
            main = server.pid
        # The tracer is nobody's child that we know: it has written all when the end is there.
        wait_until('the trace is complete',
                   lambda: re.search(rf'(?m)^{main} +\+\+\+ exited', self.text()))
        return self.calls()

    def calls(self):
        """In the order in which they ended. Those that others came between are in two pieces."""
        begun, found = {}, []
        for line in self.text().split('\n'):
            pid, _, rest = line.partition(' ')
            rest = rest.lstrip()
            if rest.endswith(' <unfinished ...>'):
                begun[pid] = rest[:-len(' <unfinished ...>')]
                continue
            resumed = re.match(r'<\.\.\. \w+ resumed>', rest)
            if resumed:
                rest = begun.pop(pid, '') + rest[resumed.end():]
            call = CALL.match(rest)
            if call:
                found.append((int(pid), call[1], call[2], int(call[3])))
        return found

    def text(self):
        with open(self.file, encoding='utf-8', errors='replace') as trace:
            return trace.read()

    def see_made_after_the_drop(self, calls, dropped):
        free, makers = set(), []
        for pid, name, text, result in calls:
            if name in ('clone', 'clone3', 'fork', 'vfork') and result > 0:
                if pid in free:
                    free.add(result)
            elif name == 'setresuid' and result == 0 and text == ', '.join([str(NOBODY)] * 3):
                free.add(pid)
            elif name == 'io_uring_setup':
                self.assertNotIn('IORING_SETUP_SQPOLL', text)
                self.assertEqual(pid in free, dropped, 'made as root')
                if result >= 0:
                    makers.append(pid)
            elif name == 'io_uring_enter' and result >= 0:
                self.assertIn(pid, makers, 'the ring of another process')
        self.assertTrue(makers)
        return makers

    def test_rule07_a_ring_is_made_after_the_drop(self):
        for io in 'auto', 'io_uring':
            calls = self.trace('--user', 'nobody', '--io', io)
            self.assertEqual(len(set(self.see_made_after_the_drop(calls, True))), 1)

    def test_rule07_each_worker_makes_its_own_after_the_drop(self):
        for io in 'auto', 'io_uring':
            calls = self.trace('--user', 'nobody', '--io', io, '--childs', '2')
            makers = self.see_made_after_the_drop(calls, True)
            served = {pid for pid, name, _, result in calls if name == 'accept4' and result >= 0}
            self.assertLessEqual(served, set(makers))

    def test_rule07_the_test_sees_who_is_root(self):
        calls = self.trace('--user', 'root')
        self.see_made_after_the_drop(calls, False)

    def test_rule07_nobody_has_the_ring_of_another(self):
        for io in 'auto', 'io_uring':
            with self.server('--user', 'nobody', '--io', io, '--childs', '2') as server:
                need_ring(server)
                server.wait_for_log('fibers wait by', count=2)
                self.assertEqual(rings(server.pid), [])
                for pid in server.workers():
                    self.assertEqual(len(rings(pid)), 1)

    def test_rule07_other_modes_have_none(self):
        for mode in 'threads', 'fork':
            with Server(program('conform'), '--mode', mode, env=ENV) as server:
                self.assertEqual(server.talk(b'echo in\n'), b'in\n')
                self.assertEqual(rings(server.pid), [])


class Attacks(unittest.TestCase):
    """A handler that was taken over writes requests to the ring of its process."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.public = self.file(folder.name, 'public', 0o644)
        self.secret = self.file(folder.name, 'secret', 0o600)

    @staticmethod
    def file(folder, name, mode):
        path = os.path.join(folder, name)
        with open(path, 'w', encoding='ascii') as file:
            file.write('words\n')
        os.chmod(path, mode)
        return path

    def attack(self, *commands, args=(), answers):
        with Server(ATTACK, '--mode', 'fibers', *args, env=ENV) as server:
            need_ring(server)
            with server.client() as client:
                for command, answer in zip(commands, answers):
                    client.send(command.encode() + b'\n')
                    client.expect_line(answer)
                if commands[-1].startswith('ring'):
                    client.expect_gone()
                    server.wait()

    def test_rule06_a_ring_opens_nothing(self):
        # The same request to a ring that is not restricted is obeyed.
        self.attack(f'own {self.public}', f'ring {self.public}', answers=['ok', 'error EACCES'])

    def test_rule06_a_ring_is_no_way_past_a_filter(self):
        self.attack(f'plain {self.public}', 'filter', f'plain {self.public}', f'own {self.public}',
                    f'ring {self.public}',
                    answers=['ok', 'ok', 'error EPERM', 'ok', 'error EACCES'])

    def test_rule07_a_ring_does_not_have_the_rights_of_root(self):
        if os.geteuid() != 0:
            self.skipTest('needs root')
        for args in (), ('--io', 'io_uring'):
            self.attack(f'plain {self.public}', f'plain {self.secret}', f'own {self.public}',
                        f'own {self.secret}', f'ring {self.secret}', args=['--user', 'nobody', *args],
                        answers=['ok', 'error EACCES', 'ok', 'error EACCES', 'error EACCES'])


if __name__ == '__main__':
    unittest.main()
