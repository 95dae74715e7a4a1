"""A real S3 server for tests: versitygw, built once by the Go toolchain into the user's cache; skipped without one."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import controlplane, gobuild
from support.controlplane import LOOPBACK, Place, free_port

MODULE = Path(__file__).parent.parent / "s3"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
ACCESS, SECRET = "penstock-tests", "penstock-tests-secret"


@dataclass(frozen=True)
class Server:
    """A running server whose buckets are the folders of `folder`."""

    endpoint: str
    port: int
    folder: Path

    def user(self, access: str, secret: str) -> None:
        """A user who may use all buckets; or another secret key for one who is there."""
        try:
            self._administer("create-user", "--access", access, "--secret", secret, "--role", "admin")
        except subprocess.CalledProcessError:
            self._administer("update-user", "--access", access, "--secret", secret)

    def _administer(self, *command: str) -> None:
        identity = ["--access", ACCESS, "--secret", SECRET, "--endpoint-url", self.endpoint]
        subprocess.run([str(_program()), "admin", *identity, *command], check=True, capture_output=True, timeout=30)

    def bucket(self, name: str) -> Path:
        """A bucket, as the folder that holds its objects."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path


@contextmanager
def serve(folder: Path, place: Place = LOOPBACK, *, secret: str = SECRET, port: int | None = None) -> Iterator[Server]:
    """Serve the folder's sub-folders as buckets, by default on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": secret}
    sidecar = folder.with_name("metadata")  # etags: not every file system of a test has xattrs
    sidecar.mkdir(exist_ok=True)
    backend = ["posix", "--sidecar", str(sidecar), str(folder)]
    users = folder.with_name("users")
    users.mkdir(exist_ok=True)
    identities = ["--iam-dir", str(users), "--iam-cache-disable"]
    command = [*place.enter, str(_program()), "--port", f"{place.address}:{port}", "--quiet", *identities, *backend]
    with controlplane.process(folder.parent, "s3", *command, env=keys) as process:
        _await((place.address, port), process)
        yield Server(f"http://{place.address}:{port}", port, folder)


def _await(address: tuple[str, int], process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the S3 server does not start")


def program() -> Path:
    """The server, built when it is not there yet (some two minutes). Raises `gobuild.Missing`."""
    return gobuild.binary(MODULE, PACKAGE, "versitygw")


def _program() -> Path:
    """The server; skips the test where it cannot be had."""
    try:
        return program()
    except gobuild.Missing as missing:
        pytest.skip(f"no S3 server: {missing}")
