#!/usr/bin/env python3
"""tap_unittest.py - runs one file of Python unit tests and reports them as TAP.

usage: tap_unittest.py FILE.py [PATTERN...]     (PATTERN: only tests whose name contains it)

Happy path: import FILE (its folder and this one are on the path), run its TestCases, print
"ok N - Case.test" as each ends and the plan last. What tests print themselves goes to standard
error, so that it cannot be taken for TAP. Failure modes: a test that fails or raises is "not ok"
with its traceback as comments; a file that cannot be imported, or holds no test, is a failure; so
are a broken setUpClass and a subtest. Exit status 1 when anything failed.
"""
import importlib.util
import os
import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    """One line per test. A test with failed subtests is one failure."""

    def __init__(self, out):
        super().__init__()
        self.out, self.number, self.bad = out, 0, False

    def say(self, words):
        self.out.write(words + '\n')
        self.out.flush()

    def point(self, verdict, name, after=''):
        self.number += 1
        self.bad = self.bad or verdict != 'ok'
        self.say(f'{verdict} {self.number} - {name}{after}')

    def comment(self, text):
        for line in text.rstrip().splitlines():
            self.say(f'# {line}')

    @staticmethod
    def title(test):
        return test.id().split('.', 1)[-1].replace('#', '')

    def startTest(self, test):
        super().startTest(test)
        test.tap_problems = []

    def problem(self, test, error):
        words = self._exc_info_to_string(error, test)
        if hasattr(test, 'tap_problems'):
            test.tap_problems.append(words)
        else:  # setUpClass, tearDownClass, setUpModule: no test of its own
            self.point('not ok', str(test).replace('#', ''))
            self.comment(words)

    def addError(self, test, err):
        self.problem(test, err)

    def addFailure(self, test, err):
        self.problem(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            test.tap_problems.append(f'{subtest}\n{self._exc_info_to_string(err, subtest)}')

    def addSkip(self, test, reason):
        if hasattr(test, 'tap_problems'):
            test.tap_skipped = reason
        else:  # a whole class
            self.point('ok', str(test), f' # SKIP {reason}')

    def addUnexpectedSuccess(self, test):
        test.tap_problems.append('was expected to fail, and did not')

    def stopTest(self, test):
        super().stopTest(test)
        if test.tap_problems:
            self.point('not ok', self.title(test))
            self.comment('\n'.join(test.tap_problems))
        elif hasattr(test, 'tap_skipped'):
            self.point('ok', self.title(test), f' # SKIP {test.tap_skipped}')
        else:
            self.point('ok', self.title(test))


def load(path):
    """The tests of a file."""
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return unittest.TestLoader().loadTestsFromModule(module)


def chosen(suite, patterns):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test, patterns)
        elif not patterns or any(pattern in test.id() for pattern in patterns):
            yield test


def main(path, patterns):
    out = os.fdopen(os.dup(1), 'w', encoding='utf-8', errors='replace')
    os.dup2(2, 1)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:0] = [os.path.dirname(os.path.abspath(path)), here]
    result = TapResult(out)
    try:
        suite = unittest.TestSuite(chosen(load(path), patterns))
        suite.run(result)
    except Exception:  # pylint: disable=broad-except
        result.point('not ok', os.path.basename(path))
        result.comment(traceback.format_exc())
    if result.number == 0:
        result.point('not ok', 'no test was found')
    result.say(f'1..{result.number}')
    return 1 if result.bad else 0


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit('usage: tap_unittest.py FILE.py [PATTERN...]')
    sys.exit(main(sys.argv[1], sys.argv[2:]))
