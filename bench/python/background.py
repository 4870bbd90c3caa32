"""What stands still beside ramet's scaling rows: parked goroutines, pending timers, open idle connections."""

import os
import select
import socket
import struct

from common import options


def idle_peer():
    """The other end of the idle connections: a child that accepts them, holds them, and ends with its parent.

    A process of its own, because the limit of descriptors is a process's; forked before the runtime starts.
    Returns the port, or None when no connections are asked for.
    """
    count = options().conns
    if not count:
        return None
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    # Accepted sockets inherit it: their end is a reset, which leaves no port behind in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    port = listener.getsockname()[1]
    alive, held = os.pipe()  # the parent keeps `held` open for as long as it lives
    if os.fork() == 0:
        os.close(held)
        accepted = []
        while True:
            ready, _, _ = select.select([alive, listener], [], [])
            if alive in ready:  # the parent has ended, at whatever point
                os._exit(0)
            accepted.append(listener.accept()[0])
    os.close(alive)
    listener.close()
    return port


class Background:
    """Starts the background and returns when all of it stands still."""

    def __init__(self, o, ramet, port):
        self.ramet = ramet
        self.waiting = 0
        self.total = o.parked + o.sleepers + o.conns
        never = ramet.Chan()
        for _ in range(o.parked):
            ramet.go(self.park, never)
        for _ in range(o.sleepers):
            ramet.go(self.sleep)
        for _ in range(o.conns):
            ramet.go(self.read, ramet.net.dial("tcp", ("127.0.0.1", port)))
        while self.waiting < self.total:
            ramet.gosched()
        ramet.gosched()

    def park(self, never):
        self.waiting += 1
        never.recv()

    def sleep(self):
        self.waiting += 1
        self.ramet.time.sleep(3600)

    def read(self, conn):
        self.waiting += 1
        conn.read(1)
