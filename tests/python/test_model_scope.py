"""Scopes against a model: a goroutine enters and leaves nested blocks as it is told, and anything is cancelled at any time.

The goroutine reads its next order from a channel under a shield of its own, so that an order is never what is cancelled;
the waits that it is ordered to do are.
"""

import pytest
import ramet
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from machines import profile, settle
from ramet import Cancelled, Chan, cancel_scope, move_on_after, shield, timeout
from ramet.time import monotonic, sleep

pytestmark = pytest.mark.long

LEAVE, WAIT, POINT, SWALLOW = "leave", "wait", "point", "swallow"
NOW = -1.0  # a deadline that has passed long since


class Puppet:
    """A goroutine that does as it is told: enter a block, leave it, wait, come to a cancellation point."""

    def __init__(self):
        self.orders, self.never, self.log = Chan(100), Chan(), []
        self.g = ramet.go(self.block)

    @property
    def done(self):
        return self.g.done()

    def order(self):
        with shield():
            return self.orders.recv()

    def block(self):
        while True:
            what = self.order()
            if what == LEAVE:
                return
            if what == WAIT:
                self.wait(self.never.recv)
            elif what == POINT:
                self.wait(ramet.gosched)
            elif what == SWALLOW:  # as bad code does: the next point has to raise again
                try:
                    self.wait(self.never.recv)
                except Cancelled:
                    pass
            else:
                self.nested(what)

    def wait(self, fn):
        self.log.append("waits")
        try:
            fn()
        except Cancelled:
            self.log.append("cancelled")
            raise
        self.log.append("done")

    def nested(self, scope):
        try:
            with scope:
                self.block()
        except TimeoutError:
            self.log.append("timed out")
        self.log.append(("left", scope.cancelled))


class Block:
    """The model of a scope."""

    def __init__(self, kind, scope):
        self.kind, self.scope = kind, scope
        self.cancelled = self.expired = False


class Scopes(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.puppet = Puppet()
        settle([self.puppet])
        self.blocks = []  # innermost last
        self.pending = False  # a cancel() of the goroutine
        self.held = False  # the same, behind a shield
        self.waits = None  # WAIT or SWALLOW
        self.woken = None  # from that by the cancellation that came first: of a "scope" or of the "goroutine"
        self.over = False
        self.expected = []

    # ---- the model

    def in_force(self, depth=None):
        """Whether the innermost of the first `depth` blocks is cancelled, by itself or from outside."""
        for b in reversed(self.blocks[:depth]):
            if b.cancelled:
                return True
            if b.kind is shield:
                return False
        return False

    def shielded(self):
        return any(b.kind is shield for b in self.blocks)

    def unwind(self, direct):
        """Cancelled goes up: `direct` if it is that of cancel(), which no scope swallows."""
        while self.blocks:
            b = self.blocks[-1]
            swallowed = not direct and b.cancelled and not self.in_force(len(self.blocks) - 1)
            self.leave()
            if swallowed:
                if b.kind is timeout and b.expired:
                    self.expected.append("timed out")
                self.expected.append(("left", True))
                return
        self.over = True

    def leave(self):
        self.blocks.pop()
        if self.held and not self.shielded():
            self.held, self.pending = False, True

    def point(self, swallow=False, blocks=True):
        """The goroutine comes to a cancellation point, or stands at one, where something may be pending."""
        if self.pending or self.in_force():
            direct = self.pending if self.woken is None else self.woken == "goroutine"
            if direct:
                self.pending = False
            self.waits = self.woken = None
            self.expected.append("cancelled")
            if not swallow:
                self.unwind(direct)
        elif not blocks:
            self.expected.append("done")
        else:
            self.waits = WAIT if not swallow else SWALLOW

    def came(self, more):
        """Something has been cancelled. `more`: something else will be, before the goroutine runs."""
        if self.waits and not self.woken:
            self.woken = "goroutine" if self.pending else "scope" if self.in_force() else None
        if not more:
            self.settle()

    def settle(self):
        """The goroutine does all it was ordered; then it waits for orders or for ever."""
        if self.waits:
            self.point(self.waits == SWALLOW)
        settle([self.puppet])
        assert self.puppet.log == self.expected
        assert self.puppet.g.done() is self.over
        if self.over:
            assert self.puppet.g.cancelled()
            self.begin()

    def tell(self, what):
        self.puppet.orders.send(what)

    # ---- the steps; each but `cancel` and its like is an order, which a goroutine that waits does not take

    @rule(
        kind=st.sampled_from([cancel_scope, shield, timeout, move_on_after]),
        first=st.sampled_from([None, None, "cancelled", "expired"]),
    )
    def enter(self, kind, first):
        if self.waits or len(self.blocks) == 6:
            return
        scope = kind(1000) if kind in (timeout, move_on_after) else kind()
        b = Block(kind, scope)
        if first == "cancelled":
            scope.cancel()
            b.cancelled = True
        elif first == "expired" and kind is not shield:
            scope.deadline = NOW
            b.cancelled = b.expired = True
        self.tell(scope)
        self.blocks.append(b)
        if b.kind is shield and self.pending:
            self.pending, self.held = False, True
        self.settle()

    @rule()
    def leave_block(self):
        if self.waits or not self.blocks:
            return
        self.tell(LEAVE)
        self.leave()
        self.expected.append(("left", False))
        self.settle()

    @rule(how=st.sampled_from([WAIT, WAIT, POINT, SWALLOW]))
    def come_to(self, how):
        if self.waits:
            return
        self.tell(how)
        self.expected.append("waits")
        self.point(how == SWALLOW, how != POINT)
        self.settle()

    @rule(i=st.integers(0, 5), how=st.sampled_from(["cancel", "cancel", "deadline", "later"]), more=st.booleans())
    def cancel(self, i, how, more):
        """Cancel a scope; `more`: and something else, before the goroutine runs."""
        if not self.blocks:
            return
        b = self.blocks[i % len(self.blocks)]
        if how == "cancel" or b.kind is shield:
            b.scope.cancel()
            b.cancelled = True
        elif how == "deadline":
            b.scope.deadline = NOW
            b.expired |= not b.cancelled
            b.cancelled = True
        else:  # the timer fires
            self.settle()
            if b not in self.blocks:
                return
            b.scope.deadline = monotonic() + 0.0005
            sleep(0.002)
            while not b.scope.cancel_called:
                sleep(0.0005)
            b.expired |= not b.cancelled
            b.cancelled = True
        assert b.scope.cancel_called
        self.came(more and how != "later")

    @rule(more=st.booleans())
    def cancel_the_goroutine(self, more):
        self.puppet.g.cancel()
        if self.shielded():
            self.held = True
        else:
            self.pending = True
        self.came(more)

    @rule(i=st.integers(0, 5))
    def put_off(self, i):
        """A deadline that is moved away, or taken away, has no effect; nor has one set after the cancel."""
        if self.blocks and (b := self.blocks[i % len(self.blocks)]).kind is not shield:
            b.scope.deadline = None if i % 2 else monotonic() + 1000
            self.settle()

    def teardown(self):
        if hasattr(self, "puppet"):
            self.settle()
            self.puppet.orders.close()
            self.puppet.never.close()
            settle([self.puppet])
            assert self.puppet.g.done() and self.puppet.g.exception()


def test_scopes_against_the_model():
    run_state_machine_as_test(Scopes, settings=profile(200))
