"""test_service.py - netdaemon --service: services that are shared objects, in every mode; whatever is
wrong with such a file costs one clear line, exit status 2, and nothing is bound."""
import os
import shutil
import signal
import unittest

from ground import NOBODY, needs_root
from modes import InEveryMode, every_mode
from netd import Server, run, wait_until
from objects import HELLO, PROGRAM, RUN, Objects, example

OPTIONS = ('--localaddr', '127.0.0.1', '--localport', '0', '--logfile', 'STDERR')

# Loading it takes as long as there is a file "hold".
SLOW_TO_LOAD = HELLO + '''
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
__attribute__((constructor)) static void load(void)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    close(open(SEEN, O_CREAT | O_WRONLY, 0600));
    while (access(HOLD, F_OK) == 0)
        nanosleep(&moment, NULL);
}
'''
HANGING = RUN + '''
#include <fcntl.h>
#include <unistd.h>
static int configure(struct netd_server *server)
{
    (void)server;
    for (close(open(SEEN, O_CREAT | O_WRONLY, 0600));;)
        pause();
}
NETD_EXPORT_SERVICE(.name = "hanging", .run = run, .configure = configure);
'''


class InModes(InEveryMode):
    def service(self, path, *args):
        return Server(PROGRAM, '--service', path, *self.options, *args)

    def test_an_object_is_served_like_a_program(self):
        with self.service(example('echo')) as server:
            self.assertEqual(server.talk(b'one\ntwo\n'), b'one\ntwo\n')
            with server.client() as client:
                client.send(b'hello\n').expect(b'hello\n').shutdown().expect_end()
            server.wait_for_log(r'echo starting: mode')

    def test_its_own_options_are_options(self):
        with self.service(example('calculator'), '--base', 'hex') as server:
            self.assertEqual(server.talk(b'9 + 6\n'), b'f\n')


class Loading(Objects):
    def hello(self, path, *args, **more):
        with Server(PROGRAM, '--service', path, *args, **more) as server:
            self.assertEqual(server.talk(), b'hello\n')

    def test_two_lines_make_a_service(self):
        self.hello(self.build('hello.so', HELLO))

    def test_the_option_may_be_spelled_as_any_other(self):
        path = self.build('hello.so', HELLO)
        for words in ([f'--service={path}'], ['-service', path], ['--SERVICE', path]):
            with self.subTest(words), Server(PROGRAM, *words) as server:
                self.assertEqual(server.talk(), b'hello\n')

    def test_a_relative_path_with_a_slash(self):
        self.build('hello.so', HELLO)
        self.hello('./hello.so', cwd=self.folder)

    @needs_root
    def test_as_process_1_it_hears_a_stop_before_it_is_loaded(self):
        """Such a process gets no signal that it neither holds back nor handles."""
        wrapper = ['unshare', '--pid', '--fork', '--kill-child']
        if run(*wrapper, 'true').returncode:
            self.skipTest('no name spaces here')
        path = self.build('slow.so', SLOW_TO_LOAD, f'-DSEEN="{self.path("seen")}"',
                          f'-DHOLD="{self.path("hold")}"')
        config = self.tree({'services': {'slow': {'service': path, 'localport': '0'}}})
        for args in ['--service', path, *OPTIONS], ['--services', config, '--section', 'slow']:
            self.file('hold', '')
            server = Server(PROGRAM, *args, standard=False, wrapper=wrapper)
            server.start(wait=False)
            try:
                wait_until('it is being loaded', lambda: os.path.exists(self.path('seen')))
                os.kill(server.workers()[0], signal.SIGTERM)
                os.unlink(self.path('hold'))
                process = server.process
                server.wait(status=None)
                self.assertIn(process.returncode, (0, 128 + signal.SIGTERM))
            finally:
                server.kill()
            os.unlink(self.path('seen'))

    @needs_root
    def test_as_process_1_a_stop_ends_what_hangs_before_it_serves(self):
        """What was held back so far is not held back in the server."""
        wrapper = ['unshare', '--pid', '--fork', '--kill-child']
        if run(*wrapper, 'true').returncode:
            self.skipTest('no name spaces here')
        path = self.build('x.so', HANGING, f'-DSEEN="{self.path("seen")}"')
        server = Server(PROGRAM, '--service', path, *OPTIONS, standard=False, wrapper=wrapper)
        server.start(wait=False)
        try:
            wait_until('it hangs', lambda: os.path.exists(self.path('seen')))
            os.kill(server.workers()[0], signal.SIGTERM)
            process = server.process
            server.wait(status=None)
            self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        finally:
            server.kill()

    def test_a_link_is_followed(self):
        os.symlink(self.build('hello.so', HELLO), self.path('link.so'))
        self.hello(self.path('link.so'))

    @unittest.skipUnless(shutil.which('g++'), 'needs g++')
    def test_it_can_be_written_in_cxx(self):
        self.hello(self.build('hello.so', HELLO, '-std=c++20', compiler=['g++'], language='c++'))

    def test_the_object_may_also_have_a_main(self):
        self.hello(self.build('hello.so', HELLO + 'int main(void) { return 1; }'))

    def test_a_shorter_struct_of_an_older_program_is_taken(self):
        self.hello(self.build('old.so', RUN + '''
            extern NETD_EXPORT const struct netd_service netdaemon_service;
            const struct netd_service netdaemon_service = {
                .size = offsetof(struct netd_service, run) + sizeof(void (*)(void)),
                .abi = NETD_ABI, .built_for = "0.0.9", .name = "old", .run = run};'''))

    def test_a_longer_struct_of_a_newer_program_is_taken(self):
        self.hello(self.build('new.so', RUN + '''
            struct longer { struct netd_service service; long more[99]; };
            extern NETD_EXPORT const struct longer netdaemon_service;
            const struct longer netdaemon_service = {.service = {
                .size = sizeof(struct longer), .abi = NETD_ABI, .built_for = "0.1.9",
                .name = "new", .run = run}};'''))

    def test_help_and_version_are_those_of_the_service(self):
        said = run(PROGRAM, '--service', example('calculator'), '--help').stdout
        self.assertIn('Answer each line', said)
        self.assertRegex(said, r'(?m)^  --base BASE ')
        self.assertRegex(said, r'(?m)^  --service FILE\.so')
        self.assertRegex(run(PROGRAM, '--service', example('calculator'), '--version').stdout,
                         r'^calculator 1\.0\b')

    def test_a_config_file_gives_its_options_too(self):
        config = self.tree({'base': 'oct', 'mode': 'fork', 'localport': '0',
                            'localaddr': '127.0.0.1'})
        with Server(PROGRAM, '--service', example('calculator'), '--configfile', config) as server:
            self.assertEqual(server.talk(b'9\n'), b'11\n')
            server.wait_for_log(r'mode fork')

    def test_check_shows_where_it_came_from(self):
        said = run(PROGRAM, '--service', example('echo'), *OPTIONS, '--check').stdout
        self.assertIn(f'service: {example("echo")} (--service)\n', said)
        self.assertIn('the configuration is good\n', said)


class Refused(Objects):
    def refuse(self, path, words, **more):
        line = self.wrong('--service', path, *OPTIONS, words=words, **more)
        self.assertTrue(line.startswith(f'netdaemon: --service: {path}: '), line)
        return line

    def struct(self, fields):
        return self.build('x.so', RUN + f'''
            extern NETD_EXPORT const struct netd_service netdaemon_service;
            const struct netd_service netdaemon_service = {{
                .size = sizeof(struct netd_service), {fields}}};
            int (*unused)(struct netd_conn *) = run;''')

    def test_an_object_of_another_abi_with_both_versions_named(self):
        self.refuse(self.struct('.abi = NETD_ABI + 1, .built_for = "0.2.0", .name = "x", .run = run'),
                    'was built for netdaemon 0.2.0 (ABI 2), this is 0.1.0 (ABI 1)')

    def test_one_of_another_abi_whose_other_fields_are_rubbish(self):
        self.refuse(self.struct('.abi = 77, .built_for = "9", .name = (char *)8, .run = run, '
                                '.options = (struct netd_option *)16'), 'netdaemon 9 (ABI 77)')

    def test_one_that_does_not_say_for_which_version(self):
        self.refuse(self.struct('.abi = 3, .name = "x", .run = run'), '(unknown) (ABI 3)')
        self.refuse(self.struct('.name = "x", .run = run'), 'NETD_SERVICE()')

    def test_one_without_run_or_name(self):
        self.refuse(self.struct('.abi = NETD_ABI, .name = "x"'), 'no .run')
        self.refuse(self.struct('.abi = NETD_ABI, .run = run'), 'no .name')

    def test_one_without_the_symbol(self):
        self.refuse(self.build('x.so', 'int nothing;'), 'no netdaemon_service')

    def test_one_with_an_undefined_function(self):
        source = 'void elsewhere(void);\n' + HELLO.replace('{ return', '{ elsewhere(); return')
        self.refuse(self.build('x.so', source), 'undefined symbol: elsewhere')

    def test_one_whose_option_is_called_service(self):
        source = RUN + '''static const struct netd_option options[] = {
            {.name = "service", .type = NETD_OPTION_STRING}, {0}};
            NETD_EXPORT_SERVICE(.name = "x", .run = run, .options = options);'''
        self.wrong('--service', self.build('x.so', source), *OPTIONS, words='the name is taken')

    def test_what_is_no_object(self):
        self.refuse(self.file('text.so', 'hello\n', 0o755), 'file too short')
        self.refuse(self.file('long.so', 'hello\n' * 1000, 0o755), 'invalid ELF header')
        self.refuse(self.file('empty.so', ''), 'file too short')
        self.refuse(self.folder, 'no regular file')
        os.mkfifo(self.path('fifo'), 0o600)
        self.refuse(self.path('fifo'), 'no regular file')
        self.refuse('/dev/null', 'no regular file')

    def test_what_is_not_there(self):
        self.refuse(self.path('missing.so'), 'No such file')
        self.refuse(self.path('hello.so', 'x'), 'No such file')
        self.refuse('x' * 5000 + '/y', 'File name too long')
        self.wrong('--service', words='no value given')
        self.wrong('--service=', *OPTIONS, words='no value given')

    def test_a_name_without_a_slash_is_looked_for_in_the_folder_of_services(self):
        self.build('hello.so', HELLO)
        for name in ('hello', 'hello.so'):
            line = self.refuse(name, f'named with a slash, as in ./{name}', cwd=self.folder)
            self.assertRegex(line, r'not found in /\S+/netdaemon;')

    def test_rule23_an_object_that_others_can_write(self):
        path = self.build('x.so', HELLO)
        for mode in (0o775, 0o757, 0o777, 0o722):
            os.chmod(path, mode)
            self.refuse(path, f'found mode 0{mode:o} of {path}')

    def test_rule23_a_folder_that_others_can_write(self):
        os.mkdir(self.path('open'))
        path = self.build('open/x.so', HELLO)
        os.chmod(self.path('open'), 0o777)
        self.refuse(path, f'found mode 0777 of {self.path("open")}')
        os.symlink(path, self.path('link.so'))
        self.refuse(self.path('link.so'), f'found mode 0777 of {self.path("open")}')
        os.chmod(self.path('open'), 0o1777)  # sticky: others cannot touch it
        with Server(PROGRAM, '--service', path) as server:
            self.assertEqual(server.talk(), b'hello\n')

    @needs_root
    def test_rule23_an_object_or_folder_of_somebody_else(self):
        path = self.build('x.so', HELLO)
        os.chown(path, NOBODY, NOBODY)
        self.refuse(path, f'found owner {NOBODY} of {path}')
        os.chown(path, 0, 0)
        os.chown(self.folder, NOBODY, NOBODY)
        self.refuse(path, f'found owner {NOBODY} of {self.folder}')

    def test_rule23_no_code_of_a_refused_object_runs(self):
        path = self.build('x.so', HELLO + '''
            __attribute__((constructor)) static void at_once(void) { puts("code runs"); }''')
        os.chmod(path, 0o775)
        self.refuse(path, 'found mode')
        os.chmod(path, 0o755)
        self.assertIn('code runs', run(PROGRAM, '--service', path, '--version').stdout)

    def test_a_failing_configure_is_the_service_s_own_word(self):
        path = self.build('x.so', RUN + '''
            static int configure(struct netd_server *server)
            { return netd_server_fail(server, -EINVAL, "no data in it"); }
            NETD_EXPORT_SERVICE(.name = "x", .configure = configure, .run = run);'''.replace(
                '-EINVAL', '-22'))
        self.wrong('--service', path, *OPTIONS, words='x: no data in it')

    def test_a_file_cannot_say_which_object_outside_of_services(self):
        path = self.tree({'service': './x.so', 'localport': '0'})
        self.wrong('--configfile', path, words='named on the command line, by --service FILE.so')

    def test_two_kinds_of_work_at_once(self):
        for args in (['--service', 'a', '--services', 'b'], ['--service', 'a', '--', 'cat'],
                     ['--services', 'a', '--', 'cat'], []):
            with self.subTest(args):
                result = run(PROGRAM, *args)
                self.assertEqual((result.returncode, result.stdout), (2, ''))
                self.assertIn('usage: netdaemon [options] -- program', result.stderr)


def load_tests(loader, standard, pattern):
    standard = every_mode(InModes)(loader, standard, pattern)
    standard.addTests(loader.loadTestsFromTestCase(case) for case in (Loading, Refused))
    return standard
