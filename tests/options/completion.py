"""completion.py - the option --completion, for test_options.py: the scripts of both shells are run
by these shells."""
import shutil
import subprocess
import unittest

# What bash would offer after these words, each on a line.
BASH = '''
source "$1"
shift
COMP_WORDS=(conform "$@")
COMP_CWORD=$#
_conform 2>/dev/null # compopt works in a real completion only
printf '%s\\n' "${COMPREPLY[@]}"
'''

# What zsh is told of each option, each on a line.
ZSH = '''
_arguments() { print -rl -- "$@" }
_normal() { : }
source "$1"
'''


class OfCompletion:
    """Tests of Options."""

    def script(self, shell):
        result = self.run_program('--completion', shell)
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        return self.file(shell, result.stdout)

    def offered(self, script, *words):
        result = subprocess.run(['bash', '--norc', '-c', BASH, 'bash', script, *words],
                                check=True, capture_output=True, text=True)
        return list(dict.fromkeys(result.stdout.split()))  # a command may be in two folders

    def test_completion(self):
        """A real shell reads the script, and offers names and values."""
        script = self.script('bash')
        for words, expected in ((['--mo'], ['--mode']),
                                (['--mode', 'f'], ['fork', 'fibers']),
                                (['--mode', '=', 'th'], ['threads']),
                                (['--mode', '='], ['single', 'fork', 'threads', 'fibers']),
                                (['--user', 'nobo'], ['nobody']),
                                (['--chroot', '/et'], ['/etc']),
                                (['--nodeb'], ['--nodebug']),
                                (['--localport', '7'], None),
                                (['--', 'printen'], ['printenv']),
                                (['--', 'cat', '--mo'], [])):
            with self.subTest(words=words):
                found = self.offered(script, *words)
                if expected is None:
                    self.assertNotIn('--mode', found)
                else:
                    self.assertEqual(found, expected)
        self.assertEqual(sorted(name for name in self.offered(script, '--')
                                if not name.startswith('--no') and name != '--'),
                         sorted(f'--{name}' for name in self.rows_of_help()
                                if name not in ('clients', 'notify-fd')))

    def rows_of_help(self):
        return [line.split()[0].replace('[no]', '').lstrip('-')
                for line in self.run_program('--help').stdout.splitlines()
                if line.startswith('  ') and not line.startswith('   ')]

    @unittest.skipUnless(shutil.which('zsh'), 'needs zsh')
    def test_completion_of_zsh(self):
        script = self.script('zsh')
        subprocess.run(['zsh', '-n', script], check=True)
        told = subprocess.run(['zsh', '-f', '-c', ZSH, 'zsh', script], check=True,
                              capture_output=True, text=True).stdout.splitlines()
        self.assertIn('--mode=[How connections are served side by side]:MODE:'
                      '(single fork threads fibers)', told)
        self.assertIn('--nodebug', told)
        self.assertIn('*:: :_normal', told)
        self.assertTrue(any(line.startswith('--chroot=') and line.endswith(':DIRECTORY:_files -/')
                            for line in told))
        self.assertTrue(any(line.startswith('*--bind=') for line in told))
