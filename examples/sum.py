"""Channels: two goroutines each add up one half of a list and send what they have; main adds the halves."""

from ramet import go, maintask, makechan, run


def add_up(numbers, out):
    out.send(sum(numbers))


@maintask
def main():
    numbers = [7, 2, 8, -9, 4, 0]
    half = len(numbers) // 2
    sums = makechan()
    go(add_up, numbers[:half], sums)
    go(add_up, numbers[half:], sums)
    x, y = sums.recv(), sums.recv()
    print(x, y, x + y)


run()
