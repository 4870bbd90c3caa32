"""gevent: greenlets, Channel (its unbuffered queue), SimpleQueue, the hub's threadpool, StreamServer.

It has no select over queues.
"""

import os

import gevent
import gevent.lock
import gevent.queue
import net_gevent
from common import START_BATCH, Cpu, Memory, Trips, main, measure, now, sleep_for


def nothing():
    pass


def row_yield(o):
    def yielder(times):
        sleep = gevent.sleep
        for _ in range(times):
            sleep(0)

    def round_(n):
        each = max(1, n // o.n)
        gs = [gevent.spawn(yielder, each) for _ in range(o.n)]
        t = now()
        gevent.joinall(gs)
        return (now() - t) * n / (each * o.n)

    return {"ns": measure(round_, o, first=o.n * 4)}


def row_spawn(o):
    def round_(n):
        spawn = gevent.spawn
        t = now()
        for _ in range(n):
            spawn(nothing).join()
        return now() - t

    return {"ns": measure(round_, o)}


def row_startmany(o):
    def round_(n):
        spawn = gevent.spawn
        t = now()
        for _ in range(n):
            gevent.joinall([spawn(nothing) for _ in range(START_BATCH)])
        return now() - t

    return {"ns": measure(round_, o, first=1) / START_BATCH}


def row_pingpong(o):
    def ponger(a, b, n):
        for _ in range(n):
            b.put(a.get())

    def round_(n):
        a, b = gevent.queue.Channel(), gevent.queue.Channel()
        g = gevent.spawn(ponger, a, b, n)
        t = now()
        for i in range(n):
            a.put(i)
            b.get()
        t = now() - t
        g.join()
        return t

    return {"ns": measure(round_, o) / 2}


def stream(o, make):
    def producer(q, n):
        put = q.put
        for i in range(n):
            put(i)

    def round_(n):
        q = make()
        g = gevent.spawn(producer, q, n)
        get = q.get
        t = now()
        for _ in range(n):
            get()
        t = now() - t
        g.join()
        return t

    return {"ns": measure(round_, o)}


def row_parked(o):
    q = gevent.queue.SimpleQueue()

    def inner():
        return q.get()

    def outer():
        return inner()

    m = Memory(o.n)
    gs = [gevent.spawn(outer) for _ in range(o.n)]
    gevent.sleep(0)
    report = m.report()
    assert not gs[-1].ready()
    return report


def row_sleepers(o):
    cpu, t = Cpu(), now()
    gevent.joinall([gevent.spawn(gevent.sleep, sleep_for(i)) for i in range(o.n)])
    return {"cpu_ns": cpu.ns() / o.n, "wall_s": (now() - t) / 1e9}


def row_blocking(o):
    def start():
        pool = gevent.get_hub().threadpool
        for _ in range(10):
            pool.apply(os.getppid)
        trips, end = Trips(), now() + int(o.time * 1e9)
        while now() < end:
            if o.gap:
                gevent.sleep(o.gap)
            t = now()
            pool.apply(os.getppid)
            trips.wall += now() - t
            trips.count += 1
        return trips.report()

    return gevent.spawn(start).get()


def row_mutex(o):
    def round_(n):
        m = gevent.lock.Semaphore(1)
        acquire, release = m.acquire, m.release
        t = now()
        for _ in range(n):
            acquire()
            release()
        return now() - t

    return {"ns": measure(round_, o)}


def row_mutexbusy(o):
    def round_(n):
        m, each = gevent.lock.Semaphore(1), max(1, n // o.n)

        def contender():
            for _ in range(each):
                with m:
                    gevent.sleep(0)

        t = now()
        gevent.joinall([gevent.spawn(contender) for _ in range(o.n)])
        return (now() - t) * n / (each * o.n)

    return {"ns": measure(round_, o, first=64)}


def row_timeout(o):
    def round_(n):
        Timeout = gevent.Timeout
        t = now()
        for _ in range(n):
            with Timeout(100):
                pass
        return now() - t

    return {"ns": measure(round_, o)}


def row_group(o):
    def round_(n):
        spawn, joinall = gevent.spawn, gevent.joinall
        t = now()
        for _ in range(n):
            joinall([spawn(nothing) for _ in range(10)])
        return now() - t

    return {"ns": measure(round_, o)}


main(
    {
        "mutex": row_mutex,
        "mutexbusy": row_mutexbusy,
        "timeout": row_timeout,
        "group": row_group,
        "queue": lambda o: stream(o, lambda: gevent.queue.Queue(128)),
        "yield": row_yield,
        "spawn": row_spawn,
        "startmany": row_startmany,
        "pingpong": row_pingpong,
        "unbuffered": lambda o: stream(o, gevent.queue.Channel),
        "buffered": lambda o: stream(o, lambda: gevent.queue.SimpleQueue(128)),
        "parked": row_parked,
        "sleepers": row_sleepers,
        "blocking": row_blocking,
        **net_gevent.ROWS,
    }
)
