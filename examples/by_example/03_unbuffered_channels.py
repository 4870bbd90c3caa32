"""Channels: a value goes from hand to hand. A channel without a buffer lets the sender go on when it has a receiver."""

from ramet import Chan, go

messages = Chan()

if not messages.try_send("anybody?"):
    print("nobody receives, so nothing can be sent")


def sender():
    for word in ("good", "morning"):
        messages.send(word)  # waits until main takes it


go(sender)
print(messages.recv(), messages.recv())

# Whatever Python has can be sent, a channel too: an answer can then come back on it.
questions = Chan()


def clerk():
    number, reply = questions.recv()
    reply.send(number * 2)


go(clerk)
reply = Chan()
questions.send((21, reply))
print("the clerk says", reply.recv())
