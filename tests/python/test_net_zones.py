"""IPv6 zones: addresses that say which interface they mean."""

import errno
import socket

import pytest
from helpers import T
from net_helpers import needs_ipv6
from ramet import net

KINDS = ["name", "number", "tuple", "tuple with zone", "tuple with both"]


def link_local():
    """(address, interface) of one that this machine has, bound and reached through it."""
    try:
        with open("/proc/net/if_inet6") as f:
            rows = [line.split() for line in f]
    except OSError:
        return None
    for digits, _index, _length, scope, flags, name in rows:
        if scope == "20" and not int(flags, 16) & 0x40:  # of the link, and not tentative
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), name
    return None


LINK_LOCAL = link_local()
needs_family = pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
needs_link_local = pytest.mark.skipif(not LINK_LOCAL, reason="this machine has no link-local IPv6 address")


def form(kind, host, name, port):
    index = socket.if_nametoindex(name)
    return {
        "name": f"[{host}%{name}]:{port}",
        "number": f"[{host}%{index}]:{port}",
        "tuple": (host, port, 0, index),
        "tuple with zone": (f"{host}%{name}", port),
        "tuple with both": (f"{host}%{name}", port, 0, index),
    }[kind]


@needs_ipv6
@pytest.mark.parametrize("network", ["tcp", "tcp6"])
@pytest.mark.parametrize("kind", KINDS)
def test_loopback(kind, network):
    with net.listen(network, form(kind, "::1", "lo", 0)) as ln:
        assert ln.addr[0] == "::1"
        with net.dial(network, form(kind, "::1", "lo", ln.addr[1]), timeout=T) as c, ln.accept(T) as s:
            c.write(b"hello")
            assert s.read(10, T) == b"hello"


@needs_link_local
@pytest.mark.parametrize("kind", KINDS)
def test_link_local(kind):
    host, name = LINK_LOCAL
    index = socket.if_nametoindex(name)
    with net.listen("tcp", form(kind, host, name, 0)) as ln:
        port = ln.addr[1]
        assert ln.addr == (host, port, 0, index)
        with net.dial("tcp", form(kind, host, name, port), timeout=T) as c, ln.accept(T) as s:
            assert c.remote_addr == ln.addr == s.local_addr
            assert c.local_addr == s.remote_addr
            assert c.local_addr[3] == index
            with socket.fromfd(c.fileno(), socket.AF_INET6, socket.SOCK_STREAM) as same:
                assert (same.getsockname(), same.getpeername()) == (c.local_addr, c.remote_addr)
        with net.dial("tcp", ln.addr, timeout=T):  # what was given back will do
            pass


@needs_link_local
@pytest.mark.parametrize("kind", KINDS)
def test_datagrams(kind):
    host, name = LINK_LOCAL
    with (
        net.listen_packet("udp", form(kind, host, name, 0)) as a,
        net.listen_packet("udp6", a.addr[:1] + (0, *a.addr[2:])) as b,
    ):
        to = form(kind, host, name, a.addr[1])
        if isinstance(to, tuple):
            assert b.write_to(b"there", to) == 5
        else:
            with net.dial("udp", to) as c:
                c.write(b"dialled")
                assert a.read_from(10, T) == (b"dialled", c.local_addr)
            assert b.write_to(b"there", a.addr) == 5
        data, sender = a.read_from(10, T)
        assert (data, sender) == (b"there", b.addr)
        a.write_to(b"back", sender)
        assert b.read_from(10, T) == (b"back", a.addr)


@needs_family
def test_unknown_zones_are_named():
    for what in (
        lambda a: net.dial("tcp", a),
        lambda a: net.dial("udp", a),
        lambda a: net.listen("tcp", a),
        lambda a: net.listen_packet("udp", a),
    ):
        for zone in ("no-such-if", "", "0", "1x", "99999999999", "a" * 100):
            with pytest.raises(OSError, match=f"'fe80::1%{zone}' names no network interface") as e:
                what(f"[fe80::1%{zone}]:80")
            assert e.value.errno == errno.ENODEV
        with pytest.raises(OSError):  # which one it is, the system says
            what("[fe80::1%4294967295]:80")


@needs_ipv6
def test_a_zone_and_a_scope_that_differ():
    index = socket.if_nametoindex("lo")
    with pytest.raises(ValueError, match=f"the zone of '::1%lo' is interface {index}, its scope_id {index + 1}"):
        net.dial("tcp", ("::1%lo", 80, 0, index + 1))
    with net.listen_packet("udp", "[::1]:0") as p:
        with pytest.raises(ValueError, match="scope_id"):
            p.write_to(b"x", ("::1%lo", 80, 0, index + 1))
        with pytest.raises(OSError, match="'::1%no-such-if' names no"):
            p.write_to(b"x", ("::1%no-such-if", 80))
        for host in ("::1%", "%lo", "%", "::1::%lo", "1" * 100 + "%lo"):
            with pytest.raises((OSError, ValueError)):
                p.write_to(b"x", (host, 80))


def test_ipv4_has_no_zones():
    with pytest.raises(socket.gaierror):
        net.dial("tcp", "127.0.0.1%lo:80")
    with pytest.raises(ValueError):
        net.dial("tcp4", "[::1%lo]:80")
    with net.listen_packet("udp4", "127.0.0.1:0") as p, pytest.raises(ValueError, match="no numeric address"):
        p.write_to(b"x", ("127.0.0.1%lo", 80))


@needs_ipv6
def test_lookups():
    assert net.lookup_host("::1%lo") == ["::1%lo"]
    with pytest.raises((OSError, ValueError)):
        net.lookup_addr("fe80::1%no-such-if")
