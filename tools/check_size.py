#!/usr/bin/env python3
"""check_size.py - no file over 600 lines, no function of C over 60.

A function is what clang-format leaves: a line "{" and, later, a line "}". The tables of tests in
main() may be longer.
"""
import sys

import lintlib

FILE_LINES = 600
FUNCTION_LINES = 60
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
        for start, size, head in functions(lines):
            if size > FUNCTION_LINES and not (path.startswith('tests/') and 'main(' in head):
                complaints.append(f'{path}:{start}: a function of {size} lines; '
                                  f'{FUNCTION_LINES} are allowed')
    return complaints


BAD = [
    ({'src/a.c': 'int x;\n' * 601}, '601 lines'),
    ({'src/a.c': 'int f(void)\n{\n' + '\tx();\n' * 61 + '}\n'}, 'a.c:2: a function of 61 lines'),
    ({'src/a.c': 'int f(void)\n{\n' + '\tx();\n' * 60 + '}\n', 'tests/b.c': 'int main(void)\n{\n'
      + '\tx();\n' * 61 + '}\n', 'tools/a.sh': 'x\n' * 600}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
