"""A relay in front of a test server: connections that are slow, connections that are cut, requests that are counted."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_METHODS = (b"GET", b"PUT", b"POST", b"HEAD", b"DELETE")


@dataclass
class Relay:
    """Where the relay listens, and what it does to the bytes that the server sends. Settings may change meanwhile."""

    port: int
    delay: float = 0.0
    """Seconds before each piece that the server sends is handed on."""
    cut_after: int | None = None
    """Bytes of the server, over all connections, after which each connection is closed."""
    round_trip: float = 0.0
    """Seconds before each HTTP request is handed on."""
    requests: list[str] = field(default_factory=list)
    """The first line of each HTTP request."""
    sent: int = 0
    """Bytes of the server that were handed on since `cut_after` was set."""

    ends: list[socket.socket] = field(default_factory=list)

    def cut(self, after: int | None) -> None:
        """Close connections after so many more bytes; None: no more."""
        self.sent, self.cut_after = 0, after


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to that port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        state = Relay(listening.getsockname()[1])
        threading.Thread(target=_accept, args=(listening, port, state), daemon=True).start()
        yield state
        listening.shutdown(socket.SHUT_RDWR)
    for end in state.ends:
        _close(end)


def _accept(listening: socket.socket, port: int, state: Relay) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        state.ends += [client, server]
        threading.Thread(target=_copy, args=(client, server, _Requests(state)), daemon=True).start()
        threading.Thread(target=_copy, args=(server, client, _Answers(state)), daemon=True).start()


class _Requests:
    """What clients send. A piece that begins with a method is a request: none is sent before the last is answered."""

    def __init__(self, state: Relay) -> None:
        self._state = state

    def passes(self, block: bytes) -> bool:
        if block.partition(b" ")[0] in _METHODS:
            self._state.requests.append(block.partition(b"\r\n")[0].decode())
            time.sleep(self._state.round_trip)
        return True


class _Answers:
    """What the server sends."""

    def __init__(self, state: Relay) -> None:
        self._state = state

    def passes(self, block: bytes) -> bool:
        state = self._state
        time.sleep(state.delay)
        state.sent += len(block)
        return state.cut_after is None or state.sent <= state.cut_after


def _copy(source: socket.socket, target: socket.socket, pieces: _Requests | _Answers) -> None:
    with suppress(OSError):
        while (block := source.recv(1 << 16)) and pieces.passes(block):
            target.sendall(block)
    _close(source)
    _close(target)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
