"""TLS before a server that has none of its own: PostgreSQL's, as PgBouncer gives it, or one of HTTP."""

import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest"""


@dataclass
class Front:
    """A front on 127.0.0.1. `encrypted` says of each connection that came to the server whether it was encrypted."""

    port: int = 0
    encrypted: list[bool] = field(default_factory=list)


@contextmanager
def serving(server: int, context: ssl.SSLContext) -> Iterator[Front]:
    """A front of the server at a port of 127.0.0.1."""
    front = Front()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            client: socket.socket = self.request
            first = client.recv(8)
            secure = first == _SSL_REQUEST
            if secure:
                client.sendall(b"S")
                try:
                    client = context.wrap_socket(client, server_side=True)
                except OSError:  # the client does not accept the certificate
                    return
                first = b""
            elif not first:
                return
            front.encrypted.append(secure)
            with client, socket.create_connection(("127.0.0.1", server)) as upstream:
                upstream.sendall(first)
                with suppress(OSError):
                    _relay(client, upstream)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        front.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield front
        listening.shutdown()
        thread.join()


@contextmanager
def https(server: int, context: ssl.SSLContext) -> Iterator[int]:
    """A front of a server of HTTP, whose connections begin with TLS; its port at 127.0.0.1."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the client does not accept the certificate, or has gone
                client = context.wrap_socket(self.request, server_side=True)
                with client, socket.create_connection(("127.0.0.1", server)) as upstream:
                    _relay(client, upstream)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join()


def _relay(client: socket.socket, upstream: socket.socket) -> None:
    """Copy both ways until one side ends. In one thread: a TLS connection must not be read and written by two."""
    while True:
        waiting = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if waiting else select.select([client, upstream], [], [])[0]
        for source, target in ((client, upstream), (upstream, client)):
            if source in ready:
                block = source.recv(65_536)
                if not block:
                    return
                target.sendall(block)
