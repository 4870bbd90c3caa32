"""HTTP by hand: request line, headers and body over a connection, for both ends."""

from ramet import gather, go, net

PAGES = {"/": "welcome", "/tea": "a cup of tea"}


def read_head(conn):
    """The first line and the headers."""
    first, *lines = conn.read_until(b"\r\n\r\n").decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    return first, headers


def handle(conn):
    request, _ = read_head(conn)
    path = request.split()[1]
    status = "200 OK" if path in PAGES else "404 Not Found"
    body = PAGES.get(path, "there is nothing here").encode()
    conn.writev([f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body])


def get(address, path):
    with net.dial("tcp", address, timeout=5) as conn:
        conn.write(f"GET {path} HTTP/1.0\r\nHost: example\r\n\r\n".encode())
        first, headers = read_head(conn)
        body = conn.read_exactly(int(headers["content-length"]))
        return first.split(" ", 1)[1], body.decode()


with net.serve("127.0.0.1:0", handle) as server:
    paths = ["/", "/tea", "/milk"]
    for path, (status, body) in zip(paths, gather(*(go(get, server.addr, p) for p in paths)), strict=True):
        print(f"{path}: {status}, {body!r}")
