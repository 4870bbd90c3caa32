"""To find out what a program is doing: what ramet has installed, who keeps the proc, who waits for ever.

    debug.blocked_threshold(0.1)
    for hook in debug.hooks():
        print(hook.name, hook.where)

What every goroutine is doing is told by ramet.dump().
"""

import gc as _gc
import linecache as _linecache  # noqa: F401  the report of a hog uses it, on a thread where nothing should be imported
import math as _math
import sys as _sys
from typing import Any as _Any

from . import _core, _report

__all__ = ["Hook", "blocked_threshold", "hooks", "leaks"]


class Hook:
    """One thing that ramet has installed in this process: its `name`, `what` it is for, and `where` it is."""

    def __init__(self, name: str, what: str, where: str) -> None:
        self.name, self.what, self.where = name, what, where

    def __repr__(self) -> str:
        return f"<Hook {self.name!r}: {self.what}: {self.where}>"

    name = what = where = ""


def hooks() -> list[Hook]:
    """Everything that ramet has installed in this process and that is there now: handlers, hooks, threads, descriptors.

    Empty after the import; the first go() or the first wait installs what the runtime needs. Derived from what is
    there, so that what somebody has replaced since is not listed. Only what a forked child runs, and the handler of the
    exit, cannot be asked for: they are listed once they have been registered. Never parks. Any thread.
    """
    found = _core._hooks() + _report._registered
    if _core._leaks_after in _gc.callbacks:
        found.append(("leak finder", "looks for leaked goroutines after a full collection", "gc.callbacks"))
    for name in ("ramet._imports", "ramet._greenlets", "ramet.os.signal"):
        module = _sys.modules.get(name)
        if module is not None:
            found += module._installed()
    return [Hook(*hook) for hook in found]


_threshold: float | None = None


def blocked_threshold(seconds: float | None) -> float | None:
    """From now on report on stderr, with its name and its stack, a goroutine that keeps its proc for longer than that
    without a switch, so that the others wait: once each time. None or 0: no more. Returns what it was before.

    A thread looks every 10 ms. It needs the GIL to report: where a call in C keeps that, the report comes when the call
    is over, and names the line that it was on unless there has been a switch by then. Main counts as well, while there
    are other goroutines. Starts nothing by itself. Never parks. Any thread.
    """
    global _threshold
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"blocked_threshold: seconds must be an int, a float or None, not {type(seconds).__name__}")
        if not 0 <= seconds < _math.inf:
            raise ValueError(f"blocked_threshold: seconds must be zero or more, and finite, not {seconds}")
    before, _threshold = _threshold, seconds or None
    _core._blocked_threshold(seconds or 0)
    return before


def leaks() -> list[_core.Goroutine[_Any]]:
    """The leaked goroutines: those that wait for what nobody can bring any more, because channel, object of ramet.sync
    or goroutine, whatever it is, is referred to by leaked goroutines only, and so are their own handles.

    Only looks, after a full garbage collection: nothing is cancelled, and the handles in the list are handles, so that
    these goroutines are not leaked as long as you have them. Without this function every full collection (gc.collect()
    or one that comes of itself) is followed by a look, and those that it finds are cancelled: each reports itself
    in a ResourceWarning, once. One that is found is leaked, but not every leaked one is found: none that waits with
    a timeout, in a scope or for a descriptor, and none whose objects C code holds. Main never is. Parks only if a
    finalizer does. Any thread.
    """
    return _core._leaks()
