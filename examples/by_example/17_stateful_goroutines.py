"""Stateful goroutines: the data belongs to one goroutine, and the others ask it."""

from ramet import Chan, go, select
from ramet.sync import WaitGroup

reads, writes = Chan(), Chan()


@go
def owner():
    state = {}
    while True:
        got = select(reads, writes)
        if got.chan is reads:
            key, reply = got.value
            reply.send(state.get(key, 0))
        else:
            key, change = got.value
            state[key] = state.get(key, 0) + change


def write(key):
    for _ in range(100):
        writes.send((key, 1))


def read(key):
    reply = Chan()
    reads.send((key, reply))
    return reply.recv()


wg = WaitGroup()
for _ in range(10):
    for key in ("tea", "coffee"):
        wg.go(write, key)
wg.wait()
print("tea:", read("tea"))
print("coffee:", read("coffee"))
print("milk:", read("milk"))
owner.cancel()
