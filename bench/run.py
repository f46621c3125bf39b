#!/usr/bin/env python3
"""Compare netdaemon with bare C loops and with Perl's Net::Daemon and Net::Server.

    meson setup build -Dbench=true --buildtype=release && ninja -C build
    bench/run.py --build build [--quick] [--pin] [--peer fork_loop] [--servers a,b] [--kinds a,b]

What is measured. Every server echoes lines; a line has 64 bytes; all traffic is on 127.0.0.0/8.
    short      connect, one line, its echo, end; 8 at a time: connections per second, and the time
               from connect() to the echo
    pingpong   64 connections that stay, each sends its next line after the echo of the last: lines
               per second, and 50, 90, 99 and 99.9 percentiles of the time to the echo, same run
    pingpong1  the same on one connection. Not pinned, the system puts both ends on one processor
               (5 us) or on two (60 us) as it likes: compare with --pin only
    start      fork() to the first echo, connecting in a tight loop: milliseconds
    memory     an idle server, some time after one connection: VmRSS and Pss, summed over its
               processes (RSS counts shared pages once for each process, Pss shares them out)
    hold       10,000 idle connections (fewer where said): how many were held, how many of those
               still answered afterwards, and Pss per connection. Memory of the kernel (sockets,
               stacks, page tables) is not in it.

How. Rounds are interleaved: in each round every server has its turn at each kind of work, and the
order moves on by one from round to round, so that a machine that becomes slower or busier meets
all of them alike. For each turn the server is started fresh, on a port of its own, and ended by its
pid afterwards: no turn inherits a heap, a pool of processes or a log from another one, and no idle
server takes part in somebody else's turn. A warm-up before each measurement is not counted.

The ratio is computed within a round, to the peer named by --peer in the same round. Of the ratios
the table shows minimum, median and maximum; beside them the median of the absolute figures. Where
minimum and maximum lie on both sides of 1, the two do not differ as far as this run can tell.

The bare loops do what their names say: thread_loop makes a thread for each connection, while
netd-threads keeps threads and uses them again, which is most of the difference in short.

Limits. The load generator is one thread and a closed loop; when it was busy nearly all the time
the remark says so, and the rate is then only a lower bound for the server. Servers that serve
fewer connections at a time than a kind of work needs do not take part in it. Clients end their
connections first, as clients do, and take turns over 250 source addresses, because each of their
ports rests in TIME_WAIT for a minute (see load/client.c).

Only one run at a time on a machine: a lock in the directory for temporary files sees to it. The
whole programme takes about half an hour.
"""

import argparse
import fcntl
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
READY_SECONDS = 20
STOP_SECONDS = 5
SETTLE_SECONDS = 0.5   # before memory is read
BUSY_LIMIT = 0.95      # from here on the load generator counts as the limit

PERL_HOLD = 1000       # Perl needs 0.7 to 2.2 MB for each connection


class Server:
    """One row: how it is started, how many connections it serves at a time (None: any number), how
    many the hold test may open."""

    def __init__(self, command, at_once=None, hold=None):
        self.command, self.at_once, self.hold = command, at_once, hold

    def argv(self, build, port):
        words = {"bench": HERE, "build": build, "port": port,
                 "netd": f"{build}/bench/netd_echo --localaddr 127.0.0.1 --localport {port}"
                         " --logfile /dev/null"}
        return self.command.format(**words).split()


SERVERS = {
    "accept_loop": Server("{build}/bench/accept_loop {port}", at_once=1),
    "fork_loop": Server("{build}/bench/fork_loop {port}"),
    "thread_loop": Server("{build}/bench/thread_loop {port}"),
    "netd-single": Server("{netd} --mode single", at_once=1),
    "netd-fork": Server("{netd} --mode fork"),
    "netd-threads": Server("{netd} --mode threads"),
    "netd-prefork": Server("{netd} --childs 8 --mode single", at_once=8),
    "Net::Daemon-fork": Server("perl {bench}/peers/net_daemon.pl fork {port}", hold=PERL_HOLD),
    "Net::Daemon-ithreads": Server("perl {bench}/peers/net_daemon.pl ithreads {port}",
                                   hold=PERL_HOLD),
    "Net::Server-Fork": Server("perl {bench}/peers/net_server.pl Fork {port}", hold=PERL_HOLD),
    "Net::Server-PreFork": Server("perl {bench}/peers/net_server.pl PreFork {port}", at_once=100),
}

# name: what it is, unit, which way is better
METRICS = {
    "short/rate": ("short connections, 8 at a time", "1/s", "higher"),
    "short/p50": ("short connections, connect to echo, median", "us", "lower"),
    "short/p99": ("short connections, connect to echo, 99 %", "us", "lower"),
    "pingpong/rate": ("lines over 64 connections", "1/s", "higher"),
    "pingpong/p50": ("line to echo, 64 connections, median", "us", "lower"),
    "pingpong/p90": ("line to echo, 64 connections, 90 %", "us", "lower"),
    "pingpong/p99": ("line to echo, 64 connections, 99 %", "us", "lower"),
    "pingpong/p999": ("line to echo, 64 connections, 99.9 %", "us", "lower"),
    "pingpong1/rate": ("lines over one connection", "1/s", "higher"),
    "pingpong1/p50": ("line to echo, one connection, median", "us", "lower"),
    "pingpong1/p99": ("line to echo, one connection, 99 %", "us", "lower"),
    "start/ms": ("start to first echo", "ms", "lower"),
    "memory/rss": ("idle server, VmRSS", "kB", "lower"),
    "memory/pss": ("idle server, Pss", "kB", "lower"),
    "hold/held": ("idle connections held", "", "higher"),
    "hold/pss": ("Pss per idle connection", "kB", "lower"),
}


# ------------------------------------------------------------------------------- starting, ending

def free_port():
    """A port below the range of outgoing connections, so that no client ever sits on it."""
    while True:
        port = 20000 + int.from_bytes(os.urandom(2), "big") % 12000
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def prepare_child(cpu):
    """Runs in the child before exec: processor, and as many descriptors as allowed."""
    def prepare():
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return prepare


def has_ended(pid):
    """True when it has ended; it stays unreaped, so that its number is nobody else's yet."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def echoes(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(b"ready?\n")
            s.shutdown(socket.SHUT_WR)
            return s.makefile("rb").read() == b"ready?\n"
    except OSError:
        return False


class Running:
    """A server for one turn, in a session of its own."""

    def __init__(self, bench, server):
        self.port = free_port()
        self.words = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            server.argv(bench.build, self.port), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.words, start_new_session=True,
            preexec_fn=prepare_child(bench.server_cpu))

    def __enter__(self):
        end = time.monotonic() + READY_SECONDS
        while not echoes(self.port):
            if has_ended(self.process.pid) or time.monotonic() > end:
                self.stop()
                self.words.seek(0)
                raise RuntimeError("does not answer: "
                                   + self.words.read()[-500:].decode(errors="replace").strip())
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """TERM by pid; what is left of its session after STOP_SECONDS is killed."""
        pid = self.process.pid
        os.kill(pid, signal.SIGTERM)  # not send_signal(): that may reap it
        end = time.monotonic() + STOP_SECONDS
        while not has_ended(pid) and time.monotonic() < end:
            time.sleep(0.005)
        os.killpg(pid, signal.SIGKILL)
        self.process.wait()

    def pids(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as f:
                        todo += [int(word) for word in f.read().split()]
            except OSError:
                pass  # it has ended meanwhile
        return found

    def memory(self):
        """VmRSS and Pss in kB over all its processes."""
        return (sum(field(pid, "status", "VmRSS:") for pid in self.pids()),
                sum(field(pid, "smaps_rollup", "Pss:") for pid in self.pids()))


def field(pid, name, key):
    try:
        with open(f"/proc/{pid}/{name}") as f:
            for line in f:
                if line.startswith(key):
                    return int(line.split()[1])
    except OSError:
        pass  # it has ended meanwhile
    return 0


# --------------------------------------------------------------------------------- kinds of work
# Each returns {metric: value} and a list of remarks.

class Bench:
    def __init__(self, args):
        self.build = os.path.abspath(args.build)
        self.args = args
        self.server_cpu = self.load_cpu = None
        if args.pin:
            cpus = sorted(os.sched_getaffinity(0))
            if len(cpus) < 2:
                sys.exit("--pin needs two processors")
            self.server_cpu, self.load_cpu = cpus[:2]

    def load_argv(self, kind, port, *more):
        return [f"{self.build}/bench/load", kind, "--port", str(port), *map(str, more)]

    def load(self, kind, port, *more):
        done = subprocess.run(self.load_argv(kind, port, *more), capture_output=True, text=True,
                              preexec_fn=prepare_child(self.load_cpu))
        if done.returncode:
            raise RuntimeError(done.stderr[-500:].strip())
        return json.loads(done.stdout)

    def traffic(self, kind, server, connections, parts):
        with Running(self, server) as running:
            got = self.load("short" if kind == "short" else "pingpong", running.port,
                            "--connections", connections, "--seconds", self.args.seconds,
                            "--warmup", self.args.seconds / 5)
        remarks = []
        if got["failed"] or got.get("ready", connections) < connections:
            remarks.append(f"FAILED {max(got['failed'], 1)}: {got['last_error']}")
        if got["load_busy"] > BUSY_LIMIT:
            remarks.append("load generator at its limit")
        values = {f"{kind}/{part}": got[f"{part}_us"] for part in parts}
        return {f"{kind}/rate": got["per_second"], **values}, remarks

    def short(self, server):
        return self.traffic("short", server, 8, ["p50", "p99"])

    def pingpong(self, server):
        return self.traffic("pingpong", server, 64, ["p50", "p90", "p99", "p999"])

    def pingpong1(self, server):
        return self.traffic("pingpong1", server, 1, ["p50", "p99"])

    def start(self, server):
        cpu = [] if self.server_cpu is None else ["--cpu", self.server_cpu]
        times = []
        for _ in range(3):
            port = free_port()
            got = self.load("start", port, *cpu, "--", *server.argv(self.build, port))
            times.append(got["start_ms"])
        return {"start/ms": statistics.median(times)}, []

    def memory(self, server):
        with Running(self, server) as running:
            time.sleep(SETTLE_SECONDS)
            rss, pss = running.memory()
        return {"memory/rss": rss, "memory/pss": pss}, []

    def hold(self, server):
        wanted = min(self.args.hold, server.hold or self.args.hold)
        with Running(self, server) as running:
            time.sleep(SETTLE_SECONDS)
            before = running.memory()[1]
            load = subprocess.Popen(
                self.load_argv("hold", running.port, "--connections", wanted),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                preexec_fn=prepare_child(self.load_cpu))
            held = json.loads(load.stdout.readline())
            time.sleep(SETTLE_SECONDS)
            after = running.memory()[1]
            further = echoes(running.port)
            alive = json.loads(load.communicate(b"\n")[0])
        remarks = [f"of {wanted}"] if wanted < self.args.hold else []
        if held["held"] < wanted:
            remarks.append(f"FAILED: {held['held']} of {wanted}: {held['last_error']}")
        if alive["alive"] < held["held"]:
            remarks.append(f"FAILED: {held['held'] - alive['alive']} did not answer later")
        if not further:
            remarks.append("FAILED: a further client was not served")
        return {"hold/held": held["held"],
                "hold/pss": (after - before) / max(held["held"], 1)}, remarks


KINDS = {  # name: connections at a time that it needs
    "short": 1, "pingpong": 64, "pingpong1": 1, "start": 1, "memory": 1, "hold": 101,
}


# ------------------------------------------------------------------------------------ the rounds

def run_rounds(bench, names, kinds, rounds):
    """results[metric][server]: one value for each round, None where it failed."""
    results, remarks = {}, {}
    for number in range(rounds):
        order = names[number % len(names):] + names[:number % len(names)]
        for kind in kinds:
            for name in order:
                server = SERVERS[name]
                if server.at_once and server.at_once < KINDS[kind]:
                    continue
                print(f"\rround {number + 1}/{rounds} {kind} {name}\033[K", end="",
                      file=sys.stderr, flush=True)
                try:
                    values, said = getattr(bench, kind)(server)
                except (RuntimeError, ValueError) as e:
                    values = {metric: None for metric in METRICS if metric.startswith(kind + "/")}
                    said = [f"FAILED: {e}"]
                for metric, value in values.items():
                    results.setdefault(metric, {}).setdefault(name, []).append(value)
                remarks.setdefault((kind, name), set()).update(said)
    print("\r\033[K", end="", file=sys.stderr)
    return results, remarks


def ratios(values, base):
    return [v / b for v, b in zip(values, base or []) if v is not None and b]


def print_table(results, remarks, names, peer):
    for metric, (title, unit, better) in METRICS.items():
        if metric not in results:
            continue
        of_metric = results[metric]
        print(f"\n{title}{', ' + unit if unit else ''} ({better} is better)")
        print(f"  {'server':22}{'median':>12}   {'ratio to ' + peer:^24}  remarks")
        print(f"  {'':22}{'':12}   {'min':>7} {'median':>8} {'max':>7}")
        for name in names:
            if name not in of_metric:
                continue
            good = [v for v in of_metric[name] if v is not None]
            middle = f"{statistics.median(good):12.1f}" if good else f"{'-':>12}"
            r = ratios(of_metric[name], of_metric.get(peer))
            if r:
                spread = f"{min(r):7.2f} {statistics.median(r):8.2f} {max(r):7.2f}"
            else:
                spread = f"{'-':>7} {'-':>8} {'-':>7}"
            said = "; ".join(sorted(remarks.get((metric.split("/")[0], name), [])))
            print(f"  {name:22}{middle}   {spread}  {said}".rstrip())


def chosen(text, known, what):
    words = text.split(",") if text else list(known)
    for word in words:
        if word not in known:
            sys.exit(f"--{what}: found '{word}', expected some of {', '.join(known)}")
    return words


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="the build folder (default: build)")
    parser.add_argument("--rounds", type=int, help="default 7; with --quick 3")
    parser.add_argument("--seconds", type=float, help="of each measurement; default 5; quick 0.5")
    parser.add_argument("--hold", type=int, help="idle connections; default 10000; quick 500")
    parser.add_argument("--peer", default="fork_loop", help="what ratios are to")
    parser.add_argument("--servers", help="names, parted by commas; default: all")
    parser.add_argument("--kinds", help="kinds of work, parted by commas; default: all")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND",
                        help="one more server; {port} in the command is its port")
    parser.add_argument("--pin", action="store_true",
                        help="server on one processor, load generator on another")
    parser.add_argument("--quick", action="store_true", help="a short run that shows it works")
    parser.add_argument("--json", metavar="FILE", help="write every single figure there")
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.seconds = args.seconds or (0.5 if args.quick else 5)
    args.hold = args.hold or (500 if args.quick else 10000)
    return args


def main():
    args = read_arguments()
    for extra in args.server:
        name, _, command = extra.partition("=")
        SERVERS[name] = Server(command, hold=args.hold)
    names = chosen(args.servers, SERVERS, "servers")
    kinds = chosen(args.kinds, KINDS, "kinds")
    chosen(args.peer, SERVERS, "peer")
    with open(os.path.join(tempfile.gettempdir(), "netdaemon-bench.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another benchmark runs on this machine")
        results, remarks = run_rounds(Bench(args), names, kinds, args.rounds)
    pinned = "server and load generator on a processor each" if args.pin else "not pinned"
    print(f"{args.rounds} rounds of {args.seconds:g} s, {pinned}, {os.cpu_count()} processors, "
          f"load average {os.getloadavg()[0]:.1f} at the end")
    print_table(results, remarks, names, args.peer)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"arguments": vars(args), "results": results}, f, indent=1)


if __name__ == "__main__":
    main()
