"""The network rows of asyncio and uvloop, each with streams and with protocols (`--variant [uvloop-]streams` or
`[uvloop-]protocols`). Datagrams are a thing of protocols alone; so is the fast way between two sockets."""

import asyncio
import socket

from common import CHUNK, COPIED, COPY_CHUNK, Lines, Skip, answer, compute, listening, tls_context


def run(coro, o):
    if o.variant.startswith("uvloop"):
        import uvloop

        return uvloop.run(coro)
    return asyncio.run(coro)


# ---- a connection by a coroutine ----


async def echo(reader, writer):
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def lines(reader, writer):
    while line := await reader.readline():
        writer.write(answer(line))
        await writer.drain()
    writer.close()


async def once(reader, writer):
    writer.write(await reader.read(1))
    writer.close()


# ---- a connection by callbacks ----


class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport


class Echo(Protocol):
    def data_received(self, data):
        self.transport.write(data)


class LineByLine(Protocol):
    def __init__(self):
        self.feed = Lines().feed

    def data_received(self, data):
        self.transport.write(b"".join(map(answer, self.feed(data))))


class Once(Protocol):
    def data_received(self, data):
        self.transport.write(data)
        self.transport.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class Source(Protocol):
    """What comes goes to `to`, which stops it while it is full."""

    def __init__(self, to):
        self.to, to.source = to.transport, self
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.to.write(data)

    def connection_lost(self, exc):
        self.to.close()
        self.ended.set_result(None)


class Sink(Protocol):
    def pause_writing(self):
        self.source.transport.pause_reading()

    def resume_writing(self):
        self.source.transport.resume_reading()


# ---- the rows ----


def listen():
    sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
    sock.setblocking(False)
    return sock


async def hog():
    while True:
        compute()
        await asyncio.sleep(0)


def row_server(handler, protocol, ssl=None):
    def row(o):
        async def serve():
            hogs = [asyncio.create_task(hog()) for _ in range(o.hogs)]  # noqa: F841  kept alive
            sock, tls = listen(), ssl and ssl()
            if o.variant.endswith("protocols"):
                server = await asyncio.get_running_loop().create_server(protocol, sock=sock, backlog=4096, ssl=tls)
            else:
                server = await asyncio.start_server(handler, sock=sock, backlog=4096, ssl=tls)
            listening(sock.getsockname()[1])
            await server.serve_forever()

        run(serve(), o)

    return row


def row_udp(o):
    if not o.variant.endswith("protocols"):
        raise Skip("has no such thing")

    async def serve():
        loop = asyncio.get_running_loop()
        transport, _protocol = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        listening(transport.get_extra_info("sockname")[1])
        await loop.create_future()

    run(serve(), o)


async def copy_file(f, reader_writer):
    _reader, writer = reader_writer
    try:
        await asyncio.get_running_loop().sendfile(writer.transport, f)
    except NotImplementedError:  # uvloop
        while data := f.read(COPY_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
    await writer.wait_closed()


def row_copyfile(o):
    if not o.variant.endswith("streams"):
        raise Skip("as with streams: sendfile is the loop's")

    async def serve():
        loop, sock = asyncio.get_running_loop(), listen()
        listening(sock.getsockname()[1])
        while True:
            conn, _address = await loop.sock_accept(sock)
            with open(COPIED, "rb", buffering=0) as f:
                await copy_file(f, await asyncio.open_connection(sock=conn))

    run(serve(), o)


async def copy_streams(src, dst):
    reader, writer = await asyncio.open_connection(sock=src, limit=COPY_CHUNK)
    _reader, out = await asyncio.open_connection(sock=dst)
    while data := await reader.read(COPY_CHUNK):
        out.write(data)
        await out.drain()
    for w in (writer, out):
        w.close()
        await w.wait_closed()


async def copy_protocols(src, dst):
    loop = asyncio.get_running_loop()
    _transport, sink = await loop.connect_accepted_socket(Sink, dst)
    _transport, source = await loop.connect_accepted_socket(lambda: Source(sink), src)
    await source.ended


def row_copysocket(o):
    copy = copy_protocols if o.variant.endswith("protocols") else copy_streams

    async def serve():
        loop, sock = asyncio.get_running_loop(), listen()
        listening(sock.getsockname()[1])
        while True:
            (src, _), (dst, _) = await loop.sock_accept(sock), await loop.sock_accept(sock)
            await copy(src, dst)

    run(serve(), o)


ROWS = {
    "echo": row_server(echo, Echo),
    "line": row_server(lines, LineByLine),
    "accept": row_server(once, Once),
    "tls": row_server(echo, Echo, tls_context),
    "udp": row_udp,
    "copyfile": row_copyfile,
    "copysocket": row_copysocket,
}
