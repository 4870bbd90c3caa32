"""Thousands of connections with churn, between two processes: a server's and its clients'.

Most connections are kept and used now and then, some are closed and made anew all the time, and some are slow: their
readers take a little of an endless stream, their writers send a line byte by byte. These must hold nobody up: everybody
else makes progress while no slow one has come to its end. Neither process may grow, in descriptors or in memory.
RAMET_SLOW=1: 10,000 of them for a minute.
"""

import faulthandler
import json
import resource

import pytest
from helpers import finish, start_py

MB = 1 << 20

COMMON = """
import json, os, random, resource, socket, sys
import ramet
from ramet import go, net
from ramet.time import monotonic, sleep

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
BLOCK = bytes(range(256)) * 4

def usage():
    with open("/proc/self/statm") as f:
        rss = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"fds": len(os.listdir("/proc/self/fd")), "rss": rss, "goroutines": ramet.num_goroutines()}
"""

SERVER = (
    COMMON
    + """
def handle(conn):
    for line in conn:
        if line == b"usage\\n":
            conn.write(json.dumps({**usage(), "active": len(server._active)}).encode() + b"\\n")
        elif line == b"stream\\n":
            try:
                while True:
                    conn.write(BLOCK)
            except ConnectionError:
                return
        else:
            conn.write(line)

listener = net.listen("tcp", ("0.0.0.0", 0))
with socket.fromfd(listener.fileno(), socket.AF_INET, socket.SOCK_STREAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # what it accepts inherits it
server = net.serve(listener, handle)
print(server.addr[1], flush=True)
ramet.blocking(sys.stdin.read)
server.shutdown(60)
"""
)

CLIENTS = (
    COMMON
    + """
port, n, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
T = 60.0
PACE = n / 3000  # seconds between two uses of a connection that is kept
doors = ramet.sync.Semaphore(200)
stop = False
up = 0
trips = {}
churned = slow_read = slow_written = finished = 0

def dial(rng):
    host = f"127.0.{rng.randrange(100)}.{rng.randrange(1, 255)}"  # so many ports cannot run out
    with doors:
        return net.dial("tcp", (host, port), timeout=T)

def trip(c, rng):
    line = b"%x\\n" % rng.getrandbits(8 * rng.randrange(1, 200))
    c.write(line, T)
    assert c.readline(timeout=T) == line

def kept(rng, i):
    global up
    with dial(rng) as c:
        up += 1
        while not stop:
            trip(c, rng)
            trips[i] = trips.get(i, 0) + 1
            sleep(rng.random() * 2 * PACE)

def churning(rng, i):
    global up, churned
    up += 1
    while not stop:
        with dial(rng) as c:
            for _ in range(rng.randrange(3)):
                trip(c, rng)
            sleep(rng.random() * PACE)
        churned += 1

def slow_reader(rng, i):
    global up, slow_read
    with dial(rng) as c:
        up += 1
        c.write(b"stream\\n")
        at = 0
        while not stop:
            data = c.read(1 + rng.randrange(300), T)
            assert data == (BLOCK + BLOCK)[at : at + len(data)]
            at = (at + len(data)) % len(BLOCK)
            slow_read += 1
            sleep(rng.random() * 2 * PACE)

def slow_writer(rng, i):
    global up, slow_written, finished
    with dial(rng) as c:
        up += 1
        sent = b""
        while not stop:
            sent += b"x"
            c.write(b"x", T)
            slow_written += 1
            sleep(rng.random() * 2 * PACE)
        c.write(b"\\n")
        assert c.readline(timeout=T) == sent + b"\\n"
        finished += 1

KINDS = [kept] * 14 + [churning] * 2 + [slow_reader] * 2 + [slow_writer] * 2

def ask(control):
    control.write(b"usage\\n")
    return json.loads(control.readline(timeout=T))

def settled(control, condition):
    end = monotonic() + T
    while not condition(ask(control)):
        assert monotonic() < end, ask(control)
        sleep(0.05)

def main():
    global stop
    with net.dial("tcp", ("127.0.0.1", port), timeout=T) as control:
        begin = {"server": ask(control), "clients": usage()}
        gs = [go(KINDS[i % len(KINDS)], random.Random(i), i) for i in range(n)]
        end = monotonic() + T
        while up < n:
            assert monotonic() < end, up
            assert not any(g.done() and g.result() for g in gs)
            sleep(0.05)
        sleep(seconds / 2)  # warm
        busy = {"server": ask(control), "clients": usage()}
        before = dict(trips), {"churned": churned, "read": slow_read, "written": slow_written}

        def progress():
            now = {"churned": churned, "read": slow_read, "written": slow_written}
            unused = [i for i in range(n) if KINDS[i % len(KINDS)] is kept and trips.get(i) == before[0].get(i)]
            return {"unused": len(unused), **{what: now[what] - before[1][what] for what in now}}

        sleep(seconds)
        end = monotonic() + T  # on a loaded machine it takes longer
        while (p := progress())["unused"] or min(p["churned"], p["read"], p["written"]) < n / 10:
            assert monotonic() < end, p
            sleep(0.1)
        later = {"server": ask(control), "clients": usage()}
        assert finished == 0
        stop = True
        for g in gs:
            g.join(T)
        del gs, g
        settled(control, lambda u: u["active"] == 1)
        end = {"server": ask(control), "clients": usage()}
        print(json.dumps({"begin": begin, "busy": busy, "later": later, "end": end, "progress": p, "slow": finished}))

import ramet.sync
main()
"""
)


def many(n, seconds):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < n + 100:
        pytest.skip(f"{n} connections need as many descriptors, RLIMIT_NOFILE allows {hard}")
    server = start_py(SERVER, stdin=-1)
    try:
        port = server.stdout.readline().strip()
        clients = start_py(CLIENTS, port, str(n), str(seconds))
        r = json.loads(finish(clients, timeout=200 + 3 * seconds).out)
    finally:
        ended = finish(server, status=None, timeout=90)
    assert (ended.code, ended.err) == (0, ""), str(ended)
    return r


def check(r, n):
    for side in ("server", "clients"):
        begin, busy, later, end = (r[when][side] for when in ("begin", "busy", "later", "end"))
        assert busy["fds"] > 0.8 * n  # they are really there
        assert end["fds"] == begin["fds"], (side, r)
        assert end["goroutines"] == begin["goroutines"], (side, r)
        assert later["rss"] - busy["rss"] < 0.05 * busy["rss"] + 4 * MB, (side, r)
    # each that is kept was used, many were made anew, while the slow ones went on, and came to their end at last
    assert r["progress"]["unused"] == 0 and r["slow"] == n // 10, r


def test_a_thousand_connections():
    check(many(1000, 2), 1000)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_ten_thousand_connections_for_a_minute():
    faulthandler.cancel_dump_traceback_later()  # pytest's faulthandler_timeout is for the others
    check(many(10_000, 60), 10_000)
