"""gevent's network rows: StreamServer, its sockets. Its sendfile reads 8 KiB at a time, so a file is copied by hand."""

import gevent
import gevent.server
from common import CHUNK, COPIED, COPY_CHUNK, answer, compute, listening, tls_context
from gevent import socket
from gevent.ssl import SSLContext


def echo(sock, _address):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    recv, sendall = sock.recv, sock.sendall
    while data := recv(CHUNK):
        sendall(data)


def hog():
    while True:
        compute()
        gevent.sleep(0)


def serve_echo(o):
    for _ in range(o.hogs):
        gevent.spawn(hog)
    serve(echo)


def lines(sock, _address):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sendall = sock.sendall
    with sock.makefile("rb") as f:
        for line in f:
            sendall(answer(line))


def once(sock, _address):
    sock.sendall(sock.recv(1))


def serve(handler, **more):
    server = gevent.server.StreamServer(("127.0.0.1", 0), handler, backlog=4096, **more)
    server.start()
    listening(server.server_port)
    server.serve_forever()


def row_udp(o):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        listening(sock.getsockname()[1])
        recvfrom, sendto = sock.recvfrom, sock.sendto
        while True:
            sendto(*recvfrom(CHUNK))


def listen():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listening(listener.getsockname()[1])
    return listener


def copy(readinto, sendall):
    buffer = memoryview(bytearray(COPY_CHUNK))
    while n := readinto(buffer):
        sendall(buffer[:n])


def row_copyfile(o):
    listener = listen()
    while True:
        sock, _address = listener.accept()
        with sock, open(COPIED, "rb", buffering=0) as f:
            copy(f.readinto, sock.sendall)


def row_copysocket(o):
    listener = listen()
    while True:
        (src, _), (dst, _) = listener.accept(), listener.accept()
        with src, dst:
            copy(src.recv_into, dst.sendall)


ROWS = {
    "echo": serve_echo,
    "line": lambda o: serve(lines),
    "accept": lambda o: serve(once),
    "tls": lambda o: serve(echo, ssl_context=tls_context(SSLContext)),
    "udp": row_udp,
    "copyfile": row_copyfile,
    "copysocket": row_copysocket,
}
