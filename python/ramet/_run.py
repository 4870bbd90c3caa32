"""run() and maintask: a program that is made of goroutines."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from . import _core

F = TypeVar("F", bound=Callable[..., Any])

_tasks: list[Callable[[], Any]] = []


def maintask(fn: F) -> F:
    """Decorator: start `fn` (without arguments) as a goroutine of the next run()."""
    if not callable(fn):
        raise TypeError(f"maintask: fn must be callable, not {type(fn).__name__}")
    _tasks.append(fn)
    return fn


def run(main: Callable[..., Any] | None = None, /, *args: Any, **kwargs: Any) -> Any:
    """Run `main` as the main goroutine and return its result; goroutines started within it that are still alive
    then are cancelled. Without `main`: run everything started by go() and @maintask until all have ended.

    May park. DeadlockError if what is left can never end. RuntimeError in a goroutine or in another run() of this
    thread. In an OS thread that is not the proc's, `main` runs as a goroutine and the thread waits for it.
    """
    if main is None:
        if args or kwargs:
            raise TypeError("run: arguments are given, but no function")
    elif not callable(main):
        raise TypeError(f"run: main must be callable, not {type(main).__name__}")

    def body(newest: int | None) -> Any:
        if newest is None:
            if main is None:
                raise RuntimeError("run() without a function belongs in the thread that runs the goroutines")
            return _core.go(main, *args, **kwargs).join()
        tasks = [_tasks.pop(0) for _ in range(len(_tasks))]  # another thread may be adding one
        for task in tasks:
            _core.go(task)
        if main is None:
            return _core._wait_all()
        try:
            return main(*args, **kwargs)
        finally:
            if not _core._cancel_since(newest):
                print("ramet: run() returns although goroutines that it cancelled have not ended", file=sys.stderr)

    return _core._in_run(body)
