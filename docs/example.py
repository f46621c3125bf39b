#!/usr/bin/env python3
"""example.py PAGE - prints the first C program of a manual page, as a compiler wants it."""
import re
import sys

with open(sys.argv[1], encoding='utf-8') as page:
    display = re.search(r'(?s)\n\.Bd -literal[^\n]*\n(#include .*?\n)\.Ed', page.read())
if not display:
    sys.exit(f'{sys.argv[1]}: no program in it')
print(display[1].replace('\\e', '\\'), end='')
