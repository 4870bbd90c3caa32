"""Fetch a tree of files over HTTP three ways: one after the other, by a pool of threads, a goroutine a file.

    python downloader.py [DIR] [--limit N] [--delay SECONDS] [--workers N] [--sockets N]

The server (_downloader_server.py) runs in a process of its own and waits a little before every answer, as a server
that is far away would. All three ways speak to it over connections that are kept alive, and all three are the same
straight-line code: `Http.get` below. Each runs in a fresh process, so that its memory and its threads are its own.
The SHA-256 of every file that came over the wire is compared with the file's on the disk.

Then two scenes of Go's classic talks: the prime sieve, and fan-in by select with a timeout.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import h11
import ramet
import tqdm
from _downloader_server import files_of
from ramet import net

TIMEOUT = 30  # seconds without a byte
CHUNK = 64 << 10
HERE = Path(__file__).resolve().parent

Address = tuple[str, int]
Fetched = Iterator[tuple[str, str]]  # path, SHA-256


# ---- HTTP: h11 over anything that sends and receives bytes ---------------------------------------


class Http:
    """A connection that is kept alive from one request to the next."""

    def __init__(
        self, send: Callable[[bytes], object], receive: Callable[[], bytes], close: Callable[[], None]
    ) -> None:
        self.send = send
        self.receive = receive
        self.close = close
        self.protocol = h11.Connection(h11.CLIENT)

    def get(self, path: str) -> Iterator[bytes]:
        """The body of the answer, piece by piece."""
        http = self.protocol
        request = h11.Request(method="GET", target=path, headers=[("Host", "localhost")])
        self.send(http.send(request) + http.send(h11.EndOfMessage()))
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(self.receive())
            elif isinstance(event, h11.Response) and event.status_code != 200:
                raise OSError(f"{path}: HTTP status {event.status_code}")
            elif isinstance(event, h11.Data):
                yield event.data
            elif isinstance(event, h11.EndOfMessage):
                http.start_next_cycle()
                return

    def sha256(self, path: str) -> str:
        digest = hashlib.sha256()
        for piece in self.get(path):
            digest.update(piece)
        return digest.hexdigest()


def connect_socket(address: Address) -> Http:
    """By the standard library: whoever calls blocks his thread."""
    sock = socket.create_connection(address, timeout=TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Http(sock.sendall, lambda: sock.recv(CHUNK), sock.close)


def connect_ramet(address: Address) -> Http:
    """By ramet: whoever calls blocks his goroutine."""
    conn = net.dial("tcp", address, timeout=TIMEOUT)
    return Http(conn.write, lambda: conn.read(CHUNK, timeout=TIMEOUT), conn.close)


# ---- the three ways ------------------------------------------------------------------------------


def serial(address: Address, paths: list[str], width: int) -> Fetched:
    with closing(connect_socket(address)) as http:
        for path in paths:
            yield path, http.sha256(path)


def threads(address: Address, paths: list[str], width: int) -> Fetched:
    own = threading.local()

    def fetch(path: str) -> str:
        if not hasattr(own, "http"):
            own.http = opened.enter_context(closing(connect_socket(address)))
        return own.http.sha256(path)

    with ExitStack() as opened, ThreadPoolExecutor(width) as pool:
        yield from zip(paths, pool.map(fetch, paths), strict=True)


def goroutines(address: Address, paths: list[str], width: int) -> Fetched:
    idle = ramet.Chan(width)  # the connections that nobody uses; None: one that is not dialled yet
    for _ in range(width):
        idle.send(None)

    def fetch(path: str) -> str:
        http = idle.recv()
        try:
            http = http or opened.enter_context(closing(connect_ramet(address)))
            return http.sha256(path)
        finally:
            idle.send(http)

    with ExitStack() as opened:
        running = [ramet.go(fetch, path) for path in paths]
        for path, goroutine in zip(paths, running, strict=True):
            yield path, goroutine.join()


WAYS = {"serial": serial, "threads": threads, "goroutines": goroutines}


# ---- one way, in a process of its own ------------------------------------------------------------


def run_way(name: str, address: Address, width: int) -> dict:
    """Ask the server for its list, fetch every file of it, and tell what it took."""
    tqdm.tqdm.monitor_interval = 0  # no thread of its own: threads are counted here
    with closing(connect_socket(address)) as http:
        paths = b"".join(http.get("/")).decode("ascii").split("\n")
    digests = {}
    most_threads = 0
    begin = time.monotonic()
    with tqdm.tqdm(total=len(paths), desc=f"{name:10}", unit=" files", disable=None, leave=False) as bar:
        for path, digest in WAYS[name](address, paths, width):
            digests[path] = digest
            bar.update()
            if len(digests) % 100 == 1:
                most_threads = max(most_threads, len(os.listdir("/proc/self/task")))
    seconds = time.monotonic() - begin
    return {"seconds": seconds, "memory": peak_memory(), "threads": most_threads, "digests": digests}


def peak_memory() -> int:
    """Bytes of memory that this process has held at most."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


# ---- all of it -----------------------------------------------------------------------------------


def start_server(args: argparse.Namespace) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, str(HERE / "_downloader_server.py"), str(args.dir), f"--delay={args.delay}"]
    if args.limit is not None:
        command.append(f"--limit={args.limit}")
    # in a session of its own, for Ctrl-C; it ends when the pipe to it is closed
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    port = server.stdout.readline()
    if not port:
        sys.exit(f"the server did not start: exit status {server.wait()}")
    return server, int(port)


def compare(args: argparse.Namespace) -> bool:
    """Run the three ways, print the table. True if all files came, and came right."""
    files = files_of(args.dir, args.limit)
    if not files:
        sys.exit(f"no file in {args.dir}")
    on_disk = {}
    size = 0
    for path, file in files.items():
        with file.open("rb") as f:
            on_disk[path] = hashlib.file_digest(f, "sha256").hexdigest()
            size += f.tell()
    waits = f"the server waits {args.delay * 1e3:g} ms before every answer"
    print(f"{len(files)} files of {args.dir}, {size / 1e6:.1f} MB; {waits}\n", flush=True)

    ways = {
        "serial": ("one after the other", 1),
        "threads": (f"{args.workers} threads", args.workers),
        "goroutines": (f"a goroutine a file, {args.sockets} sockets", args.sockets),
    }
    rows = []
    good = True
    server, port = start_server(args)
    with server:  # leaving it closes the pipe
        for way, (title, width) in ways.items():
            if not sys.stderr.isatty():
                print(f"{title} ...", file=sys.stderr, flush=True)
            child = subprocess.run(
                [sys.executable, __file__, f"--way={way}", f"--port={port}", f"--width={width}"],
                stdout=subprocess.PIPE,
            )
            if child.returncode:
                print(f"{title}: FAILED, exit status {child.returncode}")
                good = False
                continue
            result = json.loads(child.stdout)
            rows.append((title, result))
            wrong = sorted(p for p in on_disk if result["digests"].get(p) != on_disk[p])
            if wrong or len(result["digests"]) != len(on_disk):
                print(f"{title}: {len(wrong)} files are WRONG: {' '.join(wrong[:5])}")
                good = False

    print(f"{'':40}{'time':>9}{'files/s':>9}{'peak memory':>13}{'threads':>9}")
    for title, r in rows:
        rate = len(files) / r["seconds"]
        print(f"{title:40}{r['seconds']:7.2f} s{rate:9.0f}{r['memory'] / 1e6:10.1f} MB{r['threads']:9}")
    if good:
        print(f"\nSHA-256: all {len(files)} files came as they are on the disk, in each of the three ways")
    return good


# ---- two scenes of the talk ----------------------------------------------------------------------


def primes(count: int) -> list[int]:
    """The prime sieve: a chain of goroutines, each of which lets pass what its prime does not divide."""

    def generate(out: ramet.Chan) -> None:
        number = 2
        while True:
            out.send(number)
            number += 1

    def sift(source: ramet.Chan, out: ramet.Chan, prime: int) -> None:
        for number in source:
            if number % prime:
                out.send(number)

    found = []
    source = ramet.Chan()
    ramet.go(generate, source)
    for _ in range(count):
        prime = source.recv()
        found.append(prime)
        sifted = ramet.Chan()
        ramet.go(sift, source, sifted, prime)
        source = sifted
    return found


def conversation() -> list[str]:
    """Fan-in: listen to whoever speaks first, until nobody has spoken for a while."""

    def speaker(name: str, pauses: list[float]) -> ramet.Chan:
        words = ramet.Chan()

        def speak() -> None:
            for i, pause in enumerate(pauses):
                ramet.time.sleep(pause)
                words.send(f"{name} {i}")

        ramet.go(speak)
        return words

    joe = speaker("Joe", [0.05, 0.10, 0.10])
    ann = speaker("Ann", [0.10, 0.10, 5.00])
    heard = []
    while True:
        try:
            heard.append(ramet.select(joe, ann, timeout=0.5).value)
        except TimeoutError:
            return [*heard, "too slow: I leave"]


def scenes() -> bool:
    sieved = ramet.run(primes, 100)  # run cancels the goroutines that are left over
    print(f"\nprime sieve: {', '.join(map(str, sieved[:12]))} ... the 100th is {sieved[-1]}")
    heard = ramet.run(conversation)
    print(f"fan-in by select: {', '.join(heard)}")
    return sieved[-1] == 541 and len(heard) == 6


def parse() -> argparse.Namespace:
    def positive(text: str) -> int:
        if (number := int(text)) < 1:
            raise ValueError
        return number

    def seconds(text: str) -> float:
        if not 0 <= (number := float(text)) <= 10:
            raise ValueError
        return number

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--limit", type=positive, help="fetch this many files at most")
    parser.add_argument("--delay", type=seconds, default=0.01, help="of every answer, in seconds (%(default)s)")
    parser.add_argument("--workers", type=positive, default=32, help="threads of the pool (%(default)s)")
    parser.add_argument("--sockets", type=positive, default=256, help="of the goroutines (%(default)s)")
    # how it calls itself for each way
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = parse()
    if args.way:
        json.dump(run_way(args.way, ("127.0.0.1", args.port), args.width), sys.stdout)
        return 0
    good = compare(args)
    good = scenes() and good
    print("\nA tour of the rest, scene by scene: .venv/bin/python -m ramet.tour")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
