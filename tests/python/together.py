"""Workers in OS threads and in goroutines at the same time."""

import itertools
import sys
import threading
import time

import pytest
import ramet
from helpers import TSAN, T, until
from ramet import go, sync
from ramet.time import sleep

N = 96 if TSAN else 1000  # how often each worker does what it does
MAIN = threading.get_ident()  # goroutines run there


@pytest.fixture
def change_often():
    """The interpreter gives other threads their turn as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


def breathe():
    """Let others run, wherever this is called."""
    if threading.get_ident() == MAIN:
        ramet.gosched()
    else:
        time.sleep(0)


def start(worker, args, in_thread, begin):
    """What waits for its end and gives its result."""

    def work():
        begin.wait()
        return worker(*args)

    if not in_thread:
        return go(work).join
    outcome = []

    def thread():
        try:
            outcome.append((work(), None))
        except BaseException as e:
            outcome.append((None, e))

    t = threading.Thread(target=thread, daemon=True)
    t.start()

    def end(seconds):
        until(lambda: not t.is_alive(), seconds, sleep)
        value, exc = outcome[0]
        if exc:
            raise exc
        return value

    return end


class Together:
    """Workers that begin at once; every other one is an OS thread."""

    def __init__(self):
        self.begin, self.ends, self.count = sync.Event(), [], itertools.count()

    def start(self, worker, *args, n=1):
        """n of them; together with all others of ours the threads are as many as the goroutines."""
        self.ends += [start(worker, args, next(self.count) % 2 == 0, self.begin) for _ in range(n)]
        return self

    def results(self):
        """Of those that were started since last time."""
        self.begin.set()
        ends, self.ends = self.ends, []
        return [end(T) for end in ends]


def together(*workers):
    all = Together()
    for worker in workers:
        all.start(worker)
    return all.results()


def observed(*looks):
    """A worker, and what ends it: looks again and again, at what others change."""
    end = sync.Event()

    def look():
        while not end.is_set():
            for f in looks:
                f()
            breathe()

    return look, end.set
