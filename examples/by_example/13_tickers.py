"""Tickers: something that happens at regular intervals, until it is stopped."""

from ramet import Chan, go, select
from ramet.time import Ticker, monotonic

begin = monotonic()
ticker = Ticker(0.01)
for n in range(1, 4):
    ticker.c.recv()
    print("tick", n)
print("not too early:", monotonic() - begin >= 0.03)
ticker.stop()


def heart(beats, stop):
    """Beats until it is told to stop."""
    ticker = Ticker(0.01)
    while select(stop, ticker.c).chan is ticker.c:
        beats.send("beat")
    ticker.stop()
    beats.close()


beats, stop = Chan(), Chan()
go(heart, beats, stop)
print(beats.recv(), beats.recv())
stop.close()
for _ in beats:  # one more may have been on its way
    pass
print("the heart has stopped")
