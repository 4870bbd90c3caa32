"""ramet.os.Popen and run: children whose pipes and ends park only the goroutine."""

import gc
import os as std_os
import signal
import subprocess
import sys
import threading
import time

import pytest
import ramet
from helpers import T, parked, run_py, until
from ramet import go, os
from ramet.os import PIPE, Popen, TimeoutExpired, run
from ramet.time import sleep

CAT = ["cat"]


def fds():
    return set(std_os.listdir("/proc/self/fd"))


def children():
    with open(f"/proc/self/task/{std_os.getpid()}/children") as f:
        return f.read().split()


def py(code):
    return [sys.executable, "-S", "-c", code]


@pytest.fixture(autouse=True)
def nothing_of_theirs():
    """No descriptor and no child, dead or alive, is left."""
    r, w = std_os.pipe()  # the poller's own descriptor is there before we count
    with pytest.raises(TimeoutError):
        ramet.select(ramet.readable(r), timeout=0.001)
    std_os.close(r)
    std_os.close(w)
    gc.collect()
    before = fds()
    yield
    gc.collect()
    assert children() == []
    assert fds() == before


@pytest.fixture
def ticks():
    """Counts while others wait."""
    count = [0]

    def tick():
        while True:
            sleep(0.001)
            count[0] += 1

    g = go(tick)
    yield count
    g.cancel()
    g.exception(T)


def test_wait(ticks):
    with Popen(["sleep", "0.2"]) as p:
        assert p.poll() is None
        assert p.wait() == 0 and p.returncode == 0
        assert p.wait() == 0
    assert ticks[0] > 5


def test_status():
    for code, want in (("exit 3", 3), ("kill -9 $$", -9)):
        with Popen(code, shell=True) as p:
            assert p.wait(T) == want


def test_is_a_subprocess_popen():
    with Popen(["true"]) as p:
        assert isinstance(p, subprocess.Popen)
    assert p.returncode == 0


def test_wait_timeout(ticks):
    with Popen(["sleep", "60"]) as p:
        with pytest.raises(TimeoutExpired) as info:
            p.wait(0.05)
        assert info.value.timeout == 0.05 and info.value.cmd == ["sleep", "60"]
        with pytest.raises(TimeoutExpired):
            p.wait(0)
        p.kill()
        assert p.wait(T) == -signal.SIGKILL
    assert ticks[0] > 3


def test_several_wait():
    with Popen(CAT, stdin=PIPE) as p:
        gs = [go(p.wait, T) for _ in range(5)]
        parked(*gs)
        p.stdin.close()
        assert [g.join(T) for g in gs] == [0] * 5


def test_cancelled_wait_leaves_the_child():
    with Popen(CAT, stdin=PIPE) as p:
        g = go(p.wait)
        parked(g)
        g.cancel()
        assert isinstance(g.exception(T), ramet.GoroutineCancelled)
        with ramet.move_on_after(0.02):
            p.wait()
        assert p.poll() is None
        p.stdin.close()
        assert p.wait(T) == 0


@pytest.mark.parametrize("missing", [True, False])
def test_without_pidfd(monkeypatch, missing):
    if missing:
        monkeypatch.delattr(std_os, "pidfd_open")
    else:

        def none_left(pid, flags=0):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(std_os, "pidfd_open", none_left)
    with Popen(CAT, stdin=PIPE) as p:
        with pytest.raises(TimeoutExpired):
            p.wait(0.02)
        p.stdin.close()
        assert p.wait(T) == 0


def test_reaped_by_another():
    with Popen(["true"]) as p:
        std_os.waitpid(p.pid, 0)
        assert p.wait(T) == 0  # as subprocess has it: nobody knows


def test_hundred_at_once(ticks):
    def one(i):
        done = run(["sh", "-c", f"sleep 0.2; echo {i}"], capture_output=True, text=True)
        return done.returncode, done.stdout

    gs = [go(one, i) for i in range(100)]
    assert [g.join(50) for g in gs] == [(0, f"{i}\n") for i in range(100)]
    assert ticks[0] > 5


def test_communicate_big():
    data = std_os.urandom(1 << 20) * 3
    code = "import sys; d = sys.stdin.buffer.read(); sys.stderr.buffer.write(d); sys.stdout.buffer.write(d)"
    with Popen(py(code), stdin=PIPE, stdout=PIPE, stderr=PIPE) as p:
        out, err = p.communicate(data, timeout=180)
    assert out == data and err == data
    with Popen(CAT, stdin=PIPE, stdout=PIPE) as p:  # both ways at once
        assert p.communicate(data) == (data, None)


def test_communicate_one_pipe():
    with Popen(["echo", "hi"], stdout=PIPE) as p:
        assert p.communicate() == (b"hi\n", None)
    with Popen(["true"]) as p:
        assert p.communicate() == (None, None)
    with Popen("cat >/dev/null", shell=True, stdin=PIPE) as p:
        assert p.communicate(b"x" * 200_000) == (None, None)


def test_communicate_nobody_reads():
    with Popen(["true"], stdin=PIPE, stdout=PIPE) as p:
        assert p.communicate(b"x" * 1_000_000) == (b"", None)


def test_communicate_timeout_loses_nothing():
    with Popen("echo one; cat", shell=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as p:
        assert p.stdout.read1() == b"one\n"
        feed = std_os.dup(p.stdin.fileno())  # keeps it from ending
        try:
            with pytest.raises(TimeoutExpired) as info:
                p.communicate(b"two\n", timeout=0.3)
            assert info.value.output == b"two\n"
            with ramet.move_on_after(0.02):
                p.communicate()
            with pytest.raises(ValueError):
                p.communicate(b"more")
        finally:
            std_os.close(feed)
        assert p.communicate(timeout=T) == (b"two\n", b"")


def test_communicate_takes_what_is_buffered():
    with Popen(["printf", "a\\nb\\nc\\n"], stdout=PIPE) as p:
        assert p.stdout.readline() == b"a\n"
        assert p.communicate() == (b"b\nc\n", None)
    with Popen(["printf", "a\\r\\nb\\r\\nc\\n"], stdout=PIPE, text=True) as p:
        assert p.stdout.readline() == "a\n"
        assert p.communicate() == ("b\nc\n", None)


def test_text():
    with Popen(CAT, stdin=PIPE, stdout=PIPE, encoding="utf-16-le", bufsize=1) as p:
        assert p.stdin.line_buffering
        p.stdin.write("grüße\n")
        assert p.stdout.readline() == "grüße\n"
        assert p.communicate("ende\r\n\n") == ("ende\n\n", None)
    assert run(CAT, input="ä\n", text=True, encoding="utf-8", stdout=PIPE).stdout == "ä\n"
    with pytest.raises(UnicodeDecodeError):
        run(["printf", "\\377"], stdout=PIPE, encoding="utf-8")
    assert run(["printf", "\\377"], stdout=PIPE, encoding="utf-8", errors="replace").stdout == "\ufffd"


@pytest.mark.parametrize("bufsize", [-1, 0, 100])
def test_streams(ticks, bufsize):
    with Popen(CAT, stdin=PIPE, stdout=PIPE, bufsize=bufsize) as p:
        g = go(p.stdout.read, 5)
        parked(g, state="select")
        p.stdin.write(b"hello")
        p.stdin.flush()
        assert g.join(T) == b"hello"
        big = b"x" * 300_000

        def feed():
            put = 0
            while put < len(big):
                put += p.stdin.write(big[put:])
            p.stdin.close()

        w = go(feed)
        got = b""
        while data := p.stdout.read(70_000):
            got += data
        w.join(T)
        assert got == big


def test_lines():
    with Popen("for i in 1 2 3; do echo $i; sleep 0.01; done", shell=True, stdout=PIPE, text=True) as p:
        assert list(p.stdout) == ["1\n", "2\n", "3\n"]


def test_pipeline():
    """An end that is passed on is what programs expect: blocking."""
    with Popen("sleep 0.1; echo through", shell=True, stdout=PIPE) as a, Popen(CAT, stdin=a.stdout, stdout=PIPE) as b:
        a.stdout.close()
        assert b.communicate(timeout=T)[0] == b"through\n"
        assert std_os.WIFEXITED(b.returncode)


def test_close_wakes_the_reader():
    with Popen(CAT, stdin=PIPE, stdout=PIPE, bufsize=0) as p:
        g = go(p.stdout.read, 1)
        parked(g, state="select")
        p.stdout.close()
        assert isinstance(g.exception(T), ramet.net.ErrClosed)
        with pytest.raises(ValueError):
            p.stdout.read(1)


def test_stderr_to_stdout():
    assert run("echo a; echo b >&2", shell=True, stdout=PIPE, stderr=os.STDOUT).stdout == b"a\nb\n"
    assert run("echo a", shell=True, stdout=os.DEVNULL).stdout is None


def test_no_such_program():
    for options in ({}, {"stdin": PIPE, "stdout": PIPE}):
        with pytest.raises(FileNotFoundError):
            Popen(["/no/such/program"], **options)


def test_run():
    done = run(["echo", "hi"], capture_output=True, check=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.args, done.returncode, done.stdout, done.stderr) == (["echo", "hi"], 0, b"hi\n", b"")
    with pytest.raises(subprocess.CalledProcessError) as info:
        run("echo o; echo e >&2; exit 4", shell=True, capture_output=True, check=True)
    assert (info.value.returncode, info.value.output, info.value.stderr) == (4, b"o\n", b"e\n")
    with pytest.raises(ValueError):
        run(CAT, input=b"", stdin=PIPE)
    with pytest.raises(ValueError):
        run(CAT, capture_output=True, stdout=PIPE)


def test_run_timeout():
    with pytest.raises(TimeoutExpired) as info:
        run("echo early; exec sleep 60", shell=True, stdout=PIPE, timeout=0.3)
    assert info.value.output == b"early\n"


def test_run_cancelled():
    g = go(run, ["sleep", "60"])
    parked(g, state="select")
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)
    with ramet.move_on_after(0.05):
        run(["sleep", "60"])
    with pytest.raises(TimeoutError), ramet.timeout(0.05):
        run(["sleep", "60"])


def test_pending_cancellation():
    seen = []

    def work():
        with Popen(["true"]) as p:
            until(lambda: std_os.waitid(std_os.P_PID, p.pid, std_os.WEXITED | std_os.WNOHANG | std_os.WNOWAIT))
            ramet.current().cancel()
            try:
                p.wait()
            except ramet.Cancelled:
                seen.append(p.returncode)

    go(work).exception(T)
    assert seen == [None]


def test_thread():
    errors = []

    def work():
        try:
            Popen(["true"])
        except RuntimeError as e:
            errors.append(str(e))

    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert errors and "another OS thread" in errors[0]


def test_hosted():
    code = """
import threading
import ramet
t = threading.Thread(target=lambda: ramet.go(int).join()); t.start(); t.join()
from ramet.os import PIPE, Popen, run
assert run(["cat"], input="x", text=True, stdout=PIPE).stdout == "x"
assert ramet.go(run, ["cat"], input="y", text=True, stdout=PIPE).join().stdout == "y"
with Popen(["cat"], stdin=PIPE, stdout=PIPE) as p:
    p.stdin.write(b"z" * 5000); p.stdin.close()
    assert p.stdout.read() == b"z" * 5000
"""
    run_py(code)


def test_interrupted():
    t = threading.Timer(0.05, std_os.kill, (std_os.getpid(), signal.SIGINT))
    t.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(["sleep", "60"])
    assert time.monotonic() - began < 30
    t.join()
