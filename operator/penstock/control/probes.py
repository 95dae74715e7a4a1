"""The probes of the operator's Pod, served from its first moment on: whatever it waits for, a restart would not help.

`/healthz` (liveness) fails when the operator hears nothing more from the API server. `/readyz` (readiness) fails until
it can do its work, and its body says in words how the operator stands.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

BLIND_SECONDS = 600
"""Nothing heard from the API server for so long, bookmarks included: the liveness probe fails."""


@dataclass
class Health:
    """How the operator stands."""

    told: str = "starts"
    ready: bool = False
    silence: Callable[[], float] = field(default=lambda: 0.0)
    """For how many seconds the API server has said nothing; 0 as long as nothing is watched."""

    def tell(self, told: str, *, ready: bool) -> None:
        """It stands thus now."""
        self.told, self.ready = told, ready


@asynccontextmanager
async def served(health: Health, address: str | None) -> AsyncIterator[None]:
    """Serve both probes at `address`, as [HOST]:PORT, for as long as the context is open; None: nowhere."""
    if address is None:
        yield
        return

    async def live(_: web.Request) -> web.Response:
        silence = health.silence()
        return _answer(f"heard from the API server {silence:.0f} s ago", good=silence <= BLIND_SECONDS)

    async def ready(_: web.Request) -> web.Response:
        return _answer(health.told, good=health.ready)

    host, _, port = address.rpartition(":")
    application = web.Application()
    application.add_routes([web.get("/healthz", live), web.get("/readyz", ready)])
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        yield
    finally:
        await runner.cleanup()


def _answer(text: str, *, good: bool) -> web.Response:
    response = web.Response(text=f"{text}\n", status=200 if good else 503)
    response.force_close()  # a connection that is kept is a task, and kopf waits 5 s for tasks that are not its own
    return response
