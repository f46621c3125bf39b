"""supervisor.py - what stands above a server in a test: who hands it sockets, and who listens to it.

    with Manager() as manager, Server(..., **handed(sock, names='web'), env=manager.env):
        manager.wait_for('READY=1')
"""
import os
import socket
import sys
import tempfile
import time

from netd import PATIENCE, Failure

# Puts the descriptors at 3, 4, ... and becomes the server: the process that LISTEN_PID names.
LAUNCH = '''
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(',') if fd]
os.closerange(3, 100)
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
os.closerange(100, 200)
for name in ('LISTEN_PID', 'WATCHDOG_PID'):
    if os.environ.get(name) == 'me':
        os.environ[name] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
'''


def handed(*files, pid='me', count=None, names=None, variables=True, env=None):
    """Arguments of netd.Server that hand these sockets down, from descriptor 3 on."""
    env = dict(env or {})
    if variables:
        env.update(LISTEN_PID=str(pid), LISTEN_FDS=str(len(files) if count is None else count))
    if names is not None:
        env['LISTEN_FDNAMES'] = names
    fds = [file if isinstance(file, int) else file.fileno() for file in files]
    return {'wrapper': [sys.executable, '-c', LAUNCH, ','.join(map(str, fds))],
            'pass_fds': tuple(fds), 'env': env}


def listening(family=socket.AF_INET, address=('127.0.0.1', 0)):
    """A socket as a supervisor makes it."""
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(64)
    return sock


def text_of(sock):
    """As the server writes its address."""
    name = sock.getsockname()
    return f'unix:{name}' if isinstance(name, str) else f'tcp:{name[0]}:{name[1]}'


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, watchdog_ms=None, abstract=False, watchdog_pid='me'):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if abstract:
            name = f'netdaemon-test-{os.getpid()}-{id(self)}'
            self.sock.bind('\0' + name)
            self.env = {'NOTIFY_SOCKET': '@' + name}
        else:
            path = os.path.join(self.folder.name, 'notify')
            self.sock.bind(path)
            os.chmod(path, 0o777)
            self.env = {'NOTIFY_SOCKET': path}
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if watchdog_ms:
            self.env['WATCHDOG_USEC'] = str(watchdog_ms * 1000)
            if watchdog_pid:
                self.env['WATCHDOG_PID'] = str(watchdog_pid)
        self.heard = []  # (sender, [lines])

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.sock.close()
        self.folder.cleanup()

    def hear(self, timeout):
        """The lines of the next message; None: none came."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data, ancillary, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(12))
        except socket.timeout:
            return None
        sender = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        lines = data.decode('ascii').rstrip('\n').split('\n')
        self.heard.append((sender, lines))
        return lines

    def wait_for(self, wanted, timeout=PATIENCE):
        """The next message that has this line, or a line that begins with it; returns its lines
        as a dict, with the sender's number under 'sender'."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            lines = self.hear(end - time.monotonic())
            if lines and any(line.startswith(wanted) for line in lines):
                found = dict(line.split('=', 1) for line in lines)
                return {**found, 'sender': self.heard[-1][0]}
        raise Failure(f'the manager did not hear {wanted!r}; it heard {self.heard[-20:]}')

    def empty(self):
        """Forget what has come."""
        while self.hear(0) is not None:
            pass

    def silent_for(self, seconds):
        """True when nothing comes for so long."""
        return self.hear(seconds) is None
