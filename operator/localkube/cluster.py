"""One embedded cluster, running: API server, controllers and the node in one event loop, over one folder.

<folder>/cluster.db            every object (see store)
<folder>/ca.pem, server.pem    its own authority and certificate; with `token`, kept over restarts
<folder>/kubeconfig            how to enter; readable by nobody else
<folder>/node/                 Pods as folders, claims as folders (see podfolder)
"""

import asyncio
import fcntl
import os
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
import yaml
from aiohttp import web

from localkube import addresses, errors, podlogs
from localkube.apiclient import Access
from localkube.asked import Options
from localkube.controllers import Controllers
from localkube.objects import Json
from localkube.processes import Runner
from localkube.registry import CRDS, Registry
from localkube.server import Server
from localkube.store import Store
from localkube.writes import Writer

_PRIVATE = (
    "cluster.db",
    "cluster.db-wal",
    "cluster.db-shm",
    "lock",
    "port",
    "token",
    "ca.pem",
    "server.pem",
    "kubeconfig",
)
_BY = Options("penstock-embedded", validation="Strict", force=True)


@dataclass(frozen=True)
class Cluster:
    """A running cluster: where it is, and the kubeconfig that opens it."""

    url: str
    kubeconfig: Path


@asynccontextmanager
async def running(
    folder: Path,
    *,
    worker_image: str,
    port: int = 0,
    volumes: Mapping[tuple[str, str], Path] | None = None,
    crds: Path | None = None,
    backoff: float = 10.0,
) -> AsyncIterator[Cluster]:
    """Run the cluster of `folder`, new or as it was left; everything it started has ended on exit.

    `port` 0: the one it had before if free, else any. `volumes`: (namespace, claim) -> folder. `crds`: a folder of
    CustomResourceDefinitions to apply first. `backoff`: seconds before a Job's second attempt. RuntimeError when the
    folder's cluster is already running.
    """
    with _sole_owner(folder), _opened(folder) as writer:
        _furnish(writer, crds)
        token = _kept(folder / "token", lambda: secrets.token_urlsafe(32))
        context, ca = _tls(folder)
        logs = _Logs()
        async with _listening(Server(writer, token, logs), folder, port, context) as url:
            access = Access(url, token, ca)
            kubeconfig = _kubeconfig(folder / "kubeconfig", access)
            logs.node = Runner(access, folder / "node", worker_image, volumes)
            async with asyncio.TaskGroup() as tasks:  # a controller or node that fails is not missed
                controllers = tasks.create_task(Controllers(writer, backoff).run())
                node = tasks.create_task(logs.node.run())
                try:
                    yield Cluster(url, kubeconfig)
                finally:
                    node.cancel()
                    await asyncio.wait({node})
                    controllers.cancel()


@contextmanager
def _sole_owner(folder: Path) -> Iterator[None]:
    _make_private(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"the cluster in {folder} is already running") from None
        yield


def _make_private(folder: Path) -> None:
    """Make the folder and what this module keeps in it readable by its user alone, also what an earlier start made."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    # SQLite gives its other files the mode of the database.
    for name in ("cluster.db", "lock"):
        os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    for path in (folder / name for name in _PRIVATE):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
    if (folder / "node").is_dir():
        (folder / "node").chmod(0o700)


@contextmanager
def _opened(folder: Path) -> Iterator[Writer]:
    store = Store(folder / "cluster.db")
    try:
        yield Writer(store, Registry(store))
    finally:
        store.close()


def _furnish(writer: Writer, crds: Path | None) -> None:
    """The namespaces every cluster has, and the CRDs."""
    for name in ("default", "kube-system"):
        if writer.store.get(("namespaces", "", name)) is None:
            writer.create(writer.registry.named("namespaces"), "", {"metadata": {"name": name}}, _BY)
    for file in sorted(crds.glob("*.yaml")) if crds else []:
        for document in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if document:
                _apply(writer, document)


def _apply(writer: Writer, definition: Json) -> None:
    key = ("", definition["metadata"]["name"])
    if definition.get("kind") != "CustomResourceDefinition":
        raise RuntimeError(f"{key[1]}: not a CustomResourceDefinition")
    try:
        writer.patch(writer.registry.named(CRDS), key, "apply-patch+yaml", definition, _BY)
    except errors.Refused as refused:
        raise RuntimeError(f"CRD {key[1]}: {refused}") from None


def _kept(path: Path, make: Callable[[], str]) -> str:
    """A secret of this cluster: made once, readable by its user only."""
    if not path.exists():
        _write_private(path, make())
    return path.read_text()


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _tls(folder: Path) -> tuple[ssl.SSLContext, str]:
    """The server's context and its authority's certificate, the same for the life of the folder."""
    ca, server = folder / "ca.pem", folder / "server.pem"
    if not server.exists():
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
        _write_private(ca, authority.cert_pem.bytes().decode())
        _write_private(server, issued.private_key_pem.bytes().decode() + chain)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server)
    return context, ca.read_text()


def _kubeconfig(path: Path, access: Access) -> Path:
    cluster = {"server": access.server, "certificate-authority": str(path.parent.resolve() / "ca.pem")}
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "penstock", "cluster": cluster}],
        "users": [{"name": "penstock", "user": {"token": access.token}}],
        "contexts": [{"name": "penstock", "context": {"cluster": "penstock", "user": "penstock"}}],
        "current-context": "penstock",
    }
    _write_private(path, yaml.safe_dump(text))
    return path


@asynccontextmanager
async def _listening(server: Server, folder: Path, port: int, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Serve on loopback; yields the URL."""
    runner = web.AppRunner(server.app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    bound = _socket(folder / "port", port)
    await web.SockSite(runner, bound, ssl_context=context).start()
    try:
        yield f"https://{addresses.HOST}:{bound.getsockname()[1]}"
    finally:
        await runner.cleanup()


def _socket(kept: Path, port: int) -> socket.socket:
    """Bound to `port`; if that is 0, to the one it had before where that is free, else to a new one."""
    try:
        bound = addresses.listening(port or int(kept.read_text()))
    except OSError:
        if port:
            raise
        bound = addresses.listening_anew()
    _write_private(kept, str(bound.getsockname()[1]))
    return bound


class _Logs:
    """Pod logs for the server, straight from the node: no kubelet port to guard."""

    node: Runner

    async def __call__(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        if refused := podlogs.unsupported(query):
            raise errors.bad_request(refused)
        folder = self.node.started(namespace, pod)
        if folder is None:
            raise errors.bad_request(f'container in pod "{pod}" is waiting to start: ContainerCreating')
        return podlogs.read_log(folder, query)
