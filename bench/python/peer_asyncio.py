"""asyncio, and uvloop with `--variant uvloop...`: tasks, asyncio.Queue, run_in_executor, streams, protocols.

There is no unbuffered channel in asyncio; a Queue of one slot stands in. There is no select over queues.
"""

import asyncio
import os

import net_asyncio
from common import START_BATCH, Cpu, Memory, Trips, ameasure, leave, main, now, sleep_for
from net_asyncio import run


async def nothing():
    pass


async def yielder(times):
    sleep = asyncio.sleep
    for _ in range(times):
        await sleep(0)


def row_yield(o):
    async def round_(n):
        each = max(1, n // o.n)
        tasks = [asyncio.create_task(yielder(each)) for _ in range(o.n)]
        t = now()
        for task in tasks:
            await task
        return (now() - t) * n / (each * o.n)

    async def start():
        return {"ns": await ameasure(round_, o, first=o.n * 4)}

    return run(start(), o)


def row_spawn(o):
    async def round_(n):
        create = asyncio.create_task
        t = now()
        for _ in range(n):
            await create(nothing())
        return now() - t

    async def start():
        return {"ns": await ameasure(round_, o)}

    return run(start(), o)


def row_startmany(o):
    async def round_(n):
        create = asyncio.create_task
        t = now()
        for _ in range(n):
            for task in [create(nothing()) for _ in range(START_BATCH)]:
                await task
        return now() - t

    async def start():
        return {"ns": await ameasure(round_, o, first=1) / START_BATCH}

    return run(start(), o)


def row_pingpong(o):
    async def ponger(a, b, n):
        for _ in range(n):
            await b.put(await a.get())

    async def round_(n):
        a, b = asyncio.Queue(1), asyncio.Queue(1)
        task = asyncio.create_task(ponger(a, b, n))
        t = now()
        for i in range(n):
            await a.put(i)
            await b.get()
        t = now() - t
        await task
        return t

    async def start():
        return {"ns": await ameasure(round_, o) / 2}

    return run(start(), o)


def stream(o, slots):
    async def producer(q, n):
        for i in range(n):
            await q.put(i)

    async def round_(n):
        q = asyncio.Queue(slots)
        task = asyncio.create_task(producer(q, n))
        t = now()
        for _ in range(n):
            await q.get()
        t = now() - t
        await task
        return t

    async def start():
        return {"ns": await ameasure(round_, o)}

    return run(start(), o)


def row_parked(o):
    async def inner(q):
        return await q.get()

    async def outer(q):
        return await inner(q)

    async def start():
        q = asyncio.Queue()
        m = Memory(o.n)
        tasks = [asyncio.create_task(outer(q)) for _ in range(o.n)]
        await asyncio.sleep(0)
        report = m.report()
        assert not tasks[-1].done()
        leave(**report)

    return run(start(), o)


def row_sleepers(o):
    async def start():
        sleep = asyncio.sleep
        cpu, t = Cpu(), now()
        for task in [asyncio.create_task(sleep(sleep_for(i))) for i in range(o.n)]:
            await task
        return {"cpu_ns": cpu.ns() / o.n, "wall_s": (now() - t) / 1e9}

    return run(start(), o)


def row_blocking(o):
    async def start():
        loop = asyncio.get_running_loop()
        for _ in range(10):
            await loop.run_in_executor(None, os.getppid)
        trips, end = Trips(), now() + int(o.time * 1e9)
        while now() < end:
            if o.gap:
                await asyncio.sleep(o.gap)
            t = now()
            await loop.run_in_executor(None, os.getppid)
            trips.wall += now() - t
            trips.count += 1
        return trips.report()

    return run(start(), o)


def timed(body, o, first=8):
    """A round that is a coroutine function of n, with nothing but its loop in it."""

    async def round_(n):
        t = now()
        await body(n)
        return now() - t

    async def start():
        return {"ns": await ameasure(round_, o, first=first)}

    return run(start(), o)


def row_mutex(o):
    async def body(n):
        m = asyncio.Lock()
        for _ in range(n):
            async with m:
                pass

    return timed(body, o)


def row_mutexbusy(o):
    async def body(n):
        m = asyncio.Lock()

        async def contender():
            for _ in range(max(1, n // o.n)):
                async with m:
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(o.n):
                group.create_task(contender())

    return timed(body, o, first=64)


def row_timeout(o):
    async def body(n):
        for _ in range(n):
            async with asyncio.timeout(100):
                pass

    return timed(body, o)


def row_group(o):
    async def body(n):
        for _ in range(n):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(nothing())

    return timed(body, o)


def row_timerchurn(o):
    async def body(n):
        call_later = asyncio.get_running_loop().call_later
        for _ in range(n):
            call_later(100, int).cancel()
        await asyncio.sleep(0)

    return timed(body, o)


main(
    {
        "mutex": row_mutex,
        "mutexbusy": row_mutexbusy,
        "timeout": row_timeout,
        "group": row_group,
        "queue": lambda o: stream(o, 128),
        "timerchurn": row_timerchurn,
        "yield": row_yield,
        "spawn": row_spawn,
        "startmany": row_startmany,
        "pingpong": row_pingpong,
        "unbuffered": lambda o: stream(o, 1),
        "buffered": lambda o: stream(o, 128),
        "parked": row_parked,
        "sleepers": row_sleepers,
        "blocking": row_blocking,
        **net_asyncio.ROWS,
    }
)
