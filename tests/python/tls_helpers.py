"""Contexts of test certificates, and connections with TLS."""

import contextlib
import pathlib
import ssl

from helpers import T
from ramet import go, net

CERTS = pathlib.Path(__file__).parent / "certs"


def server_context(name="localhost", **options):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(CERTS / f"{name}.pem")
    for key, value in options.items():
        setattr(ctx, key, value)
    return ctx


def client_context(**options):
    ctx = ssl.create_default_context(cafile=CERTS / "ca.pem")
    for key, value in options.items():
        setattr(ctx, key, value)
    return ctx


@contextlib.contextmanager
def connected(server=None, client=None, **dial):
    """Both ends of a connection; the client's has made its handshake, the server's is being driven by a reader."""
    with net.listen("tcp", "127.0.0.1:0", tls=server or server_context()) as listener:
        accepted = go(lambda: (conn := listener.accept(T), conn.handshake(T))[0])
        a = net.dial("tcp", listener.addr, timeout=T, tls=client or client_context(), **dial)
        b = accepted.join(T)
    with a, b:
        yield a, b
