"""Our local node for a real control plane, which asks more of one than ours does: a Node object, and logs over HTTPS.

python tests/support/localnode.py --kubeconfig F --root DIR --image NAME
"""

import argparse
import asyncio
import base64
import contextlib
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import trustme
import yaml
from aiohttp import web

from localkube import objects, podlogs
from localkube.apiclient import MERGE, Access, ApiError, Client
from localkube.processes import NODE, Runner

_HEARTBEAT = 10.0  # seconds; a real node-lifecycle controller gives up on a node after 40
_RETRY = 1.0
_NODE_INFO = [  # required, all of them; a local process has none worth telling
    *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion"),
    *("kubeletVersion", "machineID", "operatingSystem", "osImage", "systemUUID"),
]


def command(kubeconfig: Path, root: Path, image: str) -> list[str]:
    """What starts it as a process of its own."""
    options = ["--kubeconfig", str(kubeconfig), "--root", str(root), "--image", image]
    return [sys.executable, str(Path(__file__).resolve()), *options]


def access(kubeconfig: Path) -> Access:
    """The current context of a kubeconfig with a bearer token (client certificates are not read)."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    authority = None
    if data := cluster.get("certificate-authority-data"):
        authority = base64.b64decode(data).decode()
    elif file := cluster.get("certificate-authority"):
        authority = (kubeconfig.parent / file).read_text()
    return Access(cluster["server"].rstrip("/"), user["token"], authority)


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


@asynccontextmanager
async def _serving_logs(runner: Runner) -> AsyncIterator[int]:
    """Serve /containerLogs/ on a free loopback port, self-signed and to anyone there; yields the port."""

    async def logs(request: web.Request) -> web.StreamResponse:
        folder = runner.started(request.match_info["namespace"], request.match_info["pod"])
        if folder is None:
            raise web.HTTPBadRequest(text=f'container in pod "{request.match_info["pod"]}" is waiting to start')
        if refused := podlogs.unsupported(request.query):
            raise web.HTTPBadRequest(text=refused)
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        async for chunk in podlogs.read_log(folder, request.query):
            await answer.write(chunk)
        return answer

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = web.AppRunner(app, handler_cancellation=True)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0, ssl_context=context, shutdown_timeout=0.5).start()
    try:
        yield server.addresses[0][1]
    finally:
        await server.cleanup()


async def _be_a_node(entered: Access, port: int) -> None:
    """Create the Node object and keep it fresh."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "Pods run as processes"}
    async with Client(entered) as api:
        while True:
            status = {
                "conditions": [ready | {"lastHeartbeatTime": objects.now()}],
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                "nodeInfo": dict.fromkeys(_NODE_INFO, ""),
            }
            try:
                with contextlib.suppress(ApiError):  # it is there
                    await api.call("POST", "/api/v1/nodes", node)
                await api.call("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status}, MERGE)
            except (ApiError, aiohttp.ClientError, OSError):
                await asyncio.sleep(_RETRY)
            else:
                await asyncio.sleep(_HEARTBEAT)


async def _main(options: argparse.Namespace) -> None:
    entered = access(options.kubeconfig)
    runner = Runner(entered, options.root.resolve(), options.image)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    async with _serving_logs(runner) as port, asyncio.TaskGroup() as tasks:
        tasks.create_task(_be_a_node(entered, port))
        tasks.create_task(runner.run())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--image", required=True)
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
