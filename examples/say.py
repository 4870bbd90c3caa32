"""Goroutines: two of them say their word five times, each at its own pace. run() waits until both have ended."""

from ramet import go, maintask, run
from ramet.time import MILLISECOND, sleep


def say(word):
    for _ in range(5):
        sleep(100 * MILLISECOND)
        print(word)


@maintask
def main():
    go(say, "world")
    say("hello")


run()
