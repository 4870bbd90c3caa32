"""The end of the process at random moments, while goroutines are in every state: the right status, no hang, no crash."""

import random
import signal
import time

import pytest
from helpers import SLOW, finish, start_py

WORLD = """
import asyncio, gc, os, random, signal, socket, sys, threading, time, weakref
import ramet
from ramet import *
from ramet import net, sync
from ramet.time import sleep, Ticker

delay, where, how = float(sys.argv[1]), sys.argv[2], sys.argv[3]
SIGNALS = "handler", "int", "outside"

class Parks:
    def __del__(self):
        try:
            with shield(): sleep(0.0005)
        except RuntimeError: pass  # in another thread, or too late

def channels():
    c = Chan(random.randrange(3))
    go(lambda: [c.send(i) for i in iter(int, 1)])
    for _ in c: pass
def selects():
    a, b = Chan(), Chan()
    while True:
        go(a.send, 1)
        select(a, b, timeout=1)
def locks():
    while True:
        with lock: sleep(0.0003)
def timeouts():
    while True:
        try:
            with timeout(0.001): Chan().recv()
        except TimeoutError: pass
def calls():
    while True: blocking(time.sleep, 0.0005)
def spawns():
    while True: [g.join() for g in [go(gosched) for _ in range(10)]]
def groups():
    while True:
        with Group() as g:
            for _ in range(3): g.go(sleep, 0.001)
def finalizers():
    while how not in SIGNALS:  # what a handler raises in a finalizer is lost, as without us
        p = Parks(); p.me = p; del p
        Parks()
        gc.collect()
        sleep(0)
def generators():
    def gen():
        try:
            while True: yield sleep(0.0002)
        finally:
            if how not in SIGNALS:
                with shield(): sleep(0.0001)
    while True:
        for _ in gen():
            if random.random() < 0.3: break
def sockets():
    def echo(conn):
        while data := conn.read(100): conn.write(data)
    with net.serve("127.0.0.1:0", echo) as server:
        with net.dial("tcp", server.addr) as c:
            while True:
                c.write(b"x" * 50)
                c.read_exactly(50)
def unwinding():
    try: Chan().recv()
    finally:
        with shield(): sleep(0.002)
def computes():
    while True: sum(range(200)); sleep(0)
def ticks():
    t = Ticker(0.0005)
    while True: t.c.recv()
def loops():
    async def main():
        while True: await asyncio.sleep(0); gosched()
    try: asyncio.run(main())
    except asyncio.CancelledError:
        # asyncio.run sets its count of SIGINTs to 0 after its handler is there: of one between it remembers the cancel only
        if how not in ("int", "outside"): raise
        raise KeyboardInterrupt from None
def thread():
    c = Chan()
    def other():
        try:
            for v in c: pass
        except RuntimeError: pass  # the interpreter is shutting down
    threading.Thread(target=other, daemon=True).start()
    while True: c.send(1); sleep(0.0005)
lock = sync.Mutex()
for fn in (channels, selects, locks, locks, timeouts, calls, spawns, groups, finalizers, generators, sockets, unwinding, computes,
           ticks, loops, thread):
    go(fn).name = fn.__name__
for _ in range(100): go(Chan().recv)
go(sleep, 100)

def end_after(seconds, end):
    sleep(seconds)
    end()

def fail(): raise LookupError("unhandled")
end = {"exit": lambda: sys.exit(3), "_exit": lambda: os._exit(4), "fail": fail, "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
       "handler": lambda: os.kill(os.getpid(), signal.SIGUSR1), "int": lambda: os.kill(os.getpid(), signal.SIGINT), "outside": lambda: sleep(100)}[how]
signal.signal(signal.SIGUSR1, lambda *a: ramet.go(sys.exit, 5) if how == "outside" else sys.exit(5))
# from outside: it may come while asyncio runs, which may lose what is raised there
print("ready", flush=True)
if where == "main": end_after(delay, end)
else: go(end_after, delay, end)
sleep(100)  # asyncio.run, in its goroutine, takes a SIGINT for itself first
"""
STATUS = {"exit": 3, "_exit": 4, "fail": 1, "term": -signal.SIGTERM, "handler": 5, "int": -signal.SIGINT}
ENDS = [(how, where) for how in STATUS for where in ("main", "goroutine") if (how, where) != ("fail", "goroutine")]
ROUNDS = 30 if SLOW else 1


@pytest.mark.long
@pytest.mark.parametrize(("how", "where"), ENDS)
def test_ends(how, where):
    for _ in range(ROUNDS):
        delay = random.choice((0, 0.0005, random.uniform(0, 0.03), random.uniform(0, 0.1)))
        env = {"RAMET_PREEMPT": random.choice("01"), "RAMET_PREEMPT_INTERVAL": "0.0005"}
        ended = finish(start_py(WORLD, str(delay), where, how, env=env), status=STATUS[how], timeout=180)
        assert ended.out == "ready\n", f"after {delay}, {env}: {ended}"
        want = {"fail": "LookupError: unhandled", "int": "KeyboardInterrupt"}.get(how)
        assert want in ended.err if want else ended.err == "", f"after {delay}: {ended}"


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_ended_from_outside(signum):
    for _ in range(ROUNDS):
        p = start_py(WORLD, "0", "main", "outside", env={"RAMET_PREEMPT": "1"})
        assert p.stdout.readline() == "ready\n"
        delay = random.uniform(0, 0.1)
        time.sleep(delay)
        p.send_signal(signum)
        ended = finish(p, status=5 if signum == signal.SIGUSR1 else -signum, timeout=180)
        assert ended.err == "" if signum != signal.SIGINT else "KeyboardInterrupt" in ended.err, (
            f"after {delay}: {ended}"
        )


@pytest.mark.parametrize("where", ["main", "goroutine"])
def test_a_sigint_before_asyncio_counts(where):
    """The one moment at which asyncio.run cancels its task for a SIGINT and then has not seen any, held open."""
    begin, loops, rest = WORLD.partition("def loops():\n")
    held_open = """
class Signals:
    def __getattr__(self, name): return getattr(signal, name)
    def signal(self, *args):
        was = signal.signal(*args)
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            with shield(): ends.send(None); taken.recv()
        return was
ends, taken = Chan(), Chan()
asyncio.runners.signal = Signals()
"""
    rest = rest.replace("    sleep(seconds)\n    end()\n", "    ends.recv()\n    end()\n    taken.send(None)\n")
    ended = finish(start_py(begin + held_open + loops + rest, "0", where, "int"), status=-signal.SIGINT, timeout=180)
    assert ended.out == "ready\n" and "KeyboardInterrupt" in ended.err, str(ended)


def test_one_that_swallows_cancelled_among_all_the_others():
    begin, _, end = WORLD.partition("lock = sync.Mutex()")
    stubborn = "def stubborn():\n    while True:\n        try: sleep(100)\n        except BaseException: pass\ngo(stubborn)\nlock = sync.Mutex()"
    ended = finish(start_py(begin + stubborn + end, "0.01", "main", "exit"), status=3, timeout=180)
    assert "in stubborn" in ended.err and ended.err.count("started by") <= 2, str(ended)
