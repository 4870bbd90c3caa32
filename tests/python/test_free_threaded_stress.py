"""OS threads and goroutines at the same objects, all at once: nothing is lost, nothing comes twice, the counts are right.

On a free-threaded CPython without its GIL they run side by side; elsewhere the interpreter changes between them as often as it
can. What each operation does by itself is tested elsewhere.
"""

import contextlib
import queue as std_queue

import pytest
from helpers import T
from ramet import Chan, ChanClosed, GoroutineCancelled, WouldBlock, default, go, select, sync
from ramet.sync.atomic import AtomicLong
from together import N, Together, breathe, change_often, observed, start, together

pytestmark = pytest.mark.usefixtures(change_often.__name__)


# ---- channels ----------------------------------------------------------------------------------------


def send_all(c, k, ways):
    for i in range(N):
        value, way = (k, i), ways[i % len(ways)]
        if way == "send":
            c.send(value)
        elif way == "select":
            select(c.if_send(value), Chan())
        elif way == "try":
            while not c.try_send(value):
                breathe()
        else:
            while True:
                try:
                    c.send(value, 0.0002)
                    break
                except TimeoutError:
                    pass


def recv_all(c, way):
    out = []
    while True:
        try:
            if way == "iterate":
                out += c
                return out
            if way == "recv":
                out.append(c.recv(0.0002))
            elif way == "try":
                v, ok = c.try_recv()
                if not ok:
                    return out
                out.append(v)
            elif way == "select":
                s = select(c, timeout=0.0002)
                if not s.ok:
                    return out
                out.append(s.value)
            else:
                s = select(Chan(), c, default)
                if s == default:
                    raise WouldBlock
                if not s.ok:
                    return out
                out.append(s.value)
        except TimeoutError:
            pass
        except WouldBlock:
            breathe()
        except ChanClosed:
            return out


def in_order(received, producers):
    """Everything once; and what one has sent comes to whoever gets it in the order in which it was sent."""
    for got in received:
        for k in range(producers):
            mine = [i for p, i in got if p == k]
            assert mine == sorted(mine)
    assert sorted(v for got in received for v in got) == [(k, i) for k in range(producers) for i in range(N)]


@pytest.mark.parametrize("capacity", [0, 1, 16])
def test_chan(capacity):
    c = Chan(capacity, name="busy")
    receivers, senders = Together(), Together()
    for way in ("iterate", "recv", "select", "try", "default", "iterate"):
        receivers.start(recv_all, c, way)
    for k in range(6):
        senders.start(send_all, c, k, (["send"], ["send", "select", "try", "timeout"])[k // 4])
    look, enough = observed(lambda: 0 <= len(c) <= c.capacity, lambda: c.closed, lambda: repr(c))
    looking = start(look, (), True, senders.begin)
    receivers.begin.set()
    senders.results()
    c.close()
    in_order(receivers.results(), 6)
    enough()
    looking(T)


def test_close_between_senders_and_receivers():
    """One close succeeds; what was sent is received, also what was in the buffer."""
    for round in range(N // 6):
        c, sent, closed = Chan(round % 3), AtomicLong(), AtomicLong()

        def send(c=c, sent=sent):
            try:
                for _ in range(50):
                    c.send(1)
                    sent.add(1)
            except ChanClosed:
                pass

        def close(c=c, closed=closed, sent=sent, least=round % 7):
            while sent.get() < least:
                breathe()
            try:
                c.close()
                closed.add(1)
            except ChanClosed:
                pass

        workers = Together().start(send, n=3).start(close, n=2)
        got = workers.start(list, c).start(recv_all, c, "select").results()
        assert sum(len(g) for g in got if g) == sent.get() and closed.get() == 1


def test_select_both_ways_on_many():
    """Values wander between channels, and their sum stays; the cases are shared."""
    chans = [Chan(k % 3) for k in range(4)]
    recvs = [c.if_recv() for c in chans]
    sent, received = AtomicLong(), AtomicLong()

    def wander(k):
        for i in range(N):
            a, b, c, d = (recvs[(k + i + j) % 4] for j in range(4))
            value = k * N + i
            try:
                s = select(
                    a, b, chans[(k + i + 2) % 4].if_send(value), chans[(k + i + 3) % 4].if_send(value), timeout=0.0005
                )
            except TimeoutError:
                continue
            if s.index < 2:
                assert s.ok
                received.add(s.value)
            else:
                sent.add(value)

    all = Together()
    for k in range(8):
        all.start(wander, k)
    all.results()
    while (s := select(*chans, default)) != default:
        received.add(s.value)
    assert sent.get() == received.get() > 0


def test_exceptions_on_channels():
    c, caught = Chan(2), AtomicLong()

    def throw(k):
        for i in range(N):
            c.send_exception(KeyError((k, i))) if i % 2 else c.send((k, i))

    def catch():
        got = []
        while True:
            try:
                v, ok = c.recv_ok()
                if not ok:
                    return got
                got.append(v)
            except KeyError as e:
                caught.add(1)
                got.append(e.args[0])

    receivers, senders = Together().start(catch, n=4), Together()
    for k in range(4):
        senders.start(throw, k)
    receivers.begin.set()
    senders.results()
    c.close()
    in_order(receivers.results(), 4)
    assert caught.get() == 4 * (N // 2)


def test_values_are_not_lost_to_cancellations():
    """Either the receiver has the value or the channel still has it."""
    c, total = Chan(), 0
    got = AtomicLong()

    def receive():
        while True:
            got.add(c.recv())

    receivers = [go(receive) for _ in range(4)]

    def cancel(k):
        for i in range(k, N, 2):
            receivers[i % len(receivers)].cancel()
            g = receivers[i % len(receivers)]
            while not g.done():
                breathe()
            receivers[i % len(receivers)] = go(receive)

    def send():
        return sum(1 for i in range(N) if send_soon(c))

    total = sum(r or 0 for r in Together().start(cancel, 0).start(send).start(send).start(cancel, 1).results())
    for g in [*receivers]:
        g.cancel()
    for g in receivers:
        assert isinstance(g.exception(T), GoroutineCancelled)
    assert got.get() == total


def send_soon(c):
    try:
        c.send(1, 0.01)
    except TimeoutError:
        return False
    return True


# ---- sync --------------------------------------------------------------------------------------------


class Section:
    """Whom two may not be in at the same time, and what they do there counts."""

    def __init__(self):
        self.inside, self.n = 0, 0

    def __call__(self):
        assert self.inside == 0
        self.inside += 1
        n = self.n
        if n % 16 == 0:
            breathe()
        self.n = n + 1
        self.inside -= 1


@pytest.mark.parametrize(
    "kind", [sync.Mutex, sync.RLock, sync.RWMutex, sync.Semaphore, sync.BoundedSemaphore, sync.Cond]
)
def test_mutual_exclusion(kind):
    lock, section = kind(), Section()

    def work(k):
        done = 0
        for i in range(N):
            way = (k + i) % 4
            if way == 1 and hasattr(lock, "lock"):
                try:
                    lock.lock(0.0002)
                except TimeoutError:
                    continue
                section()
                lock.unlock()
            elif way == 2 and hasattr(lock, "acquire"):
                if not lock.acquire(timeout=0.0002):
                    continue
                section()
                lock.release()
            elif way == 3 and hasattr(lock, "try_lock"):
                if not lock.try_lock():
                    breathe()
                    continue
                section()
                lock.unlock()
            else:
                with lock:
                    if kind is sync.RLock:
                        with lock:
                            section()
                    else:
                        section()
            done += 1
        return done

    all = Together()
    for k in range(6):
        all.start(work, k)
    look, enough = observed(lambda: repr(lock), getattr(lock, "locked", lambda: None))
    looking = start(look, (), True, all.begin)
    assert sum(all.results()) == section.n
    enough()
    looking(T)


def test_readers_and_writers():
    m, pair, readers, most = sync.RWMutex(), [0, 0], AtomicLong(), []

    def write():
        for i in range(N):
            with m:
                assert readers.get() == 0
                pair[0] += 1
                if i % 8 == 0:
                    breathe()
                pair[1] += 1

    def read():
        lock = m.rlocker()
        for i in range(N):
            if i % 3 == 0 and not lock.acquire(timeout=0.0002):
                continue
            if i % 3 == 1 and not m.try_rlock():
                breathe()
                continue
            if i % 3 == 2:
                lock.lock()
            most.append(readers.add(1))
            assert pair[0] == pair[1]
            if i % 8 == 0:
                breathe()
            readers.sub(1)
            lock.unlock()

    Together().start(write, n=3).start(read, n=5).results()
    assert pair == [3 * N, 3 * N] and readers.get() == 0 and max(most) <= 5


def test_semaphore():
    s, inside, passed = sync.BoundedSemaphore(3), AtomicLong(), AtomicLong()

    def work(k):
        for i in range(N):
            if (k + i) % 3 == 0 and not s.acquire(blocking=False):
                breathe()
                continue
            if (k + i) % 3 == 1 and not s.acquire(timeout=0.0002):
                continue
            if (k + i) % 3 == 2:
                s.acquire()
            assert inside.add(1) <= 3
            if i % 8 == 0:
                breathe()
            inside.sub(1)
            passed.add(1)
            s.release()

    together(*(lambda k=k: work(k) for k in range(8)))
    assert inside.get() == 0 and s._value == 3 and passed.get() >= 8 * N // 3


def test_cond():
    """A buffer of two places, as books have it; also with waits that give up."""
    cond, buffer, got = sync.Cond(), [], []

    def put(k):
        for i in range(N):
            with cond:
                while len(buffer) == 2:
                    cond.wait(0.0005 if i % 3 == 0 else None)
                buffer.append((k, i))
                cond.notify_all() if i % 2 else cond.broadcast()

    def get():
        for i in range(N):
            with cond:
                if i % 4 == 0:
                    while not cond.wait_for(lambda: buffer, 0.0005):
                        pass
                else:
                    cond.wait_for(lambda: buffer)
                got.append(buffer.pop(0))
                cond.notify_all()

    all = Together()
    for k in range(4):
        all.start(put, k).start(get)
    all.results()
    assert not buffer
    in_order([got], 4)


def test_event():
    """Set and cleared all the time; who waits for it goes on, and the last set is seen by all."""
    e, waits, last = sync.Event(), AtomicLong(), sync.Event()

    def flip():
        for i in range(N):
            e.set()
            if i % 4 == 0:
                breathe()
            e.clear()

    def wait(k):
        for i in range(N):
            if last.is_set():
                break
            if (k + i) % 2:
                e.wait(0.0002)
            else:
                select(e.if_set(), last.if_set())
            waits.add(1)
        e.wait()
        return e.is_set()

    flippers, waiters = Together().start(flip, n=2), Together()
    for k in range(6):
        waiters.start(wait, k)
    waiters.begin.set()
    flippers.results()
    e.set()
    last.set()
    assert waiters.results() == [True] * 6 and waits.get() > 0


def test_waitgroup_and_once():
    for _ in range(N // 20):
        group, ran, done = sync.WaitGroup(), AtomicLong(), AtomicLong()
        once, value = sync.Once(), sync.once_value(lambda ran=ran: ran.add(1000))
        group.add(4)

        def work(group=group, ran=ran, done=done, once=once, value=value):
            once.do(lambda: (breathe(), ran.add(1)))
            assert ran.get() in (1, 1001)
            assert value() in (1000, 1001)
            group.go(done.add, 1)
            done.add(1)
            group.done()

        def wait(group=group, done=done):
            group.wait()
            return done.get()

        results = Together().start(work, n=4).start(wait, n=4).results()
        assert results == [None] * 4 + [8] * 4 and ran.get() == 1001


def test_barrier():
    parties, rounds = 6, max(N // 6, 10)
    barrier, acted = sync.Barrier(parties, action=lambda: acted.append(len(acted))), []

    def work():
        out = []
        for i in range(rounds):
            out.append(barrier.wait())
            assert len(acted) in (i + 1, i + 2)
        return out

    columns = Together().start(work, n=parties).results()
    assert acted == list(range(rounds))
    assert all(sorted(row) == list(range(parties)) for row in zip(*columns, strict=True))


def test_atomic():
    n, seen = AtomicLong(), AtomicLong(-1)

    def work(k):
        for i in range(N):
            n.add(k)
            n.sub(1)
            while not seen.compare_and_swap(old := seen.get(), old + 1):
                pass

    together(*(lambda k=k: work(k) for k in range(8)))
    assert n.get() == N * (sum(range(8)) - 8) and seen.value == 8 * N - 1


# ---- queues ------------------------------------------------------------------------------------------


BOUNDED = [(kind, bound) for kind in (sync.Queue, sync.LifoQueue, sync.PriorityQueue) for bound in (0, 3)]


@pytest.mark.parametrize(("kind", "bound"), [*BOUNDED, (sync.SimpleQueue, 0)])
def test_queue(kind, bound):
    simple = kind is sync.SimpleQueue
    q = kind() if simple else kind(bound)

    def put(k):
        for i in range(N):
            way = i % 3
            try:
                if way == 0:
                    q.put((k, i))
                elif way == 1:
                    q.put((k, i), timeout=0.0002)
                else:
                    q.put_nowait((k, i))
            except sync.Full:
                assert bound
                q.put((k, i))

    def get():
        got = []
        while True:
            try:
                v = q.get() if len(got) % 2 else q.get(timeout=0.0002)
            except std_queue.Empty:
                continue
            if not simple:
                q.task_done()
            if v[0] == LAST:
                return got
            got.append(v)

    getters, putters = Together().start(get, n=4), Together()
    for k in range(4):
        putters.start(put, k)
    look, enough = observed(q.qsize, q.empty, lambda: simple or q.full(), lambda: repr(q))
    looking = start(look, (), True, putters.begin)
    getters.begin.set()
    putters.results()
    if not simple:
        q.join()
    for i in range(4):
        q.put((LAST, i))
    got = getters.results()
    enough()
    looking(T)
    assert sorted(v for g in got for v in g) == [(k, i) for k in range(4) for i in range(N)]
    if kind in (sync.Queue, sync.SimpleQueue):
        in_order(got, 4)
    assert q.empty() and (simple or q.unfinished_tasks == 0)


LAST = 1 << 30


@pytest.mark.parametrize("immediate", [False, True])
def test_queue_shutdown(immediate):
    """What was put is got, or was dropped by the shutdown; and nobody waits any more."""
    for bound in range(N // 12):
        q, put, got = sync.Queue(bound % 4), AtomicLong(), AtomicLong()

        def putter(q=q, put=put):
            with contextlib.suppress(sync.ShutDown):
                for _ in range(100):
                    q.put(1)
                    put.add(1)

        def getter(q=q, got=got):
            with contextlib.suppress(sync.ShutDown):
                while True:
                    got.add(q.get())

        def shut(q=q, put=put, least=bound):
            while put.get() < least:
                breathe()
            q.shutdown(immediate)

        Together().start(putter, n=3).start(getter, n=3).start(shut, n=2).results()
        assert got.get() == put.get() if not immediate else got.get() <= put.get()
