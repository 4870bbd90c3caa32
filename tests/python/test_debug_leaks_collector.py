"""Leaked goroutines and the collector: when one is found, and by whom."""

import gc
import os
import sys
import sysconfig
import threading

import leaks
import pytest
import ramet
from helpers import SLOW, run_py
from leaks import (
    CHANS,
    OTHERS,
    barrier,
    cancel,
    collect,
    cycle,
    joins,
    leaked,
    recv,
    select_cases,
    select_star,
    send,
    send_itself,
    settle,
    star_args,
    start,
    waits_for_the_end,
)
from ramet import Chan, debug, gosched

tidy = leaks.tidy  # a fixture


def test_without_a_collector():
    gc.disable()
    try:
        n = start(recv, Chan())
        assert leaked() == {n}
        assert len(collect()) == 1  # one that is asked for
    finally:
        gc.enable()


def test_frozen():
    """As most of what is there is in these tests: see conftest.py."""
    n = start(cycle, Chan())
    settle()
    gc.freeze()
    assert leaked() == {n}
    assert len(collect()) == 1


@pytest.mark.skipif(
    sysconfig.get_config_var("Py_GIL_DISABLED"), reason="every collection of a free-threaded build is a full one"
)
def test_only_after_full_collections():
    n = start(recv, Chan())
    settle()
    gc.collect(0)
    gc.collect(1)
    assert leaked() == {n}
    assert len(collect()) == 1


def test_a_collection_that_comes_of_itself():
    n = start(recv, Chan())
    settle()
    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    kept = []
    try:
        for _ in range(20000 if not SLOW else 200000):
            kept.append([kept])
            if len(kept) % 100 == 0:
                gosched()
                if n not in {g.id for g in ramet._core._goroutines()}:
                    break
        else:
            raise AssertionError("not found")
    finally:
        gc.set_threshold(*threshold)


def test_in_another_thread():
    """The collection runs there, and the goroutine unwinds here."""
    ids = {start(recv, Chan()) for _ in range(3)}
    settle()
    t = threading.Thread(target=gc.collect)
    t.start()
    t.join()
    settle()
    assert ids.isdisjoint(g.id for g in ramet._core._goroutines())


def test_with_a_collector_that_runs_all_the_time():
    threshold = gc.get_threshold()
    held = Chan()
    ids, on_held = set(), set()
    try:
        gc.set_threshold(1)
        gc.callbacks.remove(ramet._core._leaks_after)
        for fn in CHANS:
            if fn not in (send, send_itself, select_cases, select_star):  # they would meet the others
                on_held.add(start(fn, held))
            if fn is not star_args:
                ids.add(start(fn, Chan()))
        for fn in OTHERS:
            if fn not in (joins, waits_for_the_end, barrier):
                ids.add(start(fn))
        settle()
        for _ in range(5 if not SLOW else 300):
            assert leaked() == ids
            gc.collect()
    finally:
        gc.callbacks.append(ramet._core._leaks_after)
        gc.set_threshold(*threshold)
        cancel(on_held)


def test_it_can_be_turned_off():
    gc.callbacks.remove(ramet._core._leaks_after)
    try:
        assert "gc.callbacks" not in [h.where for h in debug.hooks()]
        n = start(recv, Chan())
        settle()
        assert collect() == [] and leaked() == {n}
    finally:
        gc.callbacks.append(ramet._core._leaks_after)
    assert "gc.callbacks" in [h.where for h in debug.hooks()]


def test_bad_calls_of_the_callback():
    for args in ((), ("stop",), (1, 2), ("stop", None)):
        with pytest.raises(TypeError, match="a phase and a dict"):
            ramet._core._leaks_after(*args)
    n = start(recv, Chan())
    settle()
    for info in ({}, {"generation": None}, {"generation": 2.0}, {"generation": 2**100}):
        ramet._core._leaks_after("stop", info)
    assert leaked() == {n}


def test_under_preemption():
    code = """
import gc, ramet
ramet.configure(preempt=True)
from ramet import Chan, go
done = []
def leaks():
    try:
        Chan().recv()
    finally:
        done.append(1)
def works(c):
    for v in c:
        sum(range(200))
def hog(stop):
    while not stop.closed:
        x = [[i] for i in range(100)]
        x.append(x)
stop, c = Chan(), Chan()
hogs = [go(hog, stop), go(hog, stop), go(works, c)]
n = 0
for i in range(300):
    go(leaks)
    n += 1
    c.send(i)
    if i % 10 == 0:
        gc.collect()
for _ in range(100):
    gc.collect()
    ramet.time.sleep(0.001)
    if len(done) == n:
        break
assert len(done) == n, (len(done), n)
stop.close()
c.close()
for g in hogs:
    g.join()
assert ramet.num_goroutines() == 1
"""
    run_py(code, timeout=180)


def test_what_is_being_dropped_is_not_looked_at():
    """Of an expression that fails, of a goroutine that ends: one that is dropped waits, others are gone."""
    code = """
import gc, ramet, weakref
from ramet import Chan, debug, go
class Thing:
    pass
class Waits:
    def __init__(self, c):
        self.c = c
    def __del__(self):
        try:
            self.c.recv()
        except ramet.Cancelled:
            pass
def fail(*args):
    raise ValueError
def when_it_goes(fn):
    thing = Thing()
    refs.append(weakref.ref(thing, fn))
    return thing
def in_python(c):
    try:
        [Thing(), Waits(c), Thing(), [Thing()], fail()]
    except ValueError:
        pass
def in_c(c):
    try:
        [Thing(), when_it_goes(c.send), Thing(), [Thing()], c.send(c, timeout=0.001)]
    except TimeoutError:
        pass
def in_a_loop(c):
    def failing():
        yield Thing()
        fail()
    def tidies():
        try:
            yield Thing()
        finally:
            c.recv()
    try:
        for _ in tidies():
            for _ in [Thing(), Thing()]:
                for _ in failing():
                    pass
    except ValueError:
        pass
def does_nothing(*args, **kwargs):
    pass
refs = []
for kept in (Chan(), Chan()):
    for fn in (in_python, in_c, in_a_loop):
        c = Chan()
        go(fn, c)
        ramet.time.sleep(0.01)
        if fn is in_c:
            keep = c
        del c
    go(does_nothing, [Thing()], Thing(), Waits(kept), Thing(), named=Thing())
    ramet.time.sleep(0.01)
    for _ in range(20):
        garbage = [[Thing()] for _ in range(50)]
        debug.leaks()
        gc.collect()
    assert ramet.num_goroutines() >= 2
kept.close()
"""
    run_py(code, env={"PYTHONMALLOC": "debug", "PYTHONWARNINGS": "ignore"})


# what programs start with that have one goroutine leaked and one kept
BODY = """
import gc, os, ramet, ramet.debug, threading, time, warnings
warnings.simplefilter("ignore")
told = []
def body(c):
    try:
        c.recv()
    finally:
        told.append(1)
kept = ramet.Chan()
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython 3.11 has no interpreters with a GIL of their own")
def test_in_another_interpreter():
    inside = (
        BODY
        + """
def main():
    ramet.go(body, ramet.Chan())
    g = ramet.go(body, kept)
    ramet.time.sleep(0.001)
    assert len(ramet.debug.leaks()) == 1
    gc.collect()
    ramet.time.sleep(0.001)
    assert told == [1] and ramet.debug.leaks() == []
    kept.close()
ramet.run(main)
"""
    )
    code = f"""
import gc, ramet, ramet.debug
from interpreters import Interpreter
ramet.go(ramet.Chan().recv)
ramet.gosched()
with Interpreter() as i:
    i.exec({inside!r})
    assert ramet.num_goroutines() == 2
assert len(ramet.debug.leaks()) == 1
"""
    run_py(code, env={"PYTHONPATH": os.path.dirname(os.path.abspath(__file__)), "PYTHONWARNINGS": "ignore"})


def test_at_exit():
    """Those that are leaked when the program ends unwind as all the others do, without a word."""
    code = """
import ramet
def body():
    try:
        ramet.Chan().recv()
    finally:
        import gc
        gc.collect()
        print("unwound")
for _ in range(3):
    ramet.go(body)
ramet.gosched()
"""
    ended = run_py(code, env={"PYTHONWARNINGS": "always"})
    assert ended.out == "unwound\n" * 3 and ended.err == "", str(ended)


def test_in_a_forked_child():
    code = (
        BODY
        + """
ramet.go(body, ramet.Chan())
ramet.go(body, kept)
ramet.gosched()
pid = os.fork()
if pid == 0:
    gc.collect()
    ramet.gosched()
    assert told == [] and ramet.debug.leaks() == [], told  # they are the parent's
    ramet.go(body, ramet.Chan())
    ramet.gosched()
    assert len(ramet.debug.leaks()) == 1
    gc.collect()
    ramet.gosched()
    assert told == [1]
    os._exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
gc.collect()
ramet.gosched()
assert told == [1]
kept.close()
"""
    )
    run_py(code)


def test_hosted_on_a_thread_of_its_own():
    code = (
        BODY
        + """
def first():
    ramet.go(body, ramet.Chan())
    ramet.go(body, kept)
t = threading.Thread(target=first)
t.start()
t.join()
end = time.monotonic() + 50
while [g.state for g in ramet._core._goroutines()].count("chan receive") < 2:
    assert time.monotonic() < end
    time.sleep(0.01)
assert len(ramet.debug.leaks()) == 1
gc.collect()
while not told:
    assert time.monotonic() < end
    time.sleep(0.01)
assert len(told) == 1 and ramet.debug.leaks() == []
kept.close()
"""
    )
    run_py(code)
