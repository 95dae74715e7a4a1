"""A real S3 server for tests: versitygw, built once by the Go toolchain into the user's cache; skipped without one."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import gobuild

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
def serve(folder: Path) -> Iterator[Server]:
    """Serve the folder's sub-folders as buckets on a loopback port."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    sidecar = folder.with_name("metadata")  # etags: not every file system of a test has xattrs
    sidecar.mkdir(exist_ok=True)
    backend = ["posix", "--sidecar", str(sidecar), str(folder)]
    command = [str(_program()), "--port", f"127.0.0.1:{port}", "--quiet", *backend]
    process = subprocess.Popen(
        command, env={**os.environ, **keys}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(port, process)
        yield Server(f"http://127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
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
