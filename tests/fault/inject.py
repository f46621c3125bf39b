"""inject.py - arms the faults of inject.c in a running server.

    with Faults() as faults, self.server(**faults.into()) as server:
        faults.arm('fork', error=errno.EAGAIN, times=5)
        ...
        faults.disarm()

Happy path: the table lies in a file that this process and all of the server's have mapped.
Failure modes: where the library cannot be used (sanitizers, another libc) the test is skipped and
says so; an unknown fault is a KeyError.
"""
import mmap
import os
import struct
import tempfile
import unittest

FAULTS = ['fork', 'thread', 'accept', 'recv', 'send', 'sendfile', 'poll', 'alloc', 'log', 'pipe']
FIELDS = ['left', 'skip', 'every', 'error', 'calls', 'hits']  # of 64 bits each, as in inject.c
ROW = 8 * len(FIELDS)
FOR_EVER = -1
SHORTEN = 0  # in the place of an error: one byte, no failure


def need_library():
    """The path of the library, or the test ends here."""
    library = os.environ.get('INJECT_LIBRARY')
    if not library:
        raise unittest.SkipTest('no fault injection in this build: sanitizers and other libraries '
                                'than glibc have a malloc of their own')
    return library


class Faults:
    """A table of faults, none of them armed."""

    def __init__(self):
        self.library = need_library()
        self.file = tempfile.NamedTemporaryFile(prefix='netd-faults-')
        self.file.truncate(ROW * len(FAULTS))
        self.file.flush()
        os.chmod(self.file.name, 0o666)  # for servers that become another user
        self.table = mmap.mmap(self.file.fileno(), ROW * len(FAULTS))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.table.close()
        self.file.close()

    def into(self, **env):
        """Keyword arguments for Server()."""
        return {'env': {'LD_PRELOAD': self.library, 'INJECT': self.file.name, **env}}

    def _place(self, fault, field):
        return FAULTS.index(fault) * ROW + FIELDS.index(field) * 8

    def get(self, fault, field):
        return struct.unpack_from('=q', self.table, self._place(fault, field))[0]

    def _set(self, fault, field, value):
        struct.pack_into('=q', self.table, self._place(fault, field), value)

    def arm(self, fault, error, times=FOR_EVER, skip=0, every=1):
        """From now on, after `skip` calls, fail each `every`-th, so many times."""
        self._set(fault, 'left', 0)
        for field, value in (('skip', skip), ('every', every), ('error', error),
                             ('calls', 0), ('hits', 0)):
            self._set(fault, field, value)
        self._set(fault, 'left', times)  # last: this is what arms it

    def disarm(self, *faults):
        """These, or all."""
        for fault in faults or FAULTS:
            self._set(fault, 'left', 0)

    def hits(self, fault):
        return self.get(fault, 'hits')
