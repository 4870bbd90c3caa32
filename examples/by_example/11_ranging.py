"""Ranging over a channel: the loop ends when the channel is closed and empty. A channel is an iterator."""

from ramet import Chan, go
from ramet.sync import WaitGroup

queue = Chan(2)
queue.send("one")
queue.send("two")
queue.close()
for word in queue:
    print(word)


def count(start, stop):
    """A generator that runs beside its caller."""
    out = Chan()

    @go
    def counter():
        for n in range(start, stop):
            out.send(n)
        out.close()

    return out


print("sum:", sum(count(0, 101)))
for n, word in zip(count(1, 3), ["uno", "dos"], strict=True):
    print(n, word)

# Several may range over one channel: each value goes to one of them.
numbers, wg, sums = count(0, 101), WaitGroup(), [0, 0, 0]


def add(place):
    for n in numbers:
        sums[place] += n


for place in range(3):
    wg.go(add, place)
wg.wait()
print("three shares:", sum(sums))
