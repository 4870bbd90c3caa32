"""Waiting for many goroutines: by a WaitGroup, as in Go, and by a Group, which also has their results and failures."""

from ramet import Group
from ramet.sync import WaitGroup

squares = [0] * 5


def square(n):
    squares[n] = n * n


wg = WaitGroup()
for n in range(5):
    wg.go(square, n)
wg.wait()
print("WaitGroup:", *squares)


def cube(n):
    return n**3


with Group() as group:
    members = [group.go(cube, n) for n in range(5)]
print("Group:", *(member.result() for member in members))

with Group() as group:
    print("Group.map:", *group.map(cube, range(5)))
