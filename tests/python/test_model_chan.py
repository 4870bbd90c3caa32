"""Channels and select against a model of Go's rules.

Every step is atomic: what it makes ready runs only when the machine settles, and what happens to a waiter between its
wake-up and its next turn (a cancellation, a close, another taker) must not change what it was woken with.
"""

import time
from collections import deque

import pytest
import ramet
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from machines import RAISED_CANCELLED, Actor, end, outcome, profile, settle
from ramet import Chan, ChanClosed, WouldBlock, default

pytestmark = pytest.mark.long

RECV, SEND = "recv", "send"
CLOSED = ("raised", ChanClosed)
TIMED_OUT = ("raised", TimeoutError)


class Boom(Exception):
    """What send_exception sends; each is a class of its own, as the outcome tells the class."""


def boom(n):
    return type(f"Boom{n}", (Boom,), {})


# ---- the model -------------------------------------------------------------------------------------------------------------


class Waiter:
    """A goroutine that waits in `cases`, pairs or triples of direction, model channel and value."""

    def __init__(self, how, cases, actor, timed):
        self.how, self.cases, self.actor, self.timed = how, cases, actor, timed
        self.expected = None  # outcomes, any of which it may have: None while it waits

    def __repr__(self):
        return f"<{self.how} {self.actor} expected {self.expected}>"


class Unsure:
    """What a select has sent that offered several values to one channel: known when it tells which."""

    def __init__(self, waiter, indexes):
        self.waiter, self.indexes = waiter, indexes

    def resolve(self):
        kind, what = self.waiter.actor.outcome or ("waits", None)
        sent = kind == "returned" and what[0] in self.indexes
        return self.waiter.cases[what[0]][2] if sent else self  # equal to nothing: it did something else


def known(v):
    return v.resolve() if isinstance(v, Unsure) else v


class Model:
    def __init__(self, cap):
        self.cap, self.buf, self.closed = cap, deque(), False
        self.recvq, self.sendq = [], []

    def ready(self, direction):
        if self.closed:
            return True
        return bool(self.buf or self.sendq) if direction == RECV else bool(len(self.buf) < self.cap or self.recvq)

    def peek(self):
        """What a receive would get now: (value, ok)."""
        if self.buf:
            return self.buf[0], True
        return (self.offered(self.sendq[0]), True) if self.sendq else (None, False)

    def offered(self, w):
        at = [i for i, (d, c, _) in enumerate(w.cases) if c is self and d == SEND]
        return w.cases[at[0]][2] if len(at) == 1 else Unsure(w, at)

    def take(self):
        v, ok = self.peek()
        if self.buf:
            self.buf.popleft()
        if self.sendq:
            w = self.sendq[0]
            if len(self.buf) < self.cap:
                self.buf.append(self.offered(w))
            finish(w, self, SEND, None, True)
        return v, ok

    def put(self, v):
        if self.recvq:
            finish(self.recvq[0], self, RECV, v, True)
        else:
            self.buf.append(v)

    def close(self):
        self.closed = True
        while self.recvq:
            finish(self.recvq[0], self, RECV, None, False)
        while self.sendq:
            finish(self.sendq[0], self, SEND, None, False)


def wait(w):
    for d, c, _ in w.cases:
        q = c.recvq if d == RECV else c.sendq
        if w not in q:
            q.append(w)


def leave(w):
    for d, c, _ in w.cases:
        q = c.recvq if d == RECV else c.sendq
        if w in q:
            q.remove(w)


def finish(w, chan, direction, v, ok):
    leave(w)
    w.expected = [
        lambda i=i: told(w.how, i, direction, v, ok)
        for i, (d, c, _) in enumerate(w.cases)
        if c is chan and d == direction
    ]


def told(how, i, direction, v, ok):
    """The outcome of an operation."""
    v = known(v)
    if isinstance(v, type):
        return ("raised", v)
    if direction == SEND:
        if not ok:
            return CLOSED
        return ("returned", (i, None, True) if how == "select" else None)
    if how == "select":
        return ("returned", (i, v, ok))
    if how == "recv_ok":
        return ("returned", (v, ok))
    return ("returned", v) if ok else ("raised", StopIteration) if how == "next" else CLOSED


# ---- the machine ------------------------------------------------------------------------------------------------------------


def do_recv(c, timeout=None):
    return c.recv(timeout)


def do_recv_ok(c, timeout=None):
    return c.recv_ok(timeout)


def do_next(c, timeout=None):
    return next(c)


def do_send(c, v, timeout=None):
    if isinstance(v, type):
        return c.send_exception(v)
    return c.send(v, timeout)


def do_select(cases, timeout=None):
    s = ramet.select(*cases, timeout=timeout)
    return s.index, s.value, s.ok


indexes = st.integers(0, 9)
shapes = st.lists(st.tuples(st.sampled_from([RECV, SEND]), st.integers(0, 2)), min_size=1, max_size=10)


class Channels(RuleBasedStateMachine):
    @initialize(caps=st.lists(st.integers(0, 3), min_size=1, max_size=3))
    def begin(self, caps):
        self.chans = [(Chan(n), Model(n)) for n in caps]
        self.waiters = []  # and those that have finished since the last settling
        self.checks = []  # pairs of functions: expected outcomes, any of which, and the outcome
        self.n = 0

    def pick(self, i):
        return self.chans[i % len(self.chans)]

    def value(self):
        self.n += 1
        return self.n

    def settle(self):
        settle([w.actor for w in self.waiters])
        for w in self.waiters:
            if w.expected is None and w.timed and w.actor.outcome == TIMED_OUT:
                leave(w)
                w.expected = [lambda: TIMED_OUT]

    def check(self):
        for w in self.waiters:
            if w.expected is None:
                states = {"recv": "chan receive", "send": "chan send", "select": "select"}
                assert w.actor.g.state == states[w.how if w.how in states else "recv"], w
            else:
                assert w.actor.done and w.actor.outcome in [e() for e in w.expected], (
                    w,
                    [e() for e in w.expected],
                )
                assert w.actor.g.exception() is None
        for expected, got in self.checks:
            assert got in [e() for e in expected], ([e() for e in expected], got)
        self.waiters = [w for w in self.waiters if w.expected is None]
        self.checks = []

    def start(self, how, cases, op, *args, timeout=None):
        """A goroutine that does op; if it need not wait, what it did is what one of its cases would do."""
        actor = Actor(op, *args, timeout=timeout)
        w = Waiter(how, cases, actor, timeout is not None)
        self.waiters.append(w)
        self.apply(w, lambda: wait(w))

    def apply(self, w, otherwise):
        """An operation has been done, or tried: do in the model what it tells that it did."""
        settle([w.actor for w in self.waiters])
        for other in self.waiters:  # before anything else: that makes nothing possible for anybody
            if other is not w and other.expected is None and other.timed and other.actor.outcome == TIMED_OUT:
                leave(other)
                other.expected = [lambda: TIMED_OUT]
        self.choose(w, otherwise)
        self.settle()
        self.check()

    def choose(self, w, otherwise):
        ready = [(i, d, c, v) for i, (d, c, v) in enumerate(w.cases) if c.ready(d)]
        if not ready:
            return otherwise()
        did = [(told(w.how, i, d, *(c.peek() if d == RECV else (None, not c.closed))), d, c, v) for i, d, c, v in ready]
        same = [x for x in did if x[0] == w.actor.outcome]
        assert same, (w, "could have been", [x[0] for x in did])
        result, d, c, v = same[0]
        if d == RECV:
            c.take()
        elif not c.closed:
            c.put(v)
        w.expected = [lambda: result]

    # ---- goroutines that wait

    @rule(i=indexes, how=st.sampled_from(["recv", "recv_ok", "next"]), timed=st.booleans())
    def receiver(self, i, how, timed):
        chan, model = self.pick(i)
        op = {"recv": do_recv, "recv_ok": do_recv_ok, "next": do_next}[how]
        timeout = 0.0005 if timed and how != "next" else None
        self.start(how, [(RECV, model, None)], op, chan, timeout=timeout)

    @rule(i=indexes, kind=st.sampled_from(["value", "value", "timed", "exception"]))
    def sender(self, i, kind):
        chan, model = self.pick(i)
        v = boom(self.value()) if kind == "exception" else self.value()
        self.start("send", [(SEND, model, v)], do_send, chan, v, timeout=0.0005 if kind == "timed" else None)

    # ---- what the driver does itself, which never lets anybody run

    @rule(i=indexes)
    def try_send(self, i):
        chan, model = self.pick(i)
        v = self.value()
        got = outcome(chan.try_send, v)
        if model.closed:
            expected = CLOSED
        else:
            expected = ("returned", model.ready(SEND))
            if model.ready(SEND):
                model.put(v)
        assert got == expected

    @rule(i=indexes)
    def try_recv(self, i):
        chan, model = self.pick(i)
        got = outcome(chan.try_recv)
        if not model.ready(RECV):
            assert got == ("raised", WouldBlock)
            return
        v, ok = model.take()
        self.checks.append(([lambda: told("recv_ok", 0, RECV, v, ok)], got))

    @rule(i=indexes)
    def close(self, i):
        chan, model = self.pick(i)
        got = outcome(chan.close)
        assert got == (CLOSED if model.closed else ("returned", None))
        if not model.closed:
            model.close()

    @rule(i=indexes)
    def reopen(self, i):
        """Another one in the place of a closed channel, so that not all is over too soon."""
        chan, model = self.pick(i)
        if model.closed:
            cap = self.n % 4
            self.chans[i % len(self.chans)] = (Chan(cap), Model(cap))

    @rule(i=indexes)
    def cancel(self, i):
        if not self.waiters:
            return
        w = self.waiters[i % len(self.waiters)]
        w.actor.cancel()
        if w.expected is None:
            leave(w)
            w.expected = [lambda: RAISED_CANCELLED]
        else:
            w.timed = False

    @rule(late=st.booleans())
    def time_passes(self, late):
        """`late`: it passes while nobody looks at the timers, and a step finds waiters whose time is up."""
        if late:
            time.sleep(0.001)
            return
        for w in self.waiters:
            while w.timed and w.expected is None and w.actor.outcome != TIMED_OUT:
                ramet.time.sleep(0.0005)
                if w.actor.done:
                    break
        self.settle()

    @rule()
    def settled(self):
        self.settle()
        self.check()

    @invariant()
    def what_can_be_seen(self):
        for chan, model in getattr(self, "chans", []):
            assert (len(chan), chan.capacity, chan.closed) == (len(model.buf), model.cap, model.closed)

    def teardown(self):
        if hasattr(self, "chans"):
            self.settle()
            self.check()
            end([w.actor for w in self.waiters])
            assert all(w.actor.outcome in (RAISED_CANCELLED, TIMED_OUT) for w in self.waiters)


class Selects(Channels):
    """Besides: selects of several cases, the same channel twice, in both directions, closed ones."""

    def cases(self, shape):
        ours, models = [], []
        for d, i in shape:
            chan, model = self.pick(i)
            v = self.value() if d == SEND else None
            ours.append(chan.if_send(v) if d == SEND else chan.if_recv() if i else chan)
            models.append((d, model, v))
        return ours, models

    @rule(shape=shapes, timed=st.booleans())
    def select(self, shape, timed):
        ours, models = self.cases(shape)
        self.start("select", models, do_select, ours, timeout=0.0005 if timed else None)

    @rule(shape=shapes, at=indexes)
    def select_default(self, shape, at):
        ours, models = self.cases(shape)
        at %= len(ours) + 1
        ours.insert(at, default)
        models.insert(at, (RECV, Model(0), None))  # never ready
        self.settle()  # so that what it gets is known
        self.check()
        done = Waiter("select", models, None, False)
        done.actor = Driven(do_select, ours)

        def otherwise():
            assert done.actor.outcome == ("returned", (at, None, True))

        self.apply(done, otherwise)


class Driven:
    """An operation that the driver does itself."""

    def __init__(self, op, *args):
        self.what, self.outcome = (op.__name__, args), outcome(op, *args)


def test_channels_against_the_model():
    run_state_machine_as_test(Channels, settings=profile(150))


def test_selects_against_the_model():
    run_state_machine_as_test(Selects, settings=profile(150))
