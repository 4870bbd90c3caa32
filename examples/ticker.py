"""A ticker: a value on its channel every 100 ms, until it is stopped; the values are the times of the ticks."""

import ramet
from ramet.time import MILLISECOND, Ticker


def main():
    ticker = Ticker(100 * MILLISECOND)
    last = None
    for number in range(1, 6):
        at = ticker.c.recv()
        print(f"tick {number}" + (f", {at - last:.2f} s after the last one" if last else ""))
        last = at
    ticker.stop()
    try:
        ticker.c.recv(timeout=250 * MILLISECOND)
        print("a tick after stop()")
    except TimeoutError:
        print("stopped: no tick comes any more")


ramet.run(main)
