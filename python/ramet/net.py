"""Connections: dial, listen, serve. What waits, waits alone; the other goroutines run meanwhile.

    from ramet import net

    def echo(conn):
        while data := conn.read(4096):
            conn.write(data)

    server = net.serve("127.0.0.1:7777", echo)
    with net.dial("tcp", "127.0.0.1:7777") as conn:
        conn.write(b"hello")
        print(conn.read(4096))
    server.close()

Everything here works in goroutines and in the main thread; in another OS thread it raises RuntimeError. Errors are the
standard ones (ConnectionRefusedError, TimeoutError, socket.gaierror, ...). Who uses something that is closed gets
ValueError; who was waiting in it when it was closed, ErrClosed.
"""

import errno as _errno
import os as _os
import socket as _socket
from collections.abc import Callable as _Callable
from functools import partial as _partial
from time import monotonic as _monotonic
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import TypeAlias as _TypeAlias

from . import _core, _dial
from ._core import Conn, ErrClosed, IncompleteRead, LimitExceeded, Listener, PacketConn

if _TYPE_CHECKING:
    from ssl import SSLContext as _SSLContext

__all__ = [
    "Conn",
    "ErrClosed",
    "IncompleteRead",
    "LimitExceeded",
    "Listener",
    "PacketConn",
    "Server",
    "dial",
    "from_fd",
    "listen",
    "listen_packet",
    "lookup_addr",
    "lookup_host",
    "serve",
]

Address: _TypeAlias = str | bytes | _os.PathLike[str] | tuple[_Any, ...]

_STREAMS: dict[str, int] = {
    "tcp": _socket.AF_UNSPEC,
    "tcp4": _socket.AF_INET,
    "tcp6": _socket.AF_INET6,
    "unix": _socket.AF_UNIX,
}
_PACKETS: dict[str, int] = {
    "udp": _socket.AF_UNSPEC,
    "udp4": _socket.AF_INET,
    "udp6": _socket.AF_INET6,
    "unixgram": _socket.AF_UNIX,
}

_HOST_PORT = "'host:port', '[v6]:port', ':port' or a tuple (host, port)"


# ---------------------------------------------------------------- addresses


def _family(what: str, network: str, families: dict[str, int]) -> int:
    if not isinstance(network, str):
        raise TypeError(f"{what}: network must be a str, not {type(network).__name__}")
    try:
        return families[network]
    except KeyError:
        *most, last = map(repr, families)
        raise ValueError(f"{what}: network must be {', '.join(most)} or {last}, not {network!r}") from None


def _bad_address(what: str, address: object, why: str) -> ValueError:
    return ValueError(f"{what}: bad address {address!r}: {why}; it is {_HOST_PORT}")


def _unix_path(what: str, address: Address) -> str | bytes:
    if isinstance(address, _os.PathLike):
        address = _os.fspath(address)
    if not isinstance(address, str | bytes):
        raise TypeError(f"{what}: a unix address is a path (str, bytes or os.PathLike), not {type(address).__name__}")
    if isinstance(address, str) and address.startswith("@"):  # Linux's abstract names, as in Go
        address = "\0" + address[1:]
    return address


def _port(what: str, address: object, port: object) -> int | str:
    """A number, or the name of a service."""
    if isinstance(port, str):
        if not port.isascii() or not port.isdigit():
            if not port:
                raise _bad_address(what, address, "the port is missing")
            if not any(c.isalpha() for c in port) or not all(c.isalnum() or c in "-_." for c in port):
                raise _bad_address(what, address, f"{port!r} is no port")
            return port
        port = int(port)
    elif not isinstance(port, int):
        raise TypeError(f"{what}: the port of an address must be an int or a str, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise _bad_address(what, address, "a port is between 0 and 65535")
    return port


def _split(what: str, address: Address) -> tuple[str, int | str, tuple[int, ...]]:
    """Host ('' if none), port, and what else a socket module's IPv6 tuple has."""
    if isinstance(address, tuple):
        if len(address) not in (2, 3, 4):
            raise _bad_address(what, address, f"the tuple has {len(address)} elements")
        host, port, *rest = address
        if host is None:
            host = ""
        if not isinstance(host, str):
            raise TypeError(f"{what}: the host of an address must be a str, not {type(host).__name__}")
        if not all(isinstance(v, int) for v in rest):
            raise TypeError(f"{what}: flowinfo and scope_id of an address must be int")
        if "\0" in host:
            raise _bad_address(what, address, "the host holds a NUL")
        return host, _port(what, address, port), tuple(rest)
    if not isinstance(address, str):
        raise TypeError(f"{what}: address must be a str or a tuple, not {type(address).__name__}")
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or not port.startswith(":"):
            raise _bad_address(what, address, "the port is missing" if bracket and not port else "']:' is missing")
        port = port[1:]
    else:
        host, colon, port = address.rpartition(":")
        if not colon:
            raise _bad_address(what, address, "the port is missing")
        if ":" in host:
            raise _bad_address(what, address, "an IPv6 address goes into brackets, before ':port'")
    if any(c in "[]\0" for c in host):
        raise _bad_address(what, address, f"{host!r} is no host")
    return host, _port(what, address, port), ()


def _numeric(host: str) -> int | None:
    """The family of a numeric address, of IPv6 also with a zone ("fe80::1%eth0"); None: it is a name."""
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, host.partition("%")[0] if family == _socket.AF_INET6 else host)
            return family
        except (OSError, ValueError):
            pass
    return None


def _getaddrinfo(*args: _Any) -> list[_Any] | Exception:
    try:
        return _core.blocking(_socket.getaddrinfo, *args)
    except Exception as e:
        return e


def _resolve(
    what: str, family: int, address: Address, passive: bool, deadline: float | None, packets: bool = False
) -> list[tuple[int, _Any]]:
    """(family, numeric address) to be tried in this order. May park."""
    if family == _socket.AF_UNIX:
        return [(family, _unix_path(what, address))]
    host, port, rest = _split(what, address)
    if isinstance(port, int):
        if not host:
            # listen: every interface, IPv6 first, for it can take both; dial: this machine
            v4 = (_socket.AF_INET, ("0.0.0.0" if passive else "127.0.0.1", port))
            v6 = (_socket.AF_INET6, ("::" if passive else "::1", port))
            both = [v6, v4] if passive else [v4, v6]
            return [a for a in both if family in (a[0], _socket.AF_UNSPEC)]
        known = _numeric(host)
        if known is not None:
            if family not in (known, _socket.AF_UNSPEC):
                stem = "udp" if packets else "tcp"
                theirs, ours = ("IPv4", f"'{stem}6'") if known == _socket.AF_INET else ("IPv6", f"'{stem}4'")
                raise _bad_address(what, address, f"an {theirs} address does not go with network {ours}")
            return [(known, (host, port, *(rest if known == _socket.AF_INET6 else ())))]
    flags = _socket.AI_PASSIVE if passive else 0
    query = (host or None, port, family, _socket.SOCK_DGRAM if packets else _socket.SOCK_STREAM, 0, flags)
    found: list[_Any] | Exception
    if deadline is None:
        found = _getaddrinfo(*query)
    else:
        asking = _core.go(_getaddrinfo, *query)
        try:
            found = asking.join(max(0.0, deadline - _monotonic()))
        except BaseException:
            asking.cancel()
            raise
    if isinstance(found, Exception):
        raise found
    out: list[tuple[int, _Any]] = []
    for fam, _type, _proto, _name, sockaddr in found:
        if fam not in (_socket.AF_INET, _socket.AF_INET6):
            continue
        if (fam, sockaddr) not in out:
            out.append((fam, sockaddr))
    if not out:
        raise _socket.gaierror(_socket.EAI_NONAME, f"no address of {host!r} will do")
    return out


def _timeout(what: str, timeout: float | None) -> float | None:
    """The deadline."""
    if timeout is None:
        return None
    if not isinstance(timeout, int | float):
        raise TypeError(f"{what}: timeout must be seconds (int or float) or None, not {type(timeout).__name__}")
    if timeout != timeout:
        raise ValueError(f"{what}: timeout must be seconds, not NaN")
    return _monotonic() + timeout


# ---------------------------------------------------------------- dial and listen


def _check_context(what: str, tls: object) -> None:
    import ssl

    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"{what}: tls must be an ssl.SSLContext or None, not {type(tls).__name__}")


def _check_tls(what: str, network: str, address: Address, tls: object, server_hostname: object) -> None:
    if tls is None:
        if server_hostname is not None:
            raise ValueError(f"{what}: server_hostname goes with tls")
        return
    _check_context(what, tls)
    if network in _PACKETS:
        raise ValueError(f"{what}: TLS needs a stream, and {network!r} sends datagrams")
    if server_hostname is not None and not isinstance(server_hostname, str):
        raise TypeError(f"{what}: server_hostname must be a str or None, not {type(server_hostname).__name__}")


def _secure(
    conn: Conn, network: str, address: Address, tls: "_SSLContext", name: str | None, deadline: float | None
) -> None:
    if name is None and network != "unix":
        # what is dialled is what has to be proved; a zone and the root's dot are no part of a certificate
        name = _split("dial", address)[0].partition("%")[0].removesuffix(".") or "localhost"
    timeout = None if deadline is None else max(0.0, deadline - _monotonic())
    try:
        conn.start_tls(tls, server_hostname=name or None, timeout=timeout)
    except BaseException as e:
        conn.close()
        e.add_note(f"dialling {network} {address!r} with TLS")
        raise


def dial(
    network: str,
    address: Address,
    *,
    timeout: float | None = None,
    tls: "_SSLContext | None" = None,
    server_hostname: str | None = None,
) -> Conn:
    """Connect. `network` is "tcp", "tcp4", "tcp6", "unix", or "udp", "udp4", "udp6", "unixgram", whose connections send
    and receive datagrams, one a write and one a read, of that one peer; `address` "host:port", "[::1]:80",
    "[fe80::1%eth0]:80" (the zone is an interface's name or number), ":8080" (this machine) or a tuple as the socket
    module has it; of "unix" a path ("@name": Linux's abstract name).

    Names are looked up off the scheduler. Of several addresses, IPv6 and IPv4 by turns, the next is tried when the last
    has failed or has not answered for 250 ms, and the first that connects wins (RFC 8305, happy eyeballs). May park.
    Goroutines and the main thread.

    With `tls`, an ssl.SSLContext, it is connected when TLS is, which `timeout` includes; the peer has to prove to be
    `server_hostname`, by default the host of `address`.

    Raises ValueError for a network or address that is none, socket.gaierror for a name that is unknown, ssl.SSLError,
    TimeoutError when `timeout` seconds have passed, else the error of the first address (ConnectionRefusedError, ...),
    those of the others as notes; Cancelled.
    """
    family = _family("dial", network, {**_STREAMS, **_PACKETS})
    packets = network in _PACKETS
    kind = _socket.SOCK_DGRAM if packets else _socket.SOCK_STREAM
    _check_tls("dial", network, address, tls, server_hostname)
    deadline = _timeout("dial", timeout)
    addresses = _resolve("dial", family, address, False, deadline, packets)
    try:
        conn = _dial.connect(addresses, kind, deadline)
    except OSError as e:
        e.__notes__ = [f"dialling {network} {address!r}", *getattr(e, "__notes__", ())]
        raise
    if tls is not None:
        _secure(conn, network, address, tls, server_hostname, deadline)
    return conn


def listen(
    network: str,
    address: Address,
    *,
    backlog: int | None = None,
    tls: "_SSLContext | None" = None,
    reuse_port: bool = False,
) -> Listener:
    """Listen. `network` and `address` as for dial(); ":8080" means every interface, IPv6 and IPv4; port 0: any that is
    free (Listener.addr tells). `backlog`: how many connections may wait to be accepted, by default what the system
    allows. The file of a unix listener is removed when it is closed.

    With `tls`, an ssl.SSLContext, what is accepted has TLS. Its handshake is made by the first read or write, or by
    Conn.handshake(), in the goroutine that does so: a client that is slow there keeps no other waiting.

    Parks only to look up a name. Goroutines and the main thread.
    Raises ValueError for a network or address that is none, or a context that is a client's, socket.gaierror, OSError
    (EADDRINUSE, ...); Cancelled.
    """
    family = _family("listen", network, _STREAMS)
    if tls is not None:
        _check_context("listen", tls)
        if tls.protocol.name == "PROTOCOL_TLS_CLIENT":
            raise ValueError("listen: tls is a client's context: a server's is one of PROTOCOL_TLS_SERVER")
    if backlog is not None:
        if not isinstance(backlog, int):
            raise TypeError(f"listen: backlog must be an int or None, not {type(backlog).__name__}")
        if not 1 <= backlog <= 0x7FFFFFFF:
            raise ValueError(f"listen: backlog must be at least 1, not {backlog}")
    addresses = _resolve("listen", family, address, True, None)
    for i, (fam, sockaddr) in enumerate(addresses):
        try:
            return _core._listen(fam, sockaddr, backlog or 0, reuse_port, network == "tcp6", tls)
        except OSError as e:
            # the next may do only if this machine has not got the address: a kernel without IPv6
            if e.errno not in (_errno.EAFNOSUPPORT, _errno.EADDRNOTAVAIL) or i + 1 == len(addresses):
                e.add_note(f"listening on {network} {address!r}")
                raise
    raise AssertionError("no address")


def listen_packet(network: str, address: Address) -> PacketConn:
    """A socket for datagrams. `network` is "udp", "udp4", "udp6" or "unixgram", `address` as for listen(): ":8080"
    means every interface, port 0 any that is free (PacketConn.addr tells). The file of a unix socket is removed when it
    is closed.

    Parks only to look up a name. Goroutines and the main thread.
    Raises ValueError for a network or address that is none, socket.gaierror, OSError (EADDRINUSE, ...); Cancelled.
    """
    family = _family("listen_packet", network, _PACKETS)
    addresses = _resolve("listen_packet", family, address, True, None, True)
    for i, (fam, sockaddr) in enumerate(addresses):
        try:
            return _core._listen_packet(fam, sockaddr, network == "udp6")
        except OSError as e:
            if e.errno not in (_errno.EAFNOSUPPORT, _errno.EADDRNOTAVAIL) or i + 1 == len(addresses):
                e.add_note(f"listening on {network} {address!r}")
                raise
    raise AssertionError("no address")


def from_fd(fd: int) -> Conn | Listener | PacketConn:
    """Take over the descriptor of a socket: one that recv_fds() gave, or that was inherited. It is a Listener if it
    listens, a PacketConn if it is a datagram socket without a peer, else a Conn.

    It is ours from now on: non-blocking (so is every other descriptor of the same socket, in other processes too), not
    inherited, closed by close(). The file of a unix listener stays. Never parks. Goroutines and the main thread.
    Raises OSError (EBADF, ENOTSOCK) and ValueError for what is no such socket; the descriptor then stays the caller's.
    """
    return _core._from_fd(fd)


def lookup_addr(ip: str) -> list[str]:
    """The names of a numeric address, the canonical one first.

    Looked up off the scheduler: parks. Goroutines and the main thread. Raises ValueError if `ip` is no numeric address,
    socket.herror if it has no name; Cancelled.
    """
    if not isinstance(ip, str):
        raise TypeError(f"lookup_addr: ip must be a str, not {type(ip).__name__}")
    if _numeric(ip) is None:
        raise ValueError(f"lookup_addr: ip must be a numeric address, not {ip!r}")
    name, aliases, _ = _core.blocking(_socket.gethostbyaddr, ip)
    return list(dict.fromkeys([name, *aliases]))


def lookup_host(name: str) -> list[str]:
    """The addresses of a host, numeric, in the order in which they are to be tried.

    Looked up off the scheduler: parks. Goroutines and the main thread. Raises socket.gaierror; Cancelled.
    """
    if not isinstance(name, str):
        raise TypeError(f"lookup_host: name must be a str, not {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"lookup_host: name must be that of a host, not {name!r}")
    if _numeric(name) is not None:
        return [name]
    found = _core.blocking(_socket.getaddrinfo, name, None, 0, _socket.SOCK_STREAM)
    return list(dict.fromkeys(str(a[4][0]) for a in found))


# ---------------------------------------------------------------- serve

# accept cannot go on until somebody gives something back
_EXHAUSTED = (_errno.EMFILE, _errno.ENFILE, _errno.ENOBUFS, _errno.ENOMEM)
# the listener is none any more
_BROKEN = (_errno.EBADF, _errno.EINVAL, _errno.ENOTSOCK, _errno.EOPNOTSUPP)


class Server:
    """What serve() returns: a goroutine that accepts, and one for every connection."""

    def __init__(self, listener: Listener, handler: _Callable[[Conn], object], max_conns: int | None) -> None:
        self._listener = listener
        self._handler = handler
        self._addr = listener.addr
        self._slots: _core.Chan[None] | None = None if max_conns is None else _core.Chan(max_conns)
        self._active: dict[Conn, _core.Goroutine[None] | None] = {}
        self._closed = False  # by close(): handlers are cut off
        self._accepting = True
        self._done: _core.Chan[None] = _core.Chan()
        self._accepter = _core.go(self._accept_all)
        self._accepter.name = "serve"

    @property
    def addr(self) -> _Any:
        """Where it listens, or listened, as the socket module gives it."""
        return self._addr

    def __repr__(self) -> str:
        if not hasattr(self, "_done"):
            return "<ramet.net.Server not started>"
        state = "accepting" if self._accepting else "ended" if self._done.closed else "ending"
        return f"<ramet.net.Server addr={self._addr!r} {state}, {len(self._active)} connections>"

    def __enter__(self) -> "Server":
        """Itself. Never parks."""
        return self

    def __exit__(self, *exc: object) -> None:
        """close(). Never parks."""
        self.close()

    def close(self) -> None:
        """Stop at once: the listener is closed, the handlers are cancelled, their connections closed. Does not wait for
        them (wait() does). A second close does nothing. Never parks. Goroutines and the main thread."""
        self._closed = True
        self._stop_accepting()
        for conn, g in list(self._active.items()):
            if g is not None:
                g.cancel("the server was closed")
            conn.close()

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop gracefully: the listener is closed, and the handlers have time to end of their own.

        May park. Goroutines and the main thread. TimeoutError if some have not ended after `timeout` seconds: they go
        on (close() cuts them off). Cancelled.
        """
        deadline = _timeout("shutdown", timeout)
        self._stop_accepting()
        self._done.recv_ok(None if deadline is None else max(0.0, deadline - _monotonic()))

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the server has been closed or shut down and every handler has ended.

        May park. Goroutines and the main thread. TimeoutError after `timeout` seconds; Cancelled.
        """
        self._done.recv_ok(timeout)

    def _stop_accepting(self) -> None:
        self._listener.close()
        self._accepter.cancel()  # it may be waiting for a slot
        self._accepting = False
        self._check_done()

    def _check_done(self) -> None:
        if not self._accepting and not self._active and not self._done.closed:
            self._done.close()

    def _accept_all(self) -> None:
        pause = 0.0
        slots = self._slots
        try:
            while self._accepting:
                if slots is not None:
                    slots.send(None)
                try:
                    self._begin(self._listener.accept())
                except (OSError, ValueError, MemoryError) as e:
                    if not self._accepting or isinstance(e, ErrClosed | ValueError):
                        return
                    if isinstance(e, OSError) and e.errno in _BROKEN:
                        raise
                    if slots is not None:
                        slots.try_recv()
                    # what is short now may come back; what befell one connection does not befall the next
                    if isinstance(e, MemoryError) or e.errno in _EXHAUSTED or pause:
                        pause = min(pause * 2, 1.0) or 0.005
                        _core.sleep(pause)
                    else:
                        pause = 0.0025
                    continue
                pause = 0.0
        finally:
            self._listener.close()
            self._accepting = False
            self._check_done()

    def _begin(self, conn: Conn) -> None:
        self._active[conn] = None
        try:
            g = _core._go_then(_partial(self._ended, conn), self._handle, conn)
        except BaseException:  # no stack for it, say
            del self._active[conn]
            conn.close()
            raise
        if conn in self._active:  # preempted, it finds its handler at work, or through; not between these two lines
            self._active[conn] = g

    def _handle(self, conn: Conn) -> None:
        # What the handler raises, but for what our own closing caused, this goroutine dies of: nobody holds its handle
        # by then, and excepthook reports it.
        try:
            self._handler(conn)
        except (ErrClosed, ValueError):
            if not self._closed:
                raise
        finally:
            self._ended(conn)

    def _ended(self, conn: Conn) -> None:
        """Once more when the goroutine is through: one that was cancelled has perhaps not begun."""
        if conn not in self._active:
            return
        conn.close()
        del self._active[conn]
        if self._slots is not None:
            with _core.shield():  # a cancellation that came too late
                self._slots.try_recv()
        self._check_done()


def serve(
    listener_or_address: Listener | str | tuple[_Any, ...],
    handler: _Callable[[Conn], object],
    *,
    max_conns: int | None = None,
    tls: "_SSLContext | None" = None,
) -> Server:
    """Accept connections in the background, calling handler(conn) for each in a goroutine of its own, and closing conn
    when it returns. An address means "tcp", with `tls` as listen() has it; a listener becomes the server's, which
    closes it.

    With `max_conns` connections being handled, the next one is accepted when one of them ends. A handler that raises is
    reported by ramet.excepthook, and the server goes on; so it does when descriptors run out (EMFILE): it tries again
    after 5 ms to 1 s.

    Parks only to look up a name. Goroutines and the main thread. Errors as listen().
    """
    if not callable(handler):
        raise TypeError(f"serve: handler must be callable, not {type(handler).__name__}")
    if max_conns is not None:
        if not isinstance(max_conns, int):
            raise TypeError(f"serve: max_conns must be an int or None, not {type(max_conns).__name__}")
        if max_conns < 1:
            raise ValueError(f"serve: max_conns must be at least 1, not {max_conns}")
    if isinstance(listener_or_address, Listener):
        if tls is not None:
            raise ValueError("serve: tls goes with an address: a listener has its own from listen()")
        return Server(listener_or_address, handler, max_conns)
    if not isinstance(listener_or_address, str | tuple):
        raise TypeError(
            f"serve: listener_or_address must be a Listener, a str or a tuple, not {type(listener_or_address).__name__}"
        )
    listener = listen("tcp", listener_or_address, tls=tls)
    try:
        return Server(listener, handler, max_conns)
    except BaseException:
        listener.close()
        raise
