"""ramet: the rows that every peer runs, and those that only ramet runs (what an operation costs beside parked
goroutines, pending timers or open connections).
"""

import os
import random

from background import Background, idle_peer  # before ramet: it may fork
from common import (
    START_BATCH,
    Cpu,
    Memory,
    Trips,
    compute,
    leave,
    main,
    measure,
    now,
    options,
    order,
    sleep_for,
)


def nothing():
    pass


def row_yield(o):
    def round_(n):
        each = max(1, n // o.n)

        def yielder():
            gosched = ramet.gosched
            for _ in range(each):
                gosched()

        gs = [go(yielder) for _ in range(o.n)]
        t = now()
        for g in gs:
            g.join()
        return (now() - t) * n / (each * o.n)

    return {"ns": measure(round_, o, first=o.n * 4)}


def row_spawn(o):
    def round_(n):
        t = now()
        for _ in range(n):
            go(nothing).join()
        return now() - t

    return {"ns": measure(round_, o)}


def row_startmany(o):
    def round_(n):
        t = now()
        for _ in range(n):
            for g in [go(nothing) for _ in range(START_BATCH)]:
                g.join()
        return now() - t

    return {"ns": measure(round_, o, first=1) / START_BATCH}


def row_pingpong(o):
    def round_(n):
        a, b = Chan(), Chan()

        def ponger():
            for _ in range(n):
                b.send(a.recv())

        go(ponger)
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

        go(producer)
        recv = c.recv
        t = now()
        for _ in range(n):
            recv()
        return now() - t

    return {"ns": measure(round_, o)}


def row_selectready(o):
    def round_(n):
        chans = [Chan(1) for _ in range(o.n)]
        cases = [c.if_recv() for c in chans]
        sends = [chans[i].send for i in order(o.n)]
        select = ramet.select
        t = now()
        for _ in range(n // 64 + 1):
            for send in sends:
                send(1)
                select(*cases)
        return (now() - t) * n / ((n // 64 + 1) * 64)

    return {"ns": measure(round_, o, first=64)}


def row_selectblock(o):
    def round_(n):
        chans = [Chan() for _ in range(o.n)]
        cases = [c.if_recv() for c in chans]
        n = (n // 64 + 1) * 64

        def producer():
            sends = [chans[i].send for i in order(o.n)]
            for _ in range(n // 64):
                for send in sends:
                    send(1)

        go(producer)
        select = ramet.select
        t = now()
        for _ in range(n):
            select(*cases)
        return now() - t

    return {"ns": measure(round_, o, first=64)}


def row_parked(o):
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
        go(outer)
    while parked < o.n:
        ramet.gosched()
    return m.report()


def row_boundary(o):
    """Calls at every depth of 20 recursions by frames of two sizes in mixed order: here and there a call stands at the
    end of a chunk of Python's data stack. The dearest depth counts."""
    dearest, mixed = 0.0, random.Random(1)

    def calls(n):
        t = now()
        for _ in range(n):
            nothing()
        return now() - t

    def step(depth):
        nonlocal dearest
        dearest = max(dearest, min(calls(500) for _ in range(3)) / 500)
        if depth:
            mixed.choice((small, large))(depth - 1)

    def small(depth):
        step(depth)

    def large(depth, a=0, b=0, c=0, d=0, e=0):
        step(depth)

    for _ in range(20):
        go(step, 150).join()
    return {"ns": dearest}


def row_sleepers(o):
    sleep = ramet.time.sleep
    cpu, t = Cpu(), now()
    for g in [go(sleep, sleep_for(i)) for i in range(o.n)]:
        g.join()
    return {"cpu_ns": cpu.ns() / o.n, "wall_s": (now() - t) / 1e9}


def row_blocking(o):
    for _ in range(10):
        ramet.blocking(os.getppid)
    trips, end = Trips(), now() + int(o.time * 1e9)
    while now() < end:
        if o.gap:
            ramet.time.sleep(o.gap)
        t = now()
        ramet.blocking(os.getppid)
        trips.wall += now() - t
        trips.count += 1
    return trips.report()


def row_mutex(o):
    m = ramet.sync.Mutex()

    def round_(n):
        lock, unlock = m.lock, m.unlock
        t = now()
        for _ in range(n):
            lock()
            unlock()
        return now() - t

    return {"ns": measure(round_, o)}


def row_calls(o):
    """What a lock and an unlock would cost if they did nothing."""

    def round_(n):
        first = second = (0).conjugate
        t = now()
        for _ in range(n):
            first()
            second()
        return now() - t

    return {"ns": measure(round_, o)}


def row_mutexbusy(o):
    def round_(n):
        m, each, gosched = ramet.sync.Mutex(), max(1, n // o.n), ramet.gosched

        def contender():
            for _ in range(each):
                with m:
                    gosched()

        t = now()
        for g in [go(contender) for _ in range(o.n)]:
            g.join()
        return (now() - t) * n / (each * o.n)

    return {"ns": measure(round_, o, first=64)}


def row_timeout(o):
    def round_(n):
        timeout = ramet.timeout
        t = now()
        for _ in range(n):
            with timeout(100):
                pass
        return now() - t

    return {"ns": measure(round_, o)}


def row_group(o):
    def round_(n):
        Group = ramet.Group
        t = now()
        for _ in range(n):
            with Group() as group:
                for _ in range(10):
                    group.go(nothing)
        return now() - t

    return {"ns": measure(round_, o)}


def row_queue(o):
    def round_(n):
        q = ramet.sync.Queue(128)

        def producer():
            put = q.put
            for i in range(n):
                put(i)

        go(producer)
        get = q.get
        t = now()
        for _ in range(n):
            get()
        return now() - t

    return {"ns": measure(round_, o)}


def row_hog(o):
    """Two that compute and do not wait: with preemption they take turns, without they run one after the other."""

    def round_(n):
        t = now()
        for g in [go(compute, n // 2) for _ in range(2)]:
            g.join()
        return now() - t

    return {"ns": measure(round_, o, first=1000)}


def row_timerchurn(o):
    def round_(n):
        after_func = ramet.time.after_func
        t = now()
        for _ in range(n):
            after_func(100, nothing).stop()
        return now() - t

    return {"ns": measure(round_, o)}


ROWS = {
    "calls": row_calls,
    "mutex": row_mutex,
    "mutexbusy": row_mutexbusy,
    "timeout": row_timeout,
    "group": row_group,
    "queue": row_queue,
    "hog": row_hog,
    "boundary": row_boundary,
    "timerchurn": row_timerchurn,
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
}


def beside(row):
    """Run a row in the main goroutine, beside the background that the options ask for."""

    def run(o):
        def start():
            Background(o, ramet, holder)
            leave(**row(o))  # without unwinding what still stands in the background

        ramet.run(start)

    return run


holder = idle_peer()
import net_ramet  # noqa: E402
import ramet  # noqa: E402
import ramet.sync  # noqa: E402
import ramet.time  # noqa: E402

go, Chan = ramet.go, ramet.Chan
if options().variant == "preempt":
    ramet.configure(preempt=True)
main({name: beside(row) for name, row in {**ROWS, **net_ramet.ROWS}.items()})
