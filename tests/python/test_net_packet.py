"""ramet.net: datagrams, and the names of addresses."""

import gc
import os
import socket
import threading

import pytest
from helpers import T, parked
from ramet import GoroutineCancelled, go, net
from ramet.time import monotonic


@pytest.fixture(params=["udp", "unixgram"])
def two(request, tmp_path):
    addresses = ["127.0.0.1:0"] * 2 if request.param == "udp" else [str(tmp_path / "a"), str(tmp_path / "b")]
    with net.listen_packet(request.param, addresses[0]) as a, net.listen_packet(request.param, addresses[1]) as b:
        yield a, b


def test_there_and_back(two):
    a, b = two
    assert a.write_to(b"hello", b.addr) == 5
    assert a.write_to(bytearray(b""), b.addr, timeout=T) == 0
    assert a.write_to(memoryview(b"abcdef"), b.addr, T) == 6
    assert b.read_from(100, T) == (b"hello", a.addr)
    assert b.read_from(n=100, timeout=T) == (b"", a.addr)
    data, addr = b.read_from(3, T)  # the rest of it is lost
    assert data == b"abc"
    b.write_to(b"back", addr)
    assert a.read_from(1 << 40, T) == (b"back", b.addr)


def test_a_reader_waits(two):
    a, b = two
    gs = [go(b.read_from, 100) for _ in range(3)]
    parked(*gs, state="io wait")
    for i in range(3):
        a.write_to(b"%d" % i, b.addr)
    assert [g.result(T)[0] for g in gs] == [b"0", b"1", b"2"]


def test_large(two):
    a, b = two
    data = os.urandom(60_000)
    a.write_to(data, b.addr)
    assert b.read_from(65536, T) == (data, a.addr)
    with pytest.raises(OSError):
        a.write_to(bytes(10_000_000), b.addr)


def test_timeout_deadline_cancel(two):
    a, b = two
    with pytest.raises(TimeoutError):
        b.read_from(1, 0.002)
    b.set_read_deadline(monotonic() - 1)
    a.write_to(b"x", b.addr)
    with pytest.raises(TimeoutError):
        b.read_from(1)
    b.set_deadline(None)
    assert b.read_from(1, T)[0] == b"x"
    a.set_write_deadline(monotonic() - 1)
    with pytest.raises(TimeoutError):
        a.write_to(b"x", b.addr)
    g = go(b.read_from, 1)
    parked(g, state="io wait")
    g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled)


def test_close(two):
    a, b = two
    g = go(b.read_from, 1)
    parked(g, state="io wait")
    addr = b.addr
    assert b.fileno() >= 0 and "PacketConn fd=" in repr(b)
    b.close()
    b.close()
    with pytest.raises(net.ErrClosed):
        g.join(T)
    for use in (lambda: b.read_from(1), lambda: b.write_to(b"", addr), lambda: b.addr, b.fileno):
        with pytest.raises(ValueError, match="closed packet connection"):
            use()
    assert "closed" in repr(b)
    if isinstance(addr, str):
        assert not os.path.exists(addr)
        with pytest.raises(FileNotFoundError):
            a.write_to(b"x", addr)


def test_arguments(two):
    a, b = two
    with pytest.raises(TypeError, match="write_to: data must be a contiguous bytes-like object, not str"):
        a.write_to("x", b.addr)
    with pytest.raises(TypeError, match="address is a"):
        a.write_to(b"x", 5)
    with pytest.raises(ValueError, match="read_from: n must not be negative: -1"):
        a.read_from(-1)
    with pytest.raises(ValueError, match="network must be 'udp', 'udp4', 'udp6' or 'unixgram', not 'tcp'"):
        net.listen_packet("tcp", ":0")
    with pytest.raises(ValueError, match="network must be 'tcp'.* not 'udp'"):
        net.listen("udp", ":0")
    with pytest.raises(ValueError, match="IPv6 address does not go with network 'udp4'"):
        net.listen_packet("udp4", "[::1]:0")
    with net.listen_packet("udp", "127.0.0.1:0") as c:
        with pytest.raises(ValueError, match="'localhost' is no numeric address"):
            c.write_to(b"x", ("localhost", 1))
        with pytest.raises(OSError) as e:
            net.listen_packet("udp", c.addr)
        assert isinstance(e.value, OSError) and "listening on udp" in e.value.__notes__[0]


def test_a_sender_without_an_address(tmp_path):
    path = str(tmp_path / "s")
    with net.listen_packet("unixgram", path) as server, net.dial("unixgram", path) as conn:
        conn.write(b"hello")
        assert server.read_from(100, T) == (b"hello", None)


def test_abstract_name():
    name = f"@ramet-packet-{os.getpid()}"
    with net.listen_packet("unixgram", name) as server, net.dial("unixgram", name) as conn:
        conn.write(b"hello")
        assert server.read_from(100, T)[0] == b"hello"
        assert server.addr == b"\0" + name[1:].encode()


@pytest.mark.parametrize("network", ["udp", "udp4"])
def test_dial(network):
    with net.listen_packet(network, "127.0.0.1:0") as server, net.dial(network, server.addr, timeout=T) as conn:
        conn.write(b"one")
        conn.writev([b"tw", b"o"])
        assert server.read_from(100, T) == (b"one", conn.local_addr)
        assert server.read_from(100, T) == (b"two", conn.local_addr)
        assert conn.remote_addr == server.addr
        server.write_to(b"answer", conn.local_addr)
        assert conn.read(100, T) == b"answer"
        for read in (conn.readline, lambda: conn.read_until(b"x"), lambda: conn.read_exactly(1), lambda: next(conn)):
            with pytest.raises(OSError, match="datagrams are no stream"):
                read()


def test_nobody_there():
    with net.listen_packet("udp", "127.0.0.1:0") as server:
        addr = server.addr
    with net.dial("udp", addr) as conn:
        conn.write(b"x")
        with pytest.raises(ConnectionRefusedError):
            conn.read(1, T)


def test_with_a_plain_socket():
    with net.listen_packet("udp", ":0") as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(T)
        s.bind(("127.0.0.1", 0))
        s.sendto(b"ping", ("127.0.0.1", server.addr[1]))
        data, addr = server.read_from(100, T)
        server.write_to(data[::-1], addr)
        assert s.recv(100) == b"gnip"


def test_other_threads_are_refused(two):
    a, b = two
    seen = []

    def work():
        for use in (lambda: a.read_from(1), lambda: a.write_to(b"x", b_addr), lambda: net.listen_packet("udp", ":0")):
            try:
                use()
            except RuntimeError as e:
                seen.append(str(e))

    b_addr = b.addr
    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert len(seen) == 3 and "PacketConn.read_from()" in seen[0]


def test_dropped():
    p = net.listen_packet("udp", "127.0.0.1:0")
    with pytest.warns(ResourceWarning, match="unclosed <ramet.net.PacketConn"):
        del p
        gc.collect()


def test_lookup_addr(monkeypatch):
    monkeypatch.setattr(socket, "gethostbyaddr", lambda ip: ("one.test", ["two.test", "one.test"], [ip]))
    assert net.lookup_addr("127.0.0.1") == net.lookup_addr("::1") == ["one.test", "two.test"]
    with pytest.raises(ValueError, match="ip must be a numeric address, not 'localhost'"):
        net.lookup_addr("localhost")
    with pytest.raises(TypeError, match="ip must be a str, not int"):
        net.lookup_addr(1)
