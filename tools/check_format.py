#!/usr/bin/env python3
"""check_format.py - C looks as clang-format makes it, by the tree's .clang-format.

Versions of clang-format differ in their ways: one version is the judge, others cannot tell.
"""
import os
import re
import sys

import lintlib

VERSION = 14
STYLE = '.clang-format'


def check(root):
    judge = lintlib.program('clang-format', VERSION)
    paths = lintlib.tree(root, '*.c', '*.h')
    if not os.path.exists(os.path.join(root, STYLE)):
        return [f'{STYLE}: missing']
    if not paths:
        return []
    status, words = lintlib.run([judge, '--dry-run', '-Werror', *paths], root)
    first = {}
    for path, line in re.findall(r'^([^:\n]+\.[ch]):(\d+):\d+: error:', words, re.M):
        first.setdefault(path, line)
    complaints = [f'{path}:{line}: run clang-format -i {path}' for path, line in first.items()]
    return complaints or ([words] if status else [])


BAD = [
    ({STYLE: 'BasedOnStyle: LLVM\n', 'src/a.c': 'int a;\nint  f( void );\n'}, 'src/a.c:2: run'),
    ({STYLE: 'BasedOnStyle: LLVM\nNoSuchThing: 1\n', 'src/a.c': 'int a;\n'}, 'Error reading'),
    ({'src/a.c': 'int a;\n'}, 'missing'),
    ({STYLE: 'BasedOnStyle: LLVM\n', 'src/a.c': 'int a;\n'}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
