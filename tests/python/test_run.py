"""run and maintask, and the deadlock report."""

import re
import threading

import pytest
import ramet
from helpers import T, parked, run_py
from ramet import Chan, DeadlockError, go, gosched, maintask, run
from ramet.time import sleep


def test_result_and_arguments():
    assert run(lambda: 5) == 5
    assert run(lambda *a, **k: (a, k), 1, 2, x=3) == ((1, 2), {"x": 3})
    assert run(dict, main=1) == {"main": 1}


def test_main_is_the_main_goroutine():
    assert run(ramet.current) is ramet.current()
    assert run(lambda: ramet.current().id) == 1


@pytest.mark.parametrize("exc", [ValueError("x"), KeyboardInterrupt(), SystemExit(2), ramet.Cancelled()])
def test_exceptions(exc):
    def main():
        raise exc

    with pytest.raises(type(exc)) as e:
        run(main)
    assert e.value is exc
    assert run(lambda: 1) == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "names"),
    [((5,), {}, "main"), (("x", 1), {}, "main"), ((), {"x": 1}, "run"), ((None, 1), {}, "run")],
)
def test_wrong_arguments(args, kwargs, names):
    with pytest.raises(TypeError, match=names):
        run(*args, **kwargs)


def test_cancels_what_was_started_within_it():
    log, c = [], Chan()

    def forever(name):
        try:
            c.recv()
        finally:
            sleep(0.001)  # it may block again
            log.append(name)

    outside = go(forever, "outside")
    parked(outside)

    def main():
        gs.extend(go(forever, i) for i in range(5))
        gs.append(go(lambda: go(forever, "nested") and sleep(100)))
        parked(*gs)
        go(log.append, "never begins")
        return "result"

    gs = []
    assert run(main) == "result"
    assert sorted(map(str, log)) == ["0", "1", "2", "3", "4", "nested"]
    assert all(g.done() and g.cancelled() for g in gs)
    assert not outside.done()
    c.send(1)
    outside.join(T)


def test_cancels_when_main_raises():
    g = None

    def main():
        nonlocal g
        g = go(sleep, 100)
        gosched()
        raise ValueError

    with pytest.raises(ValueError):
        run(main)
    assert g.cancelled()


def test_what_ended_stays_as_it_ended():
    gs = run(lambda: [go(int), go(lambda: 1 / 0)] + [gosched()])[:2]
    assert gs[0].join() == 0 and isinstance(gs[1].exception(), ZeroDivisionError)


def test_without_main_waits_for_all():
    log = []

    def f(i):
        sleep(0.005 * i)
        log.append(i)
        if i == 3:
            go(f, 4)

    for i in range(4):
        go(f, i)
    assert run() is None
    assert log == [0, 1, 2, 3, 4]
    assert ramet.num_goroutines() == 1
    assert run() is None  # nothing to do


def test_maintask():
    log = []

    @maintask
    def one():
        log.append("one")

    @maintask
    def two():
        log.append("two")
        sleep(0.001)
        log.append("two ends")

    assert callable(one)
    assert log == []
    gosched()
    assert log == []
    run()
    assert log == ["one", "two", "two ends"]
    run()
    assert log == ["one", "two", "two ends"]  # of the next run only
    for bad in (5, None):
        with pytest.raises(TypeError, match="maintask"):
            maintask(bad)


def test_maintask_with_main():
    log = []
    maintask(lambda: log.append("task"))
    run(lambda: (log.append("main"), sleep(0.01)))
    assert sorted(log) == ["main", "task"]


def test_nested_is_refused():
    def main():
        with pytest.raises(RuntimeError, match="run"):
            run(lambda: 1)
        with pytest.raises(RuntimeError, match="run"):
            run()
        return 1

    assert run(main) == 1


def test_in_a_goroutine_is_refused():
    def f():
        with pytest.raises(RuntimeError, match="run"):
            run(lambda: 1)
        with pytest.raises(RuntimeError, match="run"):
            run()
        return 1

    assert go(f).join(T) == 1
    assert run(lambda: go(f).join(T)) == 1


def test_refusal_keeps_the_maintasks():
    log = []
    maintask(lambda: log.append(1))

    def f():
        with pytest.raises(RuntimeError):
            run()

    go(f).join(T)
    assert log == []
    run()
    assert log == [1]


def test_in_a_thread():
    got = {}

    def thread():
        got["result"] = run(lambda x: (x, ramet.current().id, go(lambda: "inner").join()), 5)
        try:
            run(lambda: 1 / 0)
        except ZeroDivisionError as e:
            got["exc"] = e
        try:
            run()
        except RuntimeError as e:
            got["no main"] = e

    t = threading.Thread(target=thread)
    t.start()
    while t.is_alive():
        sleep(0.001)
    assert got["result"][0] == 5 and got["result"][1] != 1 and got["result"][2] == "inner"
    assert "exc" in got and "no main" in got


def test_in_a_thread_while_main_runs():
    def main():
        t = threading.Thread(target=lambda: c.send(run(lambda: "from the thread")))
        c = Chan()
        t.start()
        v = c.recv(T)
        t.join(T)
        return v

    assert run(main) == "from the thread"


# ---- deadlock ---------------------------------------------------------------------------------------

DEADLOCKS = """
import ramet, sys
from ramet import *
from ramet.time import sleep
def f(c):
    return c.recv()
def check(fn, *words):
    try:
        fn()
    except DeadlockError as e:
        text = str(e)
        for w in words:
            assert w in text, (w, text)
        print("deadlock")
    else:
        print("none")
c = Chan()
check(lambda: c.recv(), "chan receive")
check(lambda: c.recv_ok(), "chan receive")
check(lambda: c.send(1), "chan send")
check(lambda: [v for v in c], "chan receive")
check(lambda: select(c, Chan()), "select")
check(lambda: go(f, c).join(), "join")
check(lambda: run(c.recv), "chan receive")
def cycle():
    gs = []
    def join(i): gs[i].join()
    gs.extend([go(join, 1), go(join, 0)])
    gs[0].join()
check(cycle, "join")
go(f, c)
check(lambda: run(), "chan receive")
print("alive", num_goroutines())
sleep(0.01)                # a timer is not a deadlock
blocking(int)
g = go(sleep, 0.01); g.join()
c.send(1)
"""


def test_deadlocks_of_main():
    ended = run_py(DEADLOCKS)
    assert ended.out.count("deadlock\n") == 9 and "none" not in ended.out, str(ended)
    assert ended.err == "" and ended.seconds < 5, str(ended)  # each is decided at once


REPORT = """
import ramet
from ramet import *
from ramet.time import sleep
def inner(c):
    c.recv()
def outer(c):
    inner(c)
jobs = Chan(name="jobs")
full = Chan(1, name="results"); full.send(1)
a = go(outer, jobs); a.name = "worker"
b = go(full.send, 2)
d = go(select, jobs, full.if_send(3))
e = go(a.join)
sleep(0.12)
def main_waits():
    Chan(name="mine").recv(1000) if 0 else Chan(name="mine").recv()
try:
    main_waits()
except DeadlockError as x:
    assert isinstance(x, RametError)
    print(x)
"""


def test_the_report():
    ended = run_py(REPORT)
    text = ended.out
    for word in ("'main'", "'worker'", "goroutine-3", "chan receive", "chan send", "select", "join"):
        assert word in text, f"{word} is missing\n{ended}"
    for word in ("jobs", "results", "mine", "in inner", "in outer", "in main_waits", "goroutine 1 ", "goroutine 2 "):
        assert word in text, f"{word} is missing\n{ended}"
    ages = [float(x) for x in re.findall(r", (\d+\.\d) s\]", text)]
    assert len(ages) == 5 and ages.count(0.0) == 1 and max(ages) < 10, str(ended)  # main has just begun to wait
    assert re.search(r"goroutine \d+ 'worker' \[chan receive <[^>]*jobs[^>]*>, \d\.\d s\]", text), str(ended)
    assert text.index("goroutine 1 ") < text.index("goroutine 2 ")


def test_an_uncaught_deadlock_ends_the_program():
    ended = run_py("import ramet\nramet.Chan(name='lonely').recv()\n", status=1)
    assert "DeadlockError" in ended.err and "lonely" in ended.err, str(ended)


def test_goroutines_that_wait_are_no_deadlock_of_main():
    ended = run_py(
        "import ramet\nc = ramet.Chan()\nramet.go(c.recv)\nprint(ramet.go(lambda: 5).join())\nramet.gosched()\n"
    )
    assert ended.out == "5\n" and ended.err == "", str(ended)


def test_not_while_a_thread_lives():
    ended = run_py(
        "import ramet, threading, time\n"
        "c = ramet.Chan()\n"
        "threading.Thread(target=lambda: (time.sleep(0.7), c.send(5))).start()\n"
        "print(c.recv())\n"
    )
    assert ended.out == "5\n" and ended.err == "", str(ended)


def test_not_while_a_signal_handler_is_installed():
    ended = run_py(
        "import ramet, signal\n"
        "c = ramet.Chan(1)\n"
        "signal.signal(signal.SIGALRM, lambda *a: c.send(5))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.7)\n"
        "print(c.recv())\n"
    )
    assert ended.out == "5\n" and ended.err == "", str(ended)


def test_not_while_a_blocking_call_runs():
    ended = run_py(
        "import ramet, time\nc = ramet.Chan()\n"
        "ramet.go(lambda: c.send(ramet.blocking(lambda: (time.sleep(0.3), 5)[1])))\nprint(c.recv())\n"
    )
    assert ended.out == "5\n" and ended.err == "", str(ended)


def test_in_doubt_it_is_reported_once():
    ended = run_py(
        "import ramet, signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *a: None)\n"
        "c = ramet.Chan(1, name='doubtful')\n"
        "signal.signal(signal.SIGALRM, lambda *a: c.send(5))\n"
        "signal.setitimer(signal.ITIMER_REAL, 12.5)\n"
        "print(c.recv())\n",
        timeout=180,
    )
    assert ended.out == "5\n" and ended.err.count("perhaps a deadlock") == 1 and "doubtful" in ended.err, str(ended)


def test_deadlock_is_raised_where_main_waits():
    """finally blocks run, other goroutines stay as they are, and life goes on."""
    ended = run_py(
        "import ramet\nfrom ramet import *\n"
        "c = Chan(); g = go(c.recv)\n"
        "try:\n"
        "    try: Chan().recv()\n"
        "    finally: print('finally')\n"
        "except DeadlockError: print('caught')\n"
        "print(g.done()); c.send(3); print(g.join())\n"
    )
    assert ended.out == "finally\ncaught\nFalse\n3\n", str(ended)


def test_deadlock_error_is_known():
    assert issubclass(DeadlockError, ramet.RametError)
