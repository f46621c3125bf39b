#!/usr/bin/env python3
"""check_size.py - no file over 600 lines, no function of C over 60 (in tests: 100).

A function is what clang-format leaves: a line "{" and, later, a line "}". The table of tests in a
main() may be longer.
"""
import sys

import lintlib

FILE_LINES = 600
FUNCTION_LINES, TEST_LINES = 60, 100
SOURCES = ('*.c', '*.h', '*.py', '*.sh', '*.pm', '*.pl', '*.t', '*.S', '*meson.build')


def functions(lines):
    """(first line, number of lines, its name's line) of each function body."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == '{':
            start = number
        elif line == '}' and start:
            yield start, number - start - 1, lines[start - 2] if start > 1 else ''
            start = None


def check(root):
    complaints = []
    for path in lintlib.tree(root, *SOURCES):
        lines = lintlib.read(root, path).splitlines()
        if len(lines) > FILE_LINES:
            complaints.append(f'{path}:{FILE_LINES}: {len(lines)} lines; {FILE_LINES} are allowed')
        if not path.endswith(('.c', '.h')):
            continue
        tests = path.startswith('tests/')
        most = TEST_LINES if tests else FUNCTION_LINES
        for start, size, head in functions(lines):
            if size > most and not (tests and 'main(' in head):
                complaints.append(f'{path}:{start}: a function of {size} lines; {most} are allowed')
    return complaints


BAD = [
    ({'src/a.c': 'int x;\n' * 601}, '601 lines'),
    ({'src/a.c': 'int f(void)\n{\n' + '\tx();\n' * 61 + '}\n'}, 'a.c:2: a function of 61 lines'),
    ({'tests/a.c': 'int f(void)\n{\n' + '\tx();\n' * 101 + '}\n'}, 'a.c:2: a function of 101'),
    ({'src/a.c': 'int f(void)\n{\n' + '\tx();\n' * 60 + '}\n', 'tests/b.c': 'int main(void)\n{\n'
      + '\tx();\n' * 101 + '}\n', 'tools/a.sh': 'x\n' * 600}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
