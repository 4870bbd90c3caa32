"""Go's contexts: cancellation, deadlines and values that go along with a request.

    ctx, cancel = context.with_timeout(context.background(), 2.0)
    with ctx:                       # what waits in this block is cancelled with ctx
        conn = net.dial("tcp", "example.org:80")

Leaving the block cancels the context; a block that its cancellation ended raises ``ctx.err()``.
"""

import threading as _threading
from collections.abc import Callable as _Callable
from time import monotonic as _monotonic
from types import TracebackType as _TracebackType
from typing import Any as _Any

from . import _core
from ._core import Chan as _Chan

__all__ = [
    "Canceled",
    "Context",
    "DeadlineExceeded",
    "after_func",
    "background",
    "cause",
    "with_cancel",
    "with_cancel_cause",
    "with_deadline",
    "with_timeout",
    "with_value",
    "without_cancel",
]


class Canceled(_core.RametError):
    """The context was cancelled."""


class DeadlineExceeded(_core.RametError, TimeoutError):
    """The context's deadline has passed."""


_Cancel = _Callable[..., None]


class Context:
    """A context: made by background() and the with_ functions."""

    _core: "_Core | None" = None

    def __init__(self, parent: "Context | None", *, shares: bool = False) -> None:
        self._parent = parent
        if parent is not None and shares:  # a context that only adds a value has its parent's cancellation
            self._core = parent._core
        self._key: _Any = _NOTHING
        self._value: _Any = None
        self._blocks: list[tuple[_Any, _Any]] = []

    @property
    def done(self) -> _Chan[None] | None:
        """The channel that is closed when it is cancelled; None if it never can be (a nil channel in select)."""
        return self._core.chan if self._core else None

    def err(self) -> Exception | None:
        """None, or a Canceled or DeadlineExceeded once it is cancelled. Never parks. Any thread."""
        return self._core.err if self._core else None

    def deadline(self) -> float | None:
        """The time, on the clock of monotonic(), at which it is cancelled, or None. Never parks. Any thread."""
        return self._core.deadline if self._core else None

    def value(self, key: _Any) -> _Any:
        """The value that the nearest with_value gave to key, or None. Never parks. Any thread."""
        ctx: Context | None = self
        while ctx is not None:
            if ctx._key is not _NOTHING and (ctx._key is key or ctx._key == key):
                return ctx._value
            ctx = ctx._parent
        return None

    def __repr__(self) -> str:
        core = self._core
        state = "background" if core is None else repr(core.err) if core.err else "alive"
        return f"<ramet.context.Context {state}>"

    def __enter__(self) -> "Context":
        """Begin a block in which waits are cancelled with this context. Goroutines and the main thread."""
        scope = _core.cancel_scope()
        core = self._core
        self._blocks.append((scope, _core.current()))
        scope.__enter__()
        if core is not None:
            core.add(scope.cancel)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: _TracebackType | None
    ) -> bool:
        """End the block and cancel the context; raise err() if its cancellation ended the block."""
        me = _core.current()
        at = max((i for i, (_, g) in enumerate(self._blocks) if g is me), default=None)
        if at is None:
            raise RuntimeError("a context's block is left by the goroutine that entered it")
        scope, _ = self._blocks.pop(at)
        core = self._core
        if core is not None:
            core.remove(scope.cancel)
        err = self.err()
        swallowed = scope.__exit__(kind, exc, traceback)
        if core is not None and not self._blocks:
            core.cancel(Canceled("context canceled"), None)
        if swallowed and err is not None:
            raise err
        return bool(swallowed)


_NOTHING = object()


class _Core:
    """What contexts that are cancelled together share."""

    def __init__(self, parent: "_Core | None", deadline: float | None) -> None:
        self.chan: _Chan[None] = _Chan()
        self.err: Exception | None = None
        self.cause: BaseException | None = None
        self.deadline = deadline
        self._lock = _threading.Lock()  # held for a few instructions, never across anything that waits
        self._calls: list[_Core | _Callable[[], _Any]] = []  # what is cancelled or called with it
        self._timer: _Any = None
        self._parent = parent
        if parent is not None:
            if parent.deadline is not None and (deadline is None or parent.deadline < deadline):
                self.deadline = parent.deadline
            parent.add(self)
        if self.err is None and deadline is not None and self.deadline == deadline:
            left = deadline - _monotonic()
            if left <= 0:
                self._late()
            else:
                timer = _core._deadline(left, self._late)
                with self._lock:
                    self._timer = timer
                    late = self.err is not None  # another thread has cancelled the parent meanwhile
                if late:
                    timer.stop()

    def _late(self) -> None:
        self.cancel(DeadlineExceeded("context deadline exceeded"), None)

    def add(self, call: "_Core | _Callable[[], _Any]") -> None:
        """Cancel or call it when cancelled; at once if that has been."""
        with self._lock:
            if self.err is None:
                self._calls.append(call)
                return
        if isinstance(call, _Core):
            call.cancel(self.err, self.cause)
        else:
            call()

    def remove(self, call: "_Core | _Callable[[], _Any]") -> bool:
        with self._lock:
            if call not in self._calls:
                return False
            self._calls.remove(call)
            return True

    def cancel(self, err: Exception, cause: BaseException | None) -> None:
        calls = self._end(err, cause)
        while calls:  # depth first, and no recursion: contexts may be nested deeper than calls
            call = calls.pop()
            if isinstance(call, _Core):
                calls += call._end(err, cause)
            else:
                call()

    def _end(self, err: Exception, cause: BaseException | None) -> "list[_Core | _Callable[[], _Any]]":
        """Be cancelled, if it is not: what goes with it, the first at the end."""
        with self._lock:
            if self.err is not None:
                return []
            self.cause = cause if cause is not None else err  # before err, by which others see that there is one
            self.err = err
            calls, self._calls = self._calls, []
            timer = self._timer
        if self._parent is not None:
            self._parent.remove(self)
        if timer is not None:
            timer.stop()
        self.chan.close()
        calls.reverse()
        return calls


def _check(parent: _Any, what: str) -> Context:
    if not isinstance(parent, Context):
        raise TypeError(f"{what}: parent must be a Context, not {type(parent).__name__}")
    return parent


_background = Context(None)


def background() -> Context:
    """The context that is never cancelled, has no deadline and no values. Never parks. Any thread."""
    return _background


def _new(parent: Context, deadline: float | None) -> Context:
    ctx = Context(parent)
    ctx._core = _Core(parent._core, deadline)
    return ctx


def with_cancel(parent: Context) -> tuple[Context, _Callable[[], None]]:
    """(ctx, cancel): ctx is cancelled by cancel(), and with parent. Never parks."""
    ctx = _new(_check(parent, "with_cancel"), None)
    core = ctx._core
    assert core is not None

    def cancel() -> None:
        core.cancel(Canceled("context canceled"), None)

    return ctx, cancel


def with_cancel_cause(parent: Context) -> tuple[Context, _Callable[[BaseException | None], None]]:
    """(ctx, cancel): as with_cancel, and cancel(exc) says why: cause(ctx). Never parks."""
    ctx = _new(_check(parent, "with_cancel_cause"), None)
    core = ctx._core
    assert core is not None

    def cancel(exc: BaseException | None = None) -> None:
        if exc is not None and not isinstance(exc, BaseException):
            raise TypeError(f"cancel: the cause must be an exception, not {type(exc).__name__}")
        core.cancel(Canceled("context canceled"), exc)

    return ctx, cancel


def with_deadline(parent: Context, t: float) -> tuple[Context, _Callable[[], None]]:
    """(ctx, cancel): as with_cancel, and cancelled at the time t of monotonic() at the latest. Never parks."""
    if isinstance(t, bool) or not isinstance(t, (int, float)):
        raise TypeError(f"with_deadline: t must be seconds (int or float), not {type(t).__name__}")
    if t != t:
        raise ValueError("with_deadline: t must be seconds, not NaN")
    ctx = _new(_check(parent, "with_deadline"), float(t))
    core = ctx._core
    assert core is not None

    def cancel() -> None:
        core.cancel(Canceled("context canceled"), None)

    return ctx, cancel


def with_timeout(parent: Context, s: float) -> tuple[Context, _Callable[[], None]]:
    """(ctx, cancel): with_deadline s seconds from now. Never parks."""
    if isinstance(s, bool) or not isinstance(s, (int, float)):
        raise TypeError(f"with_timeout: s must be seconds (int or float), not {type(s).__name__}")
    if s != s:
        raise ValueError("with_timeout: s must be seconds, not NaN")
    return with_deadline(_check(parent, "with_timeout"), _monotonic() + s)


def with_value(parent: Context, key: _Any, value: _Any) -> Context:
    """A context in which key has value; cancelled with parent. Never parks."""
    if key is None:
        raise ValueError("with_value: key must not be None")
    ctx = Context(_check(parent, "with_value"), shares=True)
    ctx._key = key
    ctx._value = value
    return ctx


def without_cancel(parent: Context) -> Context:
    """A context with parent's values that is not cancelled with it. Never parks."""
    return Context(_check(parent, "without_cancel"))


def cause(ctx: Context) -> BaseException | None:
    """Why ctx was cancelled: what with_cancel_cause's cancel was given, else ctx.err(). Never parks."""
    core = _check(ctx, "cause")._core
    return core.cause if core else None


def after_func(ctx: Context, fn: _Callable[[], _Any]) -> _Callable[[], bool]:
    """Call fn() in a goroutine of its own once ctx is cancelled: stop, which calls that off (True: it was).

    Never parks.
    """
    if not callable(fn):
        raise TypeError(f"after_func: fn must be callable, not {type(fn).__name__}")
    core = _check(ctx, "after_func")._core

    def start() -> None:
        _core.go(fn)

    if core is None:
        return lambda: True
    core.add(start)
    return lambda: core.remove(start)
