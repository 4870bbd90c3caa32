"""Chan: every method and what it promises."""

import pytest
import ramet
from helpers import T, Thing, parked
from ramet import Chan, ChanClosed, ChannelError, WouldBlock, go, makechan

# ---- making one -------------------------------------------------------------------------------------


def test_made_with_nothing():
    c = Chan()
    assert (c.capacity, c.closed, c.name, len(c), bool(c)) == (0, False, None, 0, True)


def test_made_with_capacity_and_name():
    c = Chan(3, name="jobs")
    assert (c.capacity, c.name) == (3, "jobs")
    assert Chan(capacity=2).capacity == 2
    assert "jobs" in repr(c)


def test_makechan_is_offsets_spelling():
    assert isinstance(makechan(), Chan)
    c = makechan(2, "x")
    assert (c.capacity, c.name) == (2, "x")
    c = makechan(size=4, label="y")
    assert (c.capacity, c.name) == (4, "y")


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "names"),
    [
        (("3",), {}, TypeError, "capacity"),
        ((1.5,), {}, TypeError, "capacity"),
        ((None,), {}, TypeError, "capacity"),
        ((-1,), {}, ValueError, "capacity"),
        ((2**31,), {}, ValueError, "capacity"),
        ((2**100,), {}, ValueError, "capacity"),
        ((-(2**100),), {}, ValueError, "capacity"),
        ((), {"name": 7}, TypeError, "name"),
        ((1, "name"), {}, TypeError, "Chan"),
        ((), {"size": 1}, TypeError, "size"),
    ],
)
def test_wrong_arguments(args, kwargs, error, names):
    with pytest.raises(error, match=names):
        Chan(*args, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "names"),
    [
        (("3",), {}, TypeError, "size"),
        ((-1,), {}, ValueError, "size"),
        ((1, 7), {}, TypeError, "label"),
        ((), {"capacity": 1}, TypeError, "capacity"),
        ((1, "a", 3), {}, TypeError, "makechan"),
    ],
)
def test_wrong_arguments_of_makechan(args, kwargs, error, names):
    with pytest.raises(error, match=names):
        makechan(*args, **kwargs)


def test_typing():
    assert Chan[int].__origin__ is Chan
    assert Chan[int].__args__ == (int,)
    assert Chan["Thing"] is not None

    def f(c: Chan[int]) -> "Chan[str] | None": ...


def test_attributes_cannot_be_set():
    c = Chan(1)
    for name in ("capacity", "closed", "name", "anything"):
        with pytest.raises(AttributeError):
            setattr(c, name, 3)


def test_any_value_and_identity():
    c = Chan(8)
    for v in (None, (), 0, "", c, Thing(), ramet, ValueError("as a value")):
        c.send(v)
        assert c.recv() is v


# ---- send and recv ----------------------------------------------------------------------------------


def test_unbuffered_hands_over():
    c = Chan()
    g = go(c.send, 5)
    assert c.recv(T) == 5
    assert g.join(T) is None
    g = go(c.recv)
    assert c.send(6, T) is None
    assert g.join(T) == 6


def test_unbuffered_sender_waits_for_receiver():
    c = Chan()
    g = go(c.send, 1)
    parked(g, state="chan send")
    assert not g.done() and len(c) == 0
    assert c.recv(T) == 1
    g.join(T)


@pytest.mark.parametrize("capacity", [0, 1, 2, 7, 128])
def test_in_order(capacity):
    c = Chan(capacity)

    def produce():
        for i in range(500):
            c.send(i)
        c.close()

    g = go(produce)
    assert list(c) == list(range(500))
    g.join(T)


def test_buffer_fills_and_drains():
    c = Chan(2)
    c.send(1)
    assert len(c) == 1
    c.send(2)
    assert len(c) == 2
    g = go(c.send, 3)
    parked(g, state="chan send")
    assert [c.recv(T) for _ in range(3)] == [1, 2, 3]
    g.join(T)
    assert len(c) == 0


def test_waiting_receivers_are_served_in_order():
    c = Chan()
    order = []
    gs = [go(lambda i=i: order.append((i, c.recv()))) for i in range(20)]
    parked(*gs)
    for i in range(20):
        c.send(i, T)
    for g in gs:
        g.join(T)
    assert sorted(order) == [(i, i) for i in range(20)]


def test_waiting_senders_are_served_in_order():
    c = Chan()
    gs = [go(c.send, i) for i in range(20)]
    parked(*gs)
    assert [c.recv(T) for _ in range(20)] == list(range(20))
    for g in gs:
        g.join(T)


def test_the_sender_keeps_running():
    """A send to a waiting receiver does not switch to it."""
    c, log = Chan(), []
    g = go(lambda: log.append(("got", c.recv())))
    parked(g)
    c.send(1)
    log.append("sent")
    g.join(T)
    assert log == ["sent", ("got", 1)]


def test_many_to_many():
    c, n, each = Chan(3), 10, 100

    def produce(k):
        for i in range(each):
            c.send((k, i))

    def consume(out):
        for v in c:
            out.append(v)

    outs = [[] for _ in range(n)]
    consumers = [go(consume, out) for out in outs]
    for g in [go(produce, k) for k in range(n)]:
        g.join(T)
    c.close()
    for g in consumers:
        g.join(T)
    got = [v for out in outs for v in out]
    assert sorted(got) == [(k, i) for k in range(n) for i in range(each)]
    for out in outs:  # from each producer in order
        for k in range(n):
            mine = [i for kk, i in out if kk == k]
            assert mine == sorted(mine)


def test_main_and_goroutines_without_run():
    c = Chan()
    go(lambda: c.send(go(lambda: 7).join()))
    assert c.recv(T) == 7


# ---- timeouts ---------------------------------------------------------------------------------------


def test_recv_times_out():
    c = Chan()
    for timeout in (0.01, 0, -1):
        with pytest.raises(TimeoutError):
            c.recv(timeout)
        with pytest.raises(TimeoutError):
            c.recv_ok(timeout=timeout)


def test_send_times_out_and_sends_nothing():
    c = Chan(1)
    c.send(1)
    for timeout in (0.01, 0, -5):
        with pytest.raises(TimeoutError):
            c.send(2, timeout)
        with pytest.raises(TimeoutError):
            c.send(2, timeout=timeout)
    assert c.recv() == 1
    assert len(c) == 0


def test_what_is_ready_beats_a_passed_timeout():
    c = Chan(1)
    c.send(1, 0)
    assert c.recv(0) == 1
    c.send(2, -1)
    assert c.recv_ok(-1) == (2, True)


def test_timeouts_that_are_valid():
    c = Chan(1)
    for timeout in (None, 1, 0.5, True, 1e300, 10**400, float("inf")):
        c.send(1, timeout)
        assert c.recv(timeout) == 1
        c.send(1, timeout=timeout)
        assert c.recv_ok(timeout=timeout) == (1, True)
    for timeout in (float("-inf"), -(10**400)):
        with pytest.raises(TimeoutError):
            c.recv(timeout)


@pytest.mark.parametrize(("timeout", "error"), [("1", TypeError), ([], TypeError), (float("nan"), ValueError)])
def test_timeouts_that_are_not(timeout, error):
    c = Chan(1)
    for call in (
        lambda: c.recv(timeout),
        lambda: c.recv(timeout=timeout),
        lambda: c.recv_ok(timeout),
        lambda: c.send(1, timeout),
        lambda: c.send(1, timeout=timeout),
    ):
        with pytest.raises(error, match="timeout"):
            call()
    assert len(c) == 0


def test_wrong_calls():
    c = Chan(4)
    for call, names in (
        (lambda: c.send(), "v"),
        (lambda: c.send(1, 2, 3), "send"),
        (lambda: c.send(1, tiemout=1), "tiemout"),
        (lambda: c.send(1, v=1), "v"),
        (lambda: c.recv(1, 2), "recv"),
        (lambda: c.recv(v=1), "v"),
        (lambda: c.recv_ok(1, 2), "recv_ok"),
        (lambda: c.try_send(), "try_send"),
        (lambda: c.try_recv(1), "try_recv"),
        (lambda: c.close(1), "close"),
        (lambda: c.if_send(), "if_send"),
        (lambda: c.if_recv(1), "if_recv"),
        (lambda: c.send_exception(), "send_exception"),
        (lambda: c.send_exception(5), "exc"),
        (lambda: c.send_exception(int), "exc"),
    ):
        with pytest.raises(TypeError, match=names):
            call()
    assert len(c) == 0


def test_a_timed_out_waiter_takes_nothing():
    c = Chan()

    def impatient():
        with pytest.raises(TimeoutError):
            c.recv(0.01)

    gs = [go(impatient) for _ in range(10)]
    for g in gs:
        g.join(T)
    g = go(c.send, 1)
    parked(g)
    assert c.recv(T) == 1
    g.join(T)


# ---- try_send, try_recv -----------------------------------------------------------------------------


def test_try_send():
    c = Chan(1)
    assert c.try_send(1) is True
    assert c.try_send(2) is False
    assert c.recv() == 1
    c.close()
    with pytest.raises(ChanClosed):
        c.try_send(3)


def test_try_send_unbuffered_needs_a_receiver():
    c = Chan()
    assert c.try_send(1) is False
    g = go(c.recv)
    parked(g)
    assert c.try_send(2) is True
    assert g.join(T) == 2


def test_try_recv():
    c = Chan(1)
    with pytest.raises(WouldBlock):
        c.try_recv()
    c.send(1)
    assert c.try_recv() == (1, True)
    c.send(2)
    c.close()
    assert c.try_recv() == (2, True)
    assert c.try_recv() == (None, False)


def test_try_recv_takes_from_a_waiting_sender():
    c = Chan()
    g = go(c.send, 1)
    parked(g)
    assert c.try_recv() == (1, True)
    g.join(T)


# ---- close ------------------------------------------------------------------------------------------


def test_closed_channel_drains_first():
    c = Chan(3)
    c.send(1)
    c.send(2)
    c.close()
    assert c.closed and len(c) == 2
    assert c.recv() == 1
    assert c.recv_ok() == (2, True)
    assert c.recv_ok() == (None, False)
    assert c.recv_ok(timeout=1) == (None, False)
    with pytest.raises(ChanClosed):
        c.recv()
    assert bool(c)


def test_send_on_closed():
    c = Chan(3)
    c.close()
    with pytest.raises(ChanClosed):
        c.send(1)
    with pytest.raises(ChanClosed):
        c.send_exception(ValueError)
    assert len(c) == 0


def test_second_close():
    c = Chan()
    c.close()
    with pytest.raises(ChanClosed):
        c.close()


def test_close_wakes_receivers():
    c = Chan()
    a = [go(c.recv_ok) for _ in range(3)]
    b = [go(c.recv) for _ in range(3)]
    d = [go(list, c) for _ in range(3)]
    parked(*a, *b, *d)
    c.close()
    assert [g.join(T) for g in a] == [(None, False)] * 3
    assert all(isinstance(g.exception(T), ChanClosed) for g in b)
    assert [g.join(T) for g in d] == [[], [], []]


def test_close_wakes_senders():
    c = Chan()
    gs = [go(c.send, i) for i in range(5)]
    parked(*gs)
    c.close()
    assert all(isinstance(g.exception(T), ChanClosed) for g in gs)
    assert c.recv_ok() == (None, False)


def test_close_wakes_senders_but_the_buffer_stays():
    c = Chan(1)
    c.send(0)
    g = go(c.send, 1)
    parked(g)
    c.close()
    assert isinstance(g.exception(T), ChanClosed)
    assert list(c) == [0]


def test_exceptions_are_related():
    assert issubclass(ChanClosed, ChannelError) and issubclass(WouldBlock, ChannelError)
    assert issubclass(ChannelError, ramet.RametError) and issubclass(ramet.RametError, Exception)


# ---- iteration --------------------------------------------------------------------------------------


def test_iteration_is_shared():
    c = Chan(4)
    for i in range(4):
        c.send(i)
    c.close()
    assert iter(c) is c
    for v in c:
        if v == 1:
            break
    assert list(c) == [2, 3]
    assert list(c) == []


def test_iteration_waits():
    c, got = Chan(), []

    def consume():
        for v in c:
            got.append(v)
        return "end"

    g = go(consume)
    for i in range(3):
        c.send(i, T)
        parked(g)
        assert got == list(range(i + 1))
    c.close()
    assert g.join(T) == "end"


# ---- cancellation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [lambda c: c.recv(), lambda c: c.recv_ok(), list, lambda c: c.recv(T)])
def test_cancelled_receiver_takes_nothing(wait):
    c = Chan()
    g = go(wait, c)
    parked(g)
    g.cancel()
    assert isinstance(g.exception(T), ramet.GoroutineCancelled)
    assert c.try_send(1) is False


def test_cancelled_sender_sends_nothing():
    c = Chan()
    g = go(c.send, 1)
    parked(g)
    g.cancel()
    g.exception(T)
    with pytest.raises(WouldBlock):
        c.try_recv()


def test_a_value_handed_over_is_not_lost():
    c = Chan()
    g = go(c.recv)
    parked(g)
    c.send(5)  # g has it, but has not run yet
    g.cancel()
    assert g.join(T) == 5


def test_pending_cancellation_wins_over_what_is_ready():
    c = Chan(1)
    c.send(1)

    def f():
        ramet.current().cancel()
        with pytest.raises(ramet.Cancelled):
            c.recv()
        return len(c)

    assert go(f).join(T) == 1


def test_what_cannot_block_is_no_cancellation_point():
    c, m, s = Chan(1), ramet.sync.Mutex(), ramet.sync.Semaphore(1)

    def work():
        ramet.current().cancel()
        assert c.try_send(1) and not c.try_send(2)
        assert c.try_recv() == (1, True)
        with pytest.raises(ramet.WouldBlock):
            c.try_recv()
        assert m.try_lock() and not m.try_lock()
        assert s.acquire(False) and not s.acquire(False)
        with pytest.raises(ramet.Cancelled):
            c.recv()
        return True

    assert go(work).join(T)
