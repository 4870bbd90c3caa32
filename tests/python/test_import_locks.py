"""Goroutines that import one module at the same time, where they are preempted: as threads do."""

import sys

import pytest
from helpers import run_py

PRELUDE = """
import os, sys, tempfile, threading, time
import ramet
from ramet import Chan, go
from ramet.time import sleep

place = tempfile.TemporaryDirectory()
sys.path.insert(0, place.name)
ran = ramet.ran = []  # what modules note when they are run

def module(name, text):
    with open(f"{place.name}/{name}.py", "w") as f:
        f.write("import ramet, time\\nramet.ran.append(__name__)\\n" + text)

def use(name):
    return __import__(name).value

def until(condition):
    end = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < end
        sleep(0.001)

class Thread(threading.Thread):
    def __init__(self, fn, *args):
        super().__init__()
        self.fn, self.args = fn, args
        self.start()

    def run(self):
        try:
            self.outcome = self.fn(*self.args)
        except Exception as e:
            self.outcome = e

    def end(self):
        until(lambda: not self.is_alive())
        return self.outcome

SLOW = "half = 1\\nramet.time.sleep(0.05)\\nvalue = 42\\n"
"""


def program(code, *args, preempt="1"):
    env = {"RAMET_PREEMPT": preempt, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    ended = run_py(PRELUDE + code, *args, env=env)
    assert ended.err == "", str(ended)
    return ended.out.split()


def test_a_module_that_waits_is_seen_whole():
    code = """
beats = ramet.beats = []
module("slow", "half = 1\\nwhile len(ramet.beats) < 5: ramet.time.sleep(0.001)\\nvalue = 42\\n")
def beat():
    until(lambda: "slow" in sys.modules)
    while not hasattr(sys.modules["slow"], "value"):
        beats.append(1)
        sleep(0.001)
g = go(beat)
gs = [go(use, "slow") for _ in range(20)]
print([g.join() for g in gs] == [42] * 20, use("slow"), ran)
"""
    assert program(code) == ["True", "42", "['slow']"]


def test_main_waits_and_is_waited_for():
    code = """
module("a", SLOW)
module("b", SLOW)
g = go(use, "a")
until(lambda: "a" in sys.modules)
print(use("a"), g.join())
g = go(lambda: (until(lambda: "b" in sys.modules), use("b"))[1])
print(use("b"), g.join(), ran)
"""
    assert program(code) == ["42", "42", "42", "42", "['a',", "'b']"]


def test_threads_beside():
    code = """
module("a", SLOW)
module("b", "half = 1\\ntime.sleep(0.05)\\nvalue = 43\\n")
g = go(use, "a")
until(lambda: "a" in sys.modules)
ts = [Thread(use, "a") for _ in range(3)] + [Thread(use, "b")]
until(lambda: "b" in sys.modules)
gs = [go(use, "b") for _ in range(3)]
print([t.end() for t in ts] == [42] * 3 + [43], g.join(), [g.join() for g in gs] == [43] * 3, ran)
"""
    assert program(code) == ["True", "42", "True", "['a',", "'b']"]


def test_a_circle_of_two():
    """One of the two sees the other's module half made; neither waits for ever."""
    code = """
module("a", "half = 1\\nramet.time.sleep(0.02)\\nimport b\\nramet.saw_b = hasattr(b, 'value')\\nvalue = 1\\n")
module("b", "half = 1\\nramet.time.sleep(0.02)\\nimport a\\nramet.saw_a = hasattr(a, 'value')\\nvalue = 2\\n")
gs = [go(use, "a"), go(use, "b")]
print([g.join(50) for g in gs], sorted(ran), ramet.saw_a + ramet.saw_b)
"""
    assert program(code) == ["[1,", "2]", "['a',", "'b']", "1"]


def test_an_error_while_others_wait():
    """Those who wait fare as threads do: some versions give them the error, some what there was of the module."""
    code = """
come = ramet.come = []
WAIT = "while len(ramet.come) < %d: ramet.time.sleep(0.001)\\nramet.time.sleep(0.05)\\n1 / 0\\n"
module("as_threads", WAIT.replace("ramet.time", "time") % 3)
module("bad", WAIT % 6)
def outcome(name):
    come.append(name)
    try:
        __import__(name)
    except ZeroDivisionError:
        return "error"
    return "module"
ts = [Thread(outcome, "as_threads")]
until(lambda: "as_threads" in sys.modules)
ts += [Thread(outcome, "as_threads") for _ in range(2)]
gs = [go(outcome, "bad")]
until(lambda: "bad" in sys.modules)
gs += [go(outcome, "bad") for _ in range(2)]
of_threads, of_goroutines = [t.end() for t in ts], [g.join(50) for g in gs]
print(of_goroutines == of_threads or (of_goroutines, of_threads), of_goroutines[0])
module("bad", "value = 7\\n")
print(go(use, "bad").join(50))
"""
    assert program(code) == ["True", "error", "7"]


def test_who_waits_can_be_cancelled():
    code = """
ramet.gate = Chan()
module("slow", "half = 1\\nramet.gate.recv_ok()\\nvalue = 42\\n")
g = go(use, "slow")
until(lambda: "slow" in sys.modules)
def impatient():
    with ramet.timeout(0.01):
        use("slow")
hs = [go(use, "slow") for _ in range(3)] + [go(impatient)]
sleep(0.02)
hs[0].cancel()
print(*[type(h.exception(50)).__name__ for h in hs[::3]])
ramet.gate.close()
print(*[type(h.exception(50)).__name__ for h in hs[1:3]])
print(g.join(50), use("slow"), ran)
module("again", SLOW)
print([g.join(50) for g in [go(use, "again") for _ in range(3)]] == [42] * 3)
"""
    assert program(code) == [
        "GoroutineCancelled",
        "TimeoutError",
        "NoneType",
        "NoneType",
        "42",
        "42",
        "['slow']",
        "True",
    ]


def test_the_importer_is_cancelled():
    code = """
module("slow", SLOW.replace("0.05", "10"))
g = go(use, "slow")
until(lambda: "slow" in sys.modules)
g.cancel()
print(type(g.exception(50)).__name__, "slow" in sys.modules)
module("slow", "value = 8\\n")
print(go(use, "slow").join(50))
"""
    assert program(code) == ["GoroutineCancelled", "False", "8"]


@pytest.mark.parametrize("who", ["main", "goroutine"])
def test_fork_while_others_import(who):
    """In the child nobody will finish what a lost goroutine was importing: it is imported anew."""
    code = """
module("slow", SLOW.replace("0.05", "0.2"))
def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(use("slow"))
    return os.waitstatus_to_exitcode(ramet.blocking(os.waitpid, pid, 0)[1])
if sys.argv[1] == "main":
    g = go(use, "slow")
    until(lambda: "slow" in sys.modules)
    print(fork(), g.join())
else:
    def later():
        until(lambda: "slow" in sys.modules)
        return fork()
    g = go(later)
    print(use("slow"), g.join(50))
"""
    assert program(code, who) == ["42", "42"]


def test_fork_inside_an_import():
    code = """
module("forks", '''
import os
half = 1
ramet.time.sleep(0.01)
pid = os.fork()
value = 42
''')
def f():
    v = use("forks")
    pid = sys.modules["forks"].pid
    if pid == 0:
        os._exit(go(use, "forks").join())
    return v, os.waitstatus_to_exitcode(ramet.blocking(os.waitpid, pid, 0)[1])
print(*go(f).join(50))
"""
    assert program(code) == ["42", "42"]


def test_first_use_under_an_import():
    """The lock of the module that is being imported by then is not ours: it must not keep the thread."""
    code = """
module("starts", '''
half = 1
g = ramet.go(lambda: __import__("starts").value)
ramet.time.sleep(0.01)
h = ramet.go(lambda: __import__("starts").value)
ramet.time.sleep(0.01)
value = 42
''')
import starts
print(starts.g.join(50), starts.h.join(50))
"""
    assert program(code) == ["42", "42"]


# ---- lazy imports --------------------------------------------------------------------------------

lazily = pytest.mark.skipif(sys.version_info < (3, 15), reason="CPython before 3.15 has no lazy imports")

LAZY = """
module("slow", SLOW)
module("seldom", "value = 6\\n")
lazy import seldom
lazy import slow
lazy from slow import value

def whole(): return slow.value
def part(): return value
def outcome(fn):
    try:
        return fn()
    except Exception as e:
        return type(e).__name__
"""


@lazily
def test_a_lazy_module_that_waits_is_seen_whole():
    code = """
gs = [go(whole)]
until(lambda: "slow" in sys.modules)
gs += [go(fn) for fn in (whole, part) * 5]
t = Thread(part)
print(whole(), part(), {outcome(lambda: g.join(50)) for g in gs}, t.end(), ran)
"""
    assert program(LAZY + code) == ["42", "42", "{42}", "42", "['slow']"]


@lazily
def test_a_lazy_module_that_waits_without_preemption():
    """It is seen half made, as one that is imported at once."""
    code = """
module("slow", SLOW.replace("time.sleep(0.05)", "gate.recv_ok()"))
ramet.gate = Chan()
g = go(whole)
until(lambda: "slow" in sys.modules)
until(lambda: hasattr(sys.modules["slow"], "half"))
of_lazy = outcome(go(lambda: slow.half).join), outcome(go(whole).join), outcome(go(part).join)
def at_once():
    from slow import value
of_eager = outcome(lambda: use("slow")), outcome(at_once)
ramet.gate.close()
print(*of_lazy, of_lazy[1:] == of_eager, {g.join(50), whole(), part()}, ran)
"""
    as_at_once = ["1", "AttributeError", "ImportError", "True"]
    assert program(LAZY + code, preempt="0") == [*as_at_once, "{42}", "['slow']"]


@lazily
@pytest.mark.parametrize("preempt", "01")
def test_a_lazy_circle(preempt):
    """It is one goroutine's, or thread's, whatever the others resolve meanwhile."""
    code = """
module("again", "import __main__\\ntime.sleep(0.01)\\n__main__.touch()\\n")
lazy import again
def touch(): return again.value
def other():
    for _ in range(10):
        ramet.gosched()
    return seldom.value
t = Thread(outcome, touch).end()
module("again", "import __main__\\nramet.time.sleep(0.01)\\n__main__.touch()\\n")
g, h = go(outcome, touch), go(other)
print(t, g.join(50), h.join(50), outcome(touch))
"""
    assert program(LAZY + code, preempt=preempt) == ["ImportCycleError", "ImportCycleError", "6", "ImportCycleError"]


@lazily
def test_fork_while_others_import_lazily():
    code = """
g = go(whole)
until(lambda: "slow" in sys.modules)
pid = os.fork()
if pid == 0:
    os._exit(part())
print(os.waitstatus_to_exitcode(ramet.blocking(os.waitpid, pid, 0)[1]), g.join(50))
"""
    assert program(LAZY + code) == ["42", "42"]


def test_installed_for_preemption_only():
    code = """
import _frozen_importlib, _thread, atexit
def state(): return _frozen_importlib._thread is _thread, [h.where for h in ramet.debug.hooks() if h.name == "import locks"]
atexit.register(lambda: print(_frozen_importlib._thread is _thread))
print(state())
go(int).join()
print(state())
"""
    where = "importlib._bootstrap._thread"
    assert program(code) == ["(True,", "[])", "(False,", f"['{where}'])", "True"]
    ended = run_py(PRELUDE + code, env={"RAMET_PREEMPT": "0"})
    assert ended.out.split() == ["(True,", "[])", "(True,", "[])", "True"], str(ended)
