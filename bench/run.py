#!/usr/bin/env python3
"""Compare netdaemon with hand-written loops, libuv, libevent, Go, nginx and Perl's daemons.

    meson setup build -Dbench=true --buildtype=release && ninja -C build
    bench/run.py --build build [--quick] [--peer epoll_loop] [--servers fibers,loops] [--kinds a,b]

What is measured. Every server echoes lines; a line has 64 bytes; all traffic is on 127.0.0.0/8.
    short      connect, one line, its echo, end; 8 at a time: connections per second, the time from
               connect() to the echo, the server's processor time for each
    spawn      connect, a program that says a line and ends; 8 at a time: connections per second,
               the time from connect() to the first byte, the processor time for each, that of the
               program included (the programs' servers only; spawn_libc: the same with an ordinary
               program, which needs much longer by itself)
    pingpong   64 connections that stay, each sends its next line after the echo of the last: lines
               per second, and 50, 90, 99 and 99.9 percentiles of the time to the echo, same run
    pingpong1k the same on 1,000 connections
    pingpong1  the same on one. Not pinned, the system puts both ends on one processor (5 us) or on
               two (60 us) as it likes: do not use --no-pin
    inflight   64 connections with 16 lines under way on each: lines per second
    http       GET of 14 bytes by wrk over 64 connections that stay (the HTTP servers only)
    growth     100 lines under way in all, over 100 connections and then over 10,000 in turn: how
               much more time a line takes
    start      fork() to the first echo, connecting in a tight loop: milliseconds
    memory     an idle server, after one connection: VmRSS and Pss, summed over its processes (RSS
               counts shared pages once for each process, Pss shares them out)
    hold       10,000 idle connections (fewer where said), each has had one echo: how many were
               held, how many of those still answered afterwards, and by how many bytes Pss grew
               for each. Memory of the kernel (sockets, stacks, page tables) is not in it. The rows
               "compacted" are looked at once idle connections have given back their stacks, the
               other ones of netdaemon never do so.
    hold100k   100,000 idle connections over six worker processes, which all answer afterwards

netdaemon's rows in fibers run the way a daemon does: an access rule, a limit for each wait, and a
log (levels notice and up; connections are not logged).

How. Rounds are interleaved: in each round every server has its turn at each kind of work, and the
order moves on by one from round to round, so that a machine that becomes slower or busier meets
all of them alike. For each turn the server is started fresh, on a port of its own, and ended by its
pid afterwards: no turn inherits a heap, a pool of processes or a log from another one, and no idle
server takes part in somebody else's turn. A warm-up before each measurement is not counted. The
servers have one processor, the load generator another one.

The ratio is computed within a round, to the peer named by --peer in the same round. Of the ratios
the table shows minimum, median and maximum; beside them the median of the absolute figures. Where
minimum and maximum lie on both sides of 1, the two do not differ as far as this run can tell.

The bare loops do what their names say: thread_loop makes a thread for each connection, while
netd-threads keeps threads and uses them again, which is most of the difference in short.

Limits. The load generator is one thread and a closed loop. The share of its processor that the
server used stands beside each rate; under 90 % the load generator, or something else on the
machine, was the limit, and the rate is only a lower bound; who else was on that processor for more
than 5 % of the time is said too. Where both are near 100 %, they share
the limit: an end that is not waited for takes smaller batches and so more time for each line, and
the difference between servers is larger than the rates show; the processor time for each line has
it. Servers that serve fewer connections at a time than a kind of work needs do not take part in
it. Clients end their connections first, as clients do, and take turns over 250 source addresses,
because each of their ports rests in TIME_WAIT for a minute (see load/client.c).

Only one run at a time on a machine: a lock in the directory for temporary files sees to it. The
whole programme takes hours; --servers knows groups: fibers, loops, bare, netd, perl, http,
programs.
"""

import argparse
import datetime
import fcntl
import json
import os
import platform
import sys
import tempfile

import report
from kinds import KINDS, METRICS, Bench, takes_part
from servers import GROUPS, SERVERS, Server


def turn(bench, kind, name):
    """One measurement: its values (None where it failed) and remarks."""
    try:
        return getattr(bench, kind)(SERVERS[name])
    except (RuntimeError, ValueError, OSError) as e:
        return ({metric: None for metric in METRICS if metric.startswith(kind + "/")},
                [f"FAILED: {e}"])


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def run_rounds(bench, names, kinds, rounds):
    """results[metric][server]: one value for each round, None where it failed."""
    results, remarks = {}, {}
    for number in range(rounds):
        order = names[number % len(names):] + names[:number % len(names)]
        for kind in kinds:
            for name in order:
                if not takes_part(SERVERS[name], kind):
                    continue
                progress(f"round {number + 1}/{rounds} {kind} {name}")
                values, said = turn(bench, kind, name)
                for metric, value in values.items():
                    results.setdefault(metric, {}).setdefault(name, []).append(value)
                told = remarks.setdefault(f"{kind} {name}", [])
                told += [line for line in dict.fromkeys(said) if line not in told]
    progress("")
    return results, remarks


def chosen(text, known, groups, what):
    words = []
    for word in text.split(",") if text else known:
        words += groups.get(word, [word])
    for word in words:
        if word not in known:
            sys.exit(f"--{what}: found '{word}', expected some of {', '.join(known)}"
                     + (f"; or {', '.join(groups)}" if groups else ""))
    return list(dict.fromkeys(words))


def present(names, build):
    """Those that can be run here; and what to say about the others."""
    absent = {name: SERVERS[name].missing(build) for name in names}
    return ([name for name in names if not absent[name]],
            [f"left out: {name}: {what} is not there" for name, what in absent.items() if what])


def machine():
    """The machine in a few words."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 1024**2
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return (f"{os.cpu_count()} processors {model}, {memory:.0f} GB, Linux {platform.release()}, "
            f"{system}")


def two_processors():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        sys.exit("server and load generator need a processor each; --no-pin does without")
    return cpus[:2]


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="the build folder (default: build)")
    parser.add_argument("--rounds", type=int, help="default 11; with --quick 3")
    parser.add_argument("--seconds", type=float, help="of each measurement; default 3; quick 0.5")
    parser.add_argument("--hold", type=int, help="idle connections; default 10000; quick 500 "
                        "(hold100k: ten times as many)")
    parser.add_argument("--peer", default="epoll_loop",
                        help="what ratios are to (default epoll_loop; for http nginx)")
    parser.add_argument("--servers", help="names or groups, parted by commas; default: all")
    parser.add_argument("--kinds", help="kinds of work, parted by commas; default: all")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND",
                        help="one more server; {port} in the command is its port")
    parser.add_argument("--pin", action=argparse.BooleanOptionalAction, default=True,
                        help="server on one processor, load generator on another (default)")
    parser.add_argument("--quick", action="store_true", help="a short run that shows it works")
    parser.add_argument("--json", metavar="FILE", help="write every single figure there")
    parser.add_argument("--write", metavar="FILE",
                        help="put the tables into this document (see report.py)")
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 11)
    args.seconds = args.seconds or (0.5 if args.quick else 3)
    args.hold = args.hold or (500 if args.quick else 10000)
    return args


def measure(args, names, kinds):
    """The whole run, as one object that JSON can hold."""
    names, absent = present(names, os.path.abspath(args.build))
    if not names:
        sys.exit("\n".join(absent))
    cpus = two_processors() if args.pin else (None, None)
    bench = Bench(os.path.abspath(args.build), args.seconds, args.hold, *cpus)
    results, remarks = run_rounds(bench, names, kinds, args.rounds)
    about = (f"{datetime.date.today()}: {machine()}; {args.rounds} rounds of {args.seconds:g} s, "
             + ("server and load generator on a processor each" if args.pin else "not pinned")
             + f"; load average {os.getloadavg()[0]:.1f} at the end")
    return {"about": about, "absent": absent, "results": results, "remarks": remarks}


def main():
    args = read_arguments()
    for extra in args.server:
        name, _, command = extra.partition("=")
        SERVERS[name] = Server(command, hold=args.hold)
    names = chosen(args.servers, list(SERVERS), GROUPS, "servers")
    kinds = chosen(args.kinds, list(KINDS), {}, "kinds")
    chosen(args.peer, list(SERVERS), {}, "peer")
    with open(os.path.join(tempfile.gettempdir(), "netdaemon-bench.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another benchmark runs on this machine")
        run = measure(args, names, kinds)
    print(run["about"])
    report.print_tables(run, args.peer)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(run, f, indent=1)
    if args.write:
        report.write(args.write, [run], args.peer)


if __name__ == "__main__":
    main()
