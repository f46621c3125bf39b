"""test_counting.py - the count at the end of build.sh test is honest, and TAP from Python and Perl."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ['SOURCE_ROOT']
COUNT = os.path.join(ROOT, 'tools', 'count_tests.py')
TAP = os.path.join(ROOT, 'tests', 'lib', 'tap_unittest.py')
FLAT = os.path.join(ROOT, 'tests', 'lib', 'tap_flat.py')
GOOD = '1..2\nok 1 - a\nok 2 - b\n'


def program(stdout, result='OK', code=0):
    return {'name': 'p', 'stdout': stdout, 'result': result, 'returncode': code}


class Counting(unittest.TestCase):
    def count(self, *rows):
        """rows: (status, log), log a TAP text, a list of programs, or None for no log at all."""
        with tempfile.TemporaryDirectory(prefix='with blanks ') as folder:
            results = os.path.join(folder, 'results')
            with open(results, 'w', encoding='utf-8') as out:
                for number, (status, log) in enumerate(rows):
                    kind = 'tap' if isinstance(log, str) else 'json'
                    path = os.path.join(folder, f'{number}.{kind}')
                    out.write(f'row{number} {status} {path}\n')
                    if log is not None:
                        with open(path, 'w', encoding='utf-8') as file:
                            file.write(log if kind == 'tap' else
                                       '\n'.join(json.dumps(entry) for entry in log))
            done = subprocess.run([sys.executable, COUNT, results], stdout=subprocess.PIPE,
                                  text=True, check=False)
        self.said = done.stdout
        return done.returncode, done.stdout.splitlines()[-1]

    def test_every_line_of_tap_counts(self):
        self.assertEqual(self.count((0, [program(GOOD), program(GOOD)]), (0, GOOD)),
                         (0, '6 passed, 0 failed'))

    def test_a_program_without_tap_counts_once(self):
        self.assertEqual(self.count((0, [program(''), program('hello')])), (0, '2 passed, 0 failed'))

    def test_a_failed_line_counts(self):
        self.assertEqual(self.count((1, [program('1..2\nok 1\nnot ok 2 - b\n', 'FAIL', 1)])),
                         (1, '1 passed, 1 failed'))

    def test_what_a_failure_said_is_shown(self):
        text = '1..2\nnot ok 1 - a\n# because\nok 2 - b\n# unasked\n'
        self.count((1, text))
        self.assertRegex(self.said, r'(?m)^failed: row0 : a\n    # because$')
        self.assertNotIn('unasked', self.said)

    def test_skipped_lines_are_told_apart(self):
        self.assertEqual(self.count((0, '1..3\nok 1\nok 2 # SKIP no\nnot ok 3 # SKIP name\n')),
                         (0, '1 passed, 0 failed, 2 skipped'))

    def test_nothing_is_expected_to_fail(self):
        self.assertEqual(self.count((0, '1..1\nnot ok 1 # TODO later\n')), (1, '0 passed, 1 failed'))

    def test_a_crash_is_a_failure(self):
        self.assertEqual(self.count((1, [program('1..2\nok 1\n', 'ERROR', -11)])),
                         (1, '1 passed, 1 failed'))
        self.assertEqual(self.count((1, [program(GOOD, 'TIMEOUT', -15)])), (1, '2 passed, 1 failed'))
        self.assertEqual(self.count((1, [program('', 'FAIL', 1)])), (1, '0 passed, 1 failed'))

    def test_a_plan_that_was_not_kept_is_a_failure(self):
        self.assertEqual(self.count((0, '1..3\nok 1\nok 2\n')), (1, '2 passed, 1 failed'))
        self.assertEqual(self.count((0, 'ok 1\n')), (1, '1 passed, 1 failed'))
        self.assertEqual(self.count((0, '1..2\nok 1\nBail out! no\n')), (1, '1 passed, 1 failed'))

    def test_a_row_without_tests_is_a_failure(self):
        self.assertEqual(self.count((0, GOOD), (0, None)), (1, '2 passed, 1 failed'))
        self.assertEqual(self.count((0, [])), (1, '0 passed, 1 failed'))
        self.assertEqual(self.count(), (1, '0 passed, 0 failed'))

    def test_a_row_that_failed_without_a_failed_test_is_a_failure(self):
        self.assertEqual(self.count((3, GOOD)), (1, '2 passed, 1 failed'))

    def test_only_skips_is_not_success(self):
        self.assertEqual(self.count((0, '1..0 # SKIP no\n')), (1, '0 passed, 0 failed, 1 skipped'))


class Tap(unittest.TestCase):
    def tap(self, text, *patterns):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'test_x.py')
            with open(path, 'w', encoding='utf-8') as out:
                out.write('import unittest\nclass T(unittest.TestCase):\n' + text)
            done = subprocess.run([sys.executable, TAP, path, *patterns], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if not line.startswith('#')]
        return done.returncode, lines

    def test_passed_failed_and_skipped(self):
        self.assertEqual(self.tap('  def test_a(self): print("ok 7")\n'
                                  '  def test_b(self): self.fail("x")\n'
                                  '  def test_c(self): self.skipTest("why")\n'
                                  '  def test_d(self): raise OSError\n'),
                         (1, ['ok 1 - T.test_a', 'not ok 2 - T.test_b',
                              'ok 3 - T.test_c # SKIP why', 'not ok 4 - T.test_d', '1..4']))

    def test_a_failed_subtest_fails_its_test_once(self):
        self.assertEqual(self.tap('  def test_a(self):\n    for n in 1, 2:\n'
                                  '      with self.subTest(n): self.fail()\n'),
                         (1, ['not ok 1 - T.test_a', '1..1']))

    def test_broken_fixtures_are_failures(self):
        text = '  @classmethod\n  def setUpClass(cls): raise OSError\n  def test_a(self): pass\n'
        status, lines = self.tap(text)
        self.assertEqual(status, 1)
        self.assertRegex(lines[0], '^not ok 1 - setUpClass')
        self.assertEqual(self.tap('  def test_a(self): pass\n  def tearDown(self): self.fail()\n'),
                         (1, ['not ok 1 - T.test_a', '1..1']))

    def test_a_file_that_cannot_be_read_or_is_empty_is_a_failure(self):
        self.assertEqual(self.tap('  def\n'), (1, ['not ok 1 - test_x.py', '1..1']))
        self.assertEqual(self.tap('  pass\n'), (1, ['not ok 1 - no test was found', '1..1']))

    def test_a_pattern_chooses(self):
        text = '  def test_a(self): pass\n  def test_b(self): self.fail()\n'
        self.assertEqual(self.tap(text, 'test_a'), (0, ['ok 1 - T.test_a', '1..1']))


class Subtests(unittest.TestCase):
    """tap_flat.py: each assertion of a subtest counts, its sum does not."""

    def flat(self, text, status=0):
        """What it says of a program that says text and ends so: (exit status, lines)."""
        done = subprocess.run([sys.executable, FLAT, 'sh', '-c', f'cat; exit {status}'], input=text,
                              stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    def test_assertions_of_subtests_count_one_by_one(self):
        text = ('# Subtest: a\n    ok 1 - x\n    # Subtest: b\n        ok 1 - y\n        1..1\n'
                '    ok 2 - b\n    1..2\nok 1 - a\nok 2 - z\n1..2\n')
        self.assertEqual(self.flat(text),
                         (0, ['ok 1 - a: x', 'ok 2 - a: b: y', 'ok 3 - z', '1..3']))

    def test_a_failure_inside_counts_once(self):
        text = '# Subtest: a\n    ok 1 - x\n    not ok 2 - y\n    1..2\nnot ok 1 - a\n1..1\n'
        self.assertEqual(self.flat(text, 1),
                         (1, ['ok 1 - a: x', 'not ok 2 - a: y', '1..2']))

    def test_a_sum_counts_when_nothing_inside_says_it(self):
        text = '# Subtest: a\n    1..3\n    ok 1 - x\nnot ok 1 - a\n1..1\n'
        self.assertEqual(self.flat(text)[1], ['ok 1 - a: x', 'not ok 2 - a', '1..2'])
        text = '# Subtest: a\n    1..0 # SKIP why\nok 1 - a # skip why\n1..1\n'
        self.assertEqual(self.flat(text)[1], ['# 1..0 # SKIP why', 'ok 1 - a # skip why', '1..1'])

    def test_what_is_broken_stays_broken(self):
        self.assertEqual(self.flat('1..3\nok 1 - x\n', 255), (255, ['ok 1 - x', '1..3']))
        self.assertEqual(self.flat('ok 1 - x\n# Subtest: a\n    ok 1 - y\n')[1],
                         ['ok 1 - x', 'ok 2 - a: y'])
        self.assertEqual(self.flat('1..0 # SKIP why\n')[1], ['1..0 # SKIP why'])
        self.assertEqual(self.flat('', '$(kill -9 $$)')[0], 137)
