"""go and Goroutine: order, outcomes, names, states, stacks."""

import gc
import os
import traceback
import weakref

import pytest
import ramet
from helpers import T, parked
from ramet import Chan, Goroutine, current, go, gosched
from ramet.time import sleep

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


# ---- name, id, state, stack -------------------------------------------------------------------------


def test_current():
    g = go(lambda: current())
    assert g.join(T) is g
    assert current() is current() and current().id == 1 and current().name == "main"


def test_a_handle_that_is_made_while_the_goroutine_is_dropped():
    """By a finalizer of what it held: the outcome has been told by then, so that there is no other than None."""
    late, told = [], []

    class Asks:
        def __del__(self):
            h = ramet.current()
            h.name = "late"
            late.extend(
                [h, h is ramet.current(), ramet.select(h.if_done()).value is h, h.done(), *ramet._core._goroutines()]
            )
            go(lambda: told.append(h.join(T)))
            gosched()

    g = go(lambda held: 5, Asks())
    assert g.join(T) == 5
    gosched()
    h, same, ready, done, *alive = late
    assert h is not g and h.id == g.id and same and ready and not done and h in alive
    assert h.done() and h.join(T) is None and h.exception() is None and h.state == "done" and h.name == "late"
    assert told == [None] and not h.cancel()


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
