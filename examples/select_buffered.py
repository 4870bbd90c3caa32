"""Select: count into a buffered channel for as long as it takes values, until the word to quit comes."""

from ramet import go, maintask, makechan, run, select


def count(out, quit):
    number = 0
    while True:
        chosen = select(out.if_send(number), quit)
        if chosen == quit.if_recv():
            print(chosen.value)
            return
        number += 1


@maintask
def main():
    out = makechan(5, label="out")
    quit = makechan(label="quit")

    @go
    def consumer():
        for _ in range(10):
            print(out.recv())
        quit.send("quit")

    count(out, quit)


run()
