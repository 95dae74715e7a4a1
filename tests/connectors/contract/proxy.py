"""A TCP proxy between a worker and a server: it delays what it passes on, and cuts connections."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_BLOCK = 16_384


@dataclass
class Proxy:
    """What it does, which may be changed at any time."""

    port: int
    latency: float = 0.0
    """Seconds that each block waits, in both directions."""
    cut_after: int | None = None
    """Bytes from the server after which a connection that begins now is reset; None: never."""
    connections: int = 0
    cuts: int = 0


@contextmanager
def between(address: tuple[str, int]) -> Iterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 that passes everything on to `address`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening.getsockname()[1])
        listening.settimeout(0.1)
        stop = threading.Event()
        thread = threading.Thread(target=_accept, args=(proxy, listening, address, stop), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            stop.set()
            thread.join()


def _accept(proxy: Proxy, listening: socket.socket, address: tuple[str, int], stop: threading.Event) -> None:
    passing: list[tuple[threading.Thread, tuple[socket.socket, socket.socket]]] = []
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            client, _ = listening.accept()
            proxy.connections += 1
            if (server := _connected(address)) is None:
                _reset(client)
                continue
            thread = threading.Thread(target=_serve, args=(proxy, client, server), daemon=True)
            thread.start()
            passing.append((thread, (client, server)))
    for thread, both in passing:
        for each in both:
            _end(each)
        thread.join()


def _connected(address: tuple[str, int]) -> socket.socket | None:
    try:
        connection = socket.create_connection(address, timeout=10)
    except OSError:
        return None
    connection.settimeout(None)
    return connection


def _serve(proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
    """Pass on in both directions until both have ended."""
    client.settimeout(None)
    with client, server:
        upwards = threading.Thread(target=_pass_on, args=(proxy, client, server), daemon=True)
        upwards.start()
        _pass_on(proxy, server, client, proxy.cut_after)
        upwards.join()


def _pass_on(proxy: Proxy, source: socket.socket, target: socket.socket, most: int | None = None) -> None:
    """Pass on what comes from `source`; after `most` bytes, reset the target."""
    passed = 0
    with contextlib.suppress(OSError):
        while block := source.recv(_BLOCK):
            time.sleep(proxy.latency)
            passed += len(block)
            if most is not None and passed > most:
                target.sendall(block[: len(block) - (passed - most)])
                proxy.cuts += 1
                _end(source)
                _reset(target)
                return
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
        return
    _end(source)
    _end(target)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """End it so that the other side sees a reset or at least an end that nobody announced."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    _end(connection)
    connection.close()
