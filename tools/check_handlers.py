#!/usr/bin/env python3
"""check_handlers.py - security rule 25: signal handlers only write one byte or set one flag.

A handler is any function given to sa_handler or sa_sigaction in src/; when the value is a variable,
every function of that file with a handler's parameters. Its body may call write(), the atomic
operations and functions of the same file that keep to the same rule, and may change its own
variables, errno, and flags (volatile sig_atomic_t, or atomic).

An exception stands in the code, with its reason: a comment "allowed: NAME: why" on the line of the
call of NAME or the line above. What NAME does is then not looked at.
"""
import re
import sys

import lintlib

REGISTERED = re.compile(r'\bsa_(?:handler|sigaction)\s*=\s*&?\s*([^;,}]+)')
FUNCTION = re.compile(r'^(?!\s)[\w\s*]*?\b(\w+)\s*\(([^;{}]*)\)\s*\n?\{\n(.*?)^\}', re.M | re.S)
PARAMETERS = re.compile(r'^\s*int\b[^,]*(,\s*siginfo_t\s*\*[^,]*,\s*void\s*\*[^,]*)?$')
CALL = re.compile(r'(?<![\w.>])(\w+)\s*\(')
CALLED_FIELD = re.compile(r'(?:->|\.)\s*(\w+)\s*\(')
ASSIGNED = re.compile(r'(?<![\w.>])(\*?\s*\w+(?:(?:->|\.)\w+|\[[^\]]*\])*)\s*'
                      r'(?:[-+*/%|&^]|<<|>>)?=(?!=)|(?:\+\+|--)\s*(\w+)|(\w+)\s*(?:\+\+|--)')
# getpid: a handler asks whose signal it is, a child that has just been forked shares the flags.
HARMLESS = {'if', 'while', 'for', 'switch', 'return', 'sizeof', 'write', 'getpid',
            'atomic_store', 'atomic_load', 'atomic_exchange', 'atomic_fetch_add',
            'atomic_fetch_or', 'atomic_store_explicit', 'atomic_load_explicit',
            'atomic_fetch_or_explicit', 'atomic_fetch_add_explicit', 'atomic_exchange_explicit',
            'atomic_flag_test_and_set', 'atomic_compare_exchange_strong'}
FLAG = re.compile(r'\b(?:volatile\s+sig_atomic_t|sig_atomic_t\s+volatile|_Atomic\b[\w\s()]*|'
                  r'atomic_\w+)\s+(\w+)')
LOCAL = re.compile(r'(?:^|[{;(])\s*(?:const\s+)?(?:unsigned\s+|struct\s+)?\w+\s+\*?(\w+)\s*(?:=|;|\[|,)',
                   re.M)
ALLOWED = re.compile(r'allowed: (\w+): [^\s*]')


def excuse(text):
    """A function that tells whether the call of name at this offset has its exception."""
    lines = text.splitlines()

    def excused(name, offset, code):
        number = code.count('\n', 0, offset)
        return name in ALLOWED.findall('\n'.join(lines[max(0, number - 1):number + 1]))
    return excused


def complaints_about(name, functions, flags, seen, excused):
    """(offset, words) for everything in this function that a handler may not do."""
    if name in seen:
        return
    seen.add(name)
    _, body, start = functions[name]
    for match in CALLED_FIELD.finditer(body):
        if excused(match[1], start + match.start(1)):
            continue
        yield start + match.start(1), f'{name}() calls through ->{match[1]}'
    for match in CALL.finditer(body):
        if excused(match[1], start + match.start(1)):
            continue
        if match[1] in functions:
            yield from complaints_about(match[1], functions, flags, seen, excused)
        elif match[1] not in HARMLESS:
            yield start + match.start(1), f'{name}() calls {match[1]}()'
    mine = set(LOCAL.findall(body)) | {'errno'} | flags
    born = {match.end(1) for match in LOCAL.finditer(body)}
    for match in ASSIGNED.finditer(body):
        target = next(filter(None, match.groups())).strip()
        if match.end(match.lastindex) not in born and target.split('[')[0] not in mine:
            yield start + match.start(), f'{name}() changes {target}, which is no flag'


def check_file(path, text):
    code = lintlib.bare(text)
    functions = {m[1]: (m[2], m[3], m.start(3)) for m in FUNCTION.finditer(code)}
    handlers = []
    for match in REGISTERED.finditer(code):
        value = match[1].strip()
        if re.fullmatch(r'SIG_(IGN|DFL)', value):
            continue
        found = [value] if value in functions else [
            name for name, (parameters, _, _) in functions.items() if PARAMETERS.match(parameters)
            and not name.startswith('SIG')]
        if not found:
            line = code.count('\n', 0, match.start()) + 1
            yield f'{path}:{line}: the handler {value} is not a function of this file'
        handlers += found
    flags, seen, near = set(FLAG.findall(code)), set(), excuse(text)
    for name in dict.fromkeys(handlers):
        for offset, words in complaints_about(name, functions, flags, seen,
                                              lambda n, at: near(n, at, code)):
            line = code.count('\n', 0, offset) + 1
            yield f'{path}:{line}: in a signal handler, {words}'


def check(root):
    return [c for path in lintlib.tree(root, 'src/*.c', 'cmd/*.c', 'examples/*.c')
            for c in check_file(path, lintlib.read(root, path))]


def example(body, before='static volatile sig_atomic_t stop;\nstatic int count;\n', value='on'):
    return {'src/proc/a.c': f'{before}\nstatic void on(int signo)\n{{\n{body}\n}}\n\n'
            'static void arm(void (*handler)(int, int))\n{\n'
            f'\tstruct sigaction a = {{.sa_handler = {value}}};\n\tsigaction(1, &a, NULL);\n}}\n'}


BAD = [
    (example('\tlog_info("x");'), 'a.c:6: in a signal handler, on() calls log_info()'),
    (example('\tcount++;'), 'on() changes count'),
    (example('\tcount = signo;'), 'on() changes count'),
    (example('\tserver->stop = 1;'), 'on() changes server->stop'),
    (example('\tserver->wake(1);'), 'calls through ->wake'),
    (example('\tfree(p);', value='handler'), 'on() calls free()'),
    (example('\tfree(p);', value='&on'), 'on() calls free()'),
    (example('\thelp();', 'static void help(void)\n{\n\tfree(p);\n}\n'), 'help() calls free()'),
    ({'src/a/a.c': 'void f(void)\n{\n\taction.sa_sigaction = elsewhere;\n}\n'}, 'is not a function'),
    (example('\tint saved = errno;\n\tchar byte = (char)signo;\n\n\tstop = 1;\n'
             '\tif (write(wake_fd, &byte, sizeof byte) < 0)\n\t\tstop = 1;\n\terrno = saved;'),
     None),
    (example('\t/* allowed: free: x */\n\tlog_info(p);'), 'on() calls log_info()'),
    (example('\t/* allowed: free: x */\n\n\tfree(p);'), 'on() calls free()'),
    (example('\t/* allowed: free: */\n\tfree(p);'), 'on() calls free()'),
    (example('\tstruct x *y = z;\n\n\t*y = signo;'), 'on() changes *y'),
    (example('\tstruct x *y = z;\n\n\t/* allowed: free: why */\n\tfree(y);\n'
             '\t/* allowed: tell: why */\n\ty->tell(y);'), None),
    ({'src/a/a.c': 'void f(void)\n{\n\taction.sa_handler = SIG_IGN;\n\tfree(p);\n}\n'}, None),
]

if __name__ == '__main__':
    sys.exit(lintlib.main(__name__))
