"""select: one case of many."""

import collections
import gc
import sys

import pytest
import ramet
from helpers import T, parked, run_py
from ramet import Chan, ChanClosed, Selection, default, go, gosched, readable, select, writable


def full(*values):
    """A buffered channel with these values in it."""
    c = Chan(len(values))
    for v in values:
        c.send(v)
    return c


# ---- what it returns --------------------------------------------------------------------------------


def test_receive():
    a, b = Chan(), full(7)
    case = b.if_recv()
    s = select(a.if_recv(), case)
    assert isinstance(s, Selection)
    assert (s.index, s.case, s.chan, s.value, s.ok) == (1, case, b, 7, True)
    assert s.case is case and s.chan is b


def test_send():
    a, b = Chan(), Chan(1)
    case = b.if_send(9)
    s = select(a.if_recv(), a.if_send(1), case)
    assert (s.index, s.case, s.chan, s.value, s.ok) == (2, case, b, None, True)
    assert b.recv() == 9


def test_bare_channel():
    c = full(1, 2)
    s = select(c)
    assert (s.index, s.case, s.chan, s.value, s.ok) == (0, c.if_recv(), c, 1, True)
    assert select(Chan(), c).index == 1


def test_attributes_cannot_be_set():
    s = select(full(1))
    for name in ("index", "case", "chan", "value", "ok"):
        with pytest.raises(AttributeError):
            setattr(s, name, 1)
    with pytest.raises(TypeError):
        Selection()


def test_equals_the_case_that_ran():
    a, b = full(1), Chan()
    s = select(a.if_recv(), b.if_recv())
    assert s == a.if_recv() and s == a
    assert a.if_recv() == s and a == s
    assert s != b.if_recv() and s != b and s != a.if_send(1) and s != default
    assert not (s == b) and not (s != a)
    s = select(b.if_recv(), Chan(1).if_recv(), default)
    assert s == default and s != a
    c = Chan(1)
    s = select(c.if_send(1))
    assert s == c.if_send(1) and s == c.if_send("another value") and s != c and s != c.if_recv()
    assert s != 5 and s != None and s != "x"  # noqa: E711
    s = select(c)
    assert s == c and s == c.if_recv() and s != c.if_send(1)
    with pytest.raises(TypeError):
        hash(s)


def test_finished_goroutine():
    g = go(lambda: 5)
    s = select(g.if_done(), Chan())
    assert (s.index, s.value, s.ok, s.chan) == (0, g, True, None)
    assert s == g.if_done() and s.value is g
    assert select(g.if_done()).value is g  # again, long done
    assert g.join() == 5


def test_waits_for_a_goroutine(monkeypatch):
    hooked = []
    monkeypatch.setattr(ramet, "excepthook", lambda g, e: hooked.append(e))
    c = Chan()

    def fail():
        c.recv()
        raise ValueError("x")

    g = go(fail)
    h = go(lambda: c.send(1, select(timeout=0.02) if False else T))
    s = select(Chan(), g.if_done(), timeout=T)
    assert s.index == 1 and s.value is g
    h.join(T)
    assert hooked == []
    del s, g  # it was not collected by the select
    gc.collect()
    assert [str(e) for e in hooked] == ["x"]


def test_if_done_of_many():
    c = Chan()
    gs = [go(c.recv) for _ in range(10)]
    waiter = go(lambda: select(*[g.if_done() for g in gs]).index)
    parked(waiter, *gs)
    assert waiter.state == "select"
    gs[7].cancel()
    assert waiter.join(T) == 7
    for g in gs:
        g.cancel()
        g.exception(T)


def test_repr():
    c = full(1)
    assert "index=0" in repr(select(c, timeout=1))
    for case in (c.if_recv(), c.if_send(1), default, readable(0), writable(0), go(int).if_done()):
        assert isinstance(repr(case), str)
    gosched()


# ---- readiness --------------------------------------------------------------------------------------


def test_default_when_nothing_is_ready():
    a = Chan()
    s = select(a, a.if_send(1), default)
    assert (s.index, s.case, s.chan, s.value, s.ok) == (2, default, None, None, True)
    assert s == default
    s = select(default)
    assert s.index == 0


def test_default_never_wins_over_ready():
    c, d = Chan(1), Chan(1)
    for i in range(200):
        c.send(i)
        assert select(default, c).value == i
        assert select(default, d.if_send(1), c).index == 1
        assert select(c, d, default).index == 1
    c.close()
    assert select(default, c).index == 1


def test_default_and_a_waiting_peer():
    c = Chan()
    g = go(c.recv)
    parked(g)
    assert select(default, c.if_send(4)) == c.if_send(4)
    assert g.join(T) == 4
    g = go(c.send, 5)
    parked(g)
    assert select(default, c).value == 5
    g.join(T)


def test_default_twice():
    with pytest.raises(ValueError, match="default"):
        select(default, default)


def test_none_is_never_ready():
    c = full(1)
    assert select(None, c, None).index == 1
    assert select(None, default) == default
    with pytest.raises(TimeoutError):
        select(None, timeout=0.01)
    with pytest.raises(TimeoutError):
        select(None, None, Chan(), timeout=0)


def test_timeout():
    c = Chan()
    for timeout in (0, -1, 0.01):
        with pytest.raises(TimeoutError):
            select(c, c.if_send(1), timeout=timeout)
        with pytest.raises(TimeoutError):
            select(timeout=timeout)
    assert select(full(3), timeout=0).value == 3
    assert select(full(3), timeout=None).value == 3
    assert select(c, default, timeout=5) == default


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "names"),
    [
        ((1,), {}, TypeError, "argument 1"),
        ((None, "x"), {}, TypeError, "argument 2"),
        ((Chan,), {}, TypeError, "argument 1"),
        (([],), {}, TypeError, "argument 1"),
        ((), {"timeout": "1"}, TypeError, "timeout"),
        ((), {"timeout": float("nan")}, ValueError, "timeout"),
        ((), {"tiemout": 1}, TypeError, "tiemout"),
        ((), {"default": 1}, TypeError, "default"),
        ((None,) * 70000, {}, ValueError, "cases"),
    ],
)
def test_wrong_arguments(args, kwargs, error, names):
    with pytest.raises(error, match=names):
        select(*args, **kwargs)


def test_a_wrong_argument_runs_nothing():
    c, d = full(1), Chan(1)
    with pytest.raises(TypeError):
        select(c, d.if_send(1), 5)
    assert len(c) == 1 and len(d) == 0


def test_closed_channel_is_ready():
    c = full(1)
    c.close()
    s = select(c)
    assert (s.value, s.ok) == (1, True)
    s = select(Chan(), c, timeout=T)
    assert (s.index, s.value, s.ok, s.chan) == (1, None, False, c)
    assert s == c


def test_close_wakes_a_select():
    c = Chan()
    g = go(select, Chan(), c)
    parked(g, state="select")
    c.close()
    s = g.join(T)
    assert (s.index, s.value, s.ok) == (1, None, False)


def test_send_on_closed():
    c = Chan(1)
    c.close()
    with pytest.raises(ChanClosed):
        select(c.if_send(1))
    with pytest.raises(ChanClosed):
        select(Chan(), c.if_send(1), default)


def test_close_wakes_a_select_that_sends():
    c = Chan()
    g = go(select, Chan(), c.if_send(1))
    parked(g, state="select")
    c.close()
    assert isinstance(g.exception(T), ChanClosed)


def test_no_case_blocks_for_ever():
    ended = run_py(
        "import ramet\n"
        "for args in ((), (None,), (None, None)):\n"
        "    try: ramet.select(*args)\n"
        "    except ramet.DeadlockError as e: print('deadlock', 'select' in str(e))\n"
    )
    assert ended.out == "deadlock True\n" * 3, str(ended)


def test_no_case_can_be_cancelled():
    g = go(select)
    parked(g, state="select")
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)


# ---- exactly one, and fair --------------------------------------------------------------------------


def test_exactly_one_runs():
    chans = [full(i) for i in range(5)]
    s = select(*chans)
    assert sum(len(c) for c in chans) == 4
    assert s.value == s.index


def test_uniform_among_the_ready():
    n, k = 4000, 4
    chans = [full(0) for _ in range(k)]
    count = collections.Counter()
    for _ in range(n):
        s = select(*chans)
        count[s.index] += 1
        s.chan.send(0)
    # 1000 each; the standard deviation is 27
    assert all(750 < count[i] < 1250 for i in range(k)), count


def test_uniform_between_directions():
    c, count = Chan(2), collections.Counter()
    c.send(0)
    for _ in range(3000):
        s = select(c.if_recv(), c.if_send(1))
        count[s.index] += 1
        if s.index:
            c.recv()
        else:
            c.send(1)
    assert 1200 < count[0] < 1800, count


def test_duplicates():
    c, count = full(1), collections.Counter()
    for _ in range(2000):
        s = select(c, c.if_recv(), c)
        count[s.index] += 1
        c.send(1)
    assert all(450 < count[i] < 900 for i in range(3)), count


def test_duplicates_while_waiting():
    c = Chan()
    g = go(select, c, c, c.if_recv(), c)
    parked(g)
    c.send(5, T)
    assert g.join(T).value == 5
    assert c.try_send(1) is False  # none of the losers is left


def test_one_select_does_not_meet_itself():
    c = Chan()
    with pytest.raises(TimeoutError):
        select(c, c.if_send(1), timeout=0.01)
    g = go(lambda: select(c, c.if_send("g")))
    h = go(lambda: select(c, c.if_send("h")))
    a, b = g.join(T), h.join(T)
    assert {a.index, b.index} == {0, 1}
    assert {a.value, b.value} in ({None, "g"}, {None, "h"})


def test_losers_are_dequeued():
    a, b = Chan(), Chan()
    for _ in range(100):
        g = go(select, a, b.if_send(1), b)
        parked(g)
        a.send(1, T)
        g.join(T)
    assert a.try_send(1) is False and b.try_send(1) is False
    with pytest.raises(ramet.WouldBlock):
        b.try_recv()


def test_two_selects_against_each_other():
    a, b = Chan(), Chan()

    def left():
        return [select(a.if_send(i), b.if_recv()).index for i in range(500)]

    def right():
        return [select(a.if_recv(), b.if_send(i)).index for i in range(500)]

    g, h = go(left), go(right)
    assert g.join(T) == h.join(T)


def test_select_stress():
    chans = [Chan(i % 3) for i in range(6)]
    sent, got = [], []

    def produce(k):
        for i in range(200):
            s = select(*[c.if_send((k, i)) for c in chans])
            sent.append((k, i, s.index))

    def consume():
        while True:
            s = select(*chans, done)
            if s == done:
                return
            got.append((*s.value, s.index))

    done = Chan()
    consumers = [go(consume) for _ in range(3)]
    for g in [go(produce, k) for k in range(5)]:
        g.join(T)
    while any(len(c) for c in chans):
        gosched()
    done.close()
    for g in consumers:
        g.join(T)
    assert sorted(got) == sorted(sent) and len(got) == 1000


# ---- many cases -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 8, 9, 100, 1000])
def test_many_cases(n):
    chans = [Chan(1) for _ in range(n)]
    chans[n // 2].send("x")
    s = select(*chans)
    assert (s.index, s.value) == (n // 2, "x")
    g = go(select, *chans)
    parked(g)
    chans[-1].send("y")
    s = g.join(T)
    assert (s.index, s.value) == (n - 1, "y")
    assert select(*chans, default).index == n
    s = select(*[c.if_send(i) for i, c in enumerate(chans)])
    assert chans[s.index].recv() == s.index


# ---- cases ------------------------------------------------------------------------------------------


def test_cases_compare_by_channel_and_direction():
    a, b = Chan(), Chan()
    assert a.if_recv() == a.if_recv() and a.if_send(1) == a.if_send(2)
    assert a.if_recv() != b.if_recv() and a.if_recv() != a.if_send(1) and a.if_send(1) != b.if_send(1)
    assert hash(a.if_recv()) == hash(a.if_recv()) and hash(a.if_send(1)) == hash(a.if_send([]))
    assert len({a.if_recv(), a.if_recv(), a.if_send(1), a.if_send(2), b.if_recv()}) == 3
    assert default == default and default != a.if_recv() and hash(default) == hash(default)
    g, h = go(int), go(int)
    assert g.if_done() == g.if_done() and g.if_done() != h.if_done() and hash(g.if_done()) == hash(g.if_done())
    assert readable(0) == readable(0) and readable(0) != writable(0) and readable(0) != readable(1)
    assert hash(readable(0)) == hash(readable(0))
    assert a.if_recv() != 5 and not (a.if_recv() == None)  # noqa: E711
    g.join(T), h.join(T)


def test_handlers_in_a_dict():
    a, b = Chan(1), Chan(1)
    handlers = {a.if_recv(): "a", b.if_send(1): "b"}
    assert handlers[select(*handlers).case] == "b"
    a.send(1)
    assert handlers[select(*handlers).case] == "a"


def test_cases_are_immutable():
    c = Chan()
    for case in (c.if_recv(), c.if_send(1), default):
        with pytest.raises(AttributeError):
            case.value = 3
        with pytest.raises(AttributeError):
            case.anything = 3
    with pytest.raises(TypeError):
        type(default)()


def test_cases_are_reused_in_a_loop():
    c, d = Chan(4), Chan()
    cases = (d.if_recv(), c.if_send("v"))
    for _ in range(4):
        assert select(*cases) == cases[1]
    assert [c.recv() for _ in range(4)] == ["v"] * 4


def test_cases_are_reused_by_several_goroutines():
    c, stop = Chan(), Chan()
    send, recv, end = c.if_send("v"), c.if_recv(), stop.if_recv()
    got = []

    def consume():
        while True:
            s = select(recv, end)
            if s == end:
                return
            got.append(s.value)

    def produce():
        for _ in range(100):
            assert select(send, end) == send

    consumers = [go(consume) for _ in range(3)]
    for g in [go(produce) for _ in range(4)]:
        g.join(T)
    stop.close()
    for g in consumers:
        g.join(T)
    assert got == ["v"] * 400


def test_a_case_keeps_its_channel():
    case = full(1).if_recv()
    gc.collect()
    assert select(case).value == 1


# ---- cancellation and references --------------------------------------------------------------------


def test_cancelled_select_does_nothing():
    a, b = Chan(), Chan()
    g = go(select, a, b.if_send(1))
    parked(g)
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)
    assert a.try_send(1) is False
    with pytest.raises(ramet.WouldBlock):
        b.try_recv()


def test_pending_cancellation_is_raised_first():
    c = full(1)

    def f():
        for cases in ((c,), (c, default), (default,)):
            ramet.current().cancel()
            with pytest.raises(ramet.Cancelled):
                select(*cases)
        return len(c)

    assert go(f).join(T) == 1


def test_a_chosen_value_is_not_lost_to_cancellation():
    c = Chan()
    g = go(select, c, Chan())
    parked(g)
    c.send(5)
    g.cancel()
    assert g.join(T).value == 5


def test_references():
    v = object()
    a, b = Chan(), Chan(1)
    case = b.if_send(v)
    cases = (a, a.if_send(v), case)
    base = sys.getrefcount(v)
    for _ in range(50):
        assert select(*cases) == case
        assert select(a, b).value is v
    assert sys.getrefcount(v) == base
    for _ in range(50):
        with pytest.raises(TimeoutError):
            select(a.if_send(v), timeout=0)
        select(a.if_send(v), default)
    gc.collect()
    assert sys.getrefcount(v) == base
    g = go(select, a.if_send(v), a)
    parked(g)
    g.cancel()
    g.exception(T)
    del g
    gc.collect()
    assert sys.getrefcount(v) == base


def test_event_set_and_cleared_by_a_finalizer_within_select():
    """Where allocations may collect (3.11): its channel is in use although the event has dropped it."""
    run_py(
        """
import gc, ramet

class Garbage:
    def __init__(self, event):
        self.me, self.event = self, event
    def __del__(self):
        self.event.set()
        self.event.clear()

def arm(garbage):
    garbage.clear()
    gc.enable()

gc.set_threshold(1, 1, 1)
for _ in range(50):
    gc.disable()
    event = ramet.sync.Event()
    ramet.select(event.if_set(), ramet.default)  # makes its channel
    g = ramet.go(ramet.time.sleep, 0.001)
    garbage, cases = [Garbage(event)], (event.if_set(), g.if_done())
    assert ramet.select(*cases, arm(garbage), timeout=50).index in (0, 1)
    gc.disable()
    g.join()
""",
        env={"PYTHONMALLOC": "debug"},  # what is freed is overwritten
    )
