"""test_fiber_arm.py - the context switch for 64-bit ARM, compiled by a cross compiler and run under
qemu-user: the very tests of test_fiber_context.c.

Happy path: each way of compiling gives a program that passes every test of the plan it prints.
Failure modes: a missing compiler or emulator is a failure, with the name of the package; nothing is
skipped. Packages: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.environ['SOURCE_ROOT']
COMPILER, EMULATOR = 'aarch64-linux-gnu-gcc', 'qemu-aarch64'
SOURCES = ['src/fiber/context.c', 'src/fiber/context_frame.c', 'src/fiber/context_aarch64.S']
TEST = 'tests/unit/test_fiber_context.c'
FLAGS = ['-std=gnu17', '-D_GNU_SOURCE', '-DGENERIC=0', '-g', '-Wall', '-Wextra', '-Werror',
         '-fvisibility=hidden', '-Isrc', '-Itests/unit/bare', '-static', '-lm']


class Arm(unittest.TestCase):
    def tool(self, name, package):
        path = shutil.which(name)
        self.assertTrue(path, f'no {name} here: install {package}')
        return path

    def run_tests(self, *flags):
        """Build with these flags, run all tests; what they print."""
        compiler = self.tool(COMPILER, 'gcc-aarch64-linux-gnu and libc6-dev-arm64-cross')
        emulator = self.tool(EMULATOR, 'qemu-user')
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, 'test')
            subprocess.run([compiler, *flags, TEST, *SOURCES, *FLAGS, '-o', program], cwd=ROOT,
                           check=True)
            done = subprocess.run([emulator, program], stdout=subprocess.PIPE, text=True,
                                  timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def check(self, *flags):
        with open(os.path.join(ROOT, TEST), encoding='utf-8') as file:
            names = re.findall(r'cmocka_unit_test\((\w+)\)', file.read())
        passed = re.findall(r'^ok \d+ - (\w+)$', self.run_tests(*flags), re.M)
        self.assertEqual(passed, names)
        self.assertGreater(len(names), 8)

    def test_contexts_hold_with_optimisation(self):
        self.check('-O2')

    def test_contexts_hold_without_optimisation(self):
        self.check('-O0')

    def test_contexts_hold_with_signed_return_addresses(self):
        self.check('-O2', '-mbranch-protection=standard')

    def test_contexts_hold_with_frame_pointers_and_much_inlining(self):
        self.check('-O3', '-fno-omit-frame-pointer')
