"""The server of downloader.py: an HTTP/1.1 server of static files, a goroutine a connection.

    python _downloader_server.py DIR [--limit N] [--delay SECONDS]

It prints its port, answers every request after the delay, and ends when its standard input does. h11 reads the
requests and words the answers; ramet.net carries the bytes.
"""

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import quote

import h11
import ramet
from ramet import net

CHUNK = 256 << 10
SKIPPED = {"__pycache__", "site-packages"}


def files_of(root: Path, limit: int | None = None) -> dict[str, Path]:
    """The files below `root`, by their path in a URL."""
    files = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - SKIPPED)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                files["/" + quote(os.fsencode(path.relative_to(root)))] = path
            if len(files) == limit:
                return files
    return files


def handle(conn: net.Conn, files: dict[str, Path], delay: float) -> None:
    """Answer the requests of one connection, until the client closes it."""
    http = h11.Connection(h11.SERVER)
    with conn:
        while request := receive(http, conn):
            ramet.time.sleep(delay)
            target = request.target.decode("ascii")
            if target == "/":
                answer(http, conn, 200, "\n".join(files).encode())
            elif path := files.get(target):
                answer_file(http, conn, path)
            else:
                answer(http, conn, 404, b"no such file\n")
            if http.our_state is not h11.DONE:  # the client asked for "Connection: close"
                return
            http.start_next_cycle()


def receive(http: h11.Connection, conn: net.Conn) -> h11.Request | None:
    """The next request, or None at the end of the connection."""
    request = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(conn.read(CHUNK))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


def answer(http: h11.Connection, conn: net.Conn, status: int, body: bytes) -> None:
    conn.write(head(http, status, len(body)) + http.send(h11.Data(body)) + http.send(h11.EndOfMessage()))


def answer_file(http: h11.Connection, conn: net.Conn, path: Path) -> None:
    with path.open("rb") as file:
        data = head(http, 200, os.fstat(file.fileno()).st_size)
        while chunk := file.read(CHUNK):
            conn.write(data + http.send(h11.Data(chunk)))
            data = b""
        conn.write(data + http.send(h11.EndOfMessage()))


def head(http: h11.Connection, status: int, length: int) -> bytes:
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(length))]
    return http.send(h11.Response(status_code=status, headers=headers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    args = parser.parse_args()

    files = files_of(args.dir, args.limit)
    listener = net.listen("tcp", "127.0.0.1:0", backlog=1024)
    net.serve(listener, lambda conn: handle(conn, files, args.delay))
    print(listener.addr[1], flush=True)
    ramet.blocking(sys.stdin.buffer.read)


if __name__ == "__main__":
    main()
