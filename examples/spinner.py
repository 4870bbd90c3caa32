"""A spinner turns while something slow runs: the slow call blocks a pool thread, not the goroutines.

`slow` knows nothing of ramet: it could be a library's call into a database, or a computation in C.
"""

import itertools
import sys
import time

import ramet


def spin(text):
    try:
        for turn in itertools.cycle("|/-\\"):
            sys.stdout.write(f"\r{turn} {text}")
            sys.stdout.flush()
            ramet.time.sleep(0.1)
    finally:  # also when it is cancelled
        sys.stdout.write("\r" + " " * (len(text) + 2) + "\r")


def slow():
    time.sleep(0.75)
    return 42


def main():
    spinner = ramet.go(spin, "thinking")
    answer = ramet.blocking(slow)
    spinner.cancel()
    spinner.exception()  # waits for its end
    print(f"the answer: {answer}; the spinner was cancelled: {spinner.cancelled()}")


ramet.run(main)
