"""The launch of Go's talks: a tick channel, an abort channel, and select, which listens to both.

At a terminal, Return aborts the first countdown; the second one is aborted by the program itself.
"""

import sys

import ramet
from ramet import go, select
from ramet.time import MILLISECOND, Ticker, sleep


def countdown(name, start, abort):
    ticker = Ticker(100 * MILLISECOND)
    for number in range(start, 0, -1):
        print(f"{name}: {number}")
        if select(ticker.c, abort).chan is abort:
            print(f"{name}: aborted")
            break
    else:
        print(f"{name}: lift-off")
    ticker.stop()


def main():
    abort = ramet.Chan()
    if sys.stdin.isatty():

        @go
        def listen():
            select(ramet.readable(sys.stdin))
            sys.stdin.readline()
            abort.close()

    countdown("Apollo", 5, abort)

    abort = ramet.Chan()

    @go
    def engineer():
        sleep(250 * MILLISECOND)
        abort.send("a valve leaks")

    countdown("Vanguard", 5, abort)


ramet.run(main)  # and cancels who still listens
