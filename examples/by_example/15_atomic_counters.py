"""Atomic counters: integers that goroutines and OS threads change together, without a lock."""

import threading

from ramet.sync import WaitGroup
from ramet.sync.atomic import AtomicLong

count = AtomicLong()


def add():
    for _ in range(1000):
        count.add(1)


wg = WaitGroup()
for _ in range(50):
    wg.go(add)
thread = threading.Thread(target=add)
thread.start()
wg.wait()
thread.join()
print("count:", count.value)

# Of all who see the same number, one can change it.
turn = AtomicLong(0)
winners = AtomicLong(0)


def claim():
    if turn.compare_and_swap(0, 1):
        winners.add(1)


for _ in range(10):
    wg.go(claim)
wg.wait()
print("winners:", winners.value)
