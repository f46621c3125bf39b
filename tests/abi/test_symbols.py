"""test_symbols.py - the libraries export what the public headers declare: nothing less or more."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT, BUILD = os.environ['SOURCE_ROOT'], os.environ['BUILD_ROOT']
sys.path.insert(0, os.path.join(ROOT, 'tools'))
import check_map  # noqa: E402  pylint: disable=wrong-import-position


def symbols(path, *options):
    """The global names that a file defines, without their versions."""
    words = subprocess.run(['nm', '--defined-only', '--extern-only', '--format=posix', *options,
                            path], stdout=subprocess.PIPE, text=True, check=True).stdout
    # "name kind value size"; an archive also has lines that name its members. A: a version's name.
    found = re.findall(r'^(\S+) ([A-Z])(?: |$)', words, re.M)
    return {name.split('@')[0] for name, kind in found if kind != 'A'}


class Symbols(unittest.TestCase):
    def setUp(self):
        self.declared = set(check_map.declared(ROOT)[0])

    def test_shared_library_exports_what_the_headers_declare(self):
        found = symbols(os.path.join(BUILD, 'src', 'libnetdaemon.so'), '--dynamic')
        self.assertEqual(sorted(self.declared - found), [], 'declared, not exported')
        self.assertEqual(sorted(found - self.declared), [], 'exported, not declared')

    def test_static_library_defines_what_the_headers_declare(self):
        found = symbols(os.path.join(BUILD, 'src', 'libnetdaemon.a'))
        self.assertEqual(sorted(self.declared - found), [], 'declared, not defined')
        self.assertEqual(sorted(found - self.declared), [], 'defined, not declared')

    def test_the_soname_carries_the_version_of_the_abi(self):
        words = subprocess.run(['readelf', '-d', os.path.join(BUILD, 'src', 'libnetdaemon.so')],
                               stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertIn('[libnetdaemon.so.0]', words)

    def test_a_stray_symbol_would_be_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            stray = os.path.join(folder, 'libstray.so')
            subprocess.run([*os.environ['CC'].split(), '-shared', '-fPIC', '-x', 'c', '-', '-o',
                            stray], input='int stray; static int mine; int *p(void) '
                           '{ return &mine; }', text=True, check=True)
            self.assertLessEqual({'stray', 'p'}, symbols(stray, '--dynamic'))
            self.assertNotIn('mine', symbols(stray, '--dynamic'))
