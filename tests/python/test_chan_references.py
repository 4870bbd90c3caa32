"""What a Chan refers to, and for how long."""

import gc
import sys
import weakref

import pytest
from helpers import T, Thing, parked
from ramet import Chan, ChanClosed, go, gosched


def test_references_of_values():
    v = Thing()
    base = sys.getrefcount(v)
    c = Chan(2)
    c.send(v)
    assert sys.getrefcount(v) == base + 1
    assert c.recv() is v
    assert c.try_send(v) and c.try_send(v)
    assert sys.getrefcount(v) == base + 2
    assert not c.try_send(v)
    with pytest.raises(TimeoutError):
        c.send(v, 0)
    with pytest.raises(TimeoutError):
        c.send(v, 0.001)
    assert sys.getrefcount(v) == base + 2
    assert c.try_recv()[0] is v
    assert c.recv_ok()[0] is v
    assert sys.getrefcount(v) == base
    c.close()
    with pytest.raises(ChanClosed):
        c.send(v)
    with pytest.raises(ChanClosed):
        c.try_send(v)
    assert sys.getrefcount(v) == base
    d = Chan()
    g = go(d.send, v)
    parked(g)
    d.close()
    g.exception(T)
    del g
    gc.collect()
    assert sys.getrefcount(v) == base


def test_references_through_goroutines():
    v, c = Thing(), Chan()
    base = sys.getrefcount(v)
    g = go(lambda: [c.send(v) for _ in range(100)])
    for _ in range(100):
        assert c.recv(T) is v
    g.join(T)
    del g
    assert sys.getrefcount(v) == base
    g = go(c.send, v)
    parked(g)
    g.cancel()
    g.exception(T)
    del g
    gc.collect()
    assert sys.getrefcount(v) == base


def test_a_dropped_channel_drops_what_is_in_it():
    v, exc = Thing(), ValueError()
    w, base = weakref.ref(v), sys.getrefcount(exc)
    c = Chan(2)
    c.send(v)
    c.send_exception(exc)
    del v
    assert w() is not None
    wc = weakref.ref(c)
    del c
    assert wc() is None and w() is None
    assert sys.getrefcount(exc) == base


def test_a_channel_in_itself_is_collected():
    c = Chan(2)
    c.send(c)
    c.send_exception(ValueError(c))
    w = weakref.ref(c)
    del c
    gc.collect()
    assert w() is None


def test_a_value_whose_finalizer_uses_the_channel():
    c = Chan(2)
    seen = []

    class Nosy:
        def __del__(self):
            seen.append(len(c))
            go(seen.append, "went")

    c.send(Nosy())
    c.recv()
    gosched()
    assert seen[:2] == [0, "went"]


def test_gc_sees_the_buffer():
    c, v = Chan(1), Thing()
    c.send(v)
    assert v in gc.get_referents(c)


def test_a_parked_sender_keeps_its_value():
    c = Chan()
    v = Thing()
    w = weakref.ref(v)
    g = go(lambda x=v: None)
    g.join(T)
    del g
    cell = [v]
    del v
    g = go(lambda: c.send(cell.pop()))
    parked(g)
    gc.collect()
    assert w() is not None
    assert c.recv(T) is w()
    g.join(T)
    assert w() is None
