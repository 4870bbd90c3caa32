"""What ends a wait on a connection: timeouts, deadlines, closing, cancelling, a reset."""

import errno
import socket
import time

import pytest
import ramet
from helpers import T
from net_helpers import fds, parked
from ramet import net
from ramet.time import sleep

# ---- deadlines and timeouts -------------------------------------------------------------------------


def test_timeout_of_a_read(pair):
    a, b = pair
    t = time.monotonic()
    with pytest.raises(TimeoutError):
        b.read(1, timeout=0.05)
    assert 0.04 < time.monotonic() - t < 5
    with pytest.raises(TimeoutError):
        b.readinto(bytearray(1), 0.01)
    a.write(b"ab")
    assert b.read(1, 0.05) == b"a"
    assert b.read(1, T) == b"b"
    with pytest.raises(TimeoutError):
        b.read(1, 0)
    a.write(b"c")
    assert ramet.select(ramet.readable(b), timeout=T)
    assert b.read(1, timeout=0) == b"c"  # what is there needs no time
    with pytest.raises(TimeoutError):
        b.read(1, -1)


def test_timeout_of_a_write(pair):
    a, _ = pair
    with pytest.raises(TimeoutError):
        a.write(b"x" * (50 << 20), timeout=0.05)


def test_timeout_of_accept(ln):
    with pytest.raises(TimeoutError):
        ln.accept(timeout=0.02)
    with pytest.raises(TimeoutError):
        ln.accept(0)
    with net.dial("tcp", ln.addr), ln.accept(T):
        pass


def test_deadline_in_the_past_holds_until_cleared(pair):
    a, b = pair
    a.write(b"there")
    ramet.select(ramet.readable(b), timeout=T)
    b.set_deadline(time.monotonic() - 1)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            b.read(10)
        with pytest.raises(TimeoutError):
            b.write(b"x")
    b.set_deadline(-5)
    with pytest.raises(TimeoutError):
        b.read(10)
    b.set_deadline(None)
    assert b.read(10) == b"there"
    assert b.write(b"x") == 1


def test_deadline_in_the_future_ends_waits(pair):
    a, b = pair
    b.set_deadline(time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        b.read(1)
    b.set_deadline(time.monotonic() + T)
    a.write(b"x")
    assert b.read(1) == b"x"


def test_deadlines_are_a_direction_s_own(pair):
    a, b = pair
    b.set_read_deadline(0)
    with pytest.raises(TimeoutError):
        b.read(1)
    assert b.write(b"x") == 1
    b.set_read_deadline(None)
    b.set_write_deadline(0)
    with pytest.raises(TimeoutError):
        b.write(b"x")
    a.write(b"y")
    assert b.read(1, T) == b"y"
    b.set_write_deadline(None)
    assert b.write(b"x") == 1


def test_a_deadline_reaches_those_who_wait_already(pair):
    a, b = pair
    gs = [ramet.go(b.read, 1) for _ in range(3)]
    parked(*gs)
    b.set_write_deadline(0)
    ramet.gosched()
    assert not any(g.done() for g in gs)
    b.set_read_deadline(time.monotonic() + 0.02)
    for g in gs:
        with pytest.raises(TimeoutError):
            g.join(T)
    b.set_deadline(None)
    g = ramet.go(b.read, 1)
    parked(g)
    b.set_deadline(time.monotonic() + 0.02)
    b.set_deadline(None)  # cleared in time
    sleep(0.04)
    assert not g.done()
    a.write(b"z")
    assert g.join(T) == b"z"


# ---- closing and cancelling -------------------------------------------------------------------------


def test_close_wakes_readers_and_writers(pair):
    a, _ = pair
    gs = [ramet.go(a.read, 10), ramet.go(a.read, 10), ramet.go(a.write, b"x" * (50 << 20)), ramet.go(a.write, b"y")]
    parked(*gs)
    a.close()
    for g in gs:
        with pytest.raises(net.ErrClosed):
            g.join(T)


def test_close_wakes_accepters(ln):
    gs = [ramet.go(ln.accept), ramet.go(ln.accept), ramet.go(list, ln)]
    parked(*gs)
    ln.close()
    for g in gs[:2]:
        with pytest.raises(net.ErrClosed):
            g.join(T)
    assert gs[2].join(T) == []


def test_iteration_of_a_listener(ln):
    def serve():
        got = []
        for conn in ln:
            with conn:
                got.append(conn.read(10, T))
        return got

    g = ramet.go(serve)
    for i in range(3):
        with net.dial("tcp", ln.addr) as c:
            c.write(b"%d" % i)
            assert c.read(1, T) == b""
    ln.close()
    assert g.join(T) == [b"0", b"1", b"2"]


def test_cancel(pair, ln):
    a, b = pair
    gs = [ramet.go(b.read, 10), ramet.go(ln.accept), ramet.go(a.write, b"x" * (50 << 20)), ramet.go(next, ln)]
    parked(*gs[1:])
    for g in gs[1:]:
        g.cancel()
        with pytest.raises(ramet.GoroutineCancelled):
            g.join(T)
    assert gs[0].join(T)


def test_a_cancel_survives_a_close_that_follows(pair):
    a, _ = pair
    seen = []

    def reader():
        for wait in (lambda: a.read(1), ramet.gosched):
            try:
                wait()
            except (net.ErrClosed, ramet.Cancelled) as e:
                seen.append(type(e))

    g = ramet.go(reader)
    parked(g)
    g.cancel()
    a.close()
    g.join(T)
    assert ramet.Cancelled in seen


def test_cancelled_on_entry_consumes_nothing(pair):
    a, b = pair
    a.write(b"kept")
    ramet.select(ramet.readable(b), timeout=T)

    def reader():
        ramet.current().cancel()
        try:
            b.read(10)
        except ramet.Cancelled:
            return "cancelled"

    assert ramet.go(reader).join(T) == "cancelled"
    assert b.read(10) == b"kept"


def test_cancel_of_a_dial():
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fill = []
    try:
        for _ in range(3):  # nobody accepts: then connecting takes for ever
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(full.getsockname())
            fill.append(s)
        before = fds()
        g = ramet.go(net.dial, "tcp", full.getsockname())
        parked(g)
        g.cancel()
        with pytest.raises(ramet.GoroutineCancelled):
            g.join(T)
        with pytest.raises(TimeoutError):
            net.dial("tcp", full.getsockname(), timeout=0.05)
        assert fds() == before
    finally:
        for s in fill:
            s.close()
        full.close()


def test_peer_resets(ln):
    s = socket.create_connection(ln.addr)
    with ln.accept(T) as conn:
        g = ramet.go(conn.read, 10)
        parked(g)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
        with pytest.raises(ConnectionResetError) as e:
            g.join(T)
        assert e.value.errno == errno.ECONNRESET
        with pytest.raises(BrokenPipeError):  # and no SIGPIPE, nor ChanClosed
            for _ in range(3):
                conn.write(b"x")
