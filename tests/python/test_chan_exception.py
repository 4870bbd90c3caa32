"""Chan.send_exception: what is raised in the receiver."""

import pytest
import ramet
from helpers import T, parked
from ramet import Chan, WouldBlock, go, select


class Oops(Exception):
    pass


@pytest.mark.parametrize(
    "receive",
    [
        lambda c: c.recv(),
        lambda c: c.recv(T),
        lambda c: c.recv_ok(),
        lambda c: list(c),
        lambda c: next(iter(c)),
        lambda c: select(c),
        lambda c: select(c.if_recv()),
        lambda c: select(c.if_recv(), ramet.default),
        lambda c: select(Chan(), c, timeout=T),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_send_exception_is_raised_in_the_receiver(receive, waits):
    c, exc = Chan(0 if waits else 1), Oops("it is")
    g = go(c.send_exception, exc)
    if waits:
        parked(g, state="chan send")
    else:
        g.join(T)
        assert len(c) == 1
    with pytest.raises(Oops) as e:
        receive(c)
    assert e.value is exc
    assert g.join(T) is None


def test_send_exception_to_one_that_waits():
    c = Chan()
    g = go(c.recv)
    h = go(lambda: list(c))
    k = go(select, c.if_recv(), Chan())
    parked(g, h, k)
    for x in (g, h, k):
        c.send_exception(Oops)
        assert type(x.exception(T)) is Oops


def test_send_exception_by_try_recv():
    c = Chan(2)
    c.send_exception(Oops("a"))
    c.send_exception(KeyError)
    with pytest.raises(Oops, match="a"):
        c.try_recv()
    with pytest.raises(KeyError):
        c.try_recv()
    with pytest.raises(WouldBlock):
        c.try_recv()


def test_send_exception_among_values():
    c = Chan(3)
    c.send(1)
    c.send_exception(Oops())
    c.send(2)
    it = iter(c)
    assert next(it) == 1
    with pytest.raises(Oops):
        next(it)
    assert next(it) == 2
    assert len(c) == 0


def test_send_exception_class_whose_constructor_fails():
    class Bad(Exception):
        def __init__(self):
            raise KeyError("no")

    class Odd(Exception):
        def __new__(cls):
            return 5

    c = Chan(1)
    with pytest.raises(KeyError):
        c.send_exception(Bad)
    with pytest.raises(TypeError, match="exc"):
        c.send_exception(Odd)
    assert len(c) == 0


def test_send_exception_has_the_receivers_traceback():
    c = Chan(1)
    c.send_exception(Oops())
    try:
        c.recv()
    except Oops as e:
        assert e.__traceback__.tb_frame.f_code.co_name == "test_send_exception_has_the_receivers_traceback"
