"""Go's defer is try/finally and with: what has to be done at the end is done, also when the goroutine is cancelled."""

from contextlib import ExitStack

from ramet import Chan, go
from ramet.time import sleep

ready, never = Chan(), Chan()


def work():
    with ExitStack() as stack:  # as Go's defer: the last one registered is called first
        for n in (1, 2, 3):
            stack.callback(print, "clean up", n)
        try:
            ready.send("working")
            never.recv()
            print("this is never reached")
        finally:
            sleep(0.01)  # a clean-up may wait: a cancellation is raised once
            print("put the tools away")


worker = go(work)
print(ready.recv())
worker.cancel()
print("it ended by", type(worker.exception()).__name__)
