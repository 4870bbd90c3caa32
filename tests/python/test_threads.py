"""Other OS threads: what works in them, blocking as threads do, and what is refused."""

import random
import threading
import time

import pytest
import ramet
from helpers import RECURSED, T, parked, run_py, until
from ramet import Chan, ChanClosed, default, go, gosched, select
from ramet.time import sleep


class Thread(threading.Thread):
    """A thread whose outcome can be had while goroutines run."""

    def __init__(self, fn, *args):
        super().__init__(daemon=True)
        self.fn, self.args, self.outcome = fn, args, None
        self.start()

    def run(self):
        try:
            self.outcome = (self.fn(*self.args), None)
        except BaseException as e:
            self.outcome = (None, e)

    def end(self):
        until(lambda: not self.is_alive(), sleep=sleep)
        value, exc = self.outcome
        if exc:
            raise exc
        return value


def test_send_and_recv():
    c, d = Chan(), Chan()
    t = Thread(lambda: [d.send(c.recv() * 2) for _ in range(100)])
    for i in range(100):
        c.send(i, T)
        assert d.recv(T) == i * 2
    t.end()


@pytest.mark.parametrize("capacity", [0, 1, 16])
def test_thread_to_goroutine(capacity):
    c = Chan(capacity)

    def produce():
        for i in range(2000):
            c.send(i)
        c.close()

    t = Thread(produce)
    g = go(list, c)
    assert g.join(T) == list(range(2000))
    t.end()


@pytest.mark.parametrize("capacity", [0, 1, 16])
def test_goroutine_to_thread(capacity):
    c = Chan(capacity)
    t = Thread(list, c)

    def produce():
        for i in range(2000):
            c.send(i)
        c.close()

    go(produce).join(T)
    assert t.end() == list(range(2000))


@pytest.mark.parametrize("capacity", [0, 1, 16])
def test_thread_to_thread(capacity):
    c = Chan(capacity)
    a = Thread(list, c)
    b = Thread(lambda: ([c.send(i) for i in range(2000)], c.close()))
    b.end()
    assert a.end() == list(range(2000))


def test_main_outside_ramet():
    """Two threads, and main that just joins them."""
    c = Chan()
    a = Thread(list, c)
    b = Thread(lambda: ([c.send(i) for i in range(500)], c.close()))
    b.join(T)
    a.join(T)
    assert a.end() == list(range(500))


def test_methods_that_do_not_wait():
    def f():
        c = Chan(1, name="t")
        assert c.try_send(1) and not c.try_send(2)
        assert c.try_recv() == (1, True)
        with pytest.raises(ramet.WouldBlock):
            c.try_recv()
        c.send_exception(KeyError("k"))
        with pytest.raises(KeyError):
            c.recv()
        assert select(c, default) == default
        c.close()
        with pytest.raises(ChanClosed):
            c.close()
        with pytest.raises(ChanClosed):
            c.send(1)
        with pytest.raises(ChanClosed):
            c.recv()
        assert c.recv_ok() == (None, False)
        assert list(c) == []
        assert ramet.num_goroutines() >= 1 and ramet.stats()["goroutines"] >= 1
        return True

    assert Thread(f).end()


def test_timeouts():
    def f():
        c = Chan()
        for call in (
            lambda: c.recv(0.01),
            lambda: c.recv_ok(0),
            lambda: c.send(1, 0.01),
            lambda: select(c, c.if_send(1), timeout=0.01),
            lambda: select(timeout=0.01),
            lambda: g.join(0.01),
            lambda: g.exception(0.01),
        ):
            t = time.monotonic()
            with pytest.raises(TimeoutError):
                call()
            assert time.monotonic() - t < 10
        assert c.try_send(1) is False
        return True

    g = go(Chan().recv, 100)
    assert Thread(f).end()
    g.cancel()
    g.exception(T)


def test_timeout_leaves_no_waiter():
    c = Chan()

    def f():
        for _ in range(50):
            with pytest.raises(TimeoutError):
                c.recv(0.0005)

    ts = [Thread(f) for _ in range(4)]
    for t in ts:
        t.end()
    assert c.try_send(1) is False


def test_select():
    a, b, end = Chan(), Chan(), Chan()

    def f():
        got = []
        while True:
            s = select(a, b, end)
            if s == end:
                return got
            got.append((s.index, s.value))

    t = Thread(f)
    for i in range(100):
        (a if i % 2 else b).send(i, T)
    end.close()
    assert sorted(v for _, v in t.end()) == list(range(100))


def test_select_that_sends():
    a, b = Chan(), Chan()
    t = Thread(lambda: [select(a.if_send(i), b.if_send(-i)).index for i in range(100)])
    for i in range(100):
        c = random.choice((a, b))
        assert abs(c.recv(T)) == i
    t.end()


def test_close_wakes_threads():
    c, d = Chan(), Chan()
    ts = [Thread(c.recv_ok), Thread(select, c), Thread(list, c)]
    u = [Thread(d.send, 1), Thread(lambda: select(d.if_send(2)))]
    sleep(0.02)
    c.close()
    d.close()
    assert ts[0].end() == (None, False) and ts[1].end().ok is False and ts[2].end() == []
    for t in u:
        with pytest.raises(ChanClosed):
            t.end()


def test_exception_from_a_thread():
    c = Chan()
    t = Thread(c.send_exception, KeyError("thrown"))
    with pytest.raises(KeyError, match="thrown"):
        c.recv(T)
    t.end()
    t = Thread(c.recv)
    sleep(0.005)
    c.send_exception(ValueError("caught"))
    with pytest.raises(ValueError, match="caught"):
        t.end()


def test_go_and_join():
    def f():
        me = threading.get_ident()
        g = go(lambda x: (x, threading.get_ident()), 5)
        x, ident = g.join(T)
        assert ident != me and g.done()
        h = go(lambda: 1 / 0)
        assert isinstance(h.exception(T), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            h.join()
        return x

    assert Thread(f).end() == 5


def test_go_in_order():
    log = []
    Thread(lambda: [g.join(T) for g in [go(log.append, i) for i in range(200)]]).end()
    assert log == list(range(200))


def test_goroutines_join_what_threads_started():
    c = Chan(1)
    t = Thread(lambda: c.send(go(lambda: 7)))
    assert go(lambda: c.recv(T).join(T)).join(T) == 7
    t.end()


def test_cancel():
    c = Chan()
    g = go(c.recv)
    parked(g)
    assert Thread(g.cancel, "from a thread").end() is True
    e = g.exception(T)
    assert isinstance(e, ramet.GoroutineCancelled) and e.args == ("from a thread",)
    h = go(int)
    h.join(T)
    assert Thread(h.cancel).end() is False

    def f():
        k = go(lambda: sleep(100))
        k.cancel()
        return isinstance(k.exception(T), ramet.GoroutineCancelled)

    assert Thread(f).end()


def test_if_done():
    c = Chan()
    g = go(c.recv)
    t = Thread(lambda: select(g.if_done(), Chan()).value)
    sleep(0.01)
    c.send(3, T)
    assert t.end() is g


def test_dump_and_state_from_a_thread(capsys):
    c = Chan(name="seen")
    g = go(c.recv)
    parked(g)
    assert Thread(lambda: (g.state, g.done(), g.name, g.id, [f.name for f in g.stack()])).end()[:2] == (
        "chan receive",
        False,
    )
    Thread(ramet.dump).end()
    assert "seen" in capsys.readouterr().err
    c.send(1)
    g.join(T)


@pytest.mark.parametrize(
    "call",
    [
        gosched,
        lambda: sleep(0.01),
        lambda: ramet.blocking(int),
        lambda: ramet.current(),
        lambda: ramet.set_max_threads(5),
        lambda: ramet.run(),
        lambda: select(ramet.readable(0)),
        lambda: select(Chan(), ramet.writable(1), default),
    ],
    ids="gosched sleep blocking current set_max_threads run readable writable".split(),
)
def test_refused(call):
    gosched()  # the runtime runs, in main
    with pytest.raises(RuntimeError, match="thread"):
        Thread(call).end()


def test_many_threads_and_goroutines():
    """Every value once, whoever sends and whoever receives."""
    c = Chan(5)
    n, each = 6, 300

    def produce(k):
        for i in range(each):
            if i % 3 == 0:
                select(c.if_send((k, i)))
            elif i % 3 == 1:
                c.send((k, i), T)
            else:
                while True:
                    try:
                        c.send((k, i), 0.001)
                        break
                    except TimeoutError:
                        pass

    def consume():
        out = []
        while True:
            try:
                s = select(c, timeout=0.001)
            except TimeoutError:
                continue
            if not s.ok:
                return out
            out.append(s.value)
            v, ok = c.recv_ok()
            if not ok:
                return out
            out.append(v)

    producers = [go(produce, k) if k % 2 else Thread(produce, k) for k in range(n)]
    consumers = [go(consume) if k % 2 else Thread(consume) for k in range(n)]

    def end(x):
        return x.end() if isinstance(x, Thread) else x.join(T)

    for p in producers:
        end(p)
    c.close()
    got = [v for x in consumers for v in end(x)]
    assert sorted(got) == [(k, i) for k in range(n) for i in range(each)]


def test_threads_come_and_go():
    c = Chan()
    for i in range(100):
        t = threading.Thread(target=c.send, args=(i,))
        t.start()
        assert c.recv(T) == i
        t.join(T)


def test_a_hundred_threads_wait():
    c = Chan()
    ts = [Thread(c.recv) for _ in range(100)]
    for i in range(100):
        c.send(i, T)
    assert sorted(t.end() for t in ts) == list(range(100))


# ---- first use elsewhere ----------------------------------------------------------------------------


def test_first_use_in_a_thread_that_ends():
    code = """
import threading
import ramet
from ramet import Chan, go, select
from ramet.time import sleep
out = []
def first():
    c = Chan()
    g = go(lambda: (c.send(threading.get_ident()), "r"))
    out.append(c.recv(20))
    out.append(g.join(50))
    out.append(go(lambda: (sleep(0.01), 5)).join(50))
keep = Chan()
def starts():
    global g
    g = go(keep.recv)
t = threading.Thread(target=first); t.start(); t.join()
assert out[1:] == [(None, "r"), (None, 5)] and out[0] not in (t.ident, threading.get_ident()), out
t = threading.Thread(target=starts); t.start(); t.join()
# main is a foreign thread now
assert keep.send(3, 20) is None
assert g.join(50) == 3
c = Chan()
go(c.send, 4)
assert c.recv(20) == 4
assert ramet.select(c, ramet.default) == ramet.default
g = go(Chan().recv)
g.cancel()
assert isinstance(g.exception(20), ramet.GoroutineCancelled)
assert go(lambda: ramet.blocking(lambda: 6)).join(50) == 6
def f():
    g = go(lambda: 7)
    return g.join() + go(ramet.current).join().id
assert go(f).join(50) > 7
print("fine", ramet.num_goroutines() >= 0)
"""
    ended = run_py(code)
    assert ended.out.startswith("fine") and ended.err == "", str(ended)


def test_a_program_that_ends_before_our_thread_has_begun():
    code = """
import sys, threading, ramet
sys.setswitchinterval(100)
t = threading.Thread(target=ramet.go, args=(int,))
t.start()
t.join()
"""
    for _ in range(5):
        assert run_py(code).err == ""


def test_recursion_where_a_thread_of_ours_runs_goroutines():
    code = """
import threading, ramet
t = threading.Thread(target=lambda: ramet.go(int).join())
t.start()
t.join()
print({g.join() for g in [ramet.go(recursed) for _ in range(8)]})
"""
    assert run_py(RECURSED + code).out == "{'caught'}\n"


def test_first_use_in_a_thread_then_run_in_main():
    code = """
import threading, ramet
threading.Thread(target=lambda: ramet.go(int).join()).start()
import time; time.sleep(0.1)
print(ramet.run(lambda x: x + 1, 4))
"""
    ended = run_py(code)
    assert ended.out == "5\n" and ended.err == "", str(ended)


def test_first_use_by_many_threads_at_once():
    code = """
import threading, ramet
barrier, out = threading.Barrier(8), []
def f(i):
    barrier.wait()
    out.append(ramet.go(lambda: i).join(50))
ts = [threading.Thread(target=f, args=(i,)) for i in range(8)]
for t in ts: t.start()
for t in ts: t.join()
assert sorted(out) == list(range(8)), out
"""
    run_py(code)


def test_first_use_in_a_daemon_thread_at_exit():
    code = """
import threading, ramet
c = ramet.Chan()
def f():
    ramet.go(c.recv)
    c.recv()
threading.Thread(target=f, daemon=True).start()
import time; time.sleep(0.1)
print("end")
"""
    ended = run_py(code)
    assert ended.out == "end\n" and ended.err == "", str(ended)


def test_daemon_threads_that_wait_at_exit():
    code = """
import threading, ramet, time
c = ramet.Chan()
g = ramet.go(c.recv)
ramet.gosched()
for fn in (c.recv, lambda: ramet.select(c, ramet.Chan()), g.join, lambda: [c.recv(0.001) for _ in range(10**9)], lambda: time.sleep(1000)):
    def f(fn=fn):
        try: fn()
        except TimeoutError: f()
    threading.Thread(target=f, daemon=True).start()
time.sleep(0.1)
print("end")
"""
    ended = run_py(code)
    assert ended.out == "end\n", str(ended)
    assert ended.seconds < 50, str(ended)


def test_main_that_gets_no_cpu_does_not_block():
    """Two want one CPU, and main is the one with the lowest priority there is: it waits for the CPU, not for something outside."""
    code = """
import os, signal, time
import ramet
ramet.go(ramet.time.sleep, 0.01)
ramet.gosched()
cpu = {min(os.sched_getaffinity(0))}
rival = os.fork()
if rival == 0:
    os.sched_setaffinity(0, cpu)
    signal.alarm(20)
    while True: pass
used = time.thread_time()
os.sched_setaffinity(0, cpu)                                # of this thread only
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
end = time.monotonic() + 4
while time.monotonic() < end: pass
print(time.thread_time() - used < 0.2)
os.kill(rival, signal.SIGKILL)
"""
    ended = run_py(code, env={"PYTHONWARNINGS": "ignore"})
    if ended.out == "False\n":
        pytest.skip("the scheduler gives a thread of SCHED_IDLE a twentieth of a CPU that another one wants")
    assert (ended.out, ended.err) == ("True\n", ""), str(ended)


def test_main_that_blocks_outside_ramet_is_reported():
    """Once, with the place; and the thread that reports does not become threading's main thread."""
    code = """
import sys, time
import ramet
assert "threading" not in sys.modules
ramet.go(ramet.time.sleep, 0.01)
ramet.gosched()
def elsewhere():
    time.sleep(3)
elsewhere()
import threading
print(threading.main_thread().ident == threading.get_ident())
"""
    ended = run_py(code)
    assert ended.out == "True\n", str(ended)
    assert ended.err.count("blocking outside ramet") == 1 and "line 8, in elsewhere" in ended.err, str(ended)
