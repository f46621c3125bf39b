#!/usr/bin/env python3
"""check_map.py - the exported symbols are those the public headers declare, named one by one.

check_map.py           says what differs between include/*.h and src/libnetdaemon.map
check_map.py --write   writes the map anew from the headers
A function is public when its declaration begins with NETD_API; its name must begin with netd_.
"""
import os
import re
import sys

import lintlib

MAP = 'src/libnetdaemon.map'
DECLARED = re.compile(r'^NETD_API\b[^;{]*?\b(\w+)\s*\(', re.M)
NODE = 'NETDAEMON_0'


def declared(root):
    """The public functions, sorted, and complaints about their names."""
    names, complaints = set(), []
    for path in lintlib.tree(root, 'include/*.h'):
        text = re.sub(r'^\s*#\s*define\s+NETD_API\b.*$', '', lintlib.bare(lintlib.read(root, path)),
                      flags=re.M)
        found = DECLARED.findall(text)
        if len(found) != len(re.findall(r'\bNETD_API\b', text)):
            complaints.append(f'{path}:1: a NETD_API that does not begin the line of a function')
        complaints += [f'{path}:1: {name}: public names begin with netd_' for name in found
                       if not name.startswith('netd_')]
        names |= set(found)
    return sorted(names), complaints


def map_text(names):
    lines = ''.join(f'\t\t{name};\n' for name in names)
    return ('# Made by tools/check_map.py --write from include/*.h.\n'
            f'{NODE} {{\n\tglobal:\n{lines}\tlocal:\n\t\t*;\n}};\n')


def check(root):
    names, complaints = declared(root)
    if not names:
        return ['include: no function is declared NETD_API']
    there = lintlib.read(root, MAP) if os.path.exists(os.path.join(root, MAP)) else ''
    listed = re.findall(r'^\t\t(\w+);$', there, re.M)
    complaints += [f'{MAP}:1: {name} is missing' for name in names if name not in listed]
    complaints += [f'{MAP}:1: {name} is in no header' for name in listed if name not in names]
    if not complaints and there != map_text(names):
        complaints.append(f'{MAP}:1: not as tools/check_map.py --write makes it')
    return complaints


HEADER = '#define NETD_API x\n/* NETD_API no */\nNETD_API int netd_b(int (*f)(void));\n' \
         'NETD_API struct x *\nnetd_a(void);\n'
BAD = [
    ({'include/n.h': HEADER, MAP: map_text(['netd_a'])}, 'netd_b is missing'),
    ({'include/n.h': HEADER, MAP: map_text(['netd_a', 'netd_b', 'netd_c'])}, 'netd_c is in no'),
    ({'include/n.h': HEADER, MAP: '{ global: netd_*; local: *; };\n'}, 'netd_a is missing'),
    ({'include/n.h': HEADER, MAP: map_text(['netd_a', 'netd_b']) + '\n'}, 'not as'),
    ({'include/n.h': 'NETD_API int open_it(void);\n', MAP: map_text(['open_it'])}, 'begin with'),
    ({'include/n.h': 'extern NETD_API int netd_a(void);\nNETD_API int netd_b(void);\n',
      MAP: map_text(['netd_b'])}, 'does not begin the line'),
    ({MAP: map_text([])}, 'no function is declared'),
    ({'include/n.h': HEADER, MAP: map_text(['netd_a', 'netd_b'])}, None),
]

if __name__ == '__main__':
    if sys.argv[1:] == ['--write']:
        ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with open(os.path.join(ROOT, MAP), 'w', encoding='utf-8') as out:
            out.write(map_text(declared(ROOT)[0]))
        sys.exit(0)
    sys.exit(lintlib.main(__name__))
