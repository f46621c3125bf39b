#!/usr/bin/env python3
"""tap_flat.py - runs a program that speaks TAP with subtests, and repeats it without them.

usage: tap_flat.py PROGRAM [ARGUMENT...]

Happy path: each assertion of a subtest becomes one of the whole, "ok N - subtest: words"; the line
that sums a subtest up is left out, as nothing would be counted twice; the plan comes last. meson and
tools/count_tests.py know TAP without subtests only. Failure modes: a subtest without assertions
(skipped, or empty), and one that failed though none of its assertions did (a broken plan), counts
by its sum; a plan that was not kept or is missing stays so. The exit status is the program's.
"""
import re
import subprocess
import sys

POINT = re.compile(r'^( *)(not )?ok\b *\d* *(?:- )?(.*)$')
PLAN = re.compile(r'^( *)1\.\.(\d+)(.*)$')
NAME = re.compile(r'^( *)# Subtest: (.*)$')
STEP = 4  # how far each level of subtests is moved to the right


def flatten(lines):
    """The lines of TAP without subtests, for those of TAP with them."""
    number, planned, seen = 0, None, 0
    names = []   # of the subtests we are in
    counts = {}  # by level: [assertions, failed] of the subtest that its next sum is about
    for line in lines:
        name, plan, point = NAME.match(line), PLAN.match(line), POINT.match(line)
        if name:
            level = len(name[1]) // STEP
            names[level:] = [name[2]]
            counts[level] = [0, 0]
        elif plan and plan[2] == '0':
            yield line.strip() if not plan[1] else f'# {line.strip()}'
        elif plan:
            planned = planned if plan[1] else int(plan[2])
        elif point:
            level = len(point[1]) // STEP
            seen += 0 if level else 1
            inside, failed = counts.pop(level, (0, 0))
            if not inside or (point[2] and not failed):
                number += 1
                words = ': '.join(names[:level] + [point[3]])
                yield f'{point[2] or ""}ok {number} - {words}'
                for outer in range(level):
                    total = counts.setdefault(outer, [0, 0])
                    total[0] += 1
                    total[1] += 1 if point[2] else 0
        else:
            yield line.strip() if line.lstrip().startswith('#') else line
    if planned is not None:
        yield f'1..{number + planned - seen}'


def main(command):
    """Run it; line by line, so that what is known when it hangs is shown."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors='replace') as program:
        for line in flatten(line.rstrip('\n') for line in program.stdout):
            print(line, flush=True)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


if __name__ == '__main__':
    if len(sys.argv) < 2:
        sys.exit('usage: tap_flat.py PROGRAM [ARGUMENT...]')
    sys.exit(main(sys.argv[1:]))
