"""test_headers.py - each public header compiles alone, as C and as C++."""
import glob
import os
import subprocess
import unittest

ROOT = os.environ['SOURCE_ROOT']
INCLUDE = os.path.join(ROOT, 'include')
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wundef', '-Werror', '-fsyntax-only']
C, CXX = os.environ.get('CC', 'cc').split() + ['-Wshadow'], ['g++', '-Wshadow']
# Not the fields left out: NETD_SERVICE is meant to leave them out.
SERVICE = '-Wno-missing-field-initializers'
USE = '''#include <netdaemon.h>
static int run(struct netd_conn *conn)
{
	return netd_printf(conn, "%d\\n", 1) < 0;
}
const struct netd_service &echo();
const struct netd_service &echo()
{
	static const struct netd_service service = NETD_SERVICE(.name = "echo", .run = run);
	return service;
}
'''


def compile_text(compiler, language, text, *more):
    """The compiler's complaints about text; '' when it takes it."""
    done = subprocess.run([*compiler, f'-std={language}', *WARNINGS, *more, '-I', INCLUDE, '-x',
                           'c++' if '++' in language else 'c', '-'], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout if done.returncode else ''


class Headers(unittest.TestCase):
    def compiles_alone(self, compiler, language):
        paths = sorted(glob.glob(os.path.join(glob.escape(INCLUDE), '*.h')))
        self.assertTrue(paths)
        for path in paths:
            with self.subTest(os.path.basename(path)):
                name = os.path.basename(path)
                text = f'#include <{name}>\n#include <{name}>\nextern int not_empty;\n'
                self.assertEqual(compile_text(compiler, language, text), '')

    def test_compile_as_c17(self):
        self.compiles_alone(C, 'c17')

    def test_compile_as_c11(self):
        self.compiles_alone(C, 'c11')

    def test_compile_as_cxx17(self):
        self.compiles_alone(CXX, 'c++17')

    def test_compile_as_cxx20(self):
        self.compiles_alone(CXX, 'c++20')

    def test_a_service_can_be_written_in_cxx20(self):
        self.assertEqual(compile_text(CXX, 'c++20', USE, SERVICE), '')

    def test_a_service_for_a_shared_object_compiles_as_c_and_cxx(self):
        text = (USE[:USE.index('const struct netd_service &echo();')] +
                'NETD_EXPORT_SERVICE(.name = "echo", .run = run);\n')
        self.assertEqual(compile_text(C, 'c17', text, SERVICE, '-Wmissing-declarations'), '')
        self.assertEqual(compile_text(CXX, 'c++20', text, SERVICE, '-Wmissing-declarations'), '')

    def test_what_tells_the_abi_stays_in_front_of_the_service(self):
        """A library of any version has to find these three in a service of any other."""
        self.assertEqual(compile_text(C, 'c17', """#include <netdaemon.h>
_Static_assert(offsetof(struct netd_service, size) == 0, "size");
_Static_assert(offsetof(struct netd_service, abi) == sizeof(size_t), "abi");
_Static_assert(offsetof(struct netd_service, built_for) == 2 * sizeof(size_t), "built_for");
_Static_assert(_Generic(((struct netd_service *)0)->abi, int: 1, default: 0), "an int");
"""), '')

    def test_another_layout_is_another_abi(self):
        """Fields may be added at the end. If this fails otherwise, NETD_ABI has to be raised."""
        fields = ['size', 'abi', 'built_for', 'name', 'version', 'summary', 'options', 'configure',
                  'open', 'accept', 'run', 'loop', 'keep_stack', 'done']
        words = ''.join(f'_Static_assert(offsetof(struct netd_service, {name}) == {number} * '
                        f'sizeof(void *), "{name}");\n' for number, name in enumerate(fields))
        self.assertEqual(compile_text(C, 'c17', '#include <netdaemon.h>\n'
                                      '_Static_assert(NETD_ABI == 1, "layout");\n' + words), '')
        options = ['name', 'type', 'value', 'choices', 'min', 'max', 'argument', 'help']
        words = ''.join(f'_Static_assert(offsetof(struct netd_option, {name}) == {number} * '
                        f'sizeof(void *), "{name}");\n' for number, name in enumerate(options))
        self.assertEqual(compile_text(C, 'c17', '#include <netdaemon.h>\n' + words +
                                      '_Static_assert(sizeof(struct netd_option) == 8 * sizeof(void '
                                      '*), "an array of them");\n'), '')

    def test_the_printf_attribute_is_there(self):
        """Rule 18: a format that does not fit its arguments draws a warning."""
        words = compile_text(CXX, 'c++20', USE.replace('%d', '%s'), SERVICE)
        self.assertIn('[-Werror=format=]', words)

    def test_the_compilers_can_say_no(self):
        self.assertNotEqual(compile_text(C, 'c17', 'int f(int class) { return klass; }'), '')
        self.assertNotEqual(compile_text(CXX, 'c++17', 'int f(int class);'), '')
