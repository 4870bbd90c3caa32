"""serve: handlers, their failures, limits, shutdown and close."""

import errno
import gc
import os
import resource
import socket
import subprocess
import sys
import time

import pytest
import ramet
from helpers import T
from net_helpers import echo, read_all, until
from ramet import net
from ramet.time import sleep


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
            assert c.read(100, T) == b"bye"
            assert c.read(100, T) == b""
        g.join(T)
        assert time.monotonic() - t < T * 0.9  # and not at the timeout


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
    assert [type(e) for _, e in reports] == [LookupError] * 2


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
