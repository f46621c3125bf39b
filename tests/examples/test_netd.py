"""test_netd.py - the test library itself: it fails when a server misbehaves, and leaves nothing."""
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import netd

# A server in a few lines: each client is answered by what MORE does with c.
SERVER = '''
import os, signal, socket, sys, time
s = socket.create_server(('127.0.0.1', 0))
signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
PREPARE
print('listening on tcp:127.0.0.1:%d' % s.getsockname()[1], file=sys.stderr, flush=True)
while True:
    c, _ = s.accept()
    ANSWER
    c.close()
'''


class Library(unittest.TestCase):
    def script(self, source):
        handle, path = tempfile.mkstemp('.py')
        self.addCleanup(os.unlink, path)
        with os.fdopen(handle, 'w') as file:
            file.write(source)
        return path

    def server(self, prepare='', answer='c.sendall(c.recv(1000))', patience=10):
        path = self.script(SERVER.replace('PREPARE', prepare).replace('ANSWER', answer))
        server = netd.Server(sys.executable, path, standard=False, patience=patience)
        self.addCleanup(server.kill)
        return server.start()

    def fails(self, words, call, *args, **more):
        with self.assertRaises(netd.Failure) as caught:
            call(*args, **more)
        self.assertIn(words, str(caught.exception))

    def test_it_starts_talks_and_stops(self):
        server = self.server()
        pid = server.pid
        self.assertEqual(server.address, f'tcp:127.0.0.1:{server.port}')
        self.assertEqual(server.talk(b'hello'), b'hello')
        self.assertEqual((server.pids(), server.thread_count()), ([pid], 1))
        self.assertEqual(server.fd_count(), 4)
        self.assertEqual(netd.status(pid)['Pid'], str(pid))
        self.assertEqual(server.stop(), 0)
        self.assertFalse(netd.alive(pid))

    def test_what_never_listens_is_an_error_and_ends(self):
        for source, words, patience in (('import time; time.sleep(60)', 'in time', 1),
                                        ('raise SystemExit("no luck")', 'no luck', 30)):
            server = netd.Server(sys.executable, self.script(source), standard=False,
                                 patience=patience)
            self.fails(words, server.start)
            self.assertIsNone(server.process)

    def test_a_wrong_exit_status_is_an_error(self):
        server = self.server('signal.signal(signal.SIGTERM, lambda *a: os._exit(3))')
        self.fails('exit status 3', server.stop)
        server = self.server('signal.signal(signal.SIGTERM, signal.SIG_DFL)')
        self.fails('exit status -15', server.stop)

    def test_a_server_that_does_not_stop_is_killed(self):
        server = self.server('signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()')
        pids = server.pids()
        self.assertEqual(len(pids), 2)
        self.fails('did not end', server.stop, timeout=0.5)
        self.assertEqual([pid for pid in pids if netd.alive(pid)], [])

    def test_a_process_left_behind_is_an_error_and_is_killed(self):
        server = self.server('if os.fork() == 0:\n    os.fork()\n    time.sleep(60)')
        pids = netd.wait_until('three processes', lambda: len(server.pids()) == 3 and server.pids())
        self.fails('processes are gone', server.stop, timeout=3)
        self.assertEqual([pid for pid in pids if netd.alive(pid)], [])

    def test_a_sanitizer_report_is_an_error(self):
        server = self.server("print('x.c:3:5: runtime error: shift', file=sys.stderr, flush=True)")
        self.fails('sanitizer', server.stop)

    def test_a_log_line_is_awaited_and_missed(self):
        server = self.server(answer="print('got one', file=sys.stderr, flush=True)")
        self.fails('got two', server.wait_for_log, 'got two', timeout=0.2)
        server.talk()
        self.assertEqual(server.wait_for_log('got (one)').group(1), 'one')
        self.fails('x 2', server.wait_for_log, 'got one', timeout=0.2, count=2)
        server.talk()
        server.wait_for_log('got one', count=2)
        self.assertEqual(server.log_count('got one'), 2)
        server.stop()

    def test_a_missing_log_line_is_noticed_when_the_server_is_gone(self):
        server = self.server(answer='os._exit(0)', patience=30)
        server.talk()
        began = time.monotonic()
        self.fails('before its end', server.wait_for_log, 'never')
        self.assertLess(time.monotonic() - began, 20)

    def test_conversations_fail_when_the_answer_is_another_or_none(self):
        server = self.server()
        with server.client() as client:
            self.fails('expected', client.send(b'one').expect, b'two')
        with server.client(timeout=0.2) as client:
            self.fails('no answer in time', client.read_all)
        server.kill()
        server = self.server(answer="c.sendall(b'a 1\\nb\\nc')")
        with server.client() as client:
            self.assertEqual(client.expect_line(r'a (\d)').group(1), '1')
            self.fails('expected a line', client.expect_line, 'x')
            self.assertEqual((client.line(), client.line()), (b'c', b''))
        with server.client() as client:
            self.fails('expected the end', client.expect_end)
        with server.client() as client:
            self.fails('end of input', client.read, 100)

    def test_nothing_outlives_a_test_program_that_is_terminated(self):
        program = self.script(textwrap.dedent(f'''\
            import sys
            sys.path.insert(0, {os.path.dirname(netd.__file__)!r})
            import netd
            server = netd.Server(sys.executable, {self.script(SERVER.replace('PREPARE', '')
                                                 .replace('ANSWER', 'pass'))!r}, standard=False)
            print(server.start().pid, flush=True)
            server.wait()
            '''))
        for signum in (signal.SIGTERM, signal.SIGINT):
            with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as test:
                pid = int(test.stdout.readline())
                self.assertTrue(netd.alive(pid))
                test.send_signal(signum)
                test.wait(10)
            self.assertFalse(netd.alive(pid))


if __name__ == '__main__':
    unittest.main()
