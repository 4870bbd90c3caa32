"""ramet.debug: what is installed, held against what the system and the interpreter say; who keeps the proc."""

import re

import pytest
import ramet
from helpers import run_py
from ramet import debug

# what of that can be seen from outside
REALITY = """
import ctypes, os, signal, sys, threading, time
import ramet
from ramet import debug

def caught(signum):
    line = next(l for l in open("/proc/self/status") if l.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) >> (signum - 1) & 1)

def threads():
    return sorted(open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")
                  if int(t) != os.getpid())

class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

def alternate():
    s = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(s)) == 0
    return not s.flags & 2

def input_hook():
    return ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook").value is not None

def fds():
    kinds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            kinds[f"fd {fd}"] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            pass
    return {k for k, v in kinds.items() if v in ("anon_inode:[eventpoll]", "anon_inode:[eventfd]")}

def names():
    return [h.name for h in debug.hooks()]

def ours(thread):
    return [h.where.removeprefix("thread ") for h in debug.hooks() if h.where.startswith("thread ")].count(thread)

def agree():
    n = names()
    assert caught(signal.SIGSEGV) == ("SIGSEGV handler" in n), n
    assert caught(signal.SIGBUS) == ("SIGBUS handler" in n), n
    assert alternate() == ("alternate signal stack" in n), n
    assert input_hook() == ("input hook" in n), n
    assert any("ramet" in getattr(f, "__module__", "") for f in sys.meta_path) == ("greenlet finder" in n), n
    assert fds() == {h.where for h in debug.hooks() if h.where.startswith("fd ")}, (fds(), debug.hooks())
    end = time.monotonic() + 50  # a thread has no name before it has begun
    while sorted(h.where.removeprefix("thread ") for h in debug.hooks() if h.where.startswith("thread ")) != threads():
        assert time.monotonic() < end, (threads(), debug.hooks())
        time.sleep(0.01)
"""


def test_nothing_after_the_import():
    code = REALITY + "assert debug.hooks() == []\nagree()\nassert debug.blocked_threshold(1) is None\nagree()\n"
    run_py(code, env={"PYTHONFAULTHANDLER": ""})


def test_no_function_of_ours_is_registered_by_the_import():
    """What the standard library registers, as it is imported, is its own."""
    code = """
import atexit, gc, importlib, os, pkgutil
registered = []
def note(*functions, **named):
    registered.extend(f for f in (*functions, *named.values()) if getattr(f, "__module__", None))
    return functions and functions[0]
os.register_at_fork = atexit.register = note
callbacks = list(gc.callbacks)
import ramet
for module in pkgutil.walk_packages(ramet.__path__, "ramet."):
    if not module.name.endswith("__main__"): importlib.import_module(module.name)
assert gc.callbacks == callbacks
ours = [f for f in registered if f.__module__.startswith("ramet")]
assert not ours, ours
"""
    run_py(code)


def test_what_is_listed_is_there_and_the_other_way_round():
    code = (
        REALITY
        + """
import atexit
before = atexit._ncallbacks()
ramet.go(int).join()
agree()
assert ours("ramet-sysmon") == 1 and ours("ramet-pool") == 0, debug.hooks()
assert {"SIGSEGV handler", "arena allocator", "input hook", "fork handler", "poller", "waker"} <= set(names())
assert atexit._ncallbacks() == before + names().count("exit handler") == before + 1
gs = [ramet.go(ramet.blocking, time.sleep, 0.2) for _ in range(3)]
ramet.gosched()
end = time.monotonic() + 50
while ours("ramet-pool") < 3:
    assert time.monotonic() < end
    ramet.gosched()
agree()
[g.join() for g in gs]
agree()
"""
    )
    run_py(code, env={"PYTHONFAULTHANDLER": ""})


def test_what_somebody_has_replaced_is_not_listed():
    code = (
        REALITY
        + """
ramet.go(int).join()
signal.signal(signal.SIGBUS, signal.SIG_IGN)
agree()
assert "SIGBUS handler" not in names() and "SIGSEGV handler" in names()
ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook").value = None
agree()
assert "input hook" not in names()
"""
    )
    run_py(code, env={"PYTHONFAULTHANDLER": ""})


def test_handlers_of_notify():
    code = (
        REALITY
        + """
from ramet.os import signal as notifying
c = ramet.Chan(1)
def listed():
    return {int(h.name.split()[-1]) for h in debug.hooks() if h.where == "signal.signal"}
def real():
    return {n for n in signal.valid_signals() if signal.getsignal(n) is notifying._on_signal}
assert listed() == set()
notifying.notify(c, signal.SIGUSR1, signal.SIGTERM)
assert listed() == real() == {signal.SIGUSR1, signal.SIGTERM}
signal.signal(signal.SIGTERM, signal.SIG_DFL)
assert listed() == real() == {signal.SIGUSR1}
notifying.stop(c)
assert listed() == real() == set()
"""
    )
    run_py(code)


def test_a_runtime_on_a_thread_of_its_own():
    code = (
        REALITY
        + """
t = threading.Thread(target=lambda: ramet.go(int).join())
t.start()
t.join()
assert ours("ramet-host") == 1 and ours("ramet-sysmon") == 1, debug.hooks()
assert ("alternate signal stack" in names()) and not alternate()  # that of the host
end = time.monotonic() + 50
while sorted(threads()) != ["ramet-host", "ramet-sysmon"]:
    assert time.monotonic() < end, threads()
    time.sleep(0.01)
"""
    )
    run_py(code, env={"PYTHONFAULTHANDLER": ""})


def test_hooks_in_a_forked_child():
    code = (
        REALITY
        + """
ramet.go(int).join()
ramet.blocking(int)
pid = os.fork()
if not pid:
    try:
        agree()
        assert ours("ramet-sysmon") == 1 and ours("ramet-pool") == 0, debug.hooks()
        assert names().count("exit handler") == names().count("fork handler") == 1
    except BaseException as e:
        print(e, file=sys.stderr)
        os._exit(1)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    )
    run_py(code, env={"PYTHONFAULTHANDLER": ""})


# ---- who keeps the proc ---------------------------------------------------------------------------


def test_a_hog_is_reported_once_a_stretch():
    code = """
import time
import ramet
from ramet import debug

def burn():
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass

def hog():
    burn()
    ramet.time.sleep(0.05)
    burn()

debug.blocked_threshold(0.1)
g = ramet.go(hog)
g.name = "the hog"
g.join()
"""
    ended = run_py(code)
    assert len(re.findall(r"goroutine 2 'the hog' has kept its proc for 0\.[1-9]", ended.err)) == 2, str(ended)
    assert ended.err.count("in burn") == 2 and "line 12, in hog" in ended.err, str(ended)
    assert "line 14, in hog" in ended.err and "using the CPU" in ended.err, str(ended)


def test_one_that_blocks_outside_ramet_is_reported():
    code = """
import time
import ramet
from ramet import debug
ramet.go(ramet.time.sleep, 100)
ramet.gosched()
debug.blocked_threshold(0.05)
time.sleep(0.7)
"""
    ended = run_py(code)
    assert "goroutine 1 'main' has kept its proc" in ended.err, str(ended)
    assert "line 8, in <module>" in ended.err and "blocked outside ramet" in ended.err, str(ended)


def test_a_call_that_keeps_the_gil_is_reported_when_it_is_over():
    code = """
import time
import ramet
from ramet import debug

def f():
    sum(x)
    return time.monotonic()

n = 1 << 20
while True:  # for about half a second
    x = range(n)
    begin = time.monotonic()
    sum(x)
    if time.monotonic() - begin > 0.5:
        break
    n *= 2
debug.blocked_threshold(0.1)
ramet.go(f).join()
"""
    ended = run_py(code)
    assert ended.err.count("has kept its proc") == 1 and "line 7, in f" in ended.err, str(ended)


def test_nobody_is_reported_who_switches_or_is_alone_or_if_it_is_off():
    code = """
import time
import ramet
from ramet import debug

def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

ramet.gosched()
debug.blocked_threshold(5)
burn(0.3)

def polite():
    for _ in range(100):
        burn(0.005)
        ramet.gosched()

ramet.go(polite).join()
assert debug.blocked_threshold(0.001) == 5
burn(0.3)  # alone
debug.blocked_threshold(None)
ramet.go(burn, 0.3).join()
debug.blocked_threshold(0.01)
debug.blocked_threshold(0)
ramet.go(burn, 0.3).join()
"""
    ended = run_py(code)
    assert ended.err == "", str(ended)


def test_a_hog_on_a_thread_of_the_runtime():
    code = """
import threading, time
import ramet
from ramet import debug

def hog():
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass

debug.blocked_threshold(0.1)
t = threading.Thread(target=lambda: ramet.go(hog).join())
t.start()
t.join()
"""
    ended = run_py(code)
    assert ended.err.count("has kept its proc") == 1 and ", in hog" in ended.err, str(ended)


def test_a_report_that_fails_harms_nobody():
    code = """
import sys, time
import ramet
from ramet import debug

class Broken:
    def write(self, text):
        raise OSError("no")

def hog():
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        pass
    return 5

sys.stderr = Broken()
debug.blocked_threshold(0.05)
assert ramet.go(hog).join() == 5
sys.stderr = sys.__stderr__
print("fine")
"""
    assert run_py(code).out == "fine\n"


def test_values_of_the_threshold():
    before = debug.blocked_threshold(1.5)
    try:
        assert debug.blocked_threshold(2) == 1.5
        assert debug.blocked_threshold(0) == 2
        assert debug.blocked_threshold(None) is None
        assert debug.blocked_threshold(seconds=10**30) is None
        for bad in ("1", b"1", True, [], 1j):
            with pytest.raises(TypeError, match=f"seconds must be an int, a float or None, not {type(bad).__name__}"):
                debug.blocked_threshold(bad)
        for bad in (-1, -0.001, float("nan"), float("inf"), -float("inf")):
            with pytest.raises(ValueError, match="seconds must be zero or more, and finite"):
                debug.blocked_threshold(bad)
        assert debug.blocked_threshold(None) == 10**30
    finally:
        debug.blocked_threshold(before)


def test_the_module_is_there_without_an_import():
    assert ramet.debug is debug
    assert "debug" not in ramet.__all__


def test_hooks_name_the_preemption_handler():
    code = """
import ramet, signal
from ramet import debug
ramet.configure(preempt=True)
assert not debug.hooks()
ramet.go(int).join()
[hook] = [h for h in debug.hooks() if h.name == "preemption handler"]
assert callable(signal.getsignal(int(hook.where.split()[-1])))
print("seen")
"""
    assert run_py(code).out == "seen\n"
