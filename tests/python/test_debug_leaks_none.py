"""Goroutines that somebody can wake: they are let alone."""

import functools
import gc
import os
import sys
import threading
import types
import weakref

import leaks
import pytest
import ramet
from helpers import T, run_py, until
from leaks import (
    Thing,
    bound_method,
    cancel,
    collect,
    cycle,
    generator,
    iterate,
    iterate_within,
    leaked,
    recv,
    select_bare,
    select_cases,
    select_star,
    send,
    settle,
    start,
)
from ramet import Chan, debug, go, select, sync

tidy = leaks.tidy  # a fixture

KEPT = Thing()


def by_a_global(c):
    KEPT.c = c
    return lambda: vars(KEPT).clear()


def by_a_container(c):
    kept = {"a": [(1, [c])]}
    return kept.clear


def by_a_weak_reference(c):
    r = weakref.ref(c)
    return lambda: r() and r().close()


def by_a_weak_dictionary(c):
    d = weakref.WeakValueDictionary(a=c)
    return lambda: [v.close() for v in list(d.values())]


def by_a_closed_over_name(c):
    def later():
        return c

    return later


def by_a_live_goroutine(c):
    def sleeper(chan):
        ramet.time.sleep(3600)
        chan.close()

    return go(sleeper, c).cancel


def by_one_that_waits_for_what_main_has(c):
    def waits(mine, chan):
        mine.recv()
        chan.close()

    mine = Chan()
    go(waits, mine, c)
    settle()
    return mine.close


def by_one_that_waits_with_a_deadline(c):
    def waits(chan):
        try:
            Chan().recv(timeout=3600)
        finally:
            chan.close()

    return go(waits, c).cancel


def by_an_argument_of_one_that_has_not_begun(c):
    return go(lambda chan: None, c).join


def by_the_buffer_of_another(c):
    other = Chan(1)
    other.send(c)
    return other.recv


def by_a_sender_of_it(c):
    other = Chan()
    go(other.send, c)
    settle()
    return other.recv


def by_a_selecting_sender_of_it(c):
    other = Chan()
    go(select, other.if_send(c))
    settle()
    return other.recv


def by_a_queue(c):
    q = sync.Queue()
    q.put(c)
    return q.get


def by_a_generator(c):
    def values():
        mine = c
        yield 1
        mine.close()

    g = values()
    next(g)
    return g.close


def by_a_running_generator(c):
    """Of a goroutine that waits; others may look into its frame."""
    mine = Chan()

    def values():
        have = [c]
        yield mine.recv()
        del have

    g = values()
    go(lambda: list(g))
    settle()
    return lambda: (mine.send(1), settle(), g.close())


def by_a_frame(c):
    frames = []

    def values():
        have = [c]
        frames.append(sys._getframe())
        yield 1
        del have

    next(values())
    return frames.clear


def by_an_iterator(c):
    it = zip(c, [1], strict=False)
    return lambda: it


def by_a_map(c):
    it = map(str, iter(c))
    return lambda: it


def by_a_bound_method(c):
    method = c.try_recv
    return lambda: method


def by_a_partial(c):
    p = functools.partial(types.MethodType(c.send, c))
    return lambda: p


def by_a_case(c):
    case = c.if_send(1)
    return lambda: case


def by_a_thread(c):
    go_on = threading.Event()
    t = threading.Thread(target=lambda chan: go_on.wait(T), args=(c,))
    t.start()
    return lambda: (go_on.set(), t.join())


def by_a_thread_that_waits(c):
    mine = Chan()

    def body(chan):
        mine.recv()

    t = threading.Thread(target=body, args=(c,))
    t.start()
    return lambda: (mine.send(1), t.join())


def by_a_timer(c):
    return ramet.time.after_func(3600, c.close).stop


def by_a_context(c):
    ctx, cancel = ramet.context.with_cancel(ramet.context.background())
    ramet.context.after_func(ctx, c.close)
    return cancel


def by_a_context_variable(c):
    import contextvars

    var = contextvars.ContextVar("var")
    ctx = contextvars.copy_context()
    ctx.run(var.set, c)
    return lambda: (ctx, var)


def by_the_default_of_a_function(c):
    def f(chan=c):
        pass

    return f


def by_a_local_of_the_thread(c):
    local = threading.local()
    local.c = c
    return lambda: vars(local).clear()


def by_an_exit_handler(c):
    import atexit

    atexit.register(c.close)
    return lambda: atexit.unregister(c.close)


def by_a_c_function_of_a_goroutine(c):
    """sorted() alone knows of the list that it sorts."""
    mine = Chan()
    g = go(lambda: sorted([[c], [1]], key=lambda x: mine.recv()))
    settle()
    return lambda: (mine.close(), g.exception(T))


def by_an_operand_of_a_goroutine(c):
    mine = Chan()

    def body():
        return [Chan(), [c], mine.recv()]

    g = go(body)
    settle()
    return lambda: (mine.close(), g.exception(T))


def by_a_lock_in_a_tuple(c):
    kept = (sync.Mutex(), c)
    return lambda: kept


BY = [v for k, v in list(globals().items()) if k.startswith("by_")]
WAITS = [recv, iterate, iterate_within, send, select_bare, select_cases, select_star, cycle, bound_method, generator]


@pytest.mark.parametrize("keep", BY, ids=lambda fn: fn.__name__)
def test_who_can_be_woken_is_let_alone(keep):
    """However they wait, all of them: this one reference is enough."""
    chans = [Chan() for _ in WAITS]
    ids = {start(fn, c) for fn, c in zip(WAITS, chans, strict=True)}
    settle()
    drops = [keep(c) for c in chans]
    if hasattr(KEPT, "c"):
        KEPT.all = chans
    del chans
    assert ids.isdisjoint(g.id for g in debug.leaks())
    assert collect() == []
    for drop in drops:
        drop()
    del drop, drops
    vars(KEPT).clear()
    gc.collect()
    cancel(ids)
    settle()


def test_what_ends_by_itself_is_let_alone():
    def timeout(c):
        try:
            c.recv(timeout=3600)
        except TimeoutError:
            pass

    def scope(c):
        with ramet.timeout(3600):
            c.recv()

    def outer_scope(c):
        with ramet.cancel_scope():
            c.recv()

    def after():
        ramet.time.after(3600).recv()

    def ticker():
        t = ramet.time.Ticker(3600)
        select(t.c, Chan())

    def select_timeout(c):
        try:
            select(c, timeout=3600)
        except TimeoutError:
            pass

    def descriptor(r):
        select(ramet.readable(r), Chan())

    def done(g):
        select(g.if_done())

    r, w = os.pipe()
    kept, thread = sync.Event(), threading.Event()
    sleeper = go(ramet.time.sleep, 3600)
    ids = {
        start(*(fn if isinstance(fn, tuple) else (fn,)))
        for fn in (
            (timeout, Chan()),
            (scope, Chan()),
            (outer_scope, Chan()),
            after,
            ticker,
            (select_timeout, Chan()),
            (descriptor, r),
            (done, sleeper),
            (lambda g: g.join(), sleeper),
            (lambda: go(ramet.time.sleep, 3600).join(),),
            ramet.current().join,
            (ramet.time.sleep, 3600),
            (ramet.blocking, thread.wait, T),
            kept.wait,
            (lambda e: select(e.if_set()), kept),
        )
    }
    assert leaked() == set() and collect() == []
    thread.set()
    sleeper.cancel()
    cancel(ids | {g.id for g in ramet._core._goroutines() if g.id != 1})
    until(lambda: ramet.num_goroutines() == 1, sleep=ramet.time.sleep)
    os.close(r)
    os.close(w)


def test_locks_that_somebody_holds():
    m, q, c = sync.Mutex(), sync.Queue(1), sync.Cond()
    m.lock()

    def waits():
        with m:
            return 5

    def notified():
        with c:
            c.wait()

    gs = [go(waits).id, go(q.get).id, go(notified).id]
    settle()
    assert debug.leaks() == [] and collect() == []
    assert len(gs) == 3
    m.unlock()
    q.put(1)
    with c:
        c.notify()
    settle()
    assert ramet.num_goroutines() == 1


def test_a_finalizer_that_wakes_it():
    """Of an object in a cycle that is garbage: it has been run by the time we look."""

    class Waker:
        def __init__(self, c):
            self.c, self.me = c, self

        def __del__(self):
            self.c.close()

    c = Chan()
    got = []

    def body(c):
        got.append(c.recv_ok())

    go(body, c)
    Waker(c)
    del c
    settle()
    assert collect() == []
    assert got == [(None, False)]


def test_main_is_never_one():
    code = """
import ramet, warnings
warnings.simplefilter("error")
def main():
    import gc
    def look():
        for _ in range(3):
            gc.collect()
            ramet.gosched()
    ramet.go(look)
    try:
        ramet.Chan().recv()
    except ramet.DeadlockError:
        print("deadlock")
ramet.run(main)
"""
    assert run_py(code).out == "deadlock\n"
