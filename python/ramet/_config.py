"""configure() and the RAMET_* variables of the environment."""

import os
import sys

from . import _core

_MAX_STACK = 64 << 20


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
    stack_size: int | None = None,
    max_threads: int | None = None,
    seed: int | None = None,
) -> None:
    """Set options, before the runtime is first used (then: RuntimeError that names the option). Never parks.

    - procs: OS threads that run goroutines; this release has one.
    - stack_size: bytes of a goroutine's C stack, rounded up to a power of two (128 KiB to 64 MiB; default 512 KiB).
    - max_threads: pool threads for blocking() at most (1 to 10,000; default 64); later: set_max_threads().
    - seed: of the random choices of select.

    The environment has the same as RAMET_PROCS, RAMET_STACK_SIZE, RAMET_MAX_THREADS, RAMET_SEED.
    """
    given = {}
    if procs is not None:
        given["procs"] = _int("procs", procs, 1, 1)
    if stack_size is not None:
        given["stack_size"] = _int("stack_size", stack_size, _min_stack(), _MAX_STACK)
    if max_threads is not None:
        given["max_threads"] = _int("max_threads", max_threads, 1, 10_000)
    if seed is not None:
        given["seed"] = _int("seed", seed, 1, 2**64 - 1)
    if not given:
        return
    done = _core._configure(given.get("stack_size", 0), given.get("max_threads", 0), given.get("seed", 0))
    if not done:
        raise RuntimeError(f"configure: {', '.join(given)} can only be set before ramet is first used")


def _from_environment() -> None:
    for option in ("procs", "stack_size", "max_threads", "seed"):
        name = f"RAMET_{option.upper()}"
        text = os.environ.get(name)
        if not text:
            continue
        try:
            configure(**{option: int(text, 0)})
        except ValueError as e:
            print(f"ramet: {name}={text!r} is ignored: {e}", file=sys.stderr)


_from_environment()
