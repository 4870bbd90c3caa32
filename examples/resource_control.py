"""Resource control: twenty workers, of whom a semaphore lets five at a time use what is scarce."""

import ramet
from ramet.sync import Semaphore
from ramet.time import MILLISECOND, sleep

PLACES, WORKERS = 5, 20

places = Semaphore(PLACES)
inside = set()
most = 0


def worker(number):
    global most
    with places:
        inside.add(number)
        most = max(most, len(inside))
        sleep(20 * MILLISECOND)  # here it would use the connection, the licence, the memory
        inside.remove(number)
    return number


def main():
    finished = [goroutine.join() for goroutine in [ramet.go(worker, n) for n in range(WORKERS)]]
    print(f"{len(finished)} workers are done, {most} of them at most were inside at once")


ramet.run(main)
