"""Descriptors over unix connections, and connections of descriptors."""

import array
import contextlib
import errno
import fcntl
import gc
import os
import resource
import socket
import ssl
import tempfile

import pytest
import ramet
from helpers import T, parked, run_py
from net_helpers import fds
from ramet import GoroutineCancelled, go, net
from ramet.time import monotonic


@pytest.fixture(autouse=True)
def none_leaks():
    ramet.select(ramet.default, ramet.readable(0))  # the poller is there
    gc.collect()
    before = fds()
    yield
    gc.collect()
    assert fds() == before


@pytest.fixture
def pair():
    with net.listen("unix", f"@ramet-fds-{os.getpid()}") as ln:
        with net.dial("unix", ln.addr) as a, ln.accept(T) as b:
            yield a, b


@pytest.fixture
def datagrams():
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(net.from_fd(s.detach())) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ]


@pytest.fixture
def file():
    with tempfile.TemporaryFile() as f:
        f.write(b"content")
        f.flush()
        yield f


def same(a, b):
    return os.path.sameopenfile(a, b)


def close(*fds):
    for fd in fds:
        os.close(fd)


# ---------------------------------------------------------------- sending and receiving


def test_there(pair, file):
    a, b = pair
    assert a.send_fds(b"hello", [file.fileno()]) == 5
    data, [fd] = b.recv_fds(100, 1, T)
    assert data == b"hello" and same(fd, file.fileno()) and fd != file.fileno()
    assert not os.get_inheritable(fd)
    assert os.pread(fd, 100, 0) == b"content"
    close(fd)


def test_whatever_has_a_fileno(pair, file):
    a, b = pair
    a.send_fds(data=bytearray(b"x"), fds=(x for x in (file, file.fileno(), a)), timeout=T)
    data, got = b.recv_fds(n=1, maxfds=10, timeout=T)
    assert data == b"x" and [same(x, y) for x, y in zip(got, (file.fileno(), file.fileno(), a.fileno()))] == [True] * 3
    close(*got)


def test_plain_bytes(pair):
    a, b = pair
    assert a.send_fds(b"", []) == 0
    a.send_fds(b"one", [])
    assert b.recv_fds(10, 5, T) == (b"one", [])
    a.write(b"two")
    assert b.recv_fds(2, 5, T) == (b"tw", [])
    assert b.recv_fds(0, 5, T) == (b"", [])
    assert b.read(10, T) == b"o"
    a.close()
    assert b.recv_fds(10, 5, T) == (b"", [])


def test_they_come_with_the_first_byte(pair, file):
    a, b = pair
    a.send_fds(b"abcdef", [file])
    data, got = b.recv_fds(2, 1, T)
    assert data == b"ab" and len(got) == 1
    close(*got)
    assert b.recv_fds(2, 1, T) == (b"cd", [])
    assert b.read(10, T) == b"ef"


def test_a_read_stops_before_those_of_the_next_message(pair, file):
    a, b = pair
    a.write(b"plain")
    a.send_fds(b"first", [file])
    a.send_fds(b"second", [file, file])
    seen = []
    while sum(len(data) for data, _ in seen) < 16:
        data, got = b.recv_fds(100, 2, T)
        seen.append((data, len(got)))
        close(*got)
    assert sum(n for _, n in seen) == 3
    text, counts = b"", {}
    for data, n in seen:
        if n:
            counts[len(text)] = n
        text += data
    assert text == b"plainfirstsecond" and counts.get(10) == 2


def test_what_is_buffered_comes_first_without_any(pair, file):
    a, b = pair
    a.write(b"line\nrest")
    assert b.readline(timeout=T) == b"line\n"
    assert b._buffered() == 4
    a.send_fds(b"x", [file])
    assert b.recv_fds(2, 1, T) == (b"re", [])
    assert b.recv_fds(10, 1, T) == (b"st", [])
    data, got = b.recv_fds(10, 1, T)
    assert data == b"x" and len(got) == 1
    close(*got)


def test_other_reads_drop_them(pair, file):
    a, b = pair
    before = fds()
    for read in (lambda: b.read(1, T), lambda: b.read_exactly(1, T), lambda: b.readinto(bytearray(1), T)):
        a.send_fds(b"x", [file] * 10)
        read()
        assert fds() == before
    a.send_fds(b"\n", [file])
    assert b.readline(timeout=T) == b"\n"
    assert fds() == before


def test_many_at_once(pair, file):
    a, b = pair
    a.send_fds(b"x", [file] * 253)
    data, got = b.recv_fds(10, 1000, T)
    assert data == b"x" and len(set(got)) == 253 and all(same(fd, file.fileno()) for fd in got)
    close(*got)
    with pytest.raises(ValueError, match="254 descriptors, but one message carries at most 253"):
        a.send_fds(b"x", [file] * 254)


@pytest.mark.parametrize("maxfds, sent", [(0, 1), (1, 2), (2, 3), (3, 200), (252, 253)])
def test_more_than_maxfds_are_closed_and_the_bytes_are_kept(pair, file, maxfds, sent):
    a, b = pair
    before = fds()
    a.send_fds(b"hello", [file] * sent)
    a.write(b" world")
    with pytest.raises(OSError, match=f"more than maxfds={maxfds}") as e:
        b.recv_fds(100, maxfds, T)
    assert e.value.errno == errno.EMSGSIZE
    assert fds() == before
    assert b.read_exactly(11, T) == b"hello world"


def test_a_receiver_without_room(pair, file):
    a, b = pair
    a.send_fds(b"hello", [file] * 5)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.dup(0) for _ in range(3)]
    top = max(spare) + 1
    close(*spare)
    before = fds()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, limit[1]))
        with pytest.raises(OSError) as e:
            b.recv_fds(100, 10, T)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert e.value.errno == errno.EMFILE
    assert fds() == before
    assert b.read(10, T) == b"hello"


def test_large_data(pair, file):
    a, b = pair
    data = os.urandom(3_000_000)
    g = go(a.send_fds, data, [file])
    parked(g, state="io wait")
    got, received = b"", []
    while len(got) < len(data):
        more, some = b.recv_fds(1 << 62, 9, T)
        got += more
        received += some
    assert g.result(T) == len(data)
    assert got == data and len(received) == 1
    close(*received)


def test_a_descriptor_that_is_closed_while_the_sender_waits(pair):
    """What was given is what is sent, even if its number has become another's meanwhile."""
    a, b = pair
    with pytest.raises(TimeoutError):
        while True:
            a.write(bytes(100_000), 0.001)
    r, w = os.pipe()
    g = go(a.send_fds, b"!", [r])
    parked(g, state="io wait")
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, r)
    got = []
    while not got:
        _, got = b.recv_fds(65536, 1, T)
    assert g.result(T) == 1
    os.write(w, b"through the pipe")
    assert os.read(got[0], 100) == b"through the pipe"
    close(r, w, null, *got)


def test_datagrams(datagrams, file):
    a, b = datagrams
    assert a.send_fds(b"", [file]) == 0
    a.send_fds(b"abc", [file, file])
    a.send_fds(b"lost", [file, file])
    data, got = b.recv_fds(10, 1, T)
    assert data == b"" and len(got) == 1
    close(*got)
    data, got = b.recv_fds(2, 5, T)
    assert data == b"ab" and len(got) == 2
    close(*got)
    with pytest.raises(OSError, match="more than maxfds=1"):
        b.recv_fds(10, 1, T)
    with pytest.raises(TimeoutError):
        b.recv_fds(10, 1, 0.001)


# ---------------------------------------------------------------- waiting


def test_a_receiver_waits(pair, file):
    a, b = pair
    gs = [go(b.recv_fds, 10, 1) for _ in range(3)]
    parked(*gs, state="io wait")
    for i in range(3):
        a.send_fds(b"%d" % i, [file])
        data, got = gs[i].result(T)
        assert data == b"%d" % i and len(got) == 1
        close(*got)


def test_timeout_deadline_cancel_close(pair, file):
    a, b = pair
    with pytest.raises(TimeoutError):
        b.recv_fds(10, 1, 0.002)
    b.set_read_deadline(monotonic() - 1)
    a.send_fds(b"kept", [file])
    with pytest.raises(TimeoutError):
        b.recv_fds(10, 1)
    b.set_deadline(None)
    data, got = b.recv_fds(10, 1, T)
    assert data == b"kept" and len(got) == 1
    close(*got)
    g = go(b.recv_fds, 10, 1)
    parked(g, state="io wait")
    g.cancel()
    with pytest.raises(GoroutineCancelled):
        g.join(T)
    a.send_fds(b"still there", [file])
    g = go(b.recv_fds, 10, 1)  # cancelled before it has begun: nothing is received
    g.cancel()
    with pytest.raises(GoroutineCancelled):
        g.join(T)
    with ramet.cancel_scope() as scope:
        scope.cancel()
        b.recv_fds(10, 1)
    data, got = b.recv_fds(100, 1, T)
    assert data == b"still there" and len(got) == 1
    close(*got)
    g = go(b.recv_fds, 10, 1)
    parked(g, state="io wait")
    b.close()
    with pytest.raises(net.ErrClosed):
        g.join(T)
    with pytest.raises(ValueError, match="recv_fds on closed connection"):
        b.recv_fds(10, 1)
    with pytest.raises(BrokenPipeError):
        a.send_fds(b"x", [file])
    a.close()
    with pytest.raises(ValueError, match="send_fds on closed connection"):
        a.send_fds(b"x", [file])


def test_a_sender_that_gives_up_leaves_nothing_open(pair, file):
    a, b = pair
    before = fds()
    with pytest.raises(TimeoutError):
        while True:
            a.write(bytes(100_000), 0.001)
    with pytest.raises(TimeoutError):
        a.send_fds(b"x", [file] * 20, 0.001)
    g = go(a.send_fds, b"x", [file] * 20)
    parked(g, state="io wait")
    g.cancel()
    with pytest.raises(GoroutineCancelled):
        g.join(T)
    g = go(a.send_fds, b"x", [file] * 20)
    parked(g, state="io wait")
    a.close()
    with pytest.raises(net.ErrClosed):
        g.join(T)
    assert fds() == before - 1


def test_many_pairs_at_once(file):
    def pass_on(i):
        x, y = (net.from_fd(s.detach()) for s in socket.socketpair())
        with x, y:
            g = go(y.recv_fds, 10, 3)
            x.send_fds(b"%d" % i, [file] * (i % 4))
            data, got = g.result(T)
            assert data == b"%d" % i and len(got) == i % 4
            close(*got)

    gs = [go(pass_on, i) for i in range(200)]
    for g in gs:
        g.join(T)


def test_descriptors_that_are_never_received_are_closed_with_the_connection():
    a, b = (net.from_fd(s.detach()) for s in socket.socketpair())
    r, w = os.pipe()
    a.send_fds(b"x", [w])
    os.close(w)
    a.close()
    b.close()
    assert os.read(r, 1) == b""  # nobody has the other end any more
    os.close(r)


# ---------------------------------------------------------------- wrong arguments


def test_only_unix_connections():
    with net.listen("tcp", "127.0.0.1:0") as ln, net.dial("tcp", ln.addr) as a, net.dial("udp", "127.0.0.1:9") as b:
        for c in (a, b):
            with pytest.raises(OSError, match="send_fds: only unix connections pass descriptors") as e:
                c.send_fds(b"x", [0])
            assert e.value.errno == errno.EOPNOTSUPP
            with pytest.raises(OSError, match="recv_fds: only unix connections pass descriptors"):
                c.recv_fds(1, 1)


def test_not_over_tls(pair, file):
    a, b = pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    g = go(a.start_tls, context)  # the handshake never comes
    parked(g, state="io wait")
    waiting = [go(a.recv_fds, 1, 1, 0.05), go(a.send_fds, b"x", [file], 0.05)]
    for w in waiting:
        with pytest.raises((OSError, TimeoutError)):
            w.join(T)
    b.close()
    with pytest.raises(OSError):
        g.join(T)
    with pytest.raises(OSError, match="a connection with TLS passes no descriptors"):
        a.send_fds(b"x", [file])
    with pytest.raises(OSError, match="a connection with TLS passes no descriptors"):
        a.recv_fds(1, 1)


def test_wrong_arguments(pair, file):
    a, b = pair
    closed = os.dup(0)
    os.close(closed)
    for error, text, args in [
        (TypeError, "data must be a contiguous bytes-like object, not str", ("x", [])),
        (TypeError, "fds must be an iterable of descriptors, not int", (b"x", 0)),
        (TypeError, "fileno", (b"x", ["0"])),
        (TypeError, "fileno", (b"x", [file, None])),
        (ValueError, "negative", (b"x", [-1])),
        (OSError, rf"fds\[1\], which is {closed}: Bad file descriptor", (b"x", [0, closed])),
        (OverflowError, None, (b"x", [1 << 70])),
        (ValueError, "data must not be empty", (b"", [0])),
        (TypeError, "timeout", (b"x", [], "1")),
        (TypeError, None, (b"x",)),
    ]:
        with pytest.raises(error, match=text):
            a.send_fds(*args)
    for error, text, args in [
        (TypeError, "n must be an int, not str", ("1", 1)),
        (ValueError, "n must not be negative", (-1, 1)),
        (TypeError, "maxfds must be an int, not float", (1, 1.0)),
        (ValueError, "maxfds must not be negative: -1", (1, -1)),
        (TypeError, None, (1,)),
    ]:
        with pytest.raises(error, match=text):
            b.recv_fds(*args)
    with pytest.raises(TimeoutError):
        b.recv_fds(1 << 100, 1 << 100, 0.001)


# ---------------------------------------------------------------- from_fd


def test_a_connection_is_passed_on(pair):
    """An accepted connection, and its listener, are handed to somebody else, who goes on with them."""
    a, b = pair
    with net.listen("tcp", "127.0.0.1:0") as ln:
        client = net.dial("tcp", ln.addr)
        with ln.accept(T) as accepted:
            a.send_fds(b"c", [accepted, ln])
    _, got = b.recv_fds(10, 2, T)
    with client, net.from_fd(got[0]) as conn, net.from_fd(got[1]) as listener:
        assert type(conn) is net.Conn and type(listener) is net.Listener
        assert (conn.fileno(), conn.remote_addr) == (got[0], client.local_addr)
        conn.write(b"hello")
        assert client.read(10, T) == b"hello"
        with net.dial("tcp", listener.addr, timeout=T) as other, listener.accept(T) as served:
            other.write(b"x")
            assert served.read(1, T) == b"x"
        address = listener.addr
    with pytest.raises(ConnectionRefusedError):
        net.dial("tcp", address, timeout=T)


def test_what_it_is():
    def check(s, cls):
        fd = s.detach()
        with net.from_fd(fd) as c:
            assert type(c) is cls and c.fileno() == fd
            assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
            assert not os.get_inheritable(fd)
            repr(c)
        with pytest.raises(OSError):
            os.fstat(fd)

    with socket.socket() as ln:
        ln.bind(("127.0.0.1", 0))
        ln.listen()
        s = socket.create_connection(ln.getsockname())
        os.set_inheritable(s.fileno(), True)
        check(s, net.Conn)
        check(ln, net.Listener)
    for s in socket.socketpair() + socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        check(s, net.Conn)
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        check(socket.socket(fileno=os.dup(s.fileno())), net.PacketConn)
        s.connect(("127.0.0.1", 9))
        check(s, net.Conn)


def test_datagrams_of_a_connected_one_are_no_stream(datagrams):
    a, b = datagrams
    a.write(b"one")
    a.write(b"two")
    assert b.read(100, T) == b"one"
    assert b.read(100, T) == b"two"
    with pytest.raises(OSError, match="no stream"):
        b.read_exactly(1)


def test_from_fd_of_what_is_none():
    r, w = os.pipe()
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for error, text, fd in [
        (OSError, f"from_fd: {r}: Socket operation on non-socket", r),
        (OSError, "Bad file descriptor", 1_000_000),
        (ValueError, "-1 is no descriptor", -1),
        (ValueError, "is no descriptor", 1 << 40),
        (ValueError, "is no descriptor", 1 << 100),
        (ValueError, "neither a stream nor a datagram socket", pair[0].fileno()),
        (TypeError, "fd must be an int, not socket", pair[0]),
        (TypeError, "fd must be an int, not str", "1"),
    ]:
        with pytest.raises(error, match=text):
            net.from_fd(fd)
    os.fstat(r)  # still the caller's
    pair[0].fileno()
    for s in pair:
        s.close()
    close(r, w)


def test_between_processes():
    """A listener that is inherited, as from a supervisor; its connections are served by the child."""
    with net.listen("tcp", "127.0.0.1:0") as ln:
        code = """
import sys
from ramet import net
with net.from_fd(int(sys.argv[1])) as ln, ln.accept(10) as conn:
    conn.write(conn.read(100, 10).upper())
"""
        fd = os.dup(ln.fileno())
        os.set_inheritable(fd, True)
        g = go(ramet.blocking, run_py, code, str(fd), pass_fds=[fd])
        with net.dial("tcp", ln.addr, timeout=T) as c:
            c.write(b"hello")
            assert c.read(100, T) == b"HELLO"
        assert g.result(T).err == ""
        os.close(fd)


def test_with_the_socket_module(file):
    """What socket.send_fds sends arrives, and the other way round."""
    s, t = socket.socketpair()
    with s, net.from_fd(t.detach()) as c:
        socket.send_fds(s, [b"x"], [file.fileno()])
        data, got = c.recv_fds(10, 1, T)
        assert data == b"x" and len(got) == 1
        close(*got)
        s.sendmsg([b"y"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()] * 2))])
        _, got = c.recv_fds(10, 2, T)
        close(*got)
        c.send_fds(b"z", [file])
        data, got, flags, _ = socket.recv_fds(s, 10, 5)
        assert data == b"z" and len(got) == 1
        close(*got)
