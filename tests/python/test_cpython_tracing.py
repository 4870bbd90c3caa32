"""Tracing, profiling and frames, of goroutines that run and that are parked."""

import sys
import threading
import traceback

import pytest
import ramet
from helpers import T, inside
from ramet import Chan, go, gosched


def traced_function(c):
    x = 1
    c.recv()
    return called_later(x)


def called_later(x):
    return x + 1


@pytest.mark.parametrize("which", ["settrace", "setprofile"])
def test_tracing_begun_while_goroutines_are_parked(which):
    c, events = Chan(), []
    gs = [go(traced_function, c) for _ in range(3)]
    gosched()

    def trace(frame, event, arg):
        if frame.f_code is called_later.__code__:
            events.append(event)
        return trace

    set_, get = getattr(sys, which), getattr(sys, which.replace("set", "get"))
    old = get()
    set_(trace)
    try:
        for _ in range(3):
            c.send(None)
        assert [g.join(T) for g in gs] == [2, 2, 2]
    finally:
        set_(old)
    one = ["call", "line", "return"] if which == "settrace" else ["call", "return"]
    assert events == one * 3

    gs = [go(traced_function, c) for _ in range(3)]
    set_(trace)
    gosched()
    set_(old)
    events.clear()
    for _ in range(3):
        c.send(None)
    assert [g.join(T) for g in gs] == [2, 2, 2]
    assert events == []


def test_tracing_set_in_a_goroutine():
    events = []

    def trace(frame, event, arg):
        if frame.f_code is called_later.__code__:
            events.append((event, ramet.current().id))
            gosched()  # a trace function may switch, too: others are traced meanwhile
        return trace

    def f():
        old = sys.gettrace()
        sys.settrace(trace)
        called_later(1)
        gosched()
        called_later(1)
        sys.settrace(old)

    def g():
        for _ in range(4):
            called_later(1)
            gosched()

    a, b = go(f), go(g)
    a.join(T)
    b.join(T)
    mine = [e for e, i in events if i == a.id]
    assert mine == ["call", "line", "return"] * 2
    other = [e for e, i in events if i == b.id]
    assert other[:2] == ["call", "line"]


def test_current_frames_and_tracebacks_end_at_the_goroutine():
    def f():
        return [fs.name for fs in traceback.extract_stack()]

    assert inside(f) == ["f"]

    def g():
        frame = sys._current_frames()[threading.get_ident()]
        return frame.f_code.co_name, frame.f_back

    assert inside(g) == ("g", None)


def test_frame_of_a_parked_goroutine_outlives_it():
    frames, c = [], Chan()

    def f(x):
        frames.append(sys._getframe())
        return c.recv()

    g = go(f, 1)
    gosched()
    assert frames[0].f_locals["x"] == 1
    c.send(2)
    assert g.join(T) == 2
    assert frames[0].f_locals["x"] == 1
    assert frames[0].f_back is None
