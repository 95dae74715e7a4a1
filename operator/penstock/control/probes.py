"""The probes of the operator's Pod and its metrics, served from its start in a thread of their own.

`/healthz` (liveness) fails when the operator receives nothing from the API server, or when its work loop does not run:
then a restart helps. `/readyz` (readiness) fails until the operator can do its work; its body says what it waits for.
`/metrics` is empty as long as another operator acts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from penstock.control import metrics, threads
from penstock.control.heartbeat import Heartbeat

BLIND_SECONDS = 600
"""Nothing received from the API server for so long, bookmarks included: the liveness probe fails."""

STUCK_SECONDS = 60
"""The work loop has not run for so long: the liveness probe fails."""

START_SECONDS = 10.0


@dataclass(frozen=True)
class State:
    """What the operator does, in words, and whether it is ready."""

    message: str
    ready: bool


@dataclass
class Health:
    """The health of the operator: the work loop and the thread of the Lease write it, that of the probes reads it."""

    state: State = State("starts", ready=False)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    silence: Callable[[], float] = field(default=lambda: 0.0)
    """For how many seconds the API server has sent nothing; 0 as long as nothing is watched."""
    metrics: Callable[[], bytes] = field(default=lambda: b"")
    """The metrics in the text format of Prometheus."""

    @property
    def message(self) -> str:
        """What the operator does."""
        return self.state.message

    @property
    def ready(self) -> bool:
        """Whether the operator is ready."""
        return self.state.ready

    def report(self, message: str, *, ready: bool) -> None:
        """The operator does this now."""
        self.state = State(message, ready)


@contextmanager
def served(health: Health, address: str | None) -> Iterator[None]:
    """Serve both probes at `address`, as [HOST]:PORT, as long as the context lasts; None: nowhere.

    Raises `OSError` where the address cannot be bound.
    """
    if address is None:
        yield
        return
    with threads.running("probes") as thread:
        runner = thread.submit(_start(health, address)).result(START_SECONDS)
        try:
            yield
        finally:
            thread.submit(runner.cleanup()).result(START_SECONDS)


async def _start(health: Health, address: str) -> web.AppRunner:
    async def live(_: web.Request) -> web.Response:
        return _liveness(health)

    async def ready(_: web.Request) -> web.Response:
        state = health.state
        return _answer(state.message, good=state.ready)

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=health.metrics(), headers={"Content-Type": metrics.CONTENT_TYPE})

    host, _, port = address.rpartition(":")
    application = web.Application()
    application.add_routes([web.get("/healthz", live), web.get("/readyz", ready), web.get("/metrics", measured)])
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def _liveness(health: Health) -> web.Response:
    silence, age = health.silence(), health.heartbeat.age
    if age > STUCK_SECONDS:
        return _answer(f"the work loop has not run for {age:.0f} s", good=False)
    beat = health.heartbeat
    longest = f"longest block of the work loop {beat.longest_block:.3f} s ({beat.longest_block_cpu:.3f} s of CPU)"
    return _answer(f"last message from the API server {silence:.0f} s ago; {longest}", good=silence <= BLIND_SECONDS)


def _answer(text: str, *, good: bool) -> web.Response:
    response = web.Response(text=f"{text}\n", status=200 if good else 503)
    response.force_close()
    return response
