"""SIGINT raises KeyboardInterrupt in main wherever it is parked; handlers of the user's run, and may use ramet."""

import _thread
import os
import signal
import threading
import time

import pytest
import ramet
from helpers import T, finish, run_py, start_py
from ramet import Chan, go, gosched, run, select
from ramet.time import sleep

WAITS = {
    "recv": lambda: Chan().recv(),
    "recv with a timeout": lambda: Chan().recv(T),
    "recv_ok": lambda: Chan().recv_ok(T),
    "iteration": lambda: list(Chan()),
    "send": lambda: Chan().send(1),
    "select": lambda: select(Chan(), Chan()),
    "select nothing": lambda: select(timeout=T),
    "sleep": lambda: sleep(T),
    "join": lambda: go(sleep, 0.3).join(),
    "exception": lambda: go(sleep, 0.3).exception(),
    "run": lambda: (go(sleep, 0.3), run()),
    "run(main)": lambda: run(sleep, T),
    "blocking": lambda: ramet.blocking(time.sleep, 0.3),
    "gosched": lambda: [gosched() for _ in iter(int, 1)],
    "compute": lambda: [None for _ in iter(int, 1)],
}


@pytest.fixture(autouse=True)
def python_handler():
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.fixture
def readable_forever():
    r, w = os.pipe()
    yield lambda: select(ramet.readable(r))
    os.close(r)
    os.close(w)


def interrupt(after, signum=signal.SIGINT):
    """Send this process a signal from outside, in a while, and not before main waits, if it does in a second."""
    main, started = ramet.current(), threading.Event()

    def send():
        started.wait()
        time.sleep(after)
        end = time.monotonic() + 1
        while main.state == "running" and time.monotonic() < end:
            time.sleep(0.001)
        os.kill(os.getpid(), signum)

    t = threading.Thread(target=send, daemon=True)
    t.start()
    started.set()
    return t


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_sigint_in_main(wait):
    t = interrupt(0.02)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait()
    assert time.monotonic() - began < 10
    t.join()
    c = Chan(1)  # all is as before
    c.send(1)
    assert c.recv() == 1 and go(lambda: 2).join(T) == 2


def test_sigint_in_a_wait_for_a_descriptor(readable_forever):
    interrupt(0.02)
    with pytest.raises(KeyboardInterrupt):
        readable_forever()


@pytest.mark.parametrize("wait", ["accept", "read"])
def test_sigint_in_net(wait):
    net = pytest.importorskip("ramet.net")
    ln = net.listen("tcp", "127.0.0.1:0")
    conn = net.dial("tcp", ln.addr)
    other = ln.accept()
    interrupt(0.02)
    with pytest.raises(KeyboardInterrupt):
        ln.accept() if wait == "accept" else conn.read(1)
    other.write(b"x")
    assert conn.read(1) == b"x"
    for x in (ln, conn, other):
        x.close()


def test_sigint_while_a_goroutine_computes():
    """It goes to main, not to who runs."""
    log = []

    def busy():
        end = time.monotonic() + 0.1
        try:
            while time.monotonic() < end:
                pass
            log.append("ended")
        except KeyboardInterrupt:
            log.append("interrupted")
            raise

    g = go(busy)
    interrupt(0.03)
    with pytest.raises(KeyboardInterrupt):
        Chan().recv(T)
    g.exception(T)
    assert g.done()


def test_other_goroutines_are_not_touched():
    c = Chan()
    g = go(c.recv)
    interrupt(0.02)
    with pytest.raises(KeyboardInterrupt):
        Chan().recv(T)
    assert not g.done()
    c.send(1, T)
    assert g.join(T) == 1


def test_finally_blocks_of_main_may_wait():
    interrupt(0.02)
    with pytest.raises(KeyboardInterrupt):
        try:
            Chan().recv(T)
        finally:
            sleep(0.01)
            assert go(lambda: 5).join(T) == 5


def test_ten_in_a_row():
    for _ in range(10):
        interrupt(0.005)
        with pytest.raises(KeyboardInterrupt):
            Chan().recv(T)


def test_interrupt_main():
    go(_thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        Chan().recv(T)


# ---- handlers of the user's -------------------------------------------------------------------------


@pytest.fixture
def handle():
    old = {}

    def install(signum, fn):
        old[signum] = signal.signal(signum, fn)

    yield install
    for signum, fn in old.items():
        signal.signal(signum, fn)


@pytest.mark.parametrize("by", ["timer", "goroutine", "thread"])
def test_a_handler_sends(handle, by):
    c = Chan()
    handle(signal.SIGUSR1, lambda signum, frame: c.send(signum, T))
    kill = lambda: os.kill(os.getpid(), signal.SIGUSR1)  # noqa: E731
    if by == "timer":
        handle(signal.SIGALRM, lambda *a: kill())
        signal.setitimer(signal.ITIMER_REAL, 0.02)
    elif by == "goroutine":
        go(kill)
    else:
        interrupt(0.02, signal.SIGUSR1)
    assert c.recv(T) == signal.SIGUSR1


def test_a_handler_starts_and_closes(handle):
    c, got = Chan(), []

    def on(signum, frame):
        go(got.append, 1)
        c.close()

    handle(signal.SIGUSR1, on)
    interrupt(0.02, signal.SIGUSR1)
    assert c.recv_ok(T) == (None, False)
    gosched()
    assert got == [1]


def test_what_a_handler_raises_goes_to_main(handle):
    class Mine(Exception):
        pass

    def on(signum, frame):
        raise Mine

    handle(signal.SIGUSR1, on)
    for wait in (lambda: Chan().recv(T), lambda: sleep(T), lambda: select(timeout=T), lambda: run(sleep, T)):
        interrupt(0.01, signal.SIGUSR1)
        with pytest.raises(Mine):
            wait()


def test_a_wait_goes_on_after_a_handler(handle):
    hits = []
    handle(signal.SIGUSR1, lambda *a: hits.append(1))
    interrupt(0.02, signal.SIGUSR1)
    t = time.monotonic()
    sleep(0.1)
    assert time.monotonic() - t >= 0.1 and hits == [1]
    c = Chan()
    interrupt(0.01, signal.SIGUSR1)
    go(lambda: (sleep(0.05), c.send(7)))
    assert c.recv(T) == 7 and hits == [1, 1]


def test_no_signal_is_lost(handle):
    """One at a time, each answered by its handler, while main parks in all ways."""
    hits, pid, n = [], os.getpid(), 300
    c = Chan()
    handle(signal.SIGUSR1, lambda *a: hits.append(1))
    r, w = os.pipe()

    def send():
        for i in range(n):
            os.kill(pid, signal.SIGUSR1)
            end = time.monotonic() + T
            while len(hits) <= i:
                if time.monotonic() > end:
                    c.send("lost")
                    return
                time.sleep(0)
        c.send("all")

    t = threading.Thread(target=send, daemon=True)
    t.start()
    result = None
    while result is None:
        for wait in (
            lambda: c.recv(0.002),
            lambda: select(c, timeout=0.002).value,
            lambda: [gosched() for _ in range(20)] and None,
            lambda: sleep(0.001),
            lambda: go(sleep, 0.001).join(),
            lambda: ramet.blocking(lambda: None),
            lambda: select(c, ramet.readable(r), timeout=0.002).value,
        ):
            try:
                result = wait()
            except TimeoutError:
                continue
            if result is not None:
                break
    t.join(T)
    os.close(r)
    os.close(w)
    assert result == "all" and len(hits) == n


def test_wakeup_fd_of_the_user_is_kept():
    r, w = os.pipe()
    os.set_blocking(w, False)
    try:
        old = signal.set_wakeup_fd(w)
        gosched()
        sleep(0.001)
        assert signal.set_wakeup_fd(old) == w
    finally:
        os.close(r)
        os.close(w)


# ---- whole programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wait", ["Chan().recv()", "sleep(100)", "run()", "go(sleep, 100).join()", "select()", "run(sleep, 100)"]
)
def test_uncaught_sigint_ends_the_program(wait):
    code = f"""
import ramet
from ramet import *
from ramet.time import sleep
go(sleep, 100)
def tell():
    print("ready", flush=True)
go(tell)
{wait}
"""
    p = start_py(code)
    assert p.stdout.readline() == "ready\n"
    time.sleep(0.05)
    p.send_signal(signal.SIGINT)
    ended = finish(p, status=-signal.SIGINT)
    assert "KeyboardInterrupt" in ended.err, str(ended)


def test_sigint_before_first_use_and_ignored():
    ended = run_py(
        "import ramet, os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "g = ramet.go(os.kill, os.getpid(), signal.SIGINT)\n"
        "ramet.time.sleep(0.05)\nprint(g.join())\n"
    )
    assert ended.out == "None\n" and ended.err == "", str(ended)


def test_sigint_with_a_hosted_runtime():
    """Main is a foreign thread here, and is interrupted all the same."""
    code = """
import os, signal, threading, ramet
threading.Thread(target=lambda: ramet.go(int).join()).start()
import time; time.sleep(0.05)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    ramet.Chan().recv(20)
except KeyboardInterrupt:
    print("interrupted")
"""
    ended = run_py(code)
    assert ended.out == "interrupted\n" and ended.err == "", str(ended)


def test_a_handler_in_c_while_main_waits_for_a_thread():
    """It runs no Python code; the thread needs the GIL of a proc that is idle."""
    code = """
import os, signal, threading, time, ramet
got, c = {}, ramet.Chan()
signal.signal(signal.SIGUSR1, got.setdefault)
def send():
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.1)
    c.send(1)
threading.Thread(target=send).start()
assert c.recv(timeout=50) == 1 and list(got) == [signal.SIGUSR1]
"""
    run_py(code)


HOSTED = """
import os, signal, threading, time, ramet
t = threading.Thread(target=lambda: ramet.go(int).join()); t.start(); t.join()
a, b = ramet.Chan(), ramet.Chan()
log = []
def after(s, fn, *args):
    threading.Timer(s, fn, args).start()
"""


@pytest.mark.parametrize("first", ["handler", "main"])
def test_a_handler_waits_within_a_wait_of_a_hosted_runtimes_main(first):
    """Each gets what is its own, whichever comes first; and neither is stuck while the other is not."""
    code = """
def handler(*_):
    log.append(("handler", b.recv(timeout=50), ramet.select(ramet.time.after(0.01)).index))
signal.signal(signal.SIGUSR1, handler)
after(0.1, os.kill, os.getpid(), signal.SIGUSR1)
after(0.3, FIRST)
after(0.5, SECOND)
log.append(("main", a.recv(timeout=50)))
print(log)
"""
    sends = ["b.send, 2", "a.send, 1"]
    code = code.replace("FIRST", sends[first == "main"]).replace("SECOND", sends[first != "main"])
    ended = run_py(HOSTED + code)
    assert ended.out == "[('handler', 2, 0), ('main', 1)]\n" and ended.err == "", str(ended)


def test_a_handler_fails_when_its_hosted_runtimes_main_has_just_been_woken():
    """The wait has ended well, and the exception is raised after it."""
    code = """
def handler(*_):
    b.recv(timeout=50)
    raise ValueError("the handler's")
signal.signal(signal.SIGUSR1, handler)
def both():
    a.send(1)
    b.send(2)
after(0.1, os.kill, os.getpid(), signal.SIGUSR1)
after(0.3, both)
try:
    a.recv(timeout=50)
    for _ in range(1000): pass
except ValueError as e:
    print(e)
"""
    ended = run_py(HOSTED + code)
    assert ended.out == "the handler's\n" and ended.err == "", str(ended)


def test_a_handler_exits_while_its_hosted_runtimes_main_waits():
    ended = run_py(
        HOSTED
        + """
signal.signal(signal.SIGUSR1, lambda *_: b.recv() and exit(3))
after(0.1, os.kill, os.getpid(), signal.SIGUSR1)
after(0.3, b.send, 1)
a.recv()
""",
        status=3,
    )
    assert ended.err == "", str(ended)


def test_a_lock_of_a_hosted_runtimes_main_is_its_handlers():
    run_py(
        HOSTED
        + """
lock = ramet.sync.RLock()
def handler(*_):
    with lock: a.send(1)
def receive():
    log.append(a.recv())
    b.send(log)
signal.signal(signal.SIGUSR1, handler)
after(0.1, os.kill, os.getpid(), signal.SIGUSR1)
ramet.go(receive)
with lock:
    assert b.recv(timeout=50) == [1]
"""
    )
