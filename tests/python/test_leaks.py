"""Nothing leaks over many spawns, sends and selects: by reference counts and by memory. RAMET_SLOW=1: more of them."""

import gc
import os
import sys

import pytest
import ramet
from helpers import T, run_py
from ramet import Chan, default, go, gosched, select

N = 200_000
MB = 1 << 20


def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Thing:
    pass


def spawns(n, v):
    def f(x):
        return x

    for _ in range(n // 100):
        gs = [go(f, v) for _ in range(100)]
        for g in gs:
            g.join(T)


def spawns_without_handle(n, v):
    def f(x, *, y):
        pass

    for _ in range(n // 100):
        for _ in range(100):
            go(f, v, y=v)
        gosched()


def failures(n, v):
    def f(x):
        raise ValueError(x)

    for _ in range(n // 20):
        g = go(f, v)
        try:
            g.join(T)
        except ValueError:
            pass


def cancels(n, v):
    c = Chan()
    for i in range(n // 20):
        g = go(lambda x: c.recv(), v)
        if i % 2:
            gosched()
        g.cancel(v)
        g.exception(T)


def sends_unbuffered(n, v):
    c = Chan()
    g = go(lambda: [None for _ in c])
    for _ in range(n):
        c.send(v)
    c.close()
    g.join(T)


def sends_buffered(n, v):
    c = Chan(128)
    g = go(lambda: [c.send(v) for _ in range(n)] and c.close())
    for _ in c:
        pass
    g.join(T)


def tries(n, v):
    c = Chan(1)
    for _ in range(n):
        c.try_send(v)
        c.try_send(v)
        c.try_recv()


def timeouts(n, v):
    c = Chan()
    for _ in range(n // 20):
        try:
            c.send(v, 0)
        except TimeoutError:
            pass
        try:
            select(c.if_send(v), c, timeout=0)
        except TimeoutError:
            pass


def exceptions(n, v):
    c = Chan(1)
    for _ in range(n // 20):
        c.send_exception(ValueError(v))
        try:
            c.recv()
        except ValueError:
            pass


def selects(n, v):
    a, b = Chan(1), Chan()
    for i in range(n // 2):
        s = select(b, a.if_send(v), default)
        s = select(b.if_recv(), a)
        assert s == a


def selects_that_wait(n, v):
    a, b, c = Chan(), Chan(), Chan()

    def f():
        while True:
            s = select(a, b, c)
            if s == c:
                return

    g = go(f)
    for i in range(n // 4):
        select(a.if_send(v), b.if_send(v))
    c.close()
    g.join(T)


def channels(n, v):
    for _ in range(n // 4):
        c = Chan(3, name="x")
        c.send(v)
        c.send(c.if_recv())
        c.send(c)
        select(c)
        c.recv()
        c.recv()


def handles(n, v):
    for i in range(n // 20):
        g = go(lambda: v)
        g.name = f"g{i}"
        select(g.if_done())
        g.state, g.stack(), repr(g)
        g.join(T)


def timers(n, v):
    for _ in range(n // 100):
        gs = [go(ramet.time.sleep, 0) for _ in range(20)]
        ramet.time.sleep(0.00001)
        for g in gs:
            g.join(T)


def calls(n, v):
    for _ in range(n // 100):
        assert ramet.blocking(lambda x: x, v) is v


ALL = [
    spawns,
    spawns_without_handle,
    failures,
    cancels,
    sends_unbuffered,
    sends_buffered,
    tries,
    timeouts,
    exceptions,
    selects,
    selects_that_wait,
    channels,
    handles,
    timers,
    calls,
]


def check(fn, n):
    v = Thing()
    fn(min(n, 4_000), v)  # warm up
    while ramet.num_goroutines() > 1:
        gosched()
    gc.collect()
    refs = sys.getrefcount(v)
    singletons = [None, True, False, (), fn, ramet.Cancelled, ValueError, TimeoutError, Chan, default]
    counts = [sys.getrefcount(x) for x in singletons]
    blocks, memory, objects = sys.getallocatedblocks(), rss(), len(gc.get_objects())
    fn(n, v)
    while ramet.num_goroutines() > 1:
        gosched()
    gc.collect()
    assert abs(sys.getrefcount(v) - refs) <= 2
    moved = [
        (x, before, now)
        for x, before, now in zip(singletons, counts, map(sys.getrefcount, singletons), strict=True)
        if abs(now - before) > 200
    ]
    assert not moved
    assert len(gc.get_objects()) - objects < 500
    assert sys.getallocatedblocks() - blocks < 1000 + n // 200
    assert rss() - memory < 16 * MB


@pytest.mark.parametrize("fn", ALL, ids=lambda fn: fn.__name__)
def test_no_leak(fn):
    check(fn, N)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fn", ALL, ids=lambda fn: fn.__name__)
def test_no_leak_over_more(fn):
    check(fn, 1_000_000 if fn not in (failures, cancels, timeouts, exceptions, handles, timers, calls) else 5_000_000)


def test_stacks_come_back():
    """Ten thousand at once, again and again: the memory is used again."""
    code = """
import os, ramet
def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def once():
    c = ramet.Chan()
    gs = [ramet.go(c.recv) for _ in range(10_000)]
    ramet.gosched()
    c.close()
    for g in gs:
        try: g.join()
        except ramet.ChanClosed: pass
once()
first, stacks = rss(), ramet.stats()["stacks"]
for _ in range(8): once()
assert ramet.num_goroutines() == 1
assert ramet.stats()["stacks"] <= stacks + 100, (ramet.stats(), stacks)
assert rss() < first + (32 << 20), (first, rss())
"""
    run_py(code, timeout=180)


def test_a_parked_goroutine_is_small():
    code = """
import os, ramet
def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
c = ramet.Chan()
def f(): c.recv()
ramet.go(f); ramet.gosched()
before = rss()
for _ in range(10_000): ramet.go(f)
ramet.gosched()
each = (rss() - before) / 10_000
print(each)
assert each < 12_000, each
os._exit(0)
"""
    run_py(code)


def test_out_of_stacks_is_an_exception():
    """The caller gets MemoryError, and the runtime goes on."""
    code = """
import resource, ramet
c = ramet.Chan()
ramet.go(int).join()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (400 << 20), size + (400 << 20)))
gs = []
try:
    for _ in range(100_000):
        gs.append(ramet.go(c.recv))
except MemoryError:
    print("MemoryError")
assert 10 < len(gs) < 100_000, len(gs)
ramet.gosched()
c.close()
for g in gs:
    assert isinstance(g.exception(), ramet.ChanClosed)
del gs
assert ramet.go(lambda: 5).join() == 5
print("goes on")
"""
    ended = run_py(code)
    assert ended.out == "MemoryError\ngoes on\n", str(ended)
