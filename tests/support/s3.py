"""A real S3 server for tests: versitygw, built once by the Go toolchain into the user's cache; skipped without one."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSION = "v1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "versitygw" / VERSION
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


def binary() -> Path:
    """The server's binary, built when it is not there yet (some two minutes). Skips the test where it cannot be had."""
    built = CACHE / "versitygw"
    if built.exists():
        return built
    if shutil.which("go") is None:
        pytest.skip("no Go toolchain to build an S3 server with")
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(CACHE), "GOFLAGS": "-mod=mod"}
    result = subprocess.run(
        ["go", "install", MODULE], env=environment, cwd=CACHE, capture_output=True, text=True, timeout=280, check=False
    )
    if result.returncode:
        pytest.skip(f"no S3 server: {result.stderr.strip().splitlines()[-1][:200]}")
    return built


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
    command = [str(binary()), "--port", f"127.0.0.1:{port}", "--quiet", *backend]
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
    pytest.skip("the S3 server does not start")
