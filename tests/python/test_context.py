"""ramet.context: Go's contexts."""

import threading

import pytest
import ramet
from helpers import T, parked, until
from ramet import Chan, GoroutineCancelled, context, go, gosched, select
from ramet.context import Canceled, DeadlineExceeded
from ramet.time import monotonic, sleep

bg = context.background()


def test_background():
    assert bg is context.background() and bg.err() is None and bg.deadline() is None and bg.done is None
    assert bg.value("k") is None and context.cause(bg) is None
    assert select(bg.done, ramet.default).case == ramet.default
    with bg:
        gosched()


def test_cancel_closes_done_downwards_only():
    a, cancel_a = context.with_cancel(bg)
    b, cancel_b = context.with_cancel(a)
    c, _ = context.with_cancel(b)
    cancel_b()
    cancel_b()
    assert a.err() is None and isinstance(b.err(), Canceled) and isinstance(c.err(), Canceled)
    assert select(c.done, timeout=T).ok is False
    assert not a.done.closed
    cancel_a()
    assert isinstance(a.err(), Canceled)
    d, _ = context.with_cancel(a)  # of one that is cancelled already
    assert isinstance(d.err(), Canceled) and d.done.closed


def test_ten_thousand_in_one_another():
    def work():
        top, cancel = context.with_cancel_cause(bg)
        nested, inner = [top], Chan(1)
        for _ in range(10_000):
            nested.append(context.with_cancel(nested[-1])[0])
        context.after_func(nested[-1], lambda: inner.send("called"))
        why = ValueError("why")
        cancel(why)
        assert all(ctx.err() is top.err() and context.cause(ctx) is why and ctx.done.closed for ctx in nested)
        return inner.recv(T)

    assert work() == go(work).join(T) == "called"


def test_what_goes_with_a_context_goes_in_the_order_it_came():
    ctx, cancel = context.with_cancel(bg)
    order = Chan(8)
    context.after_func(ctx, lambda: order.send(1))
    for base in (2, 4):
        child = context.with_cancel(ctx)[0]
        context.after_func(child, lambda n=base: order.send(n))
        context.after_func(child, lambda n=base + 1: order.send(n))
    context.after_func(ctx, lambda: order.send(6))
    cancel()
    assert [order.recv(T) for _ in range(6)] == [1, 2, 3, 4, 5, 6]


def test_timeout_and_deadline():
    ctx, cancel = context.with_timeout(bg, 0.01)
    assert abs(ctx.deadline() - monotonic()) < 1
    select(ctx.done, timeout=T)
    assert isinstance(ctx.err(), DeadlineExceeded) and isinstance(ctx.err(), TimeoutError)
    cancel()
    assert isinstance(ctx.err(), DeadlineExceeded)
    ctx, _ = context.with_deadline(bg, monotonic() - 1)
    assert isinstance(ctx.err(), DeadlineExceeded)
    outer, cancel = context.with_timeout(bg, 0.01)
    inner, _ = context.with_timeout(outer, T)
    assert inner.deadline() == outer.deadline()
    select(inner.done, timeout=T)
    assert isinstance(inner.err(), DeadlineExceeded)
    ctx, cancel = context.with_timeout(bg, T)
    before = ramet.stats()["timers"]
    cancel()
    assert ramet.stats()["timers"] < before  # nothing is left behind


def test_cause():
    ctx, cancel = context.with_cancel_cause(bg)
    child, _ = context.with_cancel(ctx)
    why = KeyError("why")
    cancel(why)
    assert context.cause(ctx) is why and context.cause(child) is why and isinstance(ctx.err(), Canceled)
    ctx, cancel = context.with_cancel_cause(bg)
    cancel(None)
    assert isinstance(context.cause(ctx), Canceled)
    with pytest.raises(TypeError, match="exception"):
        cancel("x")


def test_values():
    a = context.with_value(bg, "k", 1)
    b = context.with_value(a, "k", 2)
    c, cancel = context.with_cancel(context.with_value(b, "l", 3))
    assert (a.value("k"), b.value("k"), c.value("k"), c.value("l"), c.value("m")) == (1, 2, 2, 3, None)
    d = context.with_value(c, "m", 4)
    free = context.without_cancel(d)
    cancel()
    assert isinstance(d.err(), Canceled) and d.done is c.done
    assert free.err() is None and free.done is None and free.value("m") == 4
    with pytest.raises(ValueError, match="key"):
        context.with_value(bg, None, 1)


def test_block_is_cancelled_with_it():
    ctx, cancel = context.with_cancel(bg)

    def work():
        with ctx:
            Chan().recv()

    g = go(work)
    parked(g)
    cancel()
    assert isinstance(g.exception(T), Canceled)
    ctx, _ = context.with_timeout(bg, 0.01)
    with pytest.raises(DeadlineExceeded), ctx:
        sleep(T)


def test_leaving_the_block_cancels_it():
    ctx, _ = context.with_cancel(bg)
    with ctx as same:
        assert same is ctx and ctx.err() is None
    assert isinstance(ctx.err(), Canceled)
    with pytest.raises(KeyError), context.with_cancel(bg)[0]:
        raise KeyError


def test_block_of_a_parents_context():
    parent, cancel = context.with_cancel(bg)
    ctx, _ = context.with_timeout(parent, T)

    def work():
        with context.with_value(ctx, "k", 1) as c:
            assert c.value("k") == 1
            sleep(T)

    g = go(work)
    parked(g)
    cancel()
    assert isinstance(g.exception(T), Canceled)


def test_a_cancelled_goroutine_is_not_the_contexts_doing():
    ctx, cancel = context.with_cancel(bg)

    def work():
        with ctx:
            sleep(T)

    g = go(work)
    parked(g)
    g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled)
    cancel()


def test_after_func():
    got = Chan(2)
    ctx, cancel = context.with_cancel(bg)
    stop = context.after_func(ctx, lambda: got.send(1))
    off = context.after_func(ctx, lambda: got.send(2))
    assert off() is True and off() is False
    cancel()
    assert got.recv(T) == 1 and stop() is False
    context.after_func(ctx, lambda: got.send(3))  # it has been cancelled already
    assert got.recv(T) == 3
    assert context.after_func(bg, gosched)() is True


def test_cancelled_from_an_os_thread():
    ctx, cancel = context.with_cancel(bg)
    g = go(select, ctx.done)
    parked(g)
    t = threading.Thread(target=cancel)
    t.start()
    g.join(T)
    until(lambda: not t.is_alive(), sleep=sleep)


def test_misuse():
    for call in (context.with_cancel, context.with_cancel_cause, context.without_cancel, context.cause):
        with pytest.raises(TypeError, match="Context"):
            call(5)
    with pytest.raises(TypeError, match="seconds"):
        context.with_timeout(bg, "x")
    for call in (context.with_timeout, context.with_deadline):
        with pytest.raises(ValueError, match="seconds, not NaN"):
            call(bg, float("nan"))
    with pytest.raises(TypeError, match="callable"):
        context.after_func(bg, 5)
