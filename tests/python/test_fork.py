"""fork: the child has a fresh runtime that holds only who called it, and the parent goes on."""

import subprocess
import sys

import pytest
from fork_helpers import BEGIN, forked
from helpers import environment, finish, run_py


def test_before_first_use():
    forked("""
pid = os.fork()
assert works()
if pid == 0: os._exit(3)
assert wait(pid) == 3
""")


def test_in_main():
    ended = forked("""
c = Chan()
g = go(c.recv)
gs = [go(sleep, 100) for _ in range(10)]
gosched()
pid = os.fork()
if pid == 0:
    assert num_goroutines() == 1, num_goroutines()
    assert works()
    assert current().id == 1
    print("child", flush=True)
    sys.exit(4)
assert wait(pid) == 4
assert num_goroutines() == 12
c.send(7)
assert g.join(50) == 7
assert works()
print("parent")
""")
    assert ended.out == "child\nparent\n"


def test_in_main_normal_end():
    ended = forked("""
go(sleep, 100)
gosched()
pid = os.fork()
if pid:
    assert wait(pid) == 0
print("end", flush=True)
""")
    assert ended.out == "end\nend\n"


def test_in_a_goroutine():
    ended = forked("""
c = Chan()
others = [go(c.recv) for _ in range(10)]
def f():
    pid = os.fork()
    if pid == 0:
        assert num_goroutines() == 1, num_goroutines()
        assert works()
        print("child", flush=True)
        return
    assert wait(pid) == 0
    return "parent goes on"
print(go(f).join(50))
assert works()
assert all(g.state == "chan receive" for g in others)
""")
    assert ended.out == "child\nparent goes on\n"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("return 5", 0),
        ("sys.exit(6)", 6),
        ("os._exit(7)", 7),
        ("sys.exit()", 0),
        ("sys.exit('text')", 1),
        ("raise SystemExit(8)", 8),
    ],
)
def test_how_a_goroutines_child_ends(end, status):
    ended = run_py(
        BEGIN
        + f"""
def f():
    pid = os.fork()
    if pid == 0:
        {end}
    return wait(pid)
print(go(f).join(50))
print("once")
"""
    )
    assert ended.out == f"{status}\nonce\n", str(ended)
    assert ended.err == ("text\n" if "text" in end else ""), str(ended)


def test_a_goroutines_child_that_fails():
    ended = run_py(
        BEGIN
        + """
def f():
    pid = os.fork()
    if pid == 0:
        raise ValueError("in the child")
    return wait(pid)
print(go(f).join(50))
"""
    )
    assert ended.out == "1\n" and "in the child" in ended.err, str(ended)


def test_a_goroutines_child_runs_atexit_handlers_and_flushes():
    ended = forked("""
import atexit
def f():
    pid = os.fork()
    if pid == 0:
        atexit.register(lambda: print("atexit of the child"))
        return
    return wait(pid)
assert go(f).join(50) == 0
""")
    assert ended.out == "atexit of the child\n", str(ended)


def test_parent_ends_first():
    ended = forked("""
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(w)
    os.read(r, 1)
    assert works()
    os._exit(0)
go(sleep, 100)
gosched()
""")
    assert ended.seconds < 50


def test_child_of_a_child():
    forked("""
go(sleep, 100); gosched()
def f(n):
    pid = os.fork()
    if pid == 0:
        assert works()
        if n: sys.exit(go(f, n - 1).join(50))
        sys.exit(30)
    return wait(pid)
assert go(f, 2).join(50) == 30
assert f(2) == 30
""")


def test_fork_while_pool_threads_and_timers_are_there():
    forked("""
for _ in range(10): go(blocking, time.sleep, 0.3)
for _ in range(10): go(sleep, 0.05)
sleep(0.01)
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        assert works()
        os._exit(0)
    assert wait(pid) == 0
assert works()
""")


def test_fork_in_another_thread():
    forked("""
g = go(sleep, 100); gosched()
out = []
def thread():
    pid = os.fork()
    if pid == 0:
        try:
            assert g.cancelled()
            assert works()
            os._exit(5)
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
    out.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
t = threading.Thread(target=thread); t.start()
while t.is_alive(): sleep(0.001)
assert out == [5], out
assert works()
""")


def test_fork_in_another_thread_during_the_first_use():
    """ramet has started, and not yet done all that it does then."""
    forked("""
import signal
register, parent, out = os.register_at_fork, os.getpid(), []
begun, done = threading.Event(), threading.Event()
def slow(**handlers):
    if os.getpid() == parent:
        begun.set(); done.wait(20)
    register(**handlers)
os.register_at_fork = slow
def thread():
    begun.wait(20)
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            assert works()
            os._exit(5)
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
    out.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    done.set()
t = threading.Thread(target=thread); t.start()
assert works()
t.join()
assert out == [5], out
""")


def test_channels_of_the_parent_in_the_child():
    """Values that are in a buffer are there; who waited is not."""
    forked("""
c, d = Chan(3), Chan()
e = go(sleep, 100).if_done()
c.send(1); c.send(2)
go(d.recv); go(select, d)
gosched()
pid = os.fork()
if pid == 0:
    assert c.recv() == 1 and c.recv() == 2
    g = go(d.send, 9)
    assert d.recv(5) == 9, "a waiter of the parent's took it"
    g.join(5)
    assert select(e, timeout=5).value.cancelled()
    d.close()
    os._exit(0)
assert wait(pid) == 0
assert c.recv() == 1
d.send(3); d.send(4)
""")


@pytest.mark.parametrize("by", ["goroutine", "thread"])
def test_who_was_to_take_a_mutex_in_the_parent(by):
    """It was woken, and has not run: whoever waits in the child is woken in its place."""
    start = (
        "go(m.lock); gosched()"
        if by == "goroutine"
        else "threading.Thread(target=m.lock, daemon=True).start(); sleep(0.05)"
    )
    forked(f"""
m = ramet.sync.Mutex()
m.lock()
{start}
m.unlock()
m.lock()
pid = os.fork()
if pid == 0:
    g = go(m.lock); gosched()
    m.unlock()
    g.join(5)
    os._exit(0)
assert wait(pid) == 0
os._exit(0)
""")


def test_handles_of_the_parent_in_the_child():
    """They do not hang or crash, whatever they say."""
    forked("""
g = go(sleep, 100)
h = go(lambda: 5); h.join()
gosched()
pid = os.fork()
if pid == 0:
    assert h.join(5) == 5
    assert g.done() and g.cancelled() and g.state == "done" and g.stack() == [], g
    assert "fork" in str(g.exception(5))
    assert not g.cancel() and repr(g) and g.name and g.id
    assert select(g.if_done(), timeout=5).value is g
    del g
    assert works()
    os._exit(0)
assert wait(pid) == 0
assert not g.done()
""")


def test_sigint_in_a_child():
    forked("""
import signal
go(sleep, 100); gosched()
pid = os.fork()
if pid == 0:
    go(lambda: (sleep(0.02), os.kill(os.getpid(), signal.SIGINT)))
    try: Chan().recv(10)
    except KeyboardInterrupt: os._exit(6)
    os._exit(1)
assert wait(pid) == 6
""")


def test_subprocess():
    ended = forked("""
import subprocess
go(sleep, 100); gosched()
for call in (lambda f: f(), lambda f: go(f).join(50), blocking):
    p = call(lambda: subprocess.run([sys.executable, "-c", "print('sub')"], capture_output=True, text=True))
    assert p.stdout == "sub\\n", p
print("fine")
""")
    assert ended.out == "fine\n"


MP = """
import multiprocessing as mp, os, sys, threading, time
import ramet
from ramet import go, blocking, Chan
from ramet.time import sleep

def child(q, x):
    c = Chan()
    go(c.send, x * 2)
    q.put(c.recv(10))
    q.put(blocking(lambda: 5))

def square(x):
    return go(lambda: x * x).join(50)

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    go(sleep, 100)
    ramet.gosched()
    def in_main():
        q = ctx.Queue()
        p = ctx.Process(target=child, args=(q, 21))
        p.start()
        got = blocking(q.get, timeout=50), blocking(q.get, timeout=50)
        blocking(p.join, 15)
        return got, p.exitcode
    assert in_main() == ((42, 5), 0)
    assert go(in_main).join(50) == ((42, 5), 0)
    with ctx.Pool(2) as pool:
        assert blocking(pool.map, square, range(10)) == [x * x for x in range(10)]
    print("fine")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(MP)
    p = subprocess.Popen(
        [sys.executable, str(script), method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONWARNINGS="ignore::DeprecationWarning"),
    )
    ended = finish(p, timeout=180)
    assert ended.out == "fine\n" and ended.complaints == "", str(ended)


def test_in_the_midst_of_a_collection():
    """The child collects and preempts, although the goroutine that was collecting is not there."""
    forked(
        """
import gc
c = Chan()
class Parks:
    def __del__(self): c.recv()
def collect():
    p = Parks(); p.me = p; del p
    gc.collect()
g = go(collect)
gosched()
class Node: pass
for fork in (os.fork, lambda: go(os.fork).join(50)):
    pid = fork()
    if pid == 0:
        n = Node(); n.me = n; del n
        assert gc.collect() > 0
        turns, stop = [0, 0], []
        def hog(i):
            while not stop: turns[i] += 1
        hogs = [go(hog, i) for i in range(2)]
        while not all(turns): sleep(0.001)
        stop.append(1)
        os._exit(0)
    assert wait(pid) == 0
assert gc.collect() == 0
c.send(1)
g.join(50)
""",
        env={"RAMET_PREEMPT": "1"},
    )


def test_a_collection_before_the_fresh_runtime():
    """Not in a handler that was there before ours: a finalizer that waits would have the parent's goroutines run in the child."""
    forked("""
import gc
class Parks:
    def __del__(self): go(int).join(50)
pids = []
def garbage():
    for _ in range(100):
        p = Parks(); p.me = p
os.register_at_fork(before=garbage, after_in_child=garbage)
gc.set_threshold(10)
me = os.getpid()
def other():
    while True:
        pids.append(os.getpid())
        sleep(0)
g = go(other)
for _ in range(3):
    sleep(0.001)
    if (pid := os.fork()) == 0:
        status = num_goroutines() == 1 and set(pids) == {me} and gc.isenabled()
        os._exit(not status)
    assert wait(pid) == 0 and gc.isenabled()
gc.disable()
if (pid := os.fork()) == 0: os._exit(gc.isenabled())
assert wait(pid) == 0 and not gc.isenabled()
del Parks.__del__
g.cancel()
""")


def test_who_was_preempted_does_not_run_in_the_child():
    forked(
        """
stop, seen = [], set()
def hog():
    while not stop: seen.add(os.getpid())
hogs = [go(hog) for _ in range(3)]
def fork():
    sleep(0.005)
    pid = os.fork()
    if pid == 0:
        sleep(0.005)
        assert works()
        os._exit(3 if seen <= {os.getppid()} else 4)
    assert wait(pid) == 3
for _ in range(5):
    go(fork).join()
stop.append(1)
for g in hogs: g.join()
""",
        env={"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": "0.001"},
    )


@pytest.mark.parametrize("where", ("before first use", "after first use"))
def test_no_preemption_in_a_handler_of_a_fork(where):
    """Some hold a lock of the thread's from before the fork until after it, as concurrent.futures does."""
    code = """
import os, sys, threading, warnings
from ramet import go, gosched
warnings.simplefilter("ignore", DeprecationWarning)
if sys.argv[1] == "after first use":
    gosched()
lock = threading.Lock()
inside = []

class Handlers:
    def compute(self):
        inside.append(1)
        assert len(inside) == 1
        for _ in range(3):
            sum(1 for n in range(20000))
        inside.pop()

def compute():
    Handlers().compute()

os.register_at_fork(before=Handlers().compute, after_in_parent=compute)
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
os.register_at_fork(before=compute, after_in_parent=Handlers().compute)

def fork():
    for _ in range(3):
        pid = os.fork()
        if not pid:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

for g in [go(fork) for _ in range(4)]:
    g.join()
assert not lock.locked()
"""
    run_py(code, where, env={"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": "0.0005"})


IN_A_THREAD = """
def fork():
    pid = os.fork()
    if pid:
        out.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return
    child()

def by_thread():
    t = threading.Thread(target=fork)
    t.start()
    blocking(t.join)
def by_blocking(): blocking(fork)
"""


@pytest.mark.parametrize("by", ["thread", "blocking"])
@pytest.mark.parametrize(
    "how",
    [
        "assert works()",
        "go(sleep, 100); gosched()",
        "works(); sys.exit(7)",
        "blocking(go, blocking, time.sleep, 0.01)",
        "[go(blocking, time.sleep, 0.01) for _ in range(3)]; gosched()",
        "t = threading.Thread(target=time.sleep, args=(0.01,)); t.start(); go(t.join).cancel()",
        "pass",
    ],
)
def test_a_threads_child_ends_when_it_returns(how, by):
    """As without ramet: with status 0, once all threads have returned."""
    ended = forked(f"""
import atexit
out = []
def child():
    atexit.register(lambda: os.write(1, b"a handler of the exit"))
    {how}
{IN_A_THREAD}
go(sleep, 100); gosched()
by_{by}()
assert out == [0], out
os._exit(0)
""")
    assert ended.out == "" and ended.seconds < 50, str(ended)


@pytest.mark.parametrize("used", ["used before", "not used before"])
def test_a_threads_child_waits_for_its_threads(used):
    """Theirs are the last words; a blocking call that has begun is one of them."""
    ended = forked(f"""
if "{used}" == "used before": gosched()
out = []
begun = threading.Event()
def last(text):
    begun.set()
    time.sleep(0.1)
    os.write(1, text)
def child():
    go(blocking, last, b"x"); gosched()
    begun.wait()
    threading.Thread(target=last, args=(b"x",)).start()
{IN_A_THREAD}
by_thread()
os.write(1, b"end")
os._exit(0)
""")
    assert ended.out == "xxend", str(ended)
