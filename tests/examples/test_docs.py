"""test_docs.py - what the documents say is so: tables are those of the program, commands give the
output shown, configuration files are good, names of files and tests exist."""
import glob
import os
import re
import subprocess
import tempfile
import unittest

ROOT, PROGRAMS = os.environ['SOURCE_ROOT'], os.environ['PROGRAMS']
PAGE = 'docs/man/netdaemon.conf.5'
TEXTS = ['README.md', 'CHANGELOG.md', 'SECURITY.md', 'CONTRIBUTING.md', 'docs/architecture.md']
CHOSEN = '7777'  # by the example, for --localport: the table has no default there
ANSWERS = re.compile(r'--(?:check|explain|version)\b|frk|id\.conf')  # commands that end by themselves


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read()


def run(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False, **more)


def blocks(path):
    """The literal displays of a manual page, the fenced blocks of a Markdown file."""
    if path.endswith('.md'):
        return [block for _, block in re.findall(r'(?ms)^```(\w*)\n(.*?)^```', read(path))]
    return [block.replace('\\e', '\\')
            for block in re.findall(r'(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed', read(path))]


def files(path):
    """Blocks that are files: their first line is a comment with the name."""
    named = ((re.match(r'# (\S+\.(?:conf|yaml))\n', block), block) for block in blocks(path))
    return {match[1]: block for match, block in named if match}


def commands(path):
    """(command, output) of the lines that begin with "$ "."""
    for block in blocks(path):
        for part in re.split(r'(?m)^\$ ', block)[1:]:
            command, _, output = part.partition('\n')
            yield command, output


def rows_of_help():
    """(option, default, words) as --help tells them."""
    text = run(os.path.join(PROGRAMS, 'echo'), '--help').stdout
    for label, words in re.findall(r'(?m)^  ((?:--|clients).*?)(?:  +|\n {26})((?:.|\n {26})*)$',
                                   text):
        words = re.sub(r'\s+', ' ', words)
        default = re.search(r'(?:; | \()default: ([^)]*)\)', words)
        if default:
            rest = ')' if default[0].startswith(';') else ''
            words = words.replace(default[0], rest)
        default = default[1] if default else ''
        yield label, '' if (label, default) == ('--localport PORT', CHOSEN) else default, words


class Docs(unittest.TestCase):
    def folder(self):
        """A folder with the programs, and with the files that the documents show."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        for program in glob.glob(os.path.join(PROGRAMS, '*')):
            if os.access(program, os.X_OK) and os.path.isfile(program):
                os.symlink(program, os.path.join(holder.name, os.path.basename(program)))
        for path in PAGE, 'README.md':
            for name, text in files(path).items():
                with open(os.path.join(holder.name, name), 'w', encoding='utf-8') as file:
                    file.write(text)
                os.chmod(file.name, 0o644)
        return holder.name

    def test_the_options_of_the_manual_page_are_those_of_the_table(self):
        new = subprocess.run([os.environ['CONF_MDOC']], input=read(PAGE), text=True, timeout=60,
                             stdout=subprocess.PIPE, check=False)
        self.assertEqual(new.returncode, 0)
        self.assertEqual(new.stdout, read(PAGE), 'docs/conf_mdoc.c tells how to renew the page')

    def test_the_options_of_the_readme_are_those_of_help(self):
        shown = re.findall(r'(?m)^\| `((?:--|clients)[^`]*)` \| (.*?) \| (.*?) \|$',
                           read('README.md'))
        wanted = list(rows_of_help())
        self.assertIn(f'(default: {CHOSEN})',
                      ' '.join(run(os.path.join(PROGRAMS, 'echo'), '--help').stdout.split()))
        self.assertGreater(len(wanted), 25)
        self.assertEqual([(a, b.strip(), c) for a, b, c in shown], wanted)

    def test_the_server_of_the_readme_is_the_example(self):
        source = read('examples/echo.c')
        self.assertIn('```c\n' + source[source.index('#include'):] + '```\n', read('README.md'))

    def test_configuration_files_are_good(self):
        folder, said = self.folder(), {}
        self.assertEqual(sorted(files(PAGE)), ['echo.conf', 'echo.yaml'])
        for name in {**files(PAGE), **files('README.md')}:
            if name.endswith('.yaml') and os.environ['YAML'] == '0':
                continue
            if name == 'id.conf':
                continue
            with self.subTest(name):
                answer = run('./echo', '--configfile', name, '--check', cwd=folder)
                self.assertEqual(answer.returncode, 0, answer.stdout)
                self.assertNotIn('warning', answer.stdout)
                said[name] = re.sub(r'(?m) \([^()]*\)$|^configfile.*\n', '', answer.stdout)
        if os.environ['YAML'] != '0':
            self.assertEqual(said['echo.yaml'], said['echo.conf'])

    def test_commands_give_the_output_shown(self):
        folder, seen = self.folder(), 0
        for path in PAGE, 'README.md':
            for command, output in commands(path):
                if not command.startswith('./') or not ANSWERS.search(command):
                    continue
                seen += 1
                with self.subTest(command):
                    answer = run('sh', '-c', command, cwd=folder)
                    if output:
                        self.assertEqual(answer.stdout, output)
                    else:
                        self.assertEqual(answer.returncode, 0, answer.stdout)
        self.assertGreaterEqual(seen, 6)

    def test_the_example_of_a_test_passes(self):
        answer = run(os.environ['GREETER_TEST'])
        self.assertEqual(answer.returncode, 0, answer.stdout)
        self.assertEqual(answer.stdout.count('greeter terminated'), 4)

    def test_files_that_are_named_exist(self):
        names = r'`((?:include|src|tests|docs|examples|tools|bench|fuzz)/[\w./*{},-]*)`'
        seen = 0
        for path in TEXTS:
            for name in re.findall(names, read(path)):
                seen += 1
                parts = re.match(r'(.*)\{(.*)\}(.*)', name)
                every = [parts[1] + part + parts[3] for part in parts[2].split(',')] if parts \
                    else [name]
                for one in every:
                    if 'NAME' in one:
                        continue
                    self.assertTrue(glob.glob(os.path.join(ROOT, one)), f'{path}: {one}')
        self.assertGreater(seen, 40)

    def test_tests_that_are_named_exist(self):
        tests = {}
        for path in glob.glob(os.path.join(ROOT, 'tests', '**', '*.*'), recursive=True):
            if path.endswith(('.c', '.py')):
                tests[os.path.basename(path)] = read(path)
        rows = re.findall(r'(?m)^\| \d+ \| .* \| (.*?) \|$', read('SECURITY.md'))
        self.assertGreater(len(rows), 12)
        for row in rows:
            cited = re.findall(r'`(test_\w+\.(?:c|py))`((?:,? `\w+\*?`)*)', row)
            self.assertTrue(cited, row)
            for name, words in cited:
                self.assertIn(name, tests, row)
                for word, star in re.findall(r'`(\w+)(\*?)`', words):
                    pattern = rf'\b(?:test_)?{word}' + ('' if star else r'\b')
                    self.assertTrue(re.search(pattern, tests[name]), f'{name}: {word}{star}')


if __name__ == '__main__':
    unittest.main()
