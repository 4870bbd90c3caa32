"""Fan-out: several goroutines read one channel. Fan-in: what several channels bring, on one."""

from ramet import Chan, go
from ramet.sync import WaitGroup


def generate(numbers):
    out = Chan()

    @go
    def generator():
        for n in numbers:
            out.send(n)
        out.close()

    return out


def squares(source):
    out = Chan()

    @go
    def squarer():
        for n in source:
            out.send(n * n)
        out.close()

    return out


def merge(*sources):
    out, wg = Chan(), WaitGroup()

    def forward(source):
        for value in source:
            out.send(value)

    for source in sources:
        wg.go(forward, source)

    @go
    def closer():
        wg.wait()
        out.close()

    return out


numbers = generate(range(1, 11))
shares = [squares(numbers) for _ in range(3)]  # three squarers, one source
print(*sorted(merge(*shares)))
print("and the other way round:", sum(merge(generate(range(10)), generate(range(10, 20)))))
