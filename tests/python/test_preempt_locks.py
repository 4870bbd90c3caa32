"""Goroutines that hold a lock of threading's are not preempted, for a while; who blocks the thread for one lets the others run."""

import re

import pytest
from helpers import TURNS, T, run_py

PRELUDE = (
    """
import collections, contextlib, queue, sys, threading, time
import ramet
from ramet import go, gosched
from ramet.time import sleep
"""
    + TURNS
    + """
def alone():
    # whether nobody else has had a turn for 20 ms, two slices or so
    order.clear()
    last[0] = None
    end = time.monotonic() + 0.02
    while time.monotonic() < end: turn("me")
    return order == ["me"]

class Mine:  # a lock
    def __init__(self): self.lock = threading.Lock()
    def acquire(self): return self.lock.acquire()
    def release(self):
        assert alone()
        self.lock.release()
    def __enter__(self): return self.acquire()
    def __exit__(self, *a): self.release()

lock, condition, semaphore, mine = threading.Lock(), threading.Condition(threading.Lock()), threading.Semaphore(), Mine()

@contextlib.contextmanager
def held():
    with lock: yield

@contextlib.contextmanager
def held_twice():
    with held(): yield
"""
)


def program(code, *args, slice="0.01", **options):
    env = {"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": slice}
    return run_py(PRELUDE + code, *args, env=env, **options)


# ------------------------------------------------------------------ what is seen ----

WAYS = {
    "lock": "with lock: assert alone()",
    "rlock": "with threading.RLock(): assert alone()",
    "condition": "with condition: assert alone()",
    "semaphore": "with semaphore: assert alone()",
    "any lock": "with mine: assert alone()",
    "bound exit": "with lock as got:\n        assert got is True and alone()",
    "of several": "with contextlib.nullcontext(), lock, contextlib.nullcontext(): assert alone()",
    "contextmanager": "with held(): assert alone()",
    "contextmanager in another": "with held_twice(): assert alone()",
    "below functions": "def deep(n): return deep(n - 1) if n else alone()\n    with lock: assert deep(50)",
    "below C": "with lock: assert all(map(lambda _: alone(), range(2)))",
    "in a generator": "def g():\n        with lock: yield alone()\n    with contextlib.closing(g()) as it: assert next(it)",
    "above a generator": "def g(): yield alone()\n    with lock: assert list(g()) == [True]",
    "in a coroutine": """async def f():
        with lock: return alone()
    try: f().send(None)
    except StopIteration as e: assert e.value""",
    "in a try": "with lock:\n        try: assert alone()\n        finally: assert alone()",
    "in a finally": "with lock:\n        try: pass\n        finally: assert alone()",
    "in a handler": "with lock:\n        try: 1 / 0\n        except ZeroDivisionError: assert alone()",
    "in a class": "with lock:\n        class C: assert alone()",
    "acquire and release": "lock.acquire()\n    try: assert alone()\n    finally: lock.release()",
    "acquire and release, elsewhere": "lock.acquire()\n    try: computes()\n    finally: lock.release()",
}

# The loop is in the very frame that is in the block.
LOOPS = {
    "while": "while time.monotonic() < end: turn('me')",
    "while True": "while True:\n            turn('me')\n            if time.monotonic() > end: break",
    "for": "for _ in iter(lambda: time.monotonic() < end, False): turn('me')",
    "comprehension": "[turn('me') for _ in iter(lambda: time.monotonic() < end, False)]",
    "while in a for": "for _ in (1, 2):\n            while time.monotonic() < end: turn('me')",
    "long": "while time.monotonic() < end:\n            turn('me')\n"
    + "            x = [1, 2, 3], {1: 2}, (end, end)\n" * 100
    + "            turn('me')",
}
for name, loop in LOOPS.items():
    WAYS[f"loop: {name}"] = (
        "end = time.monotonic() + 0.02\n    order.clear()\n    last[0] = None\n"
        f"    with lock:\n        {loop}\n        assert order == ['me']"
    )

RUN = """
def computes(): assert alone()
def hold():
    for _ in range(3):
        gosched()  # a new slice
        way()
hogs = [go(hog, i) for i in range(2)]
go(hold).join()
stop.append(1)
for g in hogs: g.join()
"""


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_holder_goes_on(way):
    program(f"def way():\n    {way}\n" + RUN)


@pytest.mark.parametrize(
    "block", ["contextlib.nullcontext()", "ramet.sync.Mutex()", "ramet.sync.Semaphore(1)", "open('/dev/null')"]
)
def test_others_are_switched_away_from(block):
    code = f"""
import ramet.sync
hogs = [go(hog, i) for i in range(2)]
with {block}:
    while alone(): pass
with lock: pass
while alone(): pass
stop.append(1)
"""
    program(code)


def test_not_for_ever():
    code = """
go(hog, 1)
def hold():
    with lock:
        while not stop: turn("holder")
        order.append("released")
holder = go(hold)
until = time.monotonic() + 100
while order.count("holder") < 5 and time.monotonic() < until: turn("main")
assert order.count("holder") >= 5 <= order.count(1), order
stop.append(1)
holder.join()
with lock: assert "released" in order
"""
    program(code)


def test_a_lock_that_is_released_and_taken_again_keeps_nobody():
    code = """
taken = collections.Counter()
def take(me):
    while not stop:
        with lock:
            taken[me] += 1
            for _ in range(30): pass
gs = [go(take, i) for i in range(3)]
while len(taken) < 3 or min(taken.values()) < 100: turn("main")
stop.append(1)
for g in gs: g.join()
"""
    program(code)


# ------------------------------------------------------------------ nobody is blocked ----

# Every one runs on four goroutines at once. alone_in() fails if two are in it.
HAMMERS = {
    "lock": "with lock: alone_in()",
    "condition": "with condition:\n        alone_in()\n        condition.notify_all()",
    "semaphore": "with semaphore: alone_in()",
    "semaphore, by hand": "semaphore.acquire()\n    try: alone_in()\n    finally: semaphore.release()",
    "lock, by hand": "lock.acquire()\n    try: alone_in()\n    finally: lock.release()",
    "contextmanager": "with held(): alone_in()",
    "contextmanagers": "with held_twice(): alone_in()",
    "generator": "def g():\n        with lock:\n            for _ in range(3): alone_in()\n        yield\n    list(g())",
    "loop": "with lock:\n        alone_in()\n        i = 0\n        while i < 20: i += 1",
    "event": "event.set()\n    event.is_set()\n    event.clear()",
    "queue": """for i in range(5): q.put_nowait(i)
    for _ in range(5):
        with contextlib.suppress(queue.Empty): q.get_nowait()
    q.qsize(), q.empty()""",
    "strptime": """_strptime._regex_cache.clear()
    assert time.strptime("3 Feb 2021 04:05", "%d %b %Y %H:%M").tm_year == 2021""",
    "tempfile": """tempfile._name_sequence = tempfile.tempdir = None
    with tempfile.TemporaryFile() as f: f.write(b"x")
    assert len(next(tempfile._get_candidate_names())) == 8""",
    "unseen": "lock.acquire()\n    alone_in()\n    lock.release()",
    "full and empty queue": "small.put(1)\n    small.get()",
    "functools": """class C:
        @functools.cached_property
        def p(self): return sum(i for i in range(30))
    assert C().p == C().p == 435""",
    "logging": "log.info('%s', 1)",
    "executor": "assert pool.submit(pow, 2, 3).cancelled() is False",
}

HAMMER = """
import _strptime, concurrent.futures, functools, logging, tempfile
event, q, small = threading.Event(), queue.Queue(), queue.Queue(1)
log = logging.getLogger("x")
log.propagate = False
log.setLevel("INFO")
log.addHandler(logging.StreamHandler(open("/dev/null", "w")))
pool = concurrent.futures.ThreadPoolExecutor(1)
inside, times = [], collections.Counter()
def alone_in():
    inside.append(1)
    for _ in range(60): assert len(inside) == 1
    inside.pop()
def hammer(me):
    while not stop:
        block()
        times[me] += 1
gs = [go(hammer, i) for i in range(4)]
switches, end = ramet.stats()["switches"], time.monotonic() + 0.2
while time.monotonic() < end or ramet.stats()["switches"] - switches < 40 or len(times) < 4: pass
stop.append(1)
for g in gs: g.join()
pool.shutdown()
print("ok")
"""


@pytest.mark.parametrize("block", HAMMERS.values(), ids=HAMMERS)
def test_hammered(block):
    assert program(f"def block():\n    {block}\n" + HAMMER, slice="0.0002", timeout=2 * T).out == "ok\n"


# ------------------------------------------------------------------ who blocks lets the others run ----

HOLDERS = {
    "it computes for long": "end = time.monotonic() + 0.15\n        while time.monotonic() < end: pass",
    "it waits": "sleep(0.05)",
    "it waits for who waits": "sleep(0.01)\n        waiting.recv()",
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_the_holder_is_let_run(holder):
    code = f"""
waiting, held = ramet.Chan(9), ramet.Chan()
def hold():
    with lock:
        held.send(1)
        {holder}
def enter():
    with lock: pass
def acquire():
    lock.acquire()
    lock.release()
def acquire_soon():
    assert lock.acquire(True, 100)
    lock.release()
def acquire_by_name():
    assert lock.acquire(blocking=True, timeout=100)
    lock.release()
def not_preempted():
    with ramet.no_preempt(), lock: pass
def holding_another():
    with threading.Lock(), contextlib.nullcontext(), lock: pass
for wait in (enter, acquire, acquire_soon, acquire_by_name, not_preempted, holding_another):
    holder = go(hold)
    held.recv()
    go(lambda: waiting.send(1))
    gs = [go(wait) for _ in range(2)]
    wait()
    for g in gs: g.join()
    holder.join()
"""
    assert program(code).err == ""


WAITS = {
    "event": ("event.wait()", "event.set()"),
    "condition": ("with condition: assert condition.wait_for(lambda: ready, 100)",
                  "ready.append(1)\n    with condition: condition.notify_all()"),
    "queue": ("q.get()", "q.put(1), q.put(2)"),
    "semaphore": ("empty.acquire()", "empty.release(2)"),
    "barrier": ("barrier.wait()", "barrier.wait()"),
    "future": ("assert future.result() == 1", "future.set_result(1)"),
}  # fmt: skip


@pytest.mark.parametrize("wait, wake", WAITS.values(), ids=WAITS)
def test_what_another_goroutine_does_is_waited_for(wait, wake):
    code = f"""
import concurrent.futures
event, q, empty, barrier = threading.Event(), queue.Queue(), threading.Semaphore(0), threading.Barrier(3)
future, ready = concurrent.futures.Future(), []
def wait():
    {wait}
def wake():
    sleep(0.05)
    {wake}
gs = [go(wake), go(wait)]
wait()
for g in gs: g.join()
"""
    assert program(code).err == ""


def test_a_timeout_is_kept():
    code = """
lock.acquire()
def wait():
    began = time.monotonic()
    assert not lock.acquire(timeout=0.1)
    return time.monotonic() - began
gs = [go(wait) for _ in range(3)]
assert all(0.1 <= g.join() < 10 for g in gs)
"""
    program(code)


def test_who_waits_for_long_is_told_once():
    code = """
def hold():
    with lock: sleep(3)
def wait():
    with lock: pass
go(hold)
gosched()
ticks = []
def tick():
    while not stop:
        sleep(0.001)
        ticks.append(1)
go(tick)
gs = [go(wait) for _ in range(2)]
gs[0].name, gs[1].name = "first", "second"
for g in gs: g.join()
stop.append(1)
assert len(ticks) > 20, len(ticks)
"""
    err = program(code).err
    assert len(re.findall(r"goroutine \d+ '(first|second)' has been blocking its OS thread for \d+ s", err)) == 1, err


def test_an_exception_goes_to_main_that_waits():
    code = """
import os, signal
lock.acquire()
def interrupt():
    sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
go(interrupt)
try: lock.acquire()
except KeyboardInterrupt: print("interrupted")
"""
    assert program(code).out == "interrupted\n"


def test_nothing_else_is_interrupted():
    code = """
import ctypes
usleep = ctypes.CDLL(None, use_errno=True).usleep
def other():
    while not stop: gosched()
go(other)
acquire = lock.acquire  # a name that is called, but is no lock's
for _ in range(5): assert usleep(100_000) == 0, ctypes.get_errno()
def release(): return usleep(100_000)
acquire, release = release, acquire
try: assert acquire() == 0
finally: release()
stop.append(1)
"""
    program(code)
