"""What several test files use: time bounds, waiting for goroutines to park, programs in processes of their own."""

import os
import subprocess
import sys
import sysconfig
import time

import ramet

TSAN = "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or "")  # some ten times slower
T = 100.0 if TSAN else 60.0  # what "for ever" is in a test
SLOW = os.environ.get("RAMET_SLOW") == "1"


# recursed() calls itself through C until that raises
RECURSED = """
def deeper(n):
    return [*map(deeper, [n + 1])]

def recursed():
    try:
        deeper(0)
    except RecursionError:
        return "caught"
"""


class Thing:
    """Something that can be referred to weakly."""


def parked(*gs, state=None, seconds=T):
    """Let the others run until every one of gs waits (in that state)."""
    end = time.monotonic() + seconds
    while True:
        states = [g.state for g in gs]
        if all(s == state if state else s not in ("runnable", "running") for s in states):
            return
        assert time.monotonic() < end, f"not parked: {states}"
        ramet.time.sleep(0.001)


def until(condition, seconds=T, sleep=time.sleep):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        sleep(0.001)


def inside(fn, *args):
    """fn's result, called in a goroutine."""
    return ramet.go(fn, *args).join(T)


def together(*fns):
    """All of them in goroutines; their results."""
    return [g.join(T) for g in [ramet.go(fn) for fn in fns]]


def environment(**env):
    """The environment of a program: ours, without what configures ramet, and with what is given."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("RAMET_")}
    mine.update({"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"})
    mine.update(env)
    return mine


def start_py(code, *args, env=None, **options):
    """Start a program; its output goes to pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**(env or {})),
        **options,
    )


class Ended:
    """How a program ended."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    @property
    def complaints(self):
        """Its stderr, but for the report that main blocks outside ramet: what it waits for takes long on a loaded machine."""
        report = (
            "ramet: the main thread has been blocking outside ramet",
            "ramet: they run only while main is inside ramet",
        )
        return "".join(line for line in self.err.splitlines(keepends=True) if not line.startswith(report))

    def __str__(self):
        return f"status {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def finish(p, status=0, timeout=T, began=None):
    """Wait for a program and check its status (None: any)."""
    began = began or time.monotonic()
    try:
        out, err = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        raise AssertionError(f"it hangs\n--- stdout\n{out}\n--- stderr\n{err}") from None
    ended = Ended(p.returncode, out, err, time.monotonic() - began)
    assert status is None or p.returncode == status, str(ended)
    return ended


def run_py(code, *args, status=0, timeout=T, env=None, **options):
    """Run a program in a process of its own and check its status."""
    return finish(start_py(code, *args, env=env, **options), status, timeout, time.monotonic())


# of programs whose goroutines compute in turn
TURNS = """\
stop, last, order = [], [None], []

def turn(me):
    # called by goroutine `me` again and again: `order` is the order of the turns
    if last[0] != me:
        last[0] = me
        order.append(me)

def hog(me=0):
    while not stop:
        turn(me)"""
