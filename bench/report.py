#!/usr/bin/env python3
"""report.py - the figures of runs in words: tables for the terminal, and docs/benchmarks.md.

    bench/report.py --write docs/benchmarks.md RUN.json...

The files are what run.py --json wrote; several runs add up. Ratios are made within a run: where two
runs have the same kind of figure, the whole table is the later one's. Of docs/benchmarks.md only what stands between the two marks is replaced: the
words around it are written by people.
"""

import argparse
import json
import os
import statistics

from kinds import METRICS, SATURATED
from servers import SERVERS

BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
TITLE = "# Benchmarks\n\n"

# work, metric, our row, the row it is compared with (None: the figure itself), bound, at least?
TARGETS = [
    ("ping-pong, 64 connections", "pingpong/rate", "fibers-uring", "epoll_loop", 1.15, True),
    ("ping-pong, 64 connections", "pingpong/rate", "fibers-uring", "libuv", 1.25, True),
    ("ping-pong, 64 connections", "pingpong/rate", "fibers-uring", "Go", 1.9, True),
    ("ping-pong, 1,000 connections", "pingpong1k/rate", "fibers-uring", "epoll_loop", 1.10, True),
    ("ping-pong, 1,000 connections", "pingpong1k/rate", "fibers-uring", "libuv", 1.25, True),
    ("ping-pong, 1,000 connections", "pingpong1k/rate", "fibers-uring", "Go", 1.9, True),
    ("16 under way, 64 connections", "inflight/rate", "fibers-uring", "epoll_loop", 1.05, True),
    ("16 under way, 64 connections", "inflight/rate", "fibers-uring", "uring_loop", 0.90, True),
    ("ping-pong by epoll, 64 connections", "pingpong/rate", "fibers-epoll", "epoll_loop", 0.97,
     True),
    ("server CPU per short connection", "short/cpu", "fibers-uring", "uring_loop", 1.1, False),
    ("HTTP hello, 64 connections", "http/rate", "http-fibers-uring", "nginx", 1.4, True),
    ("HTTP hello, 64 connections", "http/rate", "http-fibers-uring", "Go net/http", 2.2, True),
    ("programs started", "spawn/rate", "netdaemon", "spawn_loop", 0.97, True),
    ("programs started", "spawn/rate", "netdaemon", "tcpserver", 1.03, True),
    ("programs started", "spawn/rate", "netdaemon", "xinetd", 1.6, True),
    ("programs started", "spawn/rate", "netdaemon", "socat", 3, True),
    ("idle bytes per connection", "hold/bytes", "fibers-uring", None, 4300, False),
    ("idle bytes per connection", "hold/bytes", "fibers-uring-compacted", None, 512, False),
    ("time per line, 10,000 to 100 connections", "growth/time", "fibers-uring", None, 1.15,
     False),
    ("share of 100,000 idle, six workers, that answers", "hold100k/alive",
     "fibers-uring-compacted", None, 1, True),
]


def good(values):
    return [v for v in values or [] if v is not None]


def ratios(values, base):
    return [v / b for v, b in zip(values, base or []) if v is not None and b]


def spread(values, form):
    if not values:
        return ["-"] * 3
    return [format(f(values), form) for f in (min, statistics.median, max)]


def base_row(of_metric, peer):
    """What ratios are to: the row asked for; nginx or spawn_loop where it does not take part; or the first."""
    for name in (peer, "nginx", "spawn_loop"):
        if good(of_metric.get(name)):
            return name
    return next(iter(of_metric))


def remarks_of(run, metric, name):
    kind = metric.split("/")[0]
    said = list(run["remarks"].get(f"{kind} {name}", []))
    shares = good(run["results"].get(f"{kind}/share", {}).get(name))
    if shares and metric.endswith(("/rate", "/time")):
        share = statistics.median(shares)
        said.insert(0, f"server {share:.0%} busy"
                    + ("" if share >= SATURATED or kind == "pingpong1" else
                       ": NOT SATURATED, a lower bound"))
    return "; ".join(said)


def rows(run, metric, peer):
    """For one metric: the row ratios are to, and (name, median, ratios, remarks) of each."""
    of_metric = run["results"][metric]
    base = base_row(of_metric, peer)
    found = []
    for name in in_order(of_metric):
        values = good(of_metric[name])
        found.append((name, statistics.median(values) if values else None,
                      ratios(of_metric[name], of_metric[base]), remarks_of(run, metric, name)))
    return base, found


def in_order(of_metric):
    known = [name for name in SERVERS if name in of_metric]
    return known + [name for name in of_metric if name not in known]


def figure(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}" if value < 100 \
        else f"{value:.1f}"


# ---------------------------------------------------------------------------------- the terminal

def print_tables(run, peer):
    for metric, (title, unit, better) in METRICS.items():
        if metric not in run["results"]:
            continue
        base, found = rows(run, metric, peer)
        print(f"\n{title}{', ' + unit if unit else ''} ({better} is better)")
        print(f"  {'server':24}{'median':>12}   {'ratio to ' + base:^24}  remarks")
        print(f"  {'':24}{'':12}   {'min':>7} {'median':>8} {'max':>7}")
        for name, median, of_base, said in found:
            low, middle, high = spread(of_base, ".2f")
            print(f"  {name:24}{figure(median):>12}   {low:>7} {middle:>8} {high:>7}  {said}"
                  .rstrip())
    lines = list(target_rows(run))
    if lines:
        print("\nagainst the aims (median; minimum to maximum; what processor times alone say)")
    for work, ours, to, wanted, low, middle, high, verdict, by_time in lines:
        print(f"  {work:49}{ours:26}{to:14}{wanted:>16}  {middle:>8} ({low} to {high})  "
              f"{verdict:8}{by_time}".rstrip())
    for line in run["absent"]:
        print(line)


# ---------------------------------------------------------------------------------- the document

def target_rows(run):
    for work, metric, ours, to, bound, at_least in TARGETS:
        of_metric = run["results"].get(metric, {})
        values = ratios(of_metric.get(ours, []), of_metric.get(to)) if to \
            else good(of_metric.get(ours))
        if not values:
            continue
        median = statistics.median(values)
        holds = median >= bound if at_least else median <= bound
        wanted = f"{'at least' if at_least else 'at most'} {figure(bound) if not to else bound}"
        form = ".2f" if to or bound < 10 else ",.0f"
        yield (work, ours, to or "", wanted, *spread(values, form), "yes" if holds else "**no**",
               by_cpu(run, metric, ours, to))


def by_cpu(run, metric, ours, to):
    """The ratio of rates as the servers' processor times for each request have it."""
    kind, _, part = metric.partition("/")
    times = run["results"].get(f"{kind}/cpu", {})
    values = ratios(times.get(to, []), times.get(ours)) if part == "rate" else []
    return format(statistics.median(values), ".2f") if values else ""


def table(heads, lines):
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "|".join(" --- " for _ in heads) + "|"
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


def document(runs, run, peer):
    yield "## Machine and date"
    yield ""
    for about in runs:
        yield "- " + about
    for line in run["absent"]:
        yield f"- {line}"
    yield ""
    yield "## Against the aims"
    yield ""
    yield "Ratios within a round: minimum, median and maximum over the rounds. Where server and load"
    yield "generator both use up their processors they share the limit, and rates lie closer together"
    yield "than what the servers need; the last column has the median ratio of their processor times"
    yield "for each request."
    yield ""
    yield from table(["work", "server", "to", "wanted", "min", "median", "max", "holds",
                      "by CPU time"],
                     target_rows(run))
    yield "## All figures"
    yield ""
    for metric, (title, unit, better) in METRICS.items():
        if metric not in run["results"]:
            continue
        base, found = rows(run, metric, peer)
        yield f"### {title[0].upper() + title[1:]}{', ' + unit if unit else ''}"
        yield ""
        yield f"{better.capitalize()} is better. Ratios are to {base}."
        yield ""
        yield from table(["server", "median", "min", "median", "max", "remarks"],
                         [(name, figure(median), *spread(of_base, ".2f"), said)
                          for name, median, of_base, said in found])


def write(path, loaded, peer):
    """Put the figures into the document at path, between the marks."""
    text = TITLE + BEGIN + END
    if os.path.exists(path):
        with open(path) as f:
            text = f.read()
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{path}: the marks {BEGIN.strip()} and {END.strip()} are not both there")
    run = {"results": {}, "remarks": {}, "absent": []}
    for part in loaded:
        run["results"].update(part["results"])
        run["remarks"].update(part["remarks"])
        run["absent"] += [line for line in part["absent"] if line not in run["absent"]]
    abouts = list(dict.fromkeys(part["about"] for part in loaded))
    with open(path, "w") as f:
        f.write(before + BEGIN + "\n".join(document(abouts, run, peer)) + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE", required=True)
    parser.add_argument("--peer", default="epoll_loop", help="what ratios are to")
    parser.add_argument("runs", nargs="+")
    args = parser.parse_args()
    loaded = []
    for name in args.runs:
        with open(name) as f:
            loaded.append(json.load(f))
    write(args.write, loaded, args.peer)


if __name__ == "__main__":
    main()
