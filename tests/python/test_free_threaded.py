"""Free-threaded CPython, which runs goroutines with its GIL enabled; and what its objects do otherwise than elsewhere: locks
of their own, and counts split between threads. What does not need such a build runs on every CPython."""

import gc
import os
import random
import subprocess
import sys
import sysconfig
import threading

import pytest
import ramet
from helpers import T, run_py, until
from ramet import Chan, go, gosched, select
from ramet.time import sleep

needs_threaded = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this CPython always has the GIL"
)


def run_unasked(code, *options):
    """Nobody has said anything about the GIL."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"}
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=50)


@needs_threaded
def test_import_enables_the_gil():
    """Also where threads run side by side until then."""
    code = """
import sys, threading, time
assert not sys._is_gil_enabled()
end, log = threading.Event(), []
def append():
    while not end.is_set():
        for _ in range(10_000): log.append({})
        log.clear()
        time.sleep(0.001)
busy = [threading.Thread(target=append) for _ in range(2)]
for t in busy: t.start()
import ramet
assert sys._is_gil_enabled()
c = ramet.Chan()
def use():
    for i in range(10): c.send(i)
t = threading.Thread(target=use)
t.start()
assert [c.recv() for i in range(10)] == list(range(10))
t.join()
end.set()
for t in busy: t.join()
"""
    done = run_unasked(code)
    assert done.returncode == 0, done
    assert "RuntimeWarning: The global interpreter lock (GIL) has been enabled" in done.stderr


@needs_threaded
def test_no_warning_if_one_says_so():
    done = run_unasked("import ramet; ramet.go(int).join()", "-X", "gil=1")
    assert done.returncode == 0 and not done.stderr, done
    assert run_py("import ramet; ramet.go(int).join()", env={"PYTHON_GIL": "1"}).err == ""


@needs_threaded
def test_forbidden_gil_is_refused():
    """At every attempt."""
    code = """
for _ in range(3):
    try:
        import ramet
    except ImportError as e:
        print(e)
"""
    said = run_py(code, env={"PYTHON_GIL": "0"}).out.splitlines()
    said += run_unasked(code, "-X", "gil=0").stdout.splitlines()
    assert len(said) == 6
    for line in said:
        assert line.startswith("ramet does not run without the GIL") and "PYTHON_GIL=0" in line, said


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
