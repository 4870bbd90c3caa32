"""Signals: they come as values on a channel, and select can wait for them beside anything else."""

import os
from signal import SIGHUP, SIGTERM, SIGUSR1

from ramet import Chan, select
from ramet.os import signal
from ramet.time import Ticker

signals = Chan(2)
signal.notify(signals, SIGUSR1, SIGTERM)

os.kill(os.getpid(), SIGUSR1)
print("got", signals.recv().name)

# A service: works at every tick, until it is told to stop.
ticker = Ticker(0.01)
ticks = 0
while True:
    got = select(signals, ticker.c)
    if got.chan is signals:
        print("got", got.value.name, "after work:", ticks >= 2)
        break
    ticks += 1
    if ticks == 2:
        os.kill(os.getpid(), SIGTERM)
ticker.stop()

signal.stop(signals)
hangups = Chan(1)
signal.notify(hangups, SIGHUP)
os.kill(os.getpid(), SIGHUP)
print("got", hangups.recv().name)
