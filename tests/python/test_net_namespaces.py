"""ramet.net over a link that delays, loses and cuts: badlink.py, in a network namespace of its own."""

import os
import subprocess
import sys

import pytest
from helpers import environment, run_py

HERE = os.path.dirname(os.path.abspath(__file__))

PREPARE = """
from badlink import HERE, SILENT, THERE, Link
link = Link()
import errno, os, random, socket
import ramet
from ramet import _dial, go, net
from ramet.time import monotonic, sleep

T = 50.0

def echo(conn):
    while data := conn.read(65536):
        conn.write(data)

def fds():
    return len(os.listdir("/proc/self/fd"))

class raises:
    def __init__(self, cls):
        self.cls = cls
    def __enter__(self):
        return self
    def __exit__(self, kind, exc, tb):
        assert kind, "nothing was raised"
        self.value = exc
        return issubclass(kind, self.cls)

def until(what):
    end = monotonic() + T
    while not what():
        assert monotonic() < end, "it never happened"
        sleep(0.001)

server = net.serve((HERE, 0), echo)
there = (THERE, server.addr[1])
"""


@pytest.fixture(scope="module")
def over_a_link():
    """over_a_link(code): a program behind PREPARE."""
    if sys.platform != "linux":
        pytest.skip("network namespaces are Linux's")
    tried = subprocess.run(
        [sys.executable, os.path.join(HERE, "badlink.py")], env=environment(), capture_output=True, text=True
    )
    if tried.returncode == 1 and "Traceback" not in tried.stderr:
        pytest.skip(tried.stderr.strip())
    assert tried.returncode == 0, tried.stderr

    def run(code):
        ended = run_py(PREPARE + code + "\nprint('done')\n", env={"PYTHONPATH": HERE}, timeout=180)
        assert (ended.out, ended.err) == ("done\n", ""), str(ended)

    return run


# ---------------------------------------------------------------- delay


def test_waits_overlap(over_a_link):
    over_a_link("""
link.set(delay=0.03)
def talk():
    with net.dial("tcp", there, timeout=T) as c:
        for i in range(3):
            c.write(b"%d" % i)
            assert c.read(1, T) == b"%d" % i

began = monotonic()
talk()
one = monotonic() - began
assert one >= 4 * 0.06  # the link really delays: to connect, and three times there and back
began = monotonic()
gs = [go(talk) for _ in range(50)]
for g in gs:
    g.join(T)
assert monotonic() - began < 15 * one
""")


def test_a_timeout_shorter_than_the_delay_loses_nothing(over_a_link):
    over_a_link("""
with net.dial("tcp", there, timeout=T) as c:
    link.set(delay=0.05)
    for read in (lambda t: c.read_exactly(6, t), lambda t: c.readline(timeout=t), lambda t: c.read_until(b"\\n", timeout=t)):
        late = 0
        c.write(b"hel")
        for rest in (b"lo\\n", None):
            while True:
                try:
                    line = read(0.01)
                except TimeoutError:
                    late += 1
                    if rest and late > 12:  # the first half has come by now
                        c.write(rest)
                        break
                else:
                    assert rest is None and line == b"hello\\n"
                    break
        assert late > 12
    g = go(c.read, 10)  # cancelled while the answer is on its way
    c.write(b"still")
    sleep(0.02)
    g.cancel()
    with raises(ramet.GoroutineCancelled):
        g.join(T)
    assert c.read_exactly(5, T) == b"still"
with raises(TimeoutError):
    net.dial("tcp", there, timeout=0.02)
sleep(0.2)  # what is left of it on the way
server.shutdown(T)
""")


def test_refusal_and_end_come_late(over_a_link):
    over_a_link("""
link.set(delay=0.03)
with socket.socket() as s:
    s.bind((HERE, 0))
    began = monotonic()
    with raises(ConnectionRefusedError):
        net.dial("tcp", (THERE, s.getsockname()[1]), timeout=T)
    assert monotonic() - began >= 0.06
with net.dial("tcp", there, timeout=T) as c:
    c.write(b"x")
    c.close_write()
    assert c.read(10, T) == b"x"
    assert c.read(10, T) == b""
server.shutdown(T)
""")


# ---------------------------------------------------------------- loss


def test_loss_and_disorder(over_a_link):
    """Every byte arrives, once, in its order."""
    over_a_link("""
link.set(delay=0.001, jitter=0.005, loss=0.05)
def talk(i):
    data = random.Random(i).randbytes(40_000)
    with net.dial("tcp", there, timeout=T) as c:
        g = go(c.write, data)
        assert c.read_exactly(len(data), T) == data
        g.join(T)
        c.close_write()
        assert c.read(1, T) == b""
gs = [go(talk, i) for i in range(20)]
for g in gs:
    g.join(T)
counts = link.set(loss=0)
assert counts["lost"] > 20, counts
server.shutdown(T)
""")


def test_lost_datagrams(over_a_link):
    over_a_link("""
link.set(loss=0.3, delay=0.01)
with net.listen_packet("udp", (HERE, 0)) as a, net.dial("udp", (THERE, a.addr[1])) as b:
    for i in range(300):
        b.write(b"%d" % i)
        if i % 50 == 49:
            sleep(0.02)
    got = []
    try:
        while True:
            data, sender = a.read_from(100, 1.0)
            assert sender[0] == THERE
            got.append(int(data))
    except TimeoutError:
        pass
    assert got == sorted(set(got)) and 100 < len(got) < 290, len(got)
    link.set(loss=0)
    a.write_to(b"back", sender)
    assert b.read(10, T) == b"back"
""")


# ---------------------------------------------------------------- partition


def test_waits_in_a_partition_can_be_ended(over_a_link):
    over_a_link("""
before = fds()
c = net.dial("tcp", there, timeout=T)
c.write(b"x")
assert c.read(1, T) == b"x"
link.set(cut=True)
with raises(TimeoutError):
    net.dial("tcp", there, timeout=0.05)
g = go(net.dial, "tcp", there)
c.write(b"lost in between")
with raises(TimeoutError):
    c.read(10, 0.05)
c.set_read_deadline(monotonic() + 0.05)
with raises(TimeoutError):
    c.read(10)
c.set_deadline(None)
with raises(TimeoutError):  # in the end the system takes no more
    while True:
        c.write(bytes(1_000_000), 0.05)
reader, writer = go(c.read, 10), go(c.write, bytes(10_000_000))
local = go(lambda: net.dial("tcp", server.addr, timeout=T).close())  # the others go on
local.join(T)
sleep(0.05)
assert g.state == reader.state == writer.state == "io wait"
g.cancel()
writer.cancel()
for waiting in (g, writer):
    with raises(ramet.GoroutineCancelled):
        waiting.join(T)
c.close()
with raises(net.ErrClosed):
    reader.join(T)
with raises(TimeoutError):
    server.shutdown(0.05)  # one handler waits for what never comes
server.close()
server.wait(T)
assert fds() == before - 1, (fds(), before)  # the listener
""")


def test_after_a_partition_all_arrives_in_order(over_a_link):
    over_a_link("""
with net.dial("tcp", there, timeout=T) as c:
    for round in range(2):
        c.write(b"x")
        assert c.read(1, T) == b"x"
        link.set(cut=True)
        lines = [b"line %d\\n" % i for i in range(300)]
        for line in lines:
            c.write(line)
        with raises(TimeoutError):
            c.readline(timeout=0.05)
        g = go(lambda: [c.readline(timeout=T) for _ in lines])
        sleep(0.2)
        assert g.state == "io wait"
        link.set(cut=False)
        assert g.result(T) == lines
server.shutdown(T)
""")


def test_a_dead_peer_is_found_by_the_system(over_a_link):
    """TCP_USER_TIMEOUT: what waits without a timeout of ours gets the system's."""
    over_a_link("""
with net.dial("tcp", there, timeout=T) as c:
    with socket.fromfd(c.fileno(), socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.IPPROTO_TCP, 18, 300)
    link.set(cut=True)
    c.write(b"x")
    with raises(TimeoutError):
        c.read(10)
""")


def test_handlers_with_deadlines_outlive_a_partition(over_a_link):
    over_a_link("""
late = 0
def handler(conn):
    global late
    try:
        while True:
            conn.set_read_deadline(monotonic() + 1.0)
            if not (data := conn.read(10)):
                return
            conn.write(data)
    except TimeoutError:
        late += 1
with net.serve((HERE, 0), handler, max_conns=20) as server:
    conns = [net.dial("tcp", (THERE, server.addr[1]), timeout=T) for _ in range(20)]
    for c in conns:
        c.write(b"x")
    for c in conns:
        assert c.read(1, T) == b"x"
    link.set(cut=True)
    for c in conns:
        c.write(b"y")
    with net.dial("tcp", server.addr, timeout=T) as local:  # gets a slot when one of them has given up
        local.write(b"x")
        assert local.read(1, T) == b"x"
    until(lambda: late == 20)
    server.shutdown(T)
for c in conns:
    c.close()
""")


# ---------------------------------------------------------------- routes and names


def test_no_route(over_a_link):
    over_a_link("""
for network in ("tcp", "udp"):
    with raises(OSError) as e:
        net.dial(network, "192.0.2.1:80", timeout=T)
    assert e.value.errno == errno.ENETUNREACH, e.value
with net.listen_packet("udp", (HERE, 0)) as p:
    with raises(OSError) as e:
        p.write_to(b"x", ("192.0.2.1", 80))
    assert e.value.errno == errno.ENETUNREACH
    p.write_to(b"x", (THERE, p.addr[1]))
    assert p.read_from(10, T) == (b"x", (THERE, p.addr[1]))
""")


def test_happy_eyeballs(over_a_link):
    """A name whose first address is silent, or far."""
    over_a_link("""
def name(*hosts):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, there[1])) for host in hosts]
    socket.getaddrinfo = lambda *args: found
    return f"some.name:{there[1]}"
net.dial("tcp", name(SILENT, THERE), timeout=T).close()  # what it needs is there
until(lambda: not server._active)
before = fds()
with net.dial("tcp", name(SILENT, SILENT, THERE), timeout=T) as c:
    assert c.remote_addr == there
    c.write(b"x")
    assert c.read(1, T) == b"x"
link.set(delay=1.0)
with net.dial("tcp", name(THERE, HERE), timeout=T) as c:  # near, and tried while the far one is on its way
    assert c.remote_addr == (HERE, there[1])
link.set(delay=0.02)
delay, _dial.DELAY = _dial.DELAY, 2 * T
with net.dial("tcp", name(THERE, HERE), timeout=T) as c:  # answers before the other is tried
    assert c.remote_addr == there
_dial.DELAY = delay
with raises(TimeoutError):
    net.dial("tcp", name(SILENT, SILENT), timeout=0.4)
link.set(cut=True)
for pause in (0, 0.01, 0.1, 0.3, 0.6):
    g = go(net.dial, "tcp", name(SILENT, THERE, SILENT))
    sleep(pause)
    g.cancel()
    with raises(ramet.GoroutineCancelled):
        g.join(T)
link.set(cut=False)
server.shutdown(T)
until(lambda: fds() == before - 1)  # the listener
""")
