"""Closing: the sender says that no more will come; what is in the channel can still be received."""

from ramet import Chan, ChanClosed, go

jobs, done = Chan(5), Chan()


@go
def worker():
    while True:
        job, more = jobs.recv_ok()
        if not more:
            print("all jobs are received")
            done.close()  # a closed channel is ready for everybody who waits for it
            return
        print("received job", job)


for job in range(1, 4):
    jobs.send(job)
jobs.close()
done.recv_ok()

print("received from a closed channel:", jobs.recv_ok()[1])
try:
    jobs.send(4)
except ChanClosed:
    print("nothing can be sent to a closed channel")
try:
    jobs.close()
except ChanClosed:
    print("nor can it be closed again")
