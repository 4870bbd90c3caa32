"""What the runtime tells people: dump, the deadlock report, unhandled exceptions, main blocking elsewhere."""

import atexit
import gc
import os
import sys
from types import ModuleType
from typing import Any, TextIO

from . import _core, _greenlets, _imports


def _stack_lines(frames: "_Frames") -> list[str]:
    import linecache

    lines = []
    for filename, lineno, name in reversed(frames):
        lines.append(f'    File "{filename}", line {lineno}, in {name}\n')
        source = linecache.getline(filename, lineno).strip()
        if source:
            lines.append(f"      {source}\n")
    return lines


_Frames = list[tuple[str, int, str]]
_Info = tuple[str, Any, float | None, int]


def describe(g: _core.Goroutine, info: _Info | None = None, frames: _Frames | None = None) -> str:
    """One goroutine: number, name, state, object, age, creator, Python stack."""
    state, obj, age, creator = info or _core._wait_info(g)
    text = f"goroutine {g.id} {g.name!r} [{state}"
    if obj is not None:
        try:
            text += f" {obj!r}"
        except Exception as e:  # a subclass's repr is not ours to trust
            text += f" <{type(obj).__name__}: repr failed: {e!r}>"
    if age is not None:
        text += f", {age:.1f} s"
    text += "]"
    if creator:
        text += f", started by goroutine {creator}" + _at(g._born())
    return text + ":\n" + "".join(_stack_lines(g._frames() if frames is None else frames))


def _at(place: tuple[str, int, str] | None) -> str:
    return f' at File "{place[0]}", line {place[1]}, in {place[2]}' if place else ""


def describe_all(main: tuple[_core.Goroutine, _Info, _Frames] | None = None) -> str:
    others = [g for g in _core._goroutines() if main is None or g is not main[0]]
    texts = [describe(*main)] if main else []
    return "\n".join(texts + [describe(g) for g in sorted(others, key=lambda g: g.id)])


def dump(file: TextIO | None = None) -> None:
    """Write every goroutine to `file` (default stderr): number, name, state, object, age, stack.

    Never parks. Any thread.
    """
    print(describe_all(), file=sys.stderr if file is None else file)


def default_excepthook(goroutine: Any, exc: BaseException) -> None:
    """Called with an exception that nobody can collect any more. To replace it, assign to ramet.excepthook.

    This one prints the traceback, headed by the goroutine's name and birthplace. `goroutine` may be None.
    """
    head = "goroutine"
    if goroutine is not None:
        head = f"goroutine {goroutine.id} {goroutine.name!r}"
        born = _at(goroutine._born())
        if born:
            head += f" (started{born})"
    head = f"ramet: exception in {head}, which nobody joins:\n"
    if sys.is_finalizing():  # nothing can be imported any more
        print(head, file=sys.stderr, end="")
        sys.__excepthook__(type(exc), exc, exc.__traceback__)
        return
    import traceback

    print(head + "".join(traceback.format_exception(exc)), file=sys.stderr, end="", flush=True)


def _deadlock_text(main: tuple[_core.Goroutine, _Info, _Frames]) -> str:
    return "all goroutines wait for what nothing can bring\n\n" + describe_all(main)


def _report_leak(waiting: tuple[_core.Goroutine, _Info, _Frames]) -> None:
    import warnings

    text = "nobody can wake this goroutine any more, and it is cancelled: " + describe(*waiting)
    warnings.warn(text.rstrip("\n"), ResourceWarning, stacklevel=2)


def _report_doubt() -> None:
    notifying = sys.modules.get("ramet.os.signal")
    if notifying is not None and notifying._channels:  # to wait for a signal is what this program does
        return
    print(
        "ramet: every goroutine has been waiting for 10 seconds, and only another thread or a signal handler could "
        "wake one: perhaps a deadlock\n\n" + describe_all(),
        file=sys.stderr,
        flush=True,
    )


def _report_left() -> None:
    left = [g for g in _core._goroutines() if g.state != "running"]  # not who reports
    print(
        "ramet: at exit, goroutines that did not end within 2 seconds are dropped:\n"
        + "\n".join(describe(g) for g in sorted(left, key=lambda g: g.id)),
        file=sys.stderr,
    )


def _report_blocked(seconds: float, g: _core.Goroutine | None, frames: _Frames) -> None:
    where = 'File "{}", line {}, in {}'.format(*frames[0]) if frames else "?"
    if g is None:
        who, others = "the main thread", "goroutines"
        advice = "they run only while main is inside ramet: wrap the call in ramet.blocking(), or use ramet's own"
    else:
        who, others = f"goroutine {g.id} {g.name!r}", "others"
        advice = (
            "while a lock of the threading module is waited for the others run, but seldom, and else not at all: "
            "use ramet.sync, or ramet.blocking()"
        )
    outside = "outside ramet" if g is None else "its OS thread"
    text = f"ramet: {who} has been blocking {outside} for {seconds:.0f} s while {others} wait: {where}\nramet: {advice}"
    print(text, file=sys.stderr, flush=True)


def _report_hog(id: int, name: str | None, seconds: float, oncpu: bool, frames: _Frames) -> None:
    who = name or ("main" if id == 1 else f"goroutine-{id}")
    how = "using the CPU" if oncpu else "blocked outside ramet"
    print(
        f"ramet: goroutine {id} {who!r} has kept its proc for {seconds:.2f} s without a switch, {how}:\n"
        + "".join(_stack_lines(frames)),
        file=sys.stderr,
        end="",
        flush=True,
    )


_registered: list[tuple[str, str, str]] = []  # for debug.hooks(): what cannot be asked for
_used = False


def _serve_threads() -> None:
    """Before the handlers of the exit main waits for threads that are no daemons: let goroutines run meanwhile."""
    import threading

    shutdown = threading._shutdown  # type: ignore[attr-defined]

    def _shutdown() -> None:
        atexits = threading._threading_atexits  # type: ignore[attr-defined]
        main = threading.main_thread()
        if _core._on_proc() and (atexits or any(t is not main and not t.daemon for t in threading.enumerate())):
            if sys.version_info < (3, 13):  # main is among those that it would wait for
                with threading._shutdown_locks_lock:  # type: ignore[attr-defined]
                    threading._shutdown_locks.discard(main._tstate_lock)  # type: ignore[attr-defined]
            waits = _core.go(_core.blocking, shutdown)
            while not waits.done():
                try:
                    waits.join()
                except SystemExit:  # of a goroutine; the program ends already
                    pass
            atexits.clear()  # they have been called
        shutdown()

    threading._shutdown = _shutdown  # type: ignore[attr-defined]
    _registered.append(
        ("wait for threads", "goroutines run while main waits for threads at the exit", "threading._shutdown")
    )


def _at_exit() -> None:
    if _core._leaks_after in gc.callbacks:  # what is there keeps the memory of an interpreter that is gone
        gc.callbacks.remove(_core._leaks_after)
    _core._shutdown()


def _first_use() -> None:
    """Imports nothing that is not there: a thread that forks meanwhile has a child that would wait for it for ever."""
    global _used
    if _used:  # in a forked child: these are inherited
        return
    _registered.clear()  # of a first use that a fork has cut off
    if _core._preempt_signal():
        _imports.install()
        atexit.register(_imports.uninstall)  # after the goroutines, which _shutdown ends
    atexit.register(_at_exit)
    _registered.append(("exit handler", "ends the goroutines and the threads", "atexit"))
    if _core._leaks_after not in gc.callbacks:
        gc.callbacks.append(_core._leaks_after)
    if not _core._subinterpreter:  # it cannot fork, and what it has registered would keep its memory when it is gone
        _greenlets.install()
        if _core._on_proc():
            _serve_threads()
        os.register_at_fork(before=_core._before_fork, after_in_parent=_core._after_fork_in_parent)
        _registered.append(("fork handler", "gives a forked child a runtime of its own", "os.register_at_fork"))
    _used = True


def install(core: ModuleType) -> None:
    """Give the extension the functions it calls by name."""
    for fn in (_deadlock_text, _report_leak, _report_doubt, _report_left, _report_blocked, _report_hog, _first_use):
        setattr(core, fn.__name__, fn)
