"""Forks, and OS threads of the parent that wait at that time: they are not in the child, where their stacks are given to others."""

import pytest
from fork_helpers import BEGIN, BY, CALLERS
from helpers import run_py

# What a thread of the parent waits in, and what two goroutines of the child do there: the one that waits, and the one that goes
# on whatever the other does.
PLACES = {
    "recv": ("c = Chan()", "c.recv()", "c.recv()", "c.send(1)"),
    "send": ("c = Chan()", "c.send(0)", "c.send(1)", "assert c.recv() == 1"),
    "select": ("c, d = Chan(), Chan()", "select(c, d)", "select(c, d)", "d.send(1); c.try_send(2)"),
    "select_many": (
        "cs = [Chan() for _ in range(20)]",
        "select(*cs)",
        "select(*cs)",
        "cs[11].send(1); cs[12].try_send(1)",
    ),
    "mutex": ("m = Mutex(); m.lock()", "m.lock()", "m.lock()", "m.unlock()"),
    "rwmutex_lock": ("m = RWMutex(); m.rlock()", "m.lock()", "m.lock()", "m.runlock()"),
    "rwmutex_rlock": ("m = RWMutex(); m.lock()", "m.rlock()", "m.rlock()", "m.unlock()"),
    "cond": (
        "m = Mutex(); v = Cond(m)",
        "m.lock(); v.wait()",
        "m.lock(); v.wait(); m.unlock()",
        "m.lock(); v.notify(); m.unlock()",
    ),
    "cond_that_unlocks": (
        "m = Slow(); v = Cond(m)",
        "m.acquire(); v.wait()",
        "m.acquire(); v.wait(); m.release()",
        "m.acquire(); v.notify(); m.release()",
    ),
    "semaphore": ("s = Semaphore(0)", "s.acquire()", "s.acquire()", "s.release()"),
    "event": ("e = Event()", "e.wait()", "e.wait()", "e.set()"),
    "waitgroup": ("w = WaitGroup(); w.add(1)", "w.wait()", "w.wait()", "w.done()"),
    "queue_get": ("q = Queue()", "q.get()", "q.get()", "q.put(1)"),
    "queue_put": ("q = Queue(1); q.put(0)", "q.put(1)", "q.put(2)", "assert [q.get(), q.get()] == [0, 2]"),
    "queue_join": ("q = Queue(); q.put(0)", "q.join()", "q.join()", "q.task_done()"),
    "join": ("c = Chan(); g = go(c.recv)", "g.join()", "assert g.cancelled()", "pass"),
}

PROGRAM = """
import signal
from ramet.sync import *

class Slow:
    # a lock that gives up the GIL once its waiter stands in line, and does not come back in the parent
    def __init__(self):
        self.lock = Mutex()
    def acquire(self, blocking=True):
        return self.lock.lock() or True if blocking else self.lock.try_lock()
    def locked(self):
        return self.lock.locked()
    def release(self):
        self.lock.unlock()
        if threading.current_thread().name == "waits":
            time.sleep(100)

def deep(n):
    return n and deep(n - 1) + sum(range(n))

MAKE

def waits():
    WAIT

def goes_on():
    WAKE

def waits_again():
    AGAIN

threads = [threading.Thread(target=waits, name="waits", daemon=True) for _ in range(4)]
for t in threads: t.start()
sleep(0.05)

def work():
    pid = os.fork()
    if pid == 0:
        ok = False
        signal.alarm(15)
        try:
            for _ in range(2): # on the stacks of those that waited
                others = [threading.Thread(target=deep, args=(300,)) for _ in range(6)]
                for t in others: t.start()
                for t in others: t.join()
            a = go(waits_again)
            for _ in range(3): gosched()
            b = go(goes_on)
            a.join(50); b.join(50)
            ok = True
        except BaseException:
            import traceback; traceback.print_exc()
        finally:
            os._exit(not ok)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

by_BY()
os._exit(0)
"""


@BY
@pytest.mark.parametrize("place", PLACES)
def test_what_threads_of_the_parent_wait_in(place, by):
    make, wait, again, wake = PLACES[place]
    program = (
        PROGRAM.replace("MAKE", make)
        .replace("WAIT", wait)
        .replace("WAKE", wake)
        .replace("AGAIN", again)
        .replace("BY", by)
    )
    ended = run_py(BEGIN + CALLERS + program)
    assert ended.err == "", str(ended)
