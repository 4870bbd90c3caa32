"""blocking, syscall, set_max_threads."""

import os
import sys
import threading
import time
import weakref

import pytest
import ramet
from helpers import T, parked, run_py, until
from ramet import Chan, blocking, go, set_max_threads, syscall
from ramet.time import sleep


def test_result_and_arguments():
    assert blocking(lambda: 5) == 5
    assert blocking(lambda *a, **k: (a, k), 1, 2, x=3, fn=4) == ((1, 2), {"x": 3, "fn": 4})
    assert go(blocking, len, "abc").join(T) == 3


def test_in_another_thread():
    me = threading.get_ident()
    assert blocking(threading.get_ident) != me
    assert go(lambda: blocking(threading.get_ident)).join(T) != me


@pytest.mark.parametrize("exc", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), StopIteration(1)])
def test_exceptions(exc):
    def f():
        raise exc

    with pytest.raises(type(exc)) as e:
        blocking(f)
    assert e.value is exc
    names = []
    tb = exc.__traceback__
    while tb:
        names.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    assert names == ["test_exceptions", "f"]


def test_exception_in_a_goroutine():
    g = go(blocking, lambda: 1 / 0)
    assert isinstance(g.exception(T), ZeroDivisionError)


@pytest.mark.parametrize("args", [(), (5,), (None, 1)])
def test_wrong_function(args):
    with pytest.raises(TypeError, match="blocking"):
        blocking(*args)


def test_only_the_caller_waits():
    r, w = os.pipe()
    try:
        g = go(blocking, os.read, r, 10)
        parked(g, state="syscall")
        log = []
        go(log.append, 1).join(T)
        assert log == [1] and not g.done()
        os.write(w, b"data")
        assert g.join(T) == b"data"
    finally:
        os.close(r)
        os.close(w)


def test_main_waits_and_others_run():
    log = []
    g = go(lambda: [(log.append(1), sleep(0.005)) for _ in range(5)])
    blocking(time.sleep, 0.1)
    assert len(log) >= 2
    g.join(T)


def test_a_hundred_at_once():
    set_max_threads(120)
    barrier = threading.Barrier(100)
    try:
        gs = [go(blocking, lambda i=i: (barrier.wait(T), i)[1]) for i in range(100)]
        assert [g.join(T) for g in gs] == list(range(100))  # or the barrier breaks
    finally:
        set_max_threads(64)


def test_more_than_there_are_threads():
    code = """
import ramet, threading, time
from ramet import blocking, go
ramet.set_max_threads(2)
running, most, lock = 0, 0, threading.Lock()
def f(i):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    time.sleep(0.002)
    with lock:
        running -= 1
    return i
gs = [go(blocking, f, i) for i in range(30)]
assert [g.join(50) for g in gs] == list(range(30))
assert most == 2, most
assert ramet.stats()["pool_threads"] == 2, ramet.stats()
"""
    run_py(code)


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (10001, ValueError), (2**100, ValueError)]
    + [(x, TypeError) for x in ("4", 1.5, None)],
)
def test_wrong_set_max_threads(n, error):
    with pytest.raises(error, match="n must be"):
        set_max_threads(n)


def test_syscall():
    @syscall
    def where(a, *, b=2):
        """Documented."""
        return threading.get_ident(), a, b

    assert where.__name__ == "where" and where.__doc__ == "Documented."
    ident, a, b = where(1, b=5)
    assert ident != threading.get_ident() and (a, b) == (1, 5)
    assert go(where, 3).join(T)[1:] == (3, 2)
    with pytest.raises(TypeError, match="fn"):
        syscall(5)


def test_cancellation_drops_the_outcome():
    done = threading.Event()

    class Result:
        pass

    made = []

    def f():
        done.wait(T)
        r = Result()
        made.append(weakref.ref(r))
        return r

    g = go(blocking, f)
    parked(g, state="syscall")
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)
    done.set()
    until(lambda: made and made[0]() is None, sleep=sleep)


def test_cancelled_call_that_raises():
    done, raised = threading.Event(), []

    def f():
        done.wait(T)
        raised.append(1)
        raise ValueError

    gs = [go(blocking, f) for _ in range(5)]
    parked(*gs)
    for g in gs:
        g.cancel()
    assert all(isinstance(g.exception(T), ramet.GoroutineCancelled) for g in gs)
    done.set()
    until(lambda: len(raised) == 5, sleep=sleep)


def test_cancelled_while_queued():
    code = """
import ramet, threading
from ramet import blocking, go
from ramet.time import sleep
ramet.set_max_threads(1)
release, ran = threading.Event(), []
first, second = go(blocking, release.wait, 20), go(blocking, ran.append, 1)
sleep(0.02)
second.cancel()
assert isinstance(second.exception(20), ramet.GoroutineCancelled)
assert ran == []
release.set()
assert first.join(50) is True
assert blocking(lambda: 3) == 3
"""
    run_py(code)


def test_pending_cancellation_runs_nothing():
    ran = []

    def f():
        ramet.current().cancel()
        blocking(ran.append, 1)

    assert isinstance(go(f).exception(T), ramet.GoroutineCancelled)
    sleep(0.02)
    assert ran == []


def test_references():
    v = object()
    base = sys.getrefcount(v)
    for _ in range(20):
        assert blocking(lambda x, y: x, v, y=v) is v
    until(lambda: sys.getrefcount(v) == base, sleep=sleep)


def test_ramet_in_a_pool_thread():
    """A pool thread is a foreign thread: channels work there."""
    c = Chan()

    def f():
        c.send(1, T)
        g = go(lambda: 5)
        return g.join(T), threading.get_ident()

    g = go(blocking, f)
    assert c.recv(T) == 1
    assert g.join(T)[0] == 5


def test_thread_locals_and_gil_state_of_pool_threads():
    local = threading.local()

    def f():
        local.x = getattr(local, "x", 0) + 1
        return local.x

    assert sum(1 for _ in range(50) if blocking(f) >= 1) == 50


def test_from_a_foreign_thread_it_is_refused():
    got = []

    def thread():
        for call in (lambda: blocking(lambda: 1), syscall(lambda: 1), lambda: set_max_threads(5)):
            try:
                got.append(call())
            except RuntimeError as e:
                got.append(str(e))

    t = threading.Thread(target=thread)
    t.start()
    t.join(T)
    assert len(got) == 3 and all("thread" in str(x) for x in got), got


def test_pool_threads_do_not_pile_up():
    code = """
import ramet
for _ in range(200):
    ramet.blocking(int)
assert ramet.stats()["pool_threads"] <= 3, ramet.stats()
gs = [ramet.go(ramet.blocking, int) for _ in range(300)]
for g in gs:
    g.join(50)
assert ramet.stats()["pool_threads"] <= 64, ramet.stats()
"""
    run_py(code)
