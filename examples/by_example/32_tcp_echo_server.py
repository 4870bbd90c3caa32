"""A TCP echo server: a goroutine for every connection, written as if it were the only one."""

from ramet import Group, net


def echo(conn):
    while data := conn.read(4096):
        conn.write(data)


def talk(address, name):
    with net.dial("tcp", address) as conn:
        conn.write(f"hello from {name}".encode())
        conn.close_write()  # no more will come: the server sees the end
        answer = b""
        while data := conn.read(4096):
            answer += data
        return answer.decode()


with net.serve("127.0.0.1:0", echo) as server:
    with Group() as group:
        for answer in group.map(lambda name: talk(server.addr, name), ["ann", "bob", "cyd"]):
            print(answer)
    server.shutdown()  # waits for the handlers
print("closed")
