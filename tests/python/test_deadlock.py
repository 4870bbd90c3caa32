"""DeadlockError: what else the report says, and when it comes after all."""

import pytest
from helpers import run_py


@pytest.mark.slow
def test_found_after_a_doubt_that_is_gone():
    """While a signal might come it may be none; once it has come and nothing else can, it is one."""
    ended = run_py(
        """
import os, signal, threading, ramet
c = ramet.Chan(1)
old = signal.signal(signal.SIGTERM, lambda *a: c.try_send(1))
threading.Timer(12, os.kill, (os.getpid(), signal.SIGTERM)).start()
c.recv()
signal.signal(signal.SIGTERM, old)
try:
    ramet.Chan().recv()
except ramet.DeadlockError:
    print("found")
""",
        timeout=180,
    )
    assert ended.out == "found\n" and ended.err.count("perhaps a deadlock") == 1, str(ended)


def test_report_names_the_lock_that_is_waited_for():
    ended = run_py(
        """
import ramet
from ramet import sync
m, s = sync.Mutex(), sync.Semaphore(0)
m.lock()
ramet.go(m.lock)
ramet.go(s.acquire)
try:
    m.lock()
except ramet.DeadlockError as e:
    text = str(e)
    assert text.count(f"[mutex {m!r}") == 2 and f"[semaphore {s!r}" in text, text
    print("named")
"""
    )
    assert ended.out == "named\n", str(ended)
