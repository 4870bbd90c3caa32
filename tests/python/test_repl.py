"""Goroutines run while the prompt waits for a key."""

import os
import pty
import select
import sys
import time

import pytest


class Prompt:
    """An interactive interpreter on a terminal of its own."""

    def __init__(self, **env):
        self.out = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(env)
            os.execv(sys.executable, [sys.executable, "-q"])

    def read(self, until, seconds=20.0):
        end = time.monotonic() + seconds
        while until not in self.out and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.out += os.read(self.fd, 65536)
                except OSError:
                    break
        assert until in self.out, self.out.decode(errors="replace")

    def type(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def close(self):
        self.type("raise SystemExit(3)")
        end = time.monotonic() + 50
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 65536)  # a full terminal would block it
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        return None


@pytest.mark.parametrize("basic", ["", "1"], ids=["line editor of the version", "basic"])
def test_goroutines_run_at_the_prompt(basic):
    repl = Prompt(PYTHON_BASIC_REPL=basic, TERM="dumb" if basic else "xterm")
    repl.read(b">>> ")
    repl.type("import ramet, ramet.time")
    repl.type("ticks = lambda: [(ramet.time.sleep(0.1), print('t', 'ick', i, sep='')) for i in range(3)]")
    repl.type("g = ramet.go(ticks)")
    repl.read(b"tick2")
    repl.type("len(g.join()) * 14")
    repl.read(b"42")
    # the line editor of 3.13.0 itself makes it 1
    assert repl.close() == (1 if sys.version_info[:3] == (3, 13, 0) and not basic else 3)


def test_ctrl_c_at_the_prompt_while_goroutines_wait():
    repl = Prompt(PYTHON_BASIC_REPL="1", TERM="dumb")
    repl.read(b">>> ")
    repl.type("import ramet; c = ramet.Chan(); g = ramet.go(c.recv); 'rea' 'dy'")
    repl.read(b"ready")
    time.sleep(0.3)
    os.write(repl.fd, b"\x03")
    repl.read(b"KeyboardInterrupt")
    repl.type("c.send(7); g.join() * 6")
    repl.read(b"42")
    # plain 3.14 ends of SIGINT after any Ctrl-C at its prompt
    assert repl.close() == (-2 if sys.version_info >= (3, 14) else 3)
