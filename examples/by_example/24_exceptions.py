"""Exceptions: join() raises what the goroutine died of; what nobody joins goes to excepthook. The others go on."""

import ramet
from ramet import Chan, go


def printer(what):
    raise RuntimeError(f"out of {what}")


failing = go(printer, "paper")
try:
    failing.join()
except RuntimeError as e:
    print("join raises:", e)
print("or look at it:", failing.exception())

# Nobody keeps this one's handle, so nobody can join it. By default its traceback goes to stderr.
reported = Chan()
ramet.excepthook = lambda goroutine, exc: reported.send(exc)
go(printer, "ink")
print("excepthook is told:", reported.recv())

# An exception may also be sent: it is raised where it is received.
results = Chan(2)
results.send_exception(RuntimeError("a jam"))
results.send("page 1")
try:
    results.recv()
except RuntimeError as e:
    print("received:", e)
print("received:", results.recv())
