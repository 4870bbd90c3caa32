"""A race: ten goroutines count to a hundred together and lose most of it; then four ways to lose nothing.

Goroutines change places only where they call into ramet. gosched() between the reading and the writing of the total
is such a place; in a real program it is a send, a read of a socket, a call that does one of these.
"""

import ramet
from ramet import go, gosched
from ramet.sync import Mutex, WaitGroup
from ramet.sync.atomic import AtomicLong

COUNTERS, EACH = 10, 10


def together(increment):
    """Ten goroutines, each of which increments ten times."""
    wg = WaitGroup()

    def counter():
        for _ in range(EACH):
            increment()

    for _ in range(COUNTERS):
        wg.go(counter)
    wg.wait()


def race():
    total = 0

    def increment():
        nonlocal total
        seen = total
        gosched()  # meanwhile the others read the same total
        total = seen + 1

    together(increment)
    return total


def mutex():
    total, guard = 0, Mutex()

    def increment():
        nonlocal total
        with guard:
            seen = total
            gosched()
            total = seen + 1

    together(increment)
    return total


def atomic():
    total = AtomicLong()
    together(lambda: (total.add(1), gosched()))
    return total.value


def channel():
    """Share by communicating: the total is a message, and who has it is the only one who has it."""
    total = ramet.Chan(1)
    total.send(0)

    def increment():
        seen = total.recv()
        gosched()
        total.send(seen + 1)

    together(increment)
    return total.recv()


def confined():
    """One goroutine owns the total; the others only ask it to count."""
    requests = ramet.Chan()

    def owner():
        total = 0
        for amount in requests:
            gosched()
            total += amount
        return total

    counting = go(owner)
    together(lambda: requests.send(1))
    requests.close()
    return counting.join()


for way in (race, mutex, atomic, channel, confined):
    total = ramet.run(way)
    print(f"{way.__name__:10}{total:4} of {COUNTERS * EACH}{'' if total == COUNTERS * EACH else ': updates were lost'}")
