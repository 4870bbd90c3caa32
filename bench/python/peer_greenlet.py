"""greenlet: the bare switch. It has no scheduler, channels, timers or sockets, so most rows are dashes.

A greenlet that has nothing to do switches to the next in a ring (yield) or to its parent (parked).
"""

from common import START_BATCH, Memory, main, measure, now
from greenlet import getcurrent, greenlet


def nothing():
    pass


def row_yield(o):
    def round_(n):
        each = max(1, n // o.n)
        root = getcurrent()
        ring = []

        def walker(i):
            switch = ring[(i + 1) % o.n].switch
            root.switch()  # all begin from the main greenlet, and wait there for the clock
            for _ in range(each):
                switch()

        ring.extend(greenlet(walker) for _ in range(o.n))
        for i, g in enumerate(ring):
            g.switch(i)
        t = now()
        ring[0].switch()
        t = now() - t  # back in the main greenlet when the first has ended, all others within one lap of it
        for g in ring:
            while not g.dead:
                g.switch()
        return t * n / (each * o.n)

    return {"ns": measure(round_, o, first=o.n * 4)}


def row_spawn(o):
    def round_(n):
        t = now()
        for _ in range(n):
            greenlet(nothing).switch()
        return now() - t

    return {"ns": measure(round_, o)}


def row_startmany(o):
    def round_(n):
        t = now()
        for _ in range(n):
            for g in [greenlet(nothing) for _ in range(START_BATCH)]:
                g.switch()
        return now() - t

    return {"ns": measure(round_, o, first=1) / START_BATCH}


def row_parked(o):
    root = getcurrent()

    def inner():
        return root.switch()

    def outer():
        return inner()

    m = Memory(o.n)
    gs = []
    for _ in range(o.n):
        g = greenlet(outer)
        g.switch()
        gs.append(g)
    return m.report()


main({"yield": row_yield, "spawn": row_spawn, "startmany": row_startmany, "parked": row_parked})
