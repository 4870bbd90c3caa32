"""Condition variables: wait, with the lock given up meanwhile, until something about the guarded data has changed."""

from ramet import go
from ramet.sync import Cond, WaitGroup

started = False
changed = Cond()  # its own Mutex guards `started` and `order`
order = []
wg = WaitGroup()


def runner(name):
    with changed:
        order.append(name)
        changed.notify_all()
        while not started:
            changed.wait()
        order.append(name.upper())


for name in ("ann", "bob", "cyd"):
    wg.go(runner, name)


@go
def starter():
    global started
    with changed:
        changed.wait_for(lambda: len(order) == 3)  # the loop with wait(), in one call
        print("ready:", *sorted(order))
        order.clear()
        started = True
        changed.broadcast()


wg.wait()
print("they ran:", *sorted(order))
