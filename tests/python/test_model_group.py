"""Trees of Groups against a model: leaves return, fail or are shielded as they are told, groups are cancelled at any time."""

import pytest
import ramet
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from machines import Actor, profile, settle
from ramet import Cancelled, Chan, Group

pytestmark = pytest.mark.long

RETURNED, FAILED, CANCELLED = "returned", "failed", "cancelled"


class Boom(Exception):
    pass


class Leaf:
    """Waits for its order."""

    def __init__(self, shielded):
        self.shielded, self.orders = shielded, Chan(1)
        self.came = self.expected = None
        self.failures = set()

    def run(self):
        try:
            if self.shielded:
                with ramet.shield():
                    self.obey()
                ramet.gosched()
            else:
                self.obey()
            self.came = RETURNED
        except BaseException as e:
            self.came = CANCELLED if isinstance(e, Cancelled) else FAILED
            raise

    def obey(self):
        if self.orders.recv() == FAILED:
            raise Boom(id(self))

    def told(self, order, cancelled):
        self.orders.send(order)
        if order == FAILED:
            self.failures = {id(self)}
        self.expected = CANCELLED if cancelled and order == RETURNED else order

    def resolve(self, cancelled):
        if self.expected is None and cancelled and not self.shielded:
            self.expected = CANCELLED


class Node:
    """A Group whose members are its children, and which may catch what fails in it."""

    def __init__(self, catches, children):
        self.catches, self.children = catches, children
        self.came = self.expected = None
        self.cancelled = False
        self.failures = set()

    def run(self):
        try:
            self.within()
            self.came = RETURNED
        except BaseException as e:
            self.came = CANCELLED if isinstance(e, Cancelled) else FAILED
            raise

    def within(self):
        try:
            with Group() as self.group:
                for child in self.children:
                    self.group.go(child.run)
        except BaseExceptionGroup as e:
            assert leaves(e) == self.failures, (leaves(e), self.failures)
            if not self.catches:
                raise

    def resolve(self, cancelled):
        """What is to happen now to it and all below; `cancelled`: from outside."""
        while self.expected is None:
            for child in self.children:
                child.resolve(cancelled or self.cancelled)
            self.failures = set().union(*(c.failures for c in self.children if c.expected == FAILED))
            if self.failures and not self.cancelled:
                self.cancelled = True
                continue
            if any(c.expected is None for c in self.children):
                return
            if self.failures:
                self.expected = RETURNED if self.catches else FAILED
            else:
                self.expected = CANCELLED if cancelled else RETURNED


def leaves(e):
    return set().union(*map(leaves, e.exceptions)) if isinstance(e, BaseExceptionGroup) else {e.args[0]}


def walk(node, cancelled=False):
    """All nodes and leaves, each with whether something above has been cancelled."""
    yield node, cancelled
    for child in getattr(node, "children", ()):
        yield from walk(child, cancelled or node.cancelled)


def made(shape):
    return Leaf(shape) if isinstance(shape, bool) else Node(shape[0], [made(s) for s in shape[1]])


def group_of(shapes):
    return st.tuples(st.booleans(), st.lists(shapes, max_size=3))


shapes = group_of(st.recursive(st.booleans(), group_of, max_leaves=8))


class Groups(RuleBasedStateMachine):
    @initialize(shape=shapes)
    def begin(self, shape):
        self.root = made(shape)
        self.actor = Actor(self.root.run)
        self.compare()

    def compare(self):
        self.root.resolve(False)
        settle([self.actor])
        for _ in range(3 * sum(1 for _ in walk(self.root))):  # those that are cancelled end one after the other
            ramet.gosched()
        for node, _ in walk(self.root):
            assert node.came == node.expected, (vars(node), self.actor)
        assert self.actor.done is (self.root.expected is not None)

    @rule(i=st.integers(0, 20), order=st.sampled_from([RETURNED, RETURNED, FAILED]))
    def tell(self, i, order):
        waiting = [(n, c) for n, c in walk(self.root) if isinstance(n, Leaf) and n.expected is None]
        if waiting:
            leaf, cancelled = waiting[i % len(waiting)]
            leaf.told(order, cancelled)
            self.compare()

    @rule(i=st.integers(0, 20))
    def cancel(self, i):
        open_ = [n for n, _ in walk(self.root) if isinstance(n, Node) and n.expected is None]
        if open_:
            node = open_[i % len(open_)]
            node.group.cancel()
            node.cancelled = True
            self.compare()

    def teardown(self):
        if hasattr(self, "root"):
            if self.root.expected is None:
                self.cancel(0)
            while any(n.expected is None for n, _ in walk(self.root)):
                self.tell(0, RETURNED)
            assert ramet.num_goroutines() == 1


def test_groups_against_the_model():
    run_state_machine_as_test(Groups, settings=profile(150, 20))
