"""trio: nurseries, memory channels, checkpoints, to_thread, serve_tcp. It has no select over channels."""

import os

import net_trio
import trio
from common import START_BATCH, Cpu, Memory, Trips, ameasure, leave, main, now, sleep_for


async def nothing():
    pass


def row_yield(o):
    async def yielder(times):
        checkpoint = trio.lowlevel.checkpoint
        for _ in range(times):
            await checkpoint()

    async def round_(n):
        each = max(1, n // o.n)
        async with trio.open_nursery() as nursery:
            for _ in range(o.n):
                nursery.start_soon(yielder, each)
            t = now()
        return (now() - t) * n / (each * o.n)

    async def start():
        return {"ns": await ameasure(round_, o, first=o.n * 4)}

    return trio.run(start)


def row_spawn(o):
    async def round_(n):
        t = now()
        for _ in range(n):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nothing)
        return now() - t

    async def start():
        return {"ns": await ameasure(round_, o)}

    return trio.run(start)


def row_startmany(o):
    async def round_(n):
        t = now()
        for _ in range(n):
            async with trio.open_nursery() as nursery:
                for _ in range(START_BATCH):
                    nursery.start_soon(nothing)
        return now() - t

    async def start():
        return {"ns": await ameasure(round_, o, first=1) / START_BATCH}

    return trio.run(start)


def row_pingpong(o):
    async def ponger(receive, send, n):
        for _ in range(n):
            await send(await receive())

    async def round_(n):
        async with trio.open_nursery() as nursery:
            a_send, a_recv = trio.open_memory_channel(0)
            b_send, b_recv = trio.open_memory_channel(0)
            nursery.start_soon(ponger, a_recv.receive, b_send.send, n)
            send, receive = a_send.send, b_recv.receive
            t = now()
            for i in range(n):
                await send(i)
                await receive()
            return now() - t

    async def start():
        return {"ns": await ameasure(round_, o) / 2}

    return trio.run(start)


def stream(o, slots):
    async def producer(send, n):
        for i in range(n):
            await send(i)

    async def round_(n):
        async with trio.open_nursery() as nursery:
            sender, receiver = trio.open_memory_channel(slots)
            nursery.start_soon(producer, sender.send, n)
            receive = receiver.receive
            t = now()
            for _ in range(n):
                await receive()
            return now() - t

    async def start():
        return {"ns": await ameasure(round_, o)}

    return trio.run(start)


def row_parked(o):
    parked = 0

    async def inner(receiver):
        nonlocal parked
        parked += 1
        return await receiver.receive()

    async def outer(receiver):
        return await inner(receiver)

    async def start():
        _sender, receiver = trio.open_memory_channel(0)
        async with trio.open_nursery() as nursery:
            m = Memory(o.n)
            for _ in range(o.n):
                nursery.start_soon(outer, receiver)
            while parked < o.n:
                await trio.lowlevel.checkpoint()
            leave(**m.report())

    return trio.run(start)


def row_sleepers(o):
    async def start():
        cpu, t = Cpu(), now()
        async with trio.open_nursery() as nursery:
            for i in range(o.n):
                nursery.start_soon(trio.sleep, sleep_for(i))
        return {"cpu_ns": cpu.ns() / o.n, "wall_s": (now() - t) / 1e9}

    return trio.run(start)


def row_blocking(o):
    async def start():
        for _ in range(10):
            await trio.to_thread.run_sync(os.getppid)
        trips, end = Trips(), now() + int(o.time * 1e9)
        while now() < end:
            if o.gap:
                await trio.sleep(o.gap)
            t = now()
            await trio.to_thread.run_sync(os.getppid)
            trips.wall += now() - t
            trips.count += 1
        return trips.report()

    return trio.run(start)


def timed(body, o, first=8):
    """A round that is an async function of n, with nothing but its loop in it."""

    async def round_(n):
        t = now()
        await body(n)
        return now() - t

    async def start():
        return {"ns": await ameasure(round_, o, first=first)}

    return trio.run(start)


def row_mutex(o):
    async def body(n):
        m = trio.Lock()
        for _ in range(n):
            async with m:
                pass

    return timed(body, o)


def row_mutexbusy(o):
    async def body(n):
        m = trio.Lock()

        async def contender():
            for _ in range(max(1, n // o.n)):
                async with m:
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(o.n):
                nursery.start_soon(contender)

    return timed(body, o, first=64)


def row_timeout(o):
    async def body(n):
        for _ in range(n):
            with trio.fail_after(100):
                pass

    return timed(body, o)


def row_group(o):
    async def body(n):
        for _ in range(n):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(nothing)

    return timed(body, o)


main(
    {
        "mutex": row_mutex,
        "mutexbusy": row_mutexbusy,
        "timeout": row_timeout,
        "group": row_group,
        "yield": row_yield,
        "spawn": row_spawn,
        "startmany": row_startmany,
        "pingpong": row_pingpong,
        "unbuffered": lambda o: stream(o, 0),
        "buffered": lambda o: stream(o, 128),
        "parked": row_parked,
        "sleepers": row_sleepers,
        "blocking": row_blocking,
        **net_trio.ROWS,
    }
)
