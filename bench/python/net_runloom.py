"""runloom's network rows: TCPConn. It has neither lines nor datagrams, TLS or sendfile: lines are cut by hand."""

import os
import socket

import runloom
from common import CHUNK, COPIED, COPY_CHUNK, Lines, answer, compute, listening


def echo(conn):
    recv, send_all = conn.recv, conn.send_all
    while data := recv(CHUNK):
        send_all(data)
    conn.close()


def hog():
    while True:
        compute()
        runloom.yield_now()


def lines(conn):
    recv, send_all, feed = conn.recv, conn.send_all, Lines().feed
    while data := recv(CHUNK):
        for line in feed(data):
            send_all(answer(line))
    conn.close()


def once(conn):
    conn.send_all(conn.recv(1))
    conn.close()


def listen():
    listener = runloom.TCPConn.listen("127.0.0.1", 0, 4096)
    with socket.socket(fileno=os.dup(listener.fileno())) as view:
        port = view.getsockname()[1]
    listening(port)
    return listener


def serve(handler):
    listener = listen()
    while True:
        conn = listener.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, b"\1\0\0\0")  # it takes bytes alone
        runloom.fiber(handler, conn)


def serve_echo(o):
    for _ in range(o.hogs):
        runloom.fiber(hog)
    serve(echo)


def copy(readinto, send_all):
    buffer = memoryview(bytearray(COPY_CHUNK))
    while n := readinto(buffer):
        send_all(buffer[:n])


def row_copyfile(o):
    listener = listen()
    while True:
        conn = listener.accept()
        with open(COPIED, "rb", buffering=0) as f:
            copy(f.readinto, conn.send_all)
        conn.close()


def row_copysocket(o):
    listener = listen()
    while True:
        src, dst = listener.accept(), listener.accept()
        copy(src.recv_into, dst.send_all)
        src.close()
        dst.close()


ROWS = {
    "echo": serve_echo,
    "line": lambda o: serve(lines),
    "accept": lambda o: serve(once),
    "copyfile": row_copyfile,
    "copysocket": row_copysocket,
}
