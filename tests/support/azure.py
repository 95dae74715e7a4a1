"""An Azure Blob Storage for tests: azurite, installed once by npm into the user's cache; skipped without Node.js."""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import (
    AccessPolicy,
    AccountSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from support import controlplane, gobuild
from support.controlplane import LOOPBACK, Place, free_port

MODULE = Path(__file__).parent.parent / "azure"
INSTALL_SECONDS = 600
ACCOUNT, KEY = "teststore", "cGVuc3RvY2stdGVzdHMtYWNjb3VudC1rZXk="


@dataclass(frozen=True)
class Server:
    """A running server with one account."""

    endpoint: str
    port: int

    @property
    def connection_string(self) -> str:
        """As Azure shows it."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.endpoint};"

    def container(self, name: str) -> None:
        """Create a container."""
        with self._client() as client:
            client.create_container(name)

    def put(self, container: str, name: str, content: bytes, **metadata: str) -> None:
        """Create or replace a blob."""
        with self._client() as client:
            client.get_container_client(container).upload_blob(name, content, overwrite=True, metadata=metadata or None)

    def names(self, container: str) -> list[str]:
        """The names of all blobs of a container."""
        with self._client() as client:
            return [*client.get_container_client(container).list_blob_names()]

    def sas(self, permission: AccountSasPermissions, lasts: timedelta = timedelta(hours=1)) -> str:
        """A shared access signature with these permissions."""
        types = ResourceTypes(container=True, object=True)
        return generate_account_sas(ACCOUNT, KEY, types, permission, expiry=datetime.now(UTC) + lasts)

    def remove(self, container: str, name: str) -> None:
        """Remove a blob."""
        with self._client() as client:
            client.get_container_client(container).delete_blob(name)

    def reader(self, container: str, policy: str) -> str:
        """A shared access signature to list and read, by a policy of the container that replaces all others."""
        may = AccessPolicy(ContainerSasPermissions(read=True, list=True), datetime.now(UTC) + timedelta(hours=2))
        with self._client() as client:
            client.get_container_client(container).set_container_access_policy({policy: may})
        return generate_container_sas(ACCOUNT, container, KEY, policy_id=policy)

    def _client(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self.connection_string)


@contextmanager
def serve(folder: Path, place: Place = LOOPBACK) -> Iterator[Server]:
    """An empty server on a free port; `folder` is for its log."""
    folder.mkdir(parents=True, exist_ok=True)
    node, script = _program()
    port = free_port()
    options = ["--blobHost", place.address, "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck"]
    command = [*place.enter, node, str(script), *options, "--silent", "--disableTelemetry"]
    accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with controlplane.process(folder, "azurite", *command, env=accounts) as process:
        _await((place.address, port), process)
        yield Server(f"http://{place.address}:{port}/{ACCOUNT}", port)


def _await(address: tuple[str, int], process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("azurite does not start")


def _program() -> tuple[str, Path]:
    """Node.js, and azurite's script; skips the test where they cannot be had."""
    try:
        return program()
    except gobuild.Missing as missing:
        pytest.skip(f"no Azure server: {missing}")


def program() -> tuple[str, Path]:
    """Node.js, and azurite's script, installed when it is not there yet. Raises `gobuild.Missing`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise gobuild.Missing("Node.js with npm is not here")
    files = [MODULE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / f"azurite-{digest}"
    script = folder / "node_modules/azurite/dist/src/blob/main.js"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once would install the same
        if not (folder / "ready").exists():
            for path in files:
                shutil.copy(path, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
            except (subprocess.SubprocessError, OSError) as error:
                output = getattr(error, "stderr", b"")
                raise gobuild.Missing(f"npm does not install azurite: {output!r:.300}") from None
            (folder / "ready").touch()
    return node, script
