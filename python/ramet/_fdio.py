"""One end of a pipe, whose waiting parks only the goroutine: what ramet.io.pipe() and ramet.os.Popen read and write.

The descriptors stay blocking, because they are passed on to programs that would not understand EAGAIN. So everything
is polled first: a pipe that polls readable does not block a read, one that polls writable takes PIPE_BUF bytes.
"""

import io as _io
import os as _os
import select as _select
from collections.abc import Callable as _Callable
from contextlib import suppress as _suppress
from typing import Any as _Any

from . import _core
from ._core import ErrClosed as _ErrClosed

_PIPE_BUF = _select.PIPE_BUF  # any pipe that polls writable has room for as much


def enter(what: str) -> bool:
    """At the head of what may park: raise a pending cancellation. True: it parks; False: this is the main thread of a
    program whose goroutines run in another one, which waits as a thread. RuntimeError in any other thread."""
    _core.select(_core.default)
    try:
        _core.current()
        return True
    except RuntimeError:
        import threading

        if threading.get_ident() == threading.main_thread().ident:
            return False
        raise RuntimeError(
            f"{what} works in a goroutine or in the main thread, not in another OS thread: what it needs belongs to "
            "the proc (start a goroutine with go() and join it)"
        ) from None


class PipeEnd(_io.RawIOBase):
    """One end of a pipe over a FileIO, which it owns."""

    _fd = -1  # nothing is there to be closed

    def __init__(self, file: _io.FileIO, writing: bool) -> None:
        fd = file.fileno()
        self._file = file
        self._to_close = [file]  # whoever takes it out closes it, once
        self._inside: list[None] = []  # one for each system call under way: the last closes, if close() came meanwhile
        self._closing: _core.Chan[None] = _core.Chan()
        self._poller = _select.poll()
        self._poller.register(fd, _select.POLLOUT if writing else _select.POLLIN)
        self._case = _core.writable(fd) if writing else _core.readable(fd)
        self._writing = writing
        self.used = False  # something has been read or written
        self.at_end = False  # pretend that nothing more will come: for who takes what is buffered above
        self._fd = fd

    @property
    def name(self) -> _Any:
        """The descriptor, or what it was opened as."""
        return self._file.name

    @property
    def mode(self) -> str:
        """ "wb" or "rb"."""
        return "wb" if self._writing else "rb"

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {'closed' if self.closed else f'fd={self._fd}'}>"

    def fileno(self) -> int:
        """The descriptor, which stays ours. ValueError if closed. Never parks. Any thread."""
        self._open("fileno")
        return self._fd

    def readable(self) -> bool:
        """Whether this is the end that is read."""
        return not self._writing

    def writable(self) -> bool:
        """Whether this is the end that is written."""
        return self._writing

    def _open(self, what: str) -> None:
        if self.closed:
            raise ValueError(f"{what} on closed pipe")

    def ready(self) -> bool:
        """Whether the next system call will not block. Never parks."""
        return bool(self._poller.poll(0))

    def _call(self, what: str, call: _Callable[[int, _Any], _Any], arg: _Any) -> _Any:
        """call(descriptor, arg), as soon as that will not block."""
        parks = enter(what)
        self._open(what)
        if self._writing is (what == "read"):
            raise _io.UnsupportedOperation(f"{what}: this is the end that is {'written' if self._writing else 'read'}")
        self.used = True
        while True:
            self._inside.append(None)
            try:  # from here on another thread's close() does not make the descriptor another file's
                if self.closed:
                    raise _ErrClosed(f"{what}: the pipe was closed meanwhile")
                if self.ready():
                    return call(self._fd, arg)
            finally:
                self._inside.pop()
                if self.closed:
                    self._let_go()
            if parks:
                _core.select(self._case, self._closing)
            else:
                self._poller.poll()

    def _let_go(self) -> None:
        if not self._inside:
            with _suppress(IndexError):
                self._to_close.pop().close()

    def readinto(self, b: _Any) -> int:
        """Read at most len(b) bytes, as soon as there are any: how many; 0 at the end. May park. Goroutines and the
        main thread. ErrClosed if it is closed meanwhile, ValueError if it was before; Cancelled."""
        if self.at_end:
            return 0
        return self._call("read", _os.readv, [b])  # type: ignore[no-any-return]

    def read(self, n: int | None = -1, /) -> bytes:
        """At most n bytes, as soon as there are any; b"" at the end; all there will be if n is negative or None.

        May park. Goroutines and the main thread. ErrClosed if it is closed meanwhile, ValueError if it was before;
        Cancelled.
        """
        if self.at_end:
            return b""
        if n is None or n < 0:
            return self.readall()
        return self._call("read", _os.read, n)  # type: ignore[no-any-return]

    def readall(self) -> bytes:
        """All there will be. As read()."""
        chunks = []
        while data := self.read(65536):
            chunks.append(data)
        return b"".join(chunks)

    def write(self, b: _Any, /) -> int:
        """Write some of b: how many bytes. May park. Goroutines and the main thread. BrokenPipeError if nobody will
        read; ErrClosed if it is closed meanwhile, ValueError if it was before; Cancelled, and nothing is written."""
        with memoryview(b) as view, view.cast("B") as octets, octets[:_PIPE_BUF] as some:
            return self._call("write", _os.write, some)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close it. Whoever waits on it gets ErrClosed. A second close does nothing. Never parks. Any thread."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            if self._fd >= 0:
                try:
                    self._closing.close()
                except (RuntimeError, _core.ChanClosed):  # at exit, when nobody can wait; or two close it at once
                    pass
                self._let_go()
