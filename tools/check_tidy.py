#!/usr/bin/env python3
"""check_tidy.py - clang-tidy finds nothing, by the tree's .clang-tidy.

Needs a build folder's compile_commands.json (build/main; NETD_LINT_BUILD names another). Files of a
tree without one (the proofs below) are compiled with the project's dialect alone. Generated files
and other compilers' flags are left out. One version is the judge: new versions bring new checks.
"""
import concurrent.futures
import json
import os
import re
import sys

import lintlib

VERSION = 14
FOLDERS = ('src/*.c', 'cmd/*.c', 'examples/*.c', 'fuzz/*.c', 'bench/*.c')

def compiled(root, build):
    """The files the build compiles, by their path in the tree."""
    try:
        with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
            commands = json.load(file)
    except OSError:
        return None
    real = os.path.realpath
    return {os.path.relpath(real(os.path.join(c['directory'], c['file'])), real(root))
            for c in commands}


def check(root):
    judge = lintlib.program('clang-tidy', VERSION)
    build = os.environ.get('NETD_LINT_BUILD') or os.path.join(root, 'build', 'main')
    known = compiled(root, build) if os.path.isdir(os.path.join(root, 'build')) else None
    paths = lintlib.tree(root, *FOLDERS)
    flags = ['--', '-std=gnu17', '-D_GNU_SOURCE', '-Isrc', '-Iinclude']
    if known is not None:
        paths, flags = [path for path in paths if path in known], []

    def one(path):
        where = ['-p', build] if not flags else []
        status, words = lintlib.run([judge, '--quiet', '--warnings-as-errors=*', *where,
                                     os.path.join(root, path), *flags], root)
        found = []
        for m in re.finditer(r'^(\S[^:\n]*):(\d+):\d+: (?:error|warning): (.*)$', words, re.M):
            place = path if m[1].endswith(path) else m[1].split('../')[-1]
            found.append(f'{place}:{m[2]}: {m[3]}')
        return found or ([f'{path}:1: {words[-2000:]}'] if status else [])

    jobs = int(os.environ.get('NETD_LINT_JOBS', '2'))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return sorted({line for lines in pool.map(one, paths) for line in lines})


BUG = '''#include <stdlib.h>

int f(int n)
{
	int *p = malloc(sizeof *p);

	if (!p)
		return 0;
	*p = n;
	free(p);
	return *p;
}
'''
CONFIG = "Checks: '-*,clang-analyzer-*'\n"
BAD = [
    ({'.clang-tidy': CONFIG, 'src/a.c': BUG}, 'Use of memory after it is freed'),
    ({'.clang-tidy': CONFIG, 'src/a.c': 'int f(\n'}, 'src/a.c'),
    ({'.clang-tidy': CONFIG, 'src/a.c': 'int f(void);\n'}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
