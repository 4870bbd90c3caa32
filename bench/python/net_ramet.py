"""ramet's network rows: servers that run until they are killed."""

from common import CHUNK, COPIED, answer, compute, listening, tls_context
from ramet import go, gosched, io, net


def echo(conn):
    read, write = conn.read, conn.write
    while data := read(CHUNK):
        write(data)
    conn.close()


def echo_readinto(conn):
    readinto, write = conn.readinto, conn.write
    buffer = memoryview(bytearray(CHUNK))
    while n := readinto(buffer):
        write(buffer[:n])
    conn.close()


def echo_of(o):
    return echo_readinto if o.variant == "readinto" else echo


def hog():
    while True:
        compute()
        gosched()


def serve_echo(o):
    for _ in range(o.hogs):
        go(hog)
    serve(echo_of(o))


def lines(conn):
    readline, write = conn.readline, conn.write
    while line := readline():
        write(answer(line))
    conn.close()


def once(conn):
    conn.write(conn.read(1))
    conn.close()


def listen():
    listener = net.listen("tcp", "127.0.0.1:0", backlog=4096)
    listening(listener.addr[1])
    return listener


def serve(handler):
    for conn in listen():
        go(handler, conn)


def row_tls(o):
    listener = net.listen("tcp", "127.0.0.1:0", backlog=4096, tls=tls_context())
    listening(listener.addr[1])
    net.serve(listener, echo_of(o)).wait()


def row_udp(o):
    with net.listen_packet("udp", "127.0.0.1:0") as conn:
        listening(conn.addr[1])
        read_from, write_to = conn.read_from, conn.write_to
        while True:
            write_to(*read_from(CHUNK))


def row_copyfile(o):
    for conn in listen():
        with conn, open(COPIED, "rb") as f:
            io.copy(conn, f)


def row_copysocket(o):
    listener = listen()
    while True:
        with listener.accept() as src, listener.accept() as dst:
            io.copy(dst, src)


ROWS = {
    "echo": serve_echo,
    "line": lambda o: serve(lines),
    "accept": lambda o: serve(once),
    "tls": row_tls,
    "udp": row_udp,
    "copyfile": row_copyfile,
    "copysocket": row_copysocket,
}
