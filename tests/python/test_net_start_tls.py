"""TLS that begins on a connection that has been in use, and what is wrong with TLS."""

import contextlib
import select as system_select
import ssl
import threading

import pytest
import ramet
from helpers import T, parked
from ramet import Cancelled, GoroutineCancelled, go, net
from tls_helpers import client_context, connected, server_context


@pytest.fixture
def pair():
    with connected() as both:
        yield both


# ---- start_tls ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def plain_pair():
    with net.listen("tcp", "127.0.0.1:0") as listener:
        with net.dial("tcp", listener.addr, timeout=T) as a, listener.accept(T) as b:
            yield a, b


def test_start_tls():
    with plain_pair() as (a, b):

        def server():
            assert b.readline(timeout=T) == b"STARTTLS\n"
            b.write(b"go ahead\n")
            b.start_tls(server_context(), server_side=True, timeout=T)
            b.write(b.readline(timeout=T).upper())

        g = go(server)
        a.write(b"STARTTLS\n")
        assert a.readline(timeout=T) == b"go ahead\n"
        assert a.tls is None
        assert a.start_tls(client_context(), server_hostname="localhost", timeout=T) is None
        a.write(b"inside\n")
        assert a.readline(timeout=T) == b"INSIDE\n"
        assert a.tls.version().startswith("TLSv1") and b.tls.server_side
        g.join(T)
        with pytest.raises(ValueError, match="TLS already"):
            a.start_tls(client_context(), server_hostname="localhost")


def hello():
    """What a client's handshake begins with."""
    out = ssl.MemoryBIO()
    obj = client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        obj.do_handshake()
    return out.read()


def test_a_handshake_that_was_read_ahead():
    with plain_pair() as (a, b):
        a.write(b"STARTTLS\n" + hello())
        assert b.readline(timeout=T) == b"STARTTLS\n"
        g = go(b.start_tls, server_context(), server_side=True)
        answer = a.read_exactly(5, T)
        assert answer[0] == 22  # a handshake record
        g.cancel()
        with pytest.raises(GoroutineCancelled):
            g.join(T)


def test_commands_sent_ahead_are_not_obeyed():
    with plain_pair() as (a, b):
        a.write(b"STARTTLS\nRUN AS ROOT\n" + hello())
        assert b.readline(timeout=T) == b"STARTTLS\n"
        with pytest.raises(ssl.SSLError):
            b.start_tls(server_context(), server_side=True, timeout=T)
        with pytest.raises(ssl.SSLError):
            b.readline(timeout=T)


def test_a_writer_that_waits_for_its_turn_is_encrypted():
    with plain_pair() as (a, b):
        shaking = go(a.start_tls, client_context(), server_hostname="localhost")
        parked(shaking)
        writing, reading = go(a.write, b"for TLS alone"), go(a.read, 10)
        parked(writing, reading)
        b.start_tls(server_context(), server_side=True, timeout=T)
        assert b.read(100, T) == b"for TLS alone"
        b.write(b"me too")
        assert reading.join(T) == b"me too"
        shaking.join(T)
        writing.join(T)


# ---- what is wrong -------------------------------------------------------------------------------------------------------------


def test_bad_arguments(tmp_path):
    ctx = client_context()
    for bad in (True, "ctx", object()):
        with pytest.raises(TypeError, match=r"tls must be an ssl\.SSLContext"):
            net.dial("tcp", "127.0.0.1:1", tls=bad)
        with pytest.raises(TypeError, match=r"tls must be an ssl\.SSLContext"):
            net.listen("tcp", "127.0.0.1:0", tls=bad)
    with pytest.raises(ValueError, match="datagrams"):
        net.dial("udp", "127.0.0.1:1", tls=ctx)
    with pytest.raises(ValueError, match="server_hostname goes with tls"):
        net.dial("tcp", "127.0.0.1:1", server_hostname="x")
    with pytest.raises(TypeError, match="server_hostname must be a str"):
        net.dial("tcp", "127.0.0.1:1", tls=ctx, server_hostname=b"x")
    with pytest.raises(ValueError, match="client's context"):
        net.listen("tcp", "127.0.0.1:0", tls=ctx)
    with net.listen("tcp", "127.0.0.1:0") as listener:
        with pytest.raises(ValueError, match="tls goes with an address"):
            net.serve(listener, print, tls=ctx)
        with net.dial("tcp", listener.addr) as conn:
            assert conn.tls is None
            assert conn.handshake() is None
            with pytest.raises(TypeError, match=r"context must be an ssl\.SSLContext"):
                conn.start_tls(None)
            with pytest.raises(TypeError, match="server_hostname must be a str"):
                conn.start_tls(ctx, server_hostname=1)
            with pytest.raises(ValueError, match="server_hostname"):
                conn.start_tls(ctx)
            assert conn.tls is None
            listener.accept().close()
            assert conn.read(1, T) == b""


def test_cancelled_before_it_begins(pair):
    a, _ = pair

    def run():
        ramet.current().cancel()
        with pytest.raises(Cancelled):
            a.write(b"x")
        ramet.current().cancel()
        with pytest.raises(Cancelled):
            a.read(1)
        return True

    assert go(run).join(T)


def test_threads_of_the_ssl_module_are_not_disturbed(pair):
    """OpenSSL keeps its errors by thread: a connection that fails here spoils none there."""
    a, b = pair
    stop = threading.Event()

    def fail():
        with net.listen("tcp", "127.0.0.1:0", tls=server_context()) as listener:
            while not stop.is_set():
                with net.dial("tcp", listener.addr) as plain, listener.accept(T) as conn:
                    plain.write(b"nonsense" * 10)
                    with pytest.raises(ssl.SSLError):
                        conn.read(1, T)

    g = go(fail)
    for i in range(200):
        a.write(b"%d\n" % i)
        assert b.readline(timeout=T) == b"%d\n" % i
    stop.set()
    g.join(T)
    assert system_select.select([b], [], [], 0) == ([], [], [])
