"""Processes and signals. What waits for a child or for its output, waits alone; the other goroutines run meanwhile.

    from ramet import os

    done = os.run(["make"], capture_output=True, text=True, timeout=60)

    with os.Popen(["sort"], stdin=os.PIPE, stdout=os.PIPE) as p:
        out, _ = p.communicate(b"b\\na\\n")

    stop = ramet.Chan(1)
    os.signal.notify(stop, signal.SIGTERM)
    stop.recv()

Popen is a subprocess.Popen, with its arguments, attributes and exceptions. Starting a program is done by the subprocess
module's own code.
"""

import errno as _errno
import io as _io
import os as _os
import subprocess as _subprocess
from subprocess import DEVNULL, PIPE, STDOUT, CalledProcessError, CompletedProcess, SubprocessError, TimeoutExpired
from time import monotonic as _monotonic
from typing import Any as _Any

from .. import _core, _fdio
from . import signal

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "Popen",
    "SubprocessError",
    "TimeoutExpired",
    "run",
    "signal",
]

_CHUNK = 65536
_WITHOUT_PIDFD = (_errno.ENOSYS, _errno.EPERM, _errno.EMFILE, _errno.ENFILE, _errno.ENOMEM, _errno.ENODEV)
_POLL_MAX = 0.05


class Popen(_subprocess.Popen):  # type: ignore[type-arg]
    """subprocess.Popen whose pipes, wait() and communicate() park only the calling goroutine.

    Goroutines and the main thread; RuntimeError in another OS thread. A stream is for one goroutine at a time. A
    goroutine that is cancelled while it waits leaves the child running, and others, or it, may wait again; what
    communicate() had read by then is returned by the next.
    """

    def __init__(self, args: _Any, bufsize: int = -1, *more: _Any, **options: _Any) -> None:
        self._ends: dict[str, _fdio.PipeEnd] = {}
        self._collected: dict[str, list[bytes]] = {}
        self._before: dict[str, str] = {}  # text that a stream had decoded before communicate()
        self._left: memoryview | None = None  # of communicate()'s input
        self._started = False
        _fdio.enter("Popen()")
        super().__init__(args, bufsize, *more, **options)
        for name in ("stdin", "stdout", "stderr"):
            stream = getattr(self, name)
            if stream is not None:
                setattr(self, name, self._wrap(name, stream, bufsize))

    def _wrap(self, name: str, stream: _Any, bufsize: int) -> _Any:
        """The same layers over an end of ours."""
        text = stream if isinstance(stream, _io.TextIOWrapper) else None
        if text is not None:
            how = (text.encoding, text.errors, None, text.line_buffering, text.write_through)
            stream = text.detach()
        layer = type(stream)
        buffered = issubclass(layer, _io.BufferedReader | _io.BufferedWriter)
        end = self._ends[name] = _fdio.PipeEnd(stream.detach() if buffered else stream, name == "stdin")
        out: _Any = layer(end, bufsize if bufsize > 1 else _io.DEFAULT_BUFFER_SIZE) if buffered else end
        return out if text is None else _io.TextIOWrapper(out, *how)

    # ---------------------------------------------------------------- waiting

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the child to end: its status. TimeoutExpired after `timeout` seconds.

        May park. Goroutines and the main thread. Cancelled: the child goes on, and may be waited for again.
        """
        return super().wait(timeout)

    def _wait(self, timeout: float | None) -> int:  # what subprocess.Popen.wait() stands on
        if not _fdio.enter("Popen.wait()"):
            return super()._wait(timeout)  # type: ignore[misc,no-any-return]
        deadline = None if timeout is None else _monotonic() + timeout
        pause = 0.0005
        while self.poll() is None:
            left = None if deadline is None else deadline - _monotonic()
            if left is not None and left <= 0:
                raise TimeoutExpired(self.args, timeout)  # type: ignore[arg-type]
            fd = self._pidfd()
            if fd is None:
                _core.sleep(pause if left is None else min(pause, left))
                pause = min(2 * pause, _POLL_MAX)
                continue
            # one for every wait: whoever sees the end first need not think of the others
            try:
                _core.select(_core.readable(fd), timeout=left)
            except TimeoutError:
                continue
            finally:
                _os.close(fd)
        assert self.returncode is not None
        return self.returncode  # type: ignore[no-any-return]

    def _pidfd(self) -> int | None:
        if not hasattr(_os, "pidfd_open"):
            return None
        try:
            return _os.pidfd_open(self.pid)
        except ProcessLookupError:  # somebody else has reaped it: poll() will say so
            return None
        except OSError as e:
            if e.errno not in _WITHOUT_PIDFD:
                raise
            return None

    # ---------------------------------------------------------------- communicate

    def communicate(self, input: _Any = None, timeout: float | None = None) -> tuple[_Any, _Any]:
        """Write `input` to the child, read its output to the end, wait for it: (stdout, stderr), None where no pipe is.

        TimeoutExpired after `timeout` seconds; another call then goes on, and nothing is lost. May park. Goroutines and
        the main thread. Cancelled: likewise.
        """
        if self._started and input:
            raise ValueError("Cannot send input after starting communication")
        if not _fdio.enter("Popen.communicate()"):
            return super().communicate(input, timeout)
        deadline = None if timeout is None else _monotonic() + timeout
        if not self._started:
            self._start(input)
        try:
            self._exchange(deadline)
            self.wait(None if deadline is None else max(0.0, deadline - _monotonic()))
        except (TimeoutError, TimeoutExpired):
            so_far = (b"".join(self._collected.get(name, ())) or None for name in ("stdout", "stderr"))
            raise TimeoutExpired(self.args, timeout, *so_far) from None  # type: ignore[arg-type]
        return self._result("stdout"), self._result("stderr")

    def _start(self, input: _Any) -> None:
        if input is not None and self.stdin is not None:
            if isinstance(self.stdin, _io.TextIOWrapper):
                input = input.encode(self.stdin.encoding, self.stdin.errors)
            view = memoryview(input)
            self._left = view.cast("B") if view.nbytes else None
        if self.stdin is not None and not self.stdin.closed:
            try:
                self.stdin.flush()
            except BrokenPipeError:
                pass
            if self._left is None:
                self._close_stdin()
        self._started = True
        self._communication_started = True
        for name in ("stdout", "stderr"):
            stream = getattr(self, name)
            if stream is None:
                continue
            chunks = self._collected[name] = []
            end = self._ends[name]
            if end.used and not stream.closed:  # somebody has read of it: first what is buffered
                end.at_end = True
                try:
                    data = stream.read()
                finally:
                    end.at_end = False
                if isinstance(data, str):
                    self._before[name] = data
                elif data:
                    chunks.append(data)

    def _close_stdin(self) -> None:
        try:
            self.stdin.close()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass

    def _exchange(self, deadline: float | None) -> None:
        """Until the input is written and both outputs are at their end. TimeoutError."""
        while True:
            waits = []
            feed = self._ends.get("stdin")
            if feed is not None and self._left is not None and not feed.closed:
                waits.append(_core.writable(feed))
            reads = [name for name in self._collected if not self._ends[name].closed]
            waits += [_core.readable(self._ends[name]) for name in reads]
            if not waits:
                return
            _core.select(*waits, timeout=None if deadline is None else max(0.0, deadline - _monotonic()))
            # another goroutine may have run since: look again, for a system call must not block
            if self._left is not None and feed is not None and not feed.closed and feed.ready():
                try:
                    put = _os.write(feed.fileno(), self._left[: _fdio._PIPE_BUF])
                    self._left = self._left[put:] if put < len(self._left) else None
                except BrokenPipeError:
                    self._left = None
                if self._left is None:
                    self._close_stdin()
            for name in reads:
                end = self._ends[name]
                if not end.closed and end.ready():
                    data = _os.read(end.fileno(), _CHUNK)
                    if data:
                        self._collected[name].append(data)
                    else:
                        getattr(self, name).close()

    def _result(self, name: str) -> _Any:
        stream = getattr(self, name)
        if stream is None:
            return None
        data = b"".join(self._collected[name])
        if not isinstance(stream, _io.TextIOWrapper):
            return data
        text = data.decode(stream.encoding, stream.errors or "strict")
        return self._before.get(name, "") + text.replace("\r\n", "\n").replace("\r", "\n")


def run(
    *args: _Any,
    input: _Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: _Any,
) -> CompletedProcess[_Any]:
    """subprocess.run(): run a program to its end; a CompletedProcess.

    May park. Goroutines and the main thread. TimeoutExpired after `timeout` seconds, and then, and when it is
    cancelled, the child is killed; CalledProcessError if `check` and its status is not 0; Cancelled.
    """
    if input is not None:
        if options.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        options["stdin"] = PIPE
    if capture_output:
        if options.get("stdout") is not None or options.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        options["stdout"] = options["stderr"] = PIPE
    with Popen(*args, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            with _core.shield():  # it ends now: nobody else will wait for it
                process.wait()
            raise
        status = process.poll()
    assert status is not None
    if check and status:
        raise CalledProcessError(status, process.args, output=stdout, stderr=stderr)
    return CompletedProcess(process.args, status, stdout, stderr)
