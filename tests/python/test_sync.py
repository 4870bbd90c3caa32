"""ramet.sync: Go's vocabulary, cancellation at every wait, OS threads among the goroutines. The standard one is in
test_sync_stdlib.py.
"""

import concurrent.futures
import gc
import threading
import time
import weakref

import pytest
import ramet
from helpers import T, parked, until
from ramet import Cancelled, GoroutineCancelled, PanicError, go, gosched, select, sync
from ramet.sync.atomic import AtomicLong
from ramet.time import sleep


def in_thread(fn, *args):
    """fn in an OS thread, while goroutines run here: its result."""
    out = []

    def call():
        try:
            out.append((fn(*args), None))
        except BaseException as e:
            out.append((None, e))

    t = threading.Thread(target=call)
    t.start()
    until(lambda: out, sleep=sleep)
    t.join()
    value, exc = out[0]
    if exc is not None:
        raise exc
    return value


# ---- Mutex ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [sync.Mutex, sync.RLock])
def test_mutex_excludes_and_queues_in_order(type_):
    m, log = type_(), []

    def work(i):
        with m:
            log.append(i)
            sleep(0.001)
            log.append(i)

    gs = [go(work, i) for i in range(10)]
    for g in gs:
        g.join(T)
    assert log == [i for i in range(10) for _ in range(2)]
    assert not m.locked()


def test_mutex_in_both_vocabularies():
    m = sync.Mutex()
    assert sync.Lock is sync.Mutex and sync.Condition is sync.Cond
    assert m.lock() is None and m.locked() and not m.try_lock()
    assert m.acquire(False) is False and m.acquire(timeout=0.01) is False
    with pytest.raises(TimeoutError):
        m.lock(timeout=0.01)
    with pytest.raises(TimeoutError):
        m.lock(0)
    assert m.unlock() is None
    assert m.acquire() is True and m.release() is None
    assert m.try_lock()
    m.release()
    for release in (m.unlock, m.release):
        with pytest.raises(PanicError, match="unlock of an unlocked"):
            release()
        with pytest.raises(RuntimeError):
            release()


def test_mutex_is_free_of_a_runtime():
    from helpers import run_py

    p = run_py(
        """
        import ramet, ramet.sync as s, threading
        m, r, e = s.Mutex(), s.RLock(), s.Event()
        with m: assert m.acquire(False) is False
        e.set(); assert e.is_set()
        print(ramet.stats()["started"], threading.active_count())
        """.replace("\n        ", "\n")
    )
    assert p.out.split() == ["1", "1"]


def test_one_that_hogs_the_mutex_has_to_hand_it_over():
    m, got = sync.Mutex(), []
    m.lock()
    g = go(lambda: (m.lock(), got.append(1), m.unlock()))
    end = time.monotonic() + T
    while not got:
        assert time.monotonic() < end
        sleep(0.0005)
        m.unlock()
        m.lock()
    m.unlock()
    g.join(T)


def test_rlock_that_is_handed_over_is_not_the_last_owners():
    """Whoever has waited for too long is given it, and has not run yet when the last owner comes again."""
    lock = sync.RLock()
    lock.acquire()
    g = go(lambda: (lock.acquire(), lock._is_owned(), lock.release()))
    gosched()
    time.sleep(0.005)
    lock.release()
    lock.acquire()
    gosched()  # it has been woken for nothing
    lock.release()
    assert lock.locked() and not lock._is_owned() and lock._recursion_count() == 0
    assert not lock.acquire(blocking=False)
    with pytest.raises(PanicError):
        lock.release()
    assert g.join(50)[1]
    assert lock.acquire(blocking=False)
    lock.release()


def test_rlock_belongs_to_the_goroutine():
    r = sync.RLock()
    with r, r:
        assert r._recursion_count() == 2 and r._is_owned()
        g = go(r.try_lock)
        assert g.join(T) is False
        g = go(r.release)
        assert isinstance(g.exception(T), RuntimeError)
        assert in_thread(r.acquire, False) is False
    assert in_thread(lambda: (r.acquire(), r.acquire(), r.release(), r.release())) == (True, True, None, None)
    assert go(r.try_lock).join(T) is True  # and it has ended without releasing it
    assert not r.try_lock()


def test_locks_between_threads_and_goroutines():
    m, n = sync.Mutex(), [0]

    def add():
        for _ in range(500):
            with m:
                v = n[0]
                if v % 7 == 0:
                    time.sleep(0)
                n[0] = v + 1

    threads = [threading.Thread(target=add) for _ in range(3)]
    for t in threads:
        t.start()
    gs = [go(add) for _ in range(3)]
    for g in gs:
        g.join(T)
    until(lambda: not any(t.is_alive() for t in threads), sleep=sleep)
    assert n[0] == 3000


# ---- RWMutex --------------------------------------------------------------------------------------


def test_rwmutex_readers_share_and_a_writer_that_waits_keeps_later_ones_out():
    m, log = sync.RWMutex(), []

    def reader(i):
        with m.rlocker():
            log.append(("in", i))
            sleep(0.002)
            log.append(("out", i))

    def writer(i):
        with m:
            log.append(("write", i))
            sleep(0.001)
            log.append(("written", i))

    gs = [go(reader, 0), go(reader, 1), go(writer, 2), go(reader, 3), go(reader, 4)]
    for g in gs:
        g.join(T)
    assert [x for x in log if x[0] in ("in", "write")] == [("in", 0), ("in", 1), ("write", 2), ("in", 3), ("in", 4)]
    i = log.index(("write", 2))
    assert log[i + 1] == ("written", 2)  # nobody between
    with pytest.raises(PanicError, match="unlock"):
        m.unlock()
    with pytest.raises(PanicError, match="runlock"):
        m.runlock()
    with m.rlocker():
        assert m.try_rlock() and not m.try_lock()
        m.runlock()
        with pytest.raises(TimeoutError):
            m.lock(timeout=0.01)
    assert m.rlocker().acquire(timeout=1) and m.runlock() is None


# ---- Cond -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", [sync.Mutex, sync.RLock, threading.Lock, threading.RLock])
def test_cond_over_any_lock(lock):
    lock = lock()
    c, items, got = sync.Cond(lock), [], []

    def consume():
        with c:
            assert c.wait_for(lambda: items, T)
            got.append(items.pop(0))

    gs = [go(consume) for _ in range(3)]
    parked(*gs, state="cond")
    with c:
        items.extend("abc")
        c.notify()
        c.notify(2)
    for g in gs:
        g.join(T)
    assert got == list("abc")
    with c:
        assert c.wait(0.01) is False
        assert c.wait_for(list, 0.01) == []


def test_cond_signal_needs_no_lock_and_notify_does():
    c = sync.Cond(sync.Mutex())
    assert c.signal() is None and c.broadcast() is None
    for call in (c.notify, c.notify_all, c.wait):
        with pytest.raises(RuntimeError, match="un-acquired"):
            call()

    def wait():
        with c:
            return c.wait(T)

    gs = [go(wait) for _ in range(3)]
    parked(*gs)
    c.signal()
    assert gs[0].join(T) is True and not gs[1].done()
    c.broadcast()
    assert [g.join(T) for g in gs[1:]] == [True, True]


def test_cond_rejects_what_is_no_lock():
    with pytest.raises(TypeError, match="acquire.. and release"):
        sync.Cond(5)


def test_cond_cancelled_holds_the_lock_again():
    m = sync.Mutex()
    c, log = sync.Cond(m), []

    def wait():
        with c:
            try:
                c.wait()
            finally:
                log.append(m.locked())

    g = go(wait)
    parked(g, state="cond")
    m.lock()
    g.cancel()
    for _ in range(5):
        gosched()
    assert log == []  # it waits for the lock
    m.unlock()
    with pytest.raises(GoroutineCancelled):
        g.join(T)
    assert log == [True] and not m.locked()


def test_cond_notified_and_cancelled_on_its_way_into_the_wait():
    class Lock:
        """A release during which others run."""

        held = False

        def acquire(self):
            self.held = True

        def release(self):
            self.held = False
            cond.signal()
            g.cancel()

        def _is_owned(self):
            return self.held

    def work():
        cond.acquire()
        came.append(cond.wait())
        gosched()  # the cancellation is still to come
        came.append("not cancelled")

    came, cond = [], sync.Cond(Lock())
    g = go(work)
    assert isinstance(g.exception(T), GoroutineCancelled)
    assert came == [True]


# ---- Semaphore, Event, WaitGroup, Once --------------------------------------------------------------


def test_semaphore_bounds_and_queues_in_order():
    s, n, most, log = sync.Semaphore(3), 0, 0, []

    def work(i):
        nonlocal n, most
        with s:
            log.append(i)
            n += 1
            most = max(most, n)
            sleep(0.001)
            n -= 1

    gs = [go(work, i) for i in range(12)]
    for g in gs:
        g.join(T)
    assert most == 3 and log == list(range(12))
    for bad, error in ((-1, ValueError), ("x", TypeError), (1.5, TypeError)):
        with pytest.raises(error, match="value"):
            sync.Semaphore(bad)
    for bad in (0, -1, 1 << 32, 1 << 100):
        with pytest.raises(ValueError, match="release: n must be between 1 and"):
            sync.Semaphore().release(bad)


def test_event_wakes_all_also_in_select():
    e = sync.Event()
    gs = [go(e.wait) for _ in range(5)] + [go(select, e.if_set()) for _ in range(3)]
    parked(*gs)
    e.set()
    assert [g.join(T) for g in gs[:5]] == [True] * 5
    assert all(g.join(T).value is e for g in gs[5:])
    case = e.if_set()
    assert select(case, timeout=T) == case
    e.clear()
    with pytest.raises(TimeoutError):  # a case is of the event, not of one setting of it
        select(case, timeout=0.01)
    assert e.wait(0.01) is False and e.wait(0) is False
    assert e.if_set() == case and hash(e.if_set()) == hash(case)
    assert in_thread(e.set) is None and e.wait(T)


def test_waitgroup():
    w, out = sync.WaitGroup(), []
    w.wait(0)
    gs = [w.go(lambda i=i: (sleep(0.001), out.append(i))) for i in range(10)]
    w.wait(T)
    assert sorted(out) == list(range(10)) and all(g.done() or g.state for g in gs)
    w.add(2)
    with pytest.raises(TimeoutError):
        w.wait(0.01)
    w.done()
    w.add(-1)
    w.wait()
    with pytest.raises(PanicError, match="negative WaitGroup counter"):
        w.done()
    with pytest.raises(TypeError, match="delta"):
        w.add("x")
    with pytest.raises(TypeError, match="callable"):
        w.go(5)
    w.wait(0)


def test_waitgroup_counts_those_that_never_begin():
    w = sync.WaitGroup()
    g = w.go(sleep, 100)
    g.cancel()  # before it has begun
    w.wait(T)
    h = w.go(lambda: 1 / 0)
    w.wait(T)
    assert isinstance(h.exception(T), ZeroDivisionError)


def test_once():
    o, n = sync.Once(), []

    def slow():
        n.append(1)
        sleep(0.005)
        n.append(2)

    def do():
        o.do(slow)
        return list(n)

    assert [g.join(T) for g in [go(do) for _ in range(5)]] == [[1, 2]] * 5

    @sync.Once
    def setup(x):
        "makes it"
        return [x]

    assert setup(1) is setup(2) and setup(3) == [1] and setup.__doc__ == "makes it"
    bad = sync.Once()
    with pytest.raises(ZeroDivisionError):
        bad.do(lambda: 1 / 0)
    bad.do(lambda: n.append("again"))  # Go's: it has run
    assert n == [1, 2]


def test_once_value():
    calls = []

    @sync.once_value
    def value():
        calls.append(1)
        sleep(0.002)
        return object()

    assert len({g.join(T) for g in [go(value) for _ in range(5)]}) == 1 and len(calls) == 1

    @sync.once_value
    def fails():
        calls.append(2)
        raise KeyError("no")

    for _ in range(2):
        with pytest.raises(KeyError, match="no"):
            fails()
    assert calls == [1, 2]


def test_barrier_reset_before_a_cancelled_waiter_has_run():
    b = sync.Barrier(2)
    g = go(b.wait)
    parked(g)
    g.cancel()
    b.reset()
    assert isinstance(g.exception(T), GoroutineCancelled)
    assert not b.broken  # as new: the one who has gone belonged to what was before
    g = go(b.wait)
    assert {b.wait(T), g.join(T)} == {0, 1}


def test_barrier_of_goroutines_and_threads():
    b, seen = sync.Barrier(4, action=lambda: seen.append("all")), []
    threads = [threading.Thread(target=b.wait, args=(T,)) for _ in range(2)]
    for t in threads:
        t.start()
    g = go(b.wait)
    b.wait(T)
    g.join(T)
    until(lambda: not any(t.is_alive() for t in threads), sleep=sleep)
    assert seen == ["all"]
    g = go(b.wait)
    parked(g)
    g.cancel()
    with pytest.raises(GoroutineCancelled):
        g.join(T)
    assert b.broken  # the others would wait for one who has gone


# ---- cancellation -------------------------------------------------------------------------------------


def held_mutex():
    m = sync.Mutex()
    m.lock()
    return m.lock, m.unlock, lambda: (m.lock(T), m.unlock())


def held_rwmutex():
    m = sync.RWMutex()
    m.lock()
    return m.rlock, m.unlock, lambda: (m.lock(T), m.unlock())


def empty_semaphore():
    s = sync.Semaphore(0)
    return s.acquire, s.release, lambda: s.acquire(timeout=T) or 1 / 0


def unset_event():
    e = sync.Event()
    return e.wait, e.set, lambda: e.wait(T) or 1 / 0


def busy_waitgroup():
    w = sync.WaitGroup()
    w.add(1)
    return w.wait, w.done, lambda: w.wait(T)


def empty_queue():
    q = sync.Queue()
    return q.get, lambda: q.put(1), lambda: q.get(timeout=T)


def empty_simple_queue():
    q = sync.SimpleQueue()
    return q.get, lambda: q.put(1), lambda: q.get(timeout=T)


def full_queue():
    q = sync.Queue(1)
    q.put(0)
    return lambda: q.put(1), q.get, lambda: q.put(2, timeout=T)


WAITS = [
    held_mutex,
    held_rwmutex,
    empty_semaphore,
    unset_event,
    busy_waitgroup,
    empty_queue,
    empty_simple_queue,
    full_queue,
]


@pytest.mark.parametrize("when", ["while it waits", "once it has been woken"])
@pytest.mark.parametrize("make", WAITS, ids=lambda f: f.__name__)
def test_cancelled_waiter_takes_nothing_along(make, when):
    wait, release, take = make()
    got = []

    def waiter():
        wait()
        got.append(1)

    g = go(waiter)
    parked(g)
    if when == "while it waits":
        g.cancel()
        assert isinstance(g.exception(T), GoroutineCancelled) and not got
        release()
        take()
    else:
        release()
        g.cancel()
        g.exception(T)
        if got:  # it had it: then it is to give it back itself
            return
        take()


@pytest.mark.parametrize("make", WAITS, ids=lambda f: f.__name__)
def test_pending_cancellation_is_raised_even_if_it_could_go_on(make):
    wait, release, take = make()
    release()

    def waiter():
        ramet.current().cancel()
        with pytest.raises(Cancelled):
            wait()
        take()  # nothing was consumed

    go(waiter).join(T)


def test_queue_serves_in_order_also_when_one_gives_up():
    q, log = sync.Queue(), []

    def get(i):
        log.append((i, q.get()))

    gs = [go(get, i) for i in range(4)]
    parked(*gs)
    gs[0].cancel()
    assert isinstance(gs[0].exception(T), GoroutineCancelled)
    for v in "abc":
        q.put(v)
        gosched()
    for g in gs[1:]:
        g.join(T)
    assert log == [(1, "a"), (2, "b"), (3, "c")]


def test_cond_interrupted_as_it_takes_the_lock_passes_its_notification_on():
    class Lock:
        def __init__(self):
            self.m = sync.Mutex()
            self.acquire, self.release = self.m.acquire, self.m.release

        def _acquire_restore(self, state):
            self.m.acquire()
            if go_wrong.pop():
                raise KeyError

        def _is_owned(self):
            return self.m.locked()

    go_wrong, lock = [False, True], Lock()
    cond = sync.Cond(lock)

    def wait():
        with lock.m:
            return cond.wait()

    a, b = go(wait), go(wait)
    parked(a, b)
    cond.signal()
    assert isinstance(a.exception(T), KeyError) and b.join(T) is True


# ---- futures, and what all have -----------------------------------------------------------------------


def test_future_in_goroutine_select_and_concurrent_futures():
    f, h = sync.Future(), sync.Future()
    g = go(f.result)
    parked(g)
    s = go(select, f.if_done(), h.if_done())
    parked(s)
    f.set_result(42)
    assert g.join(T) == 42 and s.join(T).index == 0
    t = in_thread(lambda: concurrent.futures.wait([f, h], timeout=0.01))
    assert t.done == {f} and t.not_done == {h}
    go(lambda: (sleep(0.005), h.set_exception(KeyError("k"))))
    assert set(in_thread(lambda: list(concurrent.futures.as_completed([f, h], timeout=T)))) == {f, h}
    with pytest.raises(KeyError):
        h.result(T)
    with pytest.raises(TimeoutError):
        sync.Future().result(0.01)


def test_atomic_long():
    a = AtomicLong(5)
    assert (a.add(3), a.sub(1), a.get(), a.value) == (8, 7, 7, 7)
    assert a.swap(1) == 7 and a.compare_and_swap(1, 9) and not a.compare_and_swap(1, 2) and a.value == 9
    a.set(2**63 - 1)
    assert a.add(1) == -(2**63)  # as Go's
    a.value = -4
    assert repr(a) == "AtomicLong(-4)"
    for bad, error in ((2**63, OverflowError), ("x", TypeError), (1.0, TypeError)):
        with pytest.raises(error):
            a.add(bad)
    with pytest.raises(TypeError):
        del a.value
    n = AtomicLong()
    threads = [threading.Thread(target=lambda: [n.add(1) for _ in range(2000)]) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert n.get() == 6000


@pytest.mark.parametrize(
    "make",
    [
        sync.Mutex,
        sync.RLock,
        sync.RWMutex,
        sync.Cond,
        sync.Semaphore,
        sync.BoundedSemaphore,
        sync.Event,
        sync.WaitGroup,
        sync.Queue,
        sync.PriorityQueue,
        sync.SimpleQueue,
        AtomicLong,
    ],
)
def test_objects_go_and_can_be_weakly_referred_to(make):
    o = make()
    w = weakref.ref(o)
    assert "at 0x" in repr(o) or "Cond(" in repr(o) or "AtomicLong" in repr(o)
    del o
    gc.collect()
    assert w() is None


def test_subclasses():
    for base in (sync.RLock, sync.RWMutex, sync.Cond, sync.Semaphore, sync.Event, sync.WaitGroup, AtomicLong):

        class Mine(base):
            extra = 1

        assert Mine().extra == 1


@pytest.mark.parametrize("base", [sync.RLock, sync.RWMutex, sync.Event, sync.WaitGroup, sync.SimpleQueue])
def test_arguments_are_for_the_init_of_a_subclass(base):
    class Mine(base):
        def __init__(self, x, *, y):
            self.xy = x, y

    assert Mine(1, y=2).xy == (1, 2)
    for bad in (lambda: base(1), lambda: base(x=1)):
        with pytest.raises(TypeError, match="takes no arguments"):
            bad()


def test_waiting_states_are_named():
    m, s, e, w = sync.Mutex(), sync.Semaphore(0), sync.Event(), sync.WaitGroup()
    m.lock()
    w.add(1)
    gs = {"mutex": go(m.lock), "semaphore": go(s.acquire), "event": go(e.wait), "waitgroup": go(w.wait)}
    for state, g in gs.items():
        parked(g, state=state)
    m.unlock(), s.release(), e.set(), w.done()
    for g in gs.values():
        g.join(T)
