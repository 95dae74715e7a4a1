"""The probes: alive from the first moment, ready when it is told, and blind when nothing is heard."""

import asyncio

import aiohttp

from penstock.control import probes
from penstock.control.probes import Health
from support.controlplane import free_port


async def _asked(health: Health) -> dict[str, tuple[int, str]]:
    port = free_port()
    found = {}
    async with probes.served(health, f"127.0.0.1:{port}"), aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                found[path] = (answer.status, (await answer.text()).strip())
                assert answer.headers["Connection"] == "close"
    return found


def test_it_is_alive_at_once_and_ready_when_it_says_so() -> None:
    health = Health()
    alive = (200, "heard from the API server 0 s ago")
    assert asyncio.run(_asked(health)) == {"/healthz": alive, "/readyz": (503, "starts")}
    health.tell("acts", ready=True)
    assert asyncio.run(_asked(health)) == {"/healthz": alive, "/readyz": (200, "acts")}


def test_it_is_dead_when_it_has_heard_nothing_for_long() -> None:
    health = Health(silence=lambda: probes.BLIND_SECONDS + 1)
    assert asyncio.run(_asked(health))["/healthz"] == (503, "heard from the API server 601 s ago")


def test_nothing_is_served_without_an_address() -> None:
    async def run() -> None:
        async with probes.served(Health(), None):
            pass

    asyncio.run(run())
