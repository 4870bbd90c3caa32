"""What the tests of forks share: programs that fork."""

import pytest
from helpers import run_py

BEGIN = """
import os, sys, threading, time, warnings
import ramet
from ramet import *
warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
from ramet.time import sleep

def wait(pid):
    # in the parent: reap without holding anything up
    end = time.monotonic() + 15
    while time.monotonic() < end:
        p, status = os.waitpid(pid, os.WNOHANG)
        if p:
            return os.waitstatus_to_exitcode(status)
        sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hung"

def works():
    # everything, in short
    c = Chan()
    g = go(lambda: [c.send(i) for i in range(10)])
    assert [c.recv(10) for _ in range(10)] == list(range(10))
    g.join(50)
    assert blocking(lambda: 5) == 5
    sleep(0.002)
    r, w = os.pipe()
    g = go(select, readable(r))
    gosched()
    os.write(w, b"x")
    assert g.join(50).index == 0
    os.close(r); os.close(w)
    t = threading.Thread(target=lambda: c.send(6)); t.start()
    assert c.recv(10) == 6
    t.join()
    return True
"""


def forked(code, status=0, **kwargs):
    ended = run_py(BEGIN + code, status=status, **kwargs)
    assert ended.complaints == "", str(ended)
    return ended


# Who calls work(), which forks, and what is checked in its child.
CALLERS = """
def wait_here(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def child(check):
    pid = os.fork()
    if pid:
        assert wait_here(pid) == 3
        return
    ok = False
    try:
        ok = check()
    except BaseException:
        import traceback; traceback.print_exc()
    finally:
        os._exit(3 if ok else 1)
def by_main():
    work()
def by_goroutine():
    go(work).join()
def by_thread():
    failed = []
    threading.excepthook = failed.append
    t = threading.Thread(target=work)
    t.start()
    ramet.blocking(t.join)
    assert not failed, failed
"""
BY = pytest.mark.parametrize("by", ["main", "goroutine", "thread"])


def forked_by(by, code):
    ended = forked(f"{CALLERS}{code}by_{by}()\nos._exit(0)")
    assert ended.out == "", str(ended)
