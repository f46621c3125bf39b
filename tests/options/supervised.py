"""Options that supervisors give: part of test_options.py. In every mode: tests/modes."""
import os

from netd import wait_until


class OfSupervision:
    def test_notify_fd(self):
        reader, writer = os.pipe()
        with os.fdopen(reader, 'rb') as pipe:
            config = self.file('notify.yaml', f'notify-fd: {writer}\n')
            server = self.server('--configfile', config, '--bind', 'tcp:127.0.0.1:0',
                                 pass_fds=(writer,))
            server.start(wait=False)
            os.close(writer)
            with server:
                self.assertEqual(pipe.read(), b'\n')
                server.wait_for_log('listening on ')

    def test_print_address(self):
        with self.server('--print-address', '--bind', 'tcp:127.0.0.1:0') as server:
            address = server.address.encode() + b'\n'
            wait_until('it is printed', lambda: len(server.output) >= len(address))
            self.assertEqual(server.output, address)
        with self.server('--noprint-address', '--bind', 'tcp:127.0.0.1:0') as server:
            server.talk(b'echo hello\n')
        self.assertEqual(server.output, b'')

    def test_a_reader_who_does_not_read_holds_up_nothing(self):
        reader, writer = os.pipe()
        with os.fdopen(reader, 'rb'), os.fdopen(writer, 'wb', buffering=0) as full:
            os.set_blocking(writer, False)
            while full.write(b'x' * 4096):
                pass
            os.set_blocking(writer, True)
            with self.server('--notify-fd', str(writer), '--print-address', '--bind',
                             'tcp:127.0.0.1:0', pass_fds=(writer,), wrapper=[
                                 'bash', '-c', f'exec "$0" "$@" >&{writer}']) as server:
                self.assertEqual(server.talk(b'echo hello\n'), b'hello\n')
                server.wait_for_log('cannot print the address: Resource temporarily unavailable')
                server.wait_for_log('--notify-fd .*: Resource temporarily unavailable')
