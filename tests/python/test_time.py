"""ramet.time."""

import time as std

import pytest
import ramet
from helpers import T, parked
from ramet import Chan, go, gosched, time
from ramet.time import sleep


def test_constants():
    assert time.NANOSECOND == 1e-9 and time.MICROSECOND == 1e-6 and time.MILLISECOND == 1e-3
    assert (time.SECOND, time.MINUTE, time.HOUR) == (1, 60, 3600)


def test_clocks():
    assert abs(time.now() - std.time()) < 60
    a = time.monotonic()
    assert isinstance(a, float) and isinstance(time.now(), float)
    assert std.monotonic() - 60 < a <= time.monotonic()


def test_sleep_is_not_short():
    for d in (0.001, 0.02):
        t = time.monotonic()
        assert sleep(d) is None
        assert d <= time.monotonic() - t < 10
    t = time.monotonic()
    go(sleep, 0.02).join(T)
    assert 0.02 <= time.monotonic() - t < 10


def test_others_run_meanwhile():
    log = []
    g = go(lambda: [(log.append(i), gosched()) for i in range(10)])
    sleep(0.01)
    assert log == list(range(10)) and g.done()


@pytest.mark.parametrize("d", [0, 0.0, -1, -1e300, float("-inf"), -(10**400), False])
def test_zero_or_less_yields(d):
    log = []
    g = go(log.append, 1)
    sleep(d)
    assert log == [1] and g.done()


@pytest.mark.parametrize(
    ("d", "error"), [("1", TypeError), (None, TypeError), ([], TypeError), (float("nan"), ValueError)]
)
def test_wrong_durations(d, error):
    with pytest.raises(error, match=r"\bd\b"):
        sleep(d)


def test_wrong_calls():
    for call in (lambda: sleep(), lambda: sleep(1, 2)):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("d", [1e300, float("inf"), 10**400, 2**63])
def test_for_ever_can_be_cancelled(d):
    g = go(sleep, d)
    parked(g, state="sleep")
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)


def test_in_order_of_time():
    log = []

    def f(d):
        sleep(d)
        log.append(d)

    delays = [0.05, 0.01, 0.04, 0.02, 0.03]
    gs = [go(f, d) for d in delays]
    for g in gs:
        g.join(T)
    assert log == sorted(delays)


def test_ten_thousand_sleepers():
    t = time.monotonic()
    c = Chan(10_000)
    for i in range(10_000):
        go(lambda i=i: (sleep(0.05 + i % 10 / 1000), c.send(i)))
    assert sorted(c.recv(T) for _ in range(10_000)) == list(range(10_000))
    assert 0.05 <= time.monotonic() - t < 15
    while ramet.num_goroutines() > 1:
        gosched()
    assert ramet.stats()["timers"] == 0


def test_cancelled_sleeps_leave_no_timer():
    gs = [go(sleep, 1000) for _ in range(100)]
    parked(*gs)
    assert ramet.stats()["timers"] >= 100
    for g in gs:
        g.cancel()
        g.exception(T)
    assert ramet.stats()["timers"] == 0


def test_timeouts_leave_no_timer():
    c = Chan(1)
    for i in range(100):
        g = go(c.recv, 1000)
        parked(g)
        c.send(i)
        g.join(T)
    assert ramet.stats()["timers"] == 0


def test_all():
    for name in time.__all__:
        assert hasattr(time, name)
