"""Greenlets beside goroutines: whole within one goroutine, they work; in one, the goroutine does not wait."""

import sys

import pytest
import ramet
from helpers import T, run_py
from ramet import Chan, go, gosched
from ramet.time import sleep

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    pytest.skip(
        "importing greenlet would enable the GIL: test_free_threaded.py runs this with it", allow_module_level=True
    )
greenlet = pytest.importorskip("greenlet", reason="there is no wheel of greenlet for this interpreter")
MATCH = "greenlet that is not its thread's own"


def counting(n):
    """n greenlets that take turns with the one that calls."""
    here = greenlet.getcurrent()
    log = []

    def turn(i):
        for k in range(3):
            log.append((i, k))
            assert here.switch(i) == (i, k)
        return "end"

    gs = [greenlet.greenlet(turn) for _ in range(n)]
    for i, g in enumerate(gs):
        assert g.switch(i) == i
    for k in range(3):
        for i, g in enumerate(gs):
            assert g.switch((i, k)) == (i if k < 2 else "end")
    assert all(g.dead for g in gs)
    return sorted(log)


def test_within_one_goroutine():
    want = [(i, k) for i in range(4) for k in range(3)]
    assert counting(4) == want
    assert go(counting, 4).join(T) == want


def test_goroutines_beside_suspended_greenlets():
    def f(i):
        here = greenlet.getcurrent()
        inner = greenlet.greenlet(lambda: [here.switch(k) for k in range(20)])
        got = [inner.switch()]
        for _ in range(19):
            gosched()  # in the root greenlet
            got.append(inner.switch())
        inner.switch()
        return got

    assert [g.join(T) for g in [go(f, i) for i in range(10)]] == [list(range(20))] * 10


WAITS = {
    "recv": lambda c: c.recv(),
    "recv with a timeout": lambda c: c.recv(T),
    "send": lambda c: c.send(1),
    "select": lambda c: ramet.select(c, Chan()),
    "sleep": lambda c: sleep(0.01),
    "sleep(0)": lambda c: sleep(0),
    "gosched": lambda c: gosched(),
    "blocking": lambda c: ramet.blocking(int),
    "join": lambda c: go(int).join(),
    "lock": lambda c: locked().lock(),
    "wait": lambda c: ramet.sync.Event().wait(),
    "cond": lambda c: waits_for(ramet.sync.Condition()),
    "queue": lambda c: ramet.sync.Queue().get(),
}


def locked():
    lock = ramet.sync.Mutex()
    lock.lock()
    return lock


def waits_for(cond):
    with cond:
        cond.wait()


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("where", ["main", "goroutine"])
def test_waiting_in_a_greenlet_is_refused(where, wait):
    c = Chan()

    def inner():
        def deep(n):
            return deep(n - 1) if n else wait(c)

        for n in (0, 30):
            with pytest.raises(RuntimeError, match=MATCH):
                deep(n)
        return "told"

    def f():
        assert greenlet.greenlet(inner).switch() == "told"
        assert c.try_send(1) is False  # nobody stands there
        gosched()  # and here it may
        return greenlet.greenlet(lambda: Chan(1).send(1)).switch()  # this does not wait

    assert (f() if where == "main" else go(f).join(T)) is None


def test_preemption_leaves_greenlets_alone():
    code = """
import time
import greenlet, ramet
from ramet import go
stop = []
def hog():
    n = 0
    while not stop: n += 1
def inner():
    end = time.monotonic() + 0.05
    while time.monotonic() < end: pass
    return 1
def f():
    for _ in range(5): assert greenlet.greenlet(inner).switch() == 1
ramet.gosched()
g = go(hog)
fs = [go(f) for _ in range(3)]
for h in fs: h.join()
stop.append(1)
g.join()
"""
    run_py(code, env={"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": "0.001"})


def test_first_use_in_a_greenlet():
    code = """
import greenlet, ramet
def inner():
    try: ramet.gosched()
    except RuntimeError as e: return str(e)
print(greenlet.greenlet(inner).switch())
print(ramet.go(lambda: 5).join())
"""
    ended = run_py(code)
    assert MATCH in ended.out and ended.out.endswith("\n5\n") and ended.err == "", str(ended)
