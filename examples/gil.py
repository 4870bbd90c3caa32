"""The GIL: what computes in Python gets no faster by threads or goroutines, only by processes.

What computes in C and lets go of the GIL, as hashlib does, uses every core also through ramet.blocking.
"""

import hashlib
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import ramet

TASKS = 2
NUMBERS = 1_500_000
DATA = bytes(32 << 20)


def compute():
    total = 0
    for number in range(NUMBERS):
        total += number & 7
    return total


def digest():
    return hashlib.sha512(DATA).hexdigest()


def one_after_the_other(task):
    return [task() for _ in range(TASKS)]


def in_threads(task):
    results = []
    running = [threading.Thread(target=lambda: results.append(task())) for _ in range(TASKS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return results


def in_goroutines(task):
    return ramet.gather(*[ramet.go(task) for _ in range(TASKS)])


def by_blocking(task):
    return ramet.gather(*[ramet.go(ramet.blocking, task) for _ in range(TASKS)])


def main():
    print(f"{TASKS} tasks, {len(os.sched_getaffinity(0))} cores")
    with ProcessPoolExecutor(TASKS, mp_context=multiprocessing.get_context("spawn")) as pool:

        def in_processes(task):
            return [future.result() for future in [pool.submit(task) for _ in range(TASKS)]]

        in_processes(os.getpid)  # have them started before the clock is
        rows = [
            (compute, [one_after_the_other, in_threads, in_goroutines, in_processes]),
            (digest, [one_after_the_other, in_threads, in_goroutines, by_blocking]),
        ]
        good = True
        for task, ways in rows:
            expected = [task()] * TASKS
            for way in ways:
                begin = time.monotonic()
                results = way(task)
                seconds = time.monotonic() - begin
                good &= results == expected
                verdict = "right" if results == expected else "WRONG"
                print(f"{task.__name__:10}{way.__name__:22}{seconds * 1e3:6.0f} ms  {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
