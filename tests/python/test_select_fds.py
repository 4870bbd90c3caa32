"""select among descriptors: readable and writable."""

import os
import socket

import pytest
import ramet
from helpers import T, parked
from ramet import Chan, default, go, readable, select, writable


def test_readable_and_writable_of_a_pipe(pipe):
    r, w = pipe
    assert select(readable(r), default) == default
    s = select(readable(r), writable(w), timeout=T)
    assert (s.index, s.case, s.chan, s.ok) == (1, writable(w), None, True)
    os.write(w, b"x")
    s = select(readable(r), Chan(), timeout=T)
    assert s == readable(r) and s.value == r
    assert os.read(r, 1) == b"x"
    with pytest.raises(TimeoutError):
        select(readable(r), timeout=0.01)


def test_readable_waits(pipe):
    r, w = pipe
    c = Chan()
    g = go(select, c, readable(r))
    parked(g, state="select")
    os.write(w, b"x")
    assert g.join(T).index == 1
    g = go(select, c, readable(r))
    assert g.join(T).index == 1  # still readable
    os.read(r, 1)
    g = go(select, c, readable(r))
    parked(g)
    c.send(3, T)
    assert g.join(T).value == 3


def test_readable_at_the_end_of_file(pipe):
    r, w = pipe
    os.close(w)
    assert select(readable(r), timeout=T).index == 0


def test_writable_of_a_full_pipe(pipe):
    r, w = pipe
    os.set_blocking(w, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(w, b"x" * 65536)
    assert select(writable(w), default) == default
    g = go(select, writable(w))
    parked(g)
    os.read(r, 1 << 20)
    assert g.join(T) == writable(w)


def test_sockets():
    a, b = socket.socketpair()
    with a, b:
        assert select(readable(a), default) == default
        assert select(readable(a), writable(a)).index == 1
        g = go(select, readable(a), readable(b))
        parked(g)
        a.send(b"hello")
        s = g.join(T)
        assert s == readable(b) and s.value is b
        assert b.recv(10) == b"hello"


def test_the_same_descriptor_twice(pipe):
    r, w = pipe
    a, b = socket.socketpair()
    with a, b:
        g = go(select, readable(r), readable(r), readable(a), writable(r) if False else None)
        h = go(select, readable(r))
        parked(g, h)
        os.write(w, b"x")
        assert g.join(T).index in (0, 1)
        assert h.join(T).index == 0
        g = go(select, readable(a), writable(a))
        assert g.join(T).index == 1


def test_a_regular_file_is_always_ready(tmp_path):
    with open(tmp_path / "f", "w+") as f:
        assert select(readable(f), timeout=T).index == 0
        assert select(writable(f), timeout=T).index == 0


def test_many_descriptors():
    pairs = [socket.socketpair() for _ in range(100)]
    try:
        cases = [readable(a) for a, _ in pairs]
        for i in (0, 50, 99):
            g = go(select, *cases)
            parked(g)
            pairs[i][1].send(b"x")
            assert g.join(T).index == i
            pairs[i][0].recv(1)
        assert select(*cases, default) == default
    finally:
        for p in pairs:
            for s in p:
                s.close()
    assert ramet.stats()["fds"] <= 2


def test_cancelled_while_waiting_for_descriptors(pipe):
    r, w = pipe
    g = go(select, readable(r), Chan())
    parked(g)
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)
    os.write(w, b"x")
    assert select(readable(r), timeout=T).index == 0


def test_wrong_descriptors():
    for fn in (readable, writable):
        with pytest.raises(TypeError):
            fn("x")
        with pytest.raises(TypeError):
            fn()
        with pytest.raises(ValueError):
            fn(-1)
    r, w = os.pipe()
    os.close(r)
    os.close(w)
    with pytest.raises(OSError):
        select(readable(r), timeout=0.1)
    with pytest.raises(OSError):
        select(Chan(), writable(r), default)
