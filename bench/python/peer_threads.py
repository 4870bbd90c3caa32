"""OS threads: threading, queue, ThreadPoolExecutor.

No yield, no unbuffered channel (a Queue of one slot stands in, and a pair of SimpleQueues for the ping-pong),
no select; the limit of threads ends it before 100,000.
"""

import concurrent.futures
import os
import queue
import threading
import time

import net_threads
from common import START_BATCH, Cpu, Memory, Skip, Trips, main, measure, now, sleep_for


def nothing():
    pass


def row_spawn(o):
    def round_(n):
        t = now()
        for _ in range(n):
            thread = threading.Thread(target=nothing)
            thread.start()
            thread.join()
        return now() - t

    return {"ns": measure(round_, o)}


def row_startmany(o):
    def round_(n):
        t = now()
        for _ in range(n):
            threads = [threading.Thread(target=nothing) for _ in range(START_BATCH)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return now() - t

    return {"ns": measure(round_, o, first=1) / START_BATCH}


def row_pingpong(o):
    def ponger(a, b, n):
        for _ in range(n):
            b.put(a.get())

    def round_(n):
        a, b = queue.SimpleQueue(), queue.SimpleQueue()
        thread = threading.Thread(target=ponger, args=(a, b, n))
        thread.start()
        t = now()
        for i in range(n):
            a.put(i)
            b.get()
        t = now() - t
        thread.join()
        return t

    return {"ns": measure(round_, o) / 2}


def stream(o, slots):
    def producer(q, n):
        for i in range(n):
            q.put(i)

    def round_(n):
        q = queue.Queue(slots)
        thread = threading.Thread(target=producer, args=(q, n))
        thread.start()
        t = now()
        for _ in range(n):
            q.get()
        t = now() - t
        thread.join()
        return t

    return {"ns": measure(round_, o)}


def row_parked(o):
    with open("/proc/sys/kernel/pid_max") as f:
        most = int(f.read())
    if o.n > most - 2000:
        raise Skip(f"the system's limit is {most:,} threads")
    q = queue.SimpleQueue()

    def inner():
        return q.get()

    def outer():
        return inner()

    m = Memory(o.n)
    for _ in range(o.n):
        threading.Thread(target=outer, daemon=True).start()
    time.sleep(0.05)
    return m.report()


def row_sleepers(o):
    cpu, t = Cpu(), now()
    threads = [threading.Thread(target=time.sleep, args=(sleep_for(i),)) for i in range(o.n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"cpu_ns": cpu.ns() / o.n, "wall_s": (now() - t) / 1e9}


def row_blocking(o):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for _ in range(10):
            pool.submit(os.getppid).result()
        trips, end = Trips(), now() + int(o.time * 1e9)
        while now() < end:
            if o.gap:
                time.sleep(o.gap)
            t = now()
            pool.submit(os.getppid).result()
            trips.wall += now() - t
            trips.count += 1
        return trips.report()


def row_mutex(o):
    def round_(n):
        m = threading.Lock()
        acquire, release = m.acquire, m.release
        t = now()
        for _ in range(n):
            acquire()
            release()
        return now() - t

    return {"ns": measure(round_, o)}


main(
    {
        "mutex": row_mutex,
        "queue": lambda o: stream(o, 128),
        "spawn": row_spawn,
        "startmany": row_startmany,
        "pingpong": row_pingpong,
        "unbuffered": lambda o: stream(o, 1),
        "buffered": lambda o: stream(o, 128),
        "parked": row_parked,
        "sleepers": row_sleepers,
        "blocking": row_blocking,
        **net_threads.ROWS,
    }
)
