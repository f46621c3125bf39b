"""test_talk.py - what a handler can do with its connection: the same in every mode."""
import os
import re
import socket
import tempfile
import unittest

from modes import InEveryMode, every_mode
from netd import Server, program, wait_until

GENERIC = os.environ.get('GENERIC') == '1'


class Reading(InEveryMode):
    def test_lines(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'echo one\necho two\r\necho three'),
                             b'one\ntwo\nthree\n')
            with server.client() as client:
                client.send(b'echo o').send(b'ne\necho two\nec').expect(b'one\ntwo\n')
                client.send(b'ho three\n').expect(b'three\n')
                client.shutdown().expect_end()

    def test_readline_gives_what_fits_and_skips_what_does_not(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'readline 6\nabcd\necho on\n'), b'4 abcd\non\n')
            self.assertEqual(server.talk(b'readline 5\nabcd\necho on\n'), b'error EMSGSIZE\non\n')
            self.assertEqual(server.talk(b'readline 6\nabcd'), b'4 abcd\n')
            self.assertEqual(server.talk(b'readline 6\n'), b'ok 0\n')

    def test_a_line_of_the_longest_length_is_lent_a_longer_one_is_skipped(self):
        with self.server() as server:
            fits, over = b'x' * 65535 + b'\n', b'x' * 65536 + b'\n'
            self.assertEqual(server.talk(b'line\n' + fits + b'echo on\n'), b'ok 65536\non\n')
            self.assertEqual(server.talk(b'line\n' + over + b'echo on\n'), b'error EMSGSIZE\non\n')
            self.assertEqual(server.talk(b'line\n' + over * 40 + b'echo on\n')[:15],
                             b'error EMSGSIZE\n')
            self.assertEqual(server.talk(b'line\n' + b'x' * 500000), b'error EMSGSIZE\n')

    def test_exact_amounts(self):
        with self.server() as server:
            data = bytes(range(256)) * 300
            total = 0
            for byte in data:
                total = (total * 31 + byte) & 0xffffffff
            self.assertEqual(server.talk(b'exact %d\n' % len(data) + data + b'echo on\n'),
                             b'%d %d\non\n' % (len(data), total))
            self.assertEqual(server.talk(b'exact 10\nabc').split()[0], b'3')
            with server.client() as client:
                client.send(b'exact 4\nab')
                client.send(b'cd').expect_line('4 .*')

    def test_read_gives_what_is_there(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'read 3\nabcde'), b'ok 3\nerror: unknown command\n')
            self.assertEqual(server.talk(b'read 4096\n'), b'ok 0\n')
            self.assertEqual(server.talk(b'read 0\necho on\n'), b'ok 0\non\n')
            self.assertEqual(server.talk(b'drain\n' + b'y' * 3000000), b'ok 3000000\n')

    def test_one_byte_at_a_time(self):
        with self.server() as server, server.client() as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b'echo slowly\n':
                client.send(bytes([byte]))
            client.expect(b'slowly\n')

    def test_binary_lines(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'line\n\0\xff\0\n'), b'ok 4\n')


class Writing(InEveryMode):
    def test_output_is_sent_before_a_wait_for_input(self):
        with self.server() as server, server.client() as client:
            client.send(b'hold\n').expect(b'holding\n')
            client.send(b'go on\necho done\n').expect(b'done\n')

    def test_output_is_kept_together_until_then(self):
        with self.server() as server, server.client() as client:
            client.send(b'keep 300\n')
            client.sock.settimeout(0.1)
            with self.assertRaises(socket.timeout):
                client.sock.recv(1)
            client.sock.settimeout(server.patience)
            client.expect(b'kept\n')

    def test_much_output_to_a_slow_reader(self):
        size = 5000000
        want = (b'abcdefghijklmnopqrstuvwxyz' * (size // 26 + 1))[:size]
        with self.server() as server, server.client() as client:
            client.send(b'big %d\necho end\n' % size)
            self.assertEqual(client.read(size), want)
            client.expect(b'end\n')

    def test_printf_of_any_length(self):
        with self.server() as server:
            for width in (1, 100, 16383, 16384, 16385, 100000):
                got = server.talk(b'printf %d\n' % width)
                self.assertEqual(got, b' ' * (width - 1) + b'7ok %d\n' % width)

    def test_sendfile(self):
        with tempfile.NamedTemporaryFile() as file:
            data = os.urandom(300000)
            file.write(data)
            file.flush()
            name = file.name.encode()
            with self.server() as server:
                self.assertEqual(server.talk(b'echo first\nsendfile %s\n' % name),
                                 b'first\n' + data + b'ok 300000\n')
                self.assertEqual(server.talk(b'sendfile %s 10 20\n' % name),
                                 data[10:30] + b'ok 20\n')
                self.assertEqual(server.talk(b'sendfile %s 299990 100\n' % name),
                                 data[299990:] + b'ok 10\n')
                self.assertEqual(server.talk(b'sendfile %s 400000 100\n' % name), b'ok 0\n')
                self.assertEqual(server.talk(b'sendfile %s -1 100\n' % name), b'error EINVAL\n')
                self.assertEqual(server.talk(b'sendfile /nowhere\n'), b'error ENOENT\n')

    def test_sendfile_of_what_the_kernel_cannot_copy(self):
        with self.server() as server:  # /proc files have no pages to send
            got = server.talk(b'sendfile /proc/self/status 0 5\n')
            self.assertEqual(got, b'Name:ok 5\n')

    def test_shutdown_ends_output_only(self):
        with self.server() as server, server.client() as client:
            client.send(b'shutdown\n').expect(b'no more\n').expect_end()
            client.send(b'one more\n')
            server.wait_for_log('after shutdown: one more')
            server.wait_for_log('write after shutdown: EPIPE')

    def test_the_descriptor_can_be_used(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'echo one\nfd\necho two\n'), b'one\nraw\ntwo\n')

    @unittest.skipIf(GENERIC, 'has no streams over functions')
    def test_stdio(self):
        with self.server() as server, server.client() as client:
            client.send(b'stdio\n').line()
            client.send(b'hello\n')
            client.expect(b'you said hello\n').expect_end()

    def test_an_answer_is_not_lost_to_input_that_nobody_read(self):
        with self.server() as server:
            for _ in range(20):
                self.assertEqual(server.talk(b'bye farewell\n' + b'z' * 100000), b'farewell')


class Waiting(InEveryMode):
    def test_deadline_of_a_read(self):
        with self.server() as server, server.client() as client:
            client.send(b'deadline 50\n').expect(b'read: the deadline passed; error ETIMEDOUT\n')
            client.send(b'echo on\n').expect(b'on\n')
            client.send(b'deadline 60000\nin time\n').expect(b'ok 8\n')
            client.send(b'deadline -1\n').expect_line('.*error ETIMEDOUT')

    def test_a_trickle_does_not_move_the_deadline(self):
        with self.server() as server, server.client() as client:
            client.send(b'deadline 300\n')
            client.sock.settimeout(0.02)
            for _ in range(500):
                client.send(b'x')
                try:
                    client.held += client.sock.recv(100)
                    break
                except socket.timeout:
                    continue
            client.sock.settimeout(server.patience)
            client.expect_line('.*error ETIMEDOUT')

    def test_deadline_of_a_write_to_a_peer_that_does_not_read(self):
        with self.server() as server, server.client() as client:
            client.send(b'writedeadline 100\n')
            server.wait_for_log('write ended: ETIMEDOUT')

    def test_timeout_of_a_read(self):
        with self.server() as server, server.client() as client:
            client.send(b'timeout 50\n').expect(
                b'read: nothing happened for 50 ms; error ETIMEDOUT\n')
            client.send(b'timeout 60000\nin time\n').expect(b'ok 8\n')
            client.send(b'timeout 60000\ndeadline 50\n').expect(b'ok 12\n')
            client.send(b'timeout -1\nechoed\n').expect(b'ok 7\n')

    def test_timeout_of_a_write_to_a_peer_that_does_not_read(self):
        with self.server() as server, server.client() as client:
            client.send(b'writetimeout 100\n')
            server.wait_for_log('write ended: ETIMEDOUT')

    def test_sleep(self):
        with self.server() as server:
            got = server.talk(b'sleep 50\nsleep 0\nsleep -5\n').split()
            self.assertGreaterEqual(int(got[1]), 50)
            self.assertEqual(got[::2], [b'ok'] * 3)

    def test_poll_on_foreign_descriptors(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'poll 30\nmanypoll\n'), b'ok 0\nok 50\n')
            with server.client() as client:
                client.send(b'poll\n').expect(b'ok 1\n')

    def test_dial(self):
        with self.server() as other, self.server() as server:
            tcp = other.address.encode()
            for _ in range(2):  # hung up by the handler, and left to the connection's end
                got = server.talk(b'dial ' + tcp + b'\n')
                self.assertEqual(got, b'via 127.0.0.1:%d\n' % other.port)
            self.assertEqual(server.talk(b'dial tcp:127.0.0.1:1\n'), b'error ECONNREFUSED\n')
            self.assertEqual(server.talk(b'dial nonsense\n'), b'error EINVAL\n')
            wait_until('the dialled connections are closed', lambda: b'active=1 ' in other.talk(
                b'stats\n'))

    def test_dial_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'socket')
            with Server(program('conform'), '--localpath', path), self.server() as server:
                self.assertRegex(server.talk(b'dial unix:' + path.encode() + b'\n'), b'via unix:')
                self.assertEqual(server.talk(b'dial unix:/nowhere\n'), b'error ENOENT\n')

    def test_a_flush_after_the_deadline_of_a_read(self):
        with self.server() as server, server.client() as client:
            client.send(b'lateflush 30\n').expect(b'first\nflush 0\n')
            client.send(b'echo on\n').expect(b'on\n')

    def test_offload(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'offload 41\n'), b'ok 42\n')

    def test_spawn(self):
        with self.server() as server:
            self.assertEqual(server.talk(b'spawn one\n'), b'ok 0\n')
            main, = (int(server.talk(b'pid\n').split()[1 if self.forks else 0]),)
            line = server.wait_for_log(r'spawned one pid (\d+)')
            if not self.prefork:
                same = int(line.group(1)) == main
                self.assertEqual(same, not self.forks)
            wait_until('all has ended', lambda: b'active=1 ' in server.talk(b'stats\n'))


class Knowing(InEveryMode):
    def test_the_peer(self):
        with self.server() as server, server.client(source='127.0.0.3') as client:
            port = client.sock.getsockname()[1]
            client.send(b'peer\n').expect(
                b'host=127.0.0.3 port=%d text=127.0.0.3:%d local=tcp:127.0.0.1:%d name=- '
                b'cred=-95,-1,-1\n' % (port, port, server.port))

    def test_an_ipv6_peer(self):
        with self.server('--bind', 'tcp:[::1]:0', '--bind', 'tcp:*:0') as server:
            server.wait_for_log('listening on', count=2)
            server.addresses = re.findall(r'listening on (\S+)', '\n'.join(server.log))
            with server.client() as client:  # to the first address
                client.send(b'peer\n').expect_line(r'host=::1 .* text=\[::1\]:\d+ '
                                                   r'local=tcp:\[::1\]:\d+ .*')
            with server.client(address=server.addresses[1]) as client:  # v4 on the dual stack
                client.send(b'peer\n').expect_line(r'host=127.0.0.1 .*text=127.0.0.1:\d+ .*')

    @unittest.skipIf(GENERIC, 'knows no credentials of peers')
    def test_a_unix_peer(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'socket')
            with self.server('--localpath', path) as server:
                self.assertEqual(
                    server.talk(b'peer\n'),
                    b'host= port=0 text=unix:uid=%d,pid=%d local=unix:%s name=- cred=0,%d,%d\n' % (
                        os.getuid(), os.getpid(), path.encode(), os.getuid(), os.getgid()))
            self.assertFalse(os.path.exists(path))

    def test_the_matching_rule(self):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
            file.write("""{ clients => [
                { mask => '^127\\.0\\.0\\.2$', accept => 1, group => 'staff', level => 7 },
                { mask => '^127\\.0\\.0\\.3$', accept => 0 },
                { net => '127.0.0.0/30', accept => 1 } ] }""")
            file.flush()
            with self.server('--configfile', file.name, '--localport', '0') as server:
                with server.client(source='127.0.0.2') as client:
                    client.send(b'client group\nclient level\nclient none\n')
                    client.expect(b'1 staff\n1 7\n1 -\n')
                with server.client(source='127.0.0.3') as client:
                    client.expect_gone()
                with server.client(source='127.0.0.1') as client:
                    client.send(b'client group\n').expect(b'3 -\n')
                with server.client(source='127.0.0.4') as client:
                    client.expect_gone()
                server.wait_for_log(r'err, .*\(127.0.0.3:\d+\): access not permitted: .*rule 2')
                server.wait_for_log(r'err, .*\(127.0.0.4:\d+\): access not permitted')
                self.assertIn(b'refused=2 ', server.talk(b'stats\n'))

    def test_connections_are_numbered(self):
        with self.server() as server:
            ids = [int(server.talk(b'id\n')) for _ in range(8)]
            if not self.prefork:
                self.assertEqual(ids, list(range(1, 9)))
            self.assertTrue(all(number >= 1 for number in ids))

    def test_options_and_data(self):
        with self.server('--drain-timeout', '7') as server:
            mode = self.basic.encode()
            self.assertEqual(server.talk(b'option mode\noption drain-timeout\noption nonsense\n'
                                         b'option refuse\ndata\n'),
                             mode + b' 0\n7 7\n- 0\n0 0\nopen set 1, server data\n')

    def test_stats(self):
        with self.server() as server:
            for _ in range(3):
                server.talk(b'fail 5\n')
            with server.client() as client:
                def counted():
                    client.send(b'stats\n')
                    return client.expect_line(r'active=1 accepted=(\d+) refused=0 failed=3 '
                                              r'log_drops=0|.*').group(1)
                self.assertEqual(wait_until('only one is active', counted), '4')


load_tests = every_mode(Reading, Writing, Waiting, Knowing)

if __name__ == '__main__':
    unittest.main()
