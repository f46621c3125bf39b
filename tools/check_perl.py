#!/usr/bin/env python3
"""check_perl.py - Net::Daemon for Perl as text: it compiles, its manual and its list are in order.

Every program and module of perl/ compiles under `perl -wc` without a word, with a stand-in for the
part in C, which need not be built; every page of POD passes podchecker without a warning; MANIFEST
names exactly the files that are there, but for those that MANIFEST.SKIP leaves to the project.
"""
import os
import re
import sys
import tempfile

import lintlib

PERL = ('perl/*.pm', 'perl/*.t', 'perl/*.PL', 'perl/*.pl')
ELSEWHERE = re.compile(r'^Name "[\w:]+" used only once: possible typo')  # in another file
CORE = 'Net/Daemon/Core.pm'
# The constants of Core.pm, but no XSLoader.
STAND_IN = 'package Net::Daemon::Core; sub AUTOLOAD { 0 } sub ACCEPT() {2} sub AGAIN() {0}\n' \
           'sub INTR() {1} sub TIMER() {3} 1;\n'


def compiles(root):
    complaints, paths = [], lintlib.tree(root, *PERL)
    if not paths:
        return []
    perl = lintlib.program('perl')
    with tempfile.TemporaryDirectory() as stand_in:
        os.makedirs(os.path.join(stand_in, os.path.dirname(CORE)))
        with open(os.path.join(stand_in, CORE), 'w', encoding='utf-8') as out:
            out.write(STAND_IN)
        for path in paths:
            status, words = lintlib.run([perl, '-I' + stand_in, '-Iperl/lib', '-Iperl/t/lib',
                                         '-wc', path], root)
            lines = [line for line in words.splitlines()
                     if line != f'{path} syntax OK' and not ELSEWHERE.search(line)]
            if status or lines:
                complaints.append(f'{path}:1: {" ".join(lines)}')
    return complaints


def manual(root):
    paths = [path for path in lintlib.tree(root, 'perl/*.pod', *PERL)
             if re.search(r'^=\w', lintlib.read(root, path), re.M)]
    if not paths:
        return []
    _, words = lintlib.run([lintlib.program('podchecker'), '-warnings', *paths], root)
    return [f'{match[3]}:{match[2]}: {match[1]}' for match in re.finditer(
        r'^\*\*\* (?:ERROR|WARNING): (.*) at line (\d+) in file (\S+)$', words, re.M)]


def manifest(root):
    there = {path[len('perl/'):] for path in lintlib.tree(root, 'perl/*')}
    if 'MANIFEST' not in there:
        return ['perl/MANIFEST:1: missing'] if there else []
    listed = set(lintlib.read(root, 'perl/MANIFEST').split())
    skip = lintlib.read(root, 'perl/MANIFEST.SKIP').split() if 'MANIFEST.SKIP' in there else []
    there = {path for path in there if not any(re.search(pattern, path) for pattern in skip)}
    return [f'perl/MANIFEST:1: {path} is not listed' for path in sorted(there - listed)] + \
        [f'perl/MANIFEST:1: {path} is listed and not there' for path in sorted(listed - there)]


def check(root):
    return compiles(root) + manual(root) + manifest(root)


LIST = 'MANIFEST\n'
BAD = [
    ({'perl/MANIFEST': LIST + 'a.pm\n', 'perl/a.pm': 'package a;\nif (\n'}, 'perl/a.pm:1: syntax'),
    ({'perl/MANIFEST': LIST + 'a.t\n', 'perl/a.t': 'use strict;\n$x = 1;\n'}, 'Global symbol'),
    ({'perl/MANIFEST': LIST + 'a.t\n', 'perl/a.t': 'my $x; my $x;\n'}, '"my" variable $x masks'),
    ({'perl/MANIFEST': LIST + 'a.pod\n', 'perl/a.pod': '=head1 A\n\n=over\n\n=item x\n'},
     'perl/a.pod:'),
    ({'perl/MANIFEST': LIST + 'a.pod\n', 'perl/a.pod': '=head1 A\n\nI<x\n\n=cut\n'}, 'perl/a.pod:'),
    ({'perl/MANIFEST': LIST, 'perl/a.c': 'int a;\n'}, 'a.c is not listed'),
    ({'perl/MANIFEST': LIST + 'a.c\n'}, 'a.c is listed and not there'),
    ({'perl/a.c': 'int a;\n'}, 'missing'),
    ({'perl/MANIFEST': LIST + 'a.pm\na.pod\n', 'perl/MANIFEST.SKIP': '^meson\n^MANIFEST.SKIP\n',
      'perl/meson.build': '\n', 'perl/a.pod': '=head1 A\n\nWords.\n\n=cut\n',
      'perl/a.pm': 'package a;\nuse Net::Daemon::Core;\nprint Net::Daemon::Core::ACCEPT;\n1;\n'},
     None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
