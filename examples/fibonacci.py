"""Closing a channel: the sender says that no more will come, and the receiver's loop ends."""

from ramet import go, maintask, makechan, run


def fibonacci(count, out):
    x, y = 0, 1
    for _ in range(count):
        out.send(x)
        x, y = y, x + y
    out.close()


@maintask
def main():
    numbers = makechan(10)
    go(fibonacci, numbers.capacity, numbers)
    for number in numbers:
        print(number)
    print("closed:", numbers.recv_ok())


run()
