"""ramet.net: connections and listeners: reading, writing, and what they tell of themselves."""

import contextlib
import gc
import os
import random
import resource
import socket
import weakref

import pytest
import ramet
from helpers import T
from net_helpers import echo, fds, parked, read_exactly, until
from ramet import net
from ramet.time import sleep

# ---- reading and writing ----------------------------------------------------------------------------


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


# ---- addresses and objects --------------------------------------------------------------------------


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
