"""What the workloads of the torture program have in common."""

import gc
import threading

import ramet
from ramet import Chan, gosched, sync
from ramet.time import sleep

T = 30.0  # what "for ever" is here; torture.py sets it
WORK = {}  # name: (function, weight)


def work(weight=4):
    """A workload: fn(r) does something for some milliseconds, by the random numbers of r, and checks what came of it."""

    def add(fn):
        WORK[fn.__name__] = (fn, weight)
        return fn

    return add


def same(got, want):
    if got != want:
        raise AssertionError(f"got  {got!r}\nwant {want!r}")


class Server:
    """A goroutine that answers, so that whoever asks parks."""

    def __init__(self):
        self.questions = Chan()
        self.answers = 0
        self.goroutine = ramet.go(self.serve)

    def serve(self):
        for n, answer in self.questions:
            self.answers += 1
            answer.send(n)

    def ask(self, n):
        answer = Chan(1)
        self.questions.send((n, answer), T)
        same(answer.recv(T), n)

    def close(self):
        self.questions.close()
        self.goroutine.join(T)


server = None  # torture.py makes it
THREAD = threading.get_ident()  # the one that all goroutines are


def pause(r):
    """Park in one of many ways, or compute for some time, or do nothing."""
    how = r.randrange(12)
    if how < 4:
        gosched()
    elif how == 4:
        sleep(r.choice((0, 1e-6, 1e-4, 1e-3)))
    elif how == 5:
        server.ask(r.random())
    elif how == 6:
        ramet.blocking(int)
    elif how == 7:
        c = Chan(r.randrange(2))
        g = ramet.go(c.send, how)
        try:
            same(c.recv(T), how)
        finally:
            g.cancel()
    elif how == 8:
        spin(r)


def rendezvous(n):
    """Park in a finalizer, whoever runs it: a goroutine, whose cancellation is not for the finalizer, or an OS thread."""
    if threading.get_ident() == THREAD:
        with ramet.shield():
            meet(n)
    else:
        meet(n)


def meet(n):
    c = Chan()
    ramet.go(c.send, n)
    same(c.recv(T), n)


def spin(r):
    """Compute: long enough to be preempted, now and then."""
    n = 0
    for i in range(r.randrange(1, 4000)):
        n += i
    return n


def together(r, *fns):
    """All of them in goroutines; their results."""
    gs = []
    for fn in fns:
        gs.append(ramet.go(fn))
        pause(r)
    return [g.join(T) for g in gs]


class NoCollections:
    """A block in which there are no automatic collections: near the limit of recursion the finalizers of others would fail."""

    depth = 0

    def __enter__(self):
        NoCollections.depth += 1
        gc.disable()

    def __exit__(self, *exc):
        NoCollections.depth -= 1
        if not NoCollections.depth:
            gc.enable()


# A trace function of the thread's is called in all goroutines, and is taken away where it fails: not beside those who recurse.
tracing = sync.RWMutex()
