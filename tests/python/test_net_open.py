"""dial and listen: every form of address, names, Unix sockets, what is refused."""

import errno
import gc
import os
import socket
import tempfile
import threading

import pytest
import ramet
from helpers import T, until
from net_helpers import free_port, needs_ipv6, read_exactly
from ramet import net
from ramet.time import sleep


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
    go_on = threading.Event()

    def slow(*args):
        assert go_on.wait(T)
        raise socket.gaierror(socket.EAI_NONAME, "no")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    g = ramet.go(net.dial, "tcp", "slow.invalid:80", timeout=0.05)
    with pytest.raises(TimeoutError):
        g.join(T / 2)
    g = ramet.go(net.dial, "tcp", "slow.invalid:80")
    sleep(0.01)
    g.cancel()
    with pytest.raises(ramet.GoroutineCancelled):
        g.join(T)
    with pytest.raises(TimeoutError):
        net.dial("tcp", "slow.invalid:80", timeout=0)
    go_on.set()
    until(lambda: ramet.stats()["pool_threads"] == ramet.stats()["pool_idle"], sleep=sleep)
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
