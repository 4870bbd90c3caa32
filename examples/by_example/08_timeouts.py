"""Timeouts: of a single wait, of a select, and of a whole block."""

import ramet
from ramet import Chan, select

slow, fast = Chan(), Chan(1)
fast.send("an answer")

try:
    print("slow:", slow.recv(timeout=0.02))
except TimeoutError:
    print("slow: no answer in time")
print("fast:", fast.recv(timeout=5))

try:
    select(slow, fast, timeout=0.02)
except TimeoutError:
    print("neither of them in time")

# As in Go: a case that becomes ready when the time is over.
late = ramet.time.after(0.02)
if select(slow, late).chan is late:
    print("the alarm was first")

# A limit for all that is done in a block, however many waits that has.
try:
    with ramet.timeout(0.02):
        while True:
            ramet.time.sleep(0.001)
except TimeoutError:
    print("the block took too long")
