"""What is used by several OS threads at the same moment: races that a GIL makes rare. They run on every CPython."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest
import ramet
from helpers import T, until
from ramet import Chan, context, go
from ramet.time import sleep


def together(*fns):
    """Each in a thread of its own, all begun at once, while goroutines run; what they raise is raised."""
    start, errors = threading.Barrier(len(fns)), []

    def run(fn):
        try:
            start.wait()
            fn()
        except BaseException as e:
            errors.append(e)

    ts = [threading.Thread(target=run, args=(fn,), daemon=True) for fn in fns]
    for t in ts:
        t.start()
    until(lambda: not any(t.is_alive() for t in ts), sleep=sleep)
    for e in errors:
        raise e


# ---------------------------------------------------------------- forks


def test_a_fork_while_threads_are_in_ramet(recwarn):
    """The child may use all of it, whoever was in the midst of what when it was made."""
    stop = []

    def use():
        c = Chan(8)
        while not stop:
            for _ in range(500):
                c.send({})
                c.recv()
                ramet.stats()

    def child():
        c = Chan()
        g = go(c.send, 1)
        t = threading.Thread(target=g.join)
        t.start()
        ok = c.recv(T) == 1
        t.join(T)
        os._exit(0 if ok and not t.is_alive() else 1)

    ts = [threading.Thread(target=use) for _ in range(4)]
    for t in ts:
        t.start()
    try:
        for _ in range(12):
            pid = os.fork()
            if not pid:
                child()
            end = time.monotonic() + T
            while True:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    break
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                sleep(0.001)
            assert status == 0
    finally:
        stop.append(1)
        for t in ts:
            t.join()


# ---------------------------------------------------------------- contexts


def by_thread(fn):
    t = threading.Thread(target=fn, daemon=True)
    t.start()
    until(lambda: not t.is_alive(), sleep=sleep)


def test_a_parent_cancelled_while_its_child_is_made(monkeypatch):
    """By another thread, when the child knows its parent and has no timer yet: it leaves none behind."""
    parent, cancel = context.with_cancel(context.background())
    deadline, now, before = time.monotonic() + 1000, time.monotonic, ramet.stats()["timers"]

    def late():
        by_thread(cancel)
        return now()

    monkeypatch.setattr(context, "_monotonic", late)
    child, _ = context.with_deadline(parent, deadline)
    assert isinstance(child.err(), context.Canceled)
    assert child.done.recv_ok(T) == (None, False)
    assert ramet.stats()["timers"] <= before


def test_a_parent_cancelled_while_children_are_made():
    before = ramet.stats()["timers"]
    for _ in range(100):
        parent, cancel = context.with_cancel(context.background())
        t = threading.Thread(target=cancel)
        t.start()
        children = [context.with_timeout(parent, 1000)[0] for _ in range(20)]
        t.join()
        for child in children:
            assert isinstance(child.err(), context.Canceled)
            assert child.done.recv_ok(T) == (None, False)
    assert ramet.stats()["timers"] <= before


def test_the_cause_is_there_with_the_error():
    for _ in range(200):
        ctx, cancel = context.with_cancel_cause(context.background())
        why = ValueError("why")

        def look(ctx=ctx, why=why):
            while ctx.err() is None:
                pass
            assert context.cause(ctx) is why

        together(look, lambda cancel=cancel, why=why: cancel(why))


def test_contexts_added_and_removed_by_threads():
    parent, cancel = context.with_cancel(context.background())
    ran = Chan(1000)

    def use():
        for i in range(200):
            child, cancel_child = context.with_cancel(parent)
            stop = context.after_func(parent, lambda: ran.send(1))
            if i % 2:
                assert stop() and not stop()
            cancel_child()
            assert child.err() is not None

    together(use, use, use)
    assert len(parent._core._calls) == 300
    cancel()
    assert [ran.recv(T) for _ in range(300)] == [1] * 300


# ---------------------------------------------------------------- futures


def test_waits_that_end_while_futures_do():
    """Who tells that a task is done, and finds that nobody waits any more, says nothing about that."""
    import concurrent.futures as cf
    import logging

    said = []
    handler = logging.Handler()
    handler.emit = said.append
    logger = logging.getLogger("concurrent.futures")
    logger.addHandler(handler)
    reported, before = [], ramet.excepthook
    ramet.excepthook = lambda g, e: reported.append(e)
    try:
        for _ in range(200):
            fs = [cf.Future() for _ in range(4)]
            gs = [go(lambda: None) for _ in range(2)]

            def finish(fs):
                for f in fs:
                    f.set_result(1)

            def wait(fs=fs, gs=gs):
                done, _ = ramet.wait([*fs, *gs], timeout=T, return_when=ramet._structure.FIRST_COMPLETED)
                assert done

            together(wait, lambda fs=fs: finish(fs[:2]), lambda fs=fs: finish(fs[2:]))
            for g in gs:
                g.join(T)
    finally:
        ramet.excepthook = before
        logger.removeHandler(handler)
    assert not said and not reported


def test_shutdown_while_one_submits(monkeypatch):
    executor, make = ramet.Executor(), ramet.sync.Future

    def late():
        by_thread(executor.shutdown)
        return make()

    monkeypatch.setattr(ramet._structure, "Future", late)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)
    executor.shutdown()


def test_submit_and_shutdown():
    """What is accepted has ended when shutdown() returns."""
    for n in range(100):
        executor = ramet.Executor(2)
        accepted = []

        def submit(executor=executor, accepted=accepted):
            try:
                while True:
                    accepted.append(executor.submit(int))
            except RuntimeError:
                pass

        def shut_down(executor=executor, accepted=accepted, cancel=bool(n % 2)):
            while len(accepted) < 5:
                time.sleep(0)
            executor.shutdown(cancel_futures=cancel)

        together(submit, submit, shut_down)
        assert all(f.done() for f in accepted)
        assert not executor._calls
        for f in accepted:
            try:
                assert f.result(T) == 0
            except CancelledError:
                assert n % 2


def test_one_channel_a_future():
    for _ in range(200):
        f, cases = ramet.sync.Future(), []
        together(
            lambda f=f, cases=cases: cases.append(f.if_done()),
            lambda f=f, cases=cases: cases.append(f.if_done()),
            lambda f=f: f.set_result(1),
        )
        assert cases[0] == cases[1] == f.if_done()
        assert not ramet.select(*cases, timeout=T).ok


# ---------------------------------------------------------------- sync


def test_once_for_many_threads():
    for _ in range(100):
        calls = []
        value = ramet.sync.once_value(lambda calls=calls: calls.append(1) or [len(calls)])
        once, got = ramet.sync.Once(), []

        def use(once=once, got=got, calls=calls, value=value):
            once.do(lambda: calls.append(2))
            got.append(value())

        together(use, use, use)
        assert sorted(calls) == [1, 2] and all(v is got[0] for v in got)


def test_a_barrier_in_rounds():
    barrier, rounds = ramet.sync.Barrier(4), []

    def use():
        for _ in range(200):
            if barrier.wait(T) == 0:
                rounds.append(1)

    g = go(use)
    together(use, use, use)
    g.join(T)
    assert len(rounds) == 200


def test_a_queue_opened_while_it_is_used():
    """Nothing is lost or doubled when its inside is asked for."""
    for kind in (ramet.sync.Queue, ramet.sync.LifoQueue):
        for _ in range(60):
            q, got = kind(), []

            def put(q=q):
                for i in range(60):
                    q.put(i)

            def get(q=q, got=got):
                for _ in range(60):
                    got.append(q.get(timeout=T))
                    q.task_done()

            def look(q=q):
                time.sleep(0.0002)
                assert q.mutex is q.not_empty._lock
                q.all_tasks_done  # noqa: B018

            together(put, get, put, get, look, look)
            q.join()
            assert sorted(got) == sorted(2 * list(range(60))) and q.empty()


def test_handles_named_and_watched_by_threads():
    for _ in range(50):
        gs = [go(sleep, 0.001) for _ in range(8)]

        def name(i, gs=gs):
            for g in gs:
                g.name = f"by {i}"
                assert g.name.startswith("by ")
                ramet.select(g.if_done(), timeout=T)
                assert g.done()

        together(lambda: name(1), lambda: name(2), lambda: name(3))
        for g in gs:
            assert g.join() is None and g.name in ("by 1", "by 2", "by 3")


# ---------------------------------------------------------------- looking


def test_looking_while_all_is_busy():
    """dump(), stats(), debug.hooks() and signal handlers that come and go."""
    from ramet.os import signal as notify

    stop, c = [], Chan(1)

    def look():
        import io

        try:
            for _ in range(3):
                text = io.StringIO()
                ramet.dump(text)
                assert "goroutine 1 'main'" in text.getvalue()
                assert any(h.where == "atexit" for h in ramet.debug.hooks())
                assert ramet.stats()["goroutines"] >= 1
        finally:
            stop.append(1)

    def change():
        while len(stop) < 2:
            notify.notify(c, signal.SIGUSR1, signal.SIGUSR2)
            notify.stop(c)
            go(ramet.gosched)
            sleep(0)

    g = go(change)
    together(look, look)
    g.join(T)


# ---------------------------------------------------------------- pipes


def test_a_pipe_closed_between_poll_and_read(monkeypatch):
    """By another thread, which opens a file then: that one is not read in the pipe's place."""
    r, w = ramet.io.pipe()
    w.write(b"x")
    ready, other = r.ready, []

    def late():
        answer = ready()
        by_thread(r.close)
        other.extend(os.pipe())
        os.write(other[1], b"of another")
        return answer

    monkeypatch.setattr(r, "ready", late)
    assert r.read(10) == b"x"
    assert os.read(other[0], 10) == b"of another"
    with pytest.raises(ValueError, match="closed"):
        r.read(1)
    with pytest.raises(BrokenPipeError):
        w.write(b"x")
    w.close()
    for fd in other:
        os.close(fd)


# ---------------------------------------------------------------- first use

FIRST = """
import threading, sys, ramet
n, out = 6, []
begin = threading.Barrier(n)
def use(i):
    begin.wait()
    out.append(ramet.go(lambda: i).join())
ts = [threading.Thread(target=use, args=(i,)) for i in range(n - 1)]
for t in ts: t.start()
use(n - 1)
while any(t.is_alive() for t in ts): ramet.time.sleep(0.001)
assert sorted(out) == list(range(n)), out
hooks = [h.name for h in ramet.debug.hooks()]
assert hooks.count("exit handler") == hooks.count("watching thread") == 1, hooks
"""


def test_first_use_by_many_at_once():
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=180)
        assert done.returncode == 0 and not done.stderr, done
