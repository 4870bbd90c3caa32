"""Channels, select, locks, cancellation, timeouts, OS threads, forks: nothing is lost, doubled, or left held."""

import faulthandler
import itertools
import os
import random
import signal
import threading
import traceback
import warnings

import ramet
from kit import T, pause, same, spin, together, work
from ramet import (
    Cancelled,
    Chan,
    ChanClosed,
    Group,
    blocking,
    default,
    go,
    move_on_after,
    select,
    shield,
    sync,
    timeout,
)
from ramet.time import sleep

warnings.filterwarnings("ignore", "This process.*is multi-threaded", DeprecationWarning)


class Thread(threading.Thread):
    """Its result. Starting and joining one waits for it, and it may wait for a goroutine by then, in a finalizer."""

    def __init__(self, fn, *args):
        super().__init__(daemon=True)
        self.fn, self.args, self.outcome = fn, args, Chan(1)
        blocking(self.start)

    def run(self):
        try:
            self.outcome.send((self.fn(*self.args), None))
        except BaseException as e:
            self.outcome.send((None, e))

    def join(self, timeout=None):
        result, exc = self.outcome.recv(T)
        blocking(super().join, T)
        if exc:
            raise exc
        return result


def start(r, fn, *args):
    """In a goroutine, or now and then in an OS thread."""
    return Thread(fn, *args) if r.random() < 0.05 else go(fn, *args)


@work(6)
def channels(r):
    """Every value once, in the order of its sender, by all ways of sending and receiving."""
    c, each = Chan(r.choice((0, 0, 1, 5))), r.randrange(1, 30)

    def send(me):
        for i in range(each):
            how = r.randrange(4)
            if how == 0:
                select(c.if_send((me, i)), timeout=T)
            elif how == 1:
                while not c.try_send((me, i)):
                    rest()
            elif how == 2:
                while True:
                    try:
                        c.send((me, i), 1e-4)
                        break
                    except TimeoutError:
                        pass
            else:
                c.send((me, i), T)

    def receive():
        got = []
        while True:
            how = r.randrange(3)
            if how == 0:
                s = select(c, Chan(), timeout=T)
                value, ok = s.value, s.ok
            elif how == 1:
                try:
                    value, ok = c.recv_ok(1e-4)
                except TimeoutError:
                    continue
            else:
                value, ok = c.recv_ok(T)
            if not ok:
                return got
            got.append(value)

    senders = [start(r, send, i) for i in range(3)]
    receivers = [start(r, receive) for _ in range(2)]
    for s in senders:
        s.join(T)
    c.close()
    got = [g.join(T) for g in receivers]
    for part in got:
        for me in range(3):
            mine = [i for who, i in part if who == me]
            same(mine, sorted(mine))
    same(sorted(got[0] + got[1]), [(me, i) for me in range(3) for i in range(each)])


def rest():
    """Sleep, also in an OS thread."""
    try:
        Chan().recv(1e-5)
    except TimeoutError:
        pass


@work(6)
def cancelled_anywhere(r):
    """Of a pair that is cancelled at a random moment: what was sent has arrived, and nothing else has."""
    c, sent, got = Chan(r.randrange(3)), [], []

    def send():
        for i in itertools.count():
            if r.random() < 0.5:
                c.send(i)
            else:
                select(c.if_send(i), Chan())
            sent.append(i)

    def receive():
        while True:
            got.append(c.recv() if r.random() < 0.5 else select(Chan(), c).value)

    a, b = go(send), go(receive)
    for _ in range(r.randrange(1, 8)):
        pause(r)
    first, second = r.sample((a, b), 2)
    first.cancel()
    if r.random() < 0.5:
        pause(r)
    second.cancel()
    for g in (a, b):
        assert isinstance(g.exception(T), ramet.GoroutineCancelled), g.exception()
    c.close()
    same(got + list(c), sent)


@work()
def timeouts(r):
    """Scopes within scopes: the right one leaves, at the right block."""
    log = []

    def body(depth):
        seconds = r.choice((1e-5, 1e-3, 3e-3, T))
        with move_on_after(seconds) as scope:
            try:
                if depth:
                    body(depth - 1)
                if r.random() < 0.5:
                    spin(r)
                with shield():
                    pause(r)
                sleep(r.choice((0, 1e-4, 5e-3)))
                log.append(("done", depth))
                return
            except Cancelled:
                log.append(("cancelled", depth))
                raise
            finally:
                log.append(("left", depth))
        assert scope.cancelled and seconds < T
        log.append(("moved on", depth))

    with timeout(T):
        body(2)
    same([d for what, d in log if what == "left"], [0, 1, 2] if ("left", 0) in log else [])
    for i, (what, depth) in enumerate(log):
        after = log[i + 1] if i + 1 < len(log) else None
        if what in ("done", "cancelled"):
            same(after, ("left", depth))
        elif what == "left" and log[i - 1][0] == "cancelled":
            assert after in (("moved on", depth), ("cancelled", depth + 1)), log
    try:
        with timeout(r.choice((0, 1e-4))):
            Chan().recv()
    except TimeoutError:
        pass
    else:
        raise AssertionError("no TimeoutError")


@work()
def groups_of_goroutines(r):
    """The first failure cancels the rest, all are gone afterwards, and failures come together."""
    ended, n, fails = [], r.randrange(1, 8), r.random() < 0.5

    def member(i):
        try:
            pause(r)
            if fails and i == 0:
                raise KeyError(i)
            if fails:
                Chan().recv(T)
            return i
        finally:
            with shield():
                pause(r)
            ended.append(i)

    begun = []
    try:
        with Group(limit=r.choice((None, 1, 3))) as g:
            for i in range(n):
                begun.append(g.go(member, i))
    except ExceptionGroup as e:
        assert fails
        same([type(x) for x in e.exceptions], [KeyError])
    else:
        same((fails, sorted(ended)), (False, list(range(n))))
    same(all(m.done() for m in begun), True)
    assert len(ended) <= n and len(set(ended)) == len(ended)


@work()
def locks(r):
    """One at a time, by every lock there is; a waiter that is cancelled or timed out leaves nothing behind."""
    lock = r.choice((sync.Mutex, sync.RLock, sync.Semaphore, sync.BoundedSemaphore))()
    if isinstance(lock, sync.Mutex) and r.random() < 0.3:
        lock = sync.Condition(lock)
    inside, count, want = [], [0], [0]

    def add():
        for _ in range(8):
            if r.random() < 0.3:
                if not lock.acquire(timeout=r.choice((0, 1e-4, 1e-3))):
                    continue
            else:
                lock.acquire()
            try:
                inside.append(1)
                same(len(inside), 1)
                n = count[0]
                sleep(1e-5) if r.random() < 0.2 else spin(r)
                count[0] = n + 1
                want[0] += 1
            finally:
                inside.pop()
                lock.release()

    gs = [go(add) for _ in range(4)]
    if r.random() < 0.5:
        pause(r)
        gs[0].cancel()
    for g in gs[1:]:
        g.join(T)
    assert gs[0].exception(T) is None or gs[0].cancelled(), gs[0].exception()
    same(count, want)
    assert lock.acquire(timeout=T)
    lock.release()


@work(1)
def locks_of_threads(r):
    """One at a time, by locks that know OS threads only: who blocks for one lets the holder run."""
    bare = threading.Lock()
    lock = r.choice((bare, threading.Condition(bare), threading.Semaphore()))
    taken = bare if isinstance(lock, threading.Condition) else lock
    inside, count = [], [0]

    def alone():
        inside.append(1)
        same(len(inside), 1)
        n = count[0]
        sync.Event().wait(1e-5) if r.random() < 0.01 else spin(r)
        count[0] = n + 1
        inside.pop()

    def generate():
        with lock:
            yield alone()

    def block():
        with lock:
            alone()

    def by_hand():
        taken.acquire()
        alone()
        taken.release()

    def add():
        for _ in range(4):
            r.choice((block, by_hand, lambda: list(generate())))()

    gs = [start(r, add) for _ in range(4)]
    for g in gs:
        g.join(T)
    same(count[0], 4 * 4)


@work(2)
def conditions(r):
    """A bounded buffer of a condition; an event, a barrier and a wait group beside it."""
    cond, items, got, n = sync.Condition(), [], [], r.randrange(1, 15)
    begin, all_in, ended = sync.Event(), sync.Barrier(4), sync.WaitGroup()

    def put(me):
        begin.wait(T)
        all_in.wait(T)
        for i in range(n):
            with cond:
                assert cond.wait_for(lambda: len(items) < 2, T)
                spin(r)
                items.append((me, i))
                cond.notify_all()
        ended.done()

    def get():
        begin.wait(T)
        all_in.wait(T)
        for _ in range(n):
            with cond:
                assert cond.wait_for(lambda: items, T)
                got.append(items.pop(0))
                pause(r)
                cond.notify_all()
        ended.done()

    ended.add(4)
    gs = [start(r, put, 0), start(r, put, 1), go(get), go(get)]
    begin.set()
    ended.wait(T)
    for g in gs:
        g.join(T)
    same(sorted(got), [(me, i) for me in (0, 1) for i in range(n)])
    same([i for me, i in got if me == 0], list(range(n)))


@work(2)
def queues(r):
    q = r.choice((sync.Queue, sync.LifoQueue, sync.PriorityQueue))(r.randrange(3))
    n = r.randrange(1, 20)
    got = []

    def put():
        for i in range(n):
            q.put(i, timeout=T)
            if r.random() < 0.2:
                spin(r)

    def get():
        for _ in range(n):
            got.append(q.get(timeout=T))
            q.task_done()

    gs = [start(r, put), start(r, put), start(r, get), start(r, get)]
    for g in gs:
        g.join(T)
    q.join()
    same(sorted(got), sorted([*range(n)] * 2))


@work(2)
def threads(r):
    """OS threads that compute, import, and talk to goroutines."""
    questions, answers = Chan(), Chan(2)

    def thread():
        total = 0
        for n in questions:
            total += n
            spin(r)
            answers.send(n * n, T)
        return total

    t = Thread(thread)
    numbers = [r.randrange(100) for _ in range(10)]
    for n in numbers:
        questions.send(n, T)
        pause(r)
        same(answers.recv(T), n * n)
    questions.close()
    same(t.join(), sum(numbers))
    same(blocking(lambda: spin(r) is None), False)


@work(2)
def selects(r):
    """Timers, ends of goroutines, events and closed channels in one select."""
    c, closed, event = Chan(), Chan(), sync.Event()
    closed.close()
    g = go(lambda: (pause(r), 5)[1])
    s = select(g.if_done(), c, event.if_set(), timeout=T)
    same((s.index, g.join(T)), (0, 5))
    same(select(c, default).index, 1)
    same(select(c, closed, default).index, 1)
    h = go(lambda: (pause(r), event.set()))
    same(select(c, event.if_set(), timeout=T).index, 1)
    h.join(T)
    try:
        select(c, c.if_send(1), timeout=r.choice((0, 1e-5, 1e-4)))
    except TimeoutError:
        pass
    else:
        raise AssertionError("a channel with nobody at the other end")
    try:
        select(closed.if_send(1), timeout=T)
    except ChanClosed:
        pass
    else:
        raise AssertionError("sent on a closed channel")


@work(1)
def forks(r):
    """A child that checks itself: it is alone, everything works, and it is preempted, too."""
    parent = [r.random()]
    # In the child CPython drops what the parent's threads had, also what threading keeps of those that it does not know, whose
    # finalizer takes this lock, before threading makes a new one: a thread that has it meanwhile would stop the child.
    # Not waited for outside ramet: what has it may be in a finalizer that waits for a goroutine.
    limbo = threading._active_limbo_lock
    with ramet.no_preempt():
        while not limbo.acquire(False):
            sleep(1e-4)
        try:
            pid = os.fork()
        finally:
            limbo.release()
    if pid == 0:
        status = 1
        try:
            faulthandler.register(signal.SIGALRM, chain=True)
            signal.alarm(int(T) // 2)
            child(parent)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    while True:
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            break
        sleep(1e-3)
    same(os.waitstatus_to_exitcode(status), 0)


def child(parent):
    for _ in range(
        int(T / 1e-3)
    ):  # a collection may have found what the parent's goroutines left: finalizers start some
        if ramet.num_goroutines() == 1:
            break
        sleep(1e-3)
    same(ramet.num_goroutines(), 1)
    c = Chan()
    turns, stop = [0, 0], []

    def hog(i):
        while not stop:
            turns[i] += 1

    gs = [go(hog, i) for i in range(2)]
    go(lambda: [c.send(i) for i in range(10)])
    same([c.recv(T) for _ in range(10)], list(range(10)))
    while not all(turns):
        sleep(1e-4)
    stop.append(1)
    for g in gs:
        g.join(T)
    same(blocking(lambda: parent[0]), parent[0])
    same(together(random.Random(1), *[lambda i=i: i for i in range(3)]), [0, 1, 2])
