"""go and Goroutine: order, outcomes, cancellation, states, what happens to exceptions nobody collects."""

import gc
import io
import os
import sys
import time
import traceback
import weakref

import pytest
import ramet
from helpers import T, parked, run_py, until
from ramet import Cancelled, Chan, Goroutine, GoroutineCancelled, current, go, gosched
from ramet.time import sleep


@pytest.fixture
def hooked(monkeypatch):
    """What excepthook was called with, as (name of the goroutine, exception)."""
    calls = []
    monkeypatch.setattr(ramet, "excepthook", lambda g, e: calls.append((g, e)))
    return calls


# ---- go ---------------------------------------------------------------------------------------------


def test_go_returns_at_once():
    log = []
    g = go(log.append, 1)
    assert isinstance(g, Goroutine) and log == [] and not g.done()
    g.join(T)
    assert log == [1] and g.done()


def test_go_order():
    log = []
    gs = [go(log.append, i) for i in range(1000)]
    for g in gs:
        g.join(T)
    assert log == list(range(1000))


def test_go_order_from_a_goroutine():
    log = []

    def f():
        go(log.append, "inner")
        log.append("outer")

    go(f)
    h = go(log.append, "second")
    h.join(T)
    gosched()
    assert log == ["outer", "second", "inner"]


def test_arguments():
    def f(*args, **kwargs):
        return args, kwargs

    assert go(f).join(T) == ((), {})
    assert go(f, 1, 2, a=3).join(T) == ((1, 2), {"a": 3})
    assert go(f, fn=1, self=2, name=3).join(T) == ((), {"fn": 1, "self": 2, "name": 3})
    assert go(f, *range(500)).join(T) == (tuple(range(500)), {})
    names = {f"k{i}": i for i in range(300)}
    assert go(f, **names).join(T) == ((), names)
    assert go(dict, [(1, 2)], x=3).join(T) == {1: 2, "x": 3}


def test_any_callable():
    class Called:
        def __call__(self, x):
            return x + 1

        def method(self):
            return "m"

    assert go(Called(), 1).join(T) == 2
    assert go(Called().method).join(T) == "m"
    assert go(lambda: 5).join(T) == 5
    assert go(len, "abc").join(T) == 3
    assert isinstance(go(Called).join(T), Called)


def test_decorator():
    log = []

    @go
    def worker():
        log.append(current().id)
        return 3

    assert isinstance(worker, Goroutine)
    assert worker.join(T) == 3 and log == [worker.id]


@pytest.mark.parametrize("args", [(), (1,), (None,), ("x", 1)])
def test_wrong_function(args):
    with pytest.raises(TypeError, match="go"):
        go(*args)


def test_wrong_arguments_are_the_functions_affair():
    g = go(lambda: 1, 2)
    assert isinstance(g.exception(T), TypeError)
    with pytest.raises(TypeError):
        go(fn=len)


def test_nested():
    def f(n):
        return 0 if n == 0 else 1 + go(f, n - 1).join()

    assert go(f, 200).join(T) == 200


# ---- outcomes ---------------------------------------------------------------------------------------


def test_result():
    v = object()
    g = go(lambda: v)
    assert g.join() is v and g.result() is v and g.join(timeout=1) is v and g.result(1) is v
    assert g.exception() is None and g.exception(timeout=1) is None
    assert g.done() and not g.cancelled() and g.state == "done"


def test_exception():
    exc = ValueError("no")

    def f():
        raise exc

    g = go(f)
    for _ in range(2):
        with pytest.raises(ValueError) as e:
            g.join(T)
        assert e.value is exc
        with pytest.raises(ValueError):
            g.result()
    assert g.exception() is exc
    assert g.done() and not g.cancelled()
    names = [f.name for f in traceback.extract_tb(exc.__traceback__)]
    assert "f" in names


def test_many_may_join():
    c = Chan()
    g = go(c.recv)
    gs = [go(g.join) for _ in range(10)]
    parked(g, *gs)
    c.send(5)
    assert [x.join(T) for x in gs] == [5] * 10


def test_join_timeout():
    c = Chan()
    g = go(c.recv)
    for timeout in (0, -1, 0.01):
        for method in (g.join, g.result, g.exception):
            with pytest.raises(TimeoutError):
                method(timeout)
            with pytest.raises(TimeoutError):
                method(timeout=timeout)
    assert not g.done()
    c.send(1, T)
    assert g.join(T) == 1
    assert g.join(0) == 1 and g.join(-1) == 1


@pytest.mark.parametrize("name", ["join", "result", "exception"])
def test_wrong_arguments_of_join(name):
    method = getattr(go(int), name)
    with pytest.raises(TypeError, match="timeout"):
        method("1")
    with pytest.raises(ValueError, match="timeout"):
        method(timeout=float("nan"))
    with pytest.raises(TypeError):
        method(1, 2)
    with pytest.raises(TypeError, match="tiemout"):
        method(tiemout=1)
    method(T)


def test_a_goroutine_cannot_join_itself():
    def f():
        with pytest.raises(ramet.DeadlockError):
            current().join()
        return 1

    assert go(f).join(T) == 1


def test_joining_each_other_by_timeout():
    def f(cell):
        gosched()
        try:
            cell[0].join(0.02)
        except TimeoutError:
            pass

    a, b = [], []
    a.append(g := go(f, b))
    b.append(h := go(f, a))
    assert g.join(T) is None and h.join(T) is None


def test_typing():
    assert Goroutine[int].__origin__ is Goroutine and Goroutine[int].__args__ == (int,)
    with pytest.raises(TypeError):
        Goroutine()


def test_hash_equality_weakref():
    g, h = go(int), go(int)
    assert g == g and g != h and len({g, h, g}) == 2
    w = weakref.ref(g)
    g.join(T), h.join(T)
    assert w() is g
    del g
    gc.collect()
    assert w() is None


# ---- cancel -----------------------------------------------------------------------------------------


def test_cancel_before_it_begins():
    log = []
    g = go(log.append, 1)
    assert g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled)
    with pytest.raises(GoroutineCancelled):
        g.join()
    assert log == [] and g.cancelled() and g.done()


def test_cancel_a_waiting_one():
    c, log = Chan(), []

    def f():
        try:
            c.recv()
        except BaseException as e:
            log.append(type(e))
            raise

    g = go(f)
    parked(g)
    g.cancel()
    assert not g.done() and log == []
    with pytest.raises(GoroutineCancelled):
        g.join(T)
    assert log == [Cancelled] and g.cancelled()
    assert isinstance(g.exception(), GoroutineCancelled)
    assert isinstance(g.exception(), ramet.RametError)
    assert not issubclass(Cancelled, Exception)


@pytest.mark.parametrize(
    "wait",
    [
        lambda c: c.recv(),
        lambda c: c.recv(100),
        lambda c: Chan().send(1),
        lambda c: ramet.select(c),
        lambda c: ramet.select(),
        lambda c: ramet.select(c, timeout=100),
        lambda c: sleep(100),
        lambda c: ramet.blocking(time.sleep, 0.3),
        lambda c: go(c.recv, 0.3).join(),
        lambda c: [gosched() for _ in iter(int, 1)],
        lambda c: [sleep(0) for _ in iter(int, 1)],
    ],
    ids="recv recv-timeout send select nothing select-timeout sleep blocking join gosched sleep0".split(),
)
def test_cancel_at_any_wait(wait):
    g = go(wait, Chan())
    sleep(0.005)
    t = time.monotonic()
    g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled) and g.cancelled()
    assert time.monotonic() - t < 10


def test_cancel_at_the_next_wait():
    log = []

    def f():
        current().cancel()
        log.append("goes on")
        gosched()
        log.append("not here")

    g = go(f)
    assert isinstance(g.exception(T), GoroutineCancelled)
    assert log == ["goes on"]


def test_cancel_message():
    c = Chan()
    g = go(c.recv)
    parked(g)
    g.cancel("too slow")
    e = g.exception(T)
    assert isinstance(e, GoroutineCancelled) and e.args == ("too slow",)
    assert isinstance(e.__cause__, Cancelled) and e.__cause__.args == ("too slow",)
    g = go(int)
    g.cancel(msg=("any", 1))
    assert g.exception(T).args == (("any", 1),)
    g = go(int)
    g.cancel(None)
    assert g.exception(T).args == ()
    with pytest.raises(TypeError):
        g.cancel(1, 2)
    with pytest.raises(TypeError, match="message"):
        g.cancel(message=1)


def test_cancel_is_raised_once():
    c, log = Chan(), []

    def f():
        try:
            c.recv()
        except Cancelled:
            log.append("cancelled")
        log.append(c.recv())
        return "went on"

    g = go(f)
    parked(g)
    g.cancel()
    until(lambda: log, sleep=sleep)
    parked(g)
    c.send(5, T)
    assert g.join(T) == "went on" and log == ["cancelled", 5]
    assert not g.cancelled()


def test_cancel_twice_before_it_has_noticed_is_once():
    seen = []

    def f():
        for _ in range(2):
            try:
                sleep(0.001 if seen else 10)
                seen.append("slept")
            except Cancelled as e:
                seen.append(str(e))

    g = go(f)
    parked(g)
    g.cancel("one")
    g.cancel("two")
    g.join()
    assert seen in (["one", "slept"], ["two", "slept"])


def test_cancel_after_the_end():
    g = go(lambda: 5)
    g.join(T)
    assert not g.cancel()
    assert g.join() == 5 and not g.cancelled()


def test_finally_may_block_again():
    c, log = Chan(), []

    def f():
        try:
            c.recv()
        finally:
            log.append(c.recv())
            sleep(0.001)
            log.append(ramet.blocking(lambda: "b"))
            log.append(go(lambda: "j").join())

    g = go(f)
    parked(g)
    g.cancel()
    gosched()
    parked(g)
    c.send("r", T)
    assert isinstance(g.exception(T), GoroutineCancelled)
    assert log == ["r", "b", "j"]


def test_another_exception_out_of_a_cancelled_one():
    def f():
        try:
            sleep(100)
        finally:
            raise ValueError("instead")

    g = go(f)
    parked(g)
    g.cancel()
    assert isinstance(g.exception(T), ValueError) and not g.cancelled()


def test_cancelled_raised_by_hand():
    def f():
        raise Cancelled("by hand")

    g = go(f)
    assert isinstance(g.exception(T), GoroutineCancelled) and g.cancelled()


def test_a_cancelled_one_is_not_reported(hooked):
    go(sleep, 100).cancel()
    g = go(sleep, 100)
    parked(g)
    g.cancel()
    del g
    sleep(0.01)
    gc.collect()
    assert hooked == []


def test_cancel_many():
    c = Chan()
    gs = [go(c.recv) for _ in range(1000)]
    parked(*gs)
    for g in gs:
        g.cancel()
    assert all(isinstance(g.exception(T), GoroutineCancelled) for g in gs)


def test_main_can_be_cancelled():
    main = current()
    go(main.cancel, "main")
    with pytest.raises(Cancelled, match="main"):
        Chan().recv(T)
    gosched()


# ---- name, id, state, stack -------------------------------------------------------------------------


def test_current():
    g = go(lambda: current())
    assert g.join(T) is g
    assert current() is current() and current().id == 1 and current().name == "main"


def test_ids_grow():
    ids = [go(int).id for _ in range(10)]
    assert ids == sorted(set(ids)) and 1 not in ids
    gosched()


def test_name():
    def f():
        before = current().name
        current().name = "from within"
        return before

    g = go(f)
    assert isinstance(g.name, str) and str(g.id) in g.name
    g.name = "worker é"
    assert g.name == "worker é" and "worker é" in repr(g)
    assert g.join(T) == "worker é"
    assert g.name == "from within"
    g.name = "x" * 1000
    assert g.name == "x" * 1000
    for bad in (1, None, b"x"):
        with pytest.raises(TypeError, match="name"):
            g.name = bad
    with pytest.raises(TypeError):
        del g.name
    for name in ("id", "state"):
        with pytest.raises(AttributeError):
            setattr(g, name, 1)


def test_a_name_survives_the_handle():
    c = Chan()
    g = go(lambda: (c.recv(), current().name)[1])
    g.name = "kept"
    w = weakref.ref(g)
    parked(g)
    del g
    names = [x.name for x in ramet._core._goroutines()]
    assert "kept" in names
    c.send(1)
    gosched()
    gc.collect()
    assert w() is None


def test_states():
    c, r, w = Chan(), *os.pipe()
    seen = {}
    try:
        waits = {
            "chan receive": lambda: c.recv(),
            "chan send": lambda: Chan().send(1),
            "select": lambda: ramet.select(c),
            "sleep": lambda: sleep(100),
            "syscall": lambda: ramet.blocking(os.read, r, 1),
        }
        gs = {state: go(fn) for state, fn in waits.items()}
        assert all(g.state == "runnable" for g in gs.values())
        j = go(gs["sleep"].join)
        parked(*gs.values(), j)
        seen = {state: g.state for state, g in gs.items()}
        assert seen == {state: state for state in waits}
        assert j.state not in ("runnable", "running", "done")
        assert "join" in j.state
        assert current().state == "running"
        os.write(w, b"x")
        for g in (*gs.values(), j):
            g.cancel()
            g.exception(T)
            assert g.state == "done"
    finally:
        os.close(r)
        os.close(w)


def test_state_of_main():
    main = current()
    assert go(lambda: main.state).join(T) not in ("running", "runnable", "done")
    c = Chan()
    g = go(lambda: (main.state, c.send(1))[0])
    c.recv(T)
    assert g.join(T) == "chan receive"


def test_stack():
    c = Chan()

    def inner():
        c.recv()

    def outer():
        inner()

    g = go(outer)
    fresh = g.stack()
    assert isinstance(fresh, list)
    parked(g)
    stack = g.stack()
    assert all(isinstance(f, traceback.FrameSummary) for f in stack)
    assert [f.name for f in stack] == ["outer", "inner"]
    assert stack[1].filename == __file__ and stack[1].line == "c.recv()"
    assert stack[1].lineno == inner.__code__.co_firstlineno + 1
    assert "inner" in "".join(traceback.format_list(stack))
    c.send(1, T)
    g.join(T)
    assert g.stack() == []


def test_stack_of_the_running_one():
    names = [f.name for f in current().stack()]
    assert names[-1] == "test_stack_of_the_running_one"

    def f():
        return [f.name for f in current().stack()]

    assert go(f).join(T) == ["f"]


def test_stack_of_main_from_a_goroutine():
    main = current()
    names = go(lambda: [f.name for f in main.stack()]).join(T)
    assert "test_stack_of_main_from_a_goroutine" in names


def test_stack_within_a_generator():
    c = Chan()

    def gen():
        yield c.recv()

    def f():
        return list(gen())

    g = go(f)
    parked(g)
    assert [x.name for x in g.stack()] == ["f", "gen"]
    c.send(1)
    assert g.join(T) == [1]


def test_repr():
    g = go(int)
    assert str(g.id) in repr(g)
    g.join(T)
    assert "done" in repr(g)


def test_num_goroutines_and_stats():
    n = ramet.num_goroutines()
    c = Chan()
    gs = [go(c.recv) for _ in range(10)]
    assert ramet.num_goroutines() == n + 10
    stats = ramet.stats()
    assert stats["goroutines"] == n + 10 and stats["started"] >= 10
    parked(*gs)
    c.close()
    for g in gs:
        g.exception(T)
    assert ramet.num_goroutines() == n
    assert ramet.procs() == 1
    assert all(isinstance(k, str) and isinstance(v, int) for k, v in ramet.stats().items())


def test_dump(capsys, tmp_path):
    c = Chan(name="jobs")
    g = go(c.recv)
    g.name = "dumped"
    parked(g)
    ramet.dump()
    err = capsys.readouterr().err
    assert "'dumped'" in err and "chan receive" in err and "jobs" in err and f"goroutine {g.id}" in err
    assert "test_dump" in err  # main's stack
    with open(tmp_path / "d", "w+") as f:
        ramet.dump(f)
        ramet.dump(file=f)
        f.seek(0)
        assert f.read().count("'dumped'") == 2
    assert capsys.readouterr() == ("", "")
    c.send(1)
    g.join(T)


# ---- exceptions that nobody collects ----------------------------------------------------------------


def fail(*args):
    raise ValueError("lost", *args)


def test_excepthook_at_death_without_a_handle(hooked):
    go(fail)
    gosched()
    assert len(hooked) == 1
    g, e = hooked[0]
    assert isinstance(g, Goroutine) and isinstance(e, ValueError)


def test_excepthook_when_the_handle_goes(hooked):
    g = go(fail)
    parked(g, state="done")
    name = g.name
    gc.collect()
    assert hooked == []
    del g
    gc.collect()
    assert len(hooked) == 1 and hooked[0][0].name == name
    hooked.clear()
    gc.collect()
    assert hooked == []  # once


def test_excepthook_not_when_collected(hooked):
    g = go(fail)
    with pytest.raises(ValueError):
        g.join(T)
    h = go(fail)
    assert isinstance(h.exception(T), ValueError)
    del g, h
    gc.collect()
    assert hooked == []


def test_excepthook_when_only_waited_for(hooked):
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
    assert len(hooked) == 1


def test_excepthook_with_a_name(hooked):
    g = go(fail)
    g.name = "careless"
    del g
    gosched()
    gc.collect()
    assert [x.name for x, _ in hooked] == ["careless"]


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


def test_excepthook_kills_nobody(hooked):
    gs = [go(lambda i=i: fail() if i % 2 else i) for i in range(10)]
    for g in gs:
        parked(g, state="done")
    assert [g.join() for g in gs[::2]] == [0, 2, 4, 6, 8]
    del gs, g
    gc.collect()
    assert len(hooked) == 5


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
