#!/usr/bin/env python3
"""check_banned.py - functions this project does without, each with the reason.

An exception stands in the code, with its reason: a comment "allowed: NAME: why" on the same line
or the line above. Comments and strings are not searched.
"""
import re
import sys

import lintlib

EVERYWHERE = {
    'gets': 'it knows no size',
    'strtok': 'it keeps state for the whole process',
    'tmpnam tempnam mktemp': 'the name can be taken before it is used',
    'alloca': 'no limit, no error',
    'usleep sleep': 'wait for the event',
}
SHIPPED = {  # all but tests, where a wrong size or number shows at once
    'strcpy strcat stpcpy sprintf vsprintf': 'it knows no size: buf_*, snprintf',
    'atoi atol atoll atof': 'it cannot fail: num_parse()',
    'sscanf scanf fscanf': 'loose numbers, overflow undefined: num_parse()',
}
LIBRARY = {
    'system popen': 'a shell inherits what a daemon holds: proc/',
    'printf puts putchar vprintf perror': 'standard output belongs to the program: log_*',
    'syslog openlog vsyslog closelog': 'it can block for ever: log/',
    'signal sigset': 'its meaning differs between systems: sigaction()',
    'gettimeofday': 'it jumps: clock_ms()',
    'exit': 'ending the process is the program\'s business',
    'assert': 'return an error, or say why it cannot happen',
    'localtime gmtime ctime asctime strerror_l inet_ntoa gethostbyname getpwnam getgrnam '
    'getservbyname readdir_r rand srand': 'not safe with threads, or obsolete: the _r form',
}
SYSTEMS = re.compile(r'\b(__linux__|__FreeBSD__|__OpenBSD__|__NetBSD__|__APPLE__|_WIN32|__sun)\b')
ALLOWED = re.compile(r'allowed: (\w+): \S')


def table(*tables):
    return {name: why for t in tables for names, why in t.items() for name in names.split()}


def check_file(path, text, banned, shared):
    names = re.compile(r'(?<![\w.>])(%s)\s*\(' % '|'.join(map(re.escape, banned)))
    lines, code = text.splitlines(), lintlib.bare(text).splitlines()
    for number, line in enumerate(code, 1):
        near = '\n'.join(lines[max(0, number - 2):number])
        excused = set(ALLOWED.findall(near))
        for match in names.finditer(line):
            if match[1] not in excused:
                yield f'{path}:{number}: {match[1]}(): {banned[match[1]]}'
        system = shared and SYSTEMS.search(line)
        if system and system[1] not in excused:
            yield f'{path}:{number}: {system[1]}: what differs between systems belongs in src/os'


def check(root):
    complaints = []
    tests, shipped = table(EVERYWHERE), table(EVERYWHERE, SHIPPED)
    library = table(EVERYWHERE, SHIPPED, LIBRARY)
    for path in lintlib.tree(root, '*.c', '*.h'):
        top = path.split('/')[0]
        banned = {'src': library, 'tests': tests, 'bench': tests, 'fuzz': tests}.get(top, shipped)
        shared = top == 'src' and not path.startswith('src/os/')
        complaints += check_file(path, lintlib.read(root, path), banned, shared)
    return complaints


BAD = [({'src/x/a.c': f'int f(void)\n{{\n\treturn {name}(1);\n}}\n'}, f'a.c:3: {name}()')
       for name in table(EVERYWHERE, SHIPPED, LIBRARY)] + [
    ({'tests/a.c': 'usleep (1);\n'}, 'a.c:1: usleep()'),
    ({'examples/a.c': 'x = strcpy (a, b);\n'}, 'a.c:1: strcpy()'),
    ({'src/x/a.c': '#ifdef __linux__\n#endif\n'}, 'a.c:1: __linux__'),
    ({'src/x/a.c': '/* allowed: strcat: because */\nprintf("x");\n'}, 'a.c:2: printf()'),
    ({'src/x/a.c': '/* allowed: printf: --help is answered here */\nprintf("system()");\n'
                   '/* strcpy() */\nbuf_printf(b, "x");\nhooks->signal(1);\nit.sleep(2);\n',
      'src/os/a.c': '#ifdef __linux__\n#endif\n', 'tests/a.c': 'assert(1); exit(atoi(x));\n'}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
