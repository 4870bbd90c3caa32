"""ramet.net.Conn: reading by length, separator and line; writing many buffers and files; half closes."""

import contextlib
import gc
import io
import os
import random
import socket
import threading

import pytest
import ramet
from helpers import T, parked
from ramet import GoroutineCancelled, go, gosched, net
from ramet.time import monotonic, sleep


@contextlib.contextmanager
def connected(network="tcp"):
    address = "127.0.0.1:0" if network == "tcp" else f"@ramet-{os.getpid()}-{random.random()}"
    with net.listen(network, address) as listener:
        addr = listener.addr
        if network == "unix":
            addr = "@" + addr[1:].decode()
        a = net.dial(network, addr, timeout=T)
        b = listener.accept(timeout=T)
    with a, b:
        yield a, b


@pytest.fixture(params=["tcp", "unix"])
def pair(request):
    with connected(request.param) as both:
        yield both


def feed(conn, *chunks):
    """Write them one after the other, each seen by the reader on its own; then the end."""

    def write():
        for chunk in chunks:
            conn.write(chunk, T)
            sleep(0.0005)
        conn.close()

    return go(write)


# ---- by length ----------------------------------------------------------------------------------------------------------


def test_read_exactly(pair):
    a, b = pair
    a.write(b"abcdefghij")
    assert b.read_exactly(3, T) == b"abc"
    assert b.read_exactly(0) == b""
    assert b.read_exactly(n=1, timeout=T) == b"d"
    assert b.read(2, T) == b"ef"
    assert b.read_exactly(4, T) == b"ghij"


def test_read_exactly_split_everywhere():
    data = b"0123456789"
    for i in range(len(data) + 1):
        with connected() as (a, b):
            feed(a, data[:i], data[i:])
            assert b.read_exactly(len(data), T) == data
            assert b.read(1, T) == b""


def test_read_exactly_byte_by_byte(pair):
    a, b = pair
    feed(a, *(bytes([i]) for i in range(30)))
    assert b.read_exactly(30, T) == bytes(range(30))


def test_read_exactly_at_the_end(pair):
    a, b = pair
    feed(a, b"abc", b"de")
    with pytest.raises(net.IncompleteRead, match="after 5 of 6 bytes") as e:
        b.read_exactly(6, T)
    assert e.value.partial == b"abcde"
    assert isinstance(e.value, EOFError)
    with pytest.raises(net.IncompleteRead) as e:
        b.read_exactly(1, T)
    assert e.value.partial == b""
    assert b.read(10, T) == b"" and b.readline(timeout=T) == b""


@pytest.mark.parametrize("n", [4095, 4096, 4097, 65536, 1 << 20, (5 << 20) + 7])
def test_read_exactly_of_much(pair, n):
    a, b = pair
    data = random.Random(n).randbytes(n + 10)
    g = go(a.write, data, T)
    assert b.read_exactly(n, T) == data[:n]
    assert b.read_exactly(10, T) == data[n:]
    g.join(T)


def test_read_exactly_does_not_believe_in_advance(pair):
    a, b = pair
    feed(a, b"x")
    with pytest.raises(net.IncompleteRead) as e:
        b.read_exactly(1 << 62, T)
    assert e.value.partial == b"x"


def test_read_exactly_arguments(pair):
    _, b = pair
    with pytest.raises(TypeError, match="read_exactly: n must be an int, not str"):
        b.read_exactly("x")
    with pytest.raises(ValueError, match="read_exactly: n must not be negative: -1"):
        b.read_exactly(-1)
    with pytest.raises(TypeError, match="timeout"):
        b.read_exactly(1, "x")
    with pytest.raises(TypeError):
        b.read_exactly()


# ---- by separator -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sep", [b"|", b"\r\n", b"--end--", b"aab"])
def test_read_until_split_everywhere(sep):
    data = b"aaa" + sep + b"second" + sep + b"rest"
    for i in range(len(data) + 1):
        with connected() as (a, b):
            feed(a, data[:i], data[i:])
            first = data[: data.index(sep) + len(sep)]
            assert b.read_until(sep, timeout=T) == first
            at = data.index(sep, len(first)) + len(sep)
            assert b.read_until(sep, timeout=T) == data[len(first) : at]
            assert b.read_exactly(len(data) - at, T) == data[at:]


def test_read_until_byte_by_byte(pair):
    a, b = pair
    feed(a, *(b"%c" % c for c in b"--e--en--end--x"))
    assert b.read_until(b"--end--", timeout=T) == b"--e--en--end--"
    assert b.read(10, T) == b"x"


def test_read_until_takes_any_buffer(pair):
    a, b = pair
    a.write(b"1,2,3,")
    assert b.read_until(bytearray(b","), timeout=T) == b"1,"
    assert b.read_until(memoryview(b","), 65536, T) == b"2,"
    assert b.read_until(sep=b",", limit=2, timeout=T) == b"3,"


def test_read_until_at_the_end(pair):
    a, b = pair
    feed(a, b"abc")
    with pytest.raises(net.IncompleteRead, match=r"read_until: the stream ended after 3 bytes without b'\\n'") as e:
        b.read_until(b"\n", timeout=T)
    assert e.value.partial == b"abc"
    assert b.read(10, T) == b""


def test_read_until_limit(pair):
    a, b = pair
    a.write(b"0123456789|rest|")
    for limit in (1, 9, 10):
        with pytest.raises(net.LimitExceeded, match=f"no b'|' within the limit of {limit} bytes") as e:
            b.read_until(b"|", limit, T)
        assert isinstance(e.value, ValueError)
    assert b.read_until(b"|", 11, T) == b"0123456789|"
    with pytest.raises(net.LimitExceeded):
        b.read_until(b"|", 4, T)
    assert b.read(3, T) == b"res"
    assert b.read_until(b"|", 2, T) == b"t|"


def test_limit_is_told_as_soon_as_it_is_reached(pair):
    a, b = pair
    a.write(b"0123456789")
    with pytest.raises(net.LimitExceeded):
        b.read_until(b"|", 10, T)
    assert b.read(100, T) == b"0123456789"


def test_read_until_arguments(pair):
    _, b = pair
    with pytest.raises(ValueError, match="sep must not be empty"):
        b.read_until(b"")
    with pytest.raises(ValueError, match=r"sep \(3 bytes\) does not fit into limit \(2\)"):
        b.read_until(b"abc", 2)
    with pytest.raises(TypeError, match="sep must be a contiguous bytes-like object, not str"):
        b.read_until("x")
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"limit must be at least 1, not {bad}"):
            b.read_until(b"x", bad)
    with pytest.raises(TypeError, match="limit must be an int, not float"):
        b.readline(1.5)
    assert isinstance(net.IncompleteRead.partial, bytes)


# ---- by line ------------------------------------------------------------------------------------------------------------


def test_readline(pair):
    a, b = pair
    feed(a, b"one\ntw", b"o\n\nlast")
    assert [b.readline(timeout=T) for _ in range(6)] == [b"one\n", b"two\n", b"\n", b"last", b"", b""]


def test_readline_limit(pair):
    a, b = pair
    feed(a, b"12345\n", b"12345")
    with pytest.raises(net.LimitExceeded):
        b.readline(5, T)
    assert b.readline(6, T) == b"12345\n"
    with pytest.raises(net.LimitExceeded):
        b.readline(4, T)
    assert b.readline(5, T) == b"12345"
    assert b.readline(5, T) == b""


def test_lines(pair):
    a, b = pair
    lines = [b"%d" % i * (i % 50) + b"\n" for i in range(2000)]
    g = go(lambda: (a.write(b"".join(lines) + b"end", T), a.close()))
    assert list(b) == [*lines, b"end"]
    assert iter(b) is b and next(b, None) is None
    g.join(T)


def test_long_lines(pair):
    a, b = pair
    line = b"x" * 3_000_000 + b"\n"
    g = go(a.write, line * 2, T)
    with pytest.raises(net.LimitExceeded):
        next(b)
    assert b.readline(1 << 22, T) == line
    assert b.read_until(b"x\n", 1 << 22, T) == line
    g.join(T)


# ---- mixing -------------------------------------------------------------------------------------------------------------


def test_plain_reads_get_what_is_buffered_first(pair):
    a, b = pair
    a.write(b"line\nabcdefgh")
    assert b.readline(timeout=T) == b"line\n"
    a.write(b"later")
    assert b.read(3, T) == b"abc"
    into = bytearray(4)
    assert b.readinto(into, T) == 4 and into == b"defg"
    assert b.readinto(into, T) == 1 and into == b"hefg"
    assert b.read(100, T) == b"later"


def test_plain_reads_of_nothing_leave_it(pair):
    a, b = pair
    a.write(b"line\nabc")
    b.readline(timeout=T)
    assert b.read(0) == b"" and b.readinto(bytearray(0)) == 0
    assert b.read(9, T) == b"abc"


def test_against_a_file(pair):
    a, b = pair
    rng = random.Random(12345)
    data = bytearray()
    while len(data) < 400_000:
        data += rng.randbytes(rng.choice([0, 1, 10, 1000, 9000])).replace(b"\n", b"") + rng.choice(
            [b"\n", b"\r\n", b"--"]
        )
    data = bytes(data)

    def write():
        at = 0
        while at < len(data):
            n = rng.choice([1, 2, 7, 100, 4096, 30_000])
            a.write(data[at : at + n], T)
            at += n
            if rng.random() < 0.3:
                sleep(0.0002)
        a.close()

    g = go(write)
    ours = random.Random(54321)
    ref = io.BytesIO(data)

    def expect_until(sep, limit):
        start = ref.tell()
        at = data.find(sep, start, start + limit)
        if at >= 0:
            return ref.read(at + len(sep) - start)
        if start + limit <= len(data):
            return net.LimitExceeded
        return net.IncompleteRead

    while ref.tell() < len(data):
        op = ours.randrange(6)
        if op == 0:
            got = b.read(ours.choice([1, 10, 5000]), T)
            assert got and got == ref.read(len(got))
        elif op == 1:
            into = bytearray(ours.choice([1, 10, 5000]))
            n = b.readinto(into, T)
            assert n and into[:n] == ref.read(n)
        elif op == 2:
            n = min(ours.choice([1, 10, 5000, 70_000]), len(data) - ref.tell())
            assert b.read_exactly(n, T) == ref.read(n)
        elif op == 3:
            assert b.readline(1 << 20, T) == ref.readline()
        else:
            sep, limit = ours.choice([b"\n", b"\r\n", b"--", b"\n\n"]), ours.choice([5, 2000, 100_000])
            expected = expect_until(sep, limit)
            if isinstance(expected, bytes):
                assert b.read_until(sep, limit, T) == expected
            else:
                with pytest.raises(expected) as e:
                    b.read_until(sep, limit, T)
                if expected is net.IncompleteRead:
                    assert e.value.partial == ref.read()
    assert b.read(1, T) == b""
    g.join(T)


# ---- what is interrupted loses nothing --------------------------------------------------------------------------------------

OPERATIONS = [
    lambda c, timeout=None: c.read_exactly(10, timeout),
    lambda c, timeout=None: c.read_until(b"|\n", timeout=timeout),
    lambda c, timeout=None: c.readline(timeout=timeout),
]


@pytest.mark.parametrize("op", OPERATIONS)
def test_timeout_keeps_bytes(pair, op):
    a, b = pair
    a.write(b"01234")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            op(b, 0.002)
    a.write(b"567|\n")
    assert op(b, T) == b"01234567|\n"


@pytest.mark.parametrize("op", OPERATIONS)
def test_deadline_keeps_bytes(pair, op):
    a, b = pair
    a.write(b"01234")
    g = go(op, b)
    parked(g, state="io wait")  # what has come is in the buffer
    b.set_read_deadline(monotonic() + 0.002)
    assert isinstance(g.exception(T), TimeoutError)
    with pytest.raises(TimeoutError):  # also what is there already
        b.read(1)
    b.set_read_deadline(None)
    assert b.read(2, T) == b"01"
    a.write(b"56789|\n")
    assert b.read(20, T) == b"234"
    assert b.read(20, T) == b"56789|\n"


@pytest.mark.parametrize("op", OPERATIONS)
def test_cancel_keeps_bytes(pair, op):
    a, b = pair
    a.write(b"01234")
    g = go(op, b)
    parked(g, state="io wait")
    g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled)
    a.write(b"567|\n")
    assert op(b, T) == b"01234567|\n"


def test_pending_cancellation_consumes_nothing(pair):
    a, b = pair
    a.write(b"one\ntwo\n")
    assert b.readline(timeout=T) == b"one\n"
    g = go(lambda: (g.cancel(), b.readline()))
    assert isinstance(g.exception(T), GoroutineCancelled)
    assert b.readline(timeout=T) == b"two\n"


@pytest.mark.parametrize("op", OPERATIONS)
def test_close_wakes(pair, op):
    a, b = pair
    a.write(b"01234")
    gs = [go(op, b) for _ in range(3)]
    parked(*gs, state="io wait")
    b.close()
    for g in gs:
        with pytest.raises(net.ErrClosed):
            g.join(T)
    with pytest.raises(ValueError, match="closed connection"):
        op(b)


def test_closed_with_bytes_in_the_buffer(pair):
    a, b = pair
    a.write(b"one\ntwo\n")
    assert b.readline(timeout=T) == b"one\n"
    b.close()
    for read in (lambda: b.read(1), lambda: b.readinto(bytearray(1)), b.readline, lambda: b.read_exactly(0)):
        with pytest.raises(ValueError, match="closed connection"):
            read()


def test_reset_by_the_peer(ln):
    with socket.create_connection(ln.addr) as s:
        b = ln.accept(T)
        s.sendall(b"abc\nde")
        with b:
            assert b.readline(timeout=T) == b"abc\n"
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.close()
            with pytest.raises(ConnectionResetError):
                b.readline(timeout=T)


# ---- several readers --------------------------------------------------------------------------------------------------------


def test_two_readers_take_turns(pair):
    a, b = pair
    lines = [b"%d:%s\n" % (i, b"x" * (i % 97)) for i in range(3000)]
    got = [], []

    def read(out):
        while line := b.readline(timeout=T):
            out.append(line)

    gs = [go(read, out) for out in got]
    data = b"".join(lines)
    for i in range(0, len(data), 1000):
        a.write(data[i : i + 1000], T)
        gosched()
    a.close()
    for g in gs:
        g.join(T)
    assert sorted(got[0] + got[1]) == sorted(lines)
    for out in got:
        numbers = [int(line.split(b":")[0]) for line in out]
        assert numbers == sorted(numbers)


def test_a_plain_reader_waits_for_the_end_of_the_line(pair):
    a, b = pair
    first = go(b.readline)
    parked(first, state="io wait")
    second = go(b.read, 100)
    third = go(b.read_exactly, 2)
    parked(second, third, state="io wait")
    a.write(b"li")
    sleep(0.002)
    assert first.state == second.state == "io wait"
    a.write(b"ne\nrest")
    assert first.result(T) == b"line\n"
    assert second.result(T) == b"rest"
    a.write(b"end")
    assert third.result(T) == b"en"
    assert b.read(9, T) == b"d"


def test_a_reader_gives_up_waiting_for_its_turn(pair):
    a, b = pair
    first = go(b.readline)
    parked(first, state="io wait")
    with pytest.raises(TimeoutError):
        b.readline(timeout=0.002)
    with pytest.raises(TimeoutError):
        b.read(1, 0.002)
    a.write(b"line\n")
    assert first.result(T) == b"line\n"


def test_readers_that_are_cancelled_in_turn(pair):
    a, b = pair
    gs = [go(b.readline) for _ in range(4)]
    parked(*gs, state="io wait")
    a.write(b"ha")
    gs[0].cancel()
    gs[2].cancel()
    a.write(b"lf\nfull\n")
    assert gs[1].result(T) == b"half\n" and gs[3].result(T) == b"full\n"


def test_other_threads_are_refused(pair):
    _, b = pair
    seen = []

    def work():
        for op in OPERATIONS:
            try:
                op(b)
            except RuntimeError as e:
                seen.append(str(e))

    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert len(seen) == 3 and "Conn.read_exactly()" in seen[0]


def test_dropped_with_bytes_in_the_buffer():
    with net.listen("tcp", "127.0.0.1:0") as listener:
        a = net.dial("tcp", listener.addr, timeout=T)
        with listener.accept(T) as b, pytest.warns(ResourceWarning):
            b.write(b"one\ntwo\n")
            assert a.readline(timeout=T) == b"one\n"
            del a
            gc.collect()


def test_in_a_forked_child(pair):
    a, b = pair
    a.write(b"one\ntwo\n")
    assert b.readline(timeout=T) == b"one\n"
    waiting = go(lambda: (b.readline(timeout=T), b.readline(timeout=T)))
    parked(waiting, state="io wait")
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            a.write(b"three\n")
            ok = b.read(100, T) in (b"three\n", b"")
        finally:
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    a.write(b"four\n")
    assert waiting.result(T)[1] in (b"three\n", b"four\n")


def test_many_connections_by_line():
    def serve(conn):
        for line in conn:
            conn.write(line.upper())

    with net.serve("127.0.0.1:0", serve) as server:

        def ask(i):
            with net.dial("tcp", server.addr, timeout=T) as conn:
                out = []
                for k in range(20):
                    conn.write(b"client %d line %d\n" % (i, k))
                    out.append(conn.readline(timeout=T))
                return out

        gs = [go(ask, i) for i in range(50)]
        for i, g in enumerate(gs):
            assert g.result(T) == [b"CLIENT %d LINE %d\n" % (i, k) for k in range(20)]
    assert ramet.stats()


# ---- writing many buffers, and files ------------------------------------------------------------------------------------


def test_writev(pair):
    a, b = pair
    assert a.writev([b"ab", bytearray(b""), memoryview(b"cde"), b"f"], T) == 6
    assert a.writev(x for x in (b"g", b"h")) == 2
    assert a.writev([]) == a.writev([b"", b""]) == 0
    assert b.read_exactly(8, T) == b"abcdefgh"


def test_writev_more_than_the_system_takes_at_once(pair):
    a, b = pair
    rng = random.Random(7)
    bufs = [rng.randbytes(rng.randrange(3000)) for _ in range(3000)]
    data = b"".join(bufs)
    g = go(a.writev, bufs, T)
    parked(g, state="io wait")  # it has its turn
    h = go(a.write, b"after", T)
    assert b.read_exactly(len(data), T) == data
    assert b.read_exactly(5, T) == b"after"
    assert g.result(T) == len(data) and h.result(T) == 5


def test_writev_fails(pair):
    a, _ = pair
    with pytest.raises(TypeError, match=r"bufs\[1\] must be a contiguous bytes-like object, not str"):
        a.writev([b"x", "y"])
    with pytest.raises(TypeError, match="bufs must be an iterable of bytes-like objects, not int"):
        a.writev(5)
    with pytest.raises(TimeoutError):
        a.writev([b"x" * 1_000_000] * 30, 0.01)
    a.close()
    with pytest.raises(ValueError, match="writev on closed connection"):
        a.writev([b"x"])


class Unseekable:
    def __init__(self, data):
        self._f = io.BytesIO(data)
        self.read = self._f.read


@pytest.mark.parametrize("kind", ["file", "bytesio", "unseekable"])
def test_sendfile(pair, tmp_path, kind):
    a, b = pair
    data = random.Random(3).randbytes(5_000_000)
    (tmp_path / "f").write_bytes(data)
    f = {
        "file": lambda: open(tmp_path / "f", "rb"),
        "bytesio": lambda: io.BytesIO(data),
        "unseekable": lambda: Unseekable(data),
    }[kind]()
    g = go(a.sendfile, f, timeout=T)
    parked(g, state="io wait")  # it has its turn
    h = go(a.write, b"after", T)
    assert b.read_exactly(len(data), T) == data
    assert b.read_exactly(5, T) == b"after"
    assert g.result(T) == len(data) and h.result(T) == 5
    if kind != "unseekable":
        assert a.sendfile(f, 100, 7) == 7 and b.read_exactly(7, T) == data[100:107]
        assert a.sendfile(f, len(data) - 3, 100) == 3 and b.read_exactly(3, T) == data[-3:]
        assert a.sendfile(f, len(data) + 3) == a.sendfile(f, 0, 0) == 0
        f.close()
    else:
        with pytest.raises(AttributeError):
            a.sendfile(f, 1)


def test_sendfile_fails(pair, tmp_path):
    a, _ = pair
    (tmp_path / "f").write_bytes(b"x" * 30_000_000)
    with open(tmp_path / "f", "rb") as f:
        with pytest.raises(ValueError, match="offset must not be negative: -1"):
            a.sendfile(f, -1)
        with pytest.raises(TypeError, match="count must be an int, not str"):
            a.sendfile(f, 0, "1")
        with open(tmp_path / "f") as text, pytest.raises(ValueError, match="binary mode"):
            a.sendfile(text)
        with pytest.raises(TimeoutError):
            a.sendfile(f, timeout=0.01)
        g = go(a.sendfile, f)
        parked(g, state="io wait")
        a.close()
        with pytest.raises(net.ErrClosed):
            g.join(T)
        with pytest.raises(ValueError, match="sendfile on closed connection"):
            a.sendfile(f)


def test_close_write(pair):
    a, b = pair
    a.write(b"question")
    a.close_write()
    assert b.read(100, T) == b"question" and b.read(100, T) == b""
    b.write(b"answer\n")
    assert a.readline(timeout=T) == b"answer\n"
    with pytest.raises(BrokenPipeError):
        a.write(b"more")


def test_close_read_wakes_the_reader(pair):
    a, b = pair
    g = go(b.readline)
    parked(g, state="io wait")
    b.close_read()
    assert g.result(T) == b""
    b.write(b"still\n")
    assert a.readline(timeout=T) == b"still\n"
    b.close()
    for half in (b.close_read, b.close_write):
        with pytest.raises(ValueError, match="closed connection"):
            half()


# ---- what looks past the connection at its descriptor ---------------------------------------------------------------


def test_select_readable_sees_what_is_buffered(pair):
    a, b = pair
    a.write(b"one\ntwo\n")
    assert b.readline(timeout=T) == b"one\n"
    case = ramet.readable(b)
    assert ramet.select(case, timeout=T) == case  # the kernel has nothing any more
    assert b.readline(timeout=T) == b"two\n"
    with pytest.raises(TimeoutError):
        ramet.select(case, timeout=0.01)


def test_copy_takes_what_is_buffered_first(pair):
    a, b = pair
    rest = os.urandom(300_000)
    feed(a, b"head\n" + rest[:5000], rest[5000:])
    assert b.readline(timeout=T) == b"head\n"
    reader, writer = ramet.io.pipe()
    g = go(lambda: (ramet.io.copy(writer, b), writer.close())[0])
    got = b""
    while data := reader.read(65536):
        got += data
    reader.close()
    assert got == rest and g.join(T) == len(rest)
