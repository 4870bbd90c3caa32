"""ramet.sync's types against models, in both vocabularies.

As in test_model_chan.py: a step is atomic, and who has been handed something keeps it whatever comes before its turn.
"""

import heapq
import queue
import time
from collections import deque

import pytest
import ramet
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from machines import RAISED_CANCELLED, SOON, TIMED_OUT, Waits, indexes, outcome, profile, settle
from ramet import PanicError, sync

pytestmark = pytest.mark.long

TRUE, FALSE, NONE = ("returned", True), ("returned", False), ("returned", None)
limits = st.sampled_from([None, None, SOON, 0])


# ---- what is handed over: Semaphore, RWMutex ---------------------------------------------------------------------------------


class Semaphores(Waits):
    @initialize(n=st.integers(0, 3), bounded=st.booleans())
    def begin(self, n, bounded):
        self.s = (sync.BoundedSemaphore if bounded else sync.Semaphore)(n)
        self.n, self.most = n, n if bounded else None

    @rule(limit=limits)
    def acquire(self, limit):
        done = TRUE if self.n else None
        self.n -= bool(self.n)
        self.start(self.s.acquire, True, limit, done=done, late=FALSE, limit=limit)

    @rule()
    def try_acquire(self):
        assert outcome(self.s.acquire, False) == ("returned", self.n > 0)
        self.n -= self.n > 0

    @rule(n=st.integers(0, 3))
    def release(self, n):
        got = outcome(self.s.release, n)
        if n < 1 or (self.most is not None and self.n + n > self.most):
            assert got == ("raised", ValueError)
            return
        assert got == NONE
        self.n += n
        while self.n and self.waiting:
            self.n -= 1
            self.finish(self.waiting[0], TRUE)

    @invariant()
    def value(self):
        if hasattr(self, "s"):
            assert self.s._value == self.n


READ, WRITE = "read", "write"


class RWMutexes(Waits):
    """In order: a writer that waits keeps later readers out; one that gives up lets them in.

    Who is cancelled stands in line until it has run, or could have been let in: a writer keeps readers out until then.
    """

    @initialize()
    def begin(self):
        self.m, self.writer, self.readers = sync.RWMutex(), False, 0
        self.n, self.leaving = 0, []  # how many have come; cancelled, and in line still

    def free(self, how):
        return not self.writer and (how == READ or not self.readers)

    def got(self, how):
        if how == READ:
            self.readers += 1
        else:
            self.writer = True

    def let_in(self):
        for a in sorted(self.waiting + self.leaving, key=lambda a: a.n):
            if not self.free(a.how):
                break
            if a in self.leaving:
                self.leaving.remove(a)
            else:
                self.got(a.how)
                self.finish(a, TRUE if a.std else NONE)

    def gone(self, a):
        if a.expected == RAISED_CANCELLED:  # it lets others in when it runs
            self.leaving.append(a)
        else:
            self.let_in()

    def all_ran(self):
        if hasattr(self, "m"):
            self.leaving.clear()
            self.let_in()

    @rule(how=st.sampled_from([READ, READ, WRITE]), std=st.booleans(), limit=limits)
    def lock(self, how, std, limit):
        std &= how == READ
        if std:  # rlocker() has threading.Lock's vocabulary, too
            op, args = self.m.rlocker().acquire, (True, -1 if limit is None else limit)
        else:
            op, args = (self.m.rlock if how == READ else self.m.lock), (limit,)
        done = None
        if not self.waiting and self.free(how):
            self.got(how)
            done = TRUE if std else NONE
        self.n += 1
        self.start(op, *args, done=done, late=FALSE if std else TIMED_OUT, limit=limit, how=how, std=std, n=self.n)

    @rule(how=st.sampled_from([READ, WRITE]))
    def try_lock(self, how):
        self.quiet()  # one who has given up stands in the way until it has run
        can = not self.waiting and self.free(how)
        assert (self.m.try_rlock() if how == READ else self.m.try_lock()) is can
        if can:
            self.got(how)

    @rule(how=st.sampled_from([READ, WRITE]))
    def unlock(self, how):
        got = outcome(self.m.runlock if how == READ else self.m.unlock)
        if not (self.readers if how == READ else self.writer):
            assert got == ("raised", PanicError)
            return
        assert got == NONE
        if how == READ:
            self.readers -= 1
        else:
            self.writer = False
        self.let_in()


# ---- a lock that can be taken on the way --------------------------------------------------------------------------------------


class Mutexes(Waits):
    """Who is woken has to take it: a try_lock may be faster, and then it goes on waiting."""

    @initialize()
    def begin(self):
        self.m, self.held = sync.Mutex(), False

    @rule(std=st.booleans(), limit=limits)
    def lock(self, std, limit):
        op, args = (self.m.acquire, (True, -1 if limit is None else limit)) if std else (self.m.lock, (limit,))
        given = TRUE if std else NONE
        self.quiet()  # there is one who has been woken, and it is a step to see what it gets
        done, self.held = None if self.held else given, True
        self.start(op, *args, done=done, late=FALSE if std else TIMED_OUT, limit=limit, given=given)

    @rule(std=st.booleans())
    def try_lock(self, std):
        got = self.m.acquire(False) if std else self.m.try_lock()
        assert got is True or self.m.locked()
        assert not (got and self.held), "locked twice"
        self.held |= got

    @rule(std=st.booleans())
    def unlock(self, std):
        got = outcome(self.m.release if std else self.m.unlock)
        assert got == (NONE if self.held else ("raised", PanicError))
        self.held = self.m.locked()
        if self.held:  # handed over, after more than a millisecond: anybody might unlock it again
            self.quiet()

    @rule(i=indexes)
    def cancel(self, i):
        """One who has been woken may have got it, or not: only what all is quiet shows."""
        if self.waiting:
            a = self.waiting[i % len(self.waiting)]
            a.cancel()
            a.told = True

    @rule()
    def quiet(self):
        settle(self.waiting)
        for a in [a for a in self.waiting if a.done]:
            if a.outcome == a.given:
                self.finish(a, a.given)
                self.winners = getattr(self, "winners", 0) + 1
            elif getattr(a, "told", False) and a.outcome == RAISED_CANCELLED:
                self.finish(a, RAISED_CANCELLED)
            else:
                assert a.limit is not None, a
                self.finish(a, a.late)
        got = sum(a.outcome == a.given for a in self.finished if hasattr(a, "given"))
        assert got <= 1, self.finished
        self.held = self.m.locked()
        if self.waiting:
            assert self.held, "free, and somebody waits"
        super().quiet()


# ---- broadcasts: Event, WaitGroup -----------------------------------------------------------------------------------------------


class Events(Waits):
    @initialize()
    def begin(self):
        self.e, self.set_ = sync.Event(), False

    @rule(limit=limits)
    def wait(self, limit):
        self.start(self.e.wait, limit, done=TRUE if self.set_ else None, late=FALSE, limit=limit, got=TRUE)

    @rule(twice=st.booleans())
    def select(self, twice):
        def select_set():
            return ramet.select(*[self.e.if_set()] * (1 + twice)).value is self.e

        self.start(select_set, done=TRUE if self.set_ else None, got=TRUE)

    @rule()
    def set(self):
        self.e.set()
        self.set_ = True
        for a in list(self.waiting):
            self.finish(a, TRUE)

    @rule()
    def clear(self):
        self.e.clear()
        self.set_ = False

    @invariant()
    def state(self):
        assert not hasattr(self, "e") or self.e.is_set() is self.set_


class WaitGroups(Waits):
    @initialize()
    def begin(self):
        self.w, self.n = sync.WaitGroup(), 0

    @rule(limit=limits)
    def wait(self, limit):
        self.start(self.w.wait, limit, done=None if self.n else NONE, limit=limit)

    @rule(by=st.integers(-2, 3))
    def add(self, by):
        got = outcome(self.w.done) if by == -1 else outcome(self.w.add, by)
        if self.n + by < 0:
            assert got == ("raised", PanicError)
            return
        assert got == NONE
        self.n += by
        if not self.n:
            for a in list(self.waiting):
                self.finish(a, NONE)


# ---- conditions ------------------------------------------------------------------------------------------------------------------


class Conditions(Waits):
    """Notified in order; whoever is notified, late or cancelled comes back with the lock, when it can be had."""

    @initialize(lock=st.sampled_from([sync.Mutex, sync.RLock]))
    def begin(self, lock):
        self.c, self.held, self.back = sync.Cond(lock()), False, []

    @rule(limit=st.sampled_from([None, None, SOON]))
    def wait(self, limit):
        if self.held:
            return

        def wait():
            with self.c:
                try:
                    return self.c.wait(limit)
                finally:
                    assert self.c._is_owned()

        self.start(wait, done=None, late=FALSE, limit=limit)

    def is_late(self, a):
        """While the driver has the lock, those that are late wait for it: no notification reaches them any more."""
        waits_for_lock = self.held and a.g.state == "mutex"
        return super().is_late(a) or (waits_for_lock and a.limit is not None and time.monotonic() - a.began >= a.limit)

    @rule(n=st.sampled_from([0, 1, 2, None]), std=st.booleans())
    def notify(self, n, std):
        if std and not self.held:
            assert outcome(self.c.notify) == ("raised", RuntimeError)
            return
        if n is None:
            (self.c.notify_all if std else self.c.broadcast)()
        elif std:
            self.c.notify(n)
        else:
            for _ in range(n):
                self.c.signal()
        for a in self.waiting[:n]:
            self.finish(a, TRUE)

    @rule()
    def lock(self):
        """The driver's: those who have been notified come back when it unlocks."""
        if not self.held:
            self.quiet()
            self.held = self.c.acquire(False)
            assert self.held

    @rule()
    def unlock(self):
        if self.held:
            self.held = False
            self.c.release()

    @rule(late=st.booleans())
    def time_passes(self, late):
        if not self.held:
            super().time_passes(late)
        elif late:
            ramet.time.sleep(2 * SOON)
            self.quiet()

    @rule()
    def quiet(self):
        settle(self.waiting + self.finished)
        if self.held:
            assert not any(a.done for a in self.waiting + self.finished)
            self.late_ones_go()
            assert all(a.g.state == "cond" for a in self.waiting)
            assert all(a.g.state == "mutex" for a in self.finished)
        else:
            super().quiet()

    def teardown(self):
        self.unlock()
        super().teardown()


# ---- queues ----------------------------------------------------------------------------------------------------------------------


class Queues(Waits):
    """The state of the standard library's queue of the same name, and who waits for it."""

    kinds = {
        sync.Queue: (deque, deque.append, deque.popleft),
        sync.LifoQueue: (list, list.append, list.pop),
        sync.PriorityQueue: (list, heapq.heappush, heapq.heappop),
    }

    @initialize(kind=st.sampled_from(sorted(kinds, key=str)), most=st.integers(0, 3))
    def begin(self, kind, most):
        self.q, self.most, self.down, self.unfinished = kind(most), most, False, 0
        make, self.push, self.pop = self.kinds[kind]
        self.items, self.n = make(), 0

    def shut(self):
        return ("raised", sync.ShutDown)

    def full(self):
        return 0 < self.most <= len(self.items)

    def of(self, kind):
        return [a for a in self.waiting if a.kind == kind]

    def put_in(self, v):
        self.push(self.items, v)
        self.unfinished += 1

    def flow(self):
        """What waiters do now that something has changed. They run when all is quiet: in order, each its step."""
        while True:
            if self.items and self.of("get"):
                self.finish(self.of("get")[0], ("returned", self.pop(self.items)))
            elif not self.full() and self.of("put"):
                a = self.of("put")[0]
                self.put_in(a.v)
                self.finish(a, NONE)
            else:
                break

    def settled(self):
        """A change is followed by quiet: which of those who are woken comes first is not part of the contract."""
        self.flow()
        self.quiet()

    @rule(v=st.integers(0, 5), limit=limits)
    def put(self, v, limit):
        self.n += 1
        item = (v, self.n)

        def done():
            if self.down or self.full():
                return self.shut() if self.down else None
            self.put_in(item)
            self.flow()
            return NONE

        full = ("raised", sync.Full)
        self.start(self.q.put, item, True, limit, done=done, late=full, limit=limit, kind="put", v=item)

    @rule(v=st.integers(0, 5))
    def put_nowait(self, v):
        self.n += 1
        got = outcome(self.q.put_nowait, (v, self.n))
        if self.down:
            assert got == self.shut()
        elif self.full():
            assert got == ("raised", sync.Full)
        else:
            assert got == NONE
            self.put_in((v, self.n))
            self.settled()

    @rule(limit=limits)
    def get(self, limit):
        def done():
            if not self.items:
                return self.shut() if self.down else None
            v = self.pop(self.items)
            self.flow()
            return ("returned", v)

        empty = ("raised", sync.Empty)
        self.start(self.q.get, True, limit, done=done, late=empty, limit=limit, kind="get")

    @rule()
    def get_nowait(self):
        got = outcome(self.q.get_nowait)
        if self.items:
            assert got == ("returned", self.pop(self.items))
            self.settled()
        else:
            assert got == (self.shut() if self.down else ("raised", sync.Empty))

    @rule()
    def task_done(self):
        got = outcome(self.q.task_done)
        if not self.unfinished:
            assert got == ("raised", ValueError)
            return
        assert got == NONE
        self.unfinished -= 1
        self.joined()
        self.quiet()

    def joined(self):
        for a in self.of("join") if not self.unfinished else ():
            self.finish(a, NONE)

    @rule()
    def join(self):
        self.start(self.q.join, done=None if self.unfinished else NONE, kind="join")

    @rule(immediate=st.booleans(), really=st.integers(0, 4))
    def shutdown(self, immediate, really):
        if really:  # seldom: not much is left to do afterwards
            return
        self.q.shutdown(immediate)
        self.down = True
        if immediate:
            self.unfinished -= min(len(self.items), self.unfinished)
            self.items.clear()
            self.joined()
        for a in self.of("put") + (self.of("get") if not self.items else []):
            self.finish(a, self.shut())
        self.quiet()

    @invariant()
    def sizes(self):
        if hasattr(self, "q"):
            assert self.q.qsize() == len(self.items)
            assert self.q.empty() is (not self.items) and self.q.full() is self.full()


class SimpleQueues(Waits):
    @initialize()
    def begin(self):
        self.q, self.items, self.n = sync.SimpleQueue(), deque(), 0

    @rule()
    def put(self):
        self.n += 1
        self.q.put(self.n)
        self.items.append(self.n)
        if self.waiting:
            self.finish(self.waiting[0], None)  # who of those that are woken gets which is seen when all is quiet
        self.quiet()

    @rule(limit=limits)
    def get(self, limit):
        done = ("returned", self.items.popleft()) if self.items else None
        self.start(self.q.get, True, limit, done=done, late=("raised", sync.Empty), limit=limit)

    @rule()
    def get_nowait(self):
        got = outcome(self.q.get_nowait)
        assert got == (("returned", self.items.popleft()) if self.items else ("raised", queue.Empty))

    @rule()
    def quiet(self):
        for a in self.finished:
            if a.expected is None:
                a.expected = ("returned", self.items.popleft())
        super().quiet()

    @invariant()
    def sizes(self):
        if hasattr(self, "q"):
            assert self.q.qsize() == len(self.items) and self.q.empty() is (not self.items)


# ---- Barrier and Future ------------------------------------------------------------------------------------------------------------


BROKEN = ("raised", sync.BrokenBarrierError)


class Barriers(Waits):
    @initialize(parties=st.integers(1, 4))
    def begin(self, parties):
        self.b, self.parties, self.broken = sync.Barrier(parties), parties, False
        self.breaks = False  # when one that was cancelled runs

    def gone(self, a):
        if a.expected == RAISED_CANCELLED:
            self.breaks = True
        else:
            self.fail(True)

    def fail(self, broken):
        self.broken, self.breaks = broken, False
        for a in list(self.waiting):
            self.finish(a, BROKEN)

    def all_ran(self):
        if getattr(self, "breaks", False):
            self.fail(True)

    @rule(limit=st.sampled_from([None, None, SOON]))
    def wait(self, limit):
        self.quiet()

        def done():
            if self.broken:
                return BROKEN
            if len(self.waiting) + 1 < self.parties:
                return None
            for i, a in enumerate(list(self.waiting)):
                self.finish(a, ("returned", i))
            return ("returned", self.parties - 1)

        self.start(self.b.wait, limit, done=done, late=BROKEN, limit=limit)

    @rule()
    def abort(self):
        self.b.abort()
        self.fail(True)

    @rule()
    def reset(self):
        self.b.reset()
        self.fail(False)

    @invariant()
    def state(self):
        if hasattr(self, "b") and not self.finished and not any(a.limit is not None for a in self.waiting):
            assert (self.b.broken, self.b.n_waiting, self.b.parties) == (self.broken, len(self.waiting), self.parties)


class Futures(Waits):
    @initialize()
    def begin(self):
        self.f, self.end, self.n, self.called = sync.Future(), None, 0, 0

    @rule(limit=limits)
    def result(self, limit):
        self.start(self.f.result, limit, done=self.end, limit=limit)

    @rule()
    def select(self):
        def select_done():
            return ramet.select(self.f.if_done()).index

        self.start(select_done, done=("returned", 0) if self.end else None, got=("returned", 0))

    @rule(how=st.sampled_from(["result", "exception", "cancel", "nothing", "nothing"]))
    def finish_it(self, how):
        if how == "nothing":
            return
        if how == "cancel":
            assert self.f.cancel() is (self.end is None or self.f.cancelled())
            came = ("raised", sync._futures.CancelledError)
        else:
            came = ("returned", 7) if how == "result" else ("raised", KeyError)
            got = outcome(self.f.set_result, 7) if how == "result" else outcome(self.f.set_exception, KeyError())
            assert (got == NONE) is (self.end is None)
        if self.end is None:
            self.end = came
            for a in list(self.waiting):
                self.finish(a, getattr(a, "got", came))

    @rule(ended=st.booleans())
    def another(self, ended):
        if self.end and ended:
            self.quiet()
            self.begin()


@pytest.mark.parametrize(
    "machine",
    [
        Semaphores,
        RWMutexes,
        Mutexes,
        Events,
        WaitGroups,
        Conditions,
        Queues,
        SimpleQueues,
        Barriers,
        Futures,
    ],
)
def test_against_the_model(machine):
    run_state_machine_as_test(machine, settings=profile(60))
