"""Goroutines whose handles, timers, contexts and scopes OS threads hold as well: together with test_free_threaded_stress.py."""

import contextlib
import gc
import io
import random
import threading
import time
import weakref

import pytest
import ramet
from helpers import T, until
from ramet import Chan, GoroutineCancelled, WouldBlock, _core, context, debug, default, go, select, sync
from ramet.sync.atomic import AtomicLong
from ramet.time import Ticker, Timer, after_func, sleep
from together import N, Together, breathe, change_often

pytestmark = pytest.mark.usefixtures(change_often.__name__)


def drained(c):
    """What is in a channel's buffer."""
    out = []
    with contextlib.suppress(WouldBlock):
        while True:
            out.append(c.try_recv()[0])
    return out


# ---- handles -----------------------------------------------------------------------------------------


def test_all_see_one_outcome():
    """Those who join, select, ask and look, while it ends, fails or is cancelled."""

    def body(i, c):
        if i % 4 == 0:
            return breathe()
        if i % 4 == 1:
            return ("value", i)
        if i % 4 == 2:
            raise KeyError(i)
        c.recv(0.0005 if i % 8 < 4 else None)  # passes, or is cancelled

    never = Chan()
    gs = [go(body, i, never) for i in range(N // 2)]

    def outcome(k):
        out = []
        for i, g in enumerate(gs):
            way = (i + k) % 4
            if i % 8 == 7 and way == 0:
                g.cancel("enough")
            if way == 1:
                select(g.if_done())
                assert g.done()
            if way == 2:
                g.name = f"worker {k}"
                assert g.name.startswith("worker") and "Goroutine" in repr(g) and g.id > 0
            if way == 3 and i % 2:
                with contextlib.suppress(TimeoutError):
                    g.exception(0.0001)
            if i % 8 == 7:
                g.cancel("late")
            e = g.exception(T)
            assert g.done() and g.state == "done"
            if e is None:
                out.append(g.result())
            else:
                assert g.cancelled() is isinstance(e, GoroutineCancelled)
                out.append(type(e))
                if k == i % 8:  # one exception raised in several threads at once is more than CPython bears
                    with pytest.raises(type(e)):
                        g.join()
        return out

    all = Together()
    for k in range(8):
        all.start(outcome, k)
    outcomes = all.results()
    assert all_equal(outcomes)
    expected = [None, "value", KeyError, TimeoutError, None, "value", KeyError, GoroutineCancelled]
    assert [o[0] if isinstance(o, tuple) else o for o in outcomes[0]] == [expected[i % 8] for i in range(len(gs))]


def all_equal(values):
    return all(v == values[0] for v in values)


def test_threads_start_and_others_end_them():
    """Handed on through a channel; one cancel of a goroutine returns in time, and it ends by that or by itself."""
    handles, ended = Chan(8), AtomicLong()

    def body(c):
        try:
            return c.recv()
        finally:
            ended.add(1)

    def begin(k):
        for i in range(N // 4):
            c = Chan(1)
            handles.send((go(body, c), c, (k, i)))

    def end(k):
        joined = cancelled = 0
        for g, c, value in handles:
            if value[1] % 2:
                c.send(value)
                assert g.join(T) == value
                joined += 1
            else:
                g.cancel()
                assert isinstance(g.exception(T), GoroutineCancelled) and g.cancelled()
                cancelled += 1
        return joined, cancelled

    enders, beginners = Together(), Together()
    for k in range(4):
        beginners.start(begin, k)
        enders.start(end, k)
    enders.begin.set()
    beginners.results()
    handles.close()
    counts = enders.results()
    assert sum(a for a, b in counts) == sum(b for a, b in counts) == 4 * (N // 8)
    assert 4 * (N // 8) <= ended.get() <= 4 * (N // 4)


def test_the_last_reference_goes_while_it_ends(monkeypatch):
    """In a thread, in a goroutine, in a collection; nobody has asked, so the hook is told, once each."""
    told, dead = AtomicLong(), AtomicLong()
    monkeypatch.setattr(ramet, "excepthook", lambda g, e: told.add(1))
    handles = Chan(16)
    refs = []

    def body(i):
        if i % 3 == 0:
            breathe()
        if i % 2:
            raise ValueError(i)

    def begin():
        for i in range(N // 2):
            g = go(body, i)
            refs.append(weakref.ref(g, lambda _: dead.add(1)))
            if i % 5 == 0:
                cycle = [g]
                cycle.append(cycle)
                del cycle
            handles.send(g)
            del g

    def drop(k):
        for i, g in enumerate(handles):
            if i % 4 == 0:
                breathe()
            if i % 16 == k:
                gc.collect(0)
            del g

    droppers, beginners = Together(), Together()
    beginners.start(begin, n=4)
    for k in range(4):
        droppers.start(drop, k)
    droppers.begin.set()
    beginners.results()
    handles.close()
    droppers.results()

    def settled():
        gc.collect()
        return dead.get() == 4 * (N // 2) and told.get() == 4 * (N // 4)

    until(settled, sleep=sleep)
    assert not any(r() for r in refs)


def test_weakrefs():
    """Of channels and handles that come and go: what one gives is alive, and each is told dead once."""
    refs, dead = [], AtomicLong()
    keep = [None] * 16
    cache = weakref.WeakValueDictionary()

    def change(k):
        for i in range(N):
            new = Chan(1, name="weak") if i % 2 else go(int)
            refs.append(weakref.ref(new, lambda _: dead.add(1)))
            cache[k, i % 8] = new
            keep[(i + k) % len(keep)] = new
            if i % 8 == 0:
                breathe()

    def look():
        for i in range(N):
            for r in refs[-8:]:
                x = r()
                assert x is None or isinstance(x, Chan) or x.name
                if isinstance(x, Chan) and x.try_send(i):
                    drained(x)
            x = None
            for key in [(k, j) for k in range(4) for j in range(8)]:
                x = cache.get(key)
                assert x is None or repr(x)
            x = r = None
            if i % 8 == 0:
                breathe()

    all = Together().start(look, n=4)
    for k in range(4):
        all.start(change, k)
    all.results()
    del all
    keep.clear()

    def gone():
        gc.collect()
        return dead.get() == 4 * N

    until(gone, sleep=sleep)
    assert not any(r() for r in refs) and not cache


def test_together_functions():
    """gather, wait, as_completed, run and an Executor, in threads and in goroutines."""

    def square(i):
        if i % 3 == 0:
            breathe()
        if i % 7 == 6:
            raise KeyError(i)
        return i * i

    with ramet.Executor(3) as executor:

        def work(k):
            for i in range(N // 20):
                assert ramet.gather(*(go(square, j) for j in range(5))) == [0, 1, 4, 9, 16]
                with pytest.raises(KeyError):
                    ramet.gather(*(go(square, j) for j in (5, 6)))
                gs = [go(square, j) for j in range(4)]
                done, pending = ramet.wait(gs, T)
                assert done == set(gs) and not pending
                assert sorted(g.join() for g in ramet.as_completed([go(square, j) for j in range(4)], T)) == [
                    0,
                    1,
                    4,
                    9,
                ]
                assert [f.result(T) for f in [executor.submit(square, j) for j in range(4)]] == [0, 1, 4, 9]
                if k % 2 == 0:  # which is a thread
                    assert ramet.run(square, i - i % 7) == (i - i % 7) ** 2

        all = Together()
        for k in range(6):
            all.start(work, k)
        all.results()


# ---- time --------------------------------------------------------------------------------------------


def test_timers():
    """Each time it was set it fires, or somebody's stop or reset says that it has kept it from that: never both."""
    fired, was_set, kept = AtomicLong(), AtomicLong(), AtomicLong()
    timers = []

    def run(k):
        mine = [after_func(0.001 * (i % 3), fired.add, 1) for i in range(8)]
        timers.extend(mine)
        was_set.add(8)
        r = random.Random(k)
        for i in range(N):
            t = r.choice(timers)
            if t.reset(0.0003 * (i % 4)):
                kept.add(1)
            was_set.add(1)
            if i % 4 == 0:
                sleep(0.0003)

    def stop(k):
        r = random.Random(k)
        for _ in range(N):
            if timers:
                t = r.choice(timers)
                repr(t)
                if t.stop():
                    kept.add(1)
            breathe()

    all = Together()
    for k in range(3):
        all.start(stop, k).start(run, k)
    all.results()
    until(lambda: fired.get() + kept.get() == was_set.get(), sleep=sleep)
    sleep(0.005)
    assert fired.get() + kept.get() == was_set.get() and fired.get() > 0 and kept.get() > 0


def test_nothing_comes_after_a_stop():
    """Timers and tickers that goroutines set and everybody reads and stops."""
    all_timers = [cls(0.0002) for cls in (Timer, Ticker) * 4]

    def reset(k):
        for i in range(N):
            t = all_timers[(i + k) % 8]
            t.reset(0.0001 + 0.0001 * (i % 3))
            if i % 8 == 0:
                sleep(0.0002)

    def read(k):
        got = 0
        for i in range(N):
            t = all_timers[(i + k) % 8]
            if i % 4 == 0:
                t.stop()
            try:
                got += select(t.c, Chan(), timeout=0.0002).ok
            except TimeoutError:
                pass
        return got

    all = Together()
    for k in range(3):
        all.start(read, k).start(reset, k)
    assert sum(n or 0 for n in all.results()) > 0
    for t in all_timers:
        t.reset(0.0002)
    sleep(0.001)
    Together().start(lambda: [t.stop() for t in all_timers]).results()
    sleep(0.002)
    assert [drained(t.c) for t in all_timers] == [[]] * 8


# ---- contexts and scopes -----------------------------------------------------------------------------


def test_contexts():
    """A tree that grows while it is cancelled: with the root everything is, and who asked to be told is told once."""
    for _ in range(N // 50):
        root, cancel = context.with_cancel(context.background())
        made, told, asked = [], AtomicLong(), AtomicLong()
        made.append(root)

        def grow(k, made=made, told=told, asked=asked):
            r = random.Random(k)
            for i in range(30):
                parent = r.choice(made)
                ctx, one = context.with_cancel_cause(parent)
                named = context.with_value(ctx, "k", (k, i))
                made.append(named)
                stop = context.after_func(ctx, lambda: told.add(1))
                asked.add(1)
                if i % 5 == 0 and stop():
                    asked.sub(1)
                if i % 3 == 0:
                    one(KeyError(i))
                    assert isinstance(ctx.err(), context.Canceled) and context.cause(ctx) is not None
                assert named.value("k") == (k, i) and repr(ctx)

        def watch(ctx=root):
            with contextlib.suppress(TimeoutError):
                ctx.done.recv_ok(0.001)
            return ctx.done.recv_ok(T)

        def end(cancel=cancel, made=made):
            while len(made) < 60:
                breathe()
            cancel()

        all = Together()
        for k in range(4):
            all.start(grow, k)
        results = all.start(end, n=2).start(watch, n=2).results()
        assert results[-2:] == [(None, False)] * 2
        assert all_equal([True] + [ctx.done.closed and ctx.err() is not None for ctx in made])
        until(lambda told=told, asked=asked: told.get() == asked.get(), sleep=sleep)


def test_scopes_that_threads_cancel():
    """Whoever waits in one is woken, and knows by whom; deadlines that others set."""
    scopes, never = Chan(4), Chan()

    def inside(k):
        caught = 0
        for i in range(N // 4):
            with ramet.cancel_scope() as s:
                scopes.send(s)
                if i % 3 == 0:
                    breathe()
                with ramet.move_on_after(T):
                    never.recv()
                raise AssertionError("not cancelled")
            assert s.cancelled and s.cancel_called
            caught += 1
        return caught

    def cancel(k):
        for i, s in enumerate(scopes):
            if i % 4 == 0:
                s.deadline = time.monotonic() - i % 2
            elif i % 4 == 1:
                s.deadline = time.monotonic() + 0.0005
            else:
                s.cancel()
            assert repr(s) and s.deadline != 0
        return None

    gs = [go(inside, k) for k in range(4)]
    cancellers = Together()
    for k in range(4):
        cancellers.start(cancel, k)
    cancellers.begin.set()
    assert [g.join(T) for g in gs] == [N // 4] * 4
    scopes.close()
    cancellers.results()


def test_timeouts_of_goroutines_beside_threads():
    """A deadline and a value at the same time: the value is with one of them."""
    c, got = Chan(), AtomicLong()

    def receive():
        for i in range(N):
            with ramet.move_on_after(0.0002 * (i % 3)):
                got.add(c.recv())

    def send():
        sent = 0
        for _ in range(N):
            try:
                c.send(1, 0.0003)
                sent += 1
            except TimeoutError:
                pass
        return sent

    receivers = [go(receive) for _ in range(4)]
    sent = Together().start(send, n=4).results()
    for g in receivers:
        g.join(T)
    assert sum(sent) == got.get()


# ---- blocking calls ----------------------------------------------------------------------------------


def test_blocking_calls():
    """In pool threads, which use channels, locks and goroutines."""
    c, m, total = Chan(2), sync.Mutex(), [0]

    def call(k, i):
        if i % 5 == 4:
            raise KeyError(k, i)
        with m:
            total[0] += 1
        c.send((k, i))
        return go(lambda: (k, i)).join(T)

    def goroutine(k):
        for i in range(N // 4):
            try:
                assert ramet.blocking(call, k, i) == (k, i)
                assert i % 5 != 4
            except KeyError as e:
                assert e.args == (k, i) and i % 5 == 4

    received = Together().start(list, c, n=3)
    received.begin.set()
    gs = [go(goroutine, k) for k in range(6)]
    for g in gs:
        g.join(T)
    c.close()
    got = sorted(v for values in received.results() for v in values)
    assert got == [(k, i) for k in range(6) for i in range(N // 4) if i % 5 != 4] and total[0] == len(got)


# ---- looking -----------------------------------------------------------------------------------------


def test_looking_at_goroutines_that_run():
    """States, stacks, dumps and counts, by threads: at what is starting, running, waiting and ending."""
    c, looked = Chan(), AtomicLong()

    def deep(n):
        return deep(n - 1) if n else c.recv_ok()

    def generate():
        c.send(sum(i for i in range(10)))
        yield

    def busy(k):
        for i in range(N // 4):
            g = go(deep, (k + i) % 20)
            list(generate())
            g.join(T)

    def look(k):
        r = random.Random(k)
        while not end.is_set():
            for g in _core._goroutines():
                assert isinstance(g.state, str) and isinstance(g.name, str) and g.id >= 0
                assert all(f.lineno is None or f.lineno >= 0 for f in g.stack())
                assert len(_core._wait_info(g)) == 4 and repr(g) and g.done() in (True, False)
            way = r.randrange(4)
            if way == 0:
                text = io.StringIO()
                ramet.dump(text)
                assert "goroutine 1 " in text.getvalue()
            elif way == 1:
                assert all(h.name for h in debug.hooks())
            elif way == 2:
                assert ramet.num_goroutines() >= 1 and all(n >= 0 for n in ramet.stats().values())
            looked.add(1)
            breathe()

    end = sync.Event()
    lookers, workers = Together(), Together()
    for k in range(4):
        lookers.start(look, k)
        workers.start(busy, k)
    lookers.begin.set()
    workers.results()
    end.set()
    lookers.results()
    assert looked.get() >= 4


def test_collections():
    """Garbage of goroutines, channels and exceptions, collected by everybody, also with a look for leaks."""
    died = AtomicLong()

    class Noted:
        def __del__(self):
            died.add(1)

    def work(k):
        for i in range(N // 8):
            c = Chan(2)
            noted = Noted()
            c.send([c, noted])  # a cycle through the buffer
            try:
                raise KeyError(noted)
            except KeyError as e:
                noted.error = e  # and one through a traceback
            g = go(lambda c=c: c.recv())
            g.join(T)[1].handle = g
            del g, c, noted
            if i % 16 == 0:
                gc.collect()
            elif i % 16 == 8 and k % 2:
                assert isinstance(debug.leaks(), list)

    all = Together()
    for k in range(6):
        all.start(work, k)
    all.results()

    def gone():
        gc.collect()
        return died.get() == 6 * (N // 8)

    until(gone, sleep=sleep)


def test_leaks_beside_threads():
    """Goroutines that nobody can wake, found while threads make more of them, and others that wait for threads are not."""
    unwound = AtomicLong()

    def waits(c):
        try:
            c.recv()
        finally:
            unwound.add(1)

    alive = [Chan() for _ in range(4)]
    kept = [go(waits, c) for c in alive]

    def leak():
        for i in range(N // 20):
            go(waits, Chan())
            if i % 4 == 0:
                breathe()

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        Together().start(leak, n=4).results()

        def found():
            gc.collect()
            return unwound.get() == 4 * (N // 20)

        until(found, sleep=sleep)
    assert not any(g.done() for g in kept)
    threads = Together()
    for c in alive:
        threads.start(c.send, None)
    threads.results()
    for g in kept:
        g.join(T)
    assert threading.active_count() < 100 and select(default) == default
