"""What ramet.net says to wrong arguments, and to other threads."""

import threading

import pytest
from helpers import T
from net_helpers import echo
from ramet import net


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
