"""The network rows of OS threads: a thread a connection, the socket module. Datagrams: one thread."""

import socket
import threading

from common import CHUNK, COPIED, COPY_CHUNK, answer, compute, listening, tls_context


def echo(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        while data := sock.recv(CHUNK):
            sock.sendall(data)


def hog():
    while True:
        compute()


def serve_echo(o):
    for _ in range(o.hogs):
        threading.Thread(target=hog, daemon=True).start()
    serve(echo)


def lines(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock, sock.makefile("rb") as f:
        for line in f:
            sock.sendall(answer(line))


def once(sock):
    with sock:
        sock.sendall(sock.recv(1))


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listening(listener.getsockname()[1])
    return listener


def serve(handler):
    with listen() as listener:
        while True:
            sock, _address = listener.accept()
            threading.Thread(target=handler, args=(sock,), daemon=True).start()


def row_tls(o):
    context = tls_context()
    serve(lambda sock: echo(context.wrap_socket(sock, server_side=True)))


def row_udp(o):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        listening(sock.getsockname()[1])
        recvfrom, sendto = sock.recvfrom, sock.sendto
        while True:
            sendto(*recvfrom(CHUNK))


def row_copyfile(o):
    listener = listen()
    while True:
        sock, _address = listener.accept()
        with sock, open(COPIED, "rb") as f:
            sock.sendfile(f)


def row_copysocket(o):
    listener, buffer = listen(), memoryview(bytearray(COPY_CHUNK))
    while True:
        (src, _), (dst, _) = listener.accept(), listener.accept()
        with src, dst:
            while n := src.recv_into(buffer):
                dst.sendall(buffer[:n])


ROWS = {
    "echo": serve_echo,
    "line": lambda o: serve(lines),
    "accept": lambda o: serve(once),
    "tls": row_tls,
    "udp": row_udp,
    "copyfile": row_copyfile,
    "copysocket": row_copysocket,
}
