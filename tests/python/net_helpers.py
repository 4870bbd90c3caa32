"""What several test files of ramet.net use."""

import os
import socket
import subprocess
import sys
import time

import pytest
from helpers import T
from ramet.time import sleep


def read_all(conn, n=65536, timeout=T):
    out = []
    while data := conn.read(n, timeout):
        out.append(data)
    return b"".join(out)


def read_exactly(conn, n):
    out = bytearray()
    while len(out) < n:
        data = conn.read(n - len(out), T)
        assert data, "ended early"
        out += data
    return bytes(out)


def echo(conn):
    while data := conn.read(4096):
        conn.write(data)


def until(what, timeout=T):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "it never happened"
        sleep(0.001)


def parked(*gs, state="io wait"):
    """Wait until these goroutines wait."""
    until(lambda: all(g.state == state for g in gs))


def fds():
    return len(os.listdir("/proc/self/fd"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_code(code):
    r = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=T)
    assert r.returncode == 0, r.stderr
    return r


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
