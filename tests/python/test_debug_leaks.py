"""Goroutines that nobody can wake: found, reported once, unwound."""

import gc
import sys
import weakref

import leaks
import pytest
import ramet
from helpers import T, run_py, until
from leaks import CHANS, OTHERS, Thing, barrier, cancel, collect, leaked, named, recv, settle, start
from ramet import Chan, debug, go

tidy = leaks.tidy  # a fixture


@pytest.mark.parametrize("fn", CHANS, ids=lambda fn: fn.__name__)
def test_found(fn):
    c = Chan()
    n = start(fn, c)
    assert leaked() == set()
    del c
    assert leaked() == {n}
    assert leaked() == {n}  # looking changes nothing
    (g,) = debug.leaks()
    assert g.id == n and g.state != "done"
    assert leaked() == set()  # now there is a handle
    g.cancel()
    g.exception(T)


@pytest.mark.parametrize("fn", CHANS, ids=lambda fn: fn.__name__)
def test_unwound_and_reported_once(fn):
    done = []

    def body(c):
        try:
            fn(c)
        finally:
            done.append(1)

    n = start(body, Chan())
    settle()
    assert done == []
    (text,) = collect()
    assert done == [1] and collect() == []
    name = "named" if fn is named else f"goroutine-{n}"
    assert f"goroutine {n} '{name}'" in text and f"in {fn.__name__}" in text
    assert "chan receive" in text or "chan send" in text or "select" in text


@pytest.mark.parametrize("fn", OTHERS, ids=lambda fn: fn.__name__)
def test_other_waits(fn):
    done = []

    def body():
        try:
            fn()
        finally:
            done.append(1)

    n = start(body)
    if fn is barrier and sys.version_info < (3, 14):  # wait_for() has a function that only the eval loop knows of
        assert leaked() == set()
        return cancel({n})
    assert n in leaked() and done == []
    texts = collect()
    assert any(f"goroutine {n} " in text and f"in {fn.__name__}" in text for text in texts)
    assert done == [1] and collect() == []


def test_without_a_frame():
    """The function is a method of the channel itself."""
    n = start(Chan().recv)
    assert leaked() == {n}
    (text,) = collect()
    assert f"goroutine {n} " in text


def test_found_together():
    """A pipeline whose ends nobody has; and who joins one of it."""

    def stage(source, to):
        for v in source:
            to.send(v)

    def waits(g):
        g.join()

    chans = [Chan() for _ in range(6)]
    ids = {start(stage, a, b) for a, b in zip(chans, chans[1:], strict=False)}
    handle = go(recv, chans[0])
    ids |= {handle.id, start(waits, handle)}
    assert leaked() == set()
    del chans
    assert leaked() == set()  # `handle` could be cancelled, but then nobody else goes on
    del handle
    assert leaked() == ids
    assert len(collect()) == len(ids)
    assert ramet.num_goroutines() == 1


def test_found_among_many():
    held = [Chan() for _ in range(300)]
    for c in held:
        start(recv, c)
    ids = {start(recv, Chan()) for _ in range(300)}
    assert leaked() == ids
    assert len(collect()) == 300 and leaked() == set()
    assert ramet.num_goroutines() == 301
    for c in held:
        c.close()
    c = held[0]
    with pytest.raises(ramet.ChanClosed):
        c.recv()


def test_cycles_are_collected():
    """What hangs on the goroutine, in a cycle with it, goes."""
    things = []

    def body():
        a = Thing()
        a.c, a.me, a.handle = Chan(), a, ramet.current()
        things.append(weakref.ref(a.me.__class__))
        a.gone = Gone()
        a.c.recv()

    gone = []

    class Gone:
        def __del__(self):
            gone.append(1)

    go(body)
    settle()
    assert gone == []
    assert len(collect()) == 1
    gc.collect()
    assert gone == [1]


# ---- unwinding -----------------------------------------------------------------------------------


def test_what_finally_needs_is_there(tmp_path):
    """Nothing that the frames hold has been finalized."""
    path = tmp_path / "x"
    told = []

    def body():
        f = open(path, "w")

        def values():
            try:
                yield 1
            finally:
                told.append("generator")

        g = values()
        next(g)
        try:
            Chan().recv()
        finally:
            f.write("written")
            f.close()
            told.append("finally")
            del g

    go(body)
    settle()
    assert len(collect()) == 1
    assert path.read_text() == "written" and told == ["finally", "generator"]


def test_finally_may_wait():
    told = []

    def body():
        try:
            Chan().recv()
        finally:
            ramet.time.sleep(0.001)
            told.append(1)
            Chan().recv()  # leaked once more

    n = start(body)
    settle()
    assert len(collect()) == 1
    until(lambda: told, sleep=ramet.time.sleep)
    assert leaked() == {n}
    assert collect() == [] and leaked() == set()
    assert ramet.num_goroutines() == 1


def test_who_swallows_the_cancellation_is_reported_once():
    caught = []

    def body():
        c = Chan()
        for _ in range(3):
            try:
                c.recv()
            except ramet.Cancelled as e:
                caught.append(str(e))

    go(body)
    settle()
    assert [len(collect()) for _ in range(4)] == [1, 0, 0, 0]
    assert caught == ["nobody can wake it any more"] * 3
    assert ramet.num_goroutines() == 1


def test_what_fails_while_it_is_unwound_is_reported(monkeypatch):
    seen = []

    def body():
        try:
            Chan().recv()
        finally:
            raise ValueError("tidying up")

    monkeypatch.setattr(ramet, "excepthook", lambda g, exc: seen.append(exc))
    go(body)
    settle()
    collect()
    assert [str(e) for e in seen] == ["tidying up"]
    assert isinstance(seen[0].__context__, ramet.Cancelled)
    seen.clear()


def test_a_warning_that_is_an_error():
    """It cannot be raised in anybody: sys.unraisablehook gets it, and the goroutine is cancelled all the same."""
    code = """
import gc, ramet, sys
told = []
sys.unraisablehook = lambda u: told.append((type(u.exc_value).__name__, u.object))
def body():
    try:
        ramet.Chan().recv()
    except ramet.Cancelled:
        told.append("cancelled")
ramet.go(body)
ramet.gosched()
gc.collect()
ramet.gosched()
(name, g), then = told
assert (name, then, g.id) == ("ResourceWarning", "cancelled", 2), told
"""
    ended = run_py(code, env={"PYTHONWARNINGS": "error"})
    assert ended.err == ""


def test_silent_by_default():
    code = """
import gc, ramet
def body():
    try:
        ramet.Chan().recv()
    finally:
        print("unwound")
ramet.go(body)
ramet.gosched()
gc.collect()
ramet.gosched()
"""
    debug_build = hasattr(sys, "gettotalrefcount")  # it shows all warnings
    for filters, count in ("", int(debug_build)), ("default", 1):
        ended = run_py(code, env={"PYTHONWARNINGS": filters})
        assert ended.out == "unwound\n" and ended.err.count("nobody can wake this goroutine") == count, str(ended)


def test_a_report_that_fails():
    code = """
import gc, ramet, sys, warnings
told = []
sys.unraisablehook = lambda u: told.append(str(u.exc_value))
def fail(*args, **kwargs):
    raise OSError("no report")
warnings.warn = fail
ramet.go(ramet.Chan().recv)
ramet.gosched()
gc.collect()
ramet.gosched()
assert told == ["no report"], told
assert ramet.num_goroutines() == 1
"""
    run_py(code)
