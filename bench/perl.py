#!/usr/bin/env python3
"""Compare Net::Daemon for Perl (perl/) with the original, on the same daemon and the same work.

    meson setup build -Dbench=true --buildtype=release && ninja -C build
    bench/perl.py --build build [--ours build/perl/dist/blib] [--original /usr/share/perl5]

The daemon is peers/net_daemon.pl, with nothing changed but the folders Perl looks for modules in
first. Kinds of work, rounds, processors and figures are those of run.py; hold is idle connections
over --hold processes or threads, in user-space memory of all processes of the server, which is
what one more connection costs. The original is Debian's libnet-daemon-perl, 0.49; a folder with
another version can be given. Note that 0.49 never detaches its threads: it saves what freeing them
takes, and leaks them.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile

import report
import run
from kinds import Bench
from servers import SERVERS, Server

MODES = {"single": 1, "childs": 8, "fork": None, "ithreads": None}
HELD = {"fork", "ithreads"}  # modes that serve many connections at a time


def folder(path, scratch):
    """Where a Perl is to look for modules. What a blib has in two folders is installed in one."""
    parts = [os.path.join(path, part) for part in ("lib", "arch")]
    if not all(os.path.isdir(part) for part in parts):
        return os.path.abspath(path)
    for part in parts:
        shutil.copytree(part, scratch, dirs_exist_ok=True)
    return scratch


def version(path):
    """Of the Net::Daemon found there, and where it is; ends the program when there is none."""
    say = "print Net::Daemon->VERSION, ' ', $INC{'Net/Daemon.pm'}"
    done = subprocess.run(["perl", f"-I{path}", "-MNet::Daemon", "-e", say], capture_output=True,
                          text=True)
    if done.returncode:
        sys.exit(f"no Net::Daemon in {path}: {done.stderr.strip()}")
    return done.stdout


def rows(which, hold):
    """{name: server} for each mode and each of the two, side by side."""
    made = {}
    for mode, at_once in MODES.items():
        for name, path in which.items():
            command = f"perl -I{path} {{bench}}/peers/net_daemon.pl {mode} {{port}}"
            only = ["short", "hold"] if mode in HELD else ["short"]
            # The original does not always reap its children: their time is in nobody's account.
            made[f"{name}-{mode}"] = Server(command, at_once=at_once, hold=hold, only=only,
                                            uncounted=mode == "fork" and name == "original")
    return made


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="the build folder (default: build)")
    parser.add_argument("--ours", help="default: perl/dist/blib in the build folder")
    parser.add_argument("--original", default="/usr/share/perl5",
                        help="default: where Debian's package has it")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--hold", type=int, default=100, help="idle connections")
    parser.add_argument("--kinds", default="short,hold")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--pin", action=argparse.BooleanOptionalAction, default=True,
                        help="server on one processor, load generator on another (default)")
    args = parser.parse_args()
    args.ours = args.ours or os.path.join(args.build, "perl", "dist", "blib")
    return args


def main():
    args = read_arguments()
    scratch = tempfile.TemporaryDirectory(prefix="netdaemon-bench-")
    which = {"original": os.path.abspath(args.original), "ours": folder(args.ours, scratch.name)}
    for name, path in which.items():
        print(f"{name}: Net::Daemon {version(path)}")
    SERVERS.update(rows(which, args.hold))
    modes = run.chosen(args.modes, list(MODES), {}, "modes")
    cpus = run.two_processors() if args.pin else (None, None)
    bench = Bench(os.path.abspath(args.build), args.seconds, args.hold, *cpus)
    with open(os.path.join(tempfile.gettempdir(), "netdaemon-bench.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another benchmark runs on this machine")
        for mode in modes:  # a table for each: ratios are to the original in the same mode
            names = [f"original-{mode}", f"ours-{mode}"]
            results, remarks = run.run_rounds(bench, names, args.kinds.split(","), args.rounds)
            print(f"\n--- {mode}")
            report.print_tables({"results": results, "remarks": remarks, "absent": []}, names[0])


if __name__ == "__main__":
    main()
