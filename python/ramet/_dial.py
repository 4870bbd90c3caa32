"""Connecting to what has several addresses: happy eyeballs, RFC 8305.

Families alternate. The next address is tried when the last one has failed or has not answered for DELAY seconds; the
first that connects wins. Every try is a goroutine; when connect() is left, all of them have ended.

A try hands over what came of it behind a shield, and without waiting: a connection is either in the channel, where
connect() finds it, or closed by the try itself, because the channel was closed before.
"""

import socket
from contextlib import suppress
from itertools import zip_longest
from time import monotonic
from typing import Any

from . import _core
from ._core import Conn

DELAY = 0.25  # what section 5 of the RFC recommends

_Addresses = list[tuple[int, Any]]  # family and numeric address
_News = _core.Chan[tuple[int, Conn | Exception]]


def connect(addresses: _Addresses, kind: int, deadline: float | None) -> Conn:
    """A Conn to one of them; the error of the first if there is none, with those of the others as notes. May park."""
    if len(addresses) == 1:
        return _try(addresses[0], kind, deadline)
    if kind == socket.SOCK_DGRAM:
        return _in_turn(addresses, kind, deadline)
    return _race(_interleaved(addresses), kind, deadline)


def _try(address: tuple[int, Any], kind: int, deadline: float | None) -> Conn:
    return _core._connect(address[0], kind, address[1], None if deadline is None else deadline - monotonic())


def _in_turn(addresses: _Addresses, kind: int, deadline: float | None) -> Conn:
    """For datagrams: nobody has to answer."""
    failed: dict[int, Exception] = {}
    for i, address in enumerate(addresses):
        try:
            return _try(address, kind, deadline)
        except OSError as e:
            failed[i] = e
    return _fail(addresses, failed)


def _interleaved(addresses: _Addresses) -> _Addresses:
    """The families by turns, each in its order, that of the first address first."""
    family = addresses[0][0]
    first = [a for a in addresses if a[0] == family]
    other = [a for a in addresses if a[0] != family]
    return [a for two in zip_longest(first, other) for a in two if a is not None]


def _race(addresses: _Addresses, kind: int, deadline: float | None) -> Conn:
    news: _News = _core.Chan(len(addresses))
    tries: list[_core.Goroutine[None]] = []
    failed: dict[int, Exception] = {}
    try:
        while True:
            wait = None
            begun = len(tries)
            if begun < len(addresses) and not (begun and deadline is not None and deadline <= monotonic()):
                tries.append(_core.go(_enter, news, begun, addresses[begun], kind, deadline))
                if begun + 1 < len(addresses):
                    wait = DELAY
            elif len(failed) == begun:
                return _fail(addresses, failed)
            try:
                i, outcome = news.recv(wait)
            except TimeoutError:
                continue
            if isinstance(outcome, Conn):
                return outcome
            failed[i] = outcome
            del outcome
    finally:
        news.close()
        for g in tries:
            g.cancel()
        with _core.shield():
            for _, left in news:
                if isinstance(left, Conn):
                    left.close()
            for g in tries:
                g.exception()


def _enter(news: _News, i: int, address: tuple[int, Any], kind: int, deadline: float | None) -> None:
    """One try of a race."""
    try:
        conn = _try(address, kind, deadline)
    except Exception as e:
        with suppress(_core.ChanClosed):
            news.try_send((i, e))
        return
    try:
        with _core.shield():
            news.try_send((i, conn))
    except _core.ChanClosed:
        conn.close()


def _fail(addresses: _Addresses, failed: dict[int, Exception]) -> Any:
    error = failed.pop(0)
    for i, e in sorted(failed.items()):
        error.add_note(f"{addresses[i][1]}: {e}")
    failed.clear()
    try:
        raise error
    finally:
        del error  # no cycle through the traceback
