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
    folder: Path

    def bucket(self, name: str) -> Path:
        """A bucket, as the folder that holds its objects."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path


@contextmanager
def serve(folder: Path, place: Place = LOOPBACK) -> Iterator[Server]:
    """Serve the folder's sub-folders as buckets on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    sidecar = folder.with_name("metadata")  # etags: not every file system of a test has xattrs
    sidecar.mkdir(exist_ok=True)
    backend = ["posix", "--sidecar", str(sidecar), str(folder)]
    command = [*place.enter, str(_program()), "--port", f"{place.address}:{port}", "--quiet", *backend]
    with controlplane.process(folder.parent, "s3", *command, env=keys) as process:
        _await((place.address, port), process)
        yield Server(f"http://{place.address}:{port}", folder)


def _await(address: tuple[str, int], process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the S3 server does not start")


def _program() -> Path:
    """The server, built when it is not there yet (some two minutes). Skips the test where it cannot be had."""
    try:
        return gobuild.binary(MODULE, PACKAGE, "versitygw")
    except gobuild.Missing as missing:
        pytest.skip(f"no S3 server: {missing}")
