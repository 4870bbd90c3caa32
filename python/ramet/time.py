"""Time, in seconds: sleep, clocks, and Go's constants as multiples of a second."""

from time import monotonic
from time import time as now

from ._core import sleep

__all__ = ["HOUR", "MICROSECOND", "MILLISECOND", "MINUTE", "NANOSECOND", "SECOND", "monotonic", "now", "sleep"]

NANOSECOND = 1e-9
MICROSECOND = 1e-6
MILLISECOND = 1e-3
SECOND = 1
MINUTE = 60
HOUR = 3600
