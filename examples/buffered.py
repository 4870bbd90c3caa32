"""Buffered channels: a send waits only when the buffer is full, so one goroutine can fill it and then empty it."""

from ramet import maintask, makechan, run


@maintask
def main():
    c = makechan(2)
    c.send(1)
    c.send(2)
    print(f"{len(c)} of {c.capacity} places are taken; one more fits: {c.try_send(3)}")
    print(c.recv())
    print(c.recv())


run()
