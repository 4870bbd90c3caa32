"""Goroutine.cancel: before the beginning, in every wait, while it ends."""

import gc
import time

import pytest
import ramet
from helpers import T, parked, until
from ramet import Cancelled, Chan, GoroutineCancelled, current, go, gosched
from ramet.time import sleep


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


def test_a_cancelled_one_is_not_reported(reports):
    go(sleep, 100).cancel()
    g = go(sleep, 100)
    parked(g)
    g.cancel()
    del g
    sleep(0.01)
    gc.collect()
    assert reports == []


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
