"""A line protocol: a little store that understands SET, GET and QUIT, and a client that talks to it."""

from ramet import net


def serve_store(conn):
    store = {}
    for line in conn:
        match line.decode().split():
            case ["SET", key, value]:
                store[key] = value
                conn.write(b"OK\n")
            case ["GET", key]:
                conn.write(f"VALUE {store[key]}\n".encode() if key in store else b"NONE\n")
            case ["QUIT"]:
                conn.write(b"BYE\n")
                return
            case _:
                conn.write(b"ERROR\n")


class Client:
    def __init__(self, address):
        self._conn = net.dial("tcp", address, timeout=5)

    def ask(self, *words):
        self._conn.write(" ".join(words).encode() + b"\n")
        return self._conn.readline(timeout=5).decode().rstrip("\n")

    def close(self):
        self._conn.close()


with net.serve("127.0.0.1:0", serve_store) as server:
    client = Client(server.addr)
    print(client.ask("SET", "tea", "green"))
    print(client.ask("GET", "tea"))
    print(client.ask("GET", "milk"))
    print(client.ask("MAKE", "coffee"))
    print(client.ask("QUIT"))
    print("then it hangs up:", client.ask("GET", "tea") == "")
    client.close()
