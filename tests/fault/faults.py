"""faults.py - what the tests of faults share: in which modes they run, what a server costs while it
waits, what it has open, and places of its own for it to run in.

    class Descriptors(InModes):
        modes = FORKING
        def test_it(self): with self.server() as server: ...
    load_tests = in_modes(Descriptors)
"""
import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
import unittest

from modes import MODES, InEveryMode, chosen
from netd import cpu_seconds, fds, status, threads, wait_until

ALL = tuple(MODES)
PREFORK = tuple(name for name in MODES if name.startswith('childs'))
FORKING = ('fork', 'childs-fork')
THREADED = ('threads', 'childs-threads')
POLLERS = ('fibers', 'fibers-epoll', 'fibers-poll')  # mode fibers in one process
FIBERS = POLLERS + ('childs-fibers',)
SHARING = THREADED + FIBERS  # connections share a process
BESIDE = FORKING + THREADED  # more than one connection at a time in one accepting process
SANITIZED = os.environ.get('SANITIZED', '')


class InModes(InEveryMode):
    """Like InEveryMode, for the modes named in `modes`: no others are tried, or counted."""
    modes = ALL


def in_modes(*classes):
    """For load_tests."""
    def load_tests(loader, _standard, _pattern):
        suite = unittest.TestSuite()
        for base in classes:
            for mode in filter(base.modes.__contains__, chosen()):
                name = f'{base.__name__}[{mode}]'
                suite.addTests(loader.loadTestsFromTestCase(type(name, (base,), {
                    'mode': mode, '__module__': base.__module__, '__qualname__': name})))
        return suite
    return load_tests


# ------------------------------------------------------------------------------ looking at servers

def cpu_share(server, seconds=1):
    """How much of one processor all processes of the server use, while this long passes."""
    def used():
        total = 0
        for pid in server.pids():
            with contextlib.suppress(OSError):  # it has just ended
                total += cpu_seconds(pid)
        return total
    before, begin = used(), time.monotonic()
    time.sleep(seconds)  # the measurement itself: nothing is waited for
    return (used() - before) / (time.monotonic() - begin)


def books(server):
    """What must be as before once all is over: descriptors of each process, and how many there are.
    Threads are left out: they are kept for a while."""
    counts = [len(fds(server.pid))]
    for pid in server.pids()[1:]:
        with contextlib.suppress(OSError):  # it has just ended
            counts.append(len(fds(pid)))
    return len(counts), sum(counts)


def settle(server, wanted):
    """Wait until the books show no more than that."""
    def same():
        return all(now <= before for now, before in zip(books(server), wanted))
    wait_until(f'processes and descriptors are back at {wanted}', same)


def ready(server, mode):
    """Wait until all workers have come as far as to have what they need."""
    def up():
        workers, above = server.workers(), set(fds(server.pid).values())
        with contextlib.suppress(OSError):  # one has just ended
            return len(workers) == 2 and all(
                any(name.startswith('pipe:') and name not in above for name in fds(pid).values())
                and status(pid)['State'].startswith('S') for pid in workers)
    if mode.startswith('childs'):
        wait_until('both workers have a pipe of their own for signals, and wait', up)
    if mode.startswith('childs-fibers'):
        server.wait_for_log('fibers wait by', count=2)


def accepting(server, mode):
    """The processes that accept connections."""
    return server.workers() if mode.startswith('childs') else [server.pid]


def thread_count(server):
    return sum(len(threads(pid)) for pid in server.pids())


def no_core():
    """For preexec_fn: a process that is made to crash leaves no file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def need_descriptors(count):
    """This process, and servers it starts, may have so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise unittest.SkipTest(f'only {hard} descriptors are allowed here, {count} are needed')
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# ------------------------------------------------------------------------------------ other places

def need_root(why):
    if os.geteuid() != 0:
        raise unittest.SkipTest(f'needs root: {why}')


def own_mounts(script):
    """A wrapper for Server(): runs this shell script in a mount namespace of the server's own, from
    which nothing gets out, then the server in its place."""
    need_root('a mount namespace')
    wrapper = ['unshare', '--mount', '--propagation', 'private']
    if not shutil.which('unshare') or subprocess.run([*wrapper, 'true'], check=False,
                                                     stderr=subprocess.DEVNULL).returncode:
        raise unittest.SkipTest('mount namespaces are not allowed here')
    return [*wrapper, 'sh', '-ec', script + '\nexec "$@"', 'sh']


@contextlib.contextmanager
def folder():
    """An empty folder that any user may look into."""
    with tempfile.TemporaryDirectory(prefix='netd-fault-') as path:
        os.chmod(path, 0o755)
        yield path


def start_quietly(server, path):
    """Start a server that does not log to standard error, and listens at this Unix path. It listens
    before it is ready for signals: somebody has to be served."""
    server.start(wait=False)

    def there():
        if server.process.poll() is not None:
            raise AssertionError(server._with_log('it ended at once'))
        with contextlib.suppress(OSError):
            return server.talk(b'', address=f'unix:{path}') == b''
    try:
        wait_until(f'it listens at {path}', there)
    except BaseException:
        server.kill()
        raise
    server.addresses = [f'unix:{path}']
    return server
