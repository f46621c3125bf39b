#!/usr/bin/env python3
"""Does each echo server do the same work? Partial lines, many at once, long ones, a client that is
slow to read, the end of input in the middle of a line, a reset.

    bench/check.py --build build [--servers a,b]

Exit status 1 when one of them fails; servers that are not there are named and left out.
"""

import argparse
import os
import socket
import struct
import sys
import threading

from servers import SERVERS, Running, converse, echoes

PATIENCE = 20  # seconds


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def receive(s, size):
    got = b""
    while len(got) < size:
        part = s.recv(min(65536, size - len(got)))
        if not part:
            break
        got += part
    return got


def partial_lines_wait_for_their_end(port):
    with connect(port) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (b"o", b"n", b"e\ntw"):
            s.sendall(part)
        assert receive(s, 4) == b"one\n"
        s.settimeout(0.2)
        try:
            assert False, s.recv(1)
        except TimeoutError:
            pass
        s.settimeout(PATIENCE)
        s.sendall(b"o\nthree\n")
        assert receive(s, 10) == b"two\nthree\n"


def empty_lines_count(port):
    assert converse(port, b"\n\n\nx\n\n") == b"\n\n\nx\n\n"


def long_lines_come_back(port):
    for size in (4095, 4096, 4097, 16383, 16384, 16385, 65535):
        line = bytes(97 + i % 26 for i in range(size)) + b"\n"
        assert converse(port, line + b"after\n") == line + b"after\n", size


def many_lines_keep_their_order(port):
    text = b"".join(b"%d %s\n" % (i, b"x" * (i % 200)) for i in range(5000))
    with connect(port) as s:
        sender = threading.Thread(target=s.sendall, args=(text,))
        sender.start()
        assert receive(s, len(text)) == text
        sender.join()


def a_slow_reader_gets_all(port):
    text = b"".join(b"%07d %s\n" % (i, b"y" * 55) for i in range(250000))  # 16 MB
    with connect(port) as s:
        def send():
            s.sendall(text)
            s.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        sender.join(0.5)  # by now nothing moves any more: all buffers are full
        assert receive(s, len(text) + 1) == text
        sender.join()


def an_unfinished_last_line_counts(port):
    assert converse(port, b"a\nb") == b"a\nb"


def clients_do_not_mix(port):
    clients = [connect(port) for _ in range(50)]
    for turn in range(20):
        for i, s in enumerate(clients):
            s.sendall(b"%d of %d\n" % (turn, i) * (1 + i % 5))
        for i, s in enumerate(clients):
            wanted = b"%d of %d\n" % (turn, i) * (1 + i % 5)
            assert receive(s, len(wanted)) == wanted
    for s in clients:
        s.close()


def resets_do_no_harm(port):
    for text in (b"", b"part", b"whole\n", b"z" * 60000 + b"\n"):
        for _ in range(20):
            s = connect(port)
            s.sendall(text)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
    assert echoes(port)


ALONE = [partial_lines_wait_for_their_end, empty_lines_count, long_lines_come_back,
         many_lines_keep_their_order, a_slow_reader_gets_all, an_unfinished_last_line_counts,
         resets_do_no_harm]
TOGETHER = [clients_do_not_mix]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--servers", help="names, parted by commas; default: all")
    args = parser.parse_args()
    build, failed = os.path.abspath(args.build), 0
    names = args.servers.split(",") if args.servers else SERVERS
    for name in names:
        server = SERVERS[name]
        if server.http or server.starts or server.only and "pingpong" not in server.only:
            continue
        if server.missing(build):
            print(f"{name}: not there: {server.missing(build)}")
            continue
        for test in ALONE + (TOGETHER if (server.at_once or 99) >= 50 else []):
            try:
                with Running(server, build, "pingpong", None) as running:
                    test(running.port)
            except (AssertionError, OSError, RuntimeError) as e:
                failed += 1
                print(f"{name}: {test.__name__}: FAILED: {type(e).__name__} {str(e)[:300]}")
        print(f"{name}: done")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
