"""Sessions of the library `requests` that connect to addresses which were checked.

A proxy that the environment names (HTTPS_PROXY) is connected to by its name, and looks up the others itself.
"""

import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from penstock.connectors.files.stores import addresses
from penstock.worker.certificates import Authorities

_BLOCK = 32 << 10
"""Bytes that are read from a connection at once."""
_TIMEOUT = 15.0


def checking(
    subject: str, look_up: addresses.LookUp = addresses.system, trust: Authorities | None = None
) -> requests.Session:
    """A session that trusts these authorities, or those of the system.

    Its requests raise InvalidSpec for a host with an address that is never connected to.
    """
    session = requests.Session()
    adapter = _Adapter(subject, look_up, trust)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _Adapter(HTTPAdapter):
    """What makes the connections of a session."""

    def __init__(self, subject: str, look_up: addresses.LookUp, trust: Authorities | None) -> None:
        self._subject, self._look_up, self._trust = subject, look_up, trust
        super().__init__()

    def init_poolmanager(self, *settings: Any, **named: Any) -> None:
        super().init_poolmanager(*settings, **named, blocksize=_BLOCK)
        self.poolmanager.pool_classes_by_scheme = _pools(self._subject, self._look_up)

    def send(self, request: requests.PreparedRequest, *settings: Any, **named: Any) -> requests.Response:
        host = urlsplit(request.url or "").hostname or ""
        if addresses.is_metadata(host):  # also where a proxy would connect to it
            raise addresses.never(self._subject, host, host)
        if self._trust is not None:  # REQUESTS_CA_BUNDLE in the environment would take the place of the session's own
            named["verify"] = str(self._trust.file)
        return super().send(request, *settings, **named)


def _pools(subject: str, look_up: addresses.LookUp) -> dict[str, type[HTTPConnectionPool]]:
    """The classes of connection pools by scheme, as urllib3 wants them."""

    def connected(connection: HTTPConnection) -> socket.socket:
        timeout = connection.timeout if isinstance(connection.timeout, int | float) else _TIMEOUT
        host = connection.host.strip("[]")
        try:
            return addresses.connected(host, connection.port, subject, timeout, look_up)
        except socket.gaierror as error:
            raise NameResolutionError(host, connection, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, "no answer in time") from error
        except OSError as error:
            raise NewConnectionError(connection, "no connection") from error

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}
