"""Buffered channels: so many values may wait in the channel, and only then the sender waits."""

from ramet import Chan, go

letters = Chan(3)
for word in ("first", "second", "third"):
    letters.send(word)  # nobody receives yet
print(f"{len(letters)} of {letters.capacity} places are taken")

try:
    letters.send("fourth", timeout=0.01)
except TimeoutError:
    print("the fourth did not fit in time")

print("out comes the", letters.recv())
letters.send("fourth")
letters.close()
print("the rest:", *letters)

# A producer runs ahead of its consumer by as much as there is room.
numbers = Chan(2)


@go
def produce():
    for n in range(6):
        numbers.send(n)
    numbers.close()


print("the sum:", sum(numbers))
