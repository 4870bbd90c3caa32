"""Free-threaded CPython: goroutines on one proc, beside threads that run in parallel; what its objects do otherwise than
elsewhere: locks of their own, and counts split between threads. What does not need such a build runs on every CPython."""

import gc
import importlib.util
import os
import random
import subprocess
import sys
import sysconfig
import threading
import time

import pytest
import ramet
from helpers import T, environment, until
from ramet import Chan, go, gosched, select
from ramet.time import sleep

needs_threaded = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this CPython always has the GIL"
)

needs_greenlet = pytest.mark.skipif(
    not importlib.util.find_spec("greenlet"), reason="there is no wheel of greenlet for this interpreter"
)


def run_unasked(code, *options):
    """Nobody has said anything about the GIL."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"}
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)


@needs_threaded
@pytest.mark.parametrize("options", [(), ("-X", "gil=0")], ids=["default", "gil=0"])
def test_the_gil_stays_disabled(options):
    """Through an import and a first use beside threads that are at work, and nothing is said about it."""
    code = """
import sys, threading, time
end, log = threading.Event(), []
def append():
    while not end.is_set():
        for _ in range(10_000): log.append({})
        log.clear()
        time.sleep(0.001)
busy = [threading.Thread(target=append) for _ in range(2)]
for t in busy: t.start()
import ramet
c = ramet.Chan()
def use():
    for i in range(1000): c.send(i)
t = threading.Thread(target=use)
t.start()
assert [c.recv() for i in range(1000)] == list(range(1000))
t.join()
end.set()
for t in busy: t.join()
assert not sys._is_gil_enabled()
"""
    done = run_unasked(code, *options)
    assert done.returncode == 0 and not done.stderr, done


MANY = """
import sys, threading, ramet
sys.setswitchinterval(1e-4)
chans, results = [ramet.Chan(n) for n in (0, 1, 8)], ramet.Chan()
def produce(k):
    for i in range(2000): chans[i % 3].send(k + i)
def consume():
    got = 0
    left = list(chans)
    while left:
        s = ramet.select(*left)
        if s.ok: got += s.value
        else: left.remove(s.chan)
    results.send(got)
threads = [threading.Thread(target=f, args=a) for f, a in ((produce, (5,)), (produce, (7,)), (consume, ()))]
for t in threads: t.start()
gs = [ramet.go(produce, 1), ramet.go(produce, 2)]
ramet.go(consume)
BETWEEN
for g in gs: g.join()
for t in threads[:2]: t.join()
for c in chans: c.close()
print(results.recv() + results.recv() - 4 * sum(range(2000)) - 2000 * 15, sys._is_gil_enabled())
threads[2].join()
"""


@needs_threaded
def test_the_gil_enabled_from_the_beginning():
    done = run_unasked(MANY.replace("BETWEEN", ""), "-X", "gil=1")
    assert (done.stdout, done.stderr) == ("0 True\n", ""), done


@needs_threaded
@needs_greenlet
def test_the_gil_enabled_meanwhile():
    """By a module that cannot do without, while goroutines and threads are at work."""
    done = run_unasked(MANY.replace("BETWEEN", "import greenlet"), "-W", "ignore::RuntimeWarning")
    assert (done.stdout, done.stderr) == ("0 True\n", ""), done


@needs_threaded
@needs_greenlet
@pytest.mark.parametrize("gil", ["0", "1"])
def test_greenlets(gil):
    file = os.path.join(os.path.dirname(__file__), "test_greenlet.py")
    command = [sys.executable, "-X", f"gil={gil}", "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(command, env=environment(PYTHON_GIL=gil), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@needs_threaded
def test_threads_run_beside_goroutines():
    """Each waits for the other to move on, and gives nothing up: with a GIL one of them would wait for ever."""
    code = """
import sys, threading, ramet
ramet.gosched()  # first use imports something, and CPython enables the GIL while it does that
sys.setswitchinterval(1000)
turn = [0]
def follow(me):
    for i in range(50):
        while turn[0] != 2 * i + me: pass
        turn[0] += 1
t = threading.Thread(target=follow, args=(1,))
t.start()
ramet.go(follow, 0).join()
t.join()
print(turn)
"""
    assert run_unasked(code).stdout == "[100]\n"


@needs_threaded
@pytest.mark.parametrize(
    "how", ["ramet.run(compute)", "ramet.go(compute).join()", "ramet.time.after_func(0, compute); ended.wait()"]
)
def test_who_computes_keeps_no_thread_waiting(how):
    """Whoever started it: other threads use ramet meanwhile."""
    code = """
import threading, ramet
from ramet import Chan
c, done, ended = Chan(100), [], ramet.sync.Event()
def compute():
    while not done: pass
    ended.set()
def use():
    for i in range(100): c.send(i)
    assert [c.recv() for i in range(100)] == list(range(100))
    done.append(1)
t = threading.Thread(target=use)
def begin():
    t.start()
    HOW
begin()
t.join()
"""
    done = run_unasked(code.replace("HOW", how))
    assert done.returncode == 0 and not done.stderr, done


def test_stacks_of_who_runs_elsewhere():
    """Of a goroutine that computes, and calls and returns, while a thread looks."""
    stop, seen = [], []

    def inner(n):
        return n and inner(n - 1)

    def compute():
        while not stop:
            inner(5)

    def look():
        try:
            for _ in range(100):
                names = [f.name for f in g.stack()]
                seen.append(names == ["compute"] + ["inner"] * (len(names) - 1))
        finally:
            stop.append(1)

    t = threading.Thread(target=look)
    g = go(lambda: (t.start(), compute_in_turn()))

    def compute_in_turn():
        compute()

    g.join(T)
    t.join()
    assert len(seen) == 100


def test_handles_that_threads_drop():
    """Whoever asks for a handle gets a good one, while another thread drops the last reference to it."""
    stop, errors = [], []

    def look():
        while not stop:
            for g in ramet._core._goroutines():
                if g.name != ("main" if g.id == 1 else f"goroutine-{g.id}") or g.state == "done" and g.id == 1:
                    errors.append(repr(g))
            time.sleep(0.0001)  # or those that run would hardly come to it

    ts = [threading.Thread(target=look) for _ in range(3)]
    for t in ts:
        t.start()

    def use():
        for _ in range(50):
            assert ramet.current().state == "running"
            gosched()

    for _ in range(20):
        gs = [go(use) for _ in range(5)]
        for g in gs:
            g.join(T)
        del gs, g
    stop.append(1)
    until(lambda: not any(t.is_alive() for t in ts), sleep=sleep)
    assert not errors


class Parks:
    """A key that lets others run while the dict, or the list, that compares it is in the midst of that."""

    def __init__(self, n):
        self.n = n

    def __hash__(self):
        return 1

    def __eq__(self, other):
        gosched()
        return isinstance(other, Parks) and self.n == other.n

    def __lt__(self, other):
        gosched()
        return self.n < other.n


def test_locks_of_objects_are_left_while_parked():
    d = {}

    def fill(k):
        for i in range(20):
            d[Parks(20 * k + i)] = i
            assert [p.n for p in sorted([Parks(2), Parks(3), Parks(1)])] == [1, 2, 3]

    gs = [go(fill, k) for k in range(4)]
    for g in gs:
        g.join(T)
    assert sorted(p.n for p in d) == list(range(80))


def test_locks_of_objects_and_threads():
    """A goroutine is parked inside d[...], and threads use d; threads wait inside of it, and goroutines use it."""
    d, c, inside = {}, Chan(), Chan(100)

    class Waits(Parks):
        __hash__ = Parks.__hash__

        def __eq__(self, other):
            inside.send(None)
            c.recv_ok()
            return self is other

    d[Parks(0)] = None
    keys = [Waits(1), Waits(2)]
    gs = [go(d.get, keys[0])]
    ts = [threading.Thread(target=d.get, args=(keys[1],))]
    ts[0].start()
    for _ in range(2):
        inside.recv(T)
    ts += [threading.Thread(target=d.__setitem__, args=(f"thread {i}", i)) for i in range(4)]
    for t in ts[1:]:
        t.start()
    gs += [go(d.__setitem__, f"goroutine {i}", i) for i in range(4)]
    until(lambda: len(d) == 9, sleep=sleep)
    c.close()
    for g in gs[1:]:
        g.join(T)
    until(lambda: not any(t.is_alive() for t in ts), sleep=sleep)
    assert gs[0].join(T) is None


def test_finalizers_of_what_another_thread_has_dropped():
    """They run in the thread that made the object, where the counts are split, between any two instructions; and park."""
    n, ended, never = 300, [], Chan()

    class Ends:
        def __init__(self, i):
            self.i = i

        def __del__(self):
            try:
                never.recv(0.0001)
            except TimeoutError:
                ended.append(self.i)

    dropping = Chan(8)
    ts = [threading.Thread(target=lambda: [None for _ in dropping]) for _ in range(3)]
    for t in ts:
        t.start()

    def make(first):
        for i in range(first, n, 3):
            dropping.send(Ends(i))

    gs = [go(make, k) for k in range(3)]
    for g in gs:
        g.join(T)
    dropping.close()
    until(lambda: not any(t.is_alive() for t in ts) and len(ended) == n, sleep=sleep)
    assert sorted(ended) == list(range(n))


@pytest.mark.parametrize("seed", range(20))
def test_threads_beside_goroutines(seed):
    """Objects that are made here and dropped there, and shared ones, on channels and a queue, under a lock, with collections."""
    rng = random.Random(seed)
    chans = [Chan(rng.choice([0, 1, 8])) for _ in range(3)]
    queue, mutex, results = ramet.sync.Queue(4), ramet.sync.Mutex(), Chan(100)
    shared = {"made": 0}

    def start(i, fn, *args):
        if i % 2:
            return go(fn, *args).join
        t = threading.Thread(target=fn, args=args, daemon=True)
        t.start()
        return lambda timeout: until(lambda: not t.is_alive(), timeout, sleep)

    def produce(k, r):
        for i in range(60):
            value = [k + i]
            value.append(value)  # for the collector
            with mutex:
                shared["made"] += value[0]
                shared[k, i % 7] = value
            way = r.randrange(4)
            if way == 0:
                queue.put(value)
            elif way == 1:
                select(*(c.if_send(value) for c in chans))
            elif way == 2 and chans[0].try_send(value):
                pass
            else:
                chans[i % 3].send(value)
            if i % 16 == 0:
                gc.collect()

    def consume():
        left, got = list(chans), 0
        while left:
            s = select(*left)
            if s.ok:
                assert s.value[1] is s.value
                got += s.value[0]
            else:
                left.remove(s.chan)
        results.send(got)

    def consume_queue():
        got = 0
        while (value := queue.get()) is not None:
            got += value[0]
        results.send(got)

    producers = [start(i, produce, 1000 * i, random.Random(rng.random())) for i in range(4)]
    consumers = [start(i, consume) for i in range(4)] + [start(i, consume_queue) for i in range(2)]
    for end in producers:
        end(T)
    for c in chans:
        c.close()
    for _ in range(2):
        queue.put(None)
    for end in consumers:
        end(T)
    assert sum(results.recv(T) for _ in consumers) == shared["made"]
