"""Twenty flags over HTTP, as in Fluent Python: one after the other, with threads, with goroutines.

The server is this program in a process of its own; it answers every request after a delay, as one far away would.
"""

import argparse
import hashlib
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import ramet
from ramet import net

COUNTRIES = [
    "CN",
    "IN",
    "US",
    "ID",
    "BR",
    "PK",
    "NG",
    "BD",
    "RU",
    "JP",
    "MX",
    "PH",
    "VN",
    "ET",
    "EG",
    "DE",
    "IR",
    "TR",
    "CD",
    "FR",
]
DELAY = 0.04


def flag(country):
    """Three stripes of the country's own, as a PPM image."""
    colours = hashlib.sha256(country.encode()).digest()[:9]
    return b"P6 3 1 255\n" + colours


def serve():
    def answer(conn):
        request = b""
        while b"\r\n\r\n" not in request and (data := conn.read(4096)):
            request += data
        ramet.time.sleep(DELAY)
        image = flag(request.split()[1].decode().strip("/"))
        conn.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(image) + image)

    with net.serve("127.0.0.1:0", answer) as server:
        print(server.addr[1], flush=True)
        ramet.blocking(sys.stdin.read)  # until the one who asks has ended


def request(country):
    return f"GET /{country} HTTP/1.0\r\n\r\n".encode()


def body(answer):
    head, _, image = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.0 200 "):
        raise OSError(head.decode())
    return image


def get_socket(port, country):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request(country))
        return body(b"".join(iter(lambda: sock.recv(4096), b"")))


def get_ramet(port, country):
    with net.dial("tcp", ("127.0.0.1", port)) as conn:
        conn.write(request(country))
        return body(b"".join(iter(lambda: conn.read(4096), b"")))


def serial(port):
    return [get_socket(port, country) for country in COUNTRIES]


def threads(port):
    with ThreadPoolExecutor(len(COUNTRIES)) as pool:
        return list(pool.map(lambda country: get_socket(port, country), COUNTRIES))


def goroutines(port):
    return ramet.gather(*[ramet.go(get_ramet, port, country) for country in COUNTRIES])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="be the server")
    if parser.parse_args().serve:
        return serve()
    command = [sys.executable, __file__, "--serve"]
    wrong = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        port = int(server.stdout.readline())
        print(f"{len(COUNTRIES)} flags, {DELAY * 1e3:.0f} ms of delay each")
        for way in (serial, threads, goroutines):
            begin = time.monotonic()
            flags = way(port)
            seconds = time.monotonic() - begin
            right = sum(got == flag(country) for got, country in zip(flags, COUNTRIES, strict=True))
            wrong += len(COUNTRIES) - right
            print(f"{way.__name__:12}{seconds:6.2f} s  {right} came right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
