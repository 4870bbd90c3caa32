"""A network of one's own, whose link delays, loses and cuts. For programs that tests start, before their first thread.

Link() moves the process into a new network namespace with a TUN device. What is sent to THERE comes back as if THERE had
sent it to HERE: source and destination are exchanged, which leaves every checksum right. So who connects to THERE
reaches, through the link, who listens at HERE. SILENT never answers. A child process carries the packets.
"""

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time

HERE, THERE, SILENT = "10.9.0.1", "10.9.0.2", "10.9.0.3"

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
IFF_UP = 1


class Unavailable(Exception):
    """This machine does not allow it; says what is missing."""


def enter_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    for flags in (CLONE_NEWNET, CLONE_NEWNET | CLONE_NEWUSER):
        if not libc.unshare(flags):
            return
    raise Unavailable(f"no network namespace: unshare: {os.strerror(ctypes.get_errno())}")


def open_tun(name):
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name, IFF_TUN | IFF_NO_PI))
    except OSError as e:
        raise Unavailable(f"no TUN device: {e}") from e
    return tun


def interface_up(name, address=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")) if address else ():
            fcntl.ioctl(s, request, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(value)))
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", name, IFF_UP))


class Link:
    """set(delay=s, jitter=s, loss=fraction, cut=bool): for every packet, in each direction. Several at once; what is
    not given stays. It returns what has been carried and lost until then."""

    def __init__(self, **settings):
        enter_namespace()
        tun = open_tun(b"bad0")
        interface_up(b"lo")
        interface_up(b"bad0", HERE)
        self._control, theirs = socket.socketpair()
        if os.fork() == 0:
            self._control.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                _carry(tun, theirs)
            finally:
                os._exit(0)
        theirs.close()
        os.close(tun)
        self.set(**settings)

    def set(self, **settings):
        self._control.sendall(json.dumps(settings).encode())
        return json.loads(self._control.recv(1000))


def _carry(tun, control):
    rng = random.Random(1)
    settings = {"delay": 0.0, "jitter": 0.0, "loss": 0.0, "cut": False}
    counts = {"carried": 0, "lost": 0}
    due = []
    silent = socket.inet_aton(SILENT)
    number = 0
    while True:
        timeout = max(0, due[0][0] - time.monotonic()) if due else None
        ready = select.select([tun, control], [], [], timeout)[0]
        if control in ready:
            text = control.recv(1000)
            if not text:
                return
            settings.update(json.loads(text))
            control.sendall(json.dumps(counts).encode())
        while tun in ready:
            try:
                packet = os.read(tun, 65536)
            except BlockingIOError:
                break
            if packet[0] >> 4 != 4 or packet[16:20] == silent:
                continue
            if settings["cut"] or rng.random() < settings["loss"]:
                counts["lost"] += 1
                continue
            number += 1
            back = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
            when = time.monotonic() + settings["delay"] + rng.random() * settings["jitter"]
            heapq.heappush(due, (when, number, back))
        while due and due[0][0] <= time.monotonic():
            packet = heapq.heappop(due)[2]
            if settings["cut"]:
                counts["lost"] += 1
                continue
            counts["carried"] += 1
            with contextlib.suppress(BlockingIOError):
                os.write(tun, packet)


if __name__ == "__main__":  # can it be had here?
    try:
        Link()
    except Unavailable as e:
        sys.exit(str(e))
