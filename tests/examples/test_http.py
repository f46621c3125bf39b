"""test_http.py - the web server of the examples: what it answers, what it refuses, how long it
waits; with sockets, byte for byte, and with curl."""
import calendar
import os
import re
import shutil
import signal
import socket
import time
import unittest

import netd
from modes import InEveryMode, every_mode

PAGE = b'Hello, world!\n'
GET = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
DATE = r'(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) (\w{3}) (\d{4}) (\d\d:\d\d:\d\d) GMT'


class Answer:
    """One answer, read from a netd.Client as a browser would."""

    def __init__(self, client, head=False):
        line = client.line().decode()
        match = re.fullmatch(r'HTTP/1\.1 (\d{3}) [\w ]+\r\n', line)
        if not match:
            raise netd.Failure(f'expected a status line, got {line!r}')
        self.status, self.fields = int(match[1]), {}
        while (line := client.line().decode()) != '\r\n':
            name, value = re.fullmatch(r'([\w-]+): (.*)\r\n', line).groups()
            if name in self.fields:
                raise netd.Failure(f'{name} twice')
            self.fields[name] = value
        none = head or self.status < 200 or self.status == 204
        self.body = b'' if none else client.read(int(self.fields['Content-Length']))

    @property
    def stays(self):
        return self.fields.get('Connection') != 'close'


class Http(InEveryMode):
    program = 'http_hello'

    def ask(self, server, request, status, head=False):
        """One request on a connection of its own; what is refused is the end of it."""
        with server.client() as client:
            answer = Answer(client.send(request), head)
            self.assertEqual(answer.status, status, request[:200])
            if status >= 400 and status not in (405, 501):
                self.assertEqual((answer.stays, answer.body), (False, b''))
            if not answer.stays:
                client.expect_end()
            return answer

    def pages(self, client, count):
        for _ in range(count):
            answer = Answer(client)
            self.assertEqual((answer.status, answer.body, answer.stays), (200, PAGE, True))


class Serving(Http):
    def test_the_page_with_its_fields(self):
        with self.server() as server:
            answer = self.ask(server, GET, 200)
            self.assertEqual(answer.body, PAGE)
            self.assertEqual(set(answer.fields), {'Date', 'Content-Type', 'Content-Length'})
            for target in (b'/a/b?c=d&e[]=%2F%ff', b'/' + b'x' * 5000, b'http://x/', b'HTTP://x',
                           b'https://[::1]:80/?'):
                request = b'GET ' + target + b' HTTP/1.1\r\nHost: x\r\n\r\n'
                self.assertEqual(self.ask(server, request, 200).body, PAGE)

    def test_the_page_is_an_option(self):
        with self.server('--body', 'Grüße') as server:
            answer = self.ask(server, GET, 200)
            self.assertEqual(answer.body.decode(), 'Grüße')
            self.assertEqual(answer.fields['Content-Length'], '7')
        with self.server('--body', '') as server:
            self.assertEqual(self.ask(server, GET, 200).body, b'')

    def test_head_has_the_fields_and_no_body(self):
        with self.server() as server, server.client() as client:
            client.send(GET.replace(b'GET', b'HEAD') + GET)
            head, get = Answer(client, head=True), Answer(client)
            self.assertEqual(head.fields['Content-Length'], str(len(PAGE)))
            self.assertEqual((get.status, get.body), (200, PAGE))

    def test_other_methods_and_the_connection_stays(self):
        with self.server() as server, server.client() as client:
            for method, status in (('OPTIONS', 204), ('POST', 405), ('PUT', 405), ('DELETE', 405),
                                   ('PATCH', 405), ('TRACE', 405), ('BREW', 501), ('get', 501),
                                   ("!#$%&'*+-.^_`|~9", 501)):
                client.send(f'{method} / HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
                answer = Answer(client)
                self.assertEqual((answer.status, answer.stays), (status, True), method)
                if status in (204, 405):
                    self.assertEqual(answer.fields['Allow'], 'GET, HEAD, OPTIONS')
                self.assertEqual('Content-Length' in answer.fields, status != 204)
            client.send(b'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertEqual(Answer(client).status, 204)
            client.send(b'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n' + GET)
            answer = Answer(client)
            self.assertEqual((answer.status, answer.stays), (405, False))
            client.expect_end()

    def test_it_stays_as_long_as_the_client_wants(self):
        with self.server() as server:
            for version, field, stays in (
                    ('1.1', '', True), ('1.1', 'Connection: close', False),
                    ('1.1', 'Connection: Foo ,, CLOSE', False), ('1.1', 'Connection:', True),
                    ('1.1', 'Connection: keep-alive\r\nconnection:close', False),
                    ('1.1', 'Connection: closed', True), ('1.2', '', True), ('1.0', '', False),
                    ('1.0', 'Connection: keep-alive', True),
                    ('1.0', 'Connection: Keep-Alive, close', False)):
                with server.client() as client:
                    client.send(f'GET / HTTP/{version}\r\nHost: x\r\n'.encode())
                    answer = Answer(client.send(field.encode() + b'\r\n\r\n'[2 * (not field):]))
                    self.assertEqual((answer.status, answer.stays), (200, stays), (version, field))
                    if version == '1.0' and stays:
                        self.assertEqual(answer.fields['Connection'], 'keep-alive')
                    if stays:
                        client.send(GET)
                        self.pages(client, 1)
                    else:
                        client.expect_end()

    def test_http_1_0_needs_no_host(self):
        with self.server() as server:
            self.assertEqual(self.ask(server, b'GET / HTTP/1.0\r\n\r\n', 200).body, PAGE)

    def test_a_hundred_requests_in_one_segment_are_answered_in_order(self):
        methods = [('GET', 200), ('HEAD', 200), ('OPTIONS', 204), ('POST', 405), ('X', 501)] * 20
        with self.server() as server, server.client() as client:
            client.send(b''.join(f'{method} / HTTP/1.1\r\nHost: x\r\n\r\n'.encode()
                                 for method, _ in methods))
            for method, status in methods:
                self.assertEqual(Answer(client, method == 'HEAD').status, status)
            client.send(GET)
            self.pages(client, 1)

    def test_byte_by_byte(self):
        request = (GET + b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
                   b'3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n' + GET)
        with self.server() as server, server.client() as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(request)):
                client.send(request[at:at + 1])
            self.pages(client, 1)
            self.assertEqual(Answer(client).status, 405)
            self.pages(client, 1)

    def test_big_answers_for_a_client_that_reads_late(self):
        page = 'x' * 100000
        with self.server('--body', page) as server, server.client() as client:
            client.send(GET * 100)
            server.client().close()  # the server goes on meanwhile, unless it is single
            for _ in range(100):
                self.assertEqual(Answer(client).body, page.encode())

    def test_many_clients_at_a_time(self):
        with self.server() as server:
            clients = [server.client() for _ in range(1 if self.serial else 50)]
            for _ in range(3):
                for client in clients:
                    client.send(GET * 2)
                for client in reversed(clients):
                    self.pages(client, 2)
            for client in clients:
                client.close()

    def test_the_date_is_that_of_the_answer(self):
        dates = []
        with self.server() as server, server.client() as client:
            while len(set(dates)) < 3:
                before = int(time.time())
                text = Answer(client.send(GET)).fields['Date']
                self.assertRegex(text, f'^{DATE}$')
                date = calendar.timegm(time.strptime(text, '%a, %d %b %Y %H:%M:%S GMT'))
                # time(2) may be a tick behind the clock that Python asks
                self.assertTrue(before - 1 <= date <= time.time(), text)
                self.assertEqual(text[:3], time.strftime('%a', time.gmtime(date)))
                dates.append(date)
        self.assertEqual(dates, sorted(dates))

    def test_a_server_that_stops_says_so(self):
        with self.server('--drain-timeout', '20') as server, server.client() as client:
            client.send(GET)
            self.pages(client, 1)
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM')
            answer = Answer(client.send(GET))
            while answer.stays:  # a worker hears of it a moment later than its master
                answer = Answer(client.send(GET))
            self.assertEqual(answer.status, 200)
            client.expect_end()
            server.wait()

    @unittest.skipUnless(shutil.which('curl'), 'needs curl')
    def test_curl(self):
        def curl(*args):
            result = netd.run('curl', '-sS', *args)
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            return result.stdout
        with self.server() as server:
            url = f'http://127.0.0.1:{server.port}/'
            self.assertEqual(curl(url), PAGE.decode())
            self.assertEqual(curl('-0', url), PAGE.decode())
            self.assertTrue(curl('-I', url).startswith('HTTP/1.1 200 OK\n'))
            self.assertEqual(curl('-w', '%{num_connects} ', url, url, url),
                             f'{PAGE.decode()}1 {PAGE.decode()}0 {PAGE.decode()}0 ')
            status = ('-o', os.devnull, '-w', '%{http_code}')
            self.assertEqual(curl(*status, '-d', 'a=b', url), '405')
            self.assertEqual(curl(*status, '-T', __file__, url), '405')
            self.assertEqual(curl(*status, '-H', 'Transfer-Encoding: chunked', '-T', __file__, url),
                             '405')
            self.assertEqual(curl(*status, '-H', 'Expect: 100-continue', '-d', 'x', url), '405')


class Refusing(Http):
    """Strict: each of these has been read in two ways by somebody."""

    LINES = [
        (b'GET  / HTTP/1.1', 400), (b'GET /  HTTP/1.1', 400), (b' GET / HTTP/1.1', 400),
        (b'GET / HTTP/1.1 ', 400), (b'GET\t/ HTTP/1.1', 400), (b'GET /\tHTTP/1.1', 400),
        (b'GET /', 400), (b'GET', 400), (b'GET ', 400), (b'/', 400), (b'GET / ', 400),
        (b'G(T / HTTP/1.1', 400), (b'G\0T / HTTP/1.1', 400), (b'G\xc3T / HTTP/1.1', 400),
        (b'GET /\0 HTTP/1.1', 400), (b'GET /\r HTTP/1.1', 400), (b'GET /\x7f HTTP/1.1', 400),
        (b'GET /a b HTTP/1.1', 400), (b'GET /a#b HTTP/1.1', 400),
        (b'GET /"<>\\^`{|} HTTP/1.1', 400),
        (b'GET /\xc3\xa4 HTTP/1.1', 400), (b'GET /% HTTP/1.1', 400), (b'GET /%2 HTTP/1.1', 400),
        (b'GET /%2g HTTP/1.1', 400), (b'GET x HTTP/1.1', 400), (b'GET * HTTP/1.1', 400),
        (b'OPTIONS ** HTTP/1.1', 400), (b'GET ?x HTTP/1.1', 400), (b'GET http:/// HTTP/1.1', 400),
        (b'GET http:// HTTP/1.1', 400), (b'GET ftp://x/ HTTP/1.1', 400),
        (b'CONNECT / HTTP/1.1', 400), (b'CONNECT x HTTP/1.1', 400),
        (b'CONNECT http://x:1/ HTTP/1.1', 400), (b'GET / http/1.1', 400), (b'GET / HTTP/1', 400),
        (b'GET / HTTP/1.', 400), (b'GET / HTTP/.1', 400), (b'GET / HTTP/1.10', 400),
        (b'GET / HTTP/11', 400), (b'GET / HTTP/1,1', 400), (b'GET / HTTP/x.1', 400),
        (b'GET / HTTP/1.1\0', 400), (b'GET / HTTP/1.1\r', 400), (b'GET / HTTP/2.0', 505),
        (b'GET / HTTP/0.9', 505), (b'PRI * HTTP/2.0', 505), (b'\x16\x03\x01\x02\x00\x01', 400),
    ]

    def test_request_lines(self):
        with self.server() as server:
            for line, status in self.LINES:
                self.ask(server, line + b'\r\nHost: x\r\n\r\n', status)
            self.ask(server, GET, 200)

    FIELDS = [
        (b'Host : x', 400), (b'Host: x\r\n y', 400), (b'Host: x\r\n\ty: z', 400),
        (b'Host: x\r\n \r\nA: b', 400), (b' Host: x', 400), (b'Host: x\r\n: y', 400),
        (b'Host: x\r\nA', 400), (b'Host: x\r\nA b: c', 400), (b'Host: x\r\nA\0: c', 400),
        (b'Host: x\r\nA(: c', 400), (b'Host: x\r\nA: b\0c', 400), (b'Host: x\r\nA: b\rc', 400),
        (b'Host: x\r\nA: b\r', 400), (b'Host: x\r\nA: b\x7f', 400), (b'Host: x\r\nA: \x1b[2J', 400),
        (b'Host: x\r\n\xc3\xa4: b', 400),
        (b'A: b', 400), (b'Host: x\r\nHost: x', 400), (b'Host: x\r\nhost: y', 400),
        (b'Host: x y', 400), (b'Host: x, y', 400), (b'Host: x/y', 400), (b'Host: a@x', 400),
        (b'Host: \xff', 400),
        (b'Host: x\r\nExpect: 200-ok', 417), (b'Host: x\r\nConnection: a b', 400),
        (b'Host: x\r\nConnection: close;x', 400),
    ]

    def test_fields(self):
        with self.server() as server:
            for fields, status in self.FIELDS:
                self.ask(server, b'GET / HTTP/1.1\r\n' + fields + b'\r\n\r\n', status)
            for fields in (b'Host:', b'Host:x', b'Host: \t x\t ', b'HOST: [::1]:80',
                           b'Host: x\r\nA:', b'Host: x\r\nA: \xff\xfe\tz', b'Host: x\r\n~!: y'):
                self.ask(server, b'GET / HTTP/1.1\r\n' + fields + b'\r\n\r\n', 200)

    def test_lines_that_end_otherwise(self):
        with self.server() as server:
            for request in (GET.replace(b'\r\n', b'\n'), b'GET / HTTP/1.1\nHost: x\r\n\r\n',
                            b'GET / HTTP/1.1\r\nHost: x\n\r\n', b'GET / HTTP/1.1\r\nHost: x\r\n\n',
                            b'GET / HTTP/1.1\r\nHost: x\r\n\r\r\n', b'\r\n\r\n' + GET, b'\n' + GET):
                self.ask(server, request, 400)
            self.ask(server, b'\r\n' + GET, 200)  # one is what some clients send

    def test_an_end_of_input_in_the_middle(self):
        with self.server() as server:
            for at in range(1, len(GET)):
                with server.client() as client:
                    client.send(GET[:at]).shutdown()
                    self.assertEqual(Answer(client).status, 400)
                    client.expect_end()
            self.assertEqual(server.talk(b''), b'')
            with server.client() as client:
                client.send(GET).shutdown()
                self.pages(client, 1)
                client.expect_end()

    def test_limits(self):
        def fields(count, size):
            many = (b'A: ' + b'b' * size + b'\r\n') * count
            return b'GET / HTTP/1.1\r\nHost: x\r\n' + many + b'\r\n'

        def target(size):
            return b'GET /' + b'x' * size + b' HTTP/1.1\r\nHost: x\r\n\r\n'
        with self.server() as server:
            self.ask(server, target(8192 - 16), 200)
            self.ask(server, target(8192 - 15), 414)
            self.ask(server, target(65536), 414)
            self.ask(server, target(200000), 414)
            self.ask(server, fields(1, 8192 - 5), 200)
            self.ask(server, fields(1, 8192 - 4), 431)
            self.ask(server, fields(1, 200000), 431)
            self.ask(server, fields(99, 1), 200)
            self.ask(server, fields(100, 1), 431)
            self.ask(server, fields(4, 4000), 200)
            self.ask(server, fields(5, 4000), 431)
            self.ask(server, b'A: b\r\n' * 1000, 400)

    def test_what_is_refused_is_not_read_on(self):
        with self.server() as server:
            for fields in (b'Content-Length: 5\r\nTransfer-Encoding: chunked',
                           b'Transfer-Encoding: chunked\r\nContent-Length: 0',
                           b'Content-Length: 0\r\nContent-Length: 40'):
                with server.client() as client:
                    client.send(b'POST / HTTP/1.1\r\nHost: x\r\n' + fields + b'\r\n\r\n0\r\n\r\n')
                    client.send(GET)
                    self.assertEqual(Answer(client).status, 400)
                    client.expect_end()


class Bodies(Http):
    @staticmethod
    def post(fields, body=b'', version=b'1.1'):
        return b'POST / HTTP/' + version + b'\r\nHost: x\r\n' + fields + b'\r\n\r\n' + body

    def test_a_body_is_thrown_away_and_the_next_request_found(self):
        big, chunk = b'GET / HTTP/1.1\r\n' * 60000, b'TRACE / HTTP/1.1\r\n\r\n'
        with self.server() as server, server.client() as client:
            for body in (
                    self.post(b'Content-Length: 0'),
                    self.post(b'Content-Length: 0000000000000000000000000000005', b'\r\n\r\nx'),
                    self.post(b'Content-Length: %d' % len(big), big),
                    self.post(b'Transfer-Encoding: chunked', b'0\r\n\r\n'),
                    self.post(b'Transfer-Encoding: CHUNKED',
                              b'%X ; ext="a b" ;c\r\n' % len(chunk) + chunk + b'\r\n'
                              b'00\r\nContent-Length: 9\r\nHost: y\r\n\r\n'),
                    self.post(b'transfer-encoding:chunked',
                              (b'%x\r\n' % len(big) + big + b'\r\n') + b'0;x\r\n\r\n')):
                client.send(body + GET)
                answer = Answer(client)
                self.assertEqual((answer.status, answer.stays), (405, True), body[:80])
                self.pages(client, 1)

    def test_a_get_may_have_one_too(self):
        with self.server() as server, server.client() as client:
            client.send(self.post(b'Content-Length: 3', b'abc').replace(b'POST', b'GET') + GET)
            self.pages(client, 2)

    def test_lengths_are_strict(self):
        with self.server() as server:
            for length in (b'', b'+1', b'-1', b'1,1', b'1, 1', b'0x1', b'1 1', b'1e1', b'1.0',
                           b'\xb2'):
                self.ask(server, self.post(b'Content-Length: ' + length, b'x'), 400)
            self.ask(server, self.post(b'Content-Length: 1\r\nContent-Length: 1', b'x'), 400)
            for length in (b'1048577', b'18446744073709551615', b'18446744073709551617',
                           b'9' * 400):
                self.ask(server, self.post(b'Content-Length: ' + length), 413)

    def test_codings_are_strict(self):
        with self.server() as server:
            for coding, status in (
                    (b'', 400), (b'identity', 400), (b'gzip', 400), (b'chunked, gzip', 400),
                    (b'xchunked', 400), (b'chunked;q=1', 400), (b'"chunked"', 400),
                    (b'\x0bchunked', 400),
                    (b'chunked\r\nTransfer-Encoding: chunked', 400), (b'gzip, chunked', 501),
                    (b'gzip,chunked', 501), (b'chunked, chunked', 501)):
                answer = self.ask(server, self.post(b'Transfer-Encoding: ' + coding), status)
                self.assertFalse(answer.stays)
            self.ask(server, self.post(b'Transfer-Encoding: chunked', b'0\r\n\r\n', b'1.0'), 400)

    def test_chunks_are_strict(self):
        with self.server() as server:
            for chunks in (b'\r\n', b'x\r\n', b'-1\r\n', b'+1\r\n', b'0x1\r\n', b' 1\r\n',
                           b'1 2\r\n', b'1\nx\r\n', b'1\r\nxy\r\n', b'1\r\nx\n',
                           b'1\r\nx0\r\n', b'1;\0\r\nx\r\n',
                           b'0\r\n x: y\r\n\r\n', b'0\r\nx\r\n\r\n', b'0\n\r\n', b'1\rx\r\n'):
                self.ask(server, self.post(b'Transfer-Encoding: chunked', chunks), 400)
            for size in (b'100001', b'ffffffffffffffff', b'1' + b'0' * 16, b'f' * 400):
                self.ask(server, self.post(b'Transfer-Encoding: chunked', size + b'\r\n'), 413)
            self.ask(server, self.post(b'Transfer-Encoding: chunked', b'1\r\nx\r\n' * 180000), 413)
            self.ask(server, self.post(b'Transfer-Encoding: chunked',
                                       b'0\r\n' + b'A: b\r\n' * 200 + b'\r\n'), 431)

    def test_a_body_that_is_cut_off(self):
        with self.server() as server:
            for request in (self.post(b'Content-Length: 5', b'1234'),
                            self.post(b'Transfer-Encoding: chunked', b'5\r\n1234'),
                            self.post(b'Transfer-Encoding: chunked', b'5\r\n12345'),
                            self.post(b'Transfer-Encoding: chunked', b'0\r\n')):
                with server.client() as client:
                    client.send(request).shutdown()
                    self.assertEqual(Answer(client).status, 400)
                    client.expect_end()

    def test_the_limit_is_an_option(self):
        with self.server('--max-body', '10') as server:
            self.ask(server, self.post(b'Content-Length: 10', b'x' * 10), 405)
            with server.client() as client:  # it sends all before it reads: nothing may break
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
                client.send(self.post(b'Content-Length: 900000', b'x' * 900000))
                self.assertEqual(Answer(client).status, 413)
                client.expect_end()
            self.ask(server, self.post(b'Transfer-Encoding: chunked', b'b\r\n' + b'x' * 11), 413)
        with self.server('--max-body', '0') as server:
            self.ask(server, self.post(b'Content-Length: 1', b'x'), 413)
            self.ask(server, GET, 200)

    def test_who_asks_before_sending_is_told_to_go_on(self):
        with self.server() as server:
            with server.client() as client:
                for fields, body in ((b'Content-Length: 3\r\nExpect: 100-Continue', b'abc'),
                                     (b'Transfer-Encoding: chunked\r\nExpect: 100-continue',
                                      b'1\r\nx\r\n0\r\n\r\n')):
                    client.send(self.post(fields))
                    self.assertEqual(Answer(client).status, 100)
                    self.assertEqual(Answer(client.send(body)).status, 405)
                client.send(self.post(b'Expect: 100-continue'))  # has none: nothing to wait for
                self.assertEqual(Answer(client).status, 405)
            self.ask(server, self.post(b'Content-Length: 9999999\r\nExpect: 100-continue'), 413)
            old = self.post(b'Content-Length: 1\r\nExpect: 100-continue', b'x', b'1.0')
            self.ask(server, old, 405)


class Waiting(Http):
    def test_who_is_slow_is_told_who_is_idle_is_not(self):
        post = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n1234'
        with self.server('--idle-time', '1', '--request-time', '1') as server:
            clients = [(server.client(), start) for start in (b'', GET, b'G', GET[:-2], post)]
            for client, start in clients:
                client.send(start)
                if start == GET:
                    self.pages(client, 1)
            for client, start in clients:
                if start not in (b'', GET):
                    self.assertEqual(Answer(client).status, 408)
                client.expect_end().close()

    def test_drops_do_not_help_a_slow_client(self):
        """A deadline is for the whole of a request, not for each line of it."""
        with self.server('--request-time', '1') as server, server.client() as client:
            client.send(b'GET / HTTP/1.1\r\nHost: x\r\n')
            client.sock.settimeout(0.05)
            for _ in range(90):
                try:
                    client.send(b'A: b\r\n')
                    if client.sock.recv(1, socket.MSG_PEEK):
                        break
                except socket.timeout:
                    pass
            client.sock.settimeout(netd.PATIENCE)
            self.assertEqual(Answer(client).status, 408)
            client.expect_end()


load_tests = every_mode(Serving, Refusing, Bodies, Waiting)

if __name__ == '__main__':
    unittest.main()
