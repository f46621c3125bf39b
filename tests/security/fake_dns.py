"""fake_dns.py - a network of our own with a name server that answers as a test wants it: honest,
lying, late, never, too much or garbage.

    enter()                     # once: this process leaves the machine's network and mounts
    dns = FakeDns()             # on 127.0.0.1:53 there
    dns.ptr['127.0.0.10'] = ['good.example.org']
    dns.hosts['good.example.org'] = ['127.0.0.10']
    dns.asked                   # the questions so far: [('ptr', '127.0.0.10'), ...]

Happy path: enter() makes a network namespace with nothing but loopback and a mount namespace in
which /etc/resolv.conf, nsswitch.conf and hosts are ours; servers started afterwards live in both.
Failure modes: enter() raises OSError where that is not allowed. What the fake server is asked and
does not know is "no such name".
"""
import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
import tempfile
import threading

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
A, CNAME, PTR, AAAA = 1, 5, 12, 28
TRUNCATED, OK, FAILED, NO_NAME = 0x0200, 0, 2, 3
UDP_MAX = 512

_folder = tempfile.TemporaryDirectory(prefix='netd-dns-')


def _call(name, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f'{name}: {os.strerror(code)}')


def _cover(path, text):
    """Put a file of ours over a file of the system's, for us alone."""
    ours = os.path.join(_folder.name, os.path.basename(path))
    with open(ours, 'w', encoding='ascii') as file:
        file.write(text)
    os.chmod(_folder.name, 0o755)
    _call('mount', ours.encode(), path.encode(), None, ctypes.c_ulong(MS_BIND), None)


def enter():
    _call('unshare', CLONE_NEWNET | CLONE_NEWNS)
    _call('mount', b'none', b'/', None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', IFF_UP))
    _cover('/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: dns\nservices: files\n')
    _cover('/etc/hosts', '')
    _cover('/etc/resolv.conf', '')
    if os.path.isdir('/run/nscd'):
        _call('mount', b'none', b'/run/nscd', b'tmpfs', ctypes.c_ulong(0), None)
    use_server('127.0.0.1')


def use_server(address):
    """Whom programs started from now on ask. One try, as long as it takes: it is the server under
    test that must not wait."""
    with open('/etc/resolv.conf', 'w', encoding='ascii') as file:
        file.write(f'nameserver {address}\noptions timeout:30 attempts:1\n')


def _name(labels):
    """On the wire; labels are parted by dots, or given as a list of bytes: anything at all."""
    if isinstance(labels, str):
        labels = labels.encode().split(b'.')
    return b''.join(bytes([len(label)]) + label for label in labels) + b'\0'


def _record(kind, data):
    return b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 0, len(data)) + data


def _peer(question):
    """The address that a name below in-addr.arpa or ip6.arpa stands for; None: neither."""
    parts = question.split('.')
    if question.endswith('.in-addr.arpa'):
        return '.'.join(reversed(parts[:4]))
    if question.endswith('.ip6.arpa'):
        digits = ''.join(reversed(parts[:32]))
        return str(ipaddress.IPv6Address(int(digits, 16)))
    return None


class FakeDns:
    def __init__(self):
        self.asked = []
        self.ptr = {}       # address: names
        self.hosts = {}     # name: addresses
        self.aliases = {}   # name: the name that it is an alias of
        self.delays = {}    # address or name: seconds before the answer; None: never
        self.failing = set()  # address or name: "server failed"
        self.raw = {}       # address or name: the bytes after the header of the answer
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(('127.0.0.1', 53))
        self.tcp = socket.create_server(('127.0.0.1', 53))
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _serve_udp(self):
        while True:
            query, client = self.udp.recvfrom(65535)
            self._later(query, lambda reply, client=client: self.udp.sendto(
                reply if len(reply) <= UDP_MAX else self._cut(reply), client))

    def _serve_tcp(self):
        while True:
            sock, _ = self.tcp.accept()
            query = sock.recv(65535)[2:]
            self._later(query, lambda reply, sock=sock: (
                sock.sendall(struct.pack('!H', len(reply)) + reply), sock.close()))

    @staticmethod
    def _cut(reply):
        """Too much for a datagram: ask again by TCP."""
        number, flags = struct.unpack('!HH', reply[:4])
        end = reply.index(b'\0', 12) + 5
        return struct.pack('!HHHHHH', number, flags | TRUNCATED, 1, 0, 0, 0) + reply[12:end]

    @staticmethod
    def _parse(query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]])
            at += 1 + query[at]
        kind, = struct.unpack('!H', query[at + 1:at + 3])
        return b'.'.join(labels).decode('latin-1').lower(), kind, query[12:at + 5]

    def _later(self, query, send):
        name, kind, question = self._parse(query)
        subject = _peer(name) or name
        self.asked.append(('ptr' if kind == PTR else 'name', subject))
        delay = self.delays.get(subject, 0)
        if delay is None:
            return
        reply = self._reply(query[:2], subject, kind, question)
        if delay:
            threading.Timer(delay, send, [reply]).start()
        else:
            send(reply)

    def _records(self, subject, kind):
        """Answers, or None for a name that does not exist."""
        if kind == PTR:
            return [_record(PTR, _name(name)) for name in self.ptr.get(subject, [])] or None
        if subject not in self.hosts:
            return None
        family = socket.AF_INET if kind == A else socket.AF_INET6
        wanted = [text for text in self.hosts[subject] if (':' in text) == (kind == AAAA)]
        records = [_record(kind, socket.inet_pton(family, text)) for text in wanted]
        if subject not in self.aliases:
            return records
        target = _name(self.aliases[subject])
        alias = _record(CNAME, target)
        return [alias] + [target + record[2:] for record in records]

    def _reply(self, number, subject, kind, question):
        if subject in self.raw:
            return number + struct.pack('!HHHHH', 0x8180, 1, 1, 0, 0) + question + self.raw[subject]
        records = self._records(subject, kind)
        code = FAILED if subject in self.failing else OK if records is not None else NO_NAME
        records = records or []
        return (number + struct.pack('!HHHHH', 0x8180 | code, 1, len(records), 0, 0) + question +
                b''.join(records))
