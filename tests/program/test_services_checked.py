"""test_services_checked.py - netdaemon --services: everything is checked before anything is bound; every
mistake is named with its service and its place; whoever tells it to stop meanwhile is heard."""
import os
import re
import signal
import socket

from ground import SANITIZED, needs_root, needs_strace
from netd import alive, run, wait_until
from objects import PROGRAM, RUN, example
from several import HERE, Case, closed, in_both_syntaxes

# Says which process checks it, and goes no further.
ENDLESS = RUN + '''
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static int configure(struct netd_server *server)
{
    FILE *file = fopen(SEEN ".new", "w");
    (void)server;
    signal(SIGTERM, HEARS ? SIG_DFL : SIG_IGN);
    fprintf(file, "%d\\n", (int)getpid());
    fclose(file);
    rename(SEEN ".new", SEEN);
    for (;;)
        pause();
}
NETD_EXPORT_SERVICE(.name = "endless", .run = run, .configure = configure);
'''


class Checked(Case):
    def test_a_bad_service_is_named_with_its_place_and_none_is_started(self):
        with socket.create_server((HERE, 0)) as free:
            port = free.getsockname()[1]
        for bad, words in (({'mode': 'trheads'}, "mode: found 'trheads'"),
                           ({'base': 'hex'}, "unknown key 'base'"),
                           ({'user': 'nobody-here'}, "unknown user 'nobody-here'"),
                           ({'localport': '70000'}, 'localport: ')):
            with self.subTest(words):
                said = self.refused({'localaddr': HERE, 'services': {
                    'good': self.section(localport=str(port)), 'bad': self.section(**bad),
                    'fine': self.section()}}, words=words)
                self.assertRegex(said, r'\Abad: \S+/services\.\w+:\d+:\d+: ')
                self.assertRegex(said, r'\nnetdaemon: \S+: 1 of 3 services is wrong: none is started\n')
                self.assertTrue(closed(f'tcp:{HERE}:{port}'))

    def test_every_bad_service_is_named(self):
        said = self.refused({'services': {'a': self.section(mode='x'), 'b': self.section(),
                                          'c': self.section(mode='y')}}, words='2 of 3 services are')
        self.assertEqual(re.findall(r'(?m)^(\w+): \S+:\d+:\d+: mode: found', said), ['a', 'c'])

    @needs_strace
    def test_nothing_is_bound_before_all_were_checked(self):
        for name, good in (('bad', False), ('good', True)):
            trace = self.path(name)
            path = self.tree({'localaddr': HERE, 'services': {
                'one': self.section(), 'two': self.section(mode='single' if good else 'x')}})
            run('strace', '-f', '-qq', '-o', trace, '-e', 'trace=listen', PROGRAM, '--services', path,
                '--timeout', '0.1', '--logfile', os.devnull, env=SANITIZED)
            with open(trace, encoding='ascii') as file:
                self.assertEqual('listen(' in file.read(), good)

    def test_a_bad_program_is_named_with_its_place(self):
        path = self.tree({'localaddr': HERE, 'services': {
            'good': self.section(), 'bad': {'program': ['no-such-program'], 'localport': '0'}}})
        for more, last in (([], r'netdaemon: \S+: 1 of 2 services is wrong: none is started\n'),
                           (['--section', 'bad'], '')):
            result = run(PROGRAM, '--services', path, *more)
            self.assertEqual(result.returncode, 2)
            self.assertRegex(result.stderr, r"\Abad: program 'no-such-program' is not in .*\n"
                             rf"netdaemon: {path}:\d+:\d+: service 'bad' is wrong\n{last}\Z")

    def test_a_bad_object_is_named(self):
        path = self.build('x.so', 'int nothing;')
        said = self.refused({'localaddr': HERE, 'services': {
            'good': self.section(), 'bad': {'service': path, 'localport': '0'}}},
            words='1 of 2 services is wrong')
        self.assertRegex(said, rf"{path}: no service in it.*\n"
                         r"netdaemon: \S+/services\.\w+:\d+:\d+: service 'bad' is wrong\n")

    def test_an_object_whose_configure_crashes_is_named(self):
        path = self.build('x.so', RUN + '''#include <stdlib.h>
            static int configure(struct netd_server *server) { (void)server; abort(); }
            NETD_EXPORT_SERVICE(.name = "x", .run = run, .configure = configure);''')
        self.refused({'localaddr': HERE, 'services': {'good': self.section(), 'bad': {
            'service': path, 'localport': '0'}}}, words="service 'bad': its check died from signal 6")

    def test_what_is_no_file_of_services(self):
        good = {'service': example('echo'), 'localport': '0'}
        for tree, words in (
                ({'mode': 'fork'}, 'services: found no such key'),
                ({'services': []}, 'services: found a list, expected a map'),
                ({'services': {}}, 'services: found none'),
                ({'services': 'x'}, 'services: found a single value'),
                ({'services': {'a': 'x'}}, 'a: found a single value, expected a map'),
                ({'services': {'a': {'services': {}}}}, 'services within a service'),
                ({'services': {'a b': good}}, "found the name 'a b'"),
                ({'services': {'-a': good}}, "found the name '-a'"),
                ({'services': {'': good}}, "found the name ''"),
                ({'services': {'../x': good}}, "found the name '../x'"),
                ({'services': {'x' * 65: good}}, "found the name 'xxx"),
                ({'services': {'a': {'localport': '0'}}}, "service 'a': found neither"),
                ({'services': {'a': {**good, 'program': ['cat']}}}, "service 'a': found both"),
                ({'program': 'cat', 'services': {'a': good}}, "service 'a': found both")):
            with self.subTest(words):
                self.assertRegex(self.refused(tree, words=words),
                                 r'netdaemon: \S+/services\.\w+:\d+:\d+: ')

    def test_an_address_that_two_services_want(self):
        for one, two, address in (
                ({'localport': '7'}, {'localport': '7'}, 'tcp:127.0.0.1:7'),
                ({'localport': '7'}, {'localport': '0', 'bind': ['tcp:127.0.0.1:7']},
                 'tcp:127.0.0.1:7'),
                ({'localport': '0', 'bind': ['tcp:127.0.0.1:0', 'tcp:[::1]:7']},
                 {'localaddr': '::1', 'localport': '7'}, 'tcp:[::1]:7'),
                ({'localpath': '/x/y'}, {'localport': '0', 'bind': 'unix:/x/y'}, 'unix:/x/y')):
            with self.subTest(one=one, two=two):
                said = self.refused({'localaddr': HERE, 'user': 'root', 'services': {
                    'a': {'program': ['cat'], **one}, 'other': {'program': ['cat'], 'localport': '0'},
                    'b': {'program': ['cat'], **two}}}, words='1 of 3 services is wrong')
                self.assertRegex(said, r"\Anetdaemon: \S+:\d+:\d+: service 'b': found "
                                 rf"{re.escape(address)}, which service 'a' has: expected an address of "
                                 r'its own\n.*\n\Z')

    def test_addresses_that_only_look_alike(self):
        tree = {'localaddr': HERE, 'bind': ['tcp:127.0.0.1:0'], 'services': {
            'a': {'program': ['cat'], 'localport': '0'}, 'b': {'program': ['cat'], 'localport': '0'},
            'c': {'program': ['cat'], 'localport': '7', 'localaddr': '127.0.0.2'},
            'd': {'program': ['cat'], 'localport': '7', 'localaddr': '127.0.0.3'}}}
        result = run(PROGRAM, '--services', self.tree(tree), '--check')
        self.assertEqual((result.returncode, result.stderr), (0, ''))

    def test_options_that_cannot_be_for_all(self):
        for option in ('bind', 'configfile', 'localaddr', 'localpath', 'localport', 'pidfile',
                       'program', 'explain'):
            with self.subTest(option):
                self.refused({'services': {'a': self.section()}}, f'--{option}', 'x',
                             words=f'netdaemon: --{option}: not together with --services: ')

    def test_nor_can_their_short_forms(self):
        for short, option in {'--localpo': 'localport', '--localpat=': 'localpath', '-bin': 'bind',
                              '--LOCALAD': 'localaddr', '--pi': 'pidfile', '--co': 'configfile',
                              '--prog=cat': 'program', '--expl=::1': 'explain'}.items():
            with self.subTest(short):
                self.refused({'services': {'a': self.section()}}, short, '7',
                             words=f'netdaemon: --{option}: not together with --services: ')

    def test_short_forms_that_mean_nothing_or_several_things(self):
        for short, words in {'--local': '--local: ambiguous, may be --localaddr, ',
                             '--localports': '--localports: unknown option, did you mean --localport',
                             '--chec=1': '--check: takes no value',
                             '--check=1': '--check: takes no value'}.items():
            with self.subTest(short):
                self.refused({'services': {'a': self.section()}}, short, words=words)

    def test_short_forms_for_the_master_are_heard(self):
        path = self.tree({'localaddr': HERE, 'services': {'a': self.section(),
                                                          'b': self.section('calculator')}})
        for words, parts in {('--chec',): ['service a (', 'service b ('],
                             ('--sect', 'b', '--check'): ['base: dec'],
                             ('--sect=b', '--che'): ['base: dec'], ('--hel',): ['Usage: '],
                             ('--versi',): ['(netdaemon '], ('--compl', 'zsh'): ['#compdef']}.items():
            with self.subTest(words):
                result = run(PROGRAM, '--services', path, *words)
                self.assertEqual((result.returncode, result.stderr), (0, ''))
                self.assertEqual([result.stdout.count(part) for part in parts], [1] * len(parts))
        self.refused({'services': {'a': self.section()}}, '--notify_f=99', words='--notify-fd: found')

    def test_asking_for_a_short_form_leaves_listeners_alone(self):
        path = self.tree({'localaddr': HERE, 'services': {'a': {
            'service': example('echo'), 'bind': ['fd:mail']}}})
        with socket.create_server((HERE, 0)) as listener:
            result = run('sh', '-c', f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 '
                         'LISTEN_FDNAMES=mail exec "$@"', 'sh', PROGRAM, '--services', path, '--chec',
                         pass_fds=[listener.fileno()])
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertIn('would listen on fd:3', result.stdout)

    def test_a_wrong_option_for_all(self):
        self.refused({'services': {'a': self.section()}}, '--mode', 'x', words='--mode: found')
        self.refused({'services': {'a': self.section()}}, '--sock', words='--sock: unknown option')
        self.refused({'services': {'a': self.section()}}, '--notify-fd', '99', words='--notify-fd: ')
        self.refused({'services': {'a': self.section()}}, '--notify-fd', '4x', words='--notify-fd: ')

    def test_an_unknown_section_lists_those_there_are(self):
        tree = {'services': {'a': self.section(), 'b': self.section()}}
        self.refused(tree, '--section', 'c', words="found no service 'c'")
        self.refused(tree, '--section', 'c', words='expected one of: a b')
        self.wrong('--service', example('echo'), '--configfile', self.tree(tree), '--section', 'c',
                   words="services: found no service 'c', expected --section a or b")

    def test_a_file_of_services_wants_a_section(self):
        path = self.tree({'services': {'a': self.section(), 'b': self.section()}})
        line = self.wrong('--service', example('echo'), '--configfile', path,
                          words='which of them is to be run? expected --section a or b')
        self.assertRegex(line, r'\Aecho: \S+:\d+:\d+: services: ')

    def test_a_section_wants_a_file_of_services(self):
        self.wrong('--service', example('echo'), '--localport', '0', '--section', 'a',
                   words="--section: found 'a' without a file")
        self.wrong('--service', example('echo'), '--configfile', self.tree({'mode': 'fork'}),
                   '--section', 'a', words='services: found no such key')
        self.wrong('--service', example('echo'), '--configfile', self.file('empty.conf', ''),
                   '--section', 'a', words='nothing in it')
        self.wrong('--service', example('echo'), '--configfile', self.tree({'mode': 'fork'}),
                   '--section=', words="--section: found ''")

    def test_rule23_a_file_that_others_can_write(self):
        path = self.tree({'services': {'a': self.section()}})
        os.chmod(path, 0o666)
        self.wrong('--services', path, words='found mode 0666')
        self.wrong('--services', self.path('missing'), words='No such file')

    def test_check_shows_all_services_and_starts_none(self):
        path = self.tree({'localaddr': HERE, 'services': {
            'a': self.section(mode='fork'), 'b': self.section('calculator', base='hex')}})
        result = run(PROGRAM, '--services', path, '--check')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertRegex(result.stdout, r'(?s)\Aservice a \(\S+:\d+:\d+\)\n.*\nmode: fork .*'
                         r'\n\nservice b \(\S+:\d+:\d+\)\n.*base: hex ')
        self.assertEqual(result.stdout.count('the configuration is good\n'), 2)
        one = run(PROGRAM, '--services', path, '--check', '--section', 'b')
        self.assertEqual((one.returncode, one.stdout.count('is good')), (0, 1))

    def test_explain_is_asked_of_one_service(self):
        path = self.tree({'services': {'a': self.section(), 'b': self.section(
            clients=[{'mask': '^192\\.', 'accept': '1'}])}})
        said = run(PROGRAM, '--services', path, '--section', 'b', '--explain', '10.0.0.1')
        self.assertEqual((said.returncode, said.stderr), (0, ''))
        self.assertIn('denied: no rule matched', said.stdout)

    def test_help_and_version_are_answered(self):
        path = self.tree({'services': {'a': self.section()}})
        for option, words in (('--help', '--services FILE'), ('--version', '(netdaemon '),
                              ('--completion=bash', '_netdaemon()')):
            for file in ('x', path):
                result = run(PROGRAM, '--services', file, option)
                self.assertEqual(result.returncode, 0)
                self.assertEqual(result.stdout.count(words), 1, result.stdout)

    def test_no_file_given(self):
        for words in (['--services'], ['--services='], ['--services', '--check']):
            self.wrong(*words, words='--services: no value given: expected --services FILE')


class Stopped(Case):
    def checking(self, *args, hears=True, **more):
        """A master that is checking a service, which takes for ever; and the process of that."""
        seen = self.path('seen')
        if os.path.exists(seen):
            os.unlink(seen)
        path = self.build('x.so', ENDLESS, f'-DSEEN="{seen}"', f'-DHEARS={int(hears)}')
        server = self.services({'first': self.section(), 'endless': {
            'service': path, 'localport': '0'}}, *args, **more)
        server.start(wait=False)
        wait_until('it is being checked', lambda: os.path.exists(seen))
        return server, int(self.read('seen'))

    def ended(self, server, pid, status=0):
        server.wait(status=status)
        self.assertFalse(alive(pid))
        self.assertEqual(server.log, ['netdaemon: told to stop while the services were checked: none '
                                      'is started'])

    def test_a_stop_while_they_are_checked_is_a_clean_stop(self):
        for signum in signal.SIGTERM, signal.SIGINT:
            for hears in True, False:
                with self.subTest(signum, hears=hears):
                    server, pid = self.checking(hears=hears)
                    server.signal(signum)
                    self.ended(server, pid)

    def test_the_interrupt_key_reaches_both(self):
        server, pid = self.checking()
        os.killpg(server.pid, signal.SIGINT)
        self.ended(server, pid)

    def test_a_check_that_was_stopped_has_not_been_passed(self):
        server, pid = self.checking('--check')
        server.signal(signal.SIGTERM)
        self.ended(server, pid, status=1)

    @needs_root
    def test_as_process_1_it_hears_a_stop_too(self):
        if run('unshare', '--pid', '--fork', 'true').returncode:
            self.skipTest('no name spaces here')
        server, _ = self.checking(wrapper=['unshare', '--pid', '--fork', '--kill-child'])
        master = server.workers()[0]
        try:
            os.kill(master, signal.SIGTERM)
            self.ended(server, master)
        finally:
            server.kill()

    def test_signals_for_the_logs_do_not_end_it(self):
        server, pid = self.checking()
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGUSR1)
        self.assertTrue(alive(pid))
        server.signal(signal.SIGTERM)
        self.ended(server, pid)

    def test_a_start_with_children_ignored_finds_them_all_the_same(self):
        with self.two(wrapper=['env', '--ignore-signal=CHLD']) as server:
            self.assertEqual(server.talk_to('first'), b'hello\n')


class InPerl(Checked):
    """The same, with files in Perl's syntax."""
    syntax = 'perl'


load_tests = in_both_syntaxes(InPerl, Checked, Stopped)
