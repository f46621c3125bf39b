#!/usr/bin/env python3
"""check_includes.py - arrows point down: who may include whose headers.

src/ is a list of folders, top first; a folder includes its own headers and those of folders below
it. conf and log are leaves: they know only base and os. os knows nobody. Programs outside src/
(examples, cmd) see the public headers and their own folder, as an author would.
"""
import os
import re
import sys

import lintlib

ORDER = ['testkit', 'server', 'mode', 'listen', 'conn', 'access', 'proto', 'fiber', 'io', 'proc',
         'conf', 'log', 'base', 'os']
LEAVES = {'conf': {'conf', 'base', 'os'}, 'log': {'log', 'base', 'os'}}
PUBLIC = {'netdaemon.h', 'netdaemon_sections.h', 'netdaemon_test.h'}
OUTSIDE = ('examples', 'cmd')
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)


def allowed(folder):
    return LEAVES.get(folder) or set(ORDER[ORDER.index(folder):])


def complaint_inside(root, path, quote, header):
    """What is wrong with this include in src/; None: nothing."""
    folder = path.split('/')[1]
    if header in PUBLIC:
        return 'os includes no header of ours' if folder == 'os' else None
    if quote == '<':
        if os.path.exists(os.path.join(root, 'src', header)):
            return f'our own header {header} goes in quotes'
        return None
    target = header.split('/')[0]
    if not os.path.exists(os.path.join(root, 'src', header)):
        return f'there is no src/{header}; headers are named "folder/file.h"'
    if target not in allowed(folder):
        return f'{folder} may not include {target}: arrows point down'
    return None


def complaint_outside(root, path, quote, header):
    """The same for a program that uses the library."""
    if quote == '<' or header in PUBLIC:
        return None
    if os.path.exists(os.path.join(root, os.path.dirname(path), header)):
        return None
    return f'"{header}": programs see only the public headers'


def check(root):
    complaints = []
    for path in lintlib.tree(root, '*.c', '*.h'):
        parts = path.split('/')
        if parts[0] == 'src' and len(parts) > 2:
            if parts[1] not in ORDER:
                complaints.append(f'{path}:1: src/{parts[1]} has no place in the order of folders')
                continue
            judge = complaint_inside
        elif parts[0] in OUTSIDE:
            judge = complaint_outside
        else:
            continue
        text = lintlib.read(root, path)
        for match in INCLUDE.finditer(text):
            words = judge(root, path, match[1], match[2])
            if words:
                line = text.count('\n', 0, match.start(1)) + 1
                complaints.append(f'{path}:{line}: {words}')
    return complaints


BAD = [
    ({'src/base/a.c': '#include "io/io.h"\n', 'src/io/io.h': ''}, 'a.c:1: base may not include io'),
    ({'src/conf/a.c': '\n#include "log/log.h"\n', 'src/log/log.h': ''}, 'a.c:2: conf may not'),
    ({'src/log/a.c': '#include "conf/v.h"\n', 'src/conf/v.h': ''}, 'log may not include conf'),
    ({'src/os/a.c': '#include <netdaemon.h>\n'}, 'os includes no header'),
    ({'src/os/a.c': '#include "base/base.h"\n', 'src/base/base.h': ''}, 'os may not include base'),
    ({'src/conn/a.c': '#include "a.h"\n', 'src/conn/a.h': ''}, 'there is no src/a.h'),
    ({'src/conn/a.c': '#include <io/io.h>\n', 'src/io/io.h': ''}, 'in quotes'),
    ({'src/misc/a.c': ''}, 'src/misc has no place'),
    ({'examples/a/a.c': '#include "conn/conn.h"\n', 'src/conn/conn.h': ''}, 'only the public'),
    ({'src/server/a.c': '#include "mode/m.h"\n#include <netdaemon.h>\n#include <stdio.h>\n',
      'src/mode/m.h': '', 'src/log/l.c': '#include "base/b.h"\n', 'src/base/b.h': '',
      'examples/a.c': '#include "b.h"\n', 'examples/b.h': ''}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
