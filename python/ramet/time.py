"""Time, in seconds: sleep, clocks, timers and tickers, and Go's constants as multiples of a second."""

from time import monotonic
from time import time as now

from ._core import Ticker, Timer, after, after_func, sleep, tick

__all__ = [
    "HOUR",
    "MICROSECOND",
    "MILLISECOND",
    "MINUTE",
    "NANOSECOND",
    "SECOND",
    "After",
    "AfterFunc",
    "Tick",
    "Ticker",
    "Timer",
    "after",
    "after_func",
    "monotonic",
    "now",
    "sleep",
    "tick",
]

After = after
AfterFunc = after_func
Tick = tick

#: 1e-9 seconds.
NANOSECOND = 1e-9
#: 1e-6 seconds.
MICROSECOND = 1e-6
#: 1e-3 seconds.
MILLISECOND = 1e-3
#: 1, the unit of every duration in ramet.
SECOND = 1
#: 60 seconds.
MINUTE = 60
#: 3,600 seconds.
HOUR = 3600
