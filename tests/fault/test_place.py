"""test_place.py - odd surroundings: clocks that jump, nothing writable, no /proc."""
import glob
import os
import re
import signal
import tempfile
import time
import unittest

from faults import SANITIZED, InModes, folder, in_modes, own_mounts
from netd import program

DAY = 86400
LIBRARIES = os.environ.get('LIBRARIES', program('../../src'))
FAKETIME = '/usr/lib/*/faketime/libfaketimeMT.so.1'
STAMP = re.compile(r'\w{3} (\w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}) ')


class Clocks(InModes):
    """CLOCK_REALTIME jumps by a day, there and back; the monotonic clock goes on."""
    modes = ('single', 'fork', 'threads', 'childs-threads')

    def setUp(self):
        library = glob.glob(FAKETIME)
        if SANITIZED:
            self.skipTest('the sanitizers want to be loaded before any other library')
        if not library:
            self.skipTest('libfaketime is not installed')
        self.control = tempfile.NamedTemporaryFile('w+')
        self.addCleanup(self.control.close)
        self.jump(0)
        self.env = {'LD_PRELOAD': library[0], 'FAKETIME_TIMESTAMP_FILE': self.control.name,
                    'FAKETIME_NO_CACHE': '1', 'FAKETIME_DONT_FAKE_MONOTONIC': '1', 'TZ': 'UTC'}

    def jump(self, seconds):
        self.control.seek(0)
        self.control.write(f'{seconds:+d}s    \n')
        self.control.flush()

    @staticmethod
    def stamp(line):
        """When that line says it was written, from now, in seconds."""
        text = STAMP.match(line).group(1)
        return time.mktime(time.strptime(text, '%b %d %H:%M:%S %Y')) - time.timezone - time.time()

    def turns_keep_their_pace(self, server):
        """Ten turns of the loop take as long as ten periods."""
        count = server.log_count('loop in') + 1
        server.wait_for_log('loop in', count=count)
        begin = time.monotonic()
        server.wait_for_log('loop in', count=count + 10)
        self.assertGreater(time.monotonic() - begin, 0.2)  # we may have begun late; a burst is 0
        self.assertLess(time.monotonic() - begin, 3)

    def deadlines_hold(self, client):
        begin = time.monotonic()
        client.send(b'deadline 200\n').expect_line('.*error ETIMEDOUT')
        self.assertGreater(time.monotonic() - begin, 0.19)
        self.assertLess(time.monotonic() - begin, 3)

    def test_the_clock_on_the_wall_is_for_log_lines_only(self):
        with self.server('--loop-timeout', '0.05', env=self.env) as server:
            for step, offset in enumerate((0, DAY, -DAY, 0)):
                self.jump(offset)
                self.turns_keep_their_pace(server)
                with server.client() as client:
                    self.deadlines_hold(client)
                    client.send(b'log step %d\n' % step).expect(b'ok 0\n')
                    line = server.wait_for_log(f': step {step}$').string
                    self.assertAlmostEqual(self.stamp(line), offset, delta=60)
            with server.client() as client:
                client.send(b'echo here\n').expect(b'here\n')
                server.signal(signal.SIGTERM)
                server.wait_for_log('SIGTERM: no new connections')
                self.jump(DAY)  # the time for the drain is not over
                client.send(b'sleep 100\necho after\n').expect_line(r'ok \d+')
                client.expect(b'after\n').shutdown().expect_end()
                server.wait()


class Bare(InModes):
    def serves(self, wrapper):
        # Without /proc no program finds its library beside itself.
        with self.server(wrapper=wrapper, env={'LD_LIBRARY_PATH': LIBRARIES}) as server:
            for number in range(5):
                self.assertEqual(server.talk(b'echo %d\nlog x\n' % number), b'%d\nok 0\n' % number)
            server.wait_for_log('server x')

    def setUp(self):
        if SANITIZED and 'proc' in self.id():
            self.skipTest('the sanitizers read /proc')

    def test_without_proc(self):
        self.serves(own_mounts('mount -t tmpfs -o size=4k,mode=000 none /proc'))

    def test_with_nothing_writable(self):
        self.serves(own_mounts('mount -o remount,bind,ro /'))

    def test_with_nothing_writable_and_without_proc(self):
        self.serves(own_mounts('mount -t tmpfs -o size=4k,mode=000 none /proc\n'
                               'mount -o remount,bind,ro /'))

    def test_a_socket_or_log_that_cannot_be_made_is_named(self):
        with folder() as place:
            for option, path in (('--localpath', f'{place}/socket'), ('--logfile', f'{place}/log'),
                                 ('--pidfile', f'{place}/pid')):
                server = self.server('--localport', '0', option, path, wrapper=own_mounts(
                    'mount -o remount,bind,ro /'))
                server.start(wait=False)
                server.wait_for_log(f'conform: .*{re.escape(path)}.*Read-only file system')
                server.wait(status=1)
                self.assertEqual(os.listdir(place), [])


load_tests = in_modes(Clocks, Bare)

if __name__ == '__main__':
    unittest.main()
