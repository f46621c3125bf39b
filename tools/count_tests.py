#!/usr/bin/env python3
"""count_tests.py - adds up what the rows of `build.sh test` left, and says it in one line.

Happy path: read RESULTS, one line "ROW STATUS LOG" per row; LOG is a meson testlog.json (one JSON
object per test program) or a TAP file. A program that speaks TAP counts by its lines, any other by
its exit status. Name every failure, then print "N passed, N failed" (", N skipped"), alone and last.

Failure modes, each counted as a failed test so that the sum is honest: a program that crashed,
timed out or stopped before its plan was done; a row whose log is missing or empty, or that ended
in failure though no test in it failed. Exit status 1 when anything failed or nothing passed.
"""
import json
import re
import sys
from collections import namedtuple

PLAN = re.compile(r'^1\.\.(\d+)\s*(?:#\s*(skip\S*)\s*(.*))?$', re.I)
POINT = re.compile(r'^(not )?ok\b\s*(\d*)\s*-?\s*([^#]*)(?:#\s*(skip|todo)\S*\s*(.*))?$', re.I)

DETAILS = 60  # lines shown about one failure

Count = namedtuple('Count', 'passed failed skipped')  # passed: a number; the others: lists of words


def count_tap(text):
    """The Count of one TAP stream, or None when it has no plan and no test line at all."""
    passed, failed, skipped, planned, seen = 0, [], [], None, 0
    about = None  # the failure that comments speak of
    for line in text.splitlines():
        plan, point = PLAN.match(line), POINT.match(line)
        if plan:
            planned = (planned or 0) + int(plan[1])
            if plan[1] == '0':
                skipped.append(plan[3] or 'everything')
        elif point:
            seen += 1
            about = None
            words = (point[3].strip() or point[5] or point[2] or '').strip()
            if point[4] and point[4].lower() == 'skip':
                skipped.append(words)
            elif point[1]:  # "not ok # TODO" too: nothing here is expected to fail
                failed.append(words)
                about = 0
            else:
                passed += 1
        elif about is not None and about < DETAILS and line.startswith('#'):
            failed[-1] += '\n    ' + line
            about += 1
        elif line.startswith('Bail out!'):
            failed.append(line)
    if planned is None and not seen:
        return None
    if planned is None:
        failed.append('no plan')
    elif planned != seen and not failed:
        failed.append(f'{planned} planned, {seen} seen')
    return Count(passed, failed, skipped)


def count_program(entry):
    """The Count of one test program as meson logged it."""
    result = entry.get('result', 'ERROR')
    count = count_tap(entry.get('stdout') or '')
    if count is None:
        if result == 'OK':
            return Count(1, [], [])
        if result == 'SKIP':
            return Count(0, [], ['everything'])
        return Count(0, [f'the program: {result}'], [])
    if result not in ('OK', 'SKIP') and not count.failed:
        count.failed.append(f'the program: {result}, exit status {entry.get("returncode")}')
    return count


def count_log(path):
    """[(program, Count)] of a log file; empty when there is none."""
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            text = file.read()
    except OSError:
        return []
    if path.endswith('.json'):
        entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [(entry['name'], count_program(entry)) for entry in entries]
    count = count_tap(text)
    return [('', count)] if count else []


def main(results):
    passed, failures, skips = 0, [], []
    with open(results, encoding='utf-8') as file:
        rows = [line.rstrip('\n').split(' ', 2) for line in file]
    for row, status, log in rows:
        counts = count_log(log)
        failed = [f'{row} {name}: {words}' for name, c in counts for words in c.failed]
        skipped = [f'{row} {name}: {words}' for name, c in counts for words in c.skipped]
        done = sum(c.passed for _, c in counts)
        if done + len(failed) + len(skipped) == 0:
            failed.append(f'{row}: nothing ran, exit status {status}')
        elif status != '0' and not failed:
            failed.append(f'{row}: exit status {status}')
        print(f'{row}: {done} passed, {len(failed)} failed, {len(skipped)} skipped')
        passed, failures, skips = passed + done, failures + failed, skips + skipped
    for word, lines in ('skipped', skips), ('failed', failures):
        for line in lines:
            print(f'{word}: {line}')
    tail = f', {len(skips)} skipped' if skips else ''
    print(f'{passed} passed, {len(failures)} failed{tail}')
    return 1 if failures or not passed else 0


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit('usage: count_tests.py RESULTS')
    sys.exit(main(sys.argv[1]))
