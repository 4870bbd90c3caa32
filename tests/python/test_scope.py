"""timeout, move_on_after, cancel_scope, shield: one tree of scopes."""

import threading
import time
from contextlib import ExitStack

import pytest
import ramet
from helpers import T, parked
from ramet import Cancelled, Chan, GoroutineCancelled, cancel_scope, go, gosched, move_on_after, shield, timeout
from ramet.time import monotonic, sleep


def test_timeout_ends_its_block():
    began = time.monotonic()
    with pytest.raises(TimeoutError), timeout(0.01) as scope:
        sleep(T)
    assert time.monotonic() - began < T / 2 and scope.cancelled and scope.cancel_called
    with timeout(T) as scope:
        sleep(0)
    assert not scope.cancelled and not scope.cancel_called
    with timeout(None) as scope:
        assert scope.deadline is None


def test_move_on_after_just_leaves():
    with move_on_after(0.01) as scope:
        Chan().recv()
    assert scope.cancelled
    with move_on_after(T) as scope:
        pass
    assert not scope.cancelled


@pytest.mark.parametrize("s", [0, -1, -1e300])
def test_no_time_at_all(s):
    with pytest.raises(TimeoutError), timeout(s):
        gosched()
        pytest.fail("the first cancellation point is the end")
    with timeout(s):
        pass  # without one it is not interrupted


def test_cancelled_at_every_point_until_it_is_left():
    n = 0
    with cancel_scope() as scope:
        scope.cancel()
        for _ in range(3):
            try:
                sleep(1)
            except Cancelled:
                n += 1
        gosched()
    assert n == 3 and scope.cancelled
    gosched()


def test_cancelled_from_another_goroutine():
    def work(scopes):
        with cancel_scope() as scope:
            scopes.append(scope)
            Chan().recv()
        return scope.cancelled

    scopes = []
    g = go(work, scopes)
    parked(g)
    scopes[0].cancel()
    scopes[0].cancel()
    assert g.join(T) is True


def test_cancelled_before_it_is_entered():
    scope = cancel_scope()
    scope.cancel()
    with scope:
        gosched()
        pytest.fail("not reached")
    assert scope.cancelled


def test_the_outer_one_wins():
    log = []
    with move_on_after(0.01) as outer:
        with timeout(T) as inner:
            try:
                sleep(T)
            finally:
                log.append("inner")
        pytest.fail("not reached")
    assert outer.cancelled and not inner.cancelled and log == ["inner"]


def test_a_hundred_thousand_in_one_another():
    def work():
        with ExitStack() as stack:
            outermost = stack.enter_context(cancel_scope())
            for _ in range(100_000):
                stack.enter_context(cancel_scope())
            outermost.cancel()
            with pytest.raises(Cancelled):
                sleep(0)
        sleep(0)
        return outermost.cancel_called

    assert work() and go(work).join(T)


def test_the_inner_one_only():
    with timeout(T) as outer:
        with move_on_after(0.01) as inner:
            sleep(T)
        sleep(0.001)
    assert inner.cancelled and not outer.cancelled


def test_both_expired():
    with move_on_after(0.005) as outer, move_on_after(0.005) as inner:
        time.sleep(0.02)
        sleep(T)
    assert outer.cancelled or inner.cancelled


def test_shield_defers_scopes_and_cancel():
    log = []

    def work():
        with move_on_after(0.005) as scope:
            with shield():
                sleep(0.02)
                log.append("whole")
            sleep(T)
        log.append(scope.cancelled)
        try:
            with shield():
                ramet.current().cancel()
                sleep(0.001)
                log.append("again")
            gosched()
        except Cancelled:
            log.append("cancelled")

    go(work).join(T)
    assert log == ["whole", True, "again", "cancelled"]


def test_cancel_of_the_goroutine_is_not_the_scopes_own():
    def work():
        with move_on_after(T) as scope:
            scopes.append(scope)
            try:
                sleep(T)
            finally:
                scope.deadline = monotonic() - 1  # now it has expired, too
                with shield():
                    gosched()
        return "swallowed"

    scopes = []
    g = go(work)
    parked(g)
    g.cancel("why")
    e = g.exception(T)
    assert isinstance(e, GoroutineCancelled) and e.args == ("why",)
    assert scopes[0].cancel_called and not scopes[0].cancelled


def test_an_exception_of_the_block_goes_on():
    with pytest.raises(KeyError), timeout(0.001):
        try:
            sleep(T)
        except Cancelled:
            raise KeyError from None


def test_deadline_can_be_moved():
    with timeout(0.01) as scope:
        d = scope.deadline
        assert abs(d - monotonic() - 0.01) < 1
        scope.deadline = d + T
        sleep(0.03)
    with pytest.raises(TimeoutError), timeout(T) as scope:
        scope.deadline = monotonic() - 1
        sleep(T)
    with timeout(0.01) as scope:
        scope.deadline = None
        sleep(0.02)
    scope = cancel_scope()
    scope.deadline = monotonic() + 0.01
    with scope:
        sleep(T)
    assert scope.cancelled
    with pytest.raises(TypeError, match="deadline"):
        scope.deadline = "x"
    with pytest.raises(ValueError, match="shield"):
        shield().deadline = 1


def test_deadline_moved_by_a_thread_while_all_goroutines_wait():
    scopes = []

    def work():
        with cancel_scope() as scope:
            scopes.append(scope)
            Chan().recv()
        return scope.cancelled

    def bring_forward():
        assert main_waits.wait(T)
        time.sleep(0.02)
        scopes[0].deadline = monotonic() + 0.02

    main_waits = threading.Event()
    g = go(work)
    thread = threading.Thread(target=bring_forward)
    thread.start()
    parked(g, state="chan receive")
    main_waits.set()
    assert g.join(T) is True  # woken by nothing else
    thread.join()


def test_misuse():
    with pytest.raises(TypeError):
        timeout("x")
    with pytest.raises(ValueError):
        timeout(float("nan"))
    a, b = cancel_scope(), cancel_scope()
    with a:
        with pytest.raises(RuntimeError, match="once"):
            a.__enter__()
        b.__enter__()
        with pytest.raises(RuntimeError, match="out of order"):
            a.__exit__(None, None, None)
        assert isinstance(go(b.__exit__, None, None, None).exception(T), RuntimeError)
        b.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="once"), a:
        pass
    with pytest.raises(TypeError):
        type(a)()


def test_one_that_is_never_left_ends_with_its_goroutine():
    def work():
        cancel_scope().__enter__()
        timeout(0.001).__enter__()
        return 1

    for _ in range(50):
        assert go(work).join(T) == 1
    sleep(0.005)


def test_a_generator_that_is_not_finished():
    def gen():
        with cancel_scope():
            yield 1

    def work():
        for _ in gen():
            break
        return 2

    assert go(work).join(T) == 2


@pytest.mark.parametrize("k", range(12))
def test_cancelled_at_its_kth_wait_leaves_nothing(k):
    """A scripted session, cancelled at its k-th wait, for every k."""
    from ramet import sync

    c, m, e, s = Chan(1), sync.Mutex(), sync.Event(), sync.Semaphore(1)
    waits = 0

    def point():
        nonlocal waits
        if waits == k:
            ramet.current().cancel()
        waits += 1

    def session():
        point(), m.lock()
        try:
            point(), c.send(1)
            with s:
                point(), sleep(0.0001)
            point(), gosched()
            with timeout(T):
                point(), c.recv()
            with ramet.Group() as group:
                group.go(lambda: (point(), e.wait(0.05)))
                group.go(lambda: (point(), sleep(0.001), e.set()))
                point(), group.go(gosched).join()
        finally:
            m.unlock()
        with move_on_after(0.001):
            point(), Chan().recv()
        return "whole"

    g = go(session)
    r = g.exception(T)
    assert r is None or isinstance(r, (GoroutineCancelled, BaseExceptionGroup))
    assert m.try_lock() and s.acquire(False)
    assert ramet.num_goroutines() == 1
