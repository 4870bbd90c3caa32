"""Subinterpreters: those with a GIL of their own have a runtime of their own, the others are refused."""

import os
import re
import sys
import textwrap

import pytest
import ramet
from helpers import RECURSED, run_py

own_gil = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="CPython 3.11 has no interpreters with a GIL of their own"
)
HERE = os.path.dirname(os.path.abspath(__file__))

HEAD = """
import os, sys, sysconfig, threading, time
from interpreters import Failed, Interpreter
def threads(): return len(os.listdir("/proc/self/task"))
def descriptors(): return len(os.listdir("/proc/self/fd"))
def is_as(before): # a thread that has been joined may take a moment to go
    end = time.monotonic() + 50
    while threads() > before[0] and time.monotonic() < end: time.sleep(0.001)
    assert threads() <= before[0] and descriptors() == before[1], (threads(), descriptors(), before)
"""

# what a program inside starts with: some of everything, and it stays parked
USE = """
import ramet, threading
from ramet import Chan, go, net, select, sync, time
def everything():
    c, d = Chan(), Chan(3)
    go(c.send, 5)
    assert select(c, d).value == 5
    m = sync.Mutex()
    with m, ramet.timeout(20):
        time.sleep(0.001)
    with ramet.Group() as group:
        for i in range(10):
            group.go(d.send, i)
        assert sorted(d.recv() for _ in range(10)) == list(range(10))
    me = threading.get_ident()
    assert ramet.blocking(threading.get_ident) != me
    l = net.listen("tcp", "127.0.0.1:0")
    def client():
        with net.dial("tcp", l.addr) as conn:
            conn.write(b"hello")
    go(client)
    with l, l.accept() as conn:
        assert conn.read_exactly(5) == b"hello"
    global kept
    kept = [go(Chan().recv), go(time.sleep, 1000), go(m.lock) if m.lock() is None else None]
    time.sleep(0.001)
    return 7
assert ramet.run(everything) == 7
"""


def run(code, quiet=True):
    ended = run_py(HEAD + textwrap.dedent(code), env={"PYTHONPATH": HERE, "PYTHONWARNINGS": "ignore"}, timeout=120)
    if quiet:  # but for what is said of a main thread that runs an interpreter for long
        err = [
            line for line in ended.err.splitlines() if not line.startswith(("ramet: the main thread", "ramet: they"))
        ]
        assert not err, str(ended)
    return ended


def test_one_that_shares_the_gil_is_refused():
    ended = run("""
        for own_gil in [False] + [True] * (sys.version_info < (3, 12)):
            with Interpreter(own_gil) as i:
                try:
                    i.exec("import ramet")
                except Failed as e:
                    print(e)
                i.exec("import sys; assert 'ramet' not in sys.modules")
        import ramet
        assert ramet.go(int).join() == 0
    """)
    for line in ended.out.splitlines():
        assert "ImportError" in line and "GIL" in line and "of their own" in line or "of its own" in line, str(ended)
    assert len(ended.out.splitlines()) == 1 + (sys.version_info < (3, 12)), str(ended)


@own_gil
def test_everything_works_and_is_gone():
    ended = run(f"""
        before = threads(), descriptors()
        for n in range(3):
            i = Interpreter()
            i.exec({USE!r})
            # the goroutines go on when the code that started them is over, whoever comes next
            i.exec("assert [g.state for g in kept] == ['chan receive', 'sleep', 'mutex'], kept")
            other = threading.Thread(target=i.exec, args=("assert ramet.run(everything) == 7",))
            other.start()
            other.join()
            assert threads() > before[0] and descriptors() > before[1]
            i.close()
            is_as(before)
        print("fine")
    """)
    assert ended.out == "fine\n", str(ended)


@own_gil
def test_the_thread_that_runs_it():
    ended = run("""
        with Interpreter() as i:
            i.exec('''
        import ramet, threading
        me = threading.get_ident()
        ramet.time.sleep(0.001)
        ramet.gosched()
        assert ramet.blocking(threading.get_ident) == me
        assert ramet.go(threading.get_ident).join() != me
        for refused in (ramet.current, ramet.run):
            try:
                refused()
            except RuntimeError as e:
                print(e)
        ''')
    """)
    first, second = ended.out.splitlines()
    assert "current() works in a goroutine" in first and "run()" in first and "in the thread" in second, str(ended)


@own_gil
def test_they_run_in_parallel():
    """Three runtimes, each of which gives up its GIL only when it has seen the others run."""
    ended = run("""
        import mmap, tempfile
        import ramet
        file = tempfile.NamedTemporaryFile()
        file.write(bytes(64))
        file.flush()
        meet = '''
        import mmap, os, sys, ramet
        sys.setswitchinterval(1000)
        def meet_others(me, all, path):
            with open(path, "r+b") as f, mmap.mmap(f.fileno(), 64) as seen:
                for round in range(1, 30):
                    seen[me] = round
                    while any(seen[i] < round for i in range(all)):
                        pass
                    ramet.gosched()
                    assert ramet.go(pow, me, 2).join() == me * me
                    seen[me + 8] = round
                    while any(seen[i + 8] < round for i in range(all)):
                        pass
        '''
        import textwrap
        exec(textwrap.dedent(meet))
        interpreters = [Interpreter(), Interpreter()]
        for i in interpreters:
            i.exec(meet)
        failures = []
        def work(k):
            try:
                interpreters[k].exec(f"ramet.run(meet_others, {k + 1}, 3, {file.name!r})")
            except Failed as e:
                failures.append(e)
        workers = [threading.Thread(target=work, args=(k,)) for k in range(2)]
        sys.setswitchinterval(0.005)
        for w in workers: w.start()
        ready = mmap.mmap(file.fileno(), 64)
        while not (ready[1] and ready[2]): time.sleep(0.001)
        sys.setswitchinterval(1000)
        ramet.go(meet_others, 0, 3, file.name).join()
        sys.setswitchinterval(0.005)
        for w in workers: w.join()
        assert not failures, failures
        for i in interpreters: i.close()
        print("fine", ramet.num_goroutines())
    """)
    assert ended.out == "fine 1\n", str(ended)


@own_gil
def test_come_and_go_side_by_side():
    ended = run(f"""
        import ramet
        use = {USE!r}
        failures = []
        def work():
            try:
                for _ in range(4):
                    with Interpreter() as i:
                        i.exec(use)
            except BaseException as e:
                failures.append(e)
        c = ramet.Chan()
        def busy():
            for n in c:
                ramet.time.sleep(0.0001)
        gs = [ramet.go(busy) for _ in range(4)]
        ramet.blocking(int)
        before = threads(), descriptors()
        workers = [threading.Thread(target=work) for _ in range(3)]
        for w in workers: w.start()
        sent = 0
        while any(w.is_alive() for w in workers):
            c.send(sent)
            sent += 1
        c.close()
        for g in gs: g.join()
        for w in workers: w.join()
        assert not failures, failures
        is_as(before)
        print("fine", sent > 100)
    """)
    assert ended.out == "fine True\n", str(ended)


@own_gil
def test_fifty_leave_nothing():
    ended = run("""
        use = '''
        import ramet
        c = ramet.Chan()
        gs = [ramet.go(c.recv) for _ in range(20)]
        ramet.blocking(int)
        ramet.time.sleep(0.001)
        '''
        def resident():
            with open("/proc/self/statm") as f: return int(f.read().split()[1]) * 4
        def mapped():
            with open("/proc/self/statm") as f: return int(f.read().split()[0]) * 4
        def growth(code, n):
            for k in range(n + 2):
                if k == 2:
                    began = threads(), descriptors(), resident(), mapped()
                with Interpreter() as i: i.exec(code)
            is_as(began[:2])
            return (resident() - began[2]) / n, (mapped() - began[3]) / n
        plain = growth("import threading, functools, os", 10) # before 3.14 each leaves some MiB behind, also without us
        ours = growth(use, 50)
        print(f"KiB each: resident {plain[0]:.0f} {ours[0]:.0f}, mapped {plain[1]:.0f} {ours[1]:.0f}")
        assert ours[0] < plain[0] * 1.7 + 200
        # a free-threaded build reserves 1 GiB at a time for what interpreters' threads leave behind, also without us
        assert ours[1] < plain[1] * 1.7 + 2000 or sysconfig.get_config_var("Py_GIL_DISABLED")
    """)
    assert ended.out.startswith("KiB each"), str(ended)


@own_gil
@pytest.mark.parametrize("runtime", ["", "import ramet; ramet.go(ramet.time.sleep, 100); ramet.gosched()"])
def test_left_to_the_end_of_the_process(runtime):
    ended = run(f"""
        {runtime}
        left = Interpreter(), Interpreter(), Interpreter()
        left[0].exec({USE!r})
        left[1].exec('''
        import ramet, time
        def f():
            try:
                ramet.time.sleep(1000)
            finally:
                print("unwound")
        ramet.go(f)
        ramet.go(ramet.blocking, time.sleep, 0.5)
        ramet.time.sleep(0.01)
        ''')
        print("end")
    """)
    assert ended.out == "end\nunwound\n", str(ended)


@own_gil
def test_destroyed_while_goroutines_wait():
    """What unwinds may wait; a call of blocking() is waited for; what does not end is reported."""
    ended = run(
        """
        before = threads(), descriptors()
        with Interpreter() as i:
            i.exec('''
        import ramet, time
        def unwinds():
            try:
                ramet.Chan().recv()
            finally:
                ramet.time.sleep(0.01)
                print("unwound", ramet.go(pow, 2, 3).join())
        def calls():
            try:
                ramet.blocking(lambda: (time.sleep(2.5), print("called")))
            finally:
                print("left")
        def stays():
            while True:
                try: ramet.time.sleep(0.1)
                except ramet.Cancelled: pass
        for f in unwinds, calls, stays:
            ramet.go(f)
        ramet.time.sleep(0.05)
        ''')
        assert threads() == before[0]
    """,
        quiet=False,
    )
    assert sorted(ended.out.splitlines()) == ["called", "left", "unwound 8"], str(ended)
    assert "did not end within 2 seconds" in ended.err and "in stays" in ended.err and "calls" not in ended.err, str(
        ended
    )


@own_gil
def test_first_use_when_it_ends_is_refused():
    ended = run("""
        with Interpreter() as i:
            i.exec('''
        import ramet, atexit, sys
        def late():
            try:
                ramet.go(int)
            except RuntimeError as e:
                print(e)
        class Late:
            __del__ = lambda self, late=late: late()
        atexit.register(late)
        sys.late = Late()
        ''')
    """)
    assert set(ended.out.splitlines()) == {"ramet: the interpreter is shutting down"}, str(ended)


@own_gil
def test_signals_and_preemption_belong_to_main():
    ended = run("""
        os.environ["RAMET_PREEMPT"] = "1"
        with Interpreter() as i:
            i.exec('''
        import ramet, signal
        c = ramet.Chan(1)
        def notify(): ramet.os.signal.notify(c, signal.SIGUSR1)
        def stop(): ramet.os.signal.stop(c)
        for refused in notify, stop, lambda: ramet.configure(preempt=True), lambda: ramet.go(notify).join():
            try:
                refused()
            except RuntimeError as e:
                print(e)
        assert not any("preempt" in h.name for h in ramet.debug.hooks())
        ''')
    """)
    lines = ended.out.splitlines()
    assert len(lines) == 4 and all("main interpreter" in line for line in lines), str(ended)


@own_gil
def test_recursion_in_several_at_once():
    code = (
        RECURSED
        + """
import ramet
for _ in range(5):
    assert [g.join() for g in [ramet.go(recursed) for _ in range(4)]] == ["caught"] * 4
"""
    )
    ended = run(f"""
        code = {code!r}
        interpreters = [Interpreter() for _ in range(2)]
        workers = [threading.Thread(target=i.exec, args=(code,)) for i in interpreters]
        for w in workers: w.start()
        exec(code)
        for w in workers: w.join()
        for i in interpreters: i.close()
        print("fine")
    """)
    assert ended.out == "fine\n", str(ended)


@own_gil
def test_run_by_a_goroutine():
    """It keeps the thread: blocking() does not."""
    ended = run(f"""
        import ramet
        def f():
            with Interpreter() as i:
                i.exec({USE!r})
            return 5
        assert ramet.go(f).join() == 5
        g = ramet.go(ramet.blocking, f)
        n = 0
        while not g.done():
            ramet.time.sleep(0.0001)
            n += 1
        print(g.join(), n > 1)
    """)
    assert ended.out == "5 True\n", str(ended)


@own_gil
def test_the_report_of_a_main_thread_that_runs_one_for_long():
    """It names the line in the main interpreter, and keeps off the frames of the other, which is running."""
    ended = run(
        """
        import ramet
        ramet.go(ramet.time.sleep, 100)
        ramet.gosched()
        with Interpreter() as i:
            i.exec("import time; end = time.monotonic() + 3.3\\nwhile time.monotonic() < end: time.sleep(0.05)")
        """,
        quiet=False,
    )
    assert "the main thread has been blocking outside ramet" in ended.err, str(ended)
    assert re.search(r'File ".*interpreters.py", line \d+, in exec', ended.err), str(ended)


@own_gil
def test_made_in_c():
    """By Py_NewInterpreterFromConfig; its first thread state lasts until Py_EndInterpreter."""
    new = sys.version_info >= (3, 13)
    api = "_testinternalcapi" if new else "_testcapi"
    pytest.importorskip(api, reason="this CPython has no test modules")
    ended = run(f"""
        import types, {api} as api
        config = dict(use_main_obmalloc=False, allow_fork=False, allow_exec=False, allow_threads=True,
                      allow_daemon_threads=False, check_multi_interp_extensions=True)
        def run_in(code):
            if {new}:
                return api.run_in_subinterp_with_config(code, types.SimpleNamespace(**config, gil="own"))
            return api.run_in_subinterp_with_config(code, **config, gil=2)
        before = threads(), descriptors()
        assert run_in({USE!r}) == 0
        is_as(before)
        print("fine")
    """)
    assert ended.out == "fine\n", str(ended)


@own_gil
@pytest.mark.parametrize(
    "make",
    "Chan() go(int) sync.Mutex() sync.RLock() sync.Event() sync.Queue() time.Timer(9) default Chan().if_send(1)".split(),
)
def test_objects_stay_at_home(make):
    import pickle

    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters
    o = eval(f"ramet.{make}" if not make.startswith("Chan()") else f"ramet.{make}")
    assert not interpreters.is_shareable(o)
    with pytest.raises(TypeError, match="pickle"):  # what 3.14 falls back to
        pickle.dumps(o)
    if isinstance(o, ramet.Goroutine):
        o.join()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters is new in CPython 3.14")
def test_concurrent_interpreters():
    ended = run(f"""
        from concurrent import interpreters
        from concurrent.futures import InterpreterPoolExecutor
        import ramet
        from interpreters import squares
        i = interpreters.create()
        i.exec({USE!r})
        queue = interpreters.create_queue()
        i.prepare_main(queue=queue)
        i.exec("ramet.go(lambda: ramet.blocking(queue.put, 5)).join()")
        print(ramet.go(ramet.blocking, queue.get).join())
        try:
            i.prepare_main(chan=ramet.Chan())
        except interpreters.NotShareableError:
            print("not shareable")
        i.close()
        with InterpreterPoolExecutor(2) as pool:
            print(sorted(pool.map(squares, range(6))))
    """)
    assert ended.out == "5\nnot shareable\n[0, 1, 4, 9, 16, 25]\n", str(ended)
