"""Timers: something that will happen once, unless it is called off or put off."""

from ramet import Chan
from ramet.time import Timer, after_func, monotonic

begin = monotonic()
timer = Timer(0.02)
timer.c.recv()
print("the timer fired, and not too early:", monotonic() - begin >= 0.02)

timer = Timer(60)
print("stopped before it fired:", timer.stop())
print("stopped again:", timer.stop())

timer = Timer(60)
timer.reset(0.01)  # sooner
timer.c.recv()
print("put forward, it fired")

# A timer may also call a function, in a goroutine of its own.
rung = Chan()
after_func(0.01, rung.send, "ring")
print(rung.recv())
call = after_func(60, print, "this is never said")
print("called off:", call.stop())
