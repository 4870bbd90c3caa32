"""Rate limiting: a ticker spaces requests; tokens in a buffered channel let a burst through first."""

from ramet import Chan, go
from ramet.time import Ticker, monotonic

INTERVAL = 0.02

begin = monotonic()
limiter = Ticker(INTERVAL)
for request in range(1, 4):
    limiter.c.recv()
    print("request", request)
limiter.stop()
print("at least three intervals:", monotonic() - begin >= 3 * INTERVAL)

BURST = 3
tokens = Chan(BURST)
for _ in range(BURST):
    tokens.send(None)


def refill():
    ticker = Ticker(INTERVAL)
    for _ in ticker.c:
        tokens.try_send(None)  # full: the token is lost, the burst does not grow


for request in range(1, BURST + 1):
    tokens.try_recv()
    print("request", request, "at once")

begin = monotonic()
refiller = go(refill)
for request in range(4, 6):
    tokens.recv()
    print("request", request)
print("at least two intervals:", monotonic() - begin >= 2 * INTERVAL)
refiller.cancel()
