"""Exit at any moment neither hangs nor crashes, and the status is right."""

import signal
import sys
import time

import pytest
from helpers import finish, run_py, start_py

BEGIN = """
import atexit, os, signal, sys, threading, time
import ramet
from ramet import *
from ramet.time import sleep
"""

# what is going on when the program ends
SCENES = {
    "nothing": "",
    "one runnable": "go(print, 'never')",
    "one running by turns": "g = go(lambda: [gosched() for _ in iter(int, 1)]); gosched()",
    "10,000 parked": """
c = Chan()
gs = [go(c.recv) for _ in range(9_000)]
for _ in range(1_000): go(c.recv)
gosched()
""",
    "10,000 that have not begun": "gs = [go(sleep, 1) for _ in range(10_000)]",
    "sleepers and selects": """
c = Chan()
for _ in range(100):
    go(sleep, 1000); go(select, c, Chan()); go(c.send, 1); go(c.recv, 1000); go(select)
gosched()
""",
    "joins in a ring": """
gs = []
def j(i): gs[(i + 1) % 10].join()
gs += [go(j, i) for i in range(10)]
gosched()
""",
    "descriptors": """
r, w = os.pipe()
for _ in range(20): go(select, readable(r))
gosched()
""",
    "with finally blocks": """
def f():
    try: sleep(1000)
    finally:
        sleep(0.001); blocking(time.sleep, 0.001); Chan(1).send(1)
for _ in range(20): go(f)
gosched()
""",
    "within generators": """
def gen():
    try:
        yield Chan().recv()
    finally:
        sleep(0.001)
its = [gen() for _ in range(10)]
for it in its: go(next, it)
gosched()
""",
    "threads that wait": """
gosched()  # main is the proc
c = Chan()
for fn in (c.recv, lambda: select(c), lambda: c.recv(1000)):
    threading.Thread(target=fn, daemon=True).start()
g = go(c.recv)
threading.Thread(target=g.exception, daemon=True).start()
sleep(0.02)
""",
    "idle pool threads": "gs = [go(blocking, int) for _ in range(20)]\nfor g in gs: g.join()",
    "blocking calls that end soon": "gs = [go(blocking, time.sleep, 0.2) for _ in range(10)]\nsleep(0.01)",
    "many names": "gs = [go(sleep, 1000) for _ in range(50)]\nfor i, g in enumerate(gs): g.name = f'g{i}'\ngosched()",
    "network": """
from ramet import net
ln = net.listen("tcp", "127.0.0.1:0")
go(ln.accept)
conn = net.dial("tcp", ln.addr)
sleep(0.01)
go(conn.read, 1); go(ln.accept)
gosched()
""",
}

# how it ends: (code, status, expected in stderr)
ENDS = {
    "end of main": ("", 0, ""),
    "sys.exit": ("sys.exit(5)", 5, ""),
    "sys.exit of a string": ("sys.exit('farewell')", 1, "farewell"),
    "exception": ("raise ValueError('unhandled')", 1, "ValueError: unhandled"),
    "sys.exit in a goroutine": ("go(sys.exit, 6)\nsleep(100)", 6, ""),
    "os._exit": ("os._exit(7)", 7, ""),
    "os._exit in a goroutine": ("go(os._exit, 8)\nsleep(100)", 8, ""),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)\nsleep(100)", -signal.SIGTERM, ""),
    "end of run": ("run(lambda: [go(sleep, 100), gosched()])", 0, ""),
}

FEW = ["nothing", "10,000 parked", "with finally blocks", "threads that wait"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("scene", FEW)
def test_every_end(scene, end):
    code, status, err = ENDS[end]
    ended = run_py(BEGIN + SCENES[scene] + "\n" + code, status=status)
    assert ended.out == "", str(ended)
    assert err in ended.err if err else ended.err == "", str(ended)
    assert ended.seconds < 50, str(ended)


@pytest.mark.parametrize("scene", [s for s in SCENES if s not in FEW])
def test_every_scene(scene):
    ended = run_py(BEGIN + SCENES[scene])
    assert ended.out == "" and ended.err == "", str(ended)
    assert ended.seconds < 50, str(ended)


@pytest.mark.parametrize("scene", FEW)
def test_terminated_from_outside(scene):
    p = start_py(BEGIN + SCENES[scene] + "\nprint('ready', flush=True)\nsleep(100)")
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGTERM)
    ended = finish(p, status=-signal.SIGTERM)
    assert ended.err == "", str(ended)


def test_finally_blocks_run():
    code = """
def f(i):
    try:
        Chan().recv()
    finally:
        sleep(0.001)
        print("end", i)
for i in range(3): go(f, i)
go(print, "never begins")
gosched()
try:
    go(print, "this does not begin")
finally:
    print("main")
"""
    ended = run_py(BEGIN + code)
    lines = ended.out.splitlines()
    assert lines[0] == "never begins" and lines[1] == "main", str(ended)
    assert sorted(lines[2:]) == ["end 0", "end 1", "end 2"], str(ended)


def test_a_goroutine_that_swallows_cancelled_is_reported_and_dropped():
    code = """
def stubborn():
    while True:
        try:
            Chan().recv()
        except BaseException:
            pass
g = go(stubborn); g.name = "stubborn one"
go(sleep, 100)
gosched()
"""
    ended = run_py(BEGIN + code)
    assert "stubborn one" in ended.err and "in stubborn" in ended.err, str(ended)
    assert ended.err.count("goroutine ") <= 4 and "'main'" not in ended.err, str(ended)
    assert ended.seconds < 50, str(ended)


def test_a_goroutine_that_yields_for_ever_in_finally():
    code = """
def stubborn():
    try:
        sleep(100)
    finally:
        while True:
            gosched()
g = go(stubborn)
gosched()
"""
    ended = run_py(BEGIN + code)
    assert "in stubborn" in ended.err, str(ended)
    assert ended.seconds < 50, str(ended)


def test_a_blocking_call_that_does_not_end():
    """It is left behind after the grace time."""
    code = """
g = go(blocking, time.sleep, 60)
sleep(0.02)
"""
    ended = run_py(BEGIN + code)
    assert ended.seconds < 50, str(ended)


def test_a_blocking_call_in_main_is_interrupted_by_exit_elsewhere():
    code = """
go(lambda: (sleep(0.02), sys.exit(9)))
blocking(time.sleep, 0.5)
"""
    ended = run_py(BEGIN + code, status=9)
    assert ended.err == "" and ended.seconds < 50, str(ended)


def test_exception_in_a_finally_block_at_exit():
    code = """
def f():
    try: sleep(100)
    finally: raise ValueError("at exit")
go(f)
gosched()
"""
    ended = run_py(BEGIN + code)
    assert "ValueError: at exit" in ended.err, str(ended)


def test_uncollected_failure_is_reported_at_exit():
    code = """
def f(): raise ValueError("kept")
g = go(f)
gosched()
"""
    ended = run_py(BEGIN + code)
    assert "ValueError: kept" in ended.err, str(ended)


@pytest.mark.parametrize("when", ["before", "after"])
def test_atexit_handlers_that_use_ramet(when):
    """Registered before first use they run after the shutdown, else before it."""
    handler = """
def handler():
    try:
        c = Chan(1)
        c.send(1)
        print("chan", c.recv())
        print("go", go(lambda: 5).join(5))
        sleep(0.001)
        print("blocking", blocking(lambda: 6))
        print("select", select(Chan(), default).index)
    except RuntimeError as e:
        print("RuntimeError", e)
    print("handler ends")
"""
    register = "atexit.register(handler)\n"
    use = "keep = go(sleep, 100)\ngosched()\n"
    ended = run_py(BEGIN + handler + (register + use if when == "before" else use + register))
    assert ended.out.endswith("handler ends\n") and ended.err == "", str(ended)
    if when == "after":
        assert ended.out == "chan 1\ngo 5\nblocking 6\nselect 1\nhandler ends\n", str(ended)


def test_atexit_handler_alone_uses_ramet():
    """First use of all in an atexit handler."""
    code = "atexit.register(lambda: print(go(lambda: 5).join()))"
    ended = run_py(BEGIN + code, status=None)
    assert ended.code == 0 and ended.seconds < 50, str(ended)


def test_finalizers_that_use_ramet_at_the_very_end():
    code = """
c = Chan()
g = go(c.recv)
class Late:
    def __del__(self, os=os, g=g, c=c, calls=(Chan, go, gosched, num_goroutines, stats, select, default, sleep, blocking)):
        Chan, go, gosched, num_goroutines, stats, select, default, sleep, blocking = calls
        for call in (lambda: Chan(1).send(1), lambda: go(int), lambda: gosched(), lambda: Chan().try_recv(),
                     lambda: g.cancel(), lambda: g.join(0.01), lambda: g.state, lambda: c.close(), lambda: num_goroutines(),
                     lambda: stats(), lambda: select(c, default), lambda: sleep(0)):
            try: call()
            except Exception: pass
        os.write(1, b"late\\n")
late = Late()  # dropped when the module goes
gosched()
"""
    ended = run_py(BEGIN + code)
    assert ended.out == "late\n", str(ended)


def test_handles_and_channels_outlive_the_runtime():
    code = """
c = Chan(3)
c.send(object()); c.send_exception(ValueError)
g = go(lambda: 5); h = go(sleep, 100); e = go(lambda: 1 / 0)
case = c.if_send(g); done = h.if_done(); s = select(c)
c.send(c); c.send((g, h, e, case, done, s))
sys.keep = [c, g, h, e, case, done, s]
gosched()
"""
    ended = run_py(BEGIN + code)
    assert "ZeroDivisionError" in ended.err or ended.err == "", str(ended)


def test_exit_within_nested_waits():
    """sys.exit in main while it joins a goroutine that joins another."""
    code = """
def f(n):
    if n: go(f, n - 1).join()
    else: sys.exit(4)
go(f, 50).join()
"""
    ended = run_py(BEGIN + code, status=4)
    assert ended.err == "", str(ended)


def test_exit_by_a_signal_handler():
    code = """
signal.signal(signal.SIGALRM, lambda *a: sys.exit(3))
signal.setitimer(signal.ITIMER_REAL, 0.05)
go(sleep, 100)
sleep(100)
"""
    ended = run_py(BEGIN + code, status=3)
    assert ended.err == "", str(ended)


def test_exit_while_a_signal_handler_waits():
    code = """
signal.signal(signal.SIGUSR1, lambda *a: Chan().recv(100))
go(os.kill, os.getpid(), signal.SIGUSR1)
sleep(0.05)
"""
    ended = run_py(BEGIN + code)
    assert ended.err == "" and ended.seconds < 50, str(ended)


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.003, 0.01, 0.03])
def test_sys_exit_at_odd_moments(moment):
    code = f"""
c = Chan(2)
def busy():
    for i in iter(int, 1):
        c.send(i); select(c, default); gosched()
def calls():
    while True: blocking(time.sleep, 0.0005)
def spawns():
    while True: go(lambda: gosched()).join()
for fn in (busy, busy, calls, spawns, spawns): go(fn)
def receive():
    try:
        for _ in c: pass
    except RuntimeError as e:
        assert "shutting down" in str(e)
threading.Thread(target=receive, daemon=True).start()
go(lambda: (sleep({moment}), sys.exit(3)))
sleep(100)
"""
    ended = run_py(BEGIN + code, status=3)
    assert ended.err == "" and ended.seconds < 50, str(ended)


def test_closed_stdout_and_stderr():
    ended = run_py(BEGIN + "go(sleep, 100)\ngosched()\nos.close(1)\nos.close(2)\n", status=None)
    assert ended.code in (0, 120), str(ended)


def test_exit_of_a_hosted_runtime():
    code = """
c = Chan()
t = threading.Thread(target=lambda: [go(c.recv) for _ in range(1000)] and go(int).join())
t.start(); t.join()
time.sleep(0.05)
print("end")
"""
    ended = run_py(BEGIN + code)
    assert ended.out == "end\n" and ended.err == "" and ended.seconds < 50, str(ended)


def test_hosted_goroutines_unwind_at_exit():
    code = """
def f():
    try: sleep(100)
    finally:
        sleep(0.001)
        os.write(1, b"unwound\\n")
t = threading.Thread(target=lambda: go(lambda: go(f)).join())
t.start(); t.join()
time.sleep(0.1)
"""
    ended = run_py(BEGIN + code)
    assert ended.out == "unwound\n", str(ended)


def test_goroutines_started_while_others_unwind():
    """They are cancelled, too, once they wait."""
    code = """
def f(n):
    try: sleep(100)
    finally:
        if n: go(f, n - 1)
        go(print, n).exception()
go(f, 10)
gosched()
"""
    ended = run_py(BEGIN + code)
    assert ended.out.startswith("10\n") and ended.err == "" and ended.seconds < 50, str(ended)


def test_stubborn_goroutine_of_a_hosted_runtime():
    code = """
def stubborn():
    while True:
        try: sleep(100)
        except BaseException: pass
t = threading.Thread(target=lambda: go(lambda: go(stubborn)).join())
t.start(); t.join()
time.sleep(0.1)
"""
    ended = run_py(BEGIN + code)
    assert "in stubborn" in ended.err and ended.seconds < 50, str(ended)


def test_not_slow_when_there_is_nothing():
    """It does not use the two seconds that others have."""
    took = []
    for _ in range(5):
        ended = run_py("import ramet, time\nramet.gosched()\nprint(time.monotonic())\n")
        took.append(time.monotonic() - float(ended.out))
        if took[-1] < 1.5:
            return
    raise AssertionError(f"it takes {took} s to end")


@pytest.mark.parametrize("name", ["", "g.name = 'the main one'"])
def test_handle_of_main_outlives_the_runtime(name):
    """A handler that was there before ramet's runs after it."""
    ended = run_py(BEGIN + f"atexit.register(lambda: print(g.state, g.done(), g.id))\ng = current()\n{name}\n")
    assert ended.out == "done True 1\n" and ended.err == "", str(ended)


# ---- threads that main waits for at the exit ------------------------------------------------------------

LATE = """
import sys, threading, time
import ramet
ramet.gosched()
def late():
    time.sleep(0.05)
    print(ramet.go(pow, 2, 3).join(), flush=True)
"""


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=late).start()",
        "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor(1).submit(late)",
        "ramet.go(lambda: threading.Thread(target=late).start()).join()",
    ],
    ids=["thread", "executor", "of a goroutine"],
)
def test_a_thread_that_main_waits_for_uses_goroutines(start):
    assert run_py(f"{LATE}{start}\nsys.exit(7)", status=7).out == "8\n"


@pytest.mark.parametrize("who", ["thread", "goroutine"])
def test_new_threads_while_main_waits_for_threads(who):
    """There is one at any time, until there have been 20: main waits for all of them, whoever starts them."""
    if who == "thread" and sys.version_info[:2] == (3, 12):
        pytest.skip("CPython 3.12 itself lets no thread start another while it waits for threads at the exit")
    code = """
import atexit
who, started = sys.argv[1], []
def thread():
    started.append(1)
    me = len(started)
    if who == "thread" and me < 20:
        threading.Thread(target=thread).start()
    while me == len(started) < 20:
        time.sleep(0.001)
def goroutine():
    for n in range(1, 21):
        threading.Thread(target=thread).start()
        while len(started) < n:
            ramet.time.sleep(0.001)
if who == "thread":
    thread()
else:
    ramet.go(goroutine)
    ramet.gosched()
atexit.register(lambda: print(len(started)))
"""
    assert run_py(LATE + code, who).out == "20\n"


def test_a_goroutine_that_exits_while_main_waits_for_threads():
    """The program ends already: the threads are waited for all the same."""
    code = """
def exits():
    ramet.time.sleep(0.01)
    sys.exit(9)
ramet.go(exits)
threading.Thread(target=late).start()
sys.exit(7)
"""
    ended = run_py(LATE + code, status=7)
    assert (ended.out, ended.err) == ("8\n", "")


def test_ctrl_c_while_main_waits_for_threads():
    code = """
def for_ever():
    print("ready", flush=True)
    ramet.Chan().recv()
threading.Thread(target=for_ever).start()
"""
    p = start_py(LATE + code)
    assert p.stdout.readline() == "ready\n"
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in finish(p, None).err


@pytest.mark.parametrize(
    "main",
    [
        "go(sleep, 100).join()",
        "Chan().recv(timeout=100)",
        "ramet.run(sleep, 100)",
        "while True: pass",
        "while True: time.sleep(0.01)",
    ],
)
def test_sys_exit_in_a_goroutine_of_a_hosted_runtime(main):
    code = f"""
t = threading.Thread(target=lambda: go(int).join())
t.start()
t.join()
go(lambda: (sleep(0.02), sys.exit(3)))
{main}
"""
    ended = run_py(BEGIN + code, status=3)
    assert (ended.out, ended.err) == ("", "")
