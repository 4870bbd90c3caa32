"""ramet.os.signal: signals as values on channels."""

import os
import signal
import threading

import pytest
import ramet
from helpers import T, run_py
from ramet import Chan, go, select
from ramet.os.signal import notify, stop
from ramet.time import sleep

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


@pytest.fixture
def chan():
    c = Chan(16)
    yield c
    stop(c)


def kill(signum):
    os.kill(os.getpid(), signum)


def later(signum, after=0.02):
    t = threading.Timer(after, kill, (signum,))
    t.daemon = True
    t.start()
    return t


def test_value(chan):
    notify(chan, USR1)
    kill(USR1)
    got = chan.recv(T)
    assert got is USR1 and isinstance(got, signal.Signals)


WAITS = {
    "recv": lambda c: c.recv(T),
    "select": lambda c: select(c, Chan(), timeout=T).value,
    "sleep": lambda c: (sleep(0.1), c.recv(T))[1],
    "join": lambda c: go(c.recv, T).join(T),
    "iteration": lambda c: next(iter(c)),
    "blocking": lambda c: ramet.blocking(lambda: (threading.Event().wait(0.1), c.recv(T))[1]),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_main_is_parked(chan, wait):
    notify(chan, USR1)
    t = later(USR1)
    assert wait(chan) is USR1
    t.join()


def test_from_a_goroutine(chan):
    go(notify, chan, USR1, USR2).join(T)
    kill(USR2)
    assert chan.recv(T) is USR2
    go(stop, chan).join(T)
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_several_channels(chan):
    other = Chan(1)
    before = signal.getsignal(USR1)
    notify(chan, USR1)
    notify(chan, USR1)  # once is enough
    notify(other, USR1)
    kill(USR1)
    assert chan.recv(T) is USR1 and other.recv(T) is USR1 and not len(chan)
    stop(other)
    kill(USR1)
    assert chan.recv(T) is USR1 and not len(other)
    stop(chan)
    stop(chan)
    assert signal.getsignal(USR1) == before


def test_full_and_closed_drop(chan):
    small, gone = Chan(1), Chan(1)
    for c in (small, gone, chan):
        notify(c, USR1)
    gone.close()
    for _ in range(3):
        kill(USR1)
        assert chan.recv(T) is USR1
    assert len(small) == 1
    stop(small)
    stop(gone)


def test_unbuffered(chan):
    c = Chan()
    notify(c, USR1)
    kill(USR1)  # nobody waits
    g = go(c.recv, T)
    sleep(0.01)
    assert not g.done()
    kill(USR1)
    assert g.join(T) is USR1
    stop(c)


def test_no_keyboard_interrupt(chan):
    notify(chan, signal.SIGINT)
    t = later(signal.SIGINT)
    assert chan.recv(T) is signal.SIGINT
    t.join()
    stop(chan)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        later(signal.SIGINT)  # on a loaded machine it comes before the thread's start returns
        sleep(T)


def test_previous_handler(chan):
    seen = []
    old = signal.signal(USR1, lambda s, f: seen.append(s))
    try:
        mine = signal.getsignal(USR1)
        notify(chan, USR1)
        stop(chan)
        assert signal.getsignal(USR1) is mine
        notify(chan, USR1)
        signal.signal(USR1, signal.SIG_IGN)  # of somebody else's, since
        stop(chan)
        assert signal.getsignal(USR1) is signal.SIG_IGN
    finally:
        signal.signal(USR1, old)


def test_all(chan):
    before = {s: signal.getsignal(s) for s in signal.valid_signals()}
    notify(chan)
    try:
        for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGRTMIN, signal.SIGRTMIN + 1):
            kill(s)
            got = chan.recv(T)
            assert got == s, (got, s)
        assert signal.getsignal(signal.SIGSEGV) == before[signal.SIGSEGV]
    finally:
        stop(chan)
    assert {s: signal.getsignal(s) for s in signal.valid_signals()} == before


def test_misuse(chan):
    for bad in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, 0, -1, 1000):
        with pytest.raises(ValueError):
            notify(chan, USR1, bad)
    with pytest.raises(TypeError):
        notify(chan, "SIGUSR1")
    with pytest.raises(TypeError):
        notify(USR1)
    with pytest.raises(TypeError):
        stop(None)
    assert signal.getsignal(USR1) is signal.SIG_DFL


def test_thread(chan):
    errors = []

    def work():
        for call in (lambda: notify(chan, USR1), lambda: stop(chan)):
            try:
                call()
            except RuntimeError as e:
                errors.append(str(e))

    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert len(errors) == 2 and all("main OS thread" in e for e in errors)


def test_program_that_only_waits():
    code = """
import os, signal, threading
import ramet
from ramet.os.signal import notify
c = ramet.Chan(1)
notify(c, signal.SIGTERM)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
assert c.recv() is signal.SIGTERM
"""
    ended = run_py(code)
    assert ended.err == ""


def test_hosted():
    """Ramet was first used by another thread: signals still are main's."""
    code = """
import os, signal, threading
import ramet
t = threading.Thread(target=lambda: ramet.go(int).join()); t.start(); t.join()
from ramet.os.signal import notify
c = ramet.Chan(1)
try:
    ramet.go(notify, c, signal.SIGTERM).join()
except RuntimeError as e:
    assert "main OS thread" in str(e)
else:
    raise AssertionError
notify(c, signal.SIGTERM)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
assert c.recv(20) is signal.SIGTERM
"""
    run_py(code)
