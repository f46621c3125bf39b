"""fibers.py - the options of mode fibers, for test_options.py: that each does what the manual says."""
import os
import re
import unittest

from netd import wait_until

GENERIC = os.environ.get('GENERIC') == '1'  # the portable system layer: stacks cannot be compacted


class OfFibers:
    """Tests of Options."""

    def fibers(self, *args):
        return self.server('--mode', 'fibers', *args)

    def stack_memory(self, server):
        """KiB in memory of the mappings that hold stacks of 256 KiB, guards included."""
        with open(f'/proc/{server.pid}/smaps', encoding='ascii', errors='replace') as file:
            maps = re.findall(r'^(\w+)-(\w+) rw-p 00000000 00:00 0 *\n(?:.*\n)*?Rss: +(\d+) kB',
                              file.read(), re.M)
        return sum(int(rss) for begin, end, rss in maps
                   if int(end, 16) - int(begin, 16) in (64 * (320 << 10), 256 << 10))

    @unittest.skipIf(GENERIC, 'does not know how much of a stack is in use')
    def test_compact_after(self):
        """Who waits gives the memory of the stack back, and goes on as if nothing had happened."""
        count = 40
        for args, most in (['--compact-after', '0.1'], 2 * count), (['--compact-after', '0'], None):
            with self.subTest(args), self.fibers(*args) as server:
                clients = [server.client() for _ in range(count)]
                for number, client in enumerate(clients):
                    client.send(b'echo %d\n' % number).expect(b'%d\n' % number)
                if most:
                    wait_until('most is given back', lambda: self.stack_memory(server) < most)
                else:
                    server.talk(b'sleep 1500\n')  # longer than a round takes
                    self.assertGreaterEqual(self.stack_memory(server), 4 * count)
                for client in clients:
                    client.send(b'echo still here\n').expect(b'still here\n')
                    client.close()

    def test_io(self):
        """The one asked for, or words why not; auto takes the best of those there are."""
        had = []
        for name in 'io_uring', 'epoll', 'poll', 'auto':
            with self.subTest(name):
                with self.fibers('--io', name) as server:
                    said = server.wait_for_log(r', (cannot start fibers: .*)|fibers wait by (\w+)')
                    if said[1]:
                        self.assertIn(name, said[1])
                        server.wait(status=1)
                        continue
                    self.assertEqual(server.talk(b'echo in\noption io\n'), b'in\n%s 0\n' %
                                     name.encode())
                    had.append(said[2])
        self.assertIn('poll', had)
        self.assertEqual(had[-1], had[0])
        self.assertEqual(had[:-1], [name for name in ('io_uring', 'epoll', 'poll') if name in had])

    def test_what_check_and_help_show_of_fibers(self):
        names = ['compact-after', 'io', 'stack-size', 'stall-time']
        perl = self.file('x.conf', "{ mode => 'fibers', compact_after => 2.5, io => 'poll',\n"
                         "  'stack-size' => '1M', stall_time => 0 }")
        yaml = self.file('x.yaml', 'mode: fibers\ncompact-after: 2.5\nio: poll\n'
                         'stack_size: 1M\nstall-time: 0\n')
        told = ['2.5', 'poll', '1048576', '0']
        for args, wanted, where in (
                ([], ['10', 'auto', '1048576', '0.1'], 'default'),
                (['--mode', 'fibers'], ['10', 'auto', '262144', '0.1'], 'default'),
                (['--compac', '0', '--io=epoll', '--stack=64k', '--stal', '1.50'],
                 ['0', 'epoll', '65536', '1.5'], '--'),
                (['--configfile', perl], told, f'{perl}:'), (['--configfile', yaml], told, yaml),
                (['--configfile', perl, '--stall_time=3', '--compact_after=3', '--io', 'io_uring',
                  '--stack-size', '3M'], ['3', 'io_uring', '3145728', '3'], '--')):
            with self.subTest(args):
                seen = self.checked('--localport', '0', *args)
                self.assertEqual([seen[name][0] for name in names], wanted)
                for name in names:
                    self.assertTrue(seen[name][1].startswith(where), seen[name])
        text = re.sub(r'\s+', ' ', self.run_program('--help').stdout)
        for words in ('--compact-after SECONDS In mode fibers, ', '--io NAME How mode fibers waits ',
                      '(auto, io_uring, epoll or poll; default: auto)',
                      '(default: 1M, in mode fibers 256K)', '--stall-time SECONDS In mode fibers, ',
                      '0 means never (default: 0.1)', '(single, fork, threads or fibers; '):
            self.assertIn(words, text)

    def test_stack_size_of_fibers(self):
        for size, shown in ('1M', 1 << 20), (None, 256 << 10):
            args = ['--stack-size', size] if size else []
            with self.fibers('--debug', *args) as server:
                server.talk(b'echo in\n')
                server.stop()
                self.assertEqual(server.log_count(rf'stacks of {shown} bytes'), 1)

    def test_stall_time(self):
        """A handler that does not wait is reported, once, with its connection and its place."""
        for args, reported in (['--stall-time', '0.2'], True), (['--stall-time', '0'], False):
            with self.subTest(args), self.fibers(*args) as server, server.client() as client:
                peer = re.escape('127.0.0.1:%d' % client.sock.getsockname()[1])
                client.send(b'sleep 500\n').expect_line(r'ok \d+')
                client.send(b'spin 500\n').expect(b'spinning\n')
                client.send(b'echo done\n').expect(b'done\n')
                if reported:
                    server.wait_for_log(rf'warning, .*conn 1 \({peer}\): holds up all others: '
                                        r'no wait for \d{3,} ms so far')
                    server.wait_for_log(rf'notice, .*conn 1 \({peer}\): went on after '
                                        r'\d{3,} ms without a wait')
                self.assertEqual(server.log_count(r'conn 1 .*holds up all others'), reported)
