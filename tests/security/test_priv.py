#!/usr/bin/env python3
"""test_priv.py - giving up root, seen from outside (security rules 1, 2, 4, 24).

Runs drop_helper (DROP_HELPER) under strace: once to see the order of its calls, then once for each
call with that call made to fail, and once with it made to claim success without doing anything.
Happy path of the helper: "accept PID", then it waits to be looked at in /proc. A helper that is
disturbed must end before "accept", with words. Skips what needs root or strace.

GENERIC=1: the portable system layer, which knows no capabilities.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from netd import within_reach

HELPER = os.environ.get('DROP_HELPER', './drop_helper')
GENERIC = os.environ.get('GENERIC') == '1'
NOBODY = 65534  # the user's and the group's number
BEFORE = [4711, 4712]  # supplementary groups at start
CALLS = ('chroot chdir setgroups setresgid setregid setresuid setreuid capset capget prctl '
         'getresuid getresgid getgroups write').split()
# A sanitizer's leak check can neither be traced nor work without the rights that were given up.
ENV = dict(os.environ, ASAN_OPTIONS='detect_leaks=0')
SECONDS = 60


def is_root():
    return os.geteuid() == 0


def can_trace():
    return bool(shutil.which('strace')) and subprocess.run(
        ['strace', '-o', os.devnull, 'true'], check=False, capture_output=True).returncode == 0


class Call:
    """One system call of a trace: number n of that name, its text, what it returned."""

    LINE = re.compile(r'^\d+ +(\w+)\((.*)\) += (-?\d+|0x\w+)')

    def __init__(self, name, n, text, rc):
        self.name, self.n, self.text, self.rc = name, n, text, rc
        word = re.match(r'PR_\w+(, PR_CAP_AMBIENT_\w+)?', text)
        self.kind = word.group(0) if name == 'prctl' and word else name

    def __str__(self):
        return f'{self.name}({self.text}) number {self.n}'

    @staticmethod
    def all_of(path):
        """Those of CALLS in a file that strace wrote."""
        counts, calls = {}, []
        with open(path, encoding='utf-8', errors='replace') as trace:
            for line in trace:
                found = Call.LINE.match(line)
                if found:
                    name, text, rc = found.groups()
                    counts[name] = counts.get(name, 0) + 1
                    calls.append(Call(name, counts[name], text, int(rc, 0)))
        return calls


class Outcome:
    """How a run of the helper ended, and what it was when it said "accept"."""

    def __init__(self, status, accepted, words, state, calls):
        self.status, self.accepted, self.words = status, accepted, words
        self.state, self.calls = state, calls


def look_at(pid):
    """What /proc tells about a process."""
    state = {}
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        for line in status:
            key, _, value = line.partition(':')
            state[key] = value.split()
    state['root'] = os.readlink(f'/proc/{pid}/root')
    state['cwd'] = os.readlink(f'/proc/{pid}/cwd')
    state['owner'] = os.stat(f'/proc/{pid}/environ').st_uid
    return state


def run(user, group='-', jail='-', coredump='0', *, inject=(), trace=False, groups=None,
        before=None, fds=(), wrapper=()):
    """Run the helper; with trace or inject under strace. before: called in the child."""
    def prepare():
        if is_root():
            os.setgroups(BEFORE if groups is None else groups)
        if before:
            before()

    with tempfile.TemporaryDirectory() as folder:
        command, log = [], os.path.join(folder, 'trace')
        if trace or inject:
            names = ','.join({*CALLS, *(rule.split(':')[0] for rule in inject)})
            command = ['strace', '-f', '-qq', '-o', log, '-e', f'trace={names}']
            for rule in inject:
                command += ['-e', f'inject={rule}']
        with within_reach(of_others=before is not None), \
                subprocess.Popen([*command, *wrapper, HELPER, user, group, jail, coredump], env=ENV,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, cwd='/tmp', pass_fds=fds,
                                 preexec_fn=prepare) as helper:
            line = helper.stdout.readline()
            said = re.match(r'accept (\d+)$', line)
            state = look_at(said.group(1)) if said else None
            _, words = helper.communicate(timeout=SECONDS)
        calls = Call.all_of(log) if command else []
    return Outcome(helper.returncode, bool(said), words, state, calls)


def some_of_each(calls):
    """The capability calls come by dozens: the first and the last of each kind will do."""
    many = ('PR_CAPBSET_DROP', 'PR_CAPBSET_READ', 'PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET')
    for kind in many:
        ours = [call for call in calls if call.kind == kind and call.rc >= 0]
        for call in ours[1:-1]:
            calls = [other for other in calls if other is not call]
    return [call for call in calls
            if call.name != 'write' and not (call.kind in many and call.rc < 0)]


def the_drop(calls):
    """From the first call that changes something on: what the loader did before does not count."""
    start = next(i for i, call in enumerate(calls) if call.name in ('chroot', 'setgroups'))
    return calls[start:]


class PrivTest(unittest.TestCase):
    """Helpers for all."""

    def setUp(self):
        if self.needs_root and not is_root():
            self.skipTest('needs root')
        if self.needs_strace and not can_trace():
            self.skipTest('needs strace and the right to trace')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.jail = folder.name
        os.chmod(self.jail, 0o755)

    needs_root = needs_strace = True

    def assert_dropped(self, state, uid=NOBODY, gid=NOBODY):
        """Nothing of root is left."""
        self.assertEqual(state['Uid'], [str(uid)] * 4)
        self.assertEqual(state['Gid'], [str(gid)] * 4)
        self.assertEqual(state['Groups'], [str(gid)])
        for key in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):
            self.assertEqual(int(state[key][0], 16), 0, key)
        if not GENERIC:
            self.assertEqual(int(state['CapBnd'][0], 16), 0)
            self.assertEqual(state['NoNewPrivs'], ['1'])

    def assert_refused(self, outcome, words='', what=''):
        """Ended before accept, with one line of words."""
        self.assertFalse(outcome.accepted, f'{what}: accepts all the same')
        self.assertEqual(outcome.status, 1, f'{what}: {outcome.words}')
        self.assertRegex(outcome.words, r'\A[^\n]{10,}\n\Z', what)
        self.assertIn(words, outcome.words, what)


class Order(PrivTest):
    """Rule 1."""

    def test_rule01_order(self):
        outcome = run('nobody', '-', self.jail, trace=True)
        self.assertTrue(outcome.accepted, outcome.words)
        seen = [f'{call.name}({call.text})' for call in outcome.calls if call.rc >= 0]
        steps = [rf'chroot\("{self.jail}"\)', r'chdir\("/"\)', rf'setgroups\(1, \[{NOBODY}\]\)',
                 rf'setres?gid\({NOBODY}, {NOBODY}.*\)', rf'setres?uid\({NOBODY}, {NOBODY}.*\)']
        if not GENERIC:
            steps += [r'prctl\(PR_CAPBSET_DROP, CAP_CHOWN.*',
                      r'prctl\(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL.*',
                      r'capset\(.*effective=0, permitted=0, inheritable=0.*',
                      r'prctl\(PR_SET_NO_NEW_PRIVS, 1.*', r'getresuid.*', r'getresgid.*',
                      r'getgroups.*', r'capget.*', r'prctl\(PR_CAPBSET_READ, CAP_CHOWN.*']
        steps += [r'write\(1, "accept.*']
        at = 0
        for step in steps:
            ahead = [i for i, call in enumerate(seen) if i >= at and re.fullmatch(step, call)]
            self.assertTrue(ahead, f'{step} is missing after {seen[:at][-3:]}')
            at = ahead[0] + 1
        self.assertFalse([call for call in seen[at:] if not call.startswith('write(')])

    def test_rule01_nothing_is_left(self):
        outcome = run('nobody', '-', self.jail)
        self.assertTrue(outcome.accepted, outcome.words)
        self.assert_dropped(outcome.state)
        self.assertEqual((outcome.state['root'], outcome.state['cwd']), (self.jail, self.jail))

    def test_rule01_group_may_be_another(self):
        self.assert_dropped(run('nobody', 'daemon').state, gid=1)
        self.assert_dropped(run('4711', '0').state, uid=4711, gid=0)

    def test_root_on_request_keeps_its_rights(self):
        state = run('root').state
        self.assertEqual(state['Uid'], ['0'] * 4)
        self.assertEqual(state['Groups'], ['0'])
        self.assertNotEqual(int(state['CapEff'][0], 16), 0)

    def test_group_alone(self):
        state = run('-', 'daemon').state
        self.assertEqual((state['Uid'], state['Gid']), (['0'] * 4, ['1'] * 4))
        self.assertEqual(state['Groups'], ['1'])

    def test_chroot_alone_changes_no_ids(self):
        state = run('-', '-', self.jail).state
        self.assertEqual((state['Uid'], state['Gid']), (['0'] * 4, ['0'] * 4))
        self.assertEqual(state['Groups'], [str(gid) for gid in BEFORE])
        self.assertEqual((state['root'], state['cwd']), (self.jail, self.jail))

    def test_nothing_asked_nothing_done(self):
        outcome = run('-', trace=True)
        self.assertTrue(outcome.accepted)
        self.assertFalse([str(call) for call in outcome.calls
                          if call.name.startswith(('set', 'ch', 'cap'))])

    def test_chroot_to_root_is_allowed(self):
        outcome = run('nobody', '-', '/')
        self.assert_dropped(outcome.state)
        self.assertEqual(outcome.state['cwd'], '/')

    @unittest.skipIf(GENERIC, 'tells by who owns its /proc files, which limits do not change')
    def test_rule24_core_dumps_are_off_unless_asked(self):
        self.assertEqual(run('nobody').state['owner'], 0)
        self.assertEqual(run('nobody', coredump='1').state['owner'], NOBODY)


class Injection(PrivTest):
    """Rule 2: no call may fail, or lie, unnoticed."""

    def each(self, arguments, effect, calls, **more):
        for call in calls:
            what = f'{call} with {effect}'
            inject = [f'{call.name}:{effect}:when={call.n}']
            yield call, what, run(*arguments, inject=inject, **more)

    def baseline(self, *arguments, **more):
        outcome = run(*arguments, trace=True, **more)
        self.assertTrue(outcome.accepted, outcome.words)
        return some_of_each(the_drop(outcome.calls))

    def check_failing(self, arguments, error, keep=lambda call: True):
        # What fails anyway (getting root back) shows nothing by failing.
        calls = [call for call in self.baseline(*arguments) if call.rc >= 0 and keep(call)]
        self.assertTrue(calls)
        for _, what, outcome in self.each(arguments, f'error={error}', calls):
            self.assert_refused(outcome, what=what)

    def test_rule02_each_call_that_fails_ends_it(self):
        self.check_failing(('nobody', 'nogroup'), 'EPERM')

    def test_rule02_each_call_that_fails_ends_it_in_a_chroot(self):
        self.check_failing(('-', '-', self.jail), 'EACCES')
        self.check_failing(('-', '-', '/'), 'EACCES')
        self.check_failing(('nobody', '-', self.jail), 'EPERM',
                           lambda call: call.name in ('chroot', 'chdir', 'setgroups'))

    def test_rule02_missing_calls_are_not_excused(self):
        if not GENERIC:
            self.check_failing(('nobody', '-'), 'ENOSYS',
                               lambda call: call.name in ('prctl', 'capget', 'capset'))

    @unittest.skipIf(GENERIC, 'has no capabilities')
    def test_rule02_capabilities_that_cannot_be_read_or_dropped(self):
        """EINVAL means an unknown capability, but never the first one."""
        first = [call for call in self.baseline('nobody')
                 if call.rc >= 0 and 'CAP_CHOWN' in call.text and call.name == 'prctl']
        self.assertEqual(len(first), 3)  # dropped, looked for in ambient and bounding set
        for _, what, outcome in self.each(('nobody',), 'error=EINVAL', first):
            self.assert_refused(outcome, 'capabilities', what)

    def test_rule02_core_dumps_cannot_be_settled(self):
        for coredump, words in ('0', 'core dumps off'), ('1', 'core dumps on'):
            calls = [call for call in self.baseline('nobody', '-', '-', coredump)
                     if 'DUMPABLE' in call.kind]
            self.assertEqual(len(calls), 0 if GENERIC else 2)
            for _, what, outcome in self.each(('nobody', '-', '-', coredump), 'error=EINVAL',
                                              calls):
                self.assert_refused(outcome, words, what)

    # Told again by another call: an ambient set falls with the permitted one, KEEPCAPS means
    # nothing to those who have none, and what reads as 0 is what it should be.
    HARMLESS = ('PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL', 'PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET',
                'PR_CAPBSET_READ', 'PR_GET_DUMPABLE')

    def test_rule02_each_call_that_lies_is_found_out(self):
        def harmless(call):
            # The first capget only asks whether it is worth trying.
            return (call.kind in self.HARMLESS or call.text == 'PR_SET_KEEPCAPS, 0' or
                    (call.name == 'capget' and call.n == 1))

        arguments = ('nobody', 'nogroup')
        lies = 0
        calls = self.baseline(*arguments)
        for call, what, outcome in self.each(arguments, 'retval=0', calls):
            if harmless(call):
                with self.subTest(what):
                    self.assertTrue(outcome.accepted, outcome.words)
                    self.assert_dropped(outcome.state)
            elif call.text == 'PR_SET_DUMPABLE, SUID_DUMP_DISABLE':
                # The change of user has turned dumps off already.
                self.assertEqual(outcome.state['owner'], 0)
            else:
                lies += 1
                self.assert_refused(outcome, what=what)
        self.assertGreaterEqual(lies, 7 if GENERIC else 16)

    def test_rule02_chroot_that_lies_is_found_out(self):
        arguments = ('-', '-', self.jail)
        for _, what, outcome in self.each(arguments, 'retval=0', self.baseline(*arguments)):
            self.assert_refused(outcome, 'did not take place', what)
        # To another file system, and with only the step after it left out.
        for jail, call in ('/proc', 'chroot'), ('/', 'chdir'):
            outcome = run('-', '-', jail, inject=[f'{call}:retval=0:when=1'])
            self.assert_refused(outcome, f"chroot to '{jail}' did not take place", call)

    def test_rule02_groups_that_stay_are_found_out(self):
        for groups in [], [4711], [NOBODY, 4711], BEFORE:
            outcome = run('nobody', '-', inject=['setgroups:retval=0:when=1'], groups=groups)
            self.assert_refused(outcome, 'supplementary groups are not just nogroup')

    def test_rule02_every_way_back_is_tried(self):
        ways = [call for call in self.baseline('nobody') if call.rc < 0]
        self.assertEqual(len(ways), 5)
        for _, what, outcome in self.each(('nobody',), 'retval=0', ways):
            self.assert_refused(outcome, 'could be had back', what)
        root_group = [call for call in self.baseline('nobody', 'root') if call.rc < 0]
        self.assertEqual(len(root_group), 3)

    @unittest.skipIf(GENERIC, 'has no core dumps to turn on')
    def test_rule02_core_dumps_that_stay_off_are_found_out(self):
        arguments = ('nobody', '-', '-', '1')
        calls = [call for call in self.baseline(*arguments) if 'DUMPABLE' in call.kind]
        for _, what, outcome in self.each(arguments, 'retval=0', calls):
            self.assert_refused(outcome, 'core dumps on', what)


class Escape(PrivTest):
    """Rule 4: no directory goes into the chroot with us."""

    @staticmethod
    def numbers_of(call, text, arguments, inject=()):
        """Which calls of this name, counted from the start, have this text."""
        with tempfile.NamedTemporaryFile() as log:
            subprocess.run(['strace', '-f', '-qq', '-o', log.name, '-e', f'trace={call},openat',
                            *inject, HELPER, *arguments], env=ENV, check=True, cwd='/tmp',
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            with open(log.name, encoding='utf-8') as lines:
                calls = [line for line in lines if f' {call}(' in line]
        return [n for n, line in enumerate(calls, 1) if text in line]

    def test_rule04_directories_are_refused(self):
        fd = os.open('/', os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        outcome = run('nobody', '-', self.jail, fds=[fd])
        self.assert_refused(outcome, f'descriptor {fd} is an open directory')
        path = os.open('/', os.O_PATH)
        self.addCleanup(os.close, path)
        outcome = run('-', '-', self.jail, fds=[path])
        self.assert_refused(outcome, f'descriptor {path} is an open directory')
        self.assertTrue(run('nobody', fds=[fd]).accepted)  # no chroot, no escape

    def test_rule04_files_and_sockets_may_stay(self):
        with open('/etc/passwd', encoding='utf-8') as file:
            self.assertTrue(run('nobody', '-', self.jail, fds=[file.fileno()]).accepted)

    def test_rule04_without_proc_every_number_is_tried(self):
        arguments = ('-', '-', self.jail, '0')
        n = self.numbers_of('openat', '/proc/self/fd', arguments)[0]
        inject = [f'openat:error=ENOENT:when={n}']
        self.assertTrue(run(*arguments, inject=inject).accepted)
        self.assertTrue(run('-', '-', '/', inject=inject).accepted)
        fd = os.open('/', os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        n = self.numbers_of('prlimit64', 'RLIMIT_NOFILE', arguments,
                            ('-e', f'inject={inject[0]}'))[-1]
        for more in [], [f'prlimit64:error=EPERM:when={n}'], [f'prlimit64:retval=0:when={n}']:
            outcome = run(*arguments, inject=inject + more, fds=[fd])
            self.assert_refused(outcome, f'descriptor {fd} is an open directory', more)

    def test_rule04_what_cannot_be_looked_at_is_refused(self):
        arguments = ('-', '-', self.jail, '0')
        n = self.numbers_of('getdents64', '', arguments)[0]
        outcome = run(*arguments, inject=[f'getdents64:error=EIO:when={n}'])
        self.assert_refused(outcome, 'cannot list the open descriptors')
        n = self.numbers_of('newfstatat', '(0, ', arguments)[-1]
        outcome = run(*arguments, inject=[f'newfstatat:error=EIO:when={n}'])
        self.assert_refused(outcome, 'cannot look at descriptor 0')
        outcome = run(*arguments, inject=[f'newfstatat:error=EBADF:when={n}'])
        self.assertTrue(outcome.accepted, outcome.words)  # closed meanwhile by another thread

    def test_rule04_a_chroot_that_is_none(self):
        missing = os.path.join(self.jail, 'missing')
        for path in missing, '/etc/passwd', '':
            self.assert_refused(run('nobody', '-', path), f"chroot to '{path}'")
        for jail in self.jail, '/':
            for text in f'"{jail}"', '"/"', '"."':  # where to go, and where we are then
                n = self.numbers_of('newfstatat', text, ('-', '-', jail, '0'))[-1]
                outcome = run('-', '-', jail, inject=[f'newfstatat:error=EIO:when={n}'])
                self.assert_refused(outcome, f"chroot to '{jail}'", text)


class NotRoot(PrivTest):
    """Who is not root can give up little, and gain nothing."""

    needs_strace = False

    @staticmethod
    def become_nobody():
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)

    def test_own_user_is_accepted(self):
        for user, group in ('nobody', '-'), ('-', 'nogroup'), (str(NOBODY), str(NOBODY)):
            outcome = run(user, group, before=self.become_nobody)
            self.assertTrue(outcome.accepted, outcome.words)
            self.assertEqual(int(outcome.state['CapEff'][0], 16), 0)
            self.assertEqual(outcome.state['Groups'], [str(gid) for gid in BEFORE])
            if not GENERIC:
                self.assertEqual(outcome.state['NoNewPrivs'], ['1'])

    def test_only_root_can_become_another(self):
        outcome = run('daemon', '-', before=self.become_nobody)
        self.assert_refused(outcome, 'only root can become user daemon')
        outcome = run('root', '-', before=self.become_nobody)
        self.assert_refused(outcome, 'only root can become user root')
        outcome = run('nobody', 'daemon', before=self.become_nobody)
        self.assert_refused(outcome, 'only root can become group daemon')
        outcome = run('-', 'root', before=self.become_nobody)
        self.assert_refused(outcome, 'only root can become group root')

    def test_only_root_can_chroot(self):
        self.assert_refused(run('-', '-', self.jail, before=self.become_nobody), 'chroot to ')

    @unittest.skipIf(GENERIC or not shutil.which('setpriv'), 'needs capabilities and setpriv')
    def test_rule01_ambient_capabilities_go(self):
        caps = '+net_bind_service,+setpcap'
        for wanted in '+net_bind_service', caps:
            outcome = run('nobody', '-', wrapper=[
                'setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups',
                f'--inh-caps={wanted}', f'--ambient-caps={wanted}'])
            self.assertTrue(outcome.accepted, outcome.words)
            for key in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):
                self.assertEqual(int(outcome.state[key][0], 16), 0, key)
        self.assertEqual(int(outcome.state['CapBnd'][0], 16), 0)  # who may clear it, does

    @unittest.skipIf(GENERIC or not shutil.which('setpriv'), 'needs capabilities and setpriv')
    def test_rule02_root_that_cannot_clear_the_bounding_set(self):
        outcome = run('nobody', '-', wrapper=['setpriv', '--bounding-set=-setpcap'])
        self.assert_refused(outcome, 'root without CAP_SETPCAP')
        outcome = run('nobody', '-', wrapper=['setpriv', '--bounding-set=-setgid'])
        self.assert_refused(outcome, 'cannot replace the supplementary groups by nogroup')

    def test_rule03_unknown_users_are_refused(self):
        for user in '0day', '-1', '4294967295', '':
            outcome = run(user)
            self.assertFalse(outcome.accepted)
            self.assertEqual(outcome.status, 2)


if __name__ == '__main__':
    unittest.main()
