"""Pipes, copying, and files. What waits, waits alone; the other goroutines run meanwhile.

    from ramet import io

    r, w = io.pipe()
    with io.open("log", "rb") as f:
        io.copy(conn, f)

Everything here works in goroutines and in the main thread.
"""

import errno as _errno
import fcntl as _fcntl
import io as _io
import os as _os
import stat as _stat
import sys as _sys
import threading as _threading
from collections.abc import Callable as _Callable
from collections.abc import Iterable as _Iterable
from contextlib import suppress as _suppress
from typing import Any as _Any

from . import _core, _fdio
from ._core import ErrClosed

__all__ = ["ErrClosed", "File", "PipeReader", "PipeWriter", "copy", "open", "pipe"]

_CHUNK = 65536
_FAST_CHUNK = 1 << 18  # moved by one system call: the others wait as long
_PIPE_SIZE = 1 << 20  # of the pipe between two connections, where the system allows it
_FAST_STEPS = 16  # then a step of the ordinary way, which looks at deadlines

# ---------------------------------------------------------------- pipes


class PipeReader(_fdio.PipeEnd):
    """The end of a pipe that is read: read(n), readinto, readline, iteration, fileno, close. A context manager."""

    def __init__(self, fd: int) -> None:
        super().__init__(_io.FileIO(fd, "rb"), False)


class PipeWriter(_fdio.PipeEnd):
    """The end of a pipe that is written: write(b), fileno, close. A context manager."""

    def __init__(self, fd: int) -> None:
        super().__init__(_io.FileIO(fd, "wb"), True)

    def write(self, b: _Any, /) -> int:
        """Write all of b, a bytes-like object: its length in bytes.

        May park. Goroutines and the main thread. Writes of several goroutines may mix, in pieces of PIPE_BUF bytes.
        BrokenPipeError if nobody will read; ErrClosed if it is closed meanwhile, ValueError if it was before;
        Cancelled. A write that fails after it had to wait may have written a part.
        """
        with memoryview(b) as view, view.cast("B") as octets:
            put = 0
            while put < len(octets):
                with octets[put:] as rest:
                    put += super().write(rest)
            return put


def pipe() -> tuple[PipeReader, PipeWriter]:
    """A new pipe of the system's: its end to read and its end to write.

    Their descriptors are blocking ones that are not inherited, fit to be passed to a child. Never parks. Goroutines and
    the main thread.
    """
    r, w = _os.pipe()
    return PipeReader(r), PipeWriter(w)


# ---------------------------------------------------------------- copy


class _Unfit(Exception):
    """There is no fast way."""


def _raw(f: _Any) -> _Any:
    """What is below the buffers."""
    if isinstance(f, File):
        f = f._file
    return f.raw if isinstance(f, _io.BufferedReader | _io.BufferedWriter | _io.BufferedRandom) else f


def _waits_in_thread(f: _Any) -> bool:
    """A file of the standard library's, which blocks the thread."""
    return not isinstance(f, File) and isinstance(_raw(f), _io.FileIO)


def _reader(src: _Any) -> _Callable[[], bytes]:
    read = getattr(src, "read1", None) or src.read
    if _waits_in_thread(src):
        return lambda: _core.blocking(read, _CHUNK)
    return lambda: read(_CHUNK)  # type: ignore[no-any-return]


def _writer(dst: _Any) -> _Callable[[bytes], None]:
    pool = _waits_in_thread(dst)

    def write_all(data: bytes) -> None:
        view = memoryview(data)
        while view:
            put = _core.blocking(dst.write, view) if pool else dst.write(view)
            if put is None:
                raise BlockingIOError(_errno.EAGAIN, "copy: a non-blocking file is full")
            view = view[put:]

    return write_all


class _Fast:
    """Moves bytes inside the kernel, as much as goes without waiting. step(): how many, 0 at the end, None if it would
    have to wait. _Unfit: not between these two."""

    def __init__(self, dst: _Any, src: _Any) -> None:
        self._src, self._dst = src, dst
        self._offset: int | None = None
        self.steps = _FAST_STEPS
        below = _raw(src)
        if not isinstance(dst, _core.Conn) and not isinstance(dst, _fdio.PipeEnd):
            raise _Unfit
        if any(isinstance(end, _core.Conn) and end.tls is not None for end in (dst, src)):
            raise _Unfit  # the kernel has no keys
        if isinstance(src, _fdio.PipeEnd | _core.Conn):
            pass
        elif isinstance(below, _io.FileIO):
            if not _stat.S_ISREG(_os.fstat(below.fileno()).st_mode) or not below.readable():
                raise _Unfit
            self._offset = src.tell()
        else:
            raise _Unfit

    def close(self) -> None:
        if self._offset is not None:
            with _core.shield():
                self._src.seek(self._offset)

    def read(self) -> bytes:
        """What an ordinary step reads of a file."""
        assert self._offset is not None
        data = _os.pread(self._src.fileno(), _CHUNK, self._offset)
        self._offset += len(data)
        return data

    def step(self) -> int | None:
        try:
            n = self._step()
        except BlockingIOError:
            return None
        except OSError as e:
            if e.errno in (_errno.EINVAL, _errno.ENOSYS, _errno.EPERM):
                raise _Unfit from None
            raise
        if self._offset is not None and n:
            self._offset += n
        return n

    def _step(self) -> int:
        src, dst = self._src.fileno(), self._dst.fileno()
        if self._offset is not None and isinstance(self._dst, _core.Conn):
            return _os.sendfile(dst, src, self._offset, _FAST_CHUNK)
        flags = _os.SPLICE_F_NONBLOCK | _os.SPLICE_F_MOVE
        return _os.splice(src, dst, _FAST_CHUNK, offset_src=self._offset, flags=flags)


class _Relay(_Fast):
    """From connection to connection, through a pipe. Waits itself."""

    def __init__(self, dst: _Any, src: _Any) -> None:
        super().__init__(dst, src)
        self.steps = _sys.maxsize
        self._r, self._w = _os.pipe()
        with _suppress(OSError):
            _fcntl.fcntl(self._w, _fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def close(self) -> None:
        _os.close(self._r)
        _os.close(self._w)

    def _step(self) -> int:
        n = left = self._src._splice(self._w, _PIPE_SIZE, True)
        try:
            while left:
                left -= self._dst._splice(self._r, left, False)
        except OSError as e:
            if e.errno != _errno.EINVAL:
                raise
            while left:
                left -= self._dst.write(_os.read(self._r, left))
        return n


def _buffered(src: _Any) -> int:
    """What a Conn holds that the kernel has not any more."""
    return src._buffered() if isinstance(src, _core.Conn) else 0


def copy(dst: _Any, src: _Any) -> int:
    """Copy from src, from where it stands, to its end: how many bytes. Neither is closed.

    Each may be a Conn, an end of a pipe, a file of open(), a stream of a Popen, a binary file of the standard library
    (which is used on pool threads) or anything with read(n), or write(b). Where it can, between descriptors (from a
    file, a pipe or a Conn, to a pipe or a Conn), the bytes stay inside the kernel.

    May park. Goroutines and the main thread. What reading and writing raise; Cancelled, and then what was read last may
    not have been written. Nobody else may write to dst or read from src meanwhile.
    """
    _fdio.enter("copy()")
    read, write = _reader(src), _writer(dst)
    fast: _Fast | None = None
    try:
        both = isinstance(dst, _core.Conn) and isinstance(src, _core.Conn)
        fast = (_Relay if both else _Fast)(dst, src)
    except _Unfit:
        pass
    total = step = 0
    try:
        if fast is not None and fast._offset is not None:
            read = fast.read
        while True:
            moved: int | None = None
            if fast is not None and step % fast.steps and not _buffered(src):
                try:
                    moved = fast.step()
                except _Unfit:
                    fast.close()
                    fast, read = None, _reader(src)
                    continue
                if moved is not None:
                    _core.gosched()
            step += 1
            if moved is None:
                data = read()
                if not data:
                    return total
                if isinstance(data, str):
                    raise TypeError("copy: src must be binary, and its read() returned a str")
                write(data)
                moved = len(data)
            if not moved:
                return total
            total += moved
    finally:
        if fast is not None:
            fast.close()


# ---------------------------------------------------------------- files


class File:
    """A file whose operations run on pool threads, one at a time; only the calling goroutine waits. Made by open().

    The methods are those of the builtin's files, and may park unless they say otherwise. Goroutines and the main
    thread. Cancelled: the operation goes on to its end, and its outcome is dropped.
    """

    _file: _Any = None

    def __init__(self, file: _Any) -> None:
        self._file = file
        self._lock = _threading.Lock()  # taken on the pool thread: who is cancelled leaves his operation running

    def _on_thread(self, method: _Callable[..., _Any], args: tuple[_Any, ...]) -> _Any:
        with self._lock:
            return method(*args)

    def _call(self, name: str, *args: _Any) -> _Any:
        return _core.blocking(self._on_thread, getattr(self._file, name), args)

    def __repr__(self) -> str:
        return f"<ramet.io.File {self._file!r}>"

    def __enter__(self) -> "File":
        """Itself; ValueError if closed. Never parks."""
        if self._file.closed:
            raise ValueError("I/O operation on closed file.")
        return self

    def __exit__(self, *exc: object) -> None:
        """close()."""
        self.close()

    def close(self) -> None:
        """Write what is buffered and close. A second close does nothing. Parks, and is no cancellation point."""
        if not self._file.closed:
            with _core.shield():
                self._call("close")

    def read(self, size: int | None = -1, /) -> _Any:
        """At most size bytes or characters; all that is left if it is negative or None; empty at the end."""
        return self._call("read", size)

    def read1(self, size: int = -1, /) -> _Any:
        """At most size bytes, by at most one read of the system's. Not of text or unbuffered files."""
        return self._call("read1", size)

    def readinto(self, b: _Any, /) -> int:
        """Read into a buffer: how many bytes."""
        return self._call("readinto", b)  # type: ignore[no-any-return]

    def readline(self, size: int = -1, /) -> _Any:
        """The next line, with its end; empty at the end of the file."""
        return self._call("readline", size)

    def readlines(self, hint: int = -1, /) -> list[_Any]:
        """The lines that are left, or some with at least `hint` bytes or characters in all: cheaper than iteration."""
        return self._call("readlines", hint)  # type: ignore[no-any-return]

    def __iter__(self) -> "File":
        return self

    def __next__(self) -> _Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def write(self, b: _Any, /) -> int:
        """Write bytes or text: how many bytes or characters (of an unbuffered file perhaps not all)."""
        return self._call("write", b)  # type: ignore[no-any-return]

    def writelines(self, lines: _Iterable[_Any], /) -> None:
        """Write each of lines."""
        self._call("writelines", list(lines))

    def flush(self) -> None:
        """Give what is buffered to the system."""
        self._call("flush")

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position: the new one."""
        return self._call("seek", offset, whence)  # type: ignore[no-any-return]

    def tell(self) -> int:
        """The position."""
        return self._call("tell")  # type: ignore[no-any-return]

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen the file, by default to the position: the new size."""
        return self._call("truncate", size)  # type: ignore[no-any-return]

    def fileno(self) -> int:
        """The descriptor, which stays the file's. Never parks. Any thread."""
        return self._file.fileno()  # type: ignore[no-any-return]

    def isatty(self) -> bool:
        """Whether it is a terminal. Never parks. Any thread."""
        return self._file.isatty()  # type: ignore[no-any-return]

    def readable(self) -> bool:
        """Whether it may be read. Never parks. Any thread."""
        return self._file.readable()  # type: ignore[no-any-return]

    def writable(self) -> bool:
        """Whether it may be written. Never parks. Any thread."""
        return self._file.writable()  # type: ignore[no-any-return]

    def seekable(self) -> bool:
        """Whether it has positions. Never parks. Any thread."""
        return self._file.seekable()  # type: ignore[no-any-return]

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed  # type: ignore[no-any-return]

    @property
    def name(self) -> _Any:
        """What it was opened as."""
        return self._file.name

    @property
    def mode(self) -> str:
        """How it was opened."""
        return self._file.mode  # type: ignore[no-any-return]

    @property
    def encoding(self) -> str:
        """Of a text file."""
        return self._file.encoding  # type: ignore[no-any-return]

    @property
    def errors(self) -> str | None:
        """Of a text file: what is done about characters that cannot be."""
        return self._file.errors  # type: ignore[no-any-return]

    @property
    def newlines(self) -> _Any:
        """Of a text file: the line ends that were met."""
        return self._file.newlines


def open(
    file: _Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Callable[[str, int], int] | None = None,
) -> File:
    """The builtin open(), whose arguments and errors these are; the File's operations run on pool threads.

    May park. Goroutines and the main thread. Cancelled.
    """
    return File(_core.blocking(_io.open, file, mode, buffering, encoding, errors, newline, closefd, opener))
