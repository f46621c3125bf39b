#!/bin/sh
# prelink.sh - makes the static library: one object in which only the public names are left.
#
# usage: prelink.sh OUT.a OBJCOPY AR IN.a IN2.a COMPILER...
# In a plain archive each internal function is a global symbol, and a program that has a function
# log_open() of its own would collide with ours. So all objects are linked into one, and the names
# with hidden visibility become local. Fails when a tool does; then there is no OUT.a.
set -eu

out=$1 objcopy=$2 ar=$3 in=$4 in2=$5
shift 5
rm -f "$out"
"$@" -r -nostdlib -o "$out.o" -Wl,--whole-archive "$in" "$in2" -Wl,--no-whole-archive
"$objcopy" --localize-hidden "$out.o"
"$ar" rcs "$out" "$out.o"
rm -f "$out.o"
