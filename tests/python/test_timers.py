"""ramet.time: Timer, Ticker, after, after_func, tick, with Go's (>= 1.23) stop and reset."""

import gc
import time as std_time
import weakref

import pytest
import ramet
from helpers import T, until
from ramet import Chan, go, gosched, select
from ramet.time import After, AfterFunc, Tick, Ticker, Timer, after, after_func, now, sleep, tick


def test_timer_delivers_the_time_once():
    began = std_time.monotonic()
    t = Timer(0.01)
    assert abs(t.c.recv(T) - now()) < 5
    assert std_time.monotonic() - began >= 0.01
    assert not t.stop()
    with pytest.raises(TimeoutError):
        t.c.recv(0.02)


def test_stop_before_and_after():
    t = Timer(T)
    assert t.stop() is True and t.stop() is False
    t = Timer(0.001)
    sleep(0.02)  # it has fired, and nobody has received
    assert t.stop() is True
    with pytest.raises(TimeoutError):  # nothing stale
        t.c.recv(0.01)


def test_reset():
    t = Timer(T)
    assert t.reset(0.005) is True
    t.c.recv(T)
    assert t.reset(0.005) is False
    sleep(0.02)
    began = std_time.monotonic()
    assert t.reset(0.01) is True  # what had been delivered is gone
    t.c.recv(T)
    assert std_time.monotonic() - began >= 0.01


def test_timer_in_select():
    never = Chan()
    t = Timer(0.005)
    assert select(never, t.c).index == 1
    assert select(never.if_recv(), after(0.005)).index == 1


def test_zero_and_negative_fire_at_once():
    for d in (0, -1):
        Timer(d).c.recv(T)
        after(d).recv(T)
        with pytest.raises(ValueError, match="positive"):
            Ticker(d)
        with pytest.raises(ValueError, match="positive"):
            tick(d)
    for make in (Timer, Ticker, after, tick):
        with pytest.raises(TypeError):
            make("x")


def test_ticker_keeps_its_phase_and_drops_for_the_slow():
    t = Ticker(0.005)
    times = [t.c.recv(T) for _ in range(4)]
    assert times == sorted(times)
    sleep(0.03)
    assert len(t.c) == 1  # one of the many
    t.c.recv(T)
    t.stop()
    with pytest.raises(TimeoutError):
        t.c.recv(0.02)
    assert not t.c.closed
    t.reset(0.002)
    t.c.recv(T)
    t.stop()
    with pytest.raises(ValueError, match="positive"):
        t.reset(0)


def test_tick_lives_as_long_as_its_channel():
    c = tick(0.002)
    gc.collect()
    for _ in range(3):
        c.recv(T)
    before = ramet.stats()["timers"]
    del c
    gc.collect()
    until(lambda: ramet.stats()["timers"] < before or before == 0, sleep=sleep)


def test_other_spellings():
    assert (After, AfterFunc, Tick) == (after, after_func, tick)


def test_after_func_runs_in_a_goroutine_of_its_own():
    got = Chan(3)

    def fn(a, *, b):
        sleep(0)  # it may park
        got.send((a, b, ramet.current().id))

    t = after_func(0.005, fn, 1, b=2)
    assert t.c is None
    a, b, g = got.recv(T)
    assert (a, b) == (1, 2) and g != ramet.current().id
    assert t.stop() is False
    assert t.reset(0.001) is False
    assert got.recv(T)[:2] == (1, 2)


def test_after_func_stopped():
    called = []
    t = after_func(0.005, called.append, 1)
    assert t.stop() is True
    sleep(0.02)
    assert called == []
    for _ in range(3):
        t.reset(0)
        gosched()
    until(lambda: called, sleep=sleep)
    with pytest.raises(TypeError, match="callable"):
        after_func(1, 5)
    with pytest.raises(TypeError):
        t()


def test_after_func_that_fails_is_reported(capsys):
    after_func(0, lambda: 1 / 0)
    sleep(0.01)
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "started at" in err


def test_what_it_holds_goes():
    class Thing:
        def __call__(self):
            pass

    for use in (lambda t: sleep(0.01), lambda t: t.stop()):
        thing = Thing()
        ref = weakref.ref(thing)
        t = after_func(0.001, thing)
        use(t)
        sleep(0.002)
        del t, thing
        gc.collect()
        assert ref() is None
    t = Timer(T)
    ref = weakref.ref(t.c)
    del t
    gc.collect()
    assert ref() is None


def test_many_pending():
    before = ramet.stats()["timers"]
    ts = [Timer(100 + i % 7) for i in range(20_000)]
    assert ramet.stats()["timers"] == before + 20_000
    sleep(0.001)
    assert all(t.stop() for t in ts[::2])
    del ts
    gc.collect()
    assert ramet.stats()["timers"] <= before


def test_context_variables_go_along():
    import contextvars

    var = contextvars.ContextVar("v", default=0)
    var.set(3)
    got = Chan(1)
    after_func(0.001, lambda: got.send(var.get()))
    var.set(4)
    assert got.recv(T) == 3


def test_timers_from_a_goroutine():
    def work():
        return after(0.002).recv(T)

    assert all(isinstance(g.join(T), float) for g in [go(work) for _ in range(20)])
