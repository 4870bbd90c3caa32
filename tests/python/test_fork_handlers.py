"""fork: what a child does before ramet's handler is called, in it, and without it."""

import pytest
from fork_helpers import BY, CALLERS
from helpers import run_py

# work() forks; what the child checks is check().
AROUND = """
import os, sys, threading
log = []
os.register_at_fork(after_in_child=lambda: handler())
import ramet
from ramet import Chan, go, gosched
from ramet.sync import Mutex

class Waits:
    def __del__(self):
        c = Chan()
        go(c.send, "waited")
        log.append(c.recv(20))

parent = os.getpid()
def other():
    while True:
        if os.getpid() != parent: log.append("the parent's goroutine runs in the child")
        gosched()
for _ in range(3): go(other)

def keep(make):
    # what make() makes, in a thread: in the child CPython drops it before the first handler
    had, started, stop = threading.local(), threading.Event(), threading.Event()
    def thread():
        had.it = make()
        started.set()
        stop.wait()
    threading.Thread(target=thread).start()
    ramet.blocking(started.wait)

def work():
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            for _ in range(10): gosched()
            ok = check() and ramet.num_goroutines() == 1
            if not ok: print(log, ramet.num_goroutines(), flush=True)
        finally:
            os._exit(not ok)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

"""


@BY
def test_a_handler_of_before_first_use_waits(by):
    """By a finalizer of what it drops: the child is alone by then, and the handler's others go on."""
    code = """
held = [Waits()]
def handler():
    held.clear()
    log.append("end of the handler")
def check():
    return log == ["waited", "end of the handler"]
"""
    run_py(f"{AROUND}{CALLERS}{code}by_{by}()\nos._exit(0)")


@BY
def test_a_handler_of_before_first_use_unlocks_what_others_wait_for(by):
    code = """
m = Mutex()
m.lock()
others = [go(m.lock) for _ in range(2)]
gosched()
handler = m.unlock
def check():
    return m.try_lock()
"""
    run_py(f"{AROUND}{CALLERS}{code}by_{by}()\nos._exit(0)")


@BY
def test_what_a_thread_of_the_parent_had_waits_in_the_child(by):
    """CPython drops it before the first handler."""
    code = """
def handler():
    log.append("handler")
def check():
    return log == ["waited", "handler"]
keep(Waits)
"""
    run_py(f"{AROUND}{CALLERS}{code}by_{by}()\nos._exit(0)")


def test_a_connection_that_a_thread_had_stays_the_parents():
    """In the child it goes with the thread's other things, before the first handler."""
    code = """
import socket
from ramet import net
ln = net.listen("tcp", "127.0.0.1:0")
peer = socket.create_connection(ln.addr)
box = [ln.accept()]
g = go(box[0].read, 100)
gosched()
peer.send(b"x")
assert g.join(50) == b"x"
had, started, go_on, back = threading.local(), threading.Event(), threading.Event(), Chan(1)
def thread():
    had.it = box.pop()
    started.set()
    go_on.wait()
    back.send(had.it)
threading.Thread(target=thread).start()
ramet.blocking(started.wait)
def handler():
    pass
def check():
    return True
work()
go_on.set()
conn = back.recv()
g = go(conn.read, 100)
ramet.time.sleep(0.01)
peer.send(b"y")
assert g.join(50) == b"y"
os._exit(0)
"""
    run_py(AROUND + code)


@pytest.mark.parametrize(
    ("make", "give", "take"),
    [
        ("Queue()", "x.put(1)", "x.get(timeout=50)"),
        ("Semaphore(0)", "x.release()", "x.acquire(timeout=50)"),
        ("RWMutex(); x.lock()", "x.unlock()", "x.lock(timeout=50)"),
        ("Mutex(); x.lock()", "x.unlock()", "x.lock(timeout=50)"),
    ],
    ids=["Queue", "Semaphore", "RWMutex", "Mutex"],
)
def test_what_a_finalizer_gives_is_not_for_the_parents_waiters(make, give, take):
    code = f"""
from ramet.sync import Queue, RWMutex, Semaphore
x = {make}
for _ in range(2): go(lambda: ({take}, log.append("it got it")))
gosched()
class Gives:
    def __del__(self): {give}
keep(Gives)
def handler():
    pass
def check():
    {take}
    return not log
work()
os._exit(0)
"""
    run_py(AROUND + code)


@pytest.mark.parametrize("how", ["pass", "sys.exit(5)", "go(gosched).join()"])
def test_how_a_child_of_a_hosted_runtimes_goroutine_ends(how):
    code = f"""
import os, sys, threading
import ramet
from ramet import go, gosched
def fork():
    pid = os.fork()
    if pid == 0:
        {how}
        return
    status.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
status = []
def thread():
    go(fork).join()
t = threading.Thread(target=thread)
t.start()
t.join()
assert status == [{5 if "exit" in how else 0}], status
"""
    run_py(code)


def test_a_fork_without_pythons_handlers():
    """The runtime is renewed by who uses it first; nobody of the parent's runs, at the exit neither."""
    code = """
import ctypes, os, sys
import ramet
from ramet import Chan, go, gosched
def other():
    try:
        Chan().recv()
    finally:
        os.write(2, b"the parent's goroutine runs")
go(other)
gosched()
used = sys.argv[1] == "used"
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    if used: assert go(lambda: 5).join() == 5 and ramet.num_goroutines() == 1
    sys.exit(4)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
os._exit(0)
"""
    for used in ("used", "not used"):
        assert run_py(code, used).err == ""
