"""TLS on ramet.net's connections: between each other, and with the ssl module's sockets in threads."""

import contextlib
import gc
import hashlib
import io
import os
import pathlib
import random
import socket
import ssl
import weakref

import pytest
import ramet
from helpers import T, parked, until
from ramet import GoroutineCancelled, default, go, gosched, net, readable, select
from ramet.time import monotonic, sleep
from tls_helpers import CERTS, client_context, connected, server_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=lambda v: v.name)
def pair(request):
    with connected(client=client_context(maximum_version=request.param)) as both:
        yield both


def in_thread(fn, *args):
    """Run it in an OS thread; a function that waits for its result, parked."""
    return go(ramet.blocking, fn, *args).join


# ---- both ends ours -----------------------------------------------------------------------------------------------------


def test_every_way_to_read_and_write(pair):
    a, b = pair
    assert a.write(b"hello\nworld") == 11
    assert b.readline(timeout=T) == b"hello\n"
    assert b.read_exactly(2, T) == b"wo"
    assert b.read(100, T) == b"rld"
    assert b.writev([b"a", b"", bytearray(b"bc"), b"def" * 10_000]) == 30_003
    assert a.read_until(b"abc"[:3], timeout=T) == b"abc"
    assert a.read_exactly(30_000, T) == b"def" * 10_000
    buf = bytearray(10)
    a.write(memoryview(b"0123456789abc"))
    assert b.readinto(buf, T) == 10 and buf == b"0123456789"
    assert b.read(3, T) == b"abc"
    assert b.sendfile(io.BytesIO(b"from a file"), 5) == 6
    assert a.read_exactly(6, T) == b"a file"
    with open(__file__, "rb") as f:
        size = b.sendfile(f)
    assert a.read_exactly(size, T) == pathlib.Path(__file__).read_bytes()
    a.write(b"1\n2\n")
    a.close()
    assert list(b) == [b"1\n", b"2\n"]
    assert b.read(1, T) == b""


def test_nothing_of_it_is_readable_underway():
    with net.listen("tcp", "127.0.0.1:0") as listener, net.listen("tcp", "127.0.0.1:0", tls=server_context()) as behind:
        seen = []

        def pump(src, dst):
            while data := src.read(65536):
                seen.append(data)
                dst.write(data)
            with contextlib.suppress(OSError):
                dst.close_write()

        def between():
            with listener.accept(T) as outer, net.dial("tcp", behind.addr, timeout=T) as inner:
                back = go(pump, inner, outer)
                pump(outer, inner)
                back.join(T)

        tap = go(between)
        server = go(lambda: (conn := behind.accept(T), conn.handshake(T))[0])
        with net.dial("tcp", listener.addr, tls=client_context(), timeout=T) as a:
            with server.join(T) as b:
                reader = go(b.read, 100)
                a.write(b"the secret that is told")
                assert reader.join(T) == b"the secret that is told"
                got = go(a.read, 100)
                b.write(b"the answer that is given")
                assert got.join(T) == b"the answer that is given"
        tap.join(T)
        assert len(b"".join(seen)) > 500 and b"secret" not in b"".join(seen) and b"answer" not in b"".join(seen)


def test_megabytes_both_ways_at_once(pair):
    def send(conn, rng, total):
        h = hashlib.sha256()
        while total:
            data = rng.randbytes(min(total, rng.choice([1, 100, 5_000, 16_384, 16_385, 200_000])))
            if rng.random() < 0.3:
                conn.writev([data[:10], data[10:]])
            else:
                conn.write(data)
            h.update(data)
            total -= len(data)
        conn.close_write()
        return h.digest()

    def receive(conn, rng):
        h = hashlib.sha256()
        buf = bytearray(30_000)
        while True:
            if rng.random() < 0.5:
                data = conn.read(rng.choice([1, 1000, 70_000]))
            else:
                data = buf[: conn.readinto(buf)]
            if not data:
                return h.digest()
            h.update(data)

    ends = [
        [go(send, c, random.Random(i), 3_000_000), go(receive, o, random.Random(i + 9))]
        for i, (c, o) in enumerate([pair, pair[::-1]])
    ]
    for sender, receiver in ends:
        assert sender.join(T) == receiver.join(T)


def test_writes_of_several_goroutines_do_not_mix(pair):
    a, b = pair

    def write(i):
        for _ in range(20):
            a.write(bytes([65 + i]) * 999 + b"\n")

    writers = [go(write, i) for i in range(8)]
    for _ in range(160):
        line = b.readline(timeout=T)
        assert len(line) == 1000 and len(set(line[:-1])) == 1
    for g in writers:
        g.join(T)


def test_unix_sockets_too(tmp_path):
    path = str(tmp_path / "s")
    with net.listen("unix", path, tls=server_context()) as listener:
        g = go(lambda: listener.accept(T).read(10))
        with net.dial("unix", path, tls=client_context(), server_hostname="localhost") as conn:
            conn.write(b"over unix")
            assert g.join(T) == b"over unix"
        with pytest.raises(ValueError, match="server_hostname"):
            net.dial("unix", path, tls=client_context())


def test_copy_goes_through_tls(pair, tmp_path):
    a, b = pair
    data = random.Random(1).randbytes(300_000)
    (tmp_path / "f").write_bytes(data)
    out = io.BytesIO()
    reading = go(ramet.io.copy, out, b)
    with ramet.io.open(tmp_path / "f", "rb") as f:
        assert ramet.io.copy(a, f) == len(data)
    a.close_write()
    assert reading.join(T) == len(data) and out.getvalue() == data


def test_select_sees_what_was_decrypted(pair):
    a, b = pair
    a.write(b"abc")
    assert b.read(1, T) == b"a"
    assert select(readable(b), default).index == 0
    assert b.read(5, T) == b"bc"
    assert select(readable(b), default).index == 1


# ---- with the ssl module -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_a_client_of_the_ssl_module(version):
    def client(addr):
        ctx = client_context(maximum_version=version)
        with socket.create_connection(addr) as raw, ctx.wrap_socket(raw, server_hostname="localhost") as s:
            s.settimeout(T)
            s.sendall(b"x" * 100_000 + b"\n")
            got = b""
            while len(got) < 100_000:
                got += s.recv(65536)
            spoken = s.version()
            s.unwrap()
            return got, spoken

    def handler(conn):
        conn.write(conn.readline(200_000)[:-1].upper())
        assert conn.read(10) == b""

    with net.serve("127.0.0.1:0", handler, tls=server_context()) as server:
        got, spoken = in_thread(client, server.addr)(T)
    assert got == b"X" * 100_000
    assert spoken == version.name.replace("_", ".")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_a_server_of_the_ssl_module(version):
    raw = socket.create_server(("127.0.0.1", 0))

    def server():
        s, _ = raw.accept()
        with server_context().wrap_socket(s, server_side=True, suppress_ragged_eofs=False) as s:
            s.settimeout(T)
            data = b""
            while part := s.recv(1000):  # SSLEOFError unless our close() says that it is one
                data += part
            return data

    with raw:
        served = in_thread(server)
        conn = net.dial("tcp", raw.getsockname(), timeout=T, tls=client_context(maximum_version=version))
        assert conn.tls.version() == version.name.replace("_", ".")
        conn.write(b"y" * 50_000)
        conn.close()
        assert served(T) == b"y" * 50_000


def test_an_end_that_was_not_announced_is_one():
    def client(addr):
        ctx = client_context()
        s = ctx.wrap_socket(socket.create_connection(addr), server_hostname="localhost")
        s.sendall(b"bye")
        s.close()

    # no tickets, which the client would not have read: closing it would be a reset
    with net.listen("tcp", "127.0.0.1:0", tls=server_context(num_tickets=0)) as listener:
        done = in_thread(client, listener.addr)
        with listener.accept(T) as conn:
            assert conn.read_exactly(3, T) == b"bye"
            assert conn.read(1, T) == b"" and conn.read(1, T) == b""
            with pytest.raises(net.IncompleteRead):
                conn.read_exactly(1, T)
        done(T)


def test_the_peer_asks_for_a_certificate_later():
    """Post-handshake authentication: a reader has to write."""
    ctx = server_context()
    ctx.load_verify_locations(CERTS / "ca.pem")
    ctx.verify_mode = ssl.CERT_OPTIONAL
    ctx.post_handshake_auth = True
    raw = socket.create_server(("127.0.0.1", 0))

    def server():
        s, _ = raw.accept()
        with ctx.wrap_socket(s, server_side=True) as s:
            s.settimeout(T)
            before = s.getpeercert()
            s.verify_client_post_handshake()
            s.sendall(b"who are you?")
            s.recv(100)
            return before, s.getpeercert()

    client = client_context(post_handshake_auth=True)
    client.load_cert_chain(CERTS / "client.pem")
    with raw:
        served = in_thread(server)
        with net.dial("tcp", raw.getsockname(), timeout=T, tls=client) as conn:
            assert conn.read(100, T) == b"who are you?"
            with pytest.raises(TimeoutError):
                conn.read(1, 0.01)
            conn.write(b"me")
            before, after = served(T)
    assert not before and ((("commonName", "a client"),),) == after["subject"]


# ---- what is agreed upon ---------------------------------------------------------------------------------------------------


def test_alpn():
    server, client = server_context(), client_context()
    server.set_alpn_protocols(["h2", "http/1.1"])
    client.set_alpn_protocols(["spdy", "http/1.1"])
    with connected(server, client) as (a, b):
        assert a.tls.selected_alpn_protocol() == b.tls.selected_alpn_protocol() == "http/1.1"


def test_sni_chooses_the_certificate():
    asked = []
    first, other = server_context(), server_context("other")

    def choose(obj, name, ctx):
        asked.append(name)
        if name == "other.example":
            obj.context = other

    first.sni_callback = choose
    with connected(first, server_hostname="other.example") as (a, _):
        assert a.tls.getpeercert()["subject"] == ((("commonName", "other.example"),),)
    with connected(first, server_hostname="localhost") as (a, _):
        assert a.tls.getpeercert()["subject"] == ((("commonName", "localhost"),),)
    assert asked == ["other.example", "localhost"]


def test_sni_callback_may_park():
    ctx = server_context()

    def choose(*_):
        sleep(0.01)

    ctx.sni_callback = choose
    with net.serve("127.0.0.1:0", lambda conn: conn.write(conn.read(10)), tls=ctx) as server:

        def client():
            with net.dial("tcp", server.addr, timeout=T, tls=client_context(), server_hostname="localhost") as conn:
                conn.write(b"x")
                return conn.read(1, T)

        assert [g.join(T) for g in [go(client) for _ in range(5)]] == [b"x"] * 5


def reads_one(listener):
    with listener.accept(T) as conn:
        try:
            return conn.read(1, T)
        except ssl.SSLError as e:
            with pytest.raises(ssl.SSLError) as again:
                conn.write(b"x", T)
            e.again = again.value.args[0]
            raise


def test_both_prove_who_they_are():
    server = server_context(verify_mode=ssl.CERT_REQUIRED)
    server.load_verify_locations(CERTS / "ca.pem")
    client = client_context()
    client.load_cert_chain(CERTS / "client.pem")
    with connected(server, client) as (_, b):
        assert b.tls.getpeercert()["subject"] == ((("commonName", "a client"),),)
    with net.listen("tcp", "127.0.0.1:0", tls=server) as listener:
        reading = go(reads_one, listener)
        with net.dial("tcp", listener.addr, timeout=T, tls=client_context()) as a:
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                a.read(1, T)  # TLS 1.3: the client learns of it after its handshake
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            reading.join(T)


def test_a_name_that_is_not_proved():
    before = set(os.listdir("/proc/self/fd"))
    with net.listen("tcp", "127.0.0.1:0", tls=server_context("other")) as listener:
        reading = go(reads_one, listener)
        with pytest.raises(ssl.SSLCertVerificationError) as e:
            net.dial("tcp", listener.addr, timeout=T, tls=client_context())
        assert any("dialling" in note for note in e.value.__notes__)
        with pytest.raises(ssl.SSLError, match="(?i)alert|bad certificate") as told:
            reading.join(T)
        assert told.value.again == "the TLS handshake of this connection has failed before"
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_name_is_the_hosts(monkeypatch):
    def resolve(host, port, *_):
        assert host == "localhost."
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with net.serve("127.0.0.1:0", lambda conn: conn.handshake(T), tls=server_context()) as server:
        with net.dial("tcp", f"localhost.:{server.addr[1]}", timeout=T, tls=client_context()) as conn:
            assert conn.tls.server_hostname == "localhost"


def test_a_peer_without_tls():
    with net.listen("tcp", "127.0.0.1:0", tls=server_context()) as listener:
        with net.dial("tcp", listener.addr) as plain, listener.accept(T) as conn:
            plain.write(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
                conn.read(1, T)
        with net.dial("tcp", listener.addr) as plain, listener.accept(T) as conn:
            plain.close_write()
            with pytest.raises(ssl.SSLEOFError):
                conn.read(1, T)


# ---- waiting -------------------------------------------------------------------------------------------------------------


def test_who_says_nothing_keeps_nobody_waiting():
    with net.serve("127.0.0.1:0", lambda conn: conn.write(conn.read(10, T)), tls=server_context()) as server:
        silent = [net.dial("tcp", server.addr) for _ in range(5)]
        with net.dial("tcp", server.addr, timeout=T, tls=client_context()) as conn:
            conn.write(b"me")
            assert conn.read(10, T) == b"me"
        server.close()
        for s in silent:
            s.close()


def test_a_handshake_can_time_out_and_go_on():
    with net.listen("tcp", "127.0.0.1:0", tls=server_context()) as listener:
        with net.dial("tcp", listener.addr) as a, listener.accept(T) as b:
            with pytest.raises(TimeoutError):
                b.read(1, 0.01)
            with pytest.raises(TimeoutError):
                b.write(b"x", 0.01)
            b.set_deadline(monotonic() + 0.01)
            with pytest.raises(TimeoutError):
                b.handshake()
            b.set_deadline(None)
            g = go(b.read, 10)
            a.start_tls(client_context(), server_hostname="localhost", timeout=T)
            a.write(b"at last")
            assert g.join(T) == b"at last"
        with pytest.raises(TimeoutError):
            net.dial("tcp", listener.addr, tls=client_context(), timeout=0.05)


def test_a_read_that_times_out_loses_nothing(pair):
    a, b = pair
    a.write(b"half a ")
    with pytest.raises(TimeoutError):
        b.read_exactly(11, 0.02)
    with pytest.raises(TimeoutError):
        b.readline(timeout=0.02)
    a.write(b"line\n")
    assert b.readline(timeout=T) == b"half a line\n"


def test_a_write_that_times_out_leaves_the_stream_whole(pair):
    a, b = pair
    blob = os.urandom(1 << 16)
    written = 0
    with pytest.raises(TimeoutError):
        while True:
            a.write(blob, 0.02)
            written += 1
    assert written > 1
    g = go(a.write, b"THE END")  # what was encrypted goes first
    got = bytearray()
    while not got.endswith(b"THE END"):
        data = b.read(1 << 16, T)
        assert data
        got += data
    g.join(T)
    body = bytes(got[:-7])
    assert body[: written * len(blob)] == blob * written
    assert blob.startswith(body[written * len(blob) :])


def test_closing_wakes_who_waits(pair):
    a, b = pair
    reader, liner = go(b.read, 1), go(b.readline)
    parked(reader, liner)
    b.close()
    for g in (reader, liner):
        with pytest.raises(net.ErrClosed):
            g.join(T)
    with pytest.raises(ValueError, match="closed"):
        b.read(1)
    with pytest.raises(ValueError, match="closed"):
        b.handshake()
    assert a.read(1, T) == b""


def test_closing_in_the_handshake():
    with net.listen("tcp", "127.0.0.1:0", tls=server_context()) as listener:
        with net.dial("tcp", listener.addr), listener.accept(T) as conn:
            shaking, reading, writing = go(conn.handshake), go(conn.read, 1), go(conn.write, b"x")
            parked(shaking, reading, writing)
            conn.close()
            for g in (shaking, reading, writing):
                with pytest.raises(net.ErrClosed):
                    g.join(T)


def test_cancelled_at_every_park():
    """A session that is cancelled after k turns of the scheduler, for every k until it is not, leaves nothing behind."""

    def handler(conn):
        with contextlib.suppress(OSError, EOFError):
            while line := conn.readline(1 << 20):
                conn.write(line)

    ends = []
    with net.serve("127.0.0.1:0", handler, tls=server_context()) as server:
        before = len(os.listdir("/proc/self/fd"))

        def session():
            with net.dial("tcp", server.addr, tls=client_context()) as conn:
                for size in (1, 100_000):
                    conn.write(b"x" * size + b"\n")
                    assert conn.readline(1 << 20) == b"x" * size + b"\n"
                conn.close_write()
                return conn.read(1)

        rounds = 0
        while not ends or ends[-1] is None:
            g = go(session)
            for _ in range(rounds):
                if not g.done():
                    gosched()
            g.cancel()
            try:
                ends.append(g.join(T))
            except GoroutineCancelled:
                ends.append(None)
            rounds += 1 + rounds // 20
        assert ends[-1] == b"" and len(ends) > 10
        until(lambda: len(os.listdir("/proc/self/fd")) == before, sleep=sleep)


# ---- the end ---------------------------------------------------------------------------------------------------------------


def test_half_a_close(pair):
    a, b = pair
    a.write(b"question")
    a.close_write()
    assert b.read_exactly(8, T) == b"question" and b.read(1, T) == b""
    answer = os.urandom(500_000)
    g = go(b.write, answer)
    assert a.read_exactly(len(answer), T) == answer
    g.join(T)
    with pytest.raises(BrokenPipeError):
        a.write(b"more")
    b.close()
    assert a.read(1, T) == b""


def test_half_a_close_loses_nothing_that_has_come(pair):
    a, b = pair
    b.write(b"1" * 30_000)
    b.write(b"2" * 30_000)
    assert a.read(1, T) == b"1"  # the rest has been read from the system, or waits there
    a.close_write()
    assert a.read_exactly(59_999, T) == b"1" * 29_999 + b"2" * 30_000
    assert b.read(1, T) == b""


def test_half_a_close_beside_a_reader(pair):
    a, b = pair
    reader = go(a.read_exactly, 5)
    parked(reader)
    a.close_write()
    assert b.read(1, T) == b""
    b.write(b"later")
    assert reader.join(T) == b"later"


def test_a_forked_child_does_not_end_the_session(pair):
    a, b = pair
    pid = os.fork()
    if not pid:
        try:
            a.close()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    a.write(b"still here")
    assert b.read(20, T) == b"still here"


def test_a_listener_in_a_cycle_is_collected():
    class App:
        def __init__(self):
            self.ctx = server_context()
            self.ctx.sni_callback = self.choose
            self.listener = net.listen("tcp", "127.0.0.1:0", tls=self.ctx)

        def choose(self, *_):
            pass

    app = App()
    fd, gone = app.listener.fileno(), weakref.ref(app)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del app
        gc.collect()
    assert gone() is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_connections_do_not_leak():
    with net.serve("127.0.0.1:0", lambda conn: conn.write(conn.read(10)), tls=server_context()) as server:
        ctx = client_context()

        def visit():
            with net.dial("tcp", server.addr, tls=ctx, timeout=T) as conn:
                conn.write(b"x")
                assert conn.read(1, T) == b"x"
                return weakref.ref(conn), weakref.ref(conn.tls)

        gc.disable()
        try:
            for _ in range(5):
                assert [r() for r in visit()] == [None, None]  # no cycle
        finally:
            gc.enable()
