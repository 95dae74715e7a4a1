"""Files in S3, Google Cloud Storage and Azure Blob Storage: one server each for all tests of a process."""

import atexit
import itertools
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Self

from connectors.contract.adapters import Fault
from connectors.systems.files import Files, no_file
from support import azure, gcs, s3

_numbers = itertools.count()
FIRST, SECOND = "first-tests-secret-5b1d", "second-tests-secret-77aa"


class _Store(Files):
    """A bucket or container with the files in its folder `in/`, reached at the endpoint of a server."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bucket = f"contract{next(_numbers)}"

    def set_place(self, scheme: str, endpoint: str) -> None:
        """Say where the files are."""
        self.connector = {"url": f"{scheme}://{self.bucket}/in/", "endpointUrl": endpoint, "format": {"csv": {}}}

    @property
    def address(self) -> tuple[str, int]:
        endpoint = urllib.parse.urlsplit(self.connector["endpointUrl"])
        assert endpoint.hostname is not None
        assert endpoint.port is not None
        return endpoint.hostname, endpoint.port

    def reach_through(self, host: str, port: int) -> None:
        endpoint = urllib.parse.urlsplit(self.connector["endpointUrl"])
        self.connector["endpointUrl"] = endpoint._replace(netloc=f"{host}:{port}").geturl()


def _for_all(serve: Callable[[Path], AbstractContextManager[object]]) -> object:
    """A server that ends with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(TemporaryDirectory(prefix="penstock-store-", ignore_cleanup_errors=True))
    return stack.enter_context(serve(Path(folder) / "server"))


@cache
def _s3() -> s3.Server:
    server = _for_all(s3.serve)
    assert isinstance(server, s3.Server)
    return server


@cache
def gcs_server() -> gcs.Server:
    """The server of Google's protocol, which ends with the process."""
    server = _for_all(gcs.serve)
    assert isinstance(server, gcs.Server)
    return server


@cache
def _azure() -> azure.Server:
    server = _for_all(azure.serve)
    assert isinstance(server, azure.Server)
    return server


class S3(_Store):
    name = "files-s3"
    public: ClassVar = ("access_key_id",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.server = _s3()
        self.folder = self.server.bucket(self.bucket) / "in"
        self.folder.mkdir()
        self.user = f"user-{self.bucket}"
        self.server.user(self.user, FIRST)
        self.set_place("s3", self.server.endpoint)
        self.auth = {"aws": {"secretRef": {"name": "keys"}}}
        self.secrets = {"keys": {"access_key_id": self.user, "secret_access_key": FIRST}}

    def rotate(self) -> dict[str, dict[str, str]]:
        self.server.user(self.user, SECOND)
        return {"keys": {"access_key_id": self.user, "secret_access_key": SECOND}}

    def write(self, name: str, content: bytes) -> None:
        """The server makes an object of each file, and no version of it: the time tells."""
        new = self.folder.parent / f".{name}"
        new.write_bytes(content)
        new.replace(self.folder / name)

    def names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()


class Gcs(_Store):
    name = "files-gcs"
    gate: gcs.Gate

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.server = gcs_server()
        self.server.bucket(self.bucket)
        self.auth = {"googleServiceAccount": {"secretRef": {"name": "account"}}}

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        adapter = cls(root)
        with gcs.gate(adapter.server) as adapter.gate:
            adapter.gate.key_id = "first"
            adapter.set_place("gs", adapter.gate.endpoint)
            adapter.secrets = {"account": {"key.json": adapter.gate.key(private_key_id="first")}}
            yield adapter

    def rotate(self) -> dict[str, dict[str, str]]:
        self.gate.key_id = "second"
        return {"account": {"key.json": self.gate.key(private_key_id="second")}}

    def write(self, name: str, content: bytes) -> None:
        self.server.put(self.bucket, f"in/{name}", content)

    def names(self) -> list[str]:
        return [key.removeprefix("in/") for key in self.server.names(self.bucket)]

    def remove(self, name: str) -> None:
        self.server.remove(self.bucket, f"in/{name}")


class Azure(_Store):
    name = "files-azure"
    public: ClassVar = ("account_name",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.server = _azure()
        self.server.container(self.bucket)
        self.set_place("az", self.server.endpoint)
        self.auth = {"azure": {"secretRef": {"name": "account"}}}
        self.secrets = self._access("first")

    def _access(self, policy: str) -> dict[str, dict[str, str]]:
        return {"account": {"account_name": azure.ACCOUNT, "sas_token": self.server.reader(self.bucket, policy)}}

    def rotate(self) -> dict[str, dict[str, str]]:
        return self._access("second")

    def write(self, name: str, content: bytes) -> None:
        self.server.put(self.bucket, f"in/{name}", content)

    def names(self) -> list[str]:
        return [name.removeprefix("in/") for name in self.server.names(self.bucket)]

    def remove(self, name: str) -> None:
        self.server.remove(self.bucket, f"in/{name}")


def _wrong(secret: str, key: str, value: str) -> Callable[[_Store], None]:
    def bring_about(adapter: _Store) -> None:
        adapter.secrets[secret][key] = value

    return bring_about


def _lacking(secret: str, key: str) -> Callable[[_Store], None]:
    """An empty key of a Secret is like one that is missing."""
    return _wrong(secret, key, "")


def _no_secret(adapter: _Store) -> None:
    assert adapter.auth is not None
    [(_, member)] = adapter.auth.items()
    member["secretRef"] = {"name": "nobody"}


def _no_bucket(adapter: _Store) -> None:
    adapter.connector["url"] = adapter.connector["url"].replace(adapter.bucket, "no-such-bucket")


def _no_server(adapter: _Store) -> None:
    adapter.reach_through("127.0.0.1", 9)


def _unknown_host(adapter: _Store) -> None:
    adapter.reach_through("nowhere.invalid", 80)


_FAULTS = (
    Fault("no such Secret", "SecretMissing", _no_secret),
    Fault("nothing listens", "Unreachable", _no_server),
    Fault("no such host", "Unreachable", _unknown_host),
    Fault("no file", "ResourceNotFound", no_file, fails_runs=False),
)
_NO_BUCKET = Fault("no such bucket", "ResourceNotFound", _no_bucket)
S3.faults = (
    *_FAULTS,
    _NO_BUCKET,
    Fault("wrong key", "WrongCredentials", _wrong("keys", "secret_access_key", "wrong-tests-secret")),
    Fault("unknown user", "WrongCredentials", _wrong("keys", "access_key_id", "nobody-here")),
    Fault("a key is missing", "SecretMissing", _lacking("keys", "secret_access_key")),
)
Gcs.faults = (
    *_FAULTS,
    _NO_BUCKET,
    Fault("revoked key", "WrongCredentials", lambda adapter: setattr(adapter.gate, "key_id", "second")),
    Fault("no key", "WrongCredentials", _wrong("account", "key.json", '{"private_key": "wrong-tests-secret"}')),
    Fault("a key is missing", "SecretMissing", _lacking("account", "key.json")),
    Fault("no permission", "WrongCredentials", lambda adapter: setattr(adapter.gate, "denied", ("GET",))),
)
Azure.faults = (
    *_FAULTS,
    Fault("no such bucket", "WrongCredentials", _no_bucket),  # a signature is for one container
    Fault("revoked signature", "WrongCredentials", lambda adapter: adapter.rotate()),
    Fault("a key is missing", "SecretMissing", _lacking("account", "sas_token")),
)

SOURCES = (S3, Gcs, Azure)
