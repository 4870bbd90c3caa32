"""A million goroutines alive at once: half a million pairs, each with a ball of its own and a table to play on.

    python pingpong_million.py [N]    (1,000,000)

All of them are started and wait for the whistle; what they then take of memory is printed. At the whistle (a channel
that is closed: every receiver sees it) each pair plays the ball to and fro.
"""

import os
import sys
import time
from pathlib import Path

import ramet

RALLIES = 2  # of a pair


def ping(whistle, table, done):
    whistle.recv_ok()
    ball = 0
    for _ in range(RALLIES):
        table.send(ball)
        ball = table.recv() + 1
    done.send(ball)


def pong(whistle, table):
    whistle.recv_ok()
    for _ in range(RALLIES):
        table.send(table.recv() + 1)


def memory() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(count: int) -> int:
    pairs = count // 2
    whistle = ramet.Chan()
    done = ramet.Chan(128)
    before = memory()

    begin = time.monotonic()
    for _ in range(pairs):
        table = ramet.Chan()
        ramet.go(ping, whistle, table, done)
        ramet.go(pong, whistle, table)
    ramet.gosched()  # they begin, and wait for the whistle
    seconds = time.monotonic() - begin
    alive = ramet.num_goroutines() - 1  # without main
    held = memory()
    print(f"{alive:,} goroutines alive at once, started in {seconds:.1f} s")
    print(f"memory: {(held - before) / alive / 1024:.1f} KiB a goroutine, {held / 2**30:.2f} GiB in all")

    begin = time.monotonic()
    whistle.close()
    hits = sum(done.recv() for _ in range(pairs))
    seconds = time.monotonic() - begin
    print(f"{hits:,} hits by {pairs:,} pairs in {seconds:.1f} s")
    return 0 if alive == 2 * pairs and hits == 2 * RALLIES * pairs else 1


if __name__ == "__main__":
    sys.exit(ramet.run(main, int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 1_000_000))
