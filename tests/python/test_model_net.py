"""Reads of a Conn against a model: a stream of bytes of which nothing is lost or doubled.

Chunks of any size come at any time, several readers wait for their turn, and every wait may end by cancellation or timeout,
also when it is not the first of its operation and when what it waits for has just come.
"""

import os
import random

import pytest
import ramet
from helpers import T
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from machines import RAISED_CANCELLED, Actor, profile
from ramet import net
from ramet.time import sleep

pytestmark = pytest.mark.long

SEPARATORS = [b"\n", b"--", b"\r\n", b"-\n-", b"---\n", b"\n\n"]
TIMED_OUT = ("raised", TimeoutError)
SOON = 0.0005


def connect(network):
    address = "127.0.0.1:0" if network == "tcp" else f"@ramet-{os.getpid()}-{random.random()}"
    with net.listen(network, address) as listener:
        a = net.dial(network, listener.addr if network == "tcp" else address, timeout=T)
        return a, listener.accept(timeout=T)


def first(data, eof, what, arg, limit):
    """What an operation makes of the stream as far as it has come, and how much it takes; None: it waits.

    b"" of a plain read stands for any part, not empty, of what is there.
    """
    if what in ("read", "readinto"):
        return (("returned", b""), None) if data or eof else None
    if what == "read_exactly":
        if len(data) >= arg:
            return ("returned", data[:arg]), arg
        return (("incomplete", data), len(data)) if eof else None
    line = what in ("readline", "next")
    sep = b"\n" if line else arg
    at = data.find(sep, 0, limit)
    if at >= 0:
        return ("returned", data[: at + len(sep)]), at + len(sep)
    if len(data) >= limit + line:
        return ("raised", net.LimitExceeded), 0
    if not eof:
        return None
    if what == "next" and not data:
        return ("raised", StopIteration), 0
    return ("returned" if line else "incomplete", data), len(data)


def operate(conn, what, arg, limit, timeout):
    try:
        if what == "read":
            return conn.read(arg, timeout)
        if what == "readinto":
            into = bytearray(arg)
            return bytes(into[: conn.readinto(into, timeout)])
        if what == "read_exactly":
            return conn.read_exactly(arg, timeout)
        if what == "read_until":
            return conn.read_until(arg, limit, timeout)
        if what == "readline":
            return conn.readline(limit, timeout)
        return next(conn)
    except net.IncompleteRead as e:
        return e


class Streams(RuleBasedStateMachine):
    @initialize(network=st.sampled_from(["tcp", "unix"]))
    def begin(self, network):
        self.writer, self.reader = connect(network)
        self.data, self.eof = b"", False  # what has been written and not been read
        self.readers = []  # in the order of their turns

    # ---- readers

    def start(self, what, arg=None, limit=65536, timed=False):
        a = Actor(operate, self.reader, what, arg, limit, SOON if timed else None)
        a.op, a.timed, a.cancelled = (what, arg, limit), timed, False
        ramet.gosched()  # it has its turn, or waits for it
        self.readers.append(a)
        self.settle()

    sizes = st.one_of(st.integers(1, 12), st.sampled_from([4095, 4096, 4097, 9000]))

    @rule(n=sizes, into=st.booleans(), timed=st.booleans())
    def read(self, n, into, timed):
        self.start("readinto" if into else "read", n, timed=timed)

    @rule(n=sizes, timed=st.booleans())
    def read_exactly(self, n, timed):
        self.start("read_exactly", n, timed=timed)

    @rule(sep=st.sampled_from(SEPARATORS), more=st.sampled_from([0, 1, 5, 4092, 50_000]), timed=st.booleans())
    def read_until(self, sep, more, timed):
        self.start("read_until", sep, len(sep) + more, timed)

    @rule(limit=st.sampled_from([1, 2, 7, 4096, 50_000]), timed=st.booleans())
    def readline(self, limit, timed):
        self.start("readline", None, limit, timed)

    @rule()
    def iterate(self):
        self.start("next")

    @rule(i=st.integers(0, 9))
    def cancel(self, i):
        if self.readers:
            a = self.readers[i % len(self.readers)]
            a.cancel()
            a.cancelled = True
            self.settle()

    # ---- the writer

    text = st.text(alphabet="ab-\r\n", min_size=1, max_size=12)

    def write(self, chunk):
        if not self.eof and len(self.data) < 60_000:
            self.writer.write(chunk, T)
            self.data += chunk

    @rule(chunk=text, much=st.sampled_from([0, 0, 0, 1, 340, 341, 350, 1000]), end=text)
    def write_and_see(self, chunk, much, end):
        self.write((chunk * (1 + 4096 // len(chunk) * much // 341) + end).encode())
        self.settle()

    @rule(chunk=text, i=st.integers(0, 9))
    def write_and_cancel(self, chunk, i):
        """Before the reader has seen it."""
        self.write(chunk.encode())
        self.cancel(i)

    @rule(really=st.integers(0, 3))
    def end(self, really):
        if not really and not self.eof:
            self.writer.close_write()
            self.eof = True
            self.settle()

    @rule()
    def look(self):
        """select sees what is in the buffer and what is in the system alike."""
        if not self.readers:
            s = ramet.select(ramet.readable(self.reader), ramet.default)
            assert (s.index == 0) is bool(self.data or self.eof)

    # ---- comparison

    def settle(self):
        """Whoever is next and can be served is; those that gave up have taken nothing."""
        while self.readers:
            for a in [a for a in self.readers if a.done]:
                if a.outcome == RAISED_CANCELLED and a.cancelled or a.outcome == TIMED_OUT and a.timed:
                    self.readers.remove(a)
            if not self.readers:
                return
            a = self.readers[0]
            expected = first(self.data, self.eof, *a.op)
            if expected is None and not a.cancelled and not a.timed:
                for _ in range(3):
                    sleep(SOON / 5)
                assert not a.done, (a.op, a.outcome, self.data)
                if not any(b.cancelled or b.done for b in self.readers):
                    return  # all wait
                continue
            a.g.exception(T)  # it ends
            if a.outcome == RAISED_CANCELLED and a.cancelled or a.outcome == TIMED_OUT and a.timed:
                continue
            assert expected is not None, (a.op, a.outcome, self.data)
            self.readers.remove(a)
            self.take(a, *expected)

    def take(self, a, expected, n):
        kind, got = a.outcome
        if isinstance(got, net.IncompleteRead):
            kind, got = "incomplete", got.partial
        if n is None:  # a plain read
            assert kind == "returned" and len(got) <= a.op[1] and self.data.startswith(got), (a, self.data)
            assert bool(got) is bool(self.data), (a, self.data)
            n = len(got)
        else:
            assert (kind, got) == expected, (a.op, (kind, got), expected)
        self.data = self.data[n:]

    def teardown(self):
        if not hasattr(self, "reader"):
            return
        with self.writer, self.reader:
            self.settle()
            for a in self.readers:
                a.cancel()
                a.cancelled = True
            self.settle()
            self.writer.close_write()
            rest = b""
            while part := self.reader.read(1 << 20, T):
                rest += part
            assert rest == self.data


def test_streams_against_the_model():
    run_state_machine_as_test(Streams, settings=profile(60))
