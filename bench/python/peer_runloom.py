"""runloom on one scheduler, `run(1, main)`, which is all that it does on builds with a GIL.

Joining is by a channel, which is cheaper there than its WaitGroup. Echo is TCPConn with a handler in blocking
style.
"""

import os

import net_runloom
import runloom
from common import (
    START_BATCH,
    Cpu,
    Memory,
    Skip,
    Trips,
    leave,
    main,
    measure,
    now,
    order,
    sleep_for,
)

fiber, Chan = runloom.fiber, runloom.Chan


def inside(fn):
    """Run fn() as the root fiber and return what it returned."""
    result = []

    def root():
        try:
            result.append(fn())
        except BaseException as exc:
            result.append(exc)

    runloom.run(1, root)
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def row_yield(o):
    def round_(n):
        each = max(1, n // o.n)
        ended = Chan(o.n)

        def yielder():
            yield_now = runloom.yield_now
            for _ in range(each):
                yield_now()
            ended.send(None)

        for _ in range(o.n):
            fiber(yielder)
        t = now()
        for _ in range(o.n):
            ended.recv()
        return (now() - t) * n / (each * o.n)

    return {"ns": measure(round_, o, first=o.n * 4)}


def row_spawn(o):
    def round_(n):
        ended = Chan()

        def nothing():
            ended.send(None)

        t = now()
        for _ in range(n):
            fiber(nothing)
            ended.recv()
        return now() - t

    return {"ns": measure(round_, o)}


def row_startmany(o):
    def round_(n):
        ended = Chan(START_BATCH)

        def nothing():
            ended.send(None)

        t = now()
        for _ in range(n):
            for _ in range(START_BATCH):
                fiber(nothing)
            for _ in range(START_BATCH):
                ended.recv()
        return now() - t

    return {"ns": measure(round_, o, first=1) / START_BATCH}


def row_pingpong(o):
    def round_(n):
        a, b = Chan(), Chan()

        def ponger():
            for _ in range(n):
                b.send(a.recv()[0])

        fiber(ponger)
        t = now()
        for i in range(n):
            a.send(i)
            b.recv()
        return now() - t

    return {"ns": measure(round_, o) / 2}


def stream(o, slots):
    def round_(n):
        c = Chan(slots)

        def producer():
            send = c.send
            for i in range(n):
                send(i)

        fiber(producer)
        recv = c.recv
        t = now()
        for _ in range(n):
            recv()
        return now() - t

    return {"ns": measure(round_, o)}


def row_selectready(o):
    def round_(n):
        chans = [Chan(1) for _ in range(o.n)]
        cases = [("recv", c) for c in chans]
        sends = [chans[i].send for i in order(o.n)]
        select = runloom.select
        t = now()
        for _ in range(n // 64 + 1):
            for send in sends:
                send(1)
                select(cases)
        return (now() - t) * n / ((n // 64 + 1) * 64)

    return {"ns": measure(round_, o, first=64)}


def row_selectblock(o):
    def round_(n):
        chans = [Chan() for _ in range(o.n)]
        cases = [("recv", c) for c in chans]
        n = (n // 64 + 1) * 64

        def producer():
            sends = [chans[i].send for i in order(o.n)]
            for _ in range(n // 64):
                for send in sends:
                    send(1)

        fiber(producer)
        select = runloom.select
        t = now()
        for _ in range(n):
            select(cases)
        return now() - t

    return {"ns": measure(round_, o, first=64)}


def row_parked(o):
    with open("/proc/sys/vm/max_map_count") as f:
        maps = int(f.read())
    if 2 * o.n + 2000 > maps:
        raise Skip(f"two mappings a fiber: about {maps // 2:,} fibers at vm.max_map_count {maps:,}")
    never = Chan()
    parked = 0

    def inner():
        nonlocal parked
        parked += 1
        return never.recv()

    def outer():
        return inner()

    m = Memory(o.n)
    for _ in range(o.n):
        fiber(outer)
    while parked < o.n:
        runloom.yield_now()
    return leave(**m.report())


def row_sleepers(o):
    ended = Chan(o.n)

    def sleeper(seconds):
        runloom.sleep(seconds)
        ended.send(None)

    cpu, t = Cpu(), now()
    for i in range(o.n):
        fiber(sleeper, sleep_for(i))
    for _ in range(o.n):
        ended.recv()
    return {"cpu_ns": cpu.ns() / o.n, "wall_s": (now() - t) / 1e9}


def row_blocking(o):
    for _ in range(10):
        runloom.blocking(os.getppid)
    trips, end = Trips(), now() + int(o.time * 1e9)
    while now() < end:
        if o.gap:
            runloom.sleep(o.gap)
        t = now()
        runloom.blocking(os.getppid)
        trips.wall += now() - t
        trips.count += 1
    return trips.report()


ROWS = {
    "yield": row_yield,
    "spawn": row_spawn,
    "startmany": row_startmany,
    "pingpong": row_pingpong,
    "unbuffered": lambda o: stream(o, 0),
    "buffered": lambda o: stream(o, 128),
    "selectready": row_selectready,
    "selectblock": row_selectblock,
    "parked": row_parked,
    "sleepers": row_sleepers,
    "blocking": row_blocking,
    **net_runloom.ROWS,
}
main({name: lambda o, row=row: inside(lambda: row(o)) for name, row in ROWS.items()})
