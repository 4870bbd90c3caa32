"""ramet.io: pipes, copy, files."""

import gc
import io as std_io
import os
import random
import threading

import pytest
import ramet
from helpers import T, parked, run_py
from ramet import go, io, net
from ramet.time import sleep


def fds():
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def no_descriptor_left():
    r, w = os.pipe()
    with pytest.raises(TimeoutError):
        ramet.select(ramet.readable(r), timeout=0.001)
    os.close(r)
    os.close(w)
    gc.collect()
    before = fds()
    yield
    gc.collect()
    assert fds() == before


@pytest.fixture
def conns():
    with net.listen("tcp", "127.0.0.1:0") as ln:
        a = net.dial("tcp", ln.addr, timeout=T)
        b = ln.accept(timeout=T)
    with a, b:
        yield a, b


DATA = random.Random(1).randbytes(1_500_000)


def read_all(src):
    out = []
    while data := src.read(65536):
        out.append(data)
    return b"".join(out)


# ---------------------------------------------------------------- pipe


def test_pipe():
    r, w = io.pipe()
    with r, w:
        assert w.write(b"hello") == 5
        assert r.read(3) == b"hel" and r.read(100) == b"lo"
        buf = bytearray(3)
        w.write(bytearray(b"abc\nd"))
        assert r.readinto(buf) == 3 and buf == b"abc"
        w.close()
        w.close()
        assert r.readline() == b"\n" and r.read() == b"d" and r.read(1) == b""
        assert os.get_blocking(r.fileno()) and not os.get_inheritable(r.fileno())
    for call in (lambda: r.read(1), r.fileno, lambda: w.write(b"x")):
        with pytest.raises(ValueError):
            call()


def test_pipe_parks():
    r, w = io.pipe()
    with r, w:
        g = go(w.write, DATA)
        parked(g, state="select")
        got = b""
        while len(got) < len(DATA):
            got += r.read(100_000)
        assert got == DATA and g.join(T) == len(DATA)
        g = go(r.read, 1)
        parked(g, state="select")
        g.cancel()
        g.exception(T)
        w.write(b"x")
        assert r.read(1) == b"x"


@pytest.mark.parametrize("which", ["reader", "writer"])
def test_close_wakes(which):
    r, w = io.pipe()
    with r, w:
        g = go(r.read, 1) if which == "reader" else go(w.write, DATA)
        parked(g, state="select")
        (r if which == "reader" else w).close()
        assert isinstance(g.exception(T), net.ErrClosed)


def test_two_readers_one_byte():
    r, w = io.pipe()
    with r, w:
        gs = [go(r.read, 1) for _ in range(3)]
        parked(*gs, state="select")
        for i in range(3):
            w.write(b"%d" % i)
            sleep(0.001)
        assert sorted(g.join(T) for g in gs) == [b"0", b"1", b"2"]


def test_broken_pipe():
    r, w = io.pipe()
    r.close()
    with w, pytest.raises(BrokenPipeError):
        w.write(b"x")


def test_wrong_end():
    r, w = io.pipe()
    with r, w:
        with pytest.raises(OSError):
            r.write(b"x")
        with pytest.raises(OSError):
            w.read(1)
        assert r.readable() and not r.writable() and w.writable() and not w.readable()


def test_layers():
    r, w = io.pipe()
    with std_io.TextIOWrapper(std_io.BufferedReader(r)) as text, w:
        go(lambda: (w.write("grüße\nende".encode()), w.close()))
        assert text.readline() == "grüße\n" and text.read() == "ende"


def test_pipe_in_a_thread():
    r, w = io.pipe()
    errors = []

    def work():
        try:
            r.read(1)
        except RuntimeError as e:
            errors.append(str(e))

    with r, w:
        t = threading.Thread(target=work)
        t.start()
        t.join()
    assert "another OS thread" in errors[0]


# ---------------------------------------------------------------- copy


@pytest.mark.parametrize("to", ["file", "File", "bytes", "pipe", "conn"])
@pytest.mark.parametrize("of", ["file", "unbuffered", "File", "bytes", "pipe", "conn"])
def test_copy(tmp_path, of, to):
    path, target = tmp_path / "source", tmp_path / "target"
    path.write_bytes(b"head" + DATA)
    open_conns = []

    def pair():
        with net.listen("tcp", "127.0.0.1:0") as ln:
            a = net.dial("tcp", ln.addr, timeout=T)
            b = ln.accept(timeout=T)
        open_conns.extend((a, b))
        return a, b

    feeder = None
    if of in ("file", "unbuffered", "File"):
        src = io.open(path, "rb") if of == "File" else open(path, "rb", buffering=0 if of == "unbuffered" else -1)
        assert src.read(4) == b"head"
    elif of == "bytes":
        src = std_io.BytesIO(DATA)
    else:
        src, feed = io.pipe() if of == "pipe" else pair()
        feeder = go(lambda: (feed.write(DATA), feed.close()))
    reader = None
    if to in ("file", "File"):
        dst = io.open(target, "wb") if to == "File" else open(target, "wb")
    elif to == "bytes":
        dst = std_io.BytesIO()
    else:
        there, dst = io.pipe() if to == "pipe" else pair()
        reader = go(read_all, there)
    assert io.copy(dst, src) == len(DATA)
    if of in ("file", "File"):
        assert src.read(1) == b"" and src.tell() == len(DATA) + 4
    src.close()
    got = dst.getvalue() if to == "bytes" else None
    dst.close()
    if reader:
        got = reader.join(T)
        there.close()
    elif got is None:
        got = target.read_bytes()
    assert got == DATA
    if feeder:
        feeder.join(T)
    for c in open_conns:
        c.close()


def test_copy_slow_source_and_sink(conns):
    """Neither end is always ready."""
    r, w = io.pipe()
    a, b = conns
    chunks = [DATA[i : i + 100_000] for i in range(0, len(DATA), 100_000)]

    def feed():
        for c in chunks:
            w.write(c)
            sleep(0.001)
        w.close()

    def drink():
        got = b""
        while len(got) < len(DATA):
            got += b.read(50_000)
            sleep(0.0005)
        return got

    with r, w:
        f, d = go(feed), go(drink)
        assert io.copy(a, r) == len(DATA)
        f.join(T)
        assert d.join(T) == DATA


def test_copy_cancelled(conns):
    a, b = conns
    r, w = io.pipe()
    with r, w:
        g = go(io.copy, w, b)
        a.write(b"abc")
        assert r.read(3) == b"abc"
        parked(g)
        g.cancel()
        assert isinstance(g.exception(T), ramet.GoroutineCancelled)


def test_copy_obeys_deadlines(conns):
    _, b = conns
    r, w = io.pipe()
    with r, w:
        b.set_read_deadline(ramet.time.monotonic() + 0.05)
        with pytest.raises(TimeoutError):
            io.copy(w, b)


def test_copy_broken(conns):
    r, w = io.pipe()
    r.close()
    with w, pytest.raises(BrokenPipeError):
        io.copy(w, std_io.BytesIO(DATA))


def test_copy_to_append(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    with open(tmp_path / "a", "ab") as dst:
        assert io.copy(dst, std_io.BytesIO(b"b")) == 1
    assert (tmp_path / "a").read_bytes() == b"ab"


def test_copy_text(tmp_path):
    with pytest.raises(TypeError):
        io.copy(std_io.BytesIO(), std_io.StringIO("x"))


def test_copy_of_a_child():
    from ramet import os as ros

    out = std_io.BytesIO()
    with ros.Popen("sleep 0.05; echo hi", shell=True, stdout=ros.PIPE) as p:
        assert io.copy(out, p.stdout) == 3
    assert out.getvalue() == b"hi\n"


# ---------------------------------------------------------------- open


def test_file_text(tmp_path):
    path = tmp_path / "f"
    with io.open(path, "w", encoding="utf-8", newline="") as f:
        assert f.write("grüße\r\n") == 7
        f.writelines(["a\n", "b\n"])
        f.flush()
        assert f.name == str(path) and f.mode == "w" and f.encoding == "utf-8" and f.writable() and not f.readable()
    assert f.closed
    with io.open(path, encoding="utf-8") as f:
        assert list(f) == ["grüße\n", "a\n", "b\n"]
        f.seek(0)
        assert f.readline() == "grüße\n" and f.readlines() == ["a\n", "b\n"] and f.read() == ""
    with pytest.raises(ValueError):
        f.read()
    f.close()


def test_file_binary(tmp_path):
    path = tmp_path / "f"
    with io.open(path, "xb+") as f:
        assert f.write(DATA) == len(DATA) == f.tell()
        assert f.seek(10) == 10 and f.read(5) == DATA[10:15]
        buf = bytearray(4)
        assert f.readinto(buf) == 4 and buf == DATA[15:19]
        assert f.truncate(100) == 100 and os.fstat(f.fileno()).st_size == 100
        assert f.seekable() and not f.isatty()
    with pytest.raises(FileExistsError):
        io.open(path, "xb")
    with pytest.raises(FileNotFoundError):
        io.open(tmp_path / "none")
    with pytest.raises(ValueError):
        io.open(path, "q")
    with pytest.raises(IsADirectoryError):
        io.open(tmp_path)


def test_file_parks_only_its_goroutine(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    g = go(io.open, path, "rb")
    parked(g, state="syscall")
    with io.open(path, "wb") as w, g.join(T) as r:
        g = go(r.read, 3)
        parked(g, state="syscall")
        w.write(b"abc")
        w.flush()
        assert g.join(T) == b"abc"


def test_file_closes_when_cancelled(tmp_path):
    files = []

    def work():
        with ramet.cancel_scope() as scope, io.open(tmp_path / "f", "wb") as f:
            files.append(f)
            f.write(b"kept")
            scope.cancel()
            ramet.gosched()

    go(work).join(T)
    assert files[0].closed and (tmp_path / "f").read_bytes() == b"kept"


def test_ends_that_are_open_at_exit():
    """The interpreter drops them when the runtime has ended: nothing is said about that."""
    ended = run_py("import ramet\nfrom ramet import io\nr, w = io.pipe()\nramet.gosched()\nprint(r.fileno() >= 0)")
    assert ended.out == "True\n" and ended.err == "", str(ended)
