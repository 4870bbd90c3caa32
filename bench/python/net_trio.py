"""trio's network rows: serve_listeners, its sockets. It has no readline and no sendfile: lines are cut by hand."""

import trio
from common import CHUNK, COPIED, COPY_CHUNK, Lines, answer, compute, listening, tls_context


async def echo(stream):
    while data := await stream.receive_some(CHUNK):
        await stream.send_all(data)


async def lines(stream):
    feed = Lines().feed
    while data := await stream.receive_some(CHUNK):
        for line in feed(data):
            await stream.send_all(answer(line))


async def once(stream):
    await stream.send_all(await stream.receive_some(1))
    await stream.aclose()


async def listen():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
    listening(listener.socket.getsockname()[1])
    return listener


async def hog():
    while True:
        compute()
        await trio.lowlevel.checkpoint()


async def serve_echo(hogs):
    async with trio.open_nursery() as nursery:
        for _ in range(hogs):
            nursery.start_soon(hog)
        await serve(echo)


async def serve(handler):
    await trio.serve_listeners(handler, [await listen()])


async def serve_tls():
    context = tls_context()
    (listener,) = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", backlog=4096)
    listening(listener.transport_listener.socket.getsockname()[1])
    await trio.serve_listeners(echo, [listener])


async def serve_udp():
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        listening(sock.getsockname()[1])
        recvfrom, sendto = sock.recvfrom, sock.sendto
        while True:
            await sendto(*await recvfrom(CHUNK))


async def copy(receive, send_all):
    while data := await receive(COPY_CHUNK):
        await send_all(data)


async def serve_file():
    listener = await listen()
    while True:
        async with await listener.accept() as stream, await trio.open_file(COPIED, "rb", buffering=0) as f:
            await copy(f.read, stream.send_all)


async def serve_socket():
    listener = await listen()
    while True:
        async with await listener.accept() as src, await listener.accept() as dst:
            await copy(src.receive_some, dst.send_all)


ROWS = {
    "echo": lambda o: trio.run(serve_echo, o.hogs),
    "line": lambda o: trio.run(serve, lines),
    "accept": lambda o: trio.run(serve, once),
    "tls": lambda o: trio.run(serve_tls),
    "udp": lambda o: trio.run(serve_udp),
    "copyfile": lambda o: trio.run(serve_file),
    "copysocket": lambda o: trio.run(serve_socket),
}
