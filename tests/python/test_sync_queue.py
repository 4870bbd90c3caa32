"""ramet.sync's queues: hand-over, cancellation, shutdown, OS threads among the goroutines, and what opens one. The standard
API is in test_sync_stdlib.py.
"""

import copy
import gc
import pickle
import random
import threading
import weakref
from collections import deque

import pytest
from helpers import T, parked, run_py, until
from ramet import GoroutineCancelled, go, sync
from ramet.time import sleep


class Overriding(sync.Queue):
    """A queue whose items go through Python code."""

    def _put(self, item):
        super()._put(item)

    def _get(self):
        return super()._get()


def opened(*args):
    q = sync.Queue(*args)
    assert isinstance(q.queue, deque)
    return q


BOUNDED = [sync.Queue, sync.LifoQueue, sync.PriorityQueue, opened, Overriding]
ALL = [*BOUNDED, sync.SimpleQueue]


def started(*calls):
    """Goroutines, each begun when those before it wait."""
    gs = []
    for fn, *args in calls:
        gs.append(go(fn, *args))
        parked(gs[-1])
    return gs


# ---- hand-over ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sync.Queue, sync.LifoQueue, sync.SimpleQueue])
def test_getters_are_served_in_order(make):
    q = make()
    gs = started(*[(q.get,)] * 4)
    for i in range(4):
        q.put(i)
    assert [g.join(T) for g in gs] == [0, 1, 2, 3]


@pytest.mark.parametrize("make", [sync.Queue, sync.LifoQueue])
def test_putters_are_let_in_in_order(make):
    q = make(1)
    q.put(0)
    gs = started(*[(q.put, i) for i in range(1, 5)])
    out = []
    for _ in range(5):
        out.append(q.get())
        sleep(0)
    assert out == [0, 1, 2, 3, 4] and q.empty()
    for g in gs:
        g.join(T)


def test_what_is_handed_over_is_not_overtaken():
    q = sync.Queue()
    (g,) = started((q.get,))
    q.put("first")
    q.put("second")  # the getter has not run yet
    assert q.get_nowait() == "second" and g.join(T) == "first"
    q = sync.Queue(1)
    q.put(1)
    (g,) = started((q.put, 2))
    assert q.get() == 1
    with pytest.raises(sync.Full):
        q.put_nowait(3)  # the place is the putter's
    assert q.get() == 2
    g.join(T)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_getter_cancelled_while_it_is_served_loses_no_item(make, when):
    q, out = make(), []

    def getter():
        out.append(q.get())

    gs = started((getter,), (getter,), (getter,))
    if when == "before":
        gs[0].cancel()
    q.put(1)
    q.put(2)
    if when == "after":
        gs[0].cancel()
        gs[1].cancel()
    for g in gs[:2]:
        g.exception(T)
    while not q.empty():
        out.append(q.get_nowait())
    until(lambda: len(out) == 2, sleep=sleep)
    assert sorted(out) == [1, 2]
    gs[2].cancel()
    gs[2].exception(T)


@pytest.mark.parametrize("make", BOUNDED)
def test_a_putter_cancelled_in_time_leaves_its_place(make):
    q = make(1)
    q.put(0)
    gs = started((q.put, 1), (q.put, 2))
    gs[0].cancel()
    assert q.get() == 0
    assert q.get(timeout=T) == 2
    assert isinstance(gs[0].exception(T), GoroutineCancelled)
    gs[1].join(T)
    assert q.empty() and q.unfinished_tasks == 2


@pytest.mark.parametrize("make", BOUNDED)
def test_one_whose_time_is_up_is_not_served(make):
    q = make(1)
    q.put(0)
    with pytest.raises(sync.Full):
        q.put(1, timeout=0.005)
    assert q.get() == 0
    with pytest.raises(sync.Empty):
        q.get(timeout=0.005)
    q.put(2)
    assert q.get(True, 0) == 2
    for late in (lambda: q.get(timeout=0), lambda: q.get(False), lambda: q.get(block=0, timeout=-1), q.get_nowait):
        with pytest.raises(sync.Empty):
            late()
    q.put(3, timeout=0)
    for late in (lambda: q.put(4, timeout=0), lambda: q.put(4, False), lambda: q.put_nowait(4)):
        with pytest.raises(sync.Full):
            late()
    assert q.qsize() == 1 and q.full() and not q.empty()


# ---- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", BOUNDED)
@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_all(make, immediate):
    q = make(1)
    getters = started(*[(q.get,)] * 3)
    q.shutdown(immediate)
    for g in getters:
        assert isinstance(g.exception(T), sync.ShutDown)
    q = make(1)
    q.put(0)
    putters, joiners = started(*[(q.put, i) for i in range(3)]), started((q.join,), (q.join,))
    threads = [threading.Thread(target=lambda: pytest.raises(sync.ShutDown, q.put, 9)) for _ in range(2)]
    for t in threads:
        t.start()
    sleep(0.01)
    q.shutdown(immediate=immediate)
    for g in putters:
        assert isinstance(g.exception(T), sync.ShutDown)
    until(lambda: not any(t.is_alive() for t in threads), sleep=sleep)
    if not immediate:
        assert q.get() == 0
        q.task_done()
    for g in joiners:
        g.join(T)
    for call in (q.get, q.get_nowait, lambda: q.put(1), lambda: q.put_nowait(1)):
        with pytest.raises(sync.ShutDown):
            call()
    assert q.is_shutdown and q.unfinished_tasks == 0


def test_what_an_immediate_shutdown_drops_may_look_at_the_queue():
    q, seen = sync.Queue(), []

    class Item:
        def __del__(self):
            seen.append((q.qsize(), q.is_shutdown, q.unfinished_tasks))

    for _ in range(3):
        q.put(Item())
    q.shutdown(immediate=True)
    assert seen == [(0, True, 0)] * 3


@pytest.mark.parametrize("make", BOUNDED)
def test_join_and_task_done(make):
    q = make()
    q.join()
    for i in range(3):
        q.put(i)
    joiners = started((q.join,), (q.join,))
    for _ in range(3):
        assert not any(g.done() for g in joiners)
        q.get()
        q.task_done()
    for g in joiners:
        g.join(T)
    with pytest.raises(ValueError, match="too many"):
        q.task_done()
    (g,) = started((q.get,))
    q.put(1)  # handed over: that is a task, too
    g.join(T)
    (g,) = started((q.join,))
    q.task_done()
    g.join(T)


def test_queue_producers_consumers_and_join():
    q, out = sync.Queue(4), []

    def produce(k):
        for i in range(50):
            q.put((k, i))

    def consume():
        while True:
            try:
                item = q.get()
            except sync.ShutDown:
                return
            out.append(item)
            q.task_done()

    gs = [go(produce, k) for k in range(4)]
    cs = [go(consume) for _ in range(3)]
    for g in gs:
        g.join(T)
    q.join()
    assert sorted(out) == [(k, i) for k in range(4) for i in range(50)]
    assert [i for k, i in out if k == 2] == list(range(50))
    parked(*cs)
    q.shutdown()
    for c in cs:
        c.join(T)
    with pytest.raises(sync.ShutDown):
        q.put(1)


def test_queue_shutdown_while_putting_and_draining():
    q = sync.Queue(1)
    q.put(1)
    g = go(q.put, 2)
    parked(g)
    q.shutdown()
    assert isinstance(g.exception(T), sync.ShutDown)
    assert q.get() == 1
    with pytest.raises(sync.ShutDown):
        q.get()
    p = sync.PriorityQueue()
    for i in (3, 1, 2):
        p.put(i)
    p.shutdown(immediate=True)
    with pytest.raises(sync.ShutDown):
        p.get()
    p.join()


# ---- what opens one -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [sync.Queue, sync.LifoQueue])
def test_opened_with_all_that_is_in_it_and_waits(kind):
    q, fifo = kind(6), kind is sync.Queue
    for i in range(6 + fifo):
        q.put(i)
        if fifo and i == 0:
            q.get()  # so that the ring wraps
    putters, joiners = started((q.put, 50), (q.put, 51)), started((q.join,))
    assert list(q.queue) == list(range(fifo, fifo + 6))
    assert type(q.queue) is (deque if fifo else list)
    assert q.get() == (1 if fifo else 5)
    q.maxsize = 0
    for g in putters:
        g.join(T)
    rest = [q.get() for _ in range(q.qsize())]
    assert rest[:5] == [2, 3, 4, 5, 6] if fifo else rest[2:] == [4, 3, 2, 1, 0]
    assert {50, 51} < set(rest) and not joiners[0].done()
    (g,) = started((q.get,))
    q.put(1)
    assert g.join(T) == 1
    while q.unfinished_tasks:
        q.task_done()
    joiners[0].join(T)


def test_getters_that_wait_when_it_is_opened():
    q = sync.Queue()
    gs = started((q.get,), (q.get,))
    assert not q.mutex.locked()
    parked(*gs, state="cond")
    q.put(1)
    q.put(2)
    assert sorted(g.join(T) for g in gs) == [1, 2]


def test_whoever_holds_the_mutex_keeps_all_out():
    q = sync.Queue()
    for i in range(3):
        q.put(i)
    with q.mutex:
        gs = started((q.put, 7), (q.get,), (q.qsize,), (q.task_done,))
        q.queue.clear()
        q.unfinished_tasks = 5
        q.all_tasks_done.notify_all()
    for g in gs:
        g.join(T)
    assert q.empty() and q.unfinished_tasks == 5
    q.queue = deque([1, 2])
    assert q.get() == 1


class Unique(sync.Queue):
    def _init(self, maxsize):
        self.queue = set()
        self.inits = [*getattr(self, "inits", []), maxsize]

    def _put(self, item):
        self.queue.add(item)

    def _get(self):
        return self.queue.pop()


def test_hooks_of_a_subclass():
    q = Unique(2)
    assert q.inits == [2]
    for _ in range(5):
        q.put(1)
    assert q.qsize() == 1 and q.get() == 1 and q.empty()
    (g,) = started((q.get,))
    q.put(4)
    assert g.join(T) == 4

    class Counting(sync.LifoQueue):
        sizes = 0

        def _qsize(self):
            self.sizes += 1
            return super()._qsize()

    q = Counting(1)
    q.put(1)
    with pytest.raises(sync.Full):
        q.put_nowait(1)
    assert q.sizes == 2 and type(q.queue) is list

    class Bad(sync.Queue):
        def _qsize(self):
            return "many"

    with pytest.raises(TypeError):
        Bad().get()
    with pytest.raises(TypeError):
        Bad().qsize()


def test_nowait_calls_the_subclass_put_and_get():
    class Boxed(sync.Queue):
        def put(self, item, *args, **kwargs):
            super().put((item,), *args, **kwargs)

        def get(self, *args, **kwargs):
            return super().get(*args, **kwargs)[0]

    q = Boxed(1)
    q.put_nowait("x")
    with pytest.raises(sync.Full):
        q.put_nowait("y")
    assert q.get_nowait() == "x"
    with pytest.raises(sync.Empty):
        q.get_nowait()


def test_a_subclass_that_does_not_call_init():
    class Lazy(sync.Queue):
        def __init__(self, a, b):
            pass

    class LazyHooked(Lazy):
        def _put(self, item):
            super()._put(item)

    for cls in (Lazy, LazyHooked):
        q = cls(1, b=2)
        q.put(1)
        assert q.get() == 1 and q.maxsize == 0


def test_initialised_again():
    q = sync.Queue(1)
    q.put(1)
    (g,) = started((q.put, 2))
    q.__init__(5)
    g.join(T)
    assert q.qsize() == 1 and q.get() == 2
    q = opened(1)
    q.put(1)
    q.__init__()
    assert q.empty() and q.maxsize == 0


def test_maxsize_may_change():
    q = sync.Queue(1)
    q.put(0)
    gs = started(*[(q.put, i) for i in range(1, 4)])
    q.maxsize = 3
    for g in gs[:2]:
        g.join(T)
    assert not gs[2].done() and q.full()
    q.maxsize = 0
    gs[2].join(T)
    q.maxsize = 2
    with pytest.raises(sync.Full):
        q.put_nowait(9)
    assert [q.get() for _ in range(4)] == [0, 1, 2, 3]


def test_comparisons_of_a_priority_queue_may_fail_and_park():
    class Item:
        def __init__(self, n):
            self.n = n

        def __lt__(self, other):
            sleep(0)
            if self.n < 0 or other.n < 0:
                raise ZeroDivisionError
            return self.n < other.n

    q = sync.PriorityQueue()

    def put(n):
        q.put(Item(n))

    for g in [go(put, n) for n in (5, 3, 4, 1, 2)]:
        g.join(T)
    with pytest.raises(ZeroDivisionError):
        q.put(Item(-1))
    assert q.unfinished_tasks == 5
    q.queue[:] = [i for i in q.queue if i.n >= 0]
    q.queue.sort()
    assert [q.get().n for _ in range(5)] == [1, 2, 3, 4, 5]


# ---- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_a_queue_in_itself_is_collected(make):
    class Item:
        def __init__(self, q):
            self.q = q

        def __lt__(self, other):
            return False

    q = make()
    q.put(Item(q))
    q.put(Item(q))
    w = weakref.ref(q)
    assert len([r for r in gc.get_referents(q) if isinstance(r, Item | list | deque)]) >= 1
    del q
    gc.collect()
    assert w() is None


def test_attributes_annotations_and_copies():
    assert sync.Queue[int](3).maxsize == 3
    q = sync.Queue(3)
    q.name = "mine"
    assert q.__dict__ == {"name": "mine"} and q.maxsize == 3
    assert issubclass(sync.LifoQueue, sync.Queue) and issubclass(sync.PriorityQueue, sync.Queue)
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        for one in (q, sync.SimpleQueue()):
            with pytest.raises(TypeError):
                copying(one)
    for bad in (
        lambda: sync.Queue("x"),
        lambda: sync.Queue(1.5),
        lambda: sync.Queue(1, 2),
        lambda: sync.Queue(size=1),
        lambda: setattr(q, "maxsize", "x"),
        lambda: delattr(q, "maxsize"),
        lambda: q.put(),
        lambda: q.put(1, timeout="x"),
        lambda: q.get(timeout="x"),
        lambda: q.get(nothing=1),
        lambda: sync.Queue.put(sync.SimpleQueue(), 1),
        lambda: sync.Queue.__new__(sync.SimpleQueue),
    ):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(AttributeError):
        del q.queue
    for bad in (lambda: q.put(1, timeout=-1), lambda: q.get(timeout=-0.5), lambda: q.get(timeout=float("nan"))):
        with pytest.raises(ValueError, match="timeout"):
            bad()


@pytest.mark.parametrize("kind", [sync.Queue, sync.LifoQueue, sync.SimpleQueue])
def test_against_a_list(kind):
    """Bursts of many sizes: the ring wraps, grows and is given back."""
    rand, q, model, n = random.Random(7), kind(), [], 0
    for _ in range(300):
        for _ in range(rand.choice((1, 7, 8, 9, 60, 3000))):
            q.put(n)
            model.append(n)
            n += 1
        for _ in range(rand.randrange(len(model) + 1) if rand.random() < 0.8 else len(model)):
            want = model.pop() if kind is sync.LifoQueue else model.pop(0)
            assert q.get_nowait() == want
        assert q.qsize() == len(model) and q.empty() == (not model)
        if len(model) > 5000:
            model = model[:0]
            while not q.empty():
                q.get()


# ---- all together ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_threads_and_goroutines(make):
    """Producers and consumers of both sorts; some give up now and then, and somebody opens it in the middle."""
    q = make(3) if make is not sync.SimpleQueue else make()
    each, out, lock = 300, [], threading.Lock()

    def produce(k):
        for i in range(each):
            while True:
                try:
                    q.put((k, i), timeout=0.0005 if i % 5 == 0 else None)
                    break
                except sync.Full:
                    pass

    def consume():
        mine = []
        while True:
            try:
                item = q.get(timeout=0.0005 if len(mine) % 7 == 0 else None)
            except sync.Empty:
                continue
            if item[0] == 99:
                break
            mine.append(item)
        with lock:
            out.extend(mine)

    threads = [threading.Thread(target=produce, args=(k,)) for k in range(2)]
    threads += [threading.Thread(target=consume) for _ in range(2)]
    for t in threads:
        t.start()
    gs = [go(produce, k) for k in (2, 3)]
    consumers = [go(consume) for _ in range(2)]
    sleep(0.001)
    if make is sync.Queue:
        assert len(q.queue) <= 3
    for g in gs:
        g.join(T)
    until(lambda: not any(t.is_alive() for t in threads[:2]), sleep=sleep)
    for i in range(4):
        q.put((99, i))
    for c in consumers:
        c.join(T)
    until(lambda: not any(t.is_alive() for t in threads), sleep=sleep)
    assert sorted(out) == [(k, i) for k in range(4) for i in range(each)]
    assert q.empty()


@pytest.mark.parametrize("make", ALL)
def test_many_are_cancelled_and_nothing_is_lost(make):
    rand, q, got = random.Random(3), make(), []

    def getter():
        while True:
            got.append(q.get())

    gs = [go(getter) for _ in range(20)]
    for n in range(500):
        q.put(n)
        if n % 3 == 0:
            i = rand.randrange(len(gs))
            gs[i].cancel()
            gs[i] = go(getter)
        if n % 7 == 0:
            sleep(0)
    until(lambda: len(got) + q.qsize() == 500, sleep=sleep)
    until(lambda: q.empty(), sleep=sleep)
    assert sorted(got) == list(range(500))
    for g in gs:
        g.cancel()


def test_states_and_the_deadlock_report():
    q = sync.Queue(1)
    (g,) = started((q.get,))
    parked(g, state="queue get")
    q.put(1)
    g.join(T)
    q.task_done()
    q.put(2)
    gs = started((q.put, 3), (q.join,))
    parked(gs[0], state="queue put")
    parked(gs[1], state="queue join")
    q.shutdown(immediate=True)
    for g in gs:
        g.exception(T)
    ended = run_py(
        """
import ramet
from ramet import sync
q, full = sync.Queue(), sync.Queue(1)
full.put(1)
ramet.go(full.put, 2)
ramet.go(full.join)
try:
    q.get()
except ramet.DeadlockError as e:
    text = str(e)
    for state, obj in (("queue get", q), ("queue put", full), ("queue join", full)):
        assert f"[{state} {obj!r}" in text, text
    print("named")
"""
    )
    assert ended.out == "named\n", str(ended)


def test_what_need_not_wait_starts_nothing():
    ended = run_py(
        """
import os, ramet
from ramet import sync
for q in (sync.Queue(2), sync.LifoQueue(2), sync.PriorityQueue(2), sync.SimpleQueue()):
    q.put(1), q.put_nowait(2), q.get(), q.get(timeout=1)
    try:
        q.get_nowait()
    except sync.Empty:
        pass
    if hasattr(q, "join"):
        q.task_done(), q.task_done(), q.join(), q.mutex, q.shutdown()
assert ramet.stats()["started"] == 1 and len(os.listdir("/proc/self/task")) == 1
print("nothing")
"""
    )
    assert ended.out == "nothing\n", str(ended)


def test_in_the_child_of_a_fork():
    """Who waited there is gone, and takes nothing."""
    ended = run_py(
        """
import os, ramet, ramet.time
from ramet import sync
q, full = sync.Queue(), sync.Queue(1)
full.put(1)
ramet.go(q.get), ramet.go(full.put, 2)
ramet.time.sleep(0.01)
pid = os.fork()
if not pid:
    q.put("mine")
    assert q.get(timeout=5) == "mine"
    assert full.get() == 1
    full.put(3, timeout=5)
    g = ramet.go(q.get)
    q.put(4)
    assert g.join(5) == 4
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print("gone")
"""
    )
    assert ended.out == "gone\n", str(ended)
