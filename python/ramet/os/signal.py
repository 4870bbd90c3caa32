"""Signals as values on a channel.

    stop = ramet.Chan(1)
    signal.notify(stop, SIGINT, SIGTERM)
    print("got", stop.recv())

A signal is sent by a send that never blocks: give the channel room for as many as may come before you look. Python
handles signals in its main thread, so notify() and stop() work there alone: in main, and in goroutines, which run
in it (unless ramet was first used by another thread).
"""

import signal as _signal
from collections.abc import Callable as _Callable
from types import FrameType as _FrameType
from typing import Any as _Any

from .. import _core

__all__ = ["notify", "stop"]

# what means that the program has crashed: a handler in Python could never run, and ramet's own finds stack overflows
_FAULTS = {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL}
_REFUSED = {_signal.SIGKILL, _signal.SIGSTOP}

_Handler = _Callable[[int, _FrameType | None], _Any] | int | None

_channels: dict[int, tuple[_core.Chan[_Any], ...]] = {}  # the tuples are replaced, never changed: a handler may look
_previous: dict[int, _Handler] = {}


def _on_signal(signum: int, frame: _FrameType | None) -> None:
    value: int = signum
    try:
        value = _signal.Signals(signum)
    except ValueError:  # a real-time signal, most of which have no name
        pass
    for chan in _channels.get(signum, ()):
        try:
            chan.try_send(value)
        except _core.ChanClosed:
            pass


def _installed() -> list[tuple[str, str, str]]:
    """For debug.hooks()."""
    return [
        (f"handler of signal {number}", "sends it to the channels of notify()", "signal.signal")
        for number in sorted(_channels)
        if _signal.getsignal(number) is _on_signal
    ]


def _in_main_thread(what: str) -> None:
    import threading

    if _core._subinterpreter:
        raise RuntimeError(
            f"{what} works in the main interpreter only, which alone handles signals: call it there, and send on "
            "what it tells by concurrent.interpreters' queues or a pipe"
        )
    if threading.get_ident() != threading.main_thread().ident:
        raise RuntimeError(
            f"{what} works in the main OS thread only, where Python handles signals: call it in main or in a goroutine "
            "that runs there"
        )


def notify(chan: _core.Chan[_Any], *signums: int) -> None:
    """From now on send each of these signals to `chan`, as its signal.Signals value; with no signums, every signal
    that can be caught. It is dropped where the channel cannot take it at once, or is closed. Several channels may ask
    for one signal; each gets it. SIGINT then raises no KeyboardInterrupt.

    Never parks. Goroutines and the main thread; RuntimeError in another OS thread. ValueError for what is no signal or
    cannot be caught, and nothing is changed.
    """
    if not isinstance(chan, _core.Chan):
        raise TypeError(f"notify: chan must be a Chan, not {type(chan).__name__}")
    _in_main_thread("notify()")
    valid = _signal.valid_signals()
    for signum in signums:
        if not isinstance(signum, int):
            raise TypeError(f"notify: a signal must be an int or a signal.Signals, not {type(signum).__name__}")
        if signum not in valid or signum in _REFUSED:
            raise ValueError(f"notify: {signum!r} is no signal that can be caught")
        if signum in _FAULTS:
            raise ValueError(f"notify: {signum!r} means that the program has crashed: no handler of Python's would run")
    all_others = valid - _REFUSED - _FAULTS - {_core._preempt_signal()}
    for number in sorted(map(int, signums or all_others)):
        old = _channels.get(number, ())
        if not any(c is chan for c in old):
            _channels[number] = (*old, chan)
        if _signal.getsignal(number) is _on_signal:
            continue
        previous = _signal.getsignal(number)
        try:
            _signal.signal(number, _on_signal)
        except BaseException as e:
            _channels[number] = old
            if not old:
                del _channels[number]
            if not signums and isinstance(e, OSError):
                continue  # one that this system keeps for itself
            raise
        _previous[number] = previous


def stop(chan: _core.Chan[_Any]) -> None:
    """Send no more signals to `chan`. With its last channel a signal gets back the handler that it had before (the
    system's default, if that was not one of Python's), unless somebody has installed another since.

    Never parks. Goroutines and the main thread; RuntimeError in another OS thread.
    """
    if not isinstance(chan, _core.Chan):
        raise TypeError(f"stop: chan must be a Chan, not {type(chan).__name__}")
    _in_main_thread("stop()")
    for number, chans in list(_channels.items()):
        left = tuple(c for c in chans if c is not chan)
        if len(left) == len(chans):
            continue
        if left:
            _channels[number] = left
            continue
        previous = _previous.pop(number, None)
        if _signal.getsignal(number) is _on_signal:
            _signal.signal(number, _signal.SIG_DFL if previous is None else previous)
        del _channels[number]
