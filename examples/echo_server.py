"""An echo server, a goroutine a connection, and a client in another process that checks 1,000 connections at once.

    python echo_server.py [--connections N]    serve on a free port of loopback, and check it
    python echo_server.py --serve HOST:PORT    only serve, until Ctrl-C
    python echo_server.py --check HOST:PORT    only check

Every connection of the client stays open until all of them are; then each sends its messages and compares.
"""

import argparse
import random
import resource
import subprocess
import sys

import ramet
from ramet import net

MESSAGES = 3  # of a connection
LONGEST = 20_000
TIMEOUT = 30


def echo(conn: net.Conn) -> None:
    while data := conn.read(65536):
        conn.write(data)


def client(address: str, number: int, opened: ramet.Chan, everybody: ramet.Chan) -> int:
    """One connection. The number of messages that came back as they were sent."""
    try:
        conn = net.dial("tcp", address, timeout=TIMEOUT)
    except OSError as e:
        opened.send_exception(e)
        return 0
    with conn:
        opened.send(number)
        everybody.recv_ok()
        rng = random.Random(number)
        right = 0
        for _ in range(MESSAGES):
            sent = rng.randbytes(rng.randint(1, LONGEST))
            conn.write(sent)
            got = b""
            while len(got) < len(sent) and (data := conn.read(65536, timeout=TIMEOUT)):
                got += data
            right += got == sent
        return right


def check(address: str, connections: int) -> int:
    opened = ramet.Chan()
    everybody = ramet.Chan()
    clients = [ramet.go(client, address, i, opened, everybody) for i in range(connections)]
    for _ in clients:
        opened.recv()  # raises what a dial has raised
    everybody.close()
    right = sum(c.join() for c in clients)
    print(f"{connections} connections open at once, {right} of {connections * MESSAGES} messages came back right")
    return 0 if right == connections * MESSAGES else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--serve", metavar="HOST:PORT")
    parser.add_argument("--check", metavar="HOST:PORT")
    args = parser.parse_args()

    # a descriptor a connection: take as many as the system lets us have
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    if args.check:
        return check(args.check, args.connections)
    with net.serve(args.serve or "127.0.0.1:0", echo) as server:
        address = "{}:{}".format(*server.addr)
        if args.serve:
            print(f"serving on {address}", flush=True)
            server.wait()
        command = [sys.executable, __file__, f"--check={address}", f"--connections={args.connections}"]
        return ramet.blocking(subprocess.call, command)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as e:
        sys.exit(f"echo_server: {e}")
