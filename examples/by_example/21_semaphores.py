"""Semaphores: so many may pass, the next one waits until one of them has left."""

from ramet import go
from ramet.sync import Semaphore, WaitGroup
from ramet.time import sleep

desks = Semaphore(2)
at_desk = most = 0


def clerk():
    global at_desk, most
    with desks:
        at_desk += 1
        most = max(most, at_desk)
        sleep(0.01)
        at_desk -= 1


wg = WaitGroup()
for _ in range(6):
    wg.go(clerk)
wg.wait()
print("at most", most, "were at the desks at once")

print("first:", desks.acquire(blocking=False))
print("second:", desks.acquire(blocking=False))
print("third:", desks.acquire(timeout=0.01))

third = go(desks.acquire)
desks.release()
print("third, when one has left:", third.join())
