"""Goroutines that compute are switched away from, where that may be, and nothing notices; no_preempt()."""

import re
import signal

import pytest
import ramet
from helpers import TURNS, T, run_py

ON = {"RAMET_PREEMPT": "1"}
OFTEN = {"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": "0.0005"}

PRELUDE = (
    """
import os, signal, sys, time
import ramet
from ramet import Chan, go, gosched, no_preempt
from ramet.time import sleep
"""
    + TURNS
    + """
def until(condition):
    # as main, which sleeps: timers go on
    while not condition():
        sleep(0.001)
"""
)


def program(code, *args, env=ON, **options):
    return run_py(PRELUDE + code, *args, env=env, **options)


# ------------------------------------------------------------------ hogs ----

HOGS = {
    "while": "while not stop: turn(me)",
    "while without calls": "while not stop:\n        if last[0] != me: last[0] = me; order += [me]",
    "do while": "while True:\n        turn(me)\n        if stop: break",
    "for": "for _ in iter(int, 1):\n        turn(me)\n        if stop: break",
    "comprehension": "[turn(me) for _ in iter(lambda: bool(stop), True)]",
    "generator": "def numbers():\n        while not stop: yield me\n    for n in numbers(): turn(n)",
    "recursion": "def deep(n):\n        turn(me)\n        return n and deep(n - 1)\n    while not stop: deep(100)",
    "below C": "while not stop: sorted(range(100), key=lambda n: turn(me) or -n)",
    "regular expressions": "import re\n    while not stop: turn(me); re.findall('(a+)+c', 'a' * 12)",
    "sort": "items = list(range(10000))\n    while not stop: turn(me); items.sort(key=str)",
    "in an exception handler": "try: 1 / 0\n    except ZeroDivisionError:\n        while not stop: turn(me)",
    "await": "async def f():\n        while not stop: turn(me)\n    f().__await__().__next__()",
}


@pytest.mark.parametrize("body", HOGS.values(), ids=HOGS)
def test_hogs_take_turns(body):
    code = f"""
def hog(me):
    global order
    {body}

def quiet(me):
    try: hog(me)
    except StopIteration: pass

gs = [go(quiet, i) for i in range(3)]
until(lambda: len(order) >= 31)
stop.append(1)
for g in gs: g.join()
turns = [order[:30].count(i) for i in range(3)]
assert min(turns) >= 8, (turns, order)
"""
    program(code)


def test_without_preemption_they_do_not():
    code = """
def finite(me):
    end = time.monotonic() + 0.1
    while time.monotonic() < end: turn(me)
gs = [go(finite, i) for i in range(3)]
for g in gs: g.join()
assert order == [0, 1, 2], order
assert signal.getsignal(signal.SIGRTMAX) == signal.SIG_DFL
"""
    program(code, env={})
    program(code, env={"RAMET_PREEMPT": "0"})


def test_configure():
    code = "ramet.configure(preempt=True)\ngo(hog)\nuntil(lambda: order)\nstop.append(1)"
    program(code, env={})
    off = "ramet.configure(preempt=False)\nassert not stop\n"
    program(off + "go(lambda: None).join()\nassert signal.getsignal(signal.SIGRTMAX) == signal.SIG_DFL")


def test_four_hogs_are_served_alike():
    code = """
counts = [0] * 4
def count(i):
    while not stop: counts[i] += 1
gs = [go(count, i) for i in range(4)]
sleep(1.5)
stop.append(1)
for g in gs: g.join()
assert max(counts) < 3 * min(counts), counts
"""
    program(code)


def test_main_computes_and_the_others_go_on():
    code = """
ticks = []
def tick():
    while not stop:
        sleep(0.001)
        ticks.append(1)
gs = [go(tick), go(hog)]
while len(ticks) < 10: pass
stop.append(1)
for g in gs: g.join()
"""
    program(code)


def test_a_connection_is_served_beside_hogs():
    code = """
from ramet import net
def echo(conn):
    while data := conn.read(100): conn.write(data)
with net.serve(net.listen("tcp", "127.0.0.1:0"), echo) as server:
    hogs = [go(hog, i) for i in range(2)]
    c = net.dial("tcp", server.addr)
    for i in range(20):
        c.write(b"%d" % i)
        assert c.read(100) == b"%d" % i
    c.close()
    stop.append(1)
    for g in hogs: g.join()
assert len(order) > 2
"""
    program(code)


def test_cancel_comes_at_a_cancellation_point():
    code = """
seen = []
def compute():
    try:
        while not stop: turn(0)
        seen.append("computed")
        sleep(1)
    except ramet.Cancelled:
        seen.append("cancelled")
        raise
g = go(compute)
until(lambda: order)
g.cancel()
for _ in range(10):  # it has turns meanwhile
    last[0] = None
    until(lambda: last[0] == 0)
assert not seen
stop.append(1)
assert isinstance(g.exception(), ramet.GoroutineCancelled)
assert seen == ["computed", "cancelled"], seen
"""
    program(code)


@pytest.mark.parametrize("main", ["sleep(20)", "Chan().recv()", "hog()"])
def test_sigint_reaches_main(main):
    code = f"""
def interrupt():
    sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
def other():  # where the signal comes, it is raised, and goes to main from there
    hog(1)
go(interrupt)
go(other)
try:
    {main}
    print("no")
except KeyboardInterrupt:
    stop.append(1)
    print("yes")
"""
    assert program(code).out == "yes\n"


def test_dump_and_stack_of_one_that_was_preempted():
    code = """
g = go(hog)
until(lambda: order)
assert g.state == "runnable" and any(f.name == "hog" for f in g.stack()), (g.state, g.stack())
stop.append(1)
"""
    program(code)


def test_a_forked_child_preempts_too():
    code = """
pid = os.fork()
gs = [go(hog, i) for i in range(2)]
until(lambda: len(order) > 8)
stop.append(1)
for g in gs: g.join()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    def child():
        if not (pid := os.fork()):
            stop.clear(); order.clear()
            gs = [go(hog, i) for i in range(2)]
            until(lambda: len(order) > 8)
            stop.append(1)
        return pid
    assert os.waitpid(go(child).join(), 0)[1] == 0
"""
    program(code)


def test_deadlock_is_found_at_once():
    code = """
began = time.monotonic()
try: Chan().recv()
except ramet.DeadlockError: print("deadlock", time.monotonic() - began < 5)
"""
    assert program(code).out == "deadlock True\n"


# ------------------------------------------------------------------ nothing notices ----

# Every one runs on several goroutines at once, and checks itself until `stop`.
WORKERS = """
import contextlib, contextvars, functools, gc, json, re, sys, tempfile, weakref

def generators():
    def inner(n):
        for i in range(n): yield i
    def outer(n):
        yield from inner(n)
        return n
    while not stop:
        assert list(outer(50)) == list(range(50))
        half = outer(20)
        assert [next(half) for _ in range(10)] == list(range(10))
        half.close()

def exceptions():
    class Mine(Exception): pass
    def fail(n):
        try: raise Mine(n)
        finally: sum(i for i in range(20))
    n = 0
    while not stop:
        n += 1
        try:
            try: fail(n)
            except Mine as e:
                for _ in range(20): assert sys.exc_info()[1] is e
                raise KeyError(n)
        except KeyError as e:
            assert e.args == (n,) and e.__context__.args == (n,), (n, e, e.__context__)
        assert sys.exc_info() == (None, None, None)

def blocks():
    @contextlib.contextmanager
    def manager(log):
        log.append("in")
        try: yield
        finally: log.append("out")
    while not stop:
        log = []
        try:
            with manager(log), manager(log):
                for _ in range(20): pass
                try: raise ValueError
                finally: log.append("finally")
        except ValueError: log.append("except")
        assert log == ["in", "in", "finally", "out", "out", "except"], log

var = contextvars.ContextVar("var")
def contexts():
    me = object()
    var.set(me)
    def inside():
        assert var.get() is me
        var.set(1)
        for _ in range(20): assert var.get() == 1
    while not stop:
        contextvars.copy_context().run(inside)
        for _ in range(20): assert var.get() is me

def recursion():
    def depth(n): return 1 + depth(n - 1) if n else 0
    def forever(): return forever()
    def through_c(n): return functools.reduce(lambda a, b: through_c(n - 1) + 1 if n else 0, (0, 0))
    while not stop:
        assert depth(500) == 500
        assert through_c(50) == 50
        try: forever()
        except RecursionError: pass
        else: assert False

def finalizers():
    class Thing:
        def __init__(self): self.me, self.n = self, []
        def __del__(self): dead.append(sum(1 for _ in range(50)))
    while not stop:
        dead = []
        things = [Thing() for _ in range(10)]
        for t in things: t.me = None
        ref = weakref.ref(things[0], lambda r: sum(1 for _ in range(50)))
        del things, t
        assert dead == [50] * 10 and ref() is None, dead

def collections():
    class Thing:
        def __init__(self): self.me = self
        def __del__(self): sum(1 for _ in range(200))
    while not stop:
        for _ in range(20): Thing()
        gc.collect()

def nested():  # deallocation that nests
    class Deep:
        def __init__(self, next): self.next = next
        def __del__(self): sum(1 for _ in range(3))
    while not stop:
        d = None
        for _ in range(300): d = Deep(d)
        d = None
        t = None
        for _ in range(5000): t = (t,)

def c_calls():
    words = [str(i * 7919 % 1000) for i in range(300)]
    want = sorted(words)
    while not stop:
        assert sorted(words, key=lambda w: w[:]) == want
        assert re.sub(r"(\\d)", lambda m: m[1] + m[1], "1a2b3") == "11a22b33"
        assert json.loads(json.dumps({"a": [1, 2, {"b": None}] * 10}, default=str))["a"][0] == 1
        assert len("%d" % 3 ** 2000) == 955

def imports():
    while not stop:
        for name in ("colorsys", "sndhdr_", "wave", "this_is_none"):
            sys.modules.pop(name, None)
            try: __import__(name)
            except ModuleNotFoundError: assert name in ("sndhdr_", "this_is_none")
        import colorsys
        assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)

def code():
    while not stop:
        ns = {}
        exec("class C:\\n    x = [i for i in range(30)]\\n    def f(self): return self.x", ns)
        assert ns["C"]().f() == list(range(30))
        assert eval("sum(range(10))") == 45

def traced():
    def f(n):
        for i in range(n): n += i
        return n
    while not stop: assert f(20) == 210

def channels():
    c = Chan()
    def numbers():
        for i in range(100): c.send(i)
        c.close()
    while not stop:
        c = Chan()
        go(numbers)
        assert list(c) == list(range(100))
        gosched()

def coroutines():
    async def inner(n):
        for _ in range(10): pass
        return n
    async def outer(): return [await inner(i) for i in range(10)]
    async def numbers():
        for i in range(5): yield i
    async def total(): return [i async for i in numbers()]
    def drive(c):
        try: c.send(None)
        except StopIteration as e: return e.value
    while not stop:
        assert drive(outer()) == list(range(10))
        assert drive(total()) == list(range(5))

def blocked():
    while not stop:
        with no_preempt():
            assert current(last)
            for _ in range(20): pass

def current(mark):
    mark[0] = me = object()
    for _ in range(50):
        if mark[0] is not me: return False
    return True
"""
NAMES = [line[4:].split("(")[0] for line in WORKERS.splitlines() if line.startswith("def ") and line.endswith("():")]
NAMES += ["nested"]

RUN = """
names, seconds = sys.argv[1].split(","), float(sys.argv[2])
gs = [go(globals()[name]) for name in names for _ in range(max(1, 4 // len(names)))]
switches = ramet.stats()["switches"]
end = time.monotonic() + seconds
while time.monotonic() < end or ramet.stats()["switches"] - switches < 20: pass  # main computes, too
stop.append(1)
for g in gs: g.join()
gc.collect()
assert not gc.garbage
print("ok")
"""


@pytest.mark.parametrize("name", NAMES)
def test_preempted_everywhere(name):
    assert program(WORKERS + RUN, name, "0.3", env=OFTEN).out == "ok\n"


def test_preempted_everywhere_all_at_once():
    assert program(WORKERS + RUN, ",".join(NAMES), "3", env=OFTEN, timeout=2 * T).out == "ok\n"


TRACERS = {
    "settrace": "events = []\ndef trace(f, e, a):\n    events.append(e); del events[:-9]; return trace\nsys.settrace(trace)",
    "setprofile": "events = []\ndef trace(f, e, a):\n    events.append(e); del events[:-9]\nsys.setprofile(trace)",
    "cProfile": "import cProfile\np = cProfile.Profile()\np.enable()",
}


@pytest.mark.parametrize("tracer", TRACERS.values(), ids=TRACERS)
def test_traced(tracer):
    code = (
        WORKERS
        + tracer
        + "\n"
        + RUN.replace("gc.collect()\nassert not gc.garbage", "sys.settrace(None); sys.setprofile(None)")
    )
    assert program(code, "traced,generators,exceptions", "0.5", env=OFTEN).out == "ok\n"


# ------------------------------------------------------------------ where it is not ----


def test_not_in_a_finalizer_or_a_collection():
    code = """
import gc
class Thing:
    def __init__(self): self.me = self
    def __del__(self):
        before, end, last[0] = len(order), time.monotonic() + 0.05, None
        while time.monotonic() < end: turn("del")
        order_in_del.append(len(order) - before)
order_in_del = []
def delete():
    for _ in range(3):
        t = Thing(); t.me = None; del t
        Thing(); gc.collect()
go(hog, 1)
go(delete).join()
stop.append(1)
assert order_in_del == [1] * 6, order_in_del
"""
    program(code)


def test_a_finalizer_that_waits_in_a_collection():
    code = """
import gc
c = Chan()
class Waits:
    def __init__(self): self.me = self
    def __del__(self): c.recv()
def collect():
    Waits()
    gc.collect()
g = go(collect)
gosched()
assert gc.collect() == 0  # one is under way
gs = [go(hog, i) for i in range(3)]
until(lambda: len(order) > 9)
stop.append(1)
c.send(1)
for g in gs: g.join()
"""
    program(code)


def test_not_under_an_import(tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import time\nend = time.monotonic() + 0.1\nbegan = True\nwhile time.monotonic() < end: pass\nvalue = 42\n"
    )
    code = """
sys.path.insert(0, sys.argv[1])
def use():
    import slow_module
    return slow_module.value
go(hog)
gs = [go(use) for _ in range(3)]
assert [g.join() for g in gs] == [42] * 3
stop.append(1)
"""
    program(code, str(tmp_path))


def test_not_below_a_buffered_stream():
    code = """
import io
class Raw(io.RawIOBase):
    def writable(self): return True
    def write(self, b):
        end = time.monotonic() + 0.03
        while time.monotonic() < end: pass
        return len(b)
f = io.BufferedWriter(Raw(), 16)
def write():
    for _ in range(4): f.write(b"x" * 20)
gs = [go(write) for _ in range(3)]
for g in gs: g.join()  # not: RuntimeError: reentrant call
"""
    program(code)


def test_a_lock_of_a_preempted_goroutine_is_told():
    code = """
import threading
lock = threading.Lock()
def hold():
    with lock: hog()
go(hold)
until(lambda: order)
assert go(lock.acquire, timeout=2).join() is False
stop.append(1)
"""
    ended = program(code)
    assert re.search(r"goroutine \d+ 'goroutine-\d+' has been blocking its OS thread", ended.err), str(ended)


# ------------------------------------------------------------------ no_preempt ----


def test_no_preempt():
    code = """
def compute(seconds):
    order.clear()
    last[0] = None
    end = time.monotonic() + seconds
    while time.monotonic() < end: turn("me")
    return order[:]
g = go(hog, 1)
until(lambda: order)
with no_preempt() as block:
    assert isinstance(block, no_preempt)
    assert compute(0.1) == ["me"]
    with no_preempt():
        assert compute(0.05) == ["me"]
    assert compute(0.05) == ["me"]
    order.clear()
    sleep(0.01)  # it may park
    assert 1 in order
    assert compute(0.05) == ["me"]
try:
    with no_preempt(): 1 / 0
except ZeroDivisionError: pass
while 1 not in order: turn("me")
stop.append(1)
"""
    program(code)


def test_no_preempt_belongs_to_its_goroutine():
    code = """
def compute():
    with no_preempt():
        sleep(0.01)  # others are preempted meanwhile
go(compute)
gs = [go(hog, i) for i in range(2)]
until(lambda: len(order) > 10)

def block():
    with no_preempt(): yield
def enter(b): next(b)
def close(b): b.close()
b = block()
go(enter, b).join()  # left by another goroutine, after the end of its own
go(close, b).join()
b = block()
c = Chan()
def entering():
    next(b)
    c.recv()
    while not stop: turn("entering")
g = go(entering)
sleep(0.01)
go(close, b).join()
c.send(1)
until(lambda: order.count("entering") > 2)
stop.append(1)
"""
    program(code)


def test_no_preempt_without_preemption():
    with ramet.no_preempt() as a, ramet.no_preempt() as b:
        assert a is not b
        ramet.gosched()
    with a:  # and again
        pass

    def in_thread():
        with ramet.no_preempt():
            return 1

    assert ramet.blocking(in_thread) == 1


def test_no_preempt_misused():
    with pytest.raises(TypeError, match="no arguments"):
        ramet.no_preempt(1)
    with ramet.no_preempt() as block:
        with pytest.raises(RuntimeError, match="entered already"):
            block.__enter__()
    block.__exit__(None, None, None)  # harmless
    ramet.no_preempt().__exit__(None, None, None)
    entered = ramet.no_preempt()
    entered.__enter__()
    del entered


# ------------------------------------------------------------------ the signal ----

SHARE = """
gs = [go(hog, i) for i in range(2)]
until(lambda: len(order) > 8)
stop.append(1)
for g in gs: g.join()
"""


def test_import_installs_nothing():
    code = "print([s for s in range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if signal.getsignal(s) != signal.SIG_DFL])"
    assert program(code).out == "[]\n"


def test_a_handler_that_is_there_is_kept():
    code = (
        """
got = []
def mine(n, f): got.append(n)
signal.signal(signal.SIGRTMAX, mine)
signal.signal(signal.SIGRTMAX - 1, signal.SIG_IGN)
"""
        + SHARE
        + """
assert signal.getsignal(signal.SIGRTMAX) is mine and not got
assert signal.getsignal(signal.SIGRTMAX - 1) == signal.SIG_IGN
os.kill(os.getpid(), signal.SIGRTMAX)
until(lambda: got)
assert got == [signal.SIGRTMAX], got
"""
    )
    program(code)


def test_a_handler_that_replaces_ours_ends_preemption_and_is_not_called():
    code = """
got = []
def mine(n, f): got.append(n)
go(int).join()
assert callable(signal.getsignal(signal.SIGRTMAX))
signal.signal(signal.SIGRTMAX, mine)
del got[:]
def finite(me):
    end = time.monotonic() + 0.1
    while time.monotonic() < end: turn(me)
gs = [go(finite, i) for i in range(3)]
for g in gs: g.join()
assert order == [0, 1, 2] and not got, (order, got)
"""
    program(code)


def test_the_signal_really_sent_is_as_without_us():
    code = "go(int).join()\nos.kill(os.getpid(), signal.SIGRTMAX)\ntime.sleep(20)"
    program(code, status=-signal.SIGRTMAX)


def test_notify_of_every_signal_leaves_it():
    code = "from ramet.os import signal as s\nc = Chan(9)\ns.notify(c)\n" + SHARE + "assert len(c) == 0\ns.stop(c)\n"
    assert program(code).err == ""
