"""test_man.py - the manual pages: every function has one and is found under its name, the examples
in them compile, the markup is clean."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.environ['SOURCE_ROOT']
MAN = os.path.join(ROOT, 'docs', 'man')


def text(*path):
    with open(os.path.join(ROOT, *path), encoding='utf-8') as file:
        return file.read()


def pages(section='3'):
    return sorted(name for name in os.listdir(MAN) if name.endswith('.' + section))


def names(page):
    """What the NAME section says the page is about."""
    section = re.split(r'(?m)^\.Sh ', text('docs', 'man', page))[1]
    return re.findall(r'(?m)^\.Nm (\S+)', section)


def declared(header):
    """The functions of a public header."""
    code = re.sub(r'(?s)/\*.*?\*/', '', text('include', header))
    return set(re.findall(r'NETD_API\s[^;(]*?\b(netd_\w+)\(', code))


def programs(page):
    """Displays that are whole source files, as a compiler would see them."""
    for display in re.findall(r'(?s)\n\.Bd -literal[^\n]*\n(.*?)\n\.Ed', text('docs', 'man', page)):
        if display.startswith('#include'):
            yield display.replace('\\e', '\\') + '\n'


class Man(unittest.TestCase):
    def test_every_public_function_has_its_page(self):
        functions = declared('netdaemon.h') | declared('netdaemon_test.h')
        functions |= declared('netdaemon_sections.h')
        self.assertGreater(len(functions), 50)
        named = {name for page in pages() for name in names(page)}
        self.assertEqual(sorted(functions - named), [])
        gone = named - functions
        self.assertEqual([name for name in sorted(gone) if name.startswith('netd_')], [])

    def test_every_named_function_is_in_the_synopsis(self):
        for page in pages():
            body = text('docs', 'man', page)
            for name in names(page):
                with self.subTest(name):
                    if name.startswith('netd_'):
                        self.assertRegex(body, rf'(?m)^\.F[no] {name}\b')

    def test_every_name_is_installed(self):
        build = text('docs', 'meson.build')
        for page in pages():
            for name in [page[:-2], *names(page)]:
                self.assertIn(f"'{name}'", build, page)

    def test_examples_compile_without_a_warning(self):
        compiler, seen = os.environ.get('CC', 'cc').split(), 0
        for page in pages():
            for program in programs(page):
                seen += 1
                with self.subTest(page), tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, 'example.c')
                    with open(path, 'w', encoding='utf-8') as file:
                        file.write(program)
                    result = subprocess.run(
                        [*compiler, '-std=gnu17', '-Wall', '-Wextra', '-Wconversion', '-Werror',
                         '-I', os.path.join(ROOT, 'include'), '-c', '-o',
                         os.path.join(folder, 'example.o'), path],
                        capture_output=True, text=True, timeout=60, check=False)
                    self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertGreaterEqual(seen, 7)

    def test_the_overview_shows_the_echo_example(self):
        source = text('examples', 'echo.c')
        self.assertEqual(next(programs('netdaemon.3')), source[source.index('#include'):])

    def test_markup_is_clean(self):
        if not shutil.which('mandoc'):
            self.skipTest('mandoc is not installed')
        for page in sorted(os.listdir(MAN)):
            with self.subTest(page):
                result = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning', page], cwd=MAN,
                                        capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual((result.returncode, result.stdout), (0, ''))


if __name__ == '__main__':
    unittest.main()
