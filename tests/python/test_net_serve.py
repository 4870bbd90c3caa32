"""Servers under pressure: no descriptors, no memory, no slots; and how they end."""

import gc
import socket
import struct

import pytest
import ramet
from helpers import T, finish, start_py, until
from net_helpers import echo
from ramet import _core, go, net
from ramet.time import sleep

# ---------------------------------------------------------------- no descriptors

FEW = """
import errno, resource, sys, time
import ramet
from ramet import net
from ramet.time import sleep
tries = 0
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
def echo(conn):
    while data := conn.read(4096):
        conn.write(data)
"""

SERVE = """
server = net.serve("127.0.0.1:0", echo)
addr = server.addr
"""

BY_HAND = """
ln = net.listen("tcp", "127.0.0.1:0")
addr = ln.addr
def handle(conn):
    with conn:
        echo(conn)
def accept():
    global tries
    while True:
        try:
            for conn in ln:
                ramet.go(handle, conn)
                del conn
            return
        except OSError as e:
            assert e.errno == errno.EMFILE
            tries += 1
            sleep(0.01)
ramet.go(accept)
"""

END = """
print(addr[1], flush=True)
busy = time.process_time()
began = time.monotonic()
ramet.blocking(sys.stdin.readline)  # now there is nobody it could accept
print((time.process_time() - busy) / (time.monotonic() - began), flush=True)
ramet.blocking(sys.stdin.read)
print(tries, flush=True)
"""


@pytest.mark.parametrize("how", ["serve", "by hand"])
def test_more_clients_than_descriptors(how):
    """All are served, a few at a time; meanwhile the server neither ends nor spins."""
    p = start_py(FEW + (SERVE if how == "serve" else BY_HAND) + END, stdin=-1)
    try:
        address = ("127.0.0.1", int(ramet.blocking(p.stdout.readline)))
        clients = [net.dial("tcp", address, timeout=T) for _ in range(100)]
        for i, c in enumerate(clients):
            c.write(b"%d" % i)
        answered = []

        def ask(i):
            assert clients[i].read(10, T) == b"%d" % i
            answered.append(i)

        gs = [go(ask, i) for i in range(100)]
        until(lambda: len(answered) >= 10, sleep=sleep)
        sleep(0.3)
        assert len(answered) <= 30  # so many descriptors there are
        for i in answered:  # who is in is served
            clients[i].write(b"again")
            assert clients[i].read(10, T) == b"again"
        p.stdin.write("\\n")
        p.stdin.flush()
        closed = set()
        while len(answered) < 100:
            for i in answered:
                if i not in closed:
                    closed.add(i)
                    clients[i].close()
            sleep(0.01)
        for g in gs:
            g.join(T)
        for c in clients:
            c.close()
        with net.dial("tcp", address, timeout=T) as c:
            c.write(b"x")
            assert c.read(1, T) == b"x"
    finally:
        ended = ramet.blocking(finish, p)
    load, tries = ended.out.split()
    assert float(load) < 0.5
    assert ended.err == "", str(ended)
    assert how == "serve" or int(tries) > 0


def test_no_memory_for_a_goroutine(monkeypatch, reports):
    """The connection is closed, the server goes on."""
    server = net.serve("127.0.0.1:0", echo, max_conns=1)
    real, failures = _core._go_then, [1, 2]

    def fail(*args):
        if args[1] == server._handle and failures:
            failures.pop()
            raise MemoryError
        return real(*args)

    monkeypatch.setattr(_core, "_go_then", fail)
    for _ in range(2):
        with net.dial("tcp", server.addr, timeout=T) as c:
            assert c.read(1, T) == b""
    with net.dial("tcp", server.addr, timeout=T) as c:
        c.write(b"x")
        assert c.read(1, T) == b"x"
    server.shutdown(T)
    gc.collect()
    assert reports == [] and failures == []


# ---------------------------------------------------------------- slots


def test_slots_come_back_whatever_a_handler_does(reports):
    now = peak = calls = 0

    def handler(conn):
        nonlocal now, peak, calls
        calls += 1
        now += 1
        peak = max(peak, now)
        try:
            what = conn.read(1)
            if what == b"r":
                raise ValueError("a handler's own")
            if what == b"c":
                ramet.current().cancel()
                if calls % 2:
                    sleep(1)
        finally:
            now -= 1

    server = net.serve("127.0.0.1:0", handler, max_conns=3)
    conns = [net.dial("tcp", server.addr, timeout=T) for _ in range(60)]
    until(lambda: now == 3, sleep=sleep)
    for i, c in enumerate(conns):
        if i % 5:
            c.write(b" rcx"[i % 4 : i % 4 + 1])
        c.close()
    until(lambda: calls == 60, sleep=sleep)
    server.shutdown(T)
    gc.collect()
    sleep(0.01)
    assert peak == 3 and now == 0
    assert all(type(e) is ValueError for _, e in reports) and len(reports) == 12


def test_a_handler_that_ends_while_the_server_is_closed_is_counted():
    """Its wait is over when close() cancels it: it meets no cancellation point before it ends."""
    go_on = ramet.Chan()
    server = net.serve("127.0.0.1:0", lambda conn: go_on.recv(), max_conns=2)
    with net.dial("tcp", server.addr):
        until(lambda: server._active and next(iter(server._active.values())).state == "chan receive", sleep=sleep)
        with pytest.raises(TimeoutError):
            server.shutdown(0.01)
        go_on.send(None)
        server.close()
        server.wait(T)


# ---------------------------------------------------------------- the end


def test_shutdown_by_several_while_clients_come_and_go():
    server = net.serve("127.0.0.1:0", echo)
    done = 0

    def client():
        nonlocal done
        for _ in range(20):
            try:
                with net.dial("tcp", server.addr, timeout=T) as c:
                    c.write(b"x")
                    if c.read(1, T) != b"x":
                        return
                    done += 1
            except ConnectionError:  # not accepted any more
                return

    gs = [go(client) for _ in range(20)]
    until(lambda: done > 20, sleep=sleep)
    waiters = [go(server.shutdown, T) for _ in range(3)] + [go(server.wait, T)]
    for g in waiters + gs:
        g.join(T)
    assert not server._active
    with pytest.raises(ConnectionRefusedError):
        net.dial("tcp", server.addr, timeout=T)


def test_shutdown_serves_who_is_in_to_the_end():
    """Who was accepted gets the whole answer, who comes later is refused."""
    begun, go_on = ramet.Chan(10), ramet.Chan()

    def handler(conn):
        begun.send(None)
        go_on.recv_ok(T)
        conn.write(bytes(1_000_000))

    server = net.serve("127.0.0.1:0", handler)
    conns = [net.dial("tcp", server.addr, timeout=T) for _ in range(5)]
    for _ in conns:
        begun.recv(T)
    g = go(server.shutdown, T)
    until(lambda: "ending" in repr(server), sleep=sleep)
    with pytest.raises(ConnectionRefusedError):
        net.dial("tcp", server.addr, timeout=T)
    go_on.close()
    for c in conns:
        assert c.read_exactly(1_000_000, T) == bytes(1_000_000)
        assert c.read(1, T) == b""
        c.close()
    g.join(T)


def test_shutdown_while_it_waits_for_descriptors(monkeypatch):
    """Its pause does not hold the end up."""
    server = net.serve("127.0.0.1:0", echo)

    class Listener:
        def accept(self):
            raise OSError(24, "Too many open files")

        def close(self):
            real.close()

    real, server._listener = server._listener, Listener()
    net.dial("tcp", server.addr, timeout=T).close()  # it is in the real accept
    until(lambda: server._accepter.state == "sleep", sleep=sleep)
    server.shutdown(T)
    server.wait(T)


# ---------------------------------------------------------------- listeners


def test_reuse_port_spreads_over_two_listeners():
    counts = [0, 0]

    def handler(i):
        def handle(conn):
            counts[i] += 1
            echo(conn)

        return handle

    first = net.listen("tcp", "127.0.0.1:0", reuse_port=True)
    second = net.listen("tcp", first.addr, reuse_port=True)
    with net.serve(first, handler(0)) as a, net.serve(second, handler(1)) as b:
        for _ in range(200):
            with net.dial("tcp", a.addr, timeout=T) as c:
                c.write(b"x")
                assert c.read(1, T) == b"x"
        assert sum(counts) == 200 and min(counts) > 20
        a.shutdown(T)  # the other one goes on
        for _ in range(20):
            with net.dial("tcp", b.addr, timeout=T) as c:
                c.write(b"x")
                assert c.read(1, T) == b"x"
    b.wait(T)


def queue(ln):
    """(connections that wait to be accepted, how many may)."""
    with socket.fromfd(ln.fileno(), socket.AF_INET, socket.SOCK_STREAM) as s:
        info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("II", info, 24)


def test_backlog():
    with open("/proc/sys/net/core/somaxconn") as f:
        most = int(f.read())
    for given, is_now in [(1, 1), (7, 7), (None, most), (0x7FFFFFFF, most)]:
        with net.listen("tcp", "127.0.0.1:0", backlog=given) as ln:
            assert queue(ln) == (0, is_now)
            if given == 7:
                conns = [net.dial("tcp", ln.addr, timeout=T) for _ in range(7)]
                until(lambda: queue(ln)[0] == 7, sleep=sleep)
                for c in conns:
                    ln.accept(T).close()
                    c.close()
                assert queue(ln)[0] == 0


def test_a_full_backlog_waits_for_accept():
    with net.listen("tcp", "127.0.0.1:0", backlog=1) as ln:
        conns = []
        with pytest.raises(TimeoutError):
            for _ in range(10):
                conns.append(net.dial("tcp", ln.addr, timeout=0.2))
        assert 1 <= len(conns) <= 3
        g = go(net.dial, "tcp", ln.addr, timeout=T)
        for c in conns:
            ln.accept(T).close()
            c.close()
        g.join(T).close()  # the system tries again after a second
