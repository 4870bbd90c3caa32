"""A chat server with rooms, and three clients that check what they hear.

One goroutine, `hub`, owns the rooms; the others send it what happens. So there is no lock, and everybody in a room
hears everything in the same order. A client's first line is its room and its name; each further line is said there.
"""

import sys

import ramet
from ramet import go, net
from ramet.sync import Event


def lines(conn):
    return (line.decode().rstrip("\n") for line in conn)


def hub(events):
    rooms = {}  # name: the channels of those who are in it
    for kind, room, outbox, text in events:
        members = rooms.setdefault(room, set())
        if kind == "enters":
            members.add(outbox)
        for member in members:
            member.try_send(text)  # who does not keep up misses something, and holds up nobody
        if kind == "leaves":
            members.discard(outbox)
            outbox.close()


def serve_client(events, conn):
    said = lines(conn)
    room, _, name = next(said, "nowhere nobody").partition(" ")
    outbox = ramet.Chan(100)

    def write():
        for text in outbox:
            conn.write(text.encode() + b"\n")

    writer = go(write)
    events.send(("enters", room, outbox, f"* {name} enters"))
    try:
        for text in said:
            events.send(("says", room, outbox, f"{name}: {text}"))
            if text == "bye":
                break
    finally:
        events.send(("leaves", room, outbox, f"* {name} leaves"))
        writer.join()  # the connection is closed when we return: let it write all


def person(address, room, name, script, here, before=None):
    """Say and hear what the script tells; what is heard must be that, in that order."""
    if before:
        before.wait()
    with net.dial("tcp", address, timeout=10) as conn, ramet.timeout(10):
        conn.write(f"{room} {name}\n".encode())
        heard = lines(conn)
        for kind, text in [("hear", f"* {name} enters"), *script]:
            if kind == "say":
                conn.write(text.encode() + b"\n")
            elif (line := next(heard, "the end")) != text:
                raise AssertionError(f"{name} hears {line!r}, not {text!r}")
            here.set()
        return [text for kind, text in script if kind == "hear"]


ANN = """hear * Bob enters|say hello|hear Ann: hello|hear Bob: hi Ann|hear Bob: bye|hear * Bob leaves
say bye|hear Ann: bye|hear * Ann leaves"""
BOB = "hear Ann: hello|say hi Ann|hear Bob: hi Ann|say bye|hear Bob: bye|hear * Bob leaves"
CYD = "say anybody?|hear Cyd: anybody?|say bye|hear Cyd: bye|hear * Cyd leaves"


def script(text):
    return [tuple(line.split(" ", 1)) for line in text.replace("\n", "|").split("|")]


def main():
    events = ramet.Chan()
    go(hub, events)
    ann_is_here = Event()
    with net.serve("127.0.0.1:0", lambda conn: serve_client(events, conn)) as server:
        people = {
            "Ann": go(person, server.addr, "tea", "Ann", script(ANN), ann_is_here),
            "Bob": go(person, server.addr, "tea", "Bob", script(BOB), Event(), ann_is_here),
            "Cyd": go(person, server.addr, "coffee", "Cyd", script(CYD), Event()),
        }
        for name, goroutine in people.items():
            print(f"{name} heard: {', '.join(goroutine.join())}")
    return 0


if __name__ == "__main__":
    sys.exit(ramet.run(main))  # and ends the hub
