"""Worker pools: so many goroutines share the jobs of a channel. Or, shorter, a Group with a limit, or an Executor."""

from ramet import Chan, Executor, Group, go
from ramet.sync import WaitGroup
from ramet.time import sleep


def square(n):
    sleep(0.005)  # as if it were work
    return n * n


def worker(jobs, results):
    for job in jobs:
        results.send((job, square(job)))


jobs, results, workers = Chan(), Chan(), WaitGroup()
for _ in range(3):
    workers.go(worker, jobs, results)


@go
def feed():
    for n in range(1, 10):
        jobs.send(n)
    jobs.close()
    workers.wait()  # each of them has sent what it had
    results.close()


print(*(squared for job, squared in sorted(results)))

with Group(limit=3) as group:
    print(*group.map(square, range(1, 10)))

with Executor(max_workers=3) as pool:  # the standard library's interface
    print(*pool.map(square, range(1, 10)))
