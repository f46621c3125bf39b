"""objects.py - shared objects for netdaemon --service, made by the test's own compiler; config files
of several services in both syntaxes.

Failure modes: what the compiler refuses is the test's failure, with its words.
"""
import json
import os
import subprocess

from ground import Ground, run
from netd import Failure

PROGRAM = os.environ['PROGRAM']
ROOT = os.environ['SOURCE_ROOT']
YAML = os.environ['YAML'] == '1'
RUN = '''
#include <netdaemon.h>
static int run(struct netd_conn *conn) { return (int)netd_write(conn, "hello\\n", 6); }
'''
HELLO = RUN + 'NETD_EXPORT_SERVICE(.name = "hello", .run = run);\n'


def example(name):
    """A service that the build made."""
    return os.path.join(os.environ['PROGRAMS'], name + '.so')


def perl(value):
    """A tree of dicts, lists and texts as a Perl literal."""
    if isinstance(value, dict):
        return '{\n' + ''.join(f"'{key}' => {perl(item)},\n" for key, item in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(map(perl, value)) + ']'
    return f"'{value}'"


class Objects(Ground):
    syntax = 'yaml' if YAML else 'perl'

    def build(self, name, source, *options, compiler=None, language='c'):
        """Compile a shared object into the folder of this test; returns its path."""
        path = self.path(name)
        done = subprocess.run(
            [*(compiler or os.environ['CC'].split()), '-shared', '-fPIC', '-fvisibility=hidden', '-I',
             os.path.join(ROOT, 'include'), *options, '-x', language, '-', '-o', path],
            input=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise Failure(done.stdout)
        os.chmod(path, 0o755)
        return path

    def tree(self, value, name='services'):
        """A config file of this tree, in the syntax of the test (JSON is YAML)."""
        if self.syntax == 'perl':
            return self.file(name + '.conf', perl(value))
        return self.file(name + '.yaml', json.dumps(value, indent=1))

    def wrong(self, *args, words, status=2, **more):
        """This must not start: one line with these words, nothing else. Returns the line."""
        result = run(PROGRAM, *args, **more)
        self.assertEqual((result.returncode, result.stdout), (status, ''), result.stderr)
        self.assertRegex(result.stderr, r'\A[^\n]+\n\Z')
        self.assertIn(words, result.stderr)
        return result.stderr
