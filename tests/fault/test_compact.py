"""test_compact.py - connections that say nothing for long give their memory back, and do not notice."""
import contextlib
import re
import signal
import unittest

from faults import (FIBERS, POLLERS, InModes, books, in_modes, need_descriptors, ready,
                    settle)
from netd import wait_until

COUNT = 400
SOON = ('--compact-after', '0.2')


def figures(server):
    """Summed up over all workers; up to a second old."""
    return {name: int(value)
            for name, value in re.findall(r'(\w+)=(\d+)', server.talk(b'fibers\n').decode())}


class Compaction(InModes):
    modes = FIBERS

    def gather(self, server, stack, count=COUNT):
        """Many clients, each with something to remember."""
        need_descriptors(2 * count + 100)
        clients = [stack.enter_context(server.client()) for _ in range(count)]
        for number, client in enumerate(clients):
            client.send(b'defer %c\nid\n' % (ord('A') + number % 5))
        return [(client, client.expect_line(r'\d+').group()) for client in clients]

    def all_parked(self, told):
        """And perhaps who asks, in each process."""
        return told['parked'] - COUNT in range(self.accepting + 1)

    def until_compacted(self, server, count=COUNT):
        return wait_until(f'{count} are compacted',
                          lambda: (told := figures(server))['compacted'] == count and told)

    def answers(self, client, number):
        client.send(b'data\nid\npeer\n').expect(b'open set 1, server data\n')
        client.expect(number.encode() + b'\n')
        client.expect_line('host=127.0.0.1 port=%d .*' % client.sock.getsockname()[1])

    def test_each_answers_with_all_it_knew_and_is_compacted_again(self):
        with self.server(*SOON) as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            before = server.settled(lambda: books(server))
            clients = self.gather(server, stack)
            for _ in range(3):
                told = self.until_compacted(server)
                self.assertTrue(self.all_parked(told), told)
                for client, number in clients:
                    self.answers(client, number)
            self.until_compacted(server)
            for number, (client, _) in enumerate(clients):
                client.shutdown()
                client.expect(b'%c' % (ord('A') + number % 5)).expect_end()
                client.close()
            server.wait_for_log(r'conn \d+ .*: deferred ', count=COUNT)
            settle(server, before)
            self.assertEqual(server.log_count('err, '), 0)

    def test_memory_goes_down(self):
        # Figures are told once a second: so late that some are of the time before.
        with self.server('--compact-after', '4') as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            self.gather(server, stack)
            awake = wait_until('all are parked', lambda: self.all_parked(
                told := figures(server)) and not told['compacted'] and told)
            asleep = self.until_compacted(server)
            self.assertLess(asleep['bytes'] * 3, awake['bytes'])
            self.assertLess(asleep['bytes'], COUNT * 1500)

    def test_a_deadline_passes_meanwhile(self):
        with self.server(*SOON) as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            clients = self.gather(server, stack, 20)
            for client, _ in clients:
                client.send(b'deadline 1500\n')
            self.until_compacted(server, 20)
            for client, number in clients:
                client.expect_line('.*the deadline passed; error ETIMEDOUT')
                self.answers(client, number)

    def test_the_end_of_a_line_comes_after_it(self):
        with self.server(*SOON) as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            clients = self.gather(server, stack, 20)
            for client, _ in clients:
                client.send(b'echo first half,')
            self.until_compacted(server, 20)
            for client, _ in clients:
                client.send(b' second half\nexact 10\n12345').expect(b'first half, second half\n')
            self.until_compacted(server, 20)
            for client, number in clients:
                client.send(b'67890').expect_line(r'10 \d+')
                self.answers(client, number)

    def test_who_is_compacted_may_finish_in_a_drain(self):
        with self.server(*SOON) as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            clients = self.gather(server, stack, 50)
            self.until_compacted(server, 50)
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM: no new connections')
            for client, number in clients:
                self.answers(client, number)
                client.shutdown().read_all()
                client.close()
            server.wait()

    def test_a_stop_ends_who_is_compacted(self):
        with self.server(*SOON) as server, contextlib.ExitStack() as stack:
            ready(server, self.mode)
            clients = self.gather(server, stack, 50)
            self.until_compacted(server, 50)
            server.stop(signal.SIGINT)
            for client, _ in clients:
                client.expect_gone()
            self.assertEqual(server.log_count(r'conn \d+ .*: deferred '), 50)


class Left(InModes):
    """Who is left alone."""
    modes = POLLERS

    def after_a_while(self, server):
        """The figures, so long after a connection fell silent that it could have been compacted."""
        with server.client() as idle, server.client() as clock:
            idle.send(b'id\n').expect_line(r'\d+')
            clock.send(b'sleep 2500\n').expect_line(r'ok \d+')
            told = figures(server)
            idle.send(b'data\n').expect(b'open set 1, server data\n')
            return told

    def test_a_service_may_keep_its_stacks(self):
        env = {'CONFORM_KEEP_STACK': '1'}
        with self.server(*SOON, env=env) as server:
            told = self.after_a_while(server)
        self.assertEqual(told['compacted'], 0)
        self.assertGreater(told['parked'], 0)

    def test_nobody_is_compacted_who_should_not_be(self):
        with self.server('--compact-after', '0') as server:
            self.assertEqual(self.after_a_while(server)['compacted'], 0)

    def test_sleeps_and_other_waits_keep_theirs(self):
        with self.server(*SOON) as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(30)]
            for number, client in enumerate(clients):
                client.send((b'echo in\nsleep 2500\n', b'echo in\npoll 2500\n',
                             b'echo in\nhold\n')[number % 3])
            wait_until('those are compacted who may', lambda: figures(server)['compacted'] == 10)
            for number, client in enumerate(clients):
                client.expect(b'in\n')
                if number % 3 < 2:
                    client.expect_line(r'ok \d+')
            for client in clients[2::3]:
                client.expect(b'holding\n').send(b'\nid\n').expect_line(r'\d+')


load_tests = in_modes(Compaction, Left)

if __name__ == '__main__':
    unittest.main()
