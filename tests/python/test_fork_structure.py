"""fork: groups, executors and what else waits for several goroutines, in the child."""

import pytest
from fork_helpers import BY, forked, forked_by

BY_GOROUTINES = pytest.mark.parametrize("by", ["main", "goroutine"])


@BY_GOROUTINES
@pytest.mark.parametrize("how", ["pass", "sys.exit(3)", "raise KeyError", "group.cancel()", "sleep(0.001)"])
def test_a_group_does_not_wait_for_members_in_the_parent(how, by):
    code = f"""
def work():
    with Group() as outer:
        outer.go(sleep, 100)
        try:
            with Group() as group:
                for _ in range(3): group.go(sleep, 100)
                gosched()
                pid = os.fork()
                if pid:
                    assert wait(pid) == 3
                    group.cancel()
                else:
                    {how}
        except* KeyError:
            assert not pid
        if not pid: sys.exit(3)
        outer.cancel()
"""
    forked_by(by, code)


@BY_GOROUTINES
def test_a_group_of_the_parent_in_the_child(by):
    """It takes members, as many at once as its limit says, and waits for those; the parent's say what they say when joined."""
    code = """
def member(n):
    now.append(n)
    assert len(now) <= 2
    sleep(0.002)
    now.remove(n)
    out.append(n)

now, out = [], []
def work():
    with Group(2) as group:
        gs = [group.go(sleep, 100) for _ in range(2)]
        gosched()
        pid = os.fork()
        if pid:
            assert wait(pid) == 3
            group.cancel()
        else:
            for g in gs: assert isinstance(g.exception(), GoroutineCancelled)
            for i in range(5): group.go(member, i)
    if not pid: os._exit(3 if out == [0, 1, 2, 3, 4] else 1)
    assert not out
"""
    forked_by(by, code)


@pytest.mark.parametrize(
    "how", ["os._exit(3)", "sys.exit(3)", "raise SystemExit(3)", "group.go(sys.exit, 3).exception()"]
)
def test_a_member_forks(how):
    """In the child it is main, and the block it is a member of is not there."""
    code = f"""
def member(group):
    pid = os.fork()
    if pid: assert wait(pid) == 3
    else: {how}

def work():
    with Group() as group:
        group.go(sleep, 100)
        group.go(member, group).join()
        group.cancel()
"""
    forked_by("goroutine", code)


def test_a_member_forks_and_fails():
    code = """
def work():
    with Group() as group:
        group.go(sleep, 100)
        group.go(member, group).join()
        group.cancel()

def member(group):
    pid = os.fork()
    if pid: assert wait(pid) == 3
    else:
        try:
            with Group() as own:
                own.go(lambda: 1 // 0)
                sleep(100)
        except* ZeroDivisionError:
            os._exit(3)
"""
    forked_by("goroutine", code)


@BY
def test_an_executor_of_the_parent_in_the_child(by):
    """It calls, with all its workers free, and its end waits for those calls only."""
    code = """
def work():
    with Executor(1) as executor:
        began = ramet.sync.Event()
        busy = executor.submit(lambda: began.set() or sleep(100))
        waits = executor.submit(sleep, 100)
        assert began.wait(20)
        pid = os.fork()
        if pid: os._exit(os.waitpid(pid, 0)[1] != 3 << 8)
        done = [executor.submit(pow, 2, n) for n in range(3)]
        assert [f.result(10) for f in done] == [1, 2, 4]
        late = executor.submit(sleep, 0.002)
    assert late.done() and not late.exception()
    os._exit(3)
"""
    forked_by(by, code)


@BY_GOROUTINES
def test_gather_wait_and_as_completed_of_goroutines_in_the_parent(by):
    code = """
def work():
    gs = [go(sleep, 0)] + [go(sleep, 100) for _ in range(3)]
    for g in (completed := ramet.as_completed(gs)):
        break
    pid = os.fork()
    if pid:
        assert wait(pid) == 3
        for g in gs: g.cancel()
        return
    assert gs[0] is g and {*completed} == {*gs[1:]}
    assert [type(r) for r in ramet.gather(*gs, return_exceptions=True)] == [type(None)] + 3 * [GoroutineCancelled]
    assert ramet.wait(gs) == ({*gs}, set())
    os._exit(3)
"""
    forked_by(by, code)


@BY
def test_the_parents_futures_in_the_child(by):
    """They fail at once, and what was to be called at their end is not called there."""
    code = """
from concurrent.futures import CancelledError
import concurrent.futures as futures
def work():
    executor, told = Executor(1), []
    ended = executor.submit(pow, 2, 5)
    assert ended.result(10) == 32
    began = ramet.sync.Event()
    busy = executor.submit(lambda: began.set() or sleep(100))
    waits = executor.submit(sleep, 100)
    dropped = executor.submit(sleep, 100)
    assert began.wait(20) and dropped.cancel()
    left = [busy, waits]
    case = busy.if_done()
    for f in left: f.add_done_callback(told.append)
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        assert not busy.done() and busy.running() and not waits.done() and not told
        return
    try:
        for f in left:
            assert f.done() and not f.running() and not f.cancel() and not f.cancelled()
            try: f.result()
            except CancelledError as e: assert "fork" in str(e)
            else: assert False
        assert ended.result() == 32 and dropped.cancelled() and not told
        assert select(case, timeout=50).index == 0
        assert {*ramet.as_completed(left)} == {*left} == ramet.wait(left)[0] == futures.wait(left)[0]
        assert ramet.gather(*left, return_exceptions=True) == [f.exception() for f in left]
        left[0].add_done_callback(told.append)
        assert told == left[:1]
        executor.shutdown(cancel_futures=True)
        os._exit(3)
    finally:
        import traceback; traceback.print_exc()
        os._exit(1)
"""
    forked_by(by, code)


def test_a_call_forks():
    """It goes on in the child, where it has its future; when it returns the child ends."""
    code = """
def call():
    pid = os.fork()
    if pid: return wait(pid)
    assert not future.done() and future.running()
    future.add_done_callback(lambda f: os._exit(f.result()))
    return 3

with Executor() as executor:
    other = executor.submit(sleep, 100)
    future = executor.submit(call)
    assert future.result(20) == 3 and not other.done()
    os._exit(0)
"""
    forked(code)
