"""Group, gather, wait, as_completed, Executor, local."""

import concurrent.futures
import contextvars
import threading
import time

import pytest
import ramet
from helpers import T, parked
from ramet import Cancelled, Chan, Executor, Goroutine, GoroutineCancelled, Group, go, gosched, sync
from ramet.time import sleep


def fail(exc=ZeroDivisionError):
    raise exc("failed")


# ---- Group ------------------------------------------------------------------------------------------


def test_group_waits_for_all():
    out = []
    with Group() as group:
        for i in range(10):
            assert isinstance(group.go(lambda i=i: (sleep(0.001), out.append(i))), Goroutine)
    assert sorted(out) == list(range(10))


def test_group_results_and_map():
    with Group() as group:
        gs = [group.go(pow, i, 2) for i in range(5)]
        assert group.map(lambda x: x + 1, range(100)) == list(range(1, 101))
    assert [g.result() for g in gs] == [0, 1, 4, 9, 16]


def test_first_failure_cancels_the_rest_and_the_block():
    log = []

    def sleeper():
        try:
            sleep(T)
        except Cancelled:
            log.append("member")
            raise

    with pytest.raises(ExceptionGroup) as e, Group(name="work") as group:
        group.go(sleeper)
        group.go(sleeper)
        group.go(fail)
        try:
            sleep(T)
        finally:
            log.append("block")
    assert sorted(log) == ["block", "member", "member"]
    assert "work" in str(e.value) and [type(x) for x in e.value.exceptions] == [ZeroDivisionError]


def test_failures_are_gathered_the_blocks_own_too():
    def late(exc):
        try:
            sleep(T)
        finally:
            fail(exc)

    with pytest.raises(ExceptionGroup) as e, Group() as group:
        group.go(late, KeyError)
        gosched()
        raise ValueError("block")
    assert [type(x) for x in e.value.exceptions] == [ValueError, KeyError]
    with pytest.raises(ExceptionGroup) as e, Group():
        fail(OSError)
    assert [type(x) for x in e.value.exceptions] == [OSError]


def test_a_member_joined_in_the_block_is_told_once(capsys):
    with pytest.raises(ExceptionGroup) as e, Group() as group:
        group.go(fail).join()
    assert len(e.value.exceptions) == 1
    assert capsys.readouterr().err == ""  # nor is it reported as if nobody had asked


def test_group_limit():
    n = most = 0

    def work():
        nonlocal n, most
        n += 1
        most = max(n, most)
        sleep(0.001)
        n -= 1

    with Group(limit=3) as group:
        for _ in range(12):
            group.go(work)
    assert most == 3
    for bad, error in ((0, ValueError), (-1, ValueError), ("x", TypeError), (True, TypeError)):
        with pytest.raises(error, match="limit"):
            Group(limit=bad)


def test_group_cancel():
    with Group() as group:
        g = group.go(sleep, T)
        gosched()
        group.cancel()
        h = group.go(sleep, T)  # cancelled at its first wait
    assert g.cancelled() and h.cancelled()


def test_members_that_never_begin_are_not_waited_for():
    with Group(limit=1) as group:
        group.go(sleep, T).cancel()
        group.go(sleep, T).cancel()


def test_group_cancelled_from_outside():
    log = []

    def member():
        try:
            sleep(T)
        finally:
            with ramet.shield():
                sleep(0.005)  # the group waits for those who tidy up
            log.append("tidy")

    def work():
        with Group() as group:
            group.go(member)
        log.append("not reached")

    g = go(work)
    parked(g)
    sleep(0.001)
    g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled) and log == ["tidy"]


def joined_late(group, scope):
    """Join a member of which the end is known before the caller has been told of the cancellation."""
    g = group.go(sleep, T)
    gosched()
    scope.cancel()
    with ramet.shield():
        assert isinstance(g.exception(T), GoroutineCancelled)
    g.join()


@pytest.mark.parametrize("who", ("block", "member", "inner"))
def test_a_member_joined_that_a_scope_outside_has_cancelled(who):
    """It is that cancellation that leaves the group, not the member's GoroutineCancelled as a failure."""

    def inner(scope):
        with Group() as group:
            joined_late(group, scope)

    def work():
        with ramet.cancel_scope() as scope:
            with Group() as group:
                if who == "block":
                    joined_late(group, scope)
                elif who == "member":
                    group.go(joined_late, group, scope)
                else:
                    group.go(inner, scope)
                sleep(T)
            reached.append("behind the group")
        assert scope.cancelled

    reached = []
    assert go(work).exception(T) is None and not reached


def test_a_member_joined_that_the_group_has_cancelled():
    with Group() as group:
        joined_late(group, group)
    with pytest.raises(ExceptionGroup) as e, Group() as group:
        g = group.go(sleep, T)
        gosched()
        group.go(fail)
        with ramet.shield():
            g.exception(T)
        g.join()
    assert [type(x) for x in e.value.exceptions] == [ZeroDivisionError]


def test_a_member_joined_that_somebody_has_cancelled():
    """That is a failure of who joins it."""
    for join in (lambda group, g: g.join(), lambda group, g: group.go(g.join) and sleep(T)):
        with pytest.raises(ExceptionGroup) as e, Group() as group:
            g = group.go(sleep, T)
            g.cancel("enough")
            join(group, g)
        assert [repr(x) for x in e.value.exceptions] == ["GoroutineCancelled('enough')"]


def test_group_in_a_timeout():
    with pytest.raises(TimeoutError), ramet.timeout(0.01), Group() as group:
        group.go(sleep, T)
    with ramet.move_on_after(0.01) as scope, Group() as group:
        group.go(sleep, T)
        sleep(T)
    assert scope.cancelled


def test_groups_nest_and_members_may_start_members():
    out = []

    def branch(group, depth):
        out.append(depth)
        if depth:
            with Group() as inner:
                inner.go(branch, group, depth - 1)
                group.go(out.append, "outer")

    with Group() as group:
        group.go(branch, group, 3)
    assert out.count("outer") == 3 and [x for x in out if x != "outer"] == [3, 2, 1, 0]


def test_group_misuse():
    group = Group()
    with pytest.raises(RuntimeError, match="has not been entered"):
        group.go(gosched)
    with group:
        with pytest.raises(TypeError, match="callable"):
            group.go(5)
    with pytest.raises(RuntimeError, match="has ended"):
        group.go(gosched)


def test_keyboard_interrupt_of_a_member_goes_to_main():
    with pytest.raises(KeyboardInterrupt), Group() as group:
        group.go(fail, KeyboardInterrupt)
        sleep(T)


# ---- gather, wait, as_completed -----------------------------------------------------------------------


def test_gather_in_order():
    gs = [go(lambda i=i: (sleep((5 - i) / 1000), i)[1]) for i in range(5)]
    f = sync.Future()
    go(lambda: (sleep(0.001), f.set_result("f")))
    assert ramet.gather(*gs, f, gs[0]) == [0, 1, 2, 3, 4, "f", 0]
    assert ramet.gather() == []


def test_gather_raises_the_first_failure_at_once():
    slow, bad = go(sleep, T), go(fail)
    with pytest.raises(ZeroDivisionError):
        ramet.gather(slow, bad)
    assert not slow.done()
    slow.cancel()
    r = ramet.gather(slow, bad, go(lambda: 3), return_exceptions=True)
    assert isinstance(r[0], GoroutineCancelled) and isinstance(r[1], ZeroDivisionError) and r[2] == 3


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_gather_of_a_foreign_future_parks_the_goroutine_alone(return_exceptions):
    future = concurrent.futures.Future()
    go(lambda: (sleep(0.001), future.set_result(5)))  # it could not if the thread were blocked
    assert ramet.gather(future, return_exceptions=return_exceptions) == [5]


def test_gather_cancelled_cancels_them():
    gs = [go(sleep, T) for _ in range(3)]
    g = go(ramet.gather, *gs)
    parked(g)
    g.cancel()
    assert isinstance(g.exception(T), GoroutineCancelled)
    assert all(isinstance(x.exception(T), GoroutineCancelled) for x in gs)


def test_wait():
    quick, slow, bad = go(gosched), go(sleep, T), go(fail)
    done, pending = ramet.wait([quick, slow, bad], timeout=0.05)
    assert done == {quick, bad} and pending == {slow}
    bad.exception()
    c = Chan()
    a, b = go(c.recv), go(c.recv)
    go(c.send, 1)
    done, pending = ramet.wait([a, b], return_when=concurrent.futures.FIRST_COMPLETED)
    assert done == {a} and pending == {b}
    go(c.send, 1)
    assert ramet.wait([a, b]) == ({a, b}, set())
    bad = go(fail)
    done, pending = ramet.wait([slow, bad], return_when=concurrent.futures.FIRST_EXCEPTION)
    assert done == {bad} and pending == {slow}
    bad.exception()
    slow.cancel()
    for call in (ramet.wait, ramet.as_completed):
        with pytest.raises(TypeError, match="iterable"):
            call(slow)
        with pytest.raises(TypeError, match="Goroutine or a Future"):
            call([5])
    with pytest.raises(ValueError, match="return_when"):
        ramet.wait([slow], return_when="x")


def test_as_completed():
    gs = {go(sleep, 0.002 * k): k for k in (3, 1, 2)}
    assert [gs[g] for g in ramet.as_completed(gs)] == [1, 2, 3]
    never = go(sleep, T)
    with pytest.raises(TimeoutError):
        list(ramet.as_completed([never], timeout=0.01))
    never.cancel()


def test_wait_for_futures_of_threads():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        fs = [pool.submit(time.sleep, 0.002 * k) for k in range(3)]
        ticks = go(lambda: [sleep(0.001) for _ in range(3)])
        assert ramet.gather(*fs) == [None] * 3
        assert set(ramet.as_completed(fs)) == set(fs)
        ticks.join(T)


# ---- Executor, local --------------------------------------------------------------------------------


def test_executor():
    with Executor(max_workers=2) as ex:
        fs = [ex.submit(pow, i, 2) for i in range(10)]
        assert [f.result(T) for f in fs] == [i * i for i in range(10)]
        assert list(ex.map(lambda a, b: a + b, range(5), range(5))) == [0, 2, 4, 6, 8]
        bad = ex.submit(fail)
        assert isinstance(bad.exception(T), ZeroDivisionError)
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(pow, 1, 1)
    with pytest.raises(ValueError):
        Executor(0)


def test_executor_bounds_its_workers_and_calls_off():
    n = most = 0

    def work():
        nonlocal n, most
        n += 1
        most = max(n, most)
        sleep(0.002)
        n -= 1

    ex = Executor(max_workers=2)
    fs = [ex.submit(work) for _ in range(8)]
    gosched()
    ex.shutdown(cancel_futures=True)
    assert most == 2 and all(f.done() for f in fs) and sum(f.cancelled() for f in fs) == 6


def test_executor_converts_cancellation_at_its_border():
    with Executor() as ex:

        def cancels_itself():
            ramet.current().cancel("enough")
            gosched()

        f = ex.submit(cancels_itself)
        with pytest.raises(concurrent.futures.CancelledError):
            f.result(T)


def test_executor_from_an_os_thread():
    out = []
    ex = Executor()

    def use():
        out.append(ex.submit(lambda: (sleep(0.001), 7)[1]).result(T))

    t = threading.Thread(target=use)
    t.start()
    while t.is_alive():
        sleep(0.001)
    assert out == [7]
    ex.shutdown()


def test_local_and_contextvars_are_each_goroutines_own():
    mine, var = ramet.local(), contextvars.ContextVar("var", default=0)
    mine.x = "main"
    var.set(1)

    def work(i):
        assert not hasattr(mine, "x") and var.get() == 1
        mine.x = i
        var.set(i)
        sleep(0.001)
        return mine.x, var.get()

    gs = [go(work, i) for i in range(5)]
    assert [g.join(T) for g in gs] == [(i, i) for i in range(5)]
    assert mine.x == "main" and var.get() == 1


# ---- a group that is cancelled from outside, and one of whose members fails as it ends ---------------------------------------


def fails_when_cancelled():
    try:
        Chan().recv()
    finally:
        raise KeyError("tidying up")


def of_one_that_fails():
    with Group() as group:
        group.go(fails_when_cancelled)


def test_a_failure_in_a_group_that_expires():
    with pytest.raises(ExceptionGroup) as e:
        with ramet.timeout(0.001):
            of_one_that_fails()
    assert [repr(x) for x in e.value.exceptions] == ["KeyError('tidying up')"]


def test_a_failure_in_a_group_that_another_group_cancels():
    with pytest.raises(ExceptionGroup) as e:
        with Group() as group:
            group.go(of_one_that_fails)
            gosched()
            raise ValueError
    block, member = e.value.exceptions
    assert isinstance(block, ValueError)
    assert [type(x) for x in member.exceptions] == [KeyError]


def test_a_failure_in_a_group_of_a_goroutine_that_is_cancelled():
    def work():
        try:
            of_one_that_fails()
        except* KeyError:
            log.append("handled")
        gosched()
        log.append("not cancelled")

    log = []
    g = go(work)
    for _ in range(3):
        gosched()
    g.cancel("enough")
    e = g.exception(T)
    assert isinstance(e, GoroutineCancelled) and e.args == ("enough",)
    assert log == ["handled"]
