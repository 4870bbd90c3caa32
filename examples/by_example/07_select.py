"""select: waits for several channels at once, and receives from, or sends to, one that is ready."""

from ramet import Chan, go, select


def produce(out, numbers):
    for n in numbers:
        out.send(n)
    out.close()


evens, odds = Chan(), Chan()
go(produce, evens, range(0, 10, 2))
go(produce, odds, range(1, 10, 2))

total = {evens: 0, odds: 0}
waiting = [evens, odds]
while waiting:
    got = select(*waiting)
    if got.ok:
        total[got.chan] += got.value
    else:  # closed: always ready from now on, so it must not be waited for any more
        waiting.remove(got.chan)
print("evens:", total[evens])
print("odds:", total[odds])

# A case may be a send. It is compared with what select gives back.
inbox, outbox = Chan(), Chan(1)
sending = outbox.if_send("a letter")
if select(inbox, sending) == sending:
    print("sent:", outbox.recv())
