"""ramet.net: connections, listeners, servers. Every wait here is bounded by a timeout of its own."""

import contextlib
import errno
import gc
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref

import pytest
import ramet
from ramet import net
from ramet.time import sleep

T = 20.0  # what "for ever" is in a test


@pytest.fixture
def ln():
    with net.listen("tcp", "127.0.0.1:0") as listener:
        yield listener


@pytest.fixture
def pair(ln):
    a = net.dial("tcp", ln.addr, timeout=T)
    b = ln.accept(timeout=T)
    with a, b:
        yield a, b


@pytest.fixture
def reports(monkeypatch):
    """What excepthook was told."""
    seen = []
    monkeypatch.setattr(ramet, "excepthook", lambda g, exc: seen.append(exc))
    return seen


def read_all(conn, n=65536, timeout=T):
    out = []
    while data := conn.read(n, timeout):
        out.append(data)
    return b"".join(out)


def read_exactly(conn, n):
    out = bytearray()
    while len(out) < n:
        data = conn.read(n - len(out), T)
        assert data, "ended early"
        out += data
    return bytes(out)


def echo(conn):
    while data := conn.read(4096):
        conn.write(data)


def until(what, timeout=T):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "it never happened"
        sleep(0.001)


def parked(*gs, state="io wait"):
    """Wait until these goroutines wait."""
    until(lambda: all(g.state == state for g in gs))


def fds():
    return len(os.listdir("/proc/self/fd"))


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


# ---------------------------------------------------------------- reading and writing


def test_write_then_read(pair):
    a, b = pair
    assert a.write(b"hello") == 5
    assert b.read(100) == b"hello"
    assert b.write(b"world") == 5
    assert a.read(2) == b"wo"
    assert a.read(100) == b"rld"


def test_read_waits_for_a_later_write(pair):
    a, b = pair
    g = ramet.go(b.read, 100)
    parked(g)
    a.write(b"later")
    assert g.join(T) == b"later"
    for i in range(100):  # and again: every edge is seen
        g = ramet.go(b.read, 100)
        ramet.gosched()
        a.write(b"%d" % i)
        assert g.join(T) == b"%d" % i


def test_read_gives_what_there_is(pair):
    a, b = pair
    a.write(b"x" * 1000)
    until(lambda: ramet.select(ramet.readable(b), timeout=T))
    got = b.read(10)
    assert got == b"x" * 10
    assert read_exactly(b, 990) == b"x" * 990


def test_read_zero_bytes(pair):
    a, b = pair
    assert b.read(0) == b""
    a.write(b"x")
    assert b.read(0) == b""
    assert b.readinto(bytearray()) == 0
    assert b.read(1, T) == b"x"


def test_read_of_a_huge_n_allocates_no_more_than_it_needs(pair):
    a, b = pair
    a.write(b"x")
    assert b.read(1 << 62, T) == b"x"
    a.write(b"y" * 5000)
    assert read_exactly(b, 5000) == b"y" * 5000
    for _ in range(3):
        a.write(b"z" * 100_000)
        got = 0
        while got < 100_000:
            got += len(b.read(1 << 100, T))
        assert got == 100_000


@pytest.mark.parametrize("n", [1, 10, 511, 512, 513, 2048, 4096, 8192, 65535, 65536, 65537, 200_000])
def test_reads_of_every_size_give_the_same_bytes(pair, n):
    a, b = pair
    data = random.Random(n).randbytes(300_000)
    g = ramet.go(a.write, data)
    out = bytearray()
    while len(out) < len(data):
        chunk = b.read(n, T)
        assert type(chunk) is bytes and 0 < len(chunk) <= n
        out += chunk
        if n == 1 and len(out) == 2000:
            break
    assert out == data[: len(out)]
    if n == 1:
        b.close()
        with contextlib.suppress(OSError):
            g.join(T)
    else:
        assert g.join(T) == len(data)


def test_concurrent_readers_do_not_share_a_buffer(ln):
    """The scratch buffer belongs to nobody across a wait."""
    pairs = []
    for _ in range(50):
        a = net.dial("tcp", ln.addr)
        pairs.append((a, ln.accept(T)))
    gs = [ramet.go(b.read, 1000, T) for _, b in pairs]
    parked(*gs)
    for i, (a, _) in enumerate(pairs):
        a.write(b"%03d" % i * 100)
    for i, g in enumerate(gs):
        assert g.join(T) == b"%03d" % i * 100
    for a, b in pairs:
        a.close()
        b.close()


def test_end_of_stream(pair):
    a, b = pair
    a.write(b"last")
    a.close()
    assert b.read(100, T) == b"last"
    assert b.read(100, T) == b""
    assert b.read(100, T) == b""
    assert b.readinto(bytearray(5), T) == 0


def test_end_of_stream_wakes_a_reader(pair):
    a, b = pair
    g = ramet.go(b.read, 100)
    parked(g)
    a.close()
    assert g.join(T) == b""


def test_readinto(pair):
    a, b = pair
    a.write(b"abcdef")
    buf = bytearray(4)
    assert b.readinto(buf) == 4
    assert buf == b"abcd"
    assert b.readinto(memoryview(buf)[1:3]) == 2
    assert buf == b"aefd"
    g = ramet.go(b.readinto, buf, timeout=T)
    parked(g)
    with pytest.raises(BufferError):
        buf.append(1)  # it is being read into
    a.write(b"!")
    assert g.join(T) == 1
    buf.append(1)
    assert buf == b"!efd\x01"


def test_write_takes_any_bytes_like_object(pair):
    import array

    a, b = pair
    assert a.write(bytearray(b"ba")) == 2
    assert a.write(memoryview(b"xmvx")[1:3]) == 2
    assert a.write(array.array("H", [1, 2])) == 4
    assert a.write(b"") == 0
    assert read_exactly(b, 8) == b"bamv" + array.array("H", [1, 2]).tobytes()


def test_big_transfer_both_ways_with_slow_readers(pair):
    a, b = pair
    there = random.Random(1).randbytes(10 << 20)
    back = random.Random(2).randbytes(10 << 20)

    def slow(conn, n, size):
        out = bytearray()
        count = 0
        while len(out) < n:
            out += conn.read(size, T)
            count += 1
            if count % 50 == 0:
                sleep(0.001)
        return out

    def slow_into(conn, n):
        out = bytearray(n)
        view = memoryview(out)
        done = 0
        while done < n:
            got = conn.readinto(view[done : done + 30000], T)
            assert got
            done += got
        return out

    gs = [
        ramet.go(a.write, there, T),
        ramet.go(b.write, memoryview(back), T),
        ramet.go(slow, b, len(there), 20_000),
        ramet.go(slow_into, a, len(back)),
    ]
    assert gs[0].join(T) == len(there)
    assert gs[1].join(T) == len(back)
    assert gs[2].join(T) == there
    assert gs[3].join(T) == back


def test_writes_of_several_goroutines_do_not_mix(pair):
    a, b = pair
    n = 500_000
    gs = [ramet.go(a.write, bytes([c]) * n, T) for c in b"xyz"]
    got = read_exactly(b, 3 * n)
    for g in gs:
        g.join(T)
    assert sorted({got[i * n : (i + 1) * n] for i in range(3)}) == [bytes([c]) * n for c in b"xyz"]


def test_a_thousand_connections_echo():
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < 2500:
        if hard < 2500:
            pytest.skip("RLIMIT_NOFILE is below 2500 and cannot be raised")
        resource.setrlimit(resource.RLIMIT_NOFILE, (2500, hard))
    before = fds()
    server = net.serve("127.0.0.1:0", echo)

    def client(i):
        with net.dial("tcp", server.addr, timeout=T) as conn:
            for j in range(3):
                msg = b"%d.%d" % (i, j)
                conn.write(msg, T)
                assert read_exactly(conn, len(msg)) == msg
            ready.send(None)
            go_on.recv_ok(T)

    ready, go_on = ramet.Chan(), ramet.Chan()
    gs = [ramet.go(client, i) for i in range(1000)]
    for _ in gs:
        ready.recv(T)
    assert len(server._active) == 1000  # all at once
    go_on.close()
    for g in gs:
        g.join(T)
    server.shutdown(T)
    gc.collect()
    until(lambda: fds() <= before + 8)  # the runtime's own, if this was its first use


def test_no_descriptor_is_lost():
    server = net.serve("127.0.0.1:0", echo)
    net.dial("tcp", server.addr).close()
    before = fds()
    for i in range(1000):
        with net.dial("tcp", server.addr, timeout=T) as conn:
            if i % 10 == 0:
                conn.write(b"x")
                assert conn.read(1, T) == b"x"
    until(lambda: not server._active)
    until(lambda: fds() <= before)
    server.close()
    server.wait(T)


# ---------------------------------------------------------------- addresses and objects


def test_addresses_are_as_socket_gives_them(pair, ln):
    a, b = pair
    assert ln.addr[0] == "127.0.0.1" and type(ln.addr[1]) is int
    assert a.remote_addr == ln.addr == b.local_addr
    assert a.local_addr == b.remote_addr
    with socket.socket(fileno=os.dup(a.fileno())) as s:
        assert s.getsockname() == a.local_addr
        assert s.getpeername() == a.remote_addr


def test_remote_addr_outlives_the_peer(ln):
    s = socket.create_connection(ln.addr)
    addr = s.getsockname()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()  # a reset
    with ln.accept(T) as conn:
        assert conn.remote_addr == addr


def test_sockets_are_non_blocking_cloexec_and_nodelay(pair):
    for c in pair:
        assert not os.get_blocking(c.fileno())
        assert not os.get_inheritable(c.fileno())
        with socket.socket(fileno=os.dup(c.fileno())) as s:
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_repr_says_what_it_is(pair, ln):
    a, _ = pair
    assert repr(a) == f"<ramet.net.Conn fd={a.fileno()} local={a.local_addr} remote={a.remote_addr}>"
    assert repr(ln) == f"<ramet.net.Listener fd={ln.fileno()} addr={ln.addr}>"
    a.close()
    assert "closed" in repr(a)


def test_types():
    assert net.Conn.__module__ == "ramet.net" and net.Conn.__qualname__ == "Conn"
    assert net.Listener.__module__ == "ramet.net"
    assert net.ErrClosed.__module__ == "ramet.net" and issubclass(net.ErrClosed, OSError)
    for t in (net.Conn, net.Listener):
        with pytest.raises(TypeError):
            t()
        with pytest.raises(TypeError):
            type("Sub", (t,), {})


def test_weakref_and_resource_warning(ln):
    conn = net.dial("tcp", ln.addr)
    fd = conn.fileno()
    ref = weakref.ref(conn)
    assert ref() is conn
    with pytest.warns(ResourceWarning, match=r"unclosed <ramet\.net\.Conn fd="):
        del conn
    assert ref() is None
    with pytest.raises(OSError):
        os.fstat(fd)
    lost = net.listen("tcp", "127.0.0.1:0")
    with pytest.warns(ResourceWarning, match=r"unclosed <ramet\.net\.Listener fd="):
        del lost


def test_a_goroutine_keeps_the_conn_that_it_waits_in(ln):
    a = net.dial("tcp", ln.addr)
    b = ln.accept(T)
    g = ramet.go(lambda c: c.read(10, T), b)
    del b
    parked(g)
    gc.collect()
    a.write(b"alive")
    with pytest.warns(ResourceWarning):  # the goroutine's end is the connection's
        assert g.join(T) == b"alive"
    assert a.read(1, T) == b""
    a.close()


def test_context_managers(ln):
    with net.dial("tcp", ln.addr) as conn:
        assert conn.fileno() >= 0
    with pytest.raises(ValueError), conn:
        pass
    with net.listen("tcp", "127.0.0.1:0") as other:
        pass
    with pytest.raises(ValueError):
        other.accept()


def test_use_after_close(pair, ln):
    a, _ = pair
    a.close()
    a.close()
    for call in (
        lambda: a.read(1),
        lambda: a.read(0),
        lambda: a.readinto(bytearray(1)),
        lambda: a.readinto(bytearray()),
        lambda: a.write(b"x"),
        lambda: a.write(b""),
        a.fileno,
        lambda: a.local_addr,
        lambda: a.remote_addr,
        lambda: a.set_deadline(None),
        lambda: a.set_read_deadline(None),
        lambda: a.set_write_deadline(None),
        a.__enter__,
    ):
        with pytest.raises(ValueError, match="on closed connection"):
            call()
    ln.close()
    ln.close()
    for call in (ln.accept, ln.fileno, lambda: ln.addr, ln.__enter__):
        with pytest.raises(ValueError, match="on closed listener"):
            call()
    assert list(ln) == []


# ---------------------------------------------------------------- deadlines and timeouts


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


# ---------------------------------------------------------------- closing and cancelling


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


# ---------------------------------------------------------------- dial and listen


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_refused():
    with pytest.raises(ConnectionRefusedError) as e:
        net.dial("tcp", ("127.0.0.1", free_port()), timeout=T)
    assert e.value.errno == errno.ECONNREFUSED
    assert "dialling tcp" in e.value.__notes__[0]


def test_unknown_host():
    for timeout in (None, T):
        with pytest.raises(socket.gaierror):
            net.dial("tcp", "no-such-host.invalid:80", timeout=timeout)
    with pytest.raises(socket.gaierror):
        net.lookup_host("no-such-host.invalid")
    with pytest.raises(socket.gaierror):
        net.listen("tcp", "no-such-host.invalid:0")


def test_a_slow_lookup_holds_nobody_up_and_obeys_the_timeout(monkeypatch, reports):
    def slow(*args):
        time.sleep(0.3)
        raise socket.gaierror(socket.EAI_NONAME, "no")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    t = time.monotonic()
    g = ramet.go(net.dial, "tcp", "slow.invalid:80", timeout=0.05)
    sleep(0.01)
    assert time.monotonic() - t < 0.2
    with pytest.raises(TimeoutError):
        g.join(T)
    assert time.monotonic() - t < 0.25
    g = ramet.go(net.dial, "tcp", "slow.invalid:80")
    sleep(0.01)
    g.cancel()
    with pytest.raises(ramet.GoroutineCancelled):
        g.join(T)
    with pytest.raises(TimeoutError):
        net.dial("tcp", "slow.invalid:80", timeout=0)
    sleep(0.4)
    gc.collect()
    assert reports == []


def test_every_address_is_tried(monkeypatch, ln):
    port = ln.addr[1]
    dead = free_port()

    def found(*addresses):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a: [(socket.AF_INET, 1, 6, "", a) for a in addresses])

    found(("127.0.0.1", dead), ("127.0.0.1", port))
    with net.dial("tcp", f"some.name:{port}", timeout=T) as c:
        assert c.remote_addr == ln.addr
    found(("127.0.0.1", dead), ("127.0.0.2", dead))
    with pytest.raises(ConnectionRefusedError):
        net.dial("tcp", f"some.name:{port}")
    found()
    with pytest.raises(socket.gaierror):
        net.dial("tcp", f"some.name:{port}")


def test_forms_of_addresses(ln):
    port = ln.addr[1]
    for network in ("tcp", "tcp4"):
        for address in (
            f"127.0.0.1:{port}",
            f":{port}",
            ("127.0.0.1", port),
            ("", port),
            (None, port),
            ("127.0.0.1", str(port)),
        ):
            with net.dial(network, address, timeout=T) as c:
                assert c.remote_addr == ln.addr
    with net.dial("tcp4", f"localhost:{port}", timeout=T) as c:
        assert c.remote_addr == ln.addr


def test_listen_on_every_interface():
    with net.listen("tcp", ":0") as ln:
        port = ln.addr[1]
        with net.dial("tcp4", f":{port}", timeout=T), ln.accept(T):
            pass
    with net.listen("tcp4", ":0") as ln:
        assert ln.addr[0] == "0.0.0.0"


@needs_ipv6
def test_ipv6():
    with net.listen("tcp", "[::1]:0") as ln:
        host, port, flow, scope = ln.addr
        assert (host, flow, scope) == ("::1", 0, 0)
        for address in (f"[::1]:{port}", ("::1", port), ("::1", port, 0, 0)):
            with net.dial("tcp6", address, timeout=T) as c, ln.accept(T) as s:
                assert c.remote_addr == ln.addr
                assert s.remote_addr == c.local_addr
    with net.listen("tcp6", ":0") as ln:
        assert ln.addr[0] == "::"
        with net.dial("tcp", ("::1", ln.addr[1]), timeout=T), ln.accept(T):
            pass
        with pytest.raises(ConnectionRefusedError):  # IPv6 only
            net.dial("tcp", ("127.0.0.1", ln.addr[1]), timeout=T)


def test_unix_socket():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "sock")
        with net.listen("unix", path) as ln:
            assert ln.addr == path
            with net.dial("unix", path, timeout=T) as a, ln.accept(T) as b:
                assert a.remote_addr == path == b.local_addr
                assert a.local_addr == "" == b.remote_addr
                a.write(b"x" * 100_000)
                assert read_exactly(b, 100_000) == b"x" * 100_000
                repr(a), repr(b)
            with pytest.raises(OSError) as e:
                net.listen("unix", path)
            assert e.value.errno == errno.EADDRINUSE
            with net.dial("unix", os.fsencode(path)):
                pass
        assert not os.path.exists(path)
        with pytest.raises(FileNotFoundError):
            net.dial("unix", path)


@pytest.mark.parametrize("name", ["@ramet-test-{}", "\0ramet-test-{}"])
def test_abstract_unix_socket(name):
    name = name.format(os.getpid())
    with net.listen("unix", name) as ln:
        assert ln.addr == b"\0" + name[1:].encode()
        for form in ("@" + name[1:], ln.addr):
            with net.dial("unix", form, timeout=T) as a, ln.accept(T) as b:
                a.write(b"hi")
                assert b.read(2, T) == b"hi"
                assert a.remote_addr == ln.addr


def test_unix_dial_waits_while_the_queue_is_full():
    with net.listen("unix", f"@ramet-full-{os.getpid()}", backlog=1) as ln:
        fill = []
        with pytest.raises(TimeoutError):
            for _ in range(5):
                fill.append(net.dial("unix", ln.addr, timeout=0.05))
        g = ramet.go(net.dial, "unix", ln.addr, timeout=T)
        sleep(0.01)
        ln.accept(T).close()
        g.join(T).close()
        for c in fill:
            c.close()


def test_reuse_port_and_address_in_use(ln):
    with pytest.raises(OSError) as e:
        net.listen("tcp", ln.addr)
    assert e.value.errno == errno.EADDRINUSE
    with net.listen("tcp", "127.0.0.1:0", reuse_port=True) as one:
        with net.listen("tcp", one.addr, reuse_port=True, backlog=7) as two:
            assert one.addr == two.addr


def test_lookup_host():
    assert "127.0.0.1" in net.lookup_host("localhost") or "::1" in net.lookup_host("localhost")
    assert net.lookup_host("127.0.0.1") == ["127.0.0.1"]
    assert net.lookup_host("::1") == ["::1"]


# ---------------------------------------------------------------- wrong arguments


def test_wrong_networks_and_addresses():
    for network in ("sctp", "TCP", "", "tcp5"):
        with pytest.raises(ValueError, match="'tcp', 'tcp4', 'tcp6'.* or 'unix"):
            net.dial(network, "127.0.0.1:1")
        with pytest.raises(ValueError, match="'tcp', 'tcp4', 'tcp6' or 'unix'"):
            net.listen(network, "127.0.0.1:1")
    with pytest.raises(TypeError, match="network"):
        net.dial(None, "127.0.0.1:1")
    for address in (
        "127.0.0.1",
        "",
        "127.0.0.1:",
        ":",
        "::1:80",
        "[::1]",
        "[::1",
        "[::1]80",
        "a]:80",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:8 0",
        ("127.0.0.1",),
        ("127.0.0.1", 70000),
        ("127.0.0.1", -1),
        ("::1", 1, 2, 3, 4),
        "h\0st:1",
    ):
        with pytest.raises(ValueError, match="bad address .* it is 'host:port'"):
            net.dial("tcp", address)
        with pytest.raises(ValueError, match="bad address"):
            net.listen("tcp", address)
    with pytest.raises(ValueError, match="IPv6 address does not go with network 'tcp4'"):
        net.dial("tcp4", "[::1]:1")
    with pytest.raises(ValueError, match="IPv4 address does not go with network 'tcp6'"):
        net.dial("tcp6", "127.0.0.1:1")
    for address in (80, None, ["127.0.0.1", 1], b"127.0.0.1:1", (1, 2), ("127.0.0.1", 1.0), ("127.0.0.1", None)):
        with pytest.raises(TypeError):
            net.dial("tcp", address)
    for path in ("", "a\0b", "x" * 108, b""):
        with pytest.raises(ValueError, match="unix"):
            net.dial("unix", path)
    with pytest.raises(TypeError):
        net.dial("unix", ("a", 1))


def test_wrong_arguments(pair, ln):
    a, _ = pair
    with pytest.raises(TypeError, match="timeout"):
        net.dial("tcp", ln.addr, timeout="1")
    with pytest.raises(ValueError, match="timeout"):
        net.dial("tcp", ln.addr, timeout=float("nan"))
    with pytest.raises(TypeError):
        net.dial("tcp", ln.addr, 1)
    with pytest.raises(TypeError):
        net.dial("tcp", ln.addr, tls=True)  # a later release's
    with pytest.raises(TypeError, match="backlog"):
        net.listen("tcp", ":0", backlog="1")
    with pytest.raises(ValueError, match="backlog"):
        net.listen("tcp", ":0", backlog=0)
    with pytest.raises(TypeError, match="name"):
        net.lookup_host(b"localhost")
    with pytest.raises(ValueError, match="name"):
        net.lookup_host("")

    for n in (None, "1", 1.0, b"1"):
        with pytest.raises(TypeError, match="n must be an int"):
            a.read(n)
    for n in (-1, -(1 << 70)):
        with pytest.raises(ValueError, match="n must not be negative"):
            a.read(n)
    with pytest.raises(TypeError, match="'n' is missing"):
        a.read()
    with pytest.raises(TypeError):
        a.read(1, 2, 3)
    with pytest.raises(TypeError, match="unexpected keyword"):
        a.read(1, tiemout=3)
    with pytest.raises(TypeError, match="timeout"):
        a.read(1, timeout="1")
    with pytest.raises(ValueError, match="timeout"):
        a.read(1, timeout=float("nan"))
    for b in ("text", 5, None, [1]):
        with pytest.raises(TypeError, match="b must be a contiguous bytes-like object"):
            a.write(b)
    with pytest.raises(TypeError, match="contiguous"):
        a.write(memoryview(b"abcd")[::2])
    for buf in (b"constant", "text", None):
        with pytest.raises(TypeError, match="buf must be a writable"):
            a.readinto(buf)
    with pytest.raises(TypeError, match="t must be a time"):
        a.set_deadline("now")
    with pytest.raises(ValueError, match="NaN"):
        a.set_deadline(float("nan"))
    with pytest.raises(TypeError, match="timeout"):
        ln.accept("soon")
    with pytest.raises(TypeError):
        ln.accept(1, 2)

    class Five:
        def __index__(self):
            return 5

    _.write(b"indexed")
    assert a.read(Five(), T) == b"index"


def test_wrong_arguments_of_serve(ln):
    with pytest.raises(TypeError, match="handler"):
        net.serve(ln, None)
    with pytest.raises(TypeError, match="listener_or_address"):
        net.serve(80, echo)
    with pytest.raises(TypeError, match="max_conns"):
        net.serve(ln, echo, max_conns="1")
    with pytest.raises(ValueError, match="max_conns"):
        net.serve(ln, echo, max_conns=0)
    with pytest.raises(ValueError, match="bad address"):
        net.serve("80", echo)


def test_another_thread_gets_a_runtime_error(pair, ln):
    a, b = pair
    calls = [
        lambda: a.read(1),
        lambda: a.readinto(bytearray(1)),
        lambda: a.write(b"x"),
        lambda: a.set_deadline(None),
        a.close,
        ln.accept,
        lambda: next(ln),
        ln.close,
        lambda: net.dial("tcp", ln.addr),
        lambda: net.listen("tcp", ":0"),
        lambda: net.serve("127.0.0.1:0", echo),
    ]
    seen = []

    def thread():
        for call in calls:
            try:
                seen.append(call())
            except BaseException as e:
                seen.append(e)
        seen.append((a.fileno(), a.local_addr, repr(a)))

    t = threading.Thread(target=thread)
    t.start()
    t.join(T)
    assert [type(e) for e in seen[:-1]] == [RuntimeError] * len(calls), seen
    assert all("OS thread" in str(e) for e in seen[:-1])
    assert seen[-1] == (a.fileno(), a.local_addr, repr(a))
    a.write(b"fine")
    assert b.read(10, T) == b"fine"


# ---------------------------------------------------------------- serve


def test_serve_address_and_listener():
    with net.serve("127.0.0.1:0", echo) as server:
        with net.dial("tcp", server.addr) as c:
            c.write(b"x")
            assert c.read(1, T) == b"x"
        assert "accepting" in repr(server)
    server.wait(T)
    assert server.addr[1]  # still known
    assert "ended" in repr(server)
    ln = net.listen("unix", f"@ramet-serve-{os.getpid()}")
    with net.serve(ln, echo) as server:
        assert server.addr == ln.addr
        with net.dial("unix", server.addr) as c:
            c.write(b"x")
            assert c.read(1, T) == b"x"
    with pytest.raises(ValueError):
        ln.accept()  # the server's to close


def test_serve_closes_what_the_handler_leaves_open():
    with net.serve("127.0.0.1:0", lambda conn: conn.write(b"bye")) as server:
        with net.dial("tcp", server.addr) as c:
            assert c.read(10, T) == b"bye"
            assert c.read(10, 2) == b""


def test_an_end_that_comes_together_with_the_connection_is_seen(ln):
    def serve():
        with ln.accept(T) as conn:
            conn.write(b"bye")

    for _ in range(3):
        g = ramet.go(serve)
        t = time.monotonic()
        with net.dial("tcp", ln.addr, timeout=T) as c:
            assert c.read(100, 1) == b"bye"
            assert c.read(100, 1) == b""
        g.join(T)
        assert time.monotonic() - t < 0.9  # and not at the timeout


def test_a_failing_handler_is_reported_and_the_server_goes_on(reports):
    def handler(conn):
        if conn.read(10, T) == b"fail":
            raise LookupError("of the handler")
        conn.write(b"ok")

    with net.serve("127.0.0.1:0", handler) as server:
        for i, (say, hear) in enumerate([(b"fail", b""), (b"fine", b"ok"), (b"fail", b""), (b"fine", b"ok")]):
            with net.dial("tcp", server.addr) as c:
                c.write(say)
                assert read_all(c) == hear
    server.wait(T)
    until(lambda: len(reports) == 2)
    assert [type(e) for e in reports] == [LookupError] * 2


def test_a_failing_handler_says_so_on_stderr():
    code = """
import ramet
from ramet import net
def handler(conn):
    raise LookupError("of the handler")
server = net.serve("127.0.0.1:0", handler)
for _ in range(2):
    with net.dial("tcp", server.addr) as c:
        assert c.read(1, 10) == b""
server.shutdown(10)
"""
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=T)
    assert r.returncode == 0, r.stderr
    assert r.stderr.count("LookupError: of the handler") == 2


def test_max_conns():
    busy = peak = 0
    release = ramet.Chan()

    def handler(conn):
        nonlocal busy, peak
        busy += 1
        peak = max(peak, busy)
        conn.write(b"!")
        release.recv_ok(T)
        busy -= 1

    server = net.serve("127.0.0.1:0", handler, max_conns=2)
    conns = [net.dial("tcp", server.addr) for _ in range(6)]
    until(lambda: busy == 2)
    sleep(0.05)
    assert busy == 2
    release.close()
    for c in conns:
        assert c.read(1, T) == b"!"
        c.close()
    server.shutdown(T)
    assert peak == 2 and busy == 0


def test_max_conns_and_close_while_waiting_for_a_slot():
    server = net.serve("127.0.0.1:0", echo, max_conns=1)
    with net.dial("tcp", server.addr) as c:
        c.write(b"x")
        assert c.read(1, T) == b"x"
        server.close()
        server.wait(T)


def test_shutdown_lets_handlers_end():
    release = ramet.Chan()

    def handler(conn):
        conn.read(1, T)
        release.recv_ok(T)
        conn.write(b"done")

    server = net.serve("127.0.0.1:0", handler)
    with net.dial("tcp", server.addr) as c:
        c.write(b"x")
        until(lambda: len(server._active) == 1)
        with pytest.raises(TimeoutError):
            server.shutdown(0.02)
        with pytest.raises(ConnectionRefusedError):
            net.dial("tcp", server.addr)
        with pytest.raises(TimeoutError):
            server.wait(0.01)
        g = ramet.go(server.wait)
        release.close()
        server.shutdown(T)
        g.join(T)
        assert read_all(c) == b"done"
    server.shutdown(T)
    server.close()


def test_close_cuts_handlers_off(reports):
    ended = []

    def handler(conn):
        try:
            conn.read(10)
        except BaseException as e:
            ended.append(type(e))
            raise

    def stubborn(conn):
        try:
            handler(conn)
        except ramet.Cancelled:
            conn.read(10)  # closed by now

    for fn in (handler, stubborn):
        ended.clear()
        server = net.serve("127.0.0.1:0", fn)
        conns = [net.dial("tcp", server.addr) for _ in range(3)]
        until(lambda: len(server._active) == 3)
        sleep(0.01)
        server.close()
        server.close()
        server.wait(T)
        assert len(ended) == 3 and set(ended) <= {ramet.Cancelled, net.ErrClosed}
        for c in conns:
            assert c.read(1, T) == b""
            c.close()
    gc.collect()
    sleep(0.01)
    assert reports == []


def test_close_of_a_server_whose_goroutines_have_not_begun():
    server = net.serve("127.0.0.1:0", echo)
    server.close()
    server.wait(T)
    server = net.serve("127.0.0.1:0", echo)
    with net.dial("tcp", server.addr) as c:
        while not server._active:
            ramet.gosched()
        server.close()
        server.wait(T)
        assert c.read(1, T) == b""


def test_serve_survives_running_out_of_descriptors(reports):
    server = net.serve("127.0.0.1:0", echo)
    with net.dial("tcp", server.addr) as first:
        first.write(b"x")
        assert first.read(1, T) == b"x"
        clients = [socket.socket() for _ in range(4)]
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        top = os.dup(0)
        os.close(top)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (top, limit[1]))
            with pytest.raises(OSError) as e:
                net.dial("tcp", server.addr)
            assert e.value.errno == errno.EMFILE
            for s in clients:
                s.connect(server.addr)
            sleep(0.1)
            assert len(server._active) == 1
            first.write(b"y")  # who is in is served
            assert first.read(1, T) == b"y"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        until(lambda: len(server._active) == 5)
        for s in clients:
            s.close()
        with net.dial("tcp", server.addr) as c:
            c.write(b"z")
            assert c.read(1, T) == b"z"
    server.shutdown(T)
    assert reports == []


def test_accept_reports_running_out_of_descriptors(ln):
    s = socket.create_connection(ln.addr)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = os.dup(0)
    os.close(top)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, limit[1]))
        with pytest.raises(OSError) as e:
            ln.accept(T)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert e.value.errno == errno.EMFILE
    ln.accept(T).close()
    s.close()


# ---------------------------------------------------------------- the process


def run_code(code):
    r = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=T)
    assert r.returncode == 0, r.stderr
    return r


def test_conns_that_outlive_the_runtime():
    r = run_code("""
import os, tempfile
import ramet
from ramet import net
path = os.path.join(tempfile.mkdtemp(), "s")
ln = net.listen("unix", path)
a = net.dial("unix", path)
b = ln.accept(1)
ramet.go(b.read, 1)
try:
    b.write(b"x")
    a.read(10, 1)
    a.read(10, 0.01)
except TimeoutError:
    print("ok")
""")
    assert r.stdout == "ok\n"
    assert "Fatal" not in r.stderr


def test_a_program_ends_although_a_server_runs():
    r = run_code("""
from ramet import net
def handler(conn):
    conn.read(1)
server = net.serve("127.0.0.1:0", handler)
c = net.dial("tcp", server.addr)
while not server._active:
    __import__("ramet").gosched()
c.close()
print("ok")
""")
    assert r.stdout == "ok\n"
    assert r.stderr == ""


def test_a_forked_child_uses_and_closes_what_it_inherits():
    r = run_code("""
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import ramet
from ramet import net
ln = net.listen("tcp", "127.0.0.1:0")
a = net.dial("tcp", ln.addr)
b = ln.accept(1)
g1, g2 = ramet.go(b.read, 100), ramet.go(b.read, 100)
ramet.gosched()
pid = os.fork()
if pid == 0:
    try:
        a.write(b"from the child")
        a.close()
        b.close()
        ln.close()
        with net.listen("tcp", "127.0.0.1:0") as mine, net.dial("tcp", mine.addr) as c, mine.accept(1) as d:
            c.write(b"x")
            assert d.read(1, 1) == b"x"
            try:
                d.read(1, 0.01)
            except TimeoutError:
                pass
            else:
                os._exit(3)
        os._exit(0)
    except BaseException as e:
        print(repr(e), flush=True)
        os._exit(2)
assert g1.join(5) == b"from the child"
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
a.write(b"from the parent")
assert g2.join(5) == b"from the parent"
with net.dial("tcp", ln.addr) as c, ln.accept(1):
    pass
for x in (a, b, ln):
    x.close()
print("ok")
""")
    assert r.stdout == "ok\n"
