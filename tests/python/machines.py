"""What the tests by state machine share: goroutines that do one operation each, and when all is quiet.

One goroutine, the test's, drives; every operation that may wait runs in a goroutine of its own. Nothing else runs
goroutines, so once all of them have ended or wait, what has happened is determined by the steps alone, and can be
compared with a model.
"""

import os
import time

import ramet
from helpers import SLOW
from hypothesis import HealthCheck, settings

EXAMPLES = (10 if SLOW else 1) * int(os.environ.get("RAMET_EXAMPLES", "1"))  # times as many examples


def profile(examples, steps=40):
    """Settings that hold on a loaded machine: no deadline, and without RAMET_SLOW=1 the same examples every time."""
    return settings(
        max_examples=examples * EXAMPLES,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not SLOW,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


class Actor:
    """A goroutine that does one operation."""

    def __init__(self, op, *args, **kwargs):
        self.what = (getattr(op, "__name__", str(op)), args)
        self.outcome = self.took = None
        self.began = time.monotonic()
        self.g = ramet.go(self._run, op, args, kwargs)

    def __repr__(self):
        return f"<{self.what[0]}{self.what[1]}: {self.outcome or self.g.state}>"

    def _run(self, op, args, kwargs):
        self.outcome = outcome(op, *args, **kwargs)
        self.took = time.monotonic() - self.began

    @property
    def done(self):
        return self.g.done()

    def cancel(self):
        self.g.cancel()


def outcome(op, *args, **kwargs):
    """What came of a call: its value, or the type of what it raised."""
    try:
        return ("returned", op(*args, **kwargs))
    except BaseException as e:
        return ("raised", type(e))


RAISED_CANCELLED = ("raised", ramet.Cancelled)


def settle(actors, turns=10_000):
    """Let all run until each has ended or waits."""
    for _ in range(turns):
        ramet.gosched()
        if all(a.done or a.g.state not in ("runnable", "running") for a in actors):
            return
    raise AssertionError(f"no end of running: {[a for a in actors if not a.done]}")


def end(actors):
    """The machine is torn down: cancel whoever waits, and see that it ends."""
    for a in actors:
        a.cancel()
    settle(actors)
    left = [a for a in actors if not a.done]
    assert not left, f"cancelled, and still there: {left}"
