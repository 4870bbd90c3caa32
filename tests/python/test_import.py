"""Importing changes nothing in the process; using ramet installs little, and says so."""

from helpers import run_py


def test_import_changes_nothing():
    code = """
import ctypes, gc, os, signal, sys, threading, atexit, warnings
def state():
    hook = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook").value
    masks = [l for l in open("/proc/self/status") if l.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    return dict(
        threads=len(os.listdir("/proc/self/task")),
        active=threading.active_count(),
        handlers=[signal.getsignal(i) for i in range(1, 65)],
        masks=masks,
        limit=sys.getrecursionlimit(),
        hook=hook,
        fds=os.listdir("/proc/self/fd"),
        wakeup=signal.set_wakeup_fd(-1),
        exithooks=atexit._ncallbacks(),
        excepthooks=(sys.excepthook, sys.unraisablehook, threading.excepthook, sys.breakpointhook, sys.displayhook),
        interval=sys.getswitchinterval(),
        gc=(gc.isenabled(), gc.get_threshold()),
        trace=(sys.gettrace(), sys.getprofile(), sys.get_asyncgen_hooks()),
        finders=(list(sys.meta_path), list(sys.path_hooks), list(sys.path)),
        cwd=os.getcwd(),
        environ=dict(os.environ),
    )
import time, typing, functools, traceback, types, collections
before = state()
modules = set(sys.modules)
import ramet
import ramet.time
from ramet.time import *
from ramet import Chan, num_goroutines, stats
new = set(sys.modules) - modules
c = Chan(1)
case = c.if_recv()
after = state()
from ramet import *  # from here on what the standard library's modules do is theirs
import ramet.sync, ramet.context
lock, group = ramet.sync.Mutex(), Group()
with lock:
    pass
assert len(os.listdir("/proc/self/task")) == 1
for k in before:
    assert before[k] == after[k], (k, before[k], after[k])
assert not [m for m in new if not m.startswith("ramet")], new
assert not {"ramet.net", "ramet.io", "ramet.os"} & new
assert num_goroutines() == 1 and stats()["goroutines"] == 1
"""
    ended = run_py(code)
    assert ended.err == "" and ended.out == "", str(ended)


def test_star_import_hides_no_module():
    code = """
import time, io, os, sys, socket, types
t = time
from ramet import *
assert time is t
import ramet
assert all(not isinstance(getattr(ramet, n), types.ModuleType) for n in ramet.__all__)
assert "net" not in ramet.__all__ and "time" not in ramet.__all__
assert ramet.time is sys.modules["ramet.time"]
"""
    run_py(code)


def test_import_is_light():
    """Nothing big is imported with it."""
    code = """
import sys
import ramet
heavy = {"asyncio", "socket", "ssl", "subprocess", "multiprocessing", "threading", "traceback", "logging"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run_py(code, env={"PYTHONNOUSERSITE": "1"})


def test_submodules():
    run_py("import ramet\nramet.time.sleep\nramet.net.dial")
    run_py("from ramet import net, time\nimport ramet.net as n\nassert net is n")
    ended = run_py("import ramet\ntry: ramet.nothing\nexcept AttributeError as e: print(e)")
    assert "nothing" in ended.out


def test_first_use_leaves_what_was_there():
    """Signal handlers of Python, the recursion limit and the mask are as before after first use, too."""
    code = """
import os, signal, sys, threading
def state():
    return ([signal.getsignal(i) for i in range(1, 65)], sys.getrecursionlimit(), threading.active_count(),
            signal.pthread_sigmask(signal.SIG_BLOCK, []), sys.excepthook, sys.getswitchinterval(),
            signal.set_wakeup_fd(-1))
before = state()
import ramet
assert ramet.go(lambda: 5).join() == 5
ramet.blocking(int)
assert state() == before
"""
    run_py(code)


def test_threads_of_the_runtime_block_all_signals():
    code = """
import os, ramet
ramet.go(int).join()
ramet.blocking(int)
me = str(os.getpid())
for t in os.listdir("/proc/self/task"):
    if t != me:
        for line in open(f"/proc/self/task/{t}/status"):
            if line.startswith("SigBlk:"):
                mask = int(line.split()[1], 16)
                assert mask & (1 << 1) and mask & (1 << 14), (t, line)  # SIGINT, SIGTERM
"""
    run_py(code)


def test_two_interpreters_or_reload():
    code = """
import importlib, sys, ramet
assert ramet.go(lambda: 1).join() == 1
importlib.reload(ramet)
assert ramet.go(lambda: 2).join() == 2
"""
    run_py(code)
