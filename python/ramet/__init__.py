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
from typing import TYPE_CHECKING as _TYPE_CHECKING
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
    Scope,
    Selection,
    WouldBlock,
    blocking,
    cancel_scope,
    current,
    default,
    go,
    gosched,
    makechan,
    move_on_after,
    no_preempt,
    num_goroutines,
    readable,
    select,
    set_max_threads,
    shield,
    stats,
    timeout,
    writable,
)
from ._report import default_excepthook as excepthook
from ._report import dump
from ._run import maintask, run

if _TYPE_CHECKING:  # at run time only for who uses them: see __getattr__
    from threading import local

    from ._structure import Executor, Group, as_completed, gather, wait

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Case",
    "Chan",
    "ChanClosed",
    "ChannelError",
    "DeadlockError",
    "Executor",
    "Goroutine",
    "GoroutineCancelled",
    "Group",
    "PanicError",
    "RametError",
    "Scope",
    "Selection",
    "WouldBlock",
    "as_completed",
    "blocking",
    "cancel_scope",
    "configure",
    "current",
    "default",
    "dump",
    "excepthook",
    "gather",
    "go",
    "gosched",
    "local",
    "maintask",
    "makechan",
    "move_on_after",
    "no_preempt",
    "num_goroutines",
    "procs",
    "readable",
    "run",
    "select",
    "set_max_threads",
    "shield",
    "stats",
    "syscall",
    "timeout",
    "wait",
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
    # these import socket, concurrent.futures, ...: only who uses them pays for that
    import importlib

    if name in ("context", "debug", "io", "net", "os", "sync", "time"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in ("Executor", "Group", "as_completed", "gather", "wait"):
        value = getattr(importlib.import_module(f"{__name__}._structure"), name)
    elif name == "local":
        from threading import local as value  # its values hang on the thread state's dict, which every goroutine has
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


_report.install(_core)
