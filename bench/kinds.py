"""kinds.py - the kinds of work. Each returns {metric: value} and a list of remarks."""

import json
import os
import re
import statistics
import subprocess
import tempfile
import time

from servers import PROGRAMS, Running, echoes, free_port, http_body, prepare_child

BUSY_LIMIT = 0.95      # from here on the load generator counts as the limit
SATURATED = 0.90       # from here on the server does
FOREIGN = 0.05         # more time of the server's processor than this for others is worth a word
PER_LOAD = 16000       # connections that one process of the load generator holds

# name: what it is, unit, which way is better
METRICS = {
    "short/rate": ("short connections, 8 at a time", "1/s", "higher"),
    "short/cpu": ("server's processor time per short connection", "us", "lower"),
    "short/p50": ("short connections, connect to echo, median", "us", "lower"),
    "short/p99": ("short connections, connect to echo, 99 %", "us", "lower"),
    "spawn/rate": ("programs started, the smallest there can be, 8 at a time", "1/s", "higher"),
    "spawn/cpu": ("processor time per connection, the smallest program's included", "us", "lower"),
    "spawn/p50": ("smallest program, connect to its first byte, median", "us", "lower"),
    "spawn/p99": ("smallest program, connect to its first byte, 99 %", "us", "lower"),
    "spawn_libc/rate": ("programs started, small and linked statically, 8 at a time", "1/s",
                        "higher"),
    "spawn_libc/cpu": ("processor time per connection, the static program's included", "us",
                       "lower"),
    "spawn_libc/p50": ("static program, connect to its first byte, median", "us", "lower"),
    "spawn_libc/p99": ("static program, connect to its first byte, 99 %", "us", "lower"),
    "pingpong1/rate": ("lines over one connection", "1/s", "higher"),
    "pingpong1/p50": ("line to echo, one connection, median", "us", "lower"),
    "pingpong1/p99": ("line to echo, one connection, 99 %", "us", "lower"),
    "pingpong/rate": ("lines over 64 connections", "1/s", "higher"),
    "pingpong/cpu": ("server's processor time per line, 64 connections", "us", "lower"),
    "pingpong/p50": ("line to echo, 64 connections, median", "us", "lower"),
    "pingpong/p90": ("line to echo, 64 connections, 90 %", "us", "lower"),
    "pingpong/p99": ("line to echo, 64 connections, 99 %", "us", "lower"),
    "pingpong/p999": ("line to echo, 64 connections, 99.9 %", "us", "lower"),
    "pingpong1k/rate": ("lines over 1,000 connections", "1/s", "higher"),
    "pingpong1k/cpu": ("server's processor time per line, 1,000 connections", "us", "lower"),
    "pingpong1k/p99": ("line to echo, 1,000 connections, 99 %", "us", "lower"),
    "inflight/rate": ("lines, 16 under way on each of 64 connections", "1/s", "higher"),
    "inflight/cpu": ("server's processor time per line, 16 under way", "us", "lower"),
    "inflight/p99": ("line to echo, 16 under way, 99 %", "us", "lower"),
    "http/rate": ("HTTP requests over 64 connections", "1/s", "higher"),
    "http/cpu": ("server's processor time per HTTP request", "us", "lower"),
    "http/p50": ("HTTP request to answer, median", "us", "lower"),
    "http/p99": ("HTTP request to answer, 99 %", "us", "lower"),
    "growth/few": ("time per line, 100 under way on 100 connections", "us", "lower"),
    "growth/many": ("time per line, 100 under way on 10,000 connections", "us", "lower"),
    "growth/time": ("growth of the time per line from 100 to 10,000 connections", "x", "lower"),
    "growth/cpu": ("growth of the server's processor time per line", "x", "lower"),
    "start/ms": ("start to first echo", "ms", "lower"),
    "memory/rss": ("idle server, VmRSS", "kB", "lower"),
    "memory/pss": ("idle server, Pss", "kB", "lower"),
    "hold/held": ("idle connections held", "", "higher"),
    "hold/bytes": ("user-space memory per idle connection", "bytes", "lower"),
    "hold100k/held": ("idle connections held, over six workers", "", "higher"),
    "hold100k/bytes": ("user-space memory per idle connection, over six workers", "bytes",
                       "lower"),
}

KINDS = {  # name: connections at a time that it needs
    "short": 1, "spawn": 1, "spawn_libc": 1, "pingpong1": 1, "pingpong": 64, "pingpong1k": 1000, "inflight": 64, "http": 64,
    "growth": 10000, "start": 1, "memory": 1, "hold": 101, "hold100k": 100000,
}
FOR_LOOPS = {"growth", "hold100k"}  # of no use, or no end, for a thread or process each


def takes_part(server, kind):
    if server.only and kind not in server.only:
        return False
    if server.http != (kind == "http") or server.starts != (kind in PROGRAMS):
        return False
    if kind == "hold100k":
        return kind in server.words
    return server.loop or kind not in FOR_LOOPS and (server.at_once or 10**9) >= KINDS[kind]


def busy_seconds(cpu):
    """How long this processor was not idle so far; 0 for None."""
    if cpu is None:
        return 0
    with open("/proc/stat") as f:
        for line in f:
            words = line.split()
            if words[0] == f"cpu{cpu}":
                times = [int(word) for word in words[1:9]]
                return (sum(times) - times[3] - times[4]) / os.sysconf("SC_CLK_TCK")
    return 0


class Window:
    """What happened between its making and close(): the server's processor time, and the share of
    its processor that others took."""

    def __init__(self, running, cpu):
        self.running, self.cpu = running, cpu
        self.at_start = self.look()

    def look(self):
        return time.monotonic(), self.running.cpu_seconds(), busy_seconds(self.cpu)

    def close(self, got):
        """got: the load generator's figures."""
        seconds, used, busy = (b - a for a, b in zip(self.at_start, self.look()))
        self.got, self.seconds = got, seconds
        self.cpu_us, self.share = used / max(got["done"], 1) * 1e6, used / seconds
        self.foreign = (busy - used) / seconds
        return self

    def remarks(self, server, connections):
        """server: whose window it is. connections: how many there should be."""
        got, said = self.got, []
        if got["failed"]:
            said.append(f"FAILED {got['failed']}: {got['last_error']}")
        elif got.get("ready", connections) < connections:
            said.append(f"FAILED: only {got['ready']} of {connections} were served in time")
        if server.uncounted:
            return said
        if self.foreign > FOREIGN:
            said.append("others on its processor")
        elif got["load_busy"] > BUSY_LIMIT and self.share < BUSY_LIMIT:
            said.append("load generator at its limit")
        return said


class Bench:
    def __init__(self, build, seconds, hold, server_cpu, load_cpu):
        self.build, self.seconds, self.hold_wanted = build, seconds, hold
        self.server_cpu, self.load_cpu = server_cpu, load_cpu

    def running(self, server, kind):
        return Running(server, self.build, kind, self.server_cpu)

    def start_load(self, *words, stdin=None):
        return subprocess.Popen([f"{self.build}/bench/load", *map(str, words)], stdin=stdin,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                preexec_fn=prepare_child(self.load_cpu))

    def measure(self, running, kind, *words):
        """Run the load generator; look at the server's processor time at both ends of the window
        that it measures."""
        load = self.start_load(kind, "--port", running.port, "--seconds", self.seconds,
                               "--warmup", self.seconds / 5, *words)
        load.stdout.readline()  # "begin"
        window = Window(running, self.server_cpu)
        answer, errors = load.communicate()
        if load.returncode:
            raise RuntimeError(errors[-500:].strip())
        return window.close(json.loads(answer))

    def traffic(self, kind, server, connections, parts, *words):
        program = {"short": "short", "spawn": "greet", "spawn_libc": "greet"}.get(kind, "flow")
        with self.running(server, kind) as running:
            window = self.measure(running, program, "--connections", connections, *words)
        values = {f"{kind}/{part}": window.got[f"{part}_us"] for part in parts}
        values[f"{kind}/rate"] = window.got["per_second"]
        values[f"{kind}/load"] = window.got["load_busy"]
        if not server.uncounted:
            values[f"{kind}/share"] = window.share
            values[f"{kind}/cpu"] = window.cpu_us
        return values, window.remarks(server, connections)

    def short(self, server):
        return self.traffic("short", server, 8, ["p50", "p99"])

    def spawn(self, server):
        return self.traffic("spawn", server, 8, ["p50", "p99"])

    def spawn_libc(self, server):
        return self.traffic("spawn_libc", server, 8, ["p50", "p99"])

    def pingpong(self, server):
        return self.traffic("pingpong", server, 64, ["p50", "p90", "p99", "p999"])

    def pingpong1(self, server):
        return self.traffic("pingpong1", server, 1, ["p50", "p99"])

    def pingpong1k(self, server):
        return self.traffic("pingpong1k", server, 1000, ["p99"])

    def inflight(self, server):
        return self.traffic("inflight", server, 64, ["p99"], "--depth", 16)

    def growth(self, server):
        windows, said = [], []
        for connections in (100, 10000):
            with self.running(server, "growth") as running:
                window = self.measure(running, "flow", "--connections", connections,
                                      "--active", 100)
            windows.append(window)
            said += window.remarks(server, connections)
        times = [1e6 / max(window.got["per_second"], 1e-9) for window in windows]
        return {"growth/few": times[0], "growth/many": times[1], "growth/time": times[1] / times[0],
                "growth/cpu": windows[1].cpu_us / windows[0].cpu_us,
                "growth/share": min(window.share for window in windows)}, said

    def http(self, server):
        with self.running(server, "http") as running:
            body = http_body(running.port)
            url = f"http://127.0.0.1:{running.port}/"
            if self.seconds >= 1:
                self.wrk(1, url)
            window = Window(running, self.server_cpu)
            window.close(self.wrk(max(1, round(self.seconds)), url))
        said = [] if len(body) == 14 else [f"its body has {len(body)} bytes, not 14"]
        got = window.got
        return {"http/rate": got["rate"], "http/p50": got["p50"], "http/p99": got["p99"],
                "http/share": window.share, "http/load": got["load_busy"],
                "http/cpu": window.cpu_us}, said + window.remarks(server, 64)

    def wrk(self, seconds, url):
        """wrk's figures, under the names that our load generator gives them."""
        before = os.times()
        done = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", "--latency", url],
                              capture_output=True, text=True,
                              preexec_fn=prepare_child(self.load_cpu))
        after = os.times()
        if done.returncode:
            raise RuntimeError(f"wrk: {done.stderr[-200:]}")

        def find(pattern, default=None):
            found = re.search(pattern, done.stdout)
            if not found and default is None:
                raise RuntimeError(f"wrk: no {pattern} in its answer")
            return found[1] if found else default

        def microseconds(percent):
            number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", find(rf"\n +{percent}% +(\S+)")).groups()
            return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]

        cpu = (after.children_user + after.children_system
               - before.children_user - before.children_system)
        errors = sum(map(int, re.findall(r"\d+", find(r"Socket errors: (.*)", "0"))))
        return {"rate": float(find(r"Requests/sec:\s+([\d.]+)")), "p50": microseconds(50),
                "p99": microseconds(99), "done": int(find(r"(\d+) requests in")),
                "load_busy": cpu / (after.elapsed - before.elapsed),
                "failed": errors + int(find(r"Non-2xx or 3xx responses: (\d+)", "0")),
                "last_error": "wrk: " + find(r"(Socket errors: .*)", "not 2xx")}

    def start(self, server):
        cpu = [] if self.server_cpu is None else ["--cpu", self.server_cpu]
        times = []
        for _ in range(3):
            port = free_port()
            with tempfile.TemporaryDirectory() as folder:
                load = self.start_load("start", "--port", port, *cpu, "--",
                                       *server.argv(self.build, port, "start", folder))
                answer, errors = load.communicate()
            if load.returncode:
                raise RuntimeError(errors[-500:].strip())
            times.append(json.loads(answer)["start_ms"])
        return {"start/ms": statistics.median(times)}, []

    def memory(self, server):
        with self.running(server, "memory") as running:
            running.settled_pss(0.5)
            rss, pss = running.memory()
        return {"memory/rss": rss, "memory/pss": pss}, []

    def hold(self, server, kind="hold", wanted=None):
        wanted = wanted or min(self.hold_wanted, server.hold or self.hold_wanted)
        quiet = 4 if "--compact-after 1" in server.words.get(kind, "") else 1
        with self.running(server, kind) as running:
            before = running.settled_pss(0.5)
            loads = self.start_holding(running.port, wanted)
            held = [json.loads(load.stdout.readline()) for load in loads]
            after = running.settled_pss(quiet)
            further = echoes(running.port)
            alive = [json.loads(load.communicate("\n")[0]) for load in loads]
        count = sum(part["held"] for part in held)
        living = sum(part["alive"] for part in alive)
        said = [f"of {wanted}"] if kind == "hold" and wanted < self.hold_wanted else []
        if count < wanted:
            said.append(f"FAILED: {count} of {wanted}: {held[0]['last_error']}")
        if living < count:
            said.append(f"FAILED: {count - living} did not answer later")
        if not further:
            said.append("FAILED: a further client was not served")
        return {f"{kind}/held": count, f"{kind}/alive": living / wanted,
                f"{kind}/bytes": (after - before) * 1024 / max(count, 1)}, said

    def start_holding(self, port, wanted):
        """As many processes as their limit of descriptors asks for, each with its share."""
        processes = -(-wanted // PER_LOAD)
        shares = [wanted // processes + (i < wanted % processes) for i in range(processes)]
        return [self.start_load("hold", "--port", port, "--connections", share,
                                stdin=subprocess.PIPE) for share in shares]

    def hold100k(self, server):
        return self.hold(server, "hold100k", 10 * self.hold_wanted)
