"""Async generators that goroutines pass on to one another, and whose hooks they have each for themselves; their loops."""

import asyncio
import gc
import sys
import weakref

import ramet
from helpers import T
from ramet import Chan, go, gosched
from ramet.time import sleep


def drive(awaitable):
    try:
        awaitable.send(None)
    except StopIteration as e:
        return e.value
    raise AssertionError("it waits for a loop")


def inside(fn, *args):
    return go(fn, *args).join(T)


async def numbers(n, log):
    try:
        for i in range(n):
            try:
                yield i
            except KeyError as e:
                gosched()
                yield e.args[0]
    finally:
        gosched()
        log.append(ramet.current().id)


def test_resumed_thrown_into_and_closed_by_others():
    log = []
    a = numbers(5, log)
    assert drive(a.__anext__()) == 0
    assert inside(lambda: drive(a.__anext__())) == 1
    assert inside(lambda: drive(a.athrow(KeyError("k")))) == "k"
    assert inside(lambda: drive(a.asend("s"))) == 2
    closer = go(lambda: drive(a.aclose()))
    closer.join(T)
    assert log == [closer.id]


def test_hooks_are_the_goroutine_s_own():
    log, first, final = [], {}, {}

    def f(i):
        assert sys.get_asyncgen_hooks() == (None, None)
        sys.set_asyncgen_hooks(first.setdefault(i, []).append, final.setdefault(i, []).append)
        a = numbers(3, log)
        drive(a.__anext__())
        gosched()
        passed_on.send(a)
        del a
        gosched()
        assert first[i] != [] and len(final[i]) == 0
        first[i].clear()
        done.recv(T)
        return ramet.current().id

    passed_on, done = Chan(5), Chan()
    gs = [go(f, i) for i in range(5)]
    held = [passed_on.recv(T) for _ in gs]
    for a in held:
        assert drive(a.__anext__()) == 1
    while any(first.values()):
        gosched()
    del a
    held.clear()  # dropped in main: the finalizers are those of who began them
    assert [len(final[i]) for i in range(5)] == [1] * 5 and log == []
    for i in range(5):
        drive(final[i].pop().aclose())
        done.send(None)
    assert len(log) == 5 and len({g.join(T) for g in gs}) == 5
    assert sys.get_asyncgen_hooks() == (None, None)


def test_a_hook_that_outlives_its_goroutine_and_parks():
    log, c = [], Chan()

    def finalizer(a):
        log.append(c.recv(T))
        drive(a.aclose())

    def f():
        sys.set_asyncgen_hooks(finalizer=finalizer)
        a = numbers(3, log)
        drive(a.__anext__())
        return a

    a = inside(f)
    ref = weakref.ref(a)
    cycle = [a]
    cycle.append(cycle)

    def drop():
        cycle.pop(0)

    g = go(drop)
    del a
    gosched()
    c.send("sent", T)
    g.join(T)
    gc.collect()
    assert log == ["sent", g.id] and ref() is None


def test_loops_in_two_goroutines_close_their_own_generators():
    log = []

    async def main(i):
        a = numbers(10, log)
        async for n in a:
            await asyncio.sleep(0)
            gosched()
            if n == i:
                break
        return n  # asyncio.run closes it

    def f(i):
        loop_of = asyncio.run(main(i))
        return loop_of, ramet.current().id

    got = [g.join(T) for g in [go(f, i) for i in range(4)]]
    assert [n for n, _ in got] == [0, 1, 2, 3]
    assert sorted(log) == sorted(i for _, i in got)


def test_loops_at_once_that_wait():
    """One loop's wait is its thread's wait; a ramet wait in a task lets the other loops run."""

    async def task(i):
        for _ in range(5):
            sleep(0.0005)
            await asyncio.sleep(0)
            assert asyncio.current_task().get_name() == f"{i}"
        return i

    async def main(i):
        t = asyncio.create_task(task(i), name=f"{i}")
        u = asyncio.create_task(asyncio.to_thread(lambda: i))
        return await t, await u

    gs = [go(asyncio.run, main(i)) for i in range(3)]
    assert [g.join(T) for g in gs] == [(i, i) for i in range(3)]
