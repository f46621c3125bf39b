#!/usr/bin/env python3
"""check_text.py - what is not C: manual pages, shell and Python programs, and stray paths.

Manual pages pass mandoc without a warning; shell programs pass shellcheck, and build.sh is also
read by dash; Python compiles; no text names a folder of the machine it was written on.
"""
import os
import re
import sys

import lintlib

HOMES = re.compile(r'/(?:home|Users)/(?!user\b|you\b|alice\b|nobody\b)\w+')
COMMON = {'/', '/tmp', '/var/tmp', '/usr/src', '/usr/local/src', '/opt', '/srv', '/home', '/build'}


def manual_pages(root):
    paths = lintlib.tree(root, 'docs/man/*.[0-9]')
    if not paths:
        return []
    _, words = lintlib.run([lintlib.program('mandoc'), '-T', 'lint', '-W', 'warning', *paths], root)
    return [line.replace('mandoc: ', '') for line in words.splitlines()]


def shell_programs(root):
    paths = [path for path in lintlib.tree(root)
             if path.endswith('.sh') or re.match(r'#!\s*/\S*?(?:\s|/)(?:ba|da)?sh\b',
                                                 lintlib.read(root, path)[:40])]
    if not paths:
        return []
    _, words = lintlib.run([lintlib.program('shellcheck'), '-f', 'gcc', *paths], root)
    complaints = words.splitlines()
    for path in paths:
        if lintlib.read(root, path).startswith('#!/bin/sh'):
            status, words = lintlib.run(['dash', '-n', path], root)
            complaints += [f'{path}:1: {words.strip()}'] if status else []
    return complaints


def python_programs(root):
    complaints = []
    for path in lintlib.tree(root, '*.py'):
        try:
            compile(lintlib.read(root, path), path, 'exec')
        except SyntaxError as error:
            complaints.append(f'{path}:{error.lineno}: {error.msg}')
    return complaints


def own_folders(root):
    """Folders that only this machine has: the checkout, where it lies, the home of who builds."""
    root = os.path.realpath(root)
    found = {root, os.path.dirname(root), os.path.expanduser('~')} - COMMON - {'/root'}
    return [folder for folder in found if folder.count('/') > 1 or folder != root]


def stray_paths(root):
    names = [re.escape(folder) + r'(?![\w.-])' for folder in own_folders(root)]
    pattern = re.compile('|'.join([HOMES.pattern] + names))
    complaints = []
    for path in lintlib.tree(root):
        for number, line in enumerate(lintlib.read(root, path).splitlines(), 1):
            match = pattern.search(line)
            if match and path != 'tools/check_text.py':
                complaints.append(f'{path}:{number}: {match[0]}: a folder of one machine')
    return complaints


def check(root):
    return manual_pages(root) + shell_programs(root) + python_programs(root) + stray_paths(root)


BAD = [
    ({'docs/man/a.3': '.Dd x\n.Sh NAME\n.Fx\n.No (\n'}, 'docs/man/a.3:'),
    ({'build.sh': '#!/bin/sh\nrm -rf $1/x\n'}, 'build.sh:2:'),
    ({'build.sh': '#!/bin/sh\nif true\n'}, 'build.sh:'),
    ({'.ci/run': '#!/bin/bash\ncd $1\n'}, '.ci/run:2:'),
    ({'tools/a.py': 'def f(:\n'}, 'tools/a.py:1:'),
    ({'README.md': 'x\nsee /home/' + 'jane/netdaemon\n'}, 'README.md:2:'),
    ({'README.md': 'see /home/user/x, /homestead and /tmp\n', 'a.py': 'x = 1\n',
      'a.sh': '#!/bin/sh\necho "$1"\n'}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
