"""Directions: who may only send gets the channel's send, who may only receive gets an iterator over it."""

from collections.abc import Callable, Iterable

from ramet import Chan, go

Send = Callable[[str], None]


def write(lines: Iterable[str], send: Send) -> None:
    for line in lines:
        send(line)


def shout(lines: Iterable[str], send: Send) -> None:
    for line in lines:
        send(line.upper() + "!")


drafts: Chan[str] = Chan()
loud: Chan[str] = Chan()


@go
def writer():
    write(["wolf", "fire"], drafts.send)  # write() takes any iterable, and any function of a string
    drafts.close()  # it is for the owner to close, who has the channel itself


@go
def shouter():
    shout(drafts, loud.send)
    loud.close()


for line in loud:
    print(line)

shout(["the same without a channel"], print)
