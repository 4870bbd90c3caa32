"""What a goroutine raises: excepthook for what nobody collects, KeyboardInterrupt and SystemExit."""

import gc
import io
import sys
import time

import pytest
import ramet
from helpers import T, parked, run_py, until
from ramet import Chan, Goroutine, go, gosched
from ramet.time import sleep

# ---- exceptions that nobody collects ----------------------------------------------------------------


def fail(*args):
    raise ValueError("lost", *args)


def test_excepthook_at_death_without_a_handle(reports):
    go(fail)
    gosched()
    assert len(reports) == 1
    g, e = reports[0]
    assert isinstance(g, Goroutine) and isinstance(e, ValueError)


def test_excepthook_when_the_handle_goes(reports):
    g = go(fail)
    parked(g, state="done")
    name = g.name
    gc.collect()
    assert reports == []
    del g
    gc.collect()
    assert len(reports) == 1 and reports[0][0].name == name
    reports.clear()
    gc.collect()
    assert reports == []  # once


def test_excepthook_when_it_fails_while_its_handle_is_being_collected(reports):
    """Finalizers are called before anything is dropped, and once: the handle's may come too early."""
    c = Chan(1)
    fails = []
    g = go(lambda: (c.recv(), fails.append(1), fail()))
    parked(g)

    class Wakes:
        def __del__(self):
            c.send(None)
            until(lambda: fails, sleep=sleep)

    garbage = [g, Wakes()]
    garbage.append(garbage)
    del g, garbage
    gc.collect()
    until(lambda: reports, sleep=sleep)
    gc.collect()
    assert [type(e) for g, e in reports] == [ValueError]


def test_excepthook_not_when_collected(reports):
    g = go(fail)
    with pytest.raises(ValueError):
        g.join(T)
    h = go(fail)
    assert isinstance(h.exception(T), ValueError)
    del g, h
    gc.collect()
    assert reports == []


def test_excepthook_when_only_waited_for(reports):
    """if_done and a join that times out do not collect."""
    c = Chan()
    g = go(lambda: (c.recv(), fail()))
    with pytest.raises(TimeoutError):
        g.join(0)
    c.send(1)
    s = ramet.select(g.if_done(), timeout=T)
    assert s.value is g and g.done() and g.state == "done"
    del g, s
    gc.collect()
    assert len(reports) == 1


def test_excepthook_with_a_name(reports):
    g = go(fail)
    g.name = "careless"
    del g
    gosched()
    gc.collect()
    assert [x.name for x, _ in reports] == ["careless"]


def test_excepthook_that_fails(monkeypatch, capfd):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: unraisable.append(u.exc_type))
    monkeypatch.setattr(ramet, "excepthook", lambda g, e: 1 / 0)
    go(fail)
    gosched()
    monkeypatch.setattr(ramet, "excepthook", None)
    go(fail)
    gosched()
    assert unraisable == [ZeroDivisionError, TypeError]


HOOKED_BY_EXIT = """
import sys, threading
import ramet
def exits(*args):
    print("hook", flush=True)
    {how}
threading.excepthook = ramet.excepthook = exits
def ended(start):
    try:
        start(target=lambda: 1 / 0)
        ramet.time.sleep(0.2)
        print("goes on")
    except SystemExit as e:
        print("exit", e)
threads = []  # it is not dropped, by a finalizer that SystemExit may come to
def thread(target):
    threads.append(threading.Thread(target=target))
    threads[0].start()
    threads[0].join()
ended(thread)
ended(lambda target: ramet.go(target))
"""


def test_excepthook_that_exits():
    """sys.exit() in it ends nothing, as in a thread's; and it may start a goroutine that ends the program."""
    ended = run_py(HOOKED_BY_EXIT.format(how="sys.exit(7)"))
    assert ended.out == "hook\ngoes on\n" * 2 and ended.err.count("SystemExit: 7") == 1, str(ended)
    ended = run_py(HOOKED_BY_EXIT.format(how="ramet.go(sys.exit, 7)"))
    assert ended.out == "hook\nexit 7\n" * 2 and ended.err == "", str(ended)


def test_excepthook_may_park(monkeypatch):
    c = Chan()
    monkeypatch.setattr(ramet, "excepthook", lambda g, e: c.send(e))
    go(fail)
    assert isinstance(c.recv(T), ValueError)


def test_default_excepthook(capsys):
    g = go(fail, 42)
    g.name = "unlucky"
    del g
    gosched()
    gc.collect()
    err = capsys.readouterr().err
    head = err.splitlines()[0]
    assert "unlucky" in head
    assert "ValueError: ('lost', 42)" in err and "in fail" in err and "Traceback" in err


@pytest.mark.parametrize("kept", [False, True])
def test_default_excepthook_says_where_it_was_born(capsys, kept):
    def birthplace():
        return go(fail)

    handle = birthplace()
    if not kept:
        del handle
    gosched()
    handle = None
    gc.collect()
    head = capsys.readouterr().err.splitlines()[0]
    line = birthplace.__code__.co_firstlineno + 1
    assert f'(started at File "{__file__}", line {line}, in birthplace)' in head


def test_dump_says_where_it_was_born():
    def birthplace():
        return go(Chan().recv)

    g = birthplace()
    gosched()
    text = io.StringIO()
    ramet.dump(text)
    line = birthplace.__code__.co_firstlineno + 1
    assert f'started by goroutine 1 at File "{__file__}", line {line}, in birthplace:' in text.getvalue()
    g.cancel()
    with pytest.raises(ramet.GoroutineCancelled):
        g.join()


def test_birthplace_keeps_no_code_alive():
    code = compile("go(nothing).join()", "<born>", "exec")
    before = sys.getrefcount(code)
    for _ in range(100):
        exec(code, {"go": go, "nothing": lambda: None})
    assert sys.getrefcount(code) == before


def test_excepthook_kills_nobody(reports):
    gs = [go(lambda i=i: fail() if i % 2 else i) for i in range(10)]
    for g in gs:
        parked(g, state="done")
    assert [g.join() for g in gs[::2]] == [0, 2, 4, 6, 8]
    del gs, g
    gc.collect()
    assert len(reports) == 5


# ---- KeyboardInterrupt and SystemExit ---------------------------------------------------------------


@pytest.mark.parametrize("exc", [KeyboardInterrupt("k"), SystemExit(3)], ids=["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize(
    "wait",
    [
        lambda: Chan().recv(T),
        lambda: sleep(T),
        lambda: ramet.select(timeout=T),
        lambda: ramet.blocking(time.sleep, 0.05),
        lambda: ramet.run(),
        lambda: ramet.run(sleep, T),
        lambda: [gosched() for _ in iter(int, 1)],
    ],
    ids=["recv", "sleep", "select", "blocking", "run", "run-main", "gosched"],
)
def test_exits_are_raised_in_main(exc, wait):
    def f():
        sleep(0.002)
        raise exc

    c = Chan()
    other = go(c.recv)
    g = go(f)
    with pytest.raises(type(exc)) as e:
        wait()
    assert e.value is exc
    assert g.done()
    if not other.done():
        c.send(1, T)
        assert other.join(T) == 1  # nobody else is touched


def test_exit_in_a_goroutine_that_main_joins():
    g = go(sys.exit, 5)
    with pytest.raises(SystemExit) as e:
        g.join(T)
    assert e.value.code == 5


def test_exit_in_a_goroutine_while_main_computes():
    """It is raised at main's next wait."""
    g = go(sys.exit, 6)
    c = Chan(1)
    with pytest.raises(SystemExit):
        c.recv(T)
    c.send(1)
    assert c.recv(T) == 1
    assert g.done()


def test_exit_status_of_a_program():
    ended = run_py("import ramet, sys\nramet.go(sys.exit, 7)\nramet.Chan().recv()", status=7)
    assert ended.err == "", str(ended)
