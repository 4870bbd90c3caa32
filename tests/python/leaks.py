"""What the tests of leaked goroutines share: ways to wait for what nobody can bring, and to look."""

import gc
import sys
import types
import warnings

import pytest
import ramet
from ramet import Chan, debug, go, gosched, select, sync


def start(fn, *args):
    """Start it and keep no handle; its number."""
    return go(fn, *args).id


def settle():
    for _ in range(5):
        gosched()


def leaked():
    settle()
    return {g.id for g in debug.leaks()}


def collect():
    """A full collection, and what comes of it: the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
        settle()
    return [str(w.message) for w in seen if issubclass(w.category, ResourceWarning)]


def cancel(ids):
    for g in ramet._core._goroutines():
        if g.id in ids:
            g.cancel()
    settle()


@pytest.fixture(autouse=True)
def tidy():
    """Neither this test's nor another one's are in the way."""
    gc.collect()
    settle()
    assert leaked() == set()
    yield
    gc.collect()
    settle()


# ---- functions that wait for a channel that they get ----


class Thing:
    pass


def recv(c):
    c.recv()


def recv_ok(c):
    c.recv_ok()


def recv_in_a_list(c):
    value = [c, {"c": (c,)}]
    c.recv()
    del value


def iterate(c):
    for _ in c:
        pass


def iterate_within(c):
    for _ in [1]:
        for _ in c:
            pass


def send(c):
    c.send(1)


def send_itself(c):
    c.send([c])


def in_a_call(c):
    def inner(chan):
        return [1, chan.recv(), 2]

    return {"x": inner(c)}


def deep(c, n=50):
    return [n, deep(c, n - 1)] if n else c.recv()


def select_bare(c):
    select(c, Chan())


def select_cases(c):
    select(c.if_recv(), c.if_send([c]), None)


def select_star(c):
    select(*[c.if_recv(), Chan().if_send([c])])


def select_many(c):
    select(*(Chan() for _ in range(8)), c)


def handle_of_its_own(c):
    me = ramet.current()
    c.recv()
    del me


def named(c):
    ramet.current().name = "named"
    c.recv()


def closure(c):
    def again():
        return again, c

    c.recv()


def cycle(c):
    a, b = Thing(), Thing()
    a.b, b.a, a.c, b.method = b, a, c, c.recv
    del c
    a.c.recv()


def bound_method(c):
    a = Thing()
    a.recv, a.c = c.recv, c
    del c
    a.recv()


def generator(c):
    def values():
        yield c.recv()

    for _ in values():
        pass


def generator_from(c):
    def values():
        yield c.recv()

    def more():
        yield from values()

    for _ in more():
        pass


def suspended_generator(c):
    def values():
        mine = [c]
        yield 1
        mine.clear()

    g = values()
    next(g)
    c.recv()
    del g


def exception(c):
    try:
        raise ValueError(c)
    except ValueError:
        c.recv()


def with_statement(c):
    class Manager:
        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

    with Manager() as m:
        m.c = c
        c.recv()


def star_args(c):
    def inner(*args, **kwargs):
        args[0].recv()

    inner(*[c], c=c)


CHANS = [v for v in list(globals().values()) if isinstance(v, types.FunctionType) and v.__module__ == __name__]
CHANS = CHANS[CHANS.index(recv) :]
if sys.version_info < (3, 12):  # there, arguments of such a call are C code's
    CHANS.remove(star_args)


# ---- functions that wait for something of their own ----


def event():
    sync.Event().wait()


def event_local():
    e = sync.Event()
    e.wait()


def waitgroup():
    w = sync.WaitGroup()
    w.add(1)
    w.wait()


def semaphore():
    sync.Semaphore(0).acquire()


def mutex():
    m = sync.Mutex()
    m.lock()
    m.lock()


def with_mutex():
    m = sync.Mutex()
    with m:
        with m:
            pass


def with_semaphore():
    with sync.Semaphore(0):
        pass


def attribute():
    class Server:
        def __init__(self):
            self.lock, self.me = sync.Lock(), self

        def serve(self):
            self.lock.acquire()
            self.lock.acquire()

    Server().serve()


def rwmutex():
    m = sync.RWMutex()
    m.lock()
    m.rlock()


def condition():
    c = sync.Cond()
    with c:
        c.wait()


def queue_get():
    sync.Queue().get()


def queue_put():
    q = sync.Queue(1)
    q.put(q)
    q.put(1)


def queue_join():
    q = sync.Queue(1)
    q.put(1)
    q.join()


def future():
    sync.Future().result()


def barrier():
    sync.Barrier(2).wait()


def nil():
    select()


def nil_cases():
    select(None, None)


def recv_own():
    Chan().recv()


def send_buffered():
    c = Chan(1)
    c.send(c)
    c.send(1)


def joins():
    def other(c):
        c.recv()

    go(other, Chan()).join()


def waits_for_the_end():
    def other(c):
        c.recv()

    select(go(other, Chan()).if_done())


OTHERS = [v for v in list(globals().values()) if isinstance(v, types.FunctionType) and v.__module__ == __name__]
OTHERS = OTHERS[OTHERS.index(event) :]
