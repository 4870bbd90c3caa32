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
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

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


SOON = 0.0005
TIMED_OUT = ("raised", TimeoutError)
indexes = st.integers(0, 9)


class Waits(RuleBasedStateMachine):
    """Goroutines of one operation each, in the order in which they came; expected outcomes by the subclass's model.

    Time limits run out only while the driver lets others run, in settle(). So what the driver does itself finds everybody
    as the model has them; but before a goroutine that it has just started comes to its operation, others' time may be up.
    """

    def __init__(self):
        super().__init__()
        self.waiting = []  # in the model
        self.finished = []  # in the model; looked at when all is quiet

    def start(self, op, *args, done, late=TIMED_OUT, limit=None, **what):
        """`done`: what it gives if it need not wait (None: it waits); `late`: once its time is up.

        An operation that matters to others has a function for it, which changes the model and is called without those whose
        time was up before.
        """
        a = Actor(op, *args)
        a.late, a.limit = late, limit
        vars(a).update(what)
        if callable(done):
            settle([a, *self.waiting, *self.finished])
            self.late_ones_go()
            done = done()
        if done is not None:
            self.finish(a, done)
        else:
            self.waiting.append(a)
        self.quiet()
        return a

    def finish(self, a, expected):
        if a in self.waiting:
            self.waiting.remove(a)
        a.expected = expected
        self.finished.append(a)

    def is_late(self, a):
        return a.limit is not None and a.outcome == a.late and a.took >= a.limit

    def late_ones_go(self):
        """The model, when all has settled."""
        while late := [a for a in self.waiting if self.is_late(a)]:
            for a in late:
                self.finish(a, a.late)
            for a in late:
                self.gone(a)

    def gone(self, a):
        """The model, when a waiter is cancelled or late."""

    def all_ran(self):
        """The model, when those that were cancelled or late have run."""

    @rule(i=indexes)
    def cancel(self, i):
        everyone = self.waiting + self.finished
        if not everyone:
            return
        a = everyone[i % len(everyone)]
        a.cancel()
        if a in self.waiting:
            self.finish(a, RAISED_CANCELLED)
            self.gone(a)

    @rule(late=st.booleans())
    def time_passes(self, late):
        if late:
            time.sleep(2 * SOON)
        else:
            while any(a.limit is not None and not a.done for a in self.waiting):
                ramet.time.sleep(SOON)
            self.quiet()

    @rule()
    def quiet(self):
        settle(self.waiting + self.finished)
        self.late_ones_go()
        self.all_ran()
        for a in self.finished:
            assert a.done and a.outcome == a.expected, (a, "expected", a.expected)
            assert a.g.exception() is None
        self.finished = []
        for a in self.waiting:
            assert a.g.state not in ("runnable", "running", "done"), a

    def teardown(self):
        self.quiet()
        end(self.waiting)
