"""Garbage collection, finalizers and weak references, while goroutines are parked and while they switch."""

import gc
import random
import sys
import threading
import weakref

import ramet
from helpers import T, inside, together
from ramet import Chan, go, gosched


def test_collect_while_goroutines_are_parked():
    class Node:
        pass

    def f(c, depth):
        local = Node()
        local.me = local
        if depth:
            return f(c, depth - 1)
        try:
            raise ValueError(Node())
        except ValueError:
            got = c.recv()
        assert local.me is local
        return got

    c = Chan()
    gs = [go(f, c, i % 7) for i in range(200)]
    gosched()
    for _ in range(3):
        gc.collect()
    t = threading.Thread(target=gc.collect)
    t.start()
    t.join()
    # and while the proc idles in a poll
    t = threading.Thread(target=lambda: [gc.collect() for _ in range(3)])
    t.start()
    ramet.blocking(t.join)
    for i in range(200):
        c.send(i)
    assert sorted(g.join(T) for g in gs) == list(range(200))


def test_automatic_collection_in_goroutines():
    def f():
        for _ in range(2000):
            a, b = [], []
            a.append(b)
            b.append(a)
            if random.random() < 0.01:
                gosched()
        return True

    old = gc.get_threshold()
    gc.set_threshold(50)
    try:
        assert all(together(*[f] * 10))
    finally:
        gc.set_threshold(*old)


def test_finalizer_that_parks():
    c, log = Chan(), []

    class Parks:
        def __init__(self, n):
            self.n = n

        def __del__(self):
            log.append((self.n, c.recv()))

    def by_count(n):
        p = Parks(n)
        try:
            raise KeyError(n)
        except KeyError as e:
            del p
            assert sys.exc_info()[1] is e
        return n

    gs = [go(by_count, n) for n in range(5)]
    gosched()
    assert log == []
    for n in range(5):
        c.send(n)
    assert [g.join(T) for g in gs] == list(range(5))
    assert sorted(log) == [(n, n) for n in range(5)]

    log.clear()

    def by_collector():
        p = Parks("cycle")
        p.me = p
        del p
        gc.collect()

    g = go(by_collector)
    gosched()
    assert gc.collect() == 0  # one is under way, and waits
    c.send("v")
    g.join(T)
    assert log == [("cycle", "v")]


def test_finalizer_with_an_exception_on_its_way():
    class Switches:
        def __del__(self):
            gosched()
            try:
                raise KeyError
            except KeyError:
                gosched()

    def f(i):
        local = Switches()
        del i
        raise ValueError(local is None)

    def caller(i):
        try:
            f(i)
        except ValueError as e:
            gosched()
            return e.args

    assert together(*[lambda i=i: caller(i) for i in range(10)]) == [(False,)] * 10


def test_weakref_callback_that_switches():
    class Thing:
        pass

    log = []

    def callback(ref):
        gosched()
        log.append(ref() is None)
        gosched()

    def f():
        t = Thing()
        refs = [weakref.ref(t, callback) for _ in range(3)]
        final = weakref.finalize(t, gosched)
        t.me = t
        del t
        gc.collect()
        gosched()
        return len(refs), final.alive

    assert inside(f) == (3, False)
    for _ in range(3):
        inside(f)
    for _ in range(20):
        gosched()
    gc.collect()
    assert log == [True] * 12


def test_trashcan_with_switching_finalizers():
    count = 0

    class Node:
        def __init__(self, next_):
            self.next = next_

        def __del__(self):
            nonlocal count
            count += 1
            if count % 7 == 0:
                gosched()

    def f():
        n = None
        for _ in range(300):
            n = (Node(n), [n])
        del n

    together(*[f] * 5)
    assert count == 5 * 300
