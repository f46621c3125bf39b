#!/usr/bin/env python3
"""lint.py - runs every house rule, and says in TAP which hold.

usage: lint.py [--build FOLDER] [--jobs N] [--tap FILE] [NAME...]

Happy path: for each tools/check_NAME.py two tests: NAME can fail (the proofs it carries), NAME
holds (no complaint about this tree). Failure modes: complaints are printed below their test; a
check whose program this system lacks is skipped, with the reason; one that raises has failed.
"""
import argparse
import contextlib
import glob
import importlib
import os
import sys
import time
import traceback

import lintlib

HERE = os.path.dirname(os.path.abspath(__file__))


def outcome(call):
    """(verdict, complaints, reason to skip) of a call that returns complaints."""
    try:
        complaints = call()
    except lintlib.Skip as reason:
        return 'ok', [], f' # SKIP {reason}'
    except Exception:  # pylint: disable=broad-except
        return 'not ok', traceback.format_exc().splitlines(), ''
    return ('not ok' if complaints else 'ok'), complaints, ''


def main():
    parser = argparse.ArgumentParser(description='the house rules')
    parser.add_argument('--build', help='a build folder, for compile_commands.json')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--tap', help='write TAP to this file, too')
    parser.add_argument('names', nargs='*')
    options = parser.parse_args()
    os.environ['NETD_LINT_JOBS'] = str(options.jobs)
    if options.build:
        os.environ['NETD_LINT_BUILD'] = os.path.abspath(options.build)

    names = options.names or [os.path.basename(path)[6:-3] for path in
                              sorted(glob.glob(os.path.join(glob.escape(HERE), 'check_*.py')))]
    number, failed = 0, False
    with contextlib.ExitStack() as stack:
        outs = [sys.stdout]
        if options.tap:
            outs.append(stack.enter_context(open(options.tap, 'w', encoding='utf-8')))

        def say(words):
            for out in outs:
                print(words, file=out, flush=True)

        say(f'1..{2 * len(names)}')
        for name in names:
            module = importlib.import_module('check_' + name)
            root = os.path.dirname(HERE)
            for what, call in (('can fail', lambda m=module: lintlib.can_fail(m)),
                               ('holds', lambda m=module: m.check(root))):
                number += 1
                started = time.monotonic()
                verdict, complaints, skip = outcome(call)
                failed = failed or verdict != 'ok'
                say(f'{verdict} {number} - {name} {what}{skip}')
                for line in complaints:
                    say(f'# {line}')
                say(f'# {time.monotonic() - started:.1f} s')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
