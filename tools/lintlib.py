"""lintlib.py - what the check_*.py programs share.

A check is a module with two names:
  check(root)  the complaints about the tree at root, each "path:line: words"; an empty list: it holds.
  BAD          proofs that it can fail: [(files, words)], files a dict of path -> text. check() of a
               tree of just these files must give a complaint that contains words.
               words None: the tree is good, check() must be silent.
A check that cannot run here raises Skip(reason). Nothing here changes the tree.
"""
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile


class Skip(Exception):
    """This check cannot be made on this system."""


def tree(root, *patterns):
    """The project's files whose path matches one of the patterns, sorted; all without patterns."""
    command = ['git', '-c', 'safe.directory=*', '-C', root, 'ls-files', '-z',
               '--cached', '--others', '--exclude-standard']
    paths = None
    if os.path.exists(os.path.join(root, '.git')) and shutil.which('git'):
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            paths = {os.fsdecode(path) for path in done.stdout.split(b'\0') if path}
    if paths is None:
        paths = set(walk(root))
    return sorted(path for path in paths if os.path.isfile(os.path.join(root, path))
                  and (not patterns or any(fnmatch.fnmatch(path, p) for p in patterns)))


def walk(root):
    """The files below root without git's help."""
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f not in ('.git', 'build', '__pycache__')]
        for file in files:
            yield os.path.relpath(os.path.join(folder, file), root)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
        return file.read()


C_LEXEME = re.compile(r'''//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*' ''',
                      re.S | re.X)


def bare(text):
    """C text without comments and without what stands in strings; lines keep their numbers."""
    def blank(match):
        word = match[0]
        if word[0] in '"\'':
            return word[0] * 2
        return ' ' + '\n' * word.count('\n')
    return C_LEXEME.sub(blank, text)


def run(command, cwd):
    """A program's exit status and all it said."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout.decode('utf-8', 'replace')


def program(name, major=None):
    """Where this program is; with major, one of this version. Raises Skip when there is none."""
    for candidate in ([f'{name}-{major}'] if major else []) + [name]:
        path = shutil.which(candidate)
        if not path:
            continue
        if not major:
            return path
        found = re.search(r'version (\d+)', run([path, '--version'], '/')[1])
        if found and int(found[1]) == major:
            return path
    raise Skip(f'no {name}' + (f' of version {major}' if major else '') + ' here')


def can_fail(module):
    """What is wrong with a check's own proofs; an empty list: each of them holds."""
    wrong = []
    for files, words in module.BAD:
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), 'w', encoding='utf-8') as file:
                    file.write(text)
            complaints = module.check(root)
        if words is None and complaints:
            wrong.append(f'{sorted(files)}: unexpected: {complaints}')
        elif words is not None and not any(words in line for line in complaints):
            wrong.append(f'{sorted(files)}: no complaint holds "{words}": {complaints}')
    if not any(words for _, words in module.BAD):
        wrong.append('there is no proof that this check can fail')
    return wrong


def main(module_name):
    """check_X.py run by itself: proofs first, then the tree it stands in."""
    module = sys.modules[module_name]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        complaints = can_fail(module) or module.check(root)
    except Skip as reason:
        print(f'skipped: {reason}')
        return 0
    for line in complaints:
        print(line)
    return 1 if complaints else 0
