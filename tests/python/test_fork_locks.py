"""fork: locks that are held, or waited for, at the fork, in the child."""

import pytest
from fork_helpers import BY, forked_by

LOCKS = """
from ramet.sync import Cond, Mutex, RLock, RWMutex
"""


def locks(code, by):
    forked_by(by, LOCKS + code)


@BY
@pytest.mark.parametrize("make", ["RLock()", "Mutex()", "RWMutex()", "Cond()", "Cond(Mutex())"])
def test_who_forks_in_a_lock_has_it_in_the_child(make, by):
    code = f"""
def free(lock):  # for others
    def take():
        with lock: return True
    return go(take).join(50)

def work():
    lock = {make}
    with lock:
        pid = os.fork()
    if pid:
        assert wait_here(pid) == 3
    else:
        os._exit(3 if free(lock) else 1)
    assert free(lock)
"""
    locks(code, by)


@BY
def test_an_rlock_that_who_forks_has_several_times(by):
    code = """
def work():
    lock = RLock()
    lock.acquire(); lock.acquire()
    def check():
        assert lock._is_owned() and lock._recursion_count() == 2
        lock.acquire()
        for _ in range(3):
            assert lock.locked() and not go(lock.try_lock).join(50)
            lock.release()
        return not lock.locked() and go(lock.try_lock).join(50)
    child(check)
    lock.release(); lock.release()
"""
    locks(code, by)


@BY
@pytest.mark.parametrize("holder", ["main", "goroutine", "thread"])
def test_an_rlock_that_another_has_is_nobodys_in_the_child(holder, by):
    """Not that of a goroutine with the same number either."""
    if holder == by == "main":
        pytest.skip("main is who forks")
    code = f"""
lock, stop = RLock(), Chan()
if "{holder}" == "main":
    lock.acquire()
elif "{holder}" == "goroutine":
    go(lambda: (lock.acquire(), stop.recv()))
    gosched()
else:
    t = threading.Thread(target=lambda: (lock.acquire(), stop.recv()), daemon=True)
    t.start()
    while not lock.locked(): sleep(0.001)

def work():
    def check():
        mine = lambda: lock.try_lock() or lock._is_owned()
        return not mine() and not any(go(mine).join(50) for _ in range(30)) and lock.locked()
    child(check)
"""
    locks(code, by)


@BY
def test_a_condition_is_waited_for_in_the_child(by):
    """By who has its lock since before the fork."""
    code = """
def work():
    cond = Cond()
    def notify():
        with cond: cond.notify()
    def check():
        g = go(notify)
        woken = cond.wait(10)
        cond.release()
        g.join(50)
        return woken
    with cond:
        child(check)
"""
    locks(code, by)
