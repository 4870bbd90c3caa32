"""Locks and queues for goroutines and OS threads, in any mix.

Each type speaks two vocabularies: Go's (``lock``, ``unlock``, ``signal``, ...; a ``timeout`` raises TimeoutError) and
the standard library's (``acquire``, ``release``, ``notify``, ...; with that library's results and exceptions). Who
waits does not hold up anybody else; waiters queue in order.
"""

import concurrent.futures as _futures
import functools as _functools
import queue as _queue
import threading as _threading
from collections.abc import Callable as _Callable
from typing import Any as _Any
from typing import TypeVar as _TypeVar

from .. import _core
from .._core import (
    BoundedSemaphore,
    Cond,
    Event,
    LifoQueue,
    Mutex,
    PriorityQueue,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
)
from .._core import RWMutex as _RWMutex
from . import atomic

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Cond",
    "Condition",
    "Empty",
    "Event",
    "Full",
    "Future",
    "LifoQueue",
    "Lock",
    "Mutex",
    "Once",
    "PriorityQueue",
    "Queue",
    "RLock",
    "RWMutex",
    "Semaphore",
    "ShutDown",
    "SimpleQueue",
    "WaitGroup",
    "atomic",
    "once_value",
]

_T = _TypeVar("_T")

Lock = Mutex
Condition = Cond
Empty = _queue.Empty
Full = _queue.Full
BrokenBarrierError = _threading.BrokenBarrierError


class _ShutDown(Exception):
    """Raised by put, and by get once it is empty, of a queue that has been shut down."""


ShutDown: type[Exception] = getattr(_queue, "ShutDown", _ShutDown)  # the standard one from 3.13 on


class _RLocker:
    """The reading side of an RWMutex, as a lock."""

    def __init__(self, m: "RWMutex") -> None:
        self._m = m

    def lock(self, timeout: float | None = None) -> None:
        self._m.rlock(timeout)

    def unlock(self) -> None:
        self._m.runlock()

    def try_lock(self) -> bool:
        return self._m.try_rlock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not blocking:
            if timeout != -1:
                raise ValueError("acquire: a timeout is for a blocking call")
            return self._m.try_rlock()
        if timeout != -1 and timeout < 0:
            raise ValueError("acquire: timeout must not be negative, but for -1: no limit")
        try:
            self._m.rlock(None if timeout == -1 else timeout)
        except TimeoutError:
            return False
        return True

    def release(self) -> None:
        self._m.runlock()

    def __enter__(self) -> bool:
        self._m.rlock()
        return True

    def __exit__(self, *exc: object) -> None:
        self._m.runlock()


class RWMutex(_RWMutex):
    """Many readers or one writer, in order: Go's RWMutex. ``with m:`` writes, ``with m.rlocker():`` reads."""

    def rlocker(self) -> _RLocker:
        """A lock whose lock and unlock are this one's rlock and runlock. Never parks."""
        return _RLocker(self)


class WaitGroup(_core.WaitGroup):
    """Waits until as many have called done() as add() has been told of: Go's WaitGroup."""

    def go(self, fn: _Callable[..., _Any], /, *args: _Any, **kwargs: _Any) -> "_core.Goroutine":
        """Start fn(*args, **kwargs) in a goroutine that is waited for. Never parks. Any thread."""
        if not callable(fn):
            raise TypeError(f"WaitGroup.go: fn must be callable, not {type(fn).__name__}")
        self.add(1)
        try:
            return _core._go_then(self.done, fn, *args, **kwargs)
        except BaseException:
            self.done()
            raise


class Once:
    """Runs one function once: ``once.do(fn)``, or as a decorator (then later calls give the first one's result).

    Who comes while it runs waits for its end. As in Go, one that raises has run, too.
    """

    def __init__(self, fn: _Callable[..., _Any] | None = None) -> None:
        if fn is not None and not callable(fn):
            raise TypeError(f"Once: fn must be callable, not {type(fn).__name__}")
        self._lock = Mutex()
        self._done = False
        self._fn = fn
        self._result: _Any = None
        if fn is not None:
            _functools.update_wrapper(self, fn)

    def do(self, fn: _Callable[[], _Any]) -> None:
        """Call fn() if this is the first do(). May park. Any thread."""
        if not callable(fn):
            raise TypeError(f"Once.do: fn must be callable, not {type(fn).__name__}")
        if self._done:
            return
        with self._lock:
            if self._done:
                return
            try:
                self._result = fn()
            finally:
                self._done = True

    def __call__(self, *args: _Any, **kwargs: _Any) -> _Any:
        if self._fn is None:  # used as @once with an instance made before
            if len(args) != 1 or kwargs or not callable(args[0]):
                raise TypeError("a Once without a function is called with the function it is to decorate")
            self._fn = args[0]
            _functools.update_wrapper(self, self._fn)
            return self
        fn = self._fn
        self.do(lambda: fn(*args, **kwargs))
        return self._result


def once_value(fn: _Callable[[], _T]) -> _Callable[[], _T]:
    """A function that calls fn once and gives its value, or raises its exception, every time. May park. Any thread."""
    if not callable(fn):
        raise TypeError(f"once_value: fn must be callable, not {type(fn).__name__}")
    lock = Mutex()
    outcome: list[tuple[_Any, BaseException | None]] = []

    @_functools.wraps(fn)
    def value() -> _T:
        if not outcome:
            with lock:
                if not outcome:
                    try:
                        outcome.append((fn(), None))
                    except _core.Cancelled:
                        raise  # of whoever called: the next one tries again
                    except BaseException as e:
                        outcome.append((None, e))
        result, exc = outcome[0]
        if exc is not None:
            raise exc
        return result  # type: ignore[no-any-return]

    return value


class Barrier:
    """threading.Barrier's API: lets `parties` go on once all of them wait."""

    _parties = _inside = 0
    _broken = False

    def __init__(self, parties: int, action: _Callable[[], _Any] | None = None, timeout: float | None = None) -> None:
        if parties < 1:
            raise ValueError("parties must be >= 1")
        self._cond = Cond(Mutex())
        self._action = action
        self._timeout = timeout
        self._parties = parties
        self._leaving = False
        self._resetting = False

    def __repr__(self) -> str:
        what = "broken" if self._broken else f"waiters={self._inside}/{self._parties}"
        return f"<sync.Barrier at {id(self):#x}: {what}>"

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others: which of the parties this is, 0 .. parties-1.

        BrokenBarrierError. May park. Any thread.
        """
        if timeout is None:
            timeout = self._timeout
        cond = self._cond
        with cond:
            while self._leaving or self._resetting:  # those of the last round, or a reset
                cond.wait()
            if self._broken:
                raise BrokenBarrierError
            index = self._inside
            self._inside += 1
            try:
                if index + 1 == self._parties:
                    self._open()
                else:
                    self._await(timeout)
                return index
            finally:
                self._inside -= 1
                if self._inside == 0 and (self._leaving or self._resetting):
                    self._leaving = self._resetting = False
                    cond.notify_all()

    def _open(self) -> None:
        try:
            if self._action:
                self._action()
        except BaseException:
            self._break()
            raise
        self._leaving = True
        self._cond.notify_all()

    def _await(self, timeout: float | None) -> None:
        try:
            came = self._cond.wait_for(lambda: self._leaving or self._broken or self._resetting, timeout)
        except BaseException:
            if not (self._leaving or self._resetting):
                self._break()  # the others wait for one who has gone
            raise
        if not came:
            self._break()
        if not self._leaving:
            raise BrokenBarrierError

    def _break(self) -> None:
        self._broken = True
        self._cond.notify_all()

    def reset(self) -> None:
        """As new; who waits gets BrokenBarrierError. May park. Any thread."""
        with self._cond:
            if self._inside > 0:
                self._resetting = True
            self._broken = False
            self._cond.notify_all()

    def abort(self) -> None:
        """Break it: who waits, and who comes, gets BrokenBarrierError. May park. Any thread."""
        with self._cond:
            self._break()

    @property
    def parties(self) -> int:
        """How many it waits for."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait in it now."""
        return 0 if self._leaving else self._inside

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._broken


class Future(_futures.Future[_T]):
    """concurrent.futures.Future whose waiting parks only the goroutine."""

    def __init__(self) -> None:
        super().__init__()
        self._condition: _Any = Cond()
        self._done_chan: _core.Chan[None] | None = None

    def _left_behind(self) -> None:
        """In a forked child: who was to finish it is in the parent, and so is who was to hear of that."""
        self._condition = Cond()  # others may have been in the old one
        if self._state not in ("PENDING", "RUNNING"):
            return
        self._waiters: list[_Any] = []
        self._done_callbacks: list[_Any] = []
        self._exception: _Any = _futures.CancelledError("it was left behind in the parent of a fork")
        self._state: str = "FINISHED"
        if self._done_chan is not None:
            self._done_chan.close()

    def if_done(self) -> _core.Case:
        """The select case that is ready once it is done (its value is None). Any thread."""
        chan = self._done_chan
        if chan is None:
            made: _core.Chan[None] = _core.Chan()
            with self._condition:
                chan = self._done_chan = self._done_chan or made
            if chan is made:
                self.add_done_callback(lambda _: made.close())
        return chan.if_recv()
