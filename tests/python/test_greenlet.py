"""Greenlets beside goroutines: whole within one goroutine, they work; in one, the goroutine does not wait."""

import glob
import importlib.machinery
import importlib.util
import sys

import pytest
import ramet
from helpers import T, run_py
from ramet import Chan, go, gosched
from ramet.time import sleep

if not getattr(sys, "_is_gil_enabled", lambda: True)() and "gil" not in sys._xoptions:
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


def started(how=greenlet.greenlet):
    """A greenlet that this goroutine has started, and left suspended."""
    here = greenlet.getcurrent()
    g = how(lambda: [here.switch(k) for k in range(3)])
    assert g.switch() == 0
    return g


class Beside:
    """A goroutine that has started a greenlet, and waits."""

    def __init__(self, how=greenlet.greenlet):
        self.greenlets, self.go_on = Chan(), Chan()
        self.goroutine = go(self.run, how)
        self.greenlet = self.greenlets.recv(T)

    def run(self, how):
        self.greenlets.send(started(how))
        g = self.go_on.recv(T)
        return g and (g.switch(), g.switch(), g.switch(), g.dead)

    def end(self, g):
        self.go_on.send(g)
        return self.goroutine.join(T)


def inherit_while_running(g):
    def run():
        greenlet.getcurrent().parent = g

    greenlet.greenlet(run).switch()


MISUSES = {
    "switch": lambda g: g.switch(),
    "throw": lambda g: g.throw(),
    "the parent of one to be started": lambda g: greenlet.greenlet(int, g).switch(),
    "the parent of one that runs": inherit_while_running,
    "the parent's parent": lambda g: greenlet.greenlet(int, greenlet.greenlet(int, g)).switch(),
    "the method of the type": lambda g: greenlet.greenlet.switch(g),
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
@pytest.mark.parametrize("where", ["main", "goroutine"])
def test_greenlets_of_another_goroutine(where, misuse):
    def f():
        other = Beside()
        with pytest.raises(greenlet.error, match=f"started by goroutine {other.goroutine.id} cannot run in"):
            misuse(other.greenlet)
        assert counting(2)
        assert other.end(other.greenlet) == (1, 2, [()] * 3, True)

    f() if where == "main" else go(f).join(T)


def test_greenlets_of_main():
    g = started()

    def f():
        with pytest.raises(greenlet.error, match="started by main"):
            g.switch()

    go(f).join(T)
    assert [g.switch() for _ in range(3)] == [1, 2, [()] * 3]


def test_whoever_starts_it_is_the_one_that_runs_it():
    here = greenlet.getcurrent()
    made = greenlet.greenlet(lambda: here.parent)  # not started here
    assert go(lambda: (greenlet.greenlet(int, made), started())[1].switch()).join(T) == 1

    def start():
        root = greenlet.getcurrent()
        g = greenlet.greenlet(lambda: root.switch("mine"))
        return g.switch(), g.switch(), g.dead

    for _ in range(50):  # at the same addresses, some of them
        assert start() == go(start).join(T) == ("mine", (), True)


class Derived(greenlet.greenlet):
    def __del__(self):
        pass


@pytest.mark.parametrize("how", [greenlet.greenlet, Derived])
@pytest.mark.parametrize("ended", [False, True])
def test_the_last_reference_is_dropped_elsewhere(how, ended):
    """greenlet would run it once more."""
    others = [Beside(how) for _ in range(5)]
    for other in others:
        if ended:
            other.end(None)
        del other.greenlet
    assert counting(3) == go(counting, 3).join(T)
    for other in others:
        if not ended:
            other.end(None)


def test_dropped_where_it_was_started():
    log = []

    def f():
        def run():
            try:
                here.switch()
            finally:
                log.append(1)

        here = greenlet.getcurrent()
        g = greenlet.greenlet(run)
        g.switch()
        gosched()
        del g
        log.append(2)

    go(f).join(T)
    assert log == [1, 2]


def test_by_the_c_api():
    name = "greenlet.tests._test_extension"
    files = [f for path in greenlet.__path__ for f in glob.glob(f"{path}/tests/_test_extension.*.so")]
    if not files:
        pytest.skip("this greenlet has no tests")
    loader = importlib.machinery.ExtensionFileLoader(name, files[0])
    c_api = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(c_api)
    other = Beside()
    for call in (c_api.test_switch, c_api.test_throw, c_api.test_setparent):
        with pytest.raises(greenlet.error, match="started by goroutine"):
            call(other.greenlet)
    assert other.end(other.greenlet) == (1, 2, [()] * 3, True)


def test_imported_after_the_first_use():
    code = """
import ramet
from ramet import Chan, go
ramet.gosched()
import greenlet
def start(c):
    here = greenlet.getcurrent()
    g = greenlet.greenlet(lambda: here.switch(1))
    g.switch()
    c.send(g)
    back.recv()
    g.switch()
c, back = Chan(), Chan()
h = go(start, c)
g = c.recv()
try: g.switch()
except greenlet.error as e: print("started by goroutine 2" in str(e))
back.send(1)
h.join()
print(g.dead)
"""
    ended = run_py(code)
    assert (ended.out, ended.err) == ("True\nTrue\n", ""), str(ended)


def test_in_a_forked_child():
    code = """
import os
import greenlet, ramet
def f():
    here = greenlet.getcurrent()
    g = greenlet.greenlet(lambda: here.switch(1))
    g.switch()
    pid = os.fork()
    g.switch()
    assert g.dead
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return pid
assert ramet.go(f).join()
print("ok")
"""
    ended = run_py(code, env={"PYTHONWARNINGS": "ignore::DeprecationWarning"})
    assert (ended.out, ended.err) == ("ok\n", ""), str(ended)
