"""fork: what is to happen at some time, in the child."""

import pytest
from fork_helpers import BY, forked_by

TIME = """
from ramet import context
from ramet.time import Ticker, Timer, after, after_func, monotonic
"""


def timed(code, by):
    forked_by(by, TIME + code)


@BY
@pytest.mark.parametrize("make", ["with_timeout(parent, 0.05)", "with_deadline(parent, monotonic() + 0.05)"])
def test_a_context_of_the_parent_expires_in_the_child(make, by):
    code = f"""
def work():
    parent, cancel = context.with_cancel(context.background())
    ctx, cancel = go(lambda: context.{make}).join()  # not in another thread
    below, cancel = context.with_cancel(ctx)
    deadline, done, called = ctx.deadline(), ctx.done, Chan(1)
    context.after_func(ctx, lambda: called.send(1))
    def check():
        assert select(done, timeout=50).index == 0 and monotonic() >= deadline
        assert isinstance(ctx.err(), context.DeadlineExceeded) and below.err() is ctx.err() and not parent.err()
        assert ctx.deadline() == deadline
        return called.recv(20)
    child(check)
    assert select(done, timeout=50).index == 0
"""
    timed(code, by)


@pytest.mark.parametrize("by", ["main", "goroutine"])
def test_within_a_contexts_block(by):
    code = """
def work():
    ctx, cancel = context.with_timeout(context.background(), 0.05)
    def check():
        ctx.__enter__()
        try: sleep(100)
        except Cancelled: return True
    try:
        with ctx:
            pid = os.fork()
            sleep(20)
    except context.DeadlineExceeded:
        if not pid: os._exit(3)
    assert wait(pid) == 3
"""
    timed(code, by)


@BY
def test_a_context_is_cancelled_in_the_child_before_it_expires(by):
    """Its timer is not of the child's runtime."""
    code = """
def work():
    made = go(lambda: [context.with_timeout(context.background(), 50) for _ in range(5)]).join()
    def check():
        made[0][1]()
        assert go(int).join(50) == 0
        for ctx, cancel in made[1:]: cancel()
        sleep(0.001)
        return all(type(ctx.err()) is context.Canceled for ctx, _ in made)
    child(check)
    assert not any(ctx.err() for ctx, _ in made)
    for _, cancel in made: cancel()
"""
    timed(code, by)


@BY
def test_timers_of_the_parent_in_the_child(by):
    """Those with a channel deliver there; what calls a function calls it in the parent only."""
    code = """
called = Chan(10)
made = {}
def make():  # not in another thread
    made.update(
        timer=Timer(0.05), ticker=Ticker(0.02), after=after(0.05), func=after_func(0.05, called.send, 1),
        stopped=Timer(0.05), stopped_early=Timer(0.05), reset=Timer(50), far=Timer(50), dropped=Timer(50),
    )
go(make).join()
made["stopped"].stop()

def work():
    def check():
        assert made["stopped_early"].stop() and not made["stopped_early"].stop() and not made["stopped"].stop()
        del made["dropped"]
        assert made["reset"].reset(0.05)
        for _ in range(3): made["ticker"].c.recv(20)
        made["timer"].c.recv(20); made["after"].recv(20); made["reset"].c.recv(20)
        sleep(0.06)
        assert not len(called) and not len(made["stopped"].c) and not len(made["stopped_early"].c)
        return not made["func"].stop() and made["far"].stop()
    child(check)
    assert called.recv(20) == 1
    made["stopped_early"].c.recv(20)
"""
    timed(code, by)


@BY
def test_timers_go_on_in_a_childs_child(by):
    code = """
def work():
    made = []
    go(lambda: made.append(after(0.05))).join()
    def check():
        pid = os.fork()
        if pid: return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
        made[0].recv(20)
        os._exit(4)
    child(check)
"""
    timed(code, by)


def test_goroutines_of_the_parent_that_sleep_do_not_wake_in_the_child():
    code = """
woke = []
for _ in range(10): go(lambda: (sleep(0.01), woke.append(os.getpid())))
gosched()
def work():
    def check():
        sleep(0.03)
        return not woke
    child(check)
"""
    timed(code, "thread")
