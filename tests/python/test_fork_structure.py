"""fork: groups, executors and what else waits for several goroutines, in the child."""

import pytest
from fork_helpers import BY, CALLERS, forked

BY_GOROUTINES = pytest.mark.parametrize("by", ["main", "goroutine"])


def structure(code, by):
    ended = forked(f"{CALLERS}{code}by_{by}()\nos._exit(0)")
    assert ended.out == "", str(ended)


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
    structure(code, by)


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
    structure(code, by)


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
    structure(code, "goroutine")


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
    structure(code, "goroutine")


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
    assert late.done() and not busy.done() and not waits.done()
    os._exit(3)
"""
    structure(code, by)


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
    structure(code, by)
