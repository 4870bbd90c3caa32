"""Blocking calls: blocking() runs a function on a pool thread, and only the goroutine that calls it waits."""

import hashlib
import threading

from ramet import blocking, gather, go, syscall

# Another library's wait would hold up every goroutine. Here the other goroutine ends it.
event = threading.Event()


def wait():
    print("the event came:", blocking(event.wait, 30))


waiting = go(wait)
go(event.set)
waiting.join()


# Hashing lets go of the GIL: in pool threads four of them use four cores.
@syscall  # every call of it is a blocking() call
def digest(letter):
    return hashlib.sha256(letter.encode() * 1_000_000).hexdigest()


digests = gather(*(go(digest, letter) for letter in "abcd"))
for letter, found in zip("abcd", digests, strict=True):
    print(letter, found[:16])

# What it raises, its caller gets.
try:
    blocking(open, "/no/such/file")
except FileNotFoundError:
    print("there is no such file")
