"""Go's concurrency for Python: goroutines, channels, select, and blocking calls that block nobody else.

    import ramet

    def producer(c):
        for i in range(3):
            c.send(i)
        c.close()

    c = ramet.Chan()
    ramet.go(producer, c)
    for v in c:
        print(v)

Everything here is C (``ramet._core``) but for the glue. Importing changes nothing in the process; the first ``go``
or the first wait installs what the runtime needs.
"""

import functools as _functools
from collections.abc import Callable as _Callable
from typing import Any as _Any

from . import _core, _report
from ._config import configure
from ._core import (
    Cancelled,
    Case,
    Chan,
    ChanClosed,
    ChannelError,
    DeadlockError,
    Goroutine,
    GoroutineCancelled,
    PanicError,
    RametError,
    Selection,
    WouldBlock,
    blocking,
    current,
    default,
    go,
    gosched,
    makechan,
    num_goroutines,
    readable,
    select,
    set_max_threads,
    stats,
    writable,
)
from ._report import default_excepthook as excepthook
from ._report import dump
from ._run import maintask, run

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Case",
    "Chan",
    "ChanClosed",
    "ChannelError",
    "DeadlockError",
    "Goroutine",
    "GoroutineCancelled",
    "PanicError",
    "RametError",
    "Selection",
    "WouldBlock",
    "blocking",
    "configure",
    "current",
    "default",
    "dump",
    "excepthook",
    "go",
    "gosched",
    "maintask",
    "makechan",
    "num_goroutines",
    "procs",
    "readable",
    "run",
    "select",
    "set_max_threads",
    "stats",
    "syscall",
    "writable",
]


def procs() -> int:
    """How many procs (OS threads that run goroutines) there are: one. Never parks. Any thread."""
    return 1


def syscall(fn: _Callable[..., _Any]) -> _Callable[..., _Any]:
    """Decorator: calls of `fn` run on a pool thread, as by blocking(). The call may park."""
    if not callable(fn):
        raise TypeError(f"syscall: fn must be callable, not {type(fn).__name__}")

    @_functools.wraps(fn)
    def call(*args: _Any, **kwargs: _Any) -> _Any:
        return blocking(fn, *args, **kwargs)

    return call


def __getattr__(name: str) -> _Any:
    # net imports socket: only who uses it pays for that
    if name in ("net", "time"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_report.install(_core)
