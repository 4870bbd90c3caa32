"""Synchronising by a channel: a receive waits until the other goroutine has come so far."""

from ramet import Chan, go

# One word when all is done.
done = Chan()


def worker():
    print("the worker works")
    done.send(True)


go(worker)
done.recv()
print("the worker is done")

# Two goroutines take turns: each waits for the ball, and gives it back.
ping, pong = Chan(), Chan()


def player():
    for hit in ping:
        print(f"pong {hit}")
        pong.send(hit + 1)


go(player)
hit = 1
while hit < 6:
    print(f"ping {hit}")
    ping.send(hit + 1)
    hit = pong.recv()
ping.close()
