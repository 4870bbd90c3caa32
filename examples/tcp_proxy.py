"""A TCP proxy: two goroutines a connection, one for each direction, each of them three lines long.

    python tcp_proxy.py                        check it against an echo server of its own
    python tcp_proxy.py HOST:PORT HOST:PORT    listen there, pass on to there, until Ctrl-C

When one side has ended, both connections are closed.
"""

import random
import sys

import ramet
from ramet import net


def copy(source, target):
    """What comes from one goes to the other; at the end both are closed, which wakes the other direction."""
    with source, target:
        try:
            while data := source.read(65536):
                target.write(data)
        except (net.ErrClosed, ValueError, ConnectionError):
            pass  # closed by the other direction, or by the peer


def proxy(target):
    def handle(client):
        try:
            upstream = net.dial("tcp", target, timeout=10)
        except OSError as e:
            print(f"tcp_proxy: {target}: {e}", file=sys.stderr)
            return
        with ramet.Group() as g:
            g.go(copy, client, upstream)
            g.go(copy, upstream, client)

    return handle


def echo(conn):
    while data := conn.read(65536):
        conn.write(data)


def client(address, number):
    """Send as much as no buffer holds, read it back at the same time, compare."""
    message = random.Random(number).randbytes(number * 100_000)
    with net.dial("tcp", address) as conn:
        sending = ramet.go(conn.write, message)
        got = bytearray()
        while len(got) < len(message) and (data := conn.read(65536, timeout=10)):
            got += data
        sending.join()
    return got == message


def check():
    with net.serve("127.0.0.1:0", echo) as behind:
        with net.serve("127.0.0.1:0", proxy("{}:{}".format(*behind.addr))) as front:
            right = ramet.gather(*[ramet.go(client, front.addr, number) for number in range(1, 11)])
    print(f"{sum(right)} of {len(right)} messages, of up to 1 MB, came back right through the proxy")
    return 0 if all(right) else 1


def main():
    if len(sys.argv) == 1:
        return check()
    here, there = sys.argv[1:]
    with net.serve(here, proxy(there)) as server:
        print("serving on {}:{}".format(*server.addr[:2]), flush=True)
        server.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
