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

NANOSECOND = 1e-9
MICROSECOND = 1e-6
MILLISECOND = 1e-3
SECOND = 1
MINUTE = 60
HOUR = 3600
