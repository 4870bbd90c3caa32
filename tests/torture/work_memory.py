"""The end of objects: collections, finalizers and callbacks that switch and park, deallocation that nests."""

import gc
import itertools
import sysconfig
import weakref

from kit import T, pause, rendezvous, same, together, work
from ramet import gosched
from ramet.time import sleep


class Mortal:
    """Says when it ends, and parks then."""

    def __init__(self, log, n, parks):
        self.log, self.n, self.parks = log, n, parks

    def __del__(self):
        if self.parks:
            rendezvous(self.n)
        self.log.append(self.n)


NO_GIL_BUILD = sysconfig.get_config_var("Py_GIL_DISABLED")


def ended(log, n):
    """n have: at once, but on free-threaded CPython each object has a thread that has to look. A collection makes that the one
    which its memory came from. So a tuple from a free list may be another thread's that waits: the one, too, that the handler
    which preempts is called with, and it refers to a frame and so to all those below."""
    for _ in range(int(T / 1e-3) if NO_GIL_BUILD else 0):
        if len(log) >= n:
            break
        sleep(1e-3)
    same(len(log), n)


def gone(refs):
    """Until the collector has come: another goroutine may be in a collection, and parked there."""
    for _ in range(int(T / 0.001)):
        gc.collect()
        if not any(ref() for ref in refs):
            return
        sleep(0.001)
    raise AssertionError(f"not collected: {[ref() for ref in refs]}")


@work()
def finalizers(r):
    """By reference count: there and then, an exception being handled or on its way."""
    log, n = [], r.randrange(1, 6)

    def drop(i):
        m = Mortal(log, i, r.random() < 0.5)
        m.n = i
        pause(r)
        raise KeyError(i)

    for i in range(n):
        try:
            drop(i)
        except KeyError as e:
            kept = e
            same(log, list(range(i)))  # the traceback holds it
            e.__traceback__ = None
            ended(log, i + 1)
            same(log, list(range(i + 1)))
            same(kept.args, (i,))
    del kept


@work()
def cycles(r):
    """By the collector, whoever calls it."""
    log, refs, calls = [], [], []

    def make(i):
        m = Mortal(log, i, r.random() < 0.3)
        m.me = [m]
        refs.append(weakref.ref(m, lambda ref: (rendezvous(i), calls.append(i))))

    n = r.randrange(1, 20)
    for i in range(n):
        make(i)
        pause(r)
    gone(refs)
    for _ in range(int(T / 0.001)):  # who is in the collection may be parked in one of the finalizers
        if len(log) == n and len(calls) == n:
            break
        sleep(0.001)
    same(sorted(log), list(range(n)))
    same(sorted(calls), list(range(n)))


@work(2)
def callbacks_of_weakrefs(r):
    log = []

    class Thing:
        pass

    t = Thing()
    refs = [weakref.ref(t, lambda ref, i=i: (pause(r), log.append(i), same(ref(), None))) for i in range(4)]
    final = weakref.finalize(t, lambda: (pause(r), log.append("final")))
    table = weakref.WeakKeyDictionary({t: 1})
    values = weakref.WeakValueDictionary({1: t})
    pause(r)
    del t
    ended(log, 5)
    same(sorted(map(str, log)), ["0", "1", "2", "3", "final"])
    same((final.alive, list(table), list(values), [ref() for ref in refs]), (False, [], [], [None] * 4))


class Link:
    count = itertools.count(1)

    def __init__(self, next_, log):
        self.next, self.log = next_, log

    def __del__(self):
        self.log.append(1)
        if next(Link.count) % 50 == 0:
            rendezvous(1)


@work(2)
def nested(r):
    """Longer than any stack is deep: the trashcan, in several goroutines at once."""

    def build(n):
        log, top = [], None
        for i in range(n):
            top = (Link(top, log), [top] if i % 3 == 0 else {"top": top})
        pause(r)
        del top
        ended(log, n)

    together(r, *[lambda: build(r.randrange(100, 1500)) for _ in range(2)])
    t = None
    for _ in range(20_000):
        t = (t,)
    del t


@work(2)
def resurrection(r):
    kept, n = [], 0

    class Phoenix:
        def __del__(self):
            rendezvous(2)
            kept.append(self)

    p = Phoenix()
    ref = weakref.ref(p)
    del p
    assert ref() is kept[0]
    p = Phoenix()
    p.me = p
    del p
    while len(kept) < 2 and n < T / 0.001:
        gc.collect()
        sleep(0.001)
        n += 1
    same(len(kept), 2)
    kept[1].me = None
    kept.clear()


@work(2)
def generators_that_are_dropped(r):
    """Their finally blocks run then, and wait."""
    log = []

    def gen(i):
        try:
            yield i
        finally:
            rendezvous(i)
            log.append(i)

    gens = [gen(i) for i in range(4)]
    same([next(g) for g in gens], [0, 1, 2, 3])
    pause(r)
    while gens:
        gens.pop()
    same(log, [3, 2, 1, 0])

    async def coroutine():
        try:
            gosched()
            await Never()
        finally:
            log.append("coroutine")

    c = coroutine()
    same(c.send(None), "never")
    del c
    same(log[-1], "coroutine")


class Never:
    def __await__(self):
        yield "never"
