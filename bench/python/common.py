"""What every Python benchmark program shares: the command line, the measuring loops, the memory reading.

A program is started as `python peer_X.py ROW [--time S] [--n N] [--gap S] [--parked N] ...`, does one sample
of the row, and prints one JSON line: either the figures (`{"ns": 123.4}`) or `{"skip": "why not"}`.
"""

import argparse
import json
import os
import ssl
import time

now = time.perf_counter_ns
CHUNK = 16384  # what a server reads at once, in every echo server here
COPY_CHUNK = 1 << 18  # what a copy reads at once where the peer leaves it to its user
COPIED = "copy.dat"  # the file of the copy rows, in the working directory
KEYS = 1000  # of the line protocol
START_BATCH = 10_000  # goroutines started and joined in one round of `startmany`
LIMIT = 1 << 30  # no loop runs longer than this
PIECE = 1_000_000  # rounds of a loop that does nothing: what a hog computes before it lets the others run


class Skip(Exception):
    """This peer has no such thing, or this machine cannot do it; the text says which."""


def options(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("row")
    p.add_argument("--time", type=float, default=0.3, help="seconds a sample should last at least")
    p.add_argument("--n", type=int, default=2, help="tasks, cases, sleepers, ... of the row")
    p.add_argument("--gap", type=float, default=0.0, help="seconds between two blocking calls")
    p.add_argument("--variant", default="", help="of the peer, e.g. streams or protocols")
    p.add_argument("--hogs", type=int, default=0, help="tasks that compute meanwhile, each a PIECE at a time")
    p.add_argument("--parked", type=int, default=0, help="goroutines that stay parked meanwhile")
    p.add_argument("--sleepers", type=int, default=0, help="timers that stay pending meanwhile")
    p.add_argument("--conns", type=int, default=0, help="idle connections that stay open meanwhile")
    return p.parse_args(argv)


def emit(**figures):
    print(json.dumps(figures), flush=True)


def leave(**figures):
    """Print the figures and end the process at once: a million parked tasks are not torn down."""
    emit(**figures)
    os._exit(0)


def next_count(n, taken_ns, want_ns):
    """How many operations the next round does: between 2 and 20 times as many."""
    factor = 1.3 * want_ns / max(taken_ns, 1)
    return min(LIMIT, int(n * min(20.0, max(2.0, factor))))


def measure(round_, o, first=8):
    """Call round_(n) -> ns with growing n until one round lasts long enough; its ns per operation."""
    want, n = o.time * 1e9, first
    round_(n)  # thrown away: code, stacks and caches are warm from here on
    while True:
        t = round_(n)
        if t >= want or n >= LIMIT:
            return t / n
        n = next_count(n, t, want)


async def ameasure(round_, o, first=8):
    """The same for a round that is a coroutine function."""
    want, n = o.time * 1e9, first
    await round_(n)
    while True:
        t = await round_(n)
        if t >= want or n >= LIMIT:
            return t / n
        n = next_count(n, t, want)


def resident():
    """Bytes of memory that this process holds: resident pages and page tables."""
    total = 0
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(("VmRSS:", "VmPTE:")):
                total += int(line.split()[1]) * 1024
    return total


class Memory:
    """Bytes and seconds a task between construction and `report`."""

    def __init__(self, n):
        self.n, self.before, self.start = n, resident(), now()

    def report(self):
        seconds = (now() - self.start) / 1e9
        return {"bytes": (resident() - self.before) / self.n, "seconds": seconds}


def sleep_for(i):
    """Seconds that sleeper number i sleeps: spread over 0.1 ... 0.3 s in no order."""
    return 0.1 + (i * 7919 % 10_000) * 20e-6


class Cpu:
    """CPU time of this process, all its threads, since construction."""

    def __init__(self):
        self.start = time.process_time_ns()

    def ns(self):
        return time.process_time_ns() - self.start


def order(n):
    """Which of n channels the select rows send on, one period of 64: fixed, and in no order."""
    return [(i * 5 + i // 8) % n for i in range(64)]


class Trips:
    """Round trips of `blocking`: the time of the calls alone, the CPU of all that came between."""

    def __init__(self):
        self.wall = 0
        self.count = 0
        self.cpu = Cpu()

    def report(self):
        return {"ns": self.wall / self.count, "cpu_ns": self.cpu.ns() / self.count}


def listening(port):
    """Tell the harness where the echo server listens."""
    emit(port=port)


def tls_context(context_type=ssl.SSLContext):
    """A server's, with the certificate that the harness has made in the working directory."""
    context = context_type(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("cert.pem", "key.pem")
    return context


VALUES = {b"key%06d" % i: b"value-%06d" % i for i in range(KEYS)}


def answer(line):
    """The line protocol's work on a request, the same for all."""
    _get, key = line.split()
    return VALUES[key] + b"\n"


class Lines:
    """Whole lines out of what comes in pieces, for peers that have no readline."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


def compute(rounds=PIECE):
    for _ in range(rounds):
        pass


def main(rows, argv=None):
    """Run the row that the command line names; `rows` maps names to functions of the options."""
    o = options(argv)
    fn = rows.get(o.row)
    try:
        if fn is None:
            raise Skip("has no such thing")
        figures = fn(o)
    except Skip as why:
        emit(skip=str(why))
        return
    leave(**figures)
