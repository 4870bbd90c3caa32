"""Producers and consumers: a queue of three places between them; join() waits until every job has been done."""

import ramet
from ramet import go
from ramet.sync import Queue, ShutDown
from ramet.time import MILLISECOND, sleep

queue = Queue(maxsize=3)
done = {}  # job: who did it


def producer(name, count):
    for number in range(count):
        queue.put(f"{name}{number}")  # waits while the queue is full


def consumer(name, pause):
    try:
        while True:
            job = queue.get()  # waits while it is empty
            sleep(pause)
            done[job] = name
            queue.task_done()
    except ShutDown:
        print(f"consumer {name}: the queue is shut down, I leave")


def main():
    consumers = [go(consumer, "x", 5 * MILLISECOND), go(consumer, "y", 10 * MILLISECOND)]
    producers = [go(producer, "a", 10), go(producer, "b", 10)]
    for p in producers:
        p.join()
    print(f"everything is produced, {queue.qsize()} jobs still wait in the queue")
    queue.join()
    print(f"all {len(done)} jobs are done: {' '.join(sorted(done))}")
    queue.shutdown()
    for c in consumers:
        c.join()
    shares = [list(done.values()).count(name) for name in "xy"]
    print(f"x did {shares[0]}, y, which is slower, {shares[1]}")


ramet.run(main)
