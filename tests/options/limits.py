"""limits.py - the limits per source and the accept rate, for test_options.py: that each option does
what the manual says. What they promise in every mode: tests/security/test_limits.py.
"""
import contextlib
import re
import socket

from netd import program, run, wait_until


class OfLimits:
    """Tests of Options."""

    @staticmethod
    def is_served(server, source):
        """Is somebody who comes now from there served?"""
        with contextlib.suppress(ConnectionError, AssertionError), \
                server.client(source=source) as client:
            client.send(b'echo in\n').expect(b'in\n')
            client.shutdown().expect_end()
            return True
        return False

    def held(self, stack, server, source):
        client = stack.enter_context(server.client(source=source))
        client.send(b'echo in\n').expect(b'in\n')
        return client

    def test_max_per_address(self):
        with self.server('--max-per-address', '2') as server, contextlib.ExitStack() as stack:
            first = self.held(stack, server, '127.0.0.2')
            self.held(stack, server, '127.0.0.2')
            self.assertFalse(self.is_served(server, '127.0.0.2'))
            self.assertTrue(self.is_served(server, '127.0.0.3'))
            first.shutdown().expect_end()
            self.assertTrue(self.is_served(server, '127.0.0.2'))
        with self.server('--max-per-address', '0') as server, contextlib.ExitStack() as stack:
            for _ in range(20):
                self.held(stack, server, '127.0.0.2')

    def test_max_per_prefix(self):
        with self.server('--max-per-prefix', '2') as server, contextlib.ExitStack() as stack:
            self.held(stack, server, '127.0.1.1')
            self.held(stack, server, '127.0.1.2')
            self.assertFalse(self.is_served(server, '127.0.1.3'))
            self.assertTrue(self.is_served(server, '127.0.2.1'))

    def test_prefix_ipv4(self):
        config = self.file('x.yaml', 'max_per_prefix: 1\nprefix_ipv4: 30\n')
        with self.server('--configfile', config, '--localaddr', '127.0.0.1', '--localport', '0') \
                as server, contextlib.ExitStack() as stack:
            self.held(stack, server, '127.0.1.4')
            self.assertFalse(self.is_served(server, '127.0.1.7'))
            self.assertTrue(self.is_served(server, '127.0.1.8'))

    def test_prefix_ipv6(self):
        """Loopback has one address of IPv6; others: OverIPv6 of tests/security/test_limits.py."""
        said = self.checked('--localport', '0', '--prefix-ipv6', '56')
        self.assertEqual(said['prefix-ipv6'], ('56', '--prefix-ipv6'))
        with self.server('--max-per-prefix', '1', '--prefix-ipv6', '128', localaddr='::1') as server, \
                contextlib.ExitStack() as stack:
            self.held(stack, server, '::1')
            self.assertFalse(self.is_served(server, '::1'))

    def test_rate_per_address(self):
        with self.server('--rate-per-address', '1/h') as server:
            for _ in range(5):  # the burst that nobody has asked for
                self.assertTrue(self.is_served(server, '127.0.0.2'))
            self.assertFalse(self.is_served(server, '127.0.0.2'))
            self.assertTrue(self.is_served(server, '127.0.0.3'))

    def test_rate_burst(self):
        with self.server('--rate-per-address', '600/m', '--rate-burst', '1') as server:
            self.assertTrue(self.is_served(server, '127.0.0.2'))
            wait_until('a tenth of a second', lambda: self.is_served(server, '127.0.0.2'))
        for rate, burst, passed in ('1/h', '2', 2), ('1/h', '7', 7):
            with self.server('--rate-per-address', rate, '--rate-burst', burst) as server:
                served = [self.is_served(server, '127.0.0.2') for _ in range(passed + 1)]
                self.assertEqual(served, [True] * passed + [False])

    def test_accept_rate(self):
        with self.server('--accept-rate', '1/h') as server, server.client() as second:
            second.send(b'echo in\n')
            second.expect(b'in\n')
            with server.client() as third:
                third.send(b'echo in\n').shutdown()
                server.wait_for_log('--accept-rate is reached')
                third.sock.settimeout(0.2)
                self.assertRaises(socket.timeout, third.sock.recv, 1)
                third.sock.settimeout(10)
                second.close()
                server.stop()  # who waits is served first
                third.expect(b'in\n')

    def test_accept_burst(self):
        with self.server('--accept-rate', '1/h', '--accept-burst', '4') as server:
            for _ in range(4):
                self.assertTrue(self.is_served(server, '127.0.0.2'))
            with server.client() as fifth:
                fifth.send(b'echo in\n').shutdown()
                server.wait_for_log('--accept-rate is reached')
                server.stop()
                fifth.expect(b'in\n')

    def test_more_connections_than_descriptors_are_warned_of(self):
        few = ['prlimit', '--nofile=100:100']
        words = (': found 200, but no more than 100 descriptors may be open in a process '
                 '(RLIMIT_NOFILE): without one, clients wait until others have gone')
        for wanted, options, warned in (
                ('200', ['--mode', 'threads'], True), ('200', ['--mode', 'fibers'], True),
                ('200', ['--mode', 'threads', '--childs', '2'], True),
                ('200', ['--mode', 'threads', '--childs', '3'], False),
                ('200', ['--mode', 'fork'], False), ('200', ['--mode', 'single'], False),
                ('99', [], False), ('0', [], False)):
            said = run(*few, program(self.program), '--localport', '0', '--check', *options,
                       '--max-connections', wanted).stdout
            self.assertEqual(said.count(f'warning: --max-connections{words}\n'), warned, said)
            self.assertEqual(said.count('RLIMIT_NOFILE'), warned, said)
        with self.server('--max-connections', '200', wrapper=few) as server:
            server.wait_for_log('warning, .*--max-connections' + re.escape(words))
            self.assertEqual(server.log_count('RLIMIT_NOFILE'), 1)

    def test_an_option_that_only_shapes_another_one_warns_without_it(self):
        for option, needs in (('--accept-burst', 'accept-rate'), ('--rate-burst', 'rate-per-address'),
                              ('--prefix-ipv4', 'max-per-prefix'),
                              ('--prefix-ipv6', 'max-per-prefix or rate-per-address')):
            said = self.run_program('--localport', '0', '--check', option, '20').stdout
            self.assertIn(f'warning: {option}: not used without {needs}\n', said)
        said = self.run_program('--localport', '0', '--check', '--prefix-ipv6', '48',
                                '--rate-per-address', '5/s').stdout
        self.assertNotIn('not used', said)
