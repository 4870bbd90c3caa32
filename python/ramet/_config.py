"""configure() and the RAMET_* variables of the environment."""

import os
import sys
from collections.abc import Callable

from . import _core

_MAX_STACK = 64 << 20
_interval = 0.010  # seconds that a goroutine may compute while others wait; tests shorten it: RAMET_PREEMPT_INTERVAL


def _int(option: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"configure: {option} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"configure: {option} must be between {low} and {high}, not {value}")
    return value


def _min_stack() -> int:
    # CPython 3.14 and later keep margins of their own on every C stack
    return 128 << 10


def configure(
    *,
    procs: int | None = None,
    preempt: bool | None = None,
    stack_size: int | None = None,
    max_threads: int | None = None,
    seed: int | None = None,
) -> None:
    """Set options, before the runtime is first used (then: RuntimeError that names the option). Never parks.

    - procs: OS threads that run goroutines; this release has one.
    - preempt: goroutines that compute for more than 10 ms are switched away from (default: no).
    - stack_size: bytes of a goroutine's C stack, rounded up to a power of two (128 KiB to 64 MiB; default 512 KiB).
    - max_threads: pool threads for blocking() at most (1 to 10,000; default 64); later: set_max_threads().
    - seed: of the random choices of select.

    The environment has the same as RAMET_PROCS, RAMET_PREEMPT (0 or 1), RAMET_STACK_SIZE,
    RAMET_MAX_THREADS, RAMET_SEED.
    """
    given = {}
    slice_ns = -1
    if procs is not None:
        given["procs"] = _int("procs", procs, 1, 1)
    if preempt is not None:
        if not isinstance(preempt, bool):
            raise TypeError(f"configure: preempt must be a bool, not {type(preempt).__name__}")
        given["preempt"] = preempt
        slice_ns = int(_interval * 1e9) if preempt else 0
    if stack_size is not None:
        given["stack_size"] = _int("stack_size", stack_size, _min_stack(), _MAX_STACK)
    if max_threads is not None:
        given["max_threads"] = _int("max_threads", max_threads, 1, 10_000)
    if seed is not None:
        given["seed"] = _int("seed", seed, 1, 2**64 - 1)
    if not given:
        return
    done = _core._configure(given.get("stack_size", 0), given.get("max_threads", 0), given.get("seed", 0), slice_ns)
    if not done:
        raise RuntimeError(f"configure: {', '.join(given)} can only be set before ramet is first used")


def _set_interval(seconds: float) -> None:
    global _interval
    if not 0.0001 <= seconds <= 10:
        raise ValueError("it must be seconds, between 0.0001 and 10")
    _interval = seconds


def _set_preempt(value: int) -> None:
    if value not in (0, 1):
        raise ValueError("it must be 0 or 1")
    configure(preempt=value == 1)


def _from_environment() -> None:
    settings: dict[str, Callable[[str], None]] = {
        "PROCS": lambda text: configure(procs=int(text, 0)),
        "PREEMPT_INTERVAL": lambda text: _set_interval(float(text)),
        "PREEMPT": lambda text: _set_preempt(int(text, 0)),
        "STACK_SIZE": lambda text: configure(stack_size=int(text, 0)),
        "MAX_THREADS": lambda text: configure(max_threads=int(text, 0)),
        "SEED": lambda text: configure(seed=int(text, 0)),
    }
    for option, set_it in settings.items():
        name = f"RAMET_{option}"
        text = os.environ.get(name)
        if not text or (option == "PREEMPT" and _core._subinterpreter):  # it is the process's, and cannot be had there
            continue
        try:
            set_it(text)
        except ValueError as e:
            print(f"ramet: {name}={text!r} is ignored: {e}", file=sys.stderr)


_from_environment()
