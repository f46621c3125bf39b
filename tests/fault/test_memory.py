"""test_memory.py - the n-th allocation fails, for every n: at the start, and in conversations."""
import errno
import os
import signal
import subprocess
import unittest

from faults import POLLERS, InModes, in_modes
from inject import Faults
from netd import PATIENCE, Failure, program, run

LAST = 400  # no n beyond this is tried: the counting must have come to its end before
TALK = b'echo hello\nprintf 20000\ndefer AB\nbig 40000\nexact 5000\n' + b'x' * 5000
TALK += b'stdio\nyes\n'


class Conversations(InModes):
    modes = ('single', 'fork', 'threads', *POLLERS)

    def talk(self, server):
        """All of it or a part; what comes is as it would be without the fault."""
        try:
            return server.talk(TALK)
        except ConnectionError:
            return b''  # refused, or broken off

    def test_it_costs_one_connection_at_most(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            whole = self.talk(server)
            self.assertEqual(server.talk(b'echo fine\n'), b'fine\n')
            complete = 0
            for n in range(LAST):
                faults.arm('alloc', errno.ENOMEM, times=1, skip=n)
                complete += self.talk(server) == whole
                faults.disarm()
                self.assertEqual(server.talk(b'echo next\n'), b'next\n', f'after allocation {n}')
                if faults.hits('alloc') == 0:
                    break
            self.assertEqual(faults.hits('alloc'), 0, 'the end was not reached')
            self.assertGreater(n, 8)
            self.assertLess(complete, n)  # some of them hurt
            self.assertLessEqual(server.log_count('connection dropped'), 2)


class Shortage(InModes):
    modes = ('threads', *POLLERS)

    def test_while_there_is_none_at_all_those_who_are_in_are_served(self):
        with Faults() as faults, self.server(**faults.into()) as server:
            clients = [server.client() for _ in range(60)]
            for client in clients:
                client.send(b'echo before\n').expect(b'before\n')
            faults.arm('alloc', errno.ENOMEM)
            os.kill(server.pid, signal.SIGSTOP)  # so that all come in one turn
            for client in clients:
                client.send(b'echo meanwhile\n')
            os.kill(server.pid, signal.SIGCONT)
            for client in clients:
                client.expect(b'meanwhile\n')
            faults.disarm()
            for client in clients:
                client.send(b'echo after\n').expect(b'after\n').close()
            self.assertEqual(server.log_count('err, '), 0)


class Starts(unittest.TestCase):
    def every_allocation(self, *args):
        """Returns how many starts failed of how many."""
        failed = 0
        for n in range(3000):
            with Faults() as faults:
                faults.arm('alloc', errno.ENOMEM, times=1, skip=n)
                try:
                    done = run(program('conform'), *args, env=faults.into()['env'], text=False)
                except subprocess.TimeoutExpired:
                    raise Failure(f'allocation {n}: hangs for {PATIENCE} s') from None
                words = done.stderr.decode(errors='replace')
                self.assertIn(done.returncode, (0, 1, 2), f'allocation {n}: {words}')
                if done.returncode:
                    failed += 1
                    self.assertRegex(words, r'conform: .*\w', f'allocation {n}')
                if faults.hits('alloc') == 0:
                    return failed, n
        raise Failure('the end was not reached')

    def test_it_starts_and_ends_in_order_or_says_why_not(self):
        failed, tried = self.every_allocation(
            '--logfile', 'STDERR', '--bind', 'tcp:127.0.0.1:0', '--loop-timeout', '0.001',
            '--loop-does', 'stop', '--timeout', '20')
        self.assertGreater(failed, 5)
        self.assertGreater(tried, failed)

    def test_a_check_of_the_settings_says_why_not(self):
        failed, _ = self.every_allocation('--check', '--localport', '0')
        self.assertGreater(failed, 5)


def load_tests(loader, standard, pattern):
    suite = in_modes(Conversations, Shortage)(loader, standard, pattern)
    suite.addTests(loader.loadTestsFromTestCase(Starts))
    return suite


if __name__ == '__main__':
    unittest.main()
