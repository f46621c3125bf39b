"""test_services.py - netdaemon --services: several services of one file, each with its own address,
user, mode and rules; started together, kept and stopped by one master."""
import os
import re
import signal
import socket

from ground import NOBODY, SANITIZED, needs_root, needs_strace
from modes import MODES
from netd import Server, alive, fds, run, status, wait_until
from objects import RUN, example
from several import HERE, Case, closed, in_both_syntaxes

CRASHING = RUN + '''
#include <stdlib.h>
static int loop(struct netd_server *server) { (void)server; abort(); }
NETD_EXPORT_SERVICE(.name = "crashing", .run = run, .loop = loop);
'''
# Its start takes as long as there is a file "hold" beside it.
SLOW = RUN + '''
#include <time.h>
#include <unistd.h>
static int configure(struct netd_server *server)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    (void)server;
    while (access(HOLD, F_OK) == 0)
        nanosleep(&moment, NULL);
    return 0;
}
NETD_EXPORT_SERVICE(.name = "slow", .run = run, .configure = configure);
'''
ASKING = '''
#include <netdaemon.h>
#include <stdlib.h>
static int run(struct netd_conn *conn)
{ return (int)netd_printf(conn, "%s\\n", getenv("NETDAEMON_NEWS") ? "some" : "none"); }
NETD_EXPORT_SERVICE(.name = "asking", .run = run);
'''
SPYING = '''
#include <netdaemon.h>
#include <stdlib.h>
static int run(struct netd_conn *conn)
{ (void)conn; return system("readlink /proc/self/fd/* >" SEEN ".tmp; mv " SEEN ".tmp " SEEN); }
NETD_EXPORT_SERVICE(.name = "spying", .run = run);
'''


class Serving(Case):
    def test_each_service_has_its_own_address_mode_and_options(self):
        with self.services({'plain': self.section(mode='fork'),
                            'sums': self.section('calculator', mode='fibers', base='hex'),
                            'words': {'program': ['sed', '-u', 's/a b/c/'], 'localport': '0'}}
                           ) as server:
            self.assertEqual(server.talk_to('plain'), b'hello\n')
            self.assertEqual(server.talk_to('sums', b'9 + 6\n'), b'f\n')
            self.assertEqual(server.talk_to('words', b'a b\n'), b'c\n')
            server.wait_for_log('plain starting: mode fork')
            server.wait_for_log('sums 1.0 starting: mode fibers')

    def test_every_mode_side_by_side(self):
        sections = {}
        for name, options in MODES.items():
            pairs = [word[2:] if word.startswith('--') else word for word in options]
            sections[name] = self.section(**dict(zip(pairs[::2], pairs[1::2])))
        with self.services(sections) as server:
            for name in sections:
                self.assertEqual(server.talk_to(name), b'hello\n', name)

    @needs_root
    def test_each_service_runs_as_its_own_user(self):
        with self.services({'one': self.section(user='daemon'), 'two': self.section(user='nobody')},
                           top={'user': 'root'}) as server:
            for name, uid in (('one', 1), ('two', NOBODY)):
                self.assertEqual(server.talk_to(name), b'hello\n')
                self.assertEqual(status(server.process_of(name))['Uid'].split(), [str(uid)] * 4)
            self.assertEqual(status(server.pid)['Uid'].split(), ['0'] * 4)

    def test_each_service_has_its_own_rules(self):
        with self.services({'open': self.section(), 'closed': self.section(
                clients=[{'mask': '^192\\.', 'accept': '1'}])}) as server:
            self.assertEqual(server.talk_to('open'), b'hello\n')
            with server.client(address=server.address_of('closed')) as client:
                client.expect_gone()

    def test_each_service_has_its_own_limit(self):
        with self.services({'one': self.section(**{'max-connections': '1'}),
                            'many': self.section()}) as server:
            with server.client(address=server.address_of('one')) as first:
                first.send(b'x\n').expect(b'x\n')
                with server.client(address=server.address_of('one')) as second:
                    second.send(b'y\n')
                    self.assertEqual(server.talk_to('many'), b'hello\n')
                    first.shutdown().expect_end()
                    second.expect(b'y\n')

    def test_the_top_of_the_file_holds_defaults(self):
        bind = [f'unix:{self.path("a")}', f'unix:{self.path("b")}']
        with self.services({'one': {'service': example('echo'), 'localpath': self.path('own')},
                            'two': {'service': example('echo'), 'mode': 'fork',
                                    'bind': [f'unix:{self.path("c")}']}},
                           top={'mode': 'single', 'bind': bind}) as server:
            server.wait_for_log('one starting: mode single')
            server.wait_for_log('two starting: mode fork')
            for name in ('own', 'a', 'b', 'c'):
                wait_until(name, lambda path=name: os.path.exists(self.path(path)))
            self.assertEqual(server.talk(b'x\n', address=f'unix:{self.path("c")}'), b'x\n')
            pid = server.process_of('two')  # by now it has logged where it listens
            self.assertEqual(server.log_count(rf', {pid}, listening on'), 1)  # a list is replaced

    def test_options_on_the_command_line_are_for_all_and_win(self):
        with self.two('--mode', 'fork', top={'mode': 'single'}) as server:
            server.wait_for_log('first starting: mode fork')
            server.wait_for_log('second 1.0 starting: mode fork')

    def test_no_service_has_the_code_or_data_of_another_in_its_memory(self):
        """Nor has the master, which runs with all rights."""
        with self.two() as server:
            maps = {}
            for pid in (server.pid, server.process_of('first'), server.process_of('second')):
                with open(f'/proc/{pid}/maps', encoding='ascii') as file:
                    maps[pid] = file.read()
            self.assertEqual([[name in text for name in ('echo.so', 'calculator.so')]
                              for text in maps.values()],
                             [[False, False], [True, False], [False, True]])

    def test_each_process_holds_descriptors_of_its_own_only(self):
        with self.services({str(n): self.section(mode='single') for n in range(4)}) as server:
            pids = [server.process_of(str(n)) for n in range(4)]
            wait_until('all have the same number of descriptors, when they have settled',
                       lambda: len({len(fds(pid)) for pid in pids}) == 1)

    def test_rule21_what_a_service_starts_holds_nothing_of_the_master(self):
        """Nor does a service hold what was open at the master's start."""
        seen = self.path('seen')
        path = self.build('x.so', SPYING, f'-DSEEN="{seen}"')
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with self.services({'spying': {'service': path, 'localport': '0'}},
                           pass_fds=(writing,)) as server:
            os.close(writing)
            server.talk(b'', address=server.address_of('spying'))
            self.wait_for_file('seen', '\n')
            links = self.read('seen').split()
            self.assertEqual([link for link in links[3:] if link.startswith('pipe:')], [], links)
            self.assertFalse(f'pipe:[{os.fstat(reading).st_ino}]' in
                             fds(server.process_of('spying')).values())

    def test_without_standard_streams_they_serve_too(self):
        """Where the master's own descriptors would be 0, 1 and 2."""
        logs = {name: self.path(name) for name in ('first', 'second')}
        with self.services({name: self.section(logfile=path, localpath=path + '.sock')
                            for name, path in logs.items()},
                           wrapper=['bash', '-c', 'exec "$0" "$@" <&- >&- 2>&-']).start(wait=False):
            for name, path in logs.items():
                self.wait_for_file(name, 'listening on')
                with open(path, encoding='utf-8') as file:
                    pid = re.search(r', (\d+), listening on', file.read())[1]
                self.assertEqual({link for number, link in fds(pid).items() if number < 3},
                                 {'/dev/null'})

    def test_one_service_of_the_file_is_run_by_its_name(self):
        with self.two('--section', 'second') as server:
            self.assertEqual(server.talk_to('second', b'1+1\n'), b'2\n')
            self.assertEqual((server.workers(), server.log_count('first')), ([], 0))

    def test_a_program_that_is_itself_a_service_takes_its_section(self):
        config = self.tree({'services': {'a': {'mode': 'fork'}, 'b': {'mode': 'single'}}})
        path = example('echo')[:-len('.so')]
        with Server(path, '--configfile', config, '--section', 'b') as server:
            server.wait_for_log('b starting: mode single')


class Kept(Case):
    def test_a_service_that_cannot_bind_stops_all(self):
        with socket.create_server((HERE, 0)) as taken:
            port = str(taken.getsockname()[1])
            server = self.services({'good': self.section(), 'bad': self.section(localport=port)})
            server.start(wait=False)
            server.wait(status=1)
            self.assertEqual(server.log_count("service 'bad' did not start: exited with status 1"), 1)
            self.assertEqual(server.log_count(r'^bad: .*in use'), 1)

    def test_a_service_that_ends_before_it_serves_stops_all(self):
        """With whatever status: here a constructor calls exit(3)."""
        path = self.build('x.so', RUN + '''#include <stdlib.h>
            __attribute__((constructor)) static void at_once(void) { exit(0); }
            NETD_EXPORT_SERVICE(.name = "x", .run = run);''')
        server = self.services({'good': self.section(), 'bad': {'service': path, 'localport': '0'}})
        server.start(wait=False)
        server.wait(status=1)
        self.assertEqual(server.log_count("service 'bad' did not start: exited with status 0"), 1)

    def test_a_service_that_dies_comes_back_and_the_others_do_not_notice(self):
        with self.two() as server:
            first, second = server.process_of('first'), server.process_of('second')
            self.ready(server)
            with server.client(address=server.address_of('second')) as client:
                client.send(b'1+1\n').expect(b'2\n')
                os.kill(first, signal.SIGKILL)
                server.wait_for_log(rf"service 'first' \(process {first}\) died from signal 9 .*: "
                                    r'started again in \d+ ms')
                self.assertEqual(server.talk_to('first', count=2), b'hello\n')
                client.send(b'2+2\n').expect(b'4\n').shutdown().expect_end()
            self.assertEqual(server.log_count('second 1.0 starting'), 1)
            self.assertTrue(alive(second))

    def logged(self, log, pattern, count=1):
        """What the first group of the count-th line is, once it is there."""
        def found():
            return os.path.exists(self.path(log)) and re.findall(pattern, self.read(log))[count - 1:]
        return wait_until(pattern, found)[0]

    def test_that_one_died_stands_in_its_own_log(self):
        """Where the section, the top of the file or the command line has it; and once."""
        logs = {'first': 'own.log', 'words': 'common.log'}
        with self.services({'first': self.section(logfile=self.path('own.log')),
                            'words': {'program': ['cat'], 'localport': '0'}},
                           top={'logfile': self.path('common.log')}).start(wait=False) as server:
            for name, log in logs.items():
                for count, signum in enumerate((signal.SIGKILL, signal.SIGABRT), 1):
                    pid = int(self.logged(log, rf', (\d+), {name} .*starting', count))
                    wait_until('the master has heard', lambda: not self.listens_for_news(server))
                    os.kill(pid, signum)
                    self.logged(log, rf"(warning), \d+, service '{name}' \(process {pid}\) died "
                                rf'from signal {int(signum)} .*: started again in \d+ ms\n')
                self.assertEqual(self.read(log).count('started again'), 2)
            self.assertEqual(server.log_count('started again'), 4)  # on standard error as well
        self.assertEqual(self.read('own.log').count("'words'"), 0)

    def test_what_a_service_starts_does_not_hear_of_it(self):
        path = self.build('x.so', ASKING)
        with self.services({'asking': {'service': path, 'localport': '0'}}) as server:
            self.assertEqual(server.talk_to('asking', b''), b'none\n')
            self.ready(server, 'asking')
            os.kill(server.process_of('asking'), signal.SIGKILL)
            self.assertEqual(server.talk_to('asking', b'', count=2), b'none\n')
            self.assertEqual(server.log_count("warning, .*'asking' .* started again"), 1)

    def test_one_that_dies_again_and_again_comes_back_ever_later(self):
        path = self.build('x.so', CRASHING)
        with self.services({'good': self.section(), 'bad': {
                'service': path, 'localport': '0', 'loop-timeout': '0.2'}}) as server:
            server.wait_for_log(r"'bad' .*died from signal 6 .*in 100 ms")
            server.wait_for_log(r"'bad' .*died from signal 6 .*in 200 ms")
            server.wait_for_log(r"'bad' .*died from signal 6 .*in 400 ms")
            self.assertEqual(server.talk_to('good'), b'hello\n')

    def slow(self, **more):
        """A service whose start takes as long as there is a file "hold"."""
        return {'service': self.build('slow.so', SLOW, f'-DHOLD="{self.path("hold")}"'),
                'localport': '0', **more}

    def starting_again(self, server):
        """It dies, and its next start hangs. Returns the number of the new process."""
        dead = server.process_of('slow')
        self.ready(server, 'slow')
        self.file('hold', '')
        os.kill(dead, signal.SIGKILL)
        server.wait_for_log("'slow' .* started again in")
        return wait_until('it starts', lambda: [pid for pid in server.workers() if pid != dead and
                                                'slow.so' in self.maps(pid)])[0]

    @staticmethod
    def maps(pid):
        try:
            with open(f'/proc/{pid}/maps', encoding='ascii') as file:
                return file.read()
        except OSError:
            return ''

    def test_signals_for_the_logs_do_not_kill_what_is_still_starting(self):
        for signum in (signal.SIGHUP, signal.SIGUSR1):
            log = f'{signum}.log'
            with self.services({'slow': self.slow(), 'second': self.section(
                    logfile=self.path(log))}) as server:
                self.wait_for_file(log, 'listening on')
                pid = self.starting_again(server)
                os.rename(self.path(log), self.path(log + '.old'))
                server.signal(signum)
                self.wait_for_file(log, '')  # the signal has gone out to all
                os.unlink(self.path('hold'))
                self.assertEqual(server.process_of('slow', count=2), pid)
                self.assertEqual(server.talk_to('slow', b'', count=2), b'hello\n')  # it reads nothing

    def test_a_stop_while_one_starts_again_is_a_clean_stop(self):
        with self.services({'slow': self.slow(), 'second': self.section()}) as server:
            self.starting_again(server)
            server.signal(signal.SIGTERM)
            server.wait(status=0)

    def test_one_that_hangs_is_killed_when_all_must_end_at_once(self):
        with self.two() as server:
            first = server.process_of('first')
            self.ready(server)
            os.kill(first, signal.SIGSTOP)
            server.signal(signal.SIGINT)
            server.wait(status=1)
        self.assertEqual(server.log_count("service 'first' died from signal 9"), 1)
        self.assertFalse(alive(first))

    def without_descriptors(self, number):
        """A wrapper: in the master, the pipe2() of this number fails."""
        return ['strace', '-D', '-qq', '-o', os.devnull, '-e', 'trace=pipe2', '-e',
                f'inject=pipe2:error=EMFILE:when={number}']

    @needs_strace
    def test_a_shortage_at_the_first_start_stops_all(self):
        for number, name in ((1, 'first'), (4, 'second')):
            server = self.two(wrapper=self.without_descriptors(number), env=SANITIZED)
            server.start(wait=False)
            server.wait(status=1)
            self.assertEqual(server.log_count(f"'{name}' did not start: Too many open files"), 1)

    @needs_strace
    def test_a_shortage_later_is_waited_out(self):
        with self.two(wrapper=self.without_descriptors(5), env=SANITIZED) as server:
            first = server.process_of('first')
            self.ready(server)
            os.kill(first, signal.SIGKILL)
            server.wait_for_log("'first' cannot be started: Too many open files: tried again in")
            self.assertEqual(server.talk_to('first', count=2), b'hello\n')

    def test_a_service_that_ends_in_good_order_is_not_started_again(self):
        with self.services({'short': self.section(timeout='0.3'), 'long': self.section()}) as server:
            server.wait_for_log("service 'short' has ended")
            self.assertEqual(server.talk_to('long'), b'hello\n')
            self.assertEqual(server.log_count('short starting'), 1)

    def test_when_all_have_ended_the_master_ends(self):
        server = self.two('--timeout', '0.3').start()
        server.wait(status=0)

    def test_sigterm_drains_all(self):
        with self.two() as server:
            with server.client(address=server.address_of('first')) as one, \
                    server.client(address=server.address_of('second')) as two:
                one.send(b'a\n').expect(b'a\n')
                two.send(b'1\n').expect(b'1\n')
                server.signal(signal.SIGTERM)
                server.wait_for_log('SIGTERM: no new connections', count=2)
                one.send(b'b\n').expect(b'b\n').shutdown().expect_end()
                two.send(b'2\n').expect(b'2\n').shutdown().expect_end()
            server.wait(status=0)

    def test_sigterm_twice_and_sigint_stop_all_now(self):
        for signals in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT,)):
            with self.subTest(signals), self.two() as server:
                with server.client(address=server.address_of('first')) as client:
                    client.send(b'a\n').expect(b'a\n')
                    server.address_of('second')
                    for number, signum in enumerate(signals):
                        server.signal(signum)
                        server.wait_for_log(' SIGTERM: | SIGINT: |second SIGTERM: ', count=2 + number)
                    client.expect_gone()
                server.wait(status=0)

    def test_a_stop_while_they_start_is_a_clean_stop(self):
        server = self.two().start(wait=False)
        wait_until('the master supervises', lambda: not alive(server.pid) or self.hears(server.pid))
        server.stop()

    @staticmethod
    def hears(pid):
        return any('signalfd' in name for name in fds(pid).values())

    def test_signals_for_the_logs_reach_all(self):
        logs = {name: self.path(name) for name in ('first.log', 'second.log')}
        server = self.services({name: self.section(logfile=path) for name, path in logs.items()})
        with server.start(wait=False):
            for signum in (signal.SIGUSR1, signal.SIGHUP):
                for name, path in logs.items():
                    if signum == signal.SIGUSR1:
                        self.wait_for_file(name, 'listening on')
                    os.rename(path, path + '.old')
                server.signal(signum)
                for path in logs.values():
                    wait_until(f'{path} again', lambda at=path: os.path.exists(at))

    def test_the_master_is_killed_and_the_services_end_in_every_mode(self):
        sections = {}
        for name, options in MODES.items():
            pairs = [word[2:] if word.startswith('--') else word for word in options]
            sections[name] = self.section(**dict(zip(pairs[::2], pairs[1::2])),
                                          **({'user': 'nobody'} if os.geteuid() == 0 else {}))
        server = self.services(sections).start(wait=False)
        try:
            addresses = [server.address_of(name) for name in sections]
            pids = server.pids()
            self.assertGreater(len(pids), len(sections))
            os.kill(server.pid, signal.SIGKILL)
            for pid in pids:
                wait_until(f'{pid} has ended', lambda number=pid: not alive(number))
            self.assertTrue(all(map(closed, addresses)))
        finally:
            server.kill()

    def test_a_service_killed_while_stopping_is_a_failure(self):
        server = self.two().start()
        with server.client(address=server.address_of('first')) as client:
            client.send(b'a\n').expect(b'a\n')
            server.address_of('second')
            server.signal(signal.SIGTERM)
            server.wait_for_log('SIGTERM: no new connections', count=2)
            os.kill(server.process_of('first'), signal.SIGKILL)
            server.wait(status=1)
        self.assertEqual(server.log_count("service 'first' died from signal 9"), 1)


class Supervised(Case):
    def manager(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(self.path('notify'))
        sock.settimeout(15)
        return sock

    def test_the_service_manager_hears_of_the_master_only(self):
        heard = self.manager()
        with self.two(env={'NOTIFY_SOCKET': self.path('notify')}) as server:
            self.assertEqual(heard.recv(999), b'READY=1')
            for name in ('first', 'second'):
                self.assertFalse(closed(server.address_of(name)))
                with open(f'/proc/{server.process_of(name)}/environ', 'rb') as file:
                    self.assertNotIn(b'NOTIFY_SOCKET', file.read())
            server.signal(signal.SIGTERM)
            self.assertEqual(heard.recv(999), b'STOPPING=1')
            server.wait(status=0)
        heard.setblocking(False)
        self.assertRaises(BlockingIOError, heard.recv, 999)

    def test_the_watchdog_is_answered(self):
        heard = self.manager()
        with self.two(env={'NOTIFY_SOCKET': self.path('notify'), 'WATCHDOG_USEC': '200000'}):
            messages = [heard.recv(999) for _ in range(6)]
        self.assertEqual(sorted(set(messages)), [b'READY=1', b'WATCHDOG=1'])

    def test_an_absent_manager_does_not_matter(self):
        with self.two(env={'NOTIFY_SOCKET': self.path('nobody')}) as server:
            server.wait_for_log('NOTIFY_SOCKET: no service manager is told anything')
            self.assertEqual(server.talk_to('first'), b'hello\n')

    def test_a_manager_that_is_too_busy_hears_of_the_start_later(self):
        heard = self.manager()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            other.connect(self.path('notify'))
            with self.assertRaises(BlockingIOError):
                while other.send(b'X'):
                    pass
        with self.two(env={'NOTIFY_SOCKET': self.path('notify')}) as server:
            for name in ('first', 'second'):
                self.assertFalse(closed(server.address_of(name)))
            self.ready(server)
            while (words := heard.recv(999)) == b'X':
                pass
            self.assertEqual(words, b'READY=1')

    def test_a_manager_whose_address_is_none(self):
        with self.two(env={'NOTIFY_SOCKET': 'relative'}) as server:
            server.wait_for_log('NOTIFY_SOCKET: .*: expected /PATH or @NAME')
            self.assertEqual(server.talk_to('first'), b'hello\n')

    def test_more_descriptors_promised_than_there_are(self):
        """Their numbers are the master's own by then."""
        with self.two(env={'LISTEN_FDS': '1000'},
                      wrapper=['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']) as server:
            for name in ('first', 'second'):
                self.assertFalse(closed(server.address_of(name)))

    def test_notify_fd_hears_a_newline_when_all_accept_connections(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        server = self.two('--notify-fd', str(writing), pass_fds=(writing,)).start(wait=False)
        os.close(writing)
        with server:
            self.assertEqual(os.read(reading, 9), b'\n')
            for name in ('first', 'second'):
                self.assertFalse(closed(server.address_of(name)))
            self.assertEqual(os.read(reading, 9), b'')  # nobody holds it any more

    def test_notify_fd_hears_nothing_when_one_cannot_start(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with socket.create_server((HERE, 0)) as taken:
            port = str(taken.getsockname()[1])
            server = self.services({'good': self.section(), 'bad': self.section(localport=port)},
                                   '--notify-fd', str(writing), pass_fds=(writing,))
            server.start(wait=False)
            os.close(writing)
            self.assertEqual(os.read(reading, 9), b'')
            server.wait(status=1)

    def test_listening_sockets_go_to_the_services_that_name_them(self):
        with socket.create_server((HERE, 0)) as one, socket.create_server((HERE, 0)) as two:
            def place():
                spare = os.dup(two.fileno()) if two.fileno() == 3 else two.fileno()
                os.dup2(one.fileno(), 3)
                os.dup2(spare, 4)
            names = {'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'a:b'}
            server = self.services(
                {'first': {'service': example('echo'), 'bind': ['fd:a']},
                 'second': {'service': example('calculator'), 'bind': ['fd:b']},
                 'third': self.section()}, env=names, preexec_fn=place, pass_fds=(3, 4),
                wrapper=['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'])
            with server:
                for sock, data, answer in ((one, b'x\n', b'x\n'), (two, b'2*3\n', b'6\n')):
                    at = f'tcp:{HERE}:{sock.getsockname()[1]}'
                    self.assertEqual(server.talk(data, address=at), answer)
                self.assertEqual(server.talk_to('third'), b'hello\n')
                third = server.process_of('third')
                with open(f'/proc/{third}/environ', 'rb') as file:
                    self.assertNotIn(b'LISTEN_', file.read())
                held = set(fds(server.pid).values())
                inherited = {fds(server.pid)[3], fds(server.pid)[4]}
                self.assertLessEqual(inherited, held)
                self.assertFalse(inherited & set(fds(third).values()))
                self.assertEqual(server.log_count('not used'), 0)  # what is for the others

    @needs_root
    def test_as_process_1_of_a_container(self):
        if run('unshare', '--pid', '--fork', 'true').returncode:
            self.skipTest('no name spaces here')
        server = self.services(
            {'first': self.section(),
             'orphans': {'program': ['sh', '-c', '(sleep 0.1; :) & echo started'], 'localport': '0',
                         'user': 'root'}},
            wrapper=['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'])
        server.start()
        try:
            master = wait_until('the master is there', server.workers)[0]
            for _ in range(3):
                self.assertEqual(server.talk(b'', address=self.port_of(server, 'orphans')),
                                 b'started\n')
            self.assertEqual(server.talk(b'x\n', address=self.port_of(server, 'first')), b'x\n')
            wait_until('orphans are buried', lambda: len(server.pids()) == 4)
            wait_until('no corpse is left', lambda: not self.corpses(master))
            os.kill(master, signal.SIGTERM)
            server.wait(status=0)
        finally:
            server.kill()

    @staticmethod
    def port_of(server, name):
        """Process numbers in the log are those within the container, and as unique."""
        return server.address_of(name)

    @staticmethod
    def corpses(master):
        """Dead children of this process that nobody has waited for."""
        dead = []
        for name in filter(str.isdigit, os.listdir('/proc')):
            try:
                found = status(name)
            except OSError:
                continue
            if found.get('PPid') == str(master) and found['State'].startswith('Z'):
                dead.append(name)
        return dead


class InPerl(Serving):
    """The same, from files in Perl's syntax."""
    syntax = 'perl'


load_tests = in_both_syntaxes(InPerl, Serving, Kept, Supervised)
