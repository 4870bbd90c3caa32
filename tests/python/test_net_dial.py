"""dial of names with several addresses: happy eyeballs."""

import contextlib
import errno
import gc
import socket
import time

import pytest
import ramet
from helpers import T, parked, run_py, until
from net_helpers import fds, free_port
from ramet import _core, _dial, go, net
from ramet.time import sleep


@pytest.fixture
def silent():
    """The address of a listener whose queue is full: who connects waits."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(full.getsockname())
        yield full.getsockname()


@pytest.fixture
def refused():
    return ("127.0.0.1", free_port())


@pytest.fixture
def name(monkeypatch):
    """name(*addresses): those of the host "some.name"."""

    def resolve(*addresses):
        found = [(socket.AF_INET6 if len(a) == 4 else socket.AF_INET, 1, 6, "", a) for a in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: found)
        return "some.name:1"

    return resolve


@pytest.fixture
def tried(monkeypatch):
    """Hosts in the order in which they were tried; outcomes[host](timeout) is what comes of it, else it is refused."""

    class Tried(list):
        outcomes = {}

    seen = Tried()

    def connect(family, kind, address, timeout):
        seen.append(address[0])
        if address[0] in seen.outcomes:
            return seen.outcomes[address[0]](timeout)
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"refused by {address[0]}")

    monkeypatch.setattr(_core, "_connect", connect)
    return seen


def v4(i):
    return (f"10.0.0.{i}", 1)


def v6(i):
    return (f"fd00::{i}", 1, 0, 0)


def for_ever(timeout):
    if timeout is None:
        return ramet.Chan().recv()
    sleep(max(timeout, 0))
    raise TimeoutError("timed out")


# ---------------------------------------------------------------- which, when, and what comes of it


@pytest.mark.parametrize(
    "given, order",
    [
        ([v6(1), v6(2), v6(3), v4(1), v4(2)], [v6(1), v4(1), v6(2), v4(2), v6(3)]),
        ([v4(1), v4(2), v6(1)], [v4(1), v6(1), v4(2)]),
        ([v4(1), v6(1), v6(2), v6(3)], [v4(1), v6(1), v6(2), v6(3)]),
        ([v6(1), v6(2)], [v6(1), v6(2)]),
    ],
)
def test_families_alternate(name, tried, given, order):
    with pytest.raises(ConnectionRefusedError):
        net.dial("tcp", name(*given))
    assert tried == [a[0] for a in order]


def test_the_error_is_that_of_the_first_address_the_others_are_notes(name, tried):
    def no_route(timeout):
        raise OSError(errno.EHOSTUNREACH, "no route")

    tried.outcomes["10.0.0.2"] = no_route
    with pytest.raises(ConnectionRefusedError, match=r"10\.0\.0\.1") as e:
        net.dial("tcp", name(v4(1), v4(2), v6(1)))
    head, *rest = e.value.__notes__
    assert head == "dialling tcp 'some.name:1'"
    assert "fd00::1" in rest[0] and "refused by" in rest[0]
    assert "10.0.0.2" in rest[1] and "no route" in rest[1]
    assert len(rest) == 2


def test_one_address_needs_no_goroutine(name, ln, monkeypatch):
    address = name(ln.addr)
    monkeypatch.setattr(_core, "go", None)
    with net.dial("tcp", address) as c, net.dial("tcp", ln.addr):
        assert c.remote_addr == ln.addr


def test_after_a_failure_the_next_is_tried_at_once(name, refused, ln, monkeypatch):
    monkeypatch.setattr(_dial, "DELAY", 1000)
    with net.dial("tcp", name(refused, refused[:1] + (free_port(),), ln.addr), timeout=T) as c:
        assert c.remote_addr == ln.addr


def test_after_the_delay_the_next_is_tried_beside_it(name, silent, ln):
    began = time.monotonic()
    with net.dial("tcp", name(silent, ln.addr), timeout=T) as c:
        assert c.remote_addr == ln.addr
    assert time.monotonic() - began >= 0.25


def test_no_other_is_tried_before_its_time(name, tried):
    def soon(timeout):
        sleep(0.02)
        assert tried == ["10.0.0.1"]
        raise ConnectionResetError

    tried.outcomes["10.0.0.1"] = soon
    with pytest.raises(ConnectionResetError):
        net.dial("tcp", name(v4(1), v4(2)))
    assert tried == ["10.0.0.1", "10.0.0.2"]


def test_an_earlier_address_may_still_win(name, ln, monkeypatch):
    monkeypatch.setattr(_dial, "DELAY", 0.005)
    real = _core._connect
    order = []

    def connect(family, kind, address, timeout):
        order.append(address)
        if address == ln.addr:
            until(lambda: len(order) == 2, sleep=sleep)
            return real(family, kind, address, timeout)
        return for_ever(timeout)

    monkeypatch.setattr(_core, "_connect", connect)
    with net.dial("tcp", name(ln.addr, v4(9)), timeout=T) as c:
        assert c.remote_addr == ln.addr
    assert order == [ln.addr, v4(9)]


def test_timeout(name, silent, refused, monkeypatch):
    monkeypatch.setattr(_dial, "DELAY", 0.01)
    before = fds()
    with pytest.raises(TimeoutError) as e:
        net.dial("tcp", name(silent, refused, silent[:1] + (refused[1],)), timeout=0.1)
    assert len(e.value.__notes__) == 2  # the two addresses of the refusing port are one
    with pytest.raises(ConnectionRefusedError) as e:  # the first address's
        net.dial("tcp", name(refused, silent), timeout=0.05)
    assert any("timed out" in note for note in e.value.__notes__)
    with pytest.raises(TimeoutError):
        net.dial("tcp", name(silent, refused), timeout=0)
    assert fds() == before


def test_what_has_no_time_left_is_not_begun(name, tried):
    tried.outcomes["10.0.0.1"] = for_ever
    with pytest.raises(TimeoutError):
        net.dial("tcp", name(v4(1), v4(2)), timeout=0.02)
    assert tried == ["10.0.0.1"]


def test_a_failure_that_is_no_oserror_is_raised(name, tried):
    def broken(timeout):
        raise MemoryError

    tried.outcomes["10.0.0.1"] = broken
    with pytest.raises(MemoryError):
        net.dial("tcp", name(v4(1), v4(2)))


def test_errors_make_no_cycle(name, refused):
    address = name(refused, ("127.0.0.2", refused[1]))
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ConnectionRefusedError) as caught:
            net.dial("tcp", address)
        del caught
        assert not [o for o in gc.get_objects() if isinstance(o, ConnectionRefusedError)]
    finally:
        gc.enable()


def test_datagrams_need_no_goroutine(name, monkeypatch):
    with net.listen_packet("udp", "127.0.0.1:0") as p:
        address = name(p.addr, ("127.0.0.2", 1))
        monkeypatch.setattr(_core, "go", None)
        with net.dial("udp", address) as c:
            c.write(b"x")
            assert p.read_from(10, T) == (b"x", c.local_addr)


# ---------------------------------------------------------------- nothing is left


def test_the_losers_are_closed(name, ln, monkeypatch):
    """Several connect at the same time: one is given out, of the others the peer sees the end."""
    monkeypatch.setattr(_dial, "DELAY", 0)
    with net.listen("tcp", ("127.0.0.2", ln.addr[1])) as other:
        before = fds()
        for _ in range(50):
            c = net.dial("tcp", name(ln.addr, other.addr, v6(1)), timeout=T)
            assert fds() == before + 1 and ramet.num_goroutines() == 1
            c.close()
    while True:
        try:
            with ln.accept(timeout=0.05) as s:
                assert s.read(1, T) == b""
        except TimeoutError:
            break


KINDS = {
    "silent, good": lambda silent, refused, good: (silent, good),
    "refused, good": lambda silent, refused, good: (refused, good),
    "silent, refused, silent": lambda silent, refused, good: (silent, refused, ("127.0.0.1", silent[1])),
    "refused, refused": lambda silent, refused, good: (refused, ("127.0.0.2", refused[1])),
    "good, good": lambda silent, refused, good: (good, ("127.0.0.2", good[1]), ("127.0.0.3", good[1])),
    "one": lambda silent, refused, good: (silent,),
}


@pytest.fixture(params=KINDS)
def host(request, name, silent, refused):
    with net.listen("tcp", "0.0.0.0:0") as every:
        yield name(*KINDS[request.param](silent, refused, ("127.0.0.1", every.addr[1])))


@pytest.mark.parametrize("delay", [0, 0.001, 0.01])
def test_cancelled_at_any_moment(host, monkeypatch, delay):
    monkeypatch.setattr(_dial, "DELAY", delay)
    before, goroutines = fds(), ramet.num_goroutines()
    ended = 0
    for steps in range(80):
        g = go(net.dial, "tcp", host)
        for step in range(steps):
            if step % 4 == 3:
                sleep(0.0005)
            else:
                ramet.gosched()
        g.cancel()
        try:
            g.join(T).close()
            ended += 1
        except ramet.GoroutineCancelled:
            pass
        except ConnectionRefusedError:
            ended += 1
        assert fds() == before and ramet.num_goroutines() == goroutines, steps
        if ended == 3:
            break


def test_timed_out_at_any_moment(host, monkeypatch):
    monkeypatch.setattr(_dial, "DELAY", 0.002)
    before = fds()
    for i in range(40):
        with contextlib.suppress(OSError):  # its own timeout
            net.dial("tcp", host, timeout=i * 0.0002).close()
        with ramet.move_on_after(i * 0.0002), contextlib.suppress(OSError):  # a scope's
            net.dial("tcp", host, timeout=T).close()
        assert fds() == before
    until(lambda: ramet.num_goroutines() == 1, sleep=sleep)  # a lookup that was given up ends when it can


def test_many_at_once(name, refused, silent, ln, monkeypatch):
    monkeypatch.setattr(_dial, "DELAY", 0.001)
    address = name(refused, silent, ln.addr)
    before = fds()
    gs = [go(net.dial, "tcp", address, timeout=T) for _ in range(100)]
    parked(gs[-1])
    for i, g in enumerate(gs):
        if i % 3 == 0:
            g.cancel()
    conns = []
    for i, g in enumerate(gs):
        try:
            conns.append(g.join(T))
        except ramet.GoroutineCancelled:
            assert i % 3 == 0
    assert len(conns) >= 66
    assert all(c.remote_addr == ln.addr for c in conns)
    for c in conns:
        c.close()
    assert fds() == before


def test_the_end_of_run_ends_a_race():
    ended = run_py("""
import os, socket
import ramet.time
from ramet import net
full = socket.socket()
full.bind(("127.0.0.1", 0))
full.listen(0)
fill = [socket.socket() for _ in range(3)]
for s in fill:
    s.setblocking(False)
    s.connect_ex(full.getsockname())
socket.getaddrinfo = lambda *a: [(2, 1, 6, "", full.getsockname()), (2, 1, 6, "", ("127.0.0.1", 1))]
def main():
    ramet.go(net.dial, "tcp", "some.name:1")
    ramet.time.sleep(0.3)
    return ramet.num_goroutines()
def sockets():
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in os.listdir("/proc/self/fd")[:-1])
before = sockets()
print(ramet.run(main), ramet.num_goroutines(), sockets() - before)
""")
    assert (ended.out, ended.err) == ("3 1 0\n", ""), str(ended)
