"""The probes: alive from the start, ready when reported, dead when nothing is received or the work loop is blocked."""

import asyncio
import socket
import urllib.request

import aiohttp
import pytest

from penstock.control import probes
from penstock.control.heartbeat import Heartbeat
from penstock.control.probes import Health
from support.controlplane import free_port


async def _asked(health: Health) -> dict[str, tuple[int, str]]:
    port = free_port()
    answers = {}
    with probes.served(health, f"127.0.0.1:{port}"):
        async with aiohttp.ClientSession() as session:
            for path in ("/healthz", "/readyz"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    answers[path] = (answer.status, (await answer.text()).strip())
                    assert answer.headers["Connection"] == "close"
    return answers


ALIVE = (200, "last message from the API server 0 s ago; longest block of the work loop 0.000 s (0.000 s of CPU)")


def test_it_is_alive_at_once_and_ready_when_it_says_so() -> None:
    health = Health()
    assert asyncio.run(_asked(health)) == {"/healthz": ALIVE, "/readyz": (503, "starts")}
    health.report("acts", ready=True)
    assert asyncio.run(_asked(health)) == {"/healthz": ALIVE, "/readyz": (200, "acts")}


def test_it_is_dead_when_it_has_received_nothing_for_long() -> None:
    health = Health(silence=lambda: probes.BLIND_SECONDS + 1)
    status, message = asyncio.run(_asked(health))["/healthz"]
    assert (status, message.partition(";")[0]) == (503, "last message from the API server 601 s ago")


def test_it_is_dead_when_its_work_loop_stands_still() -> None:
    now = [0.0]
    health = Health(heartbeat=Heartbeat(lambda: now[0]))
    now[0] = probes.STUCK_SECONDS + 1.0
    assert asyncio.run(_asked(health))["/healthz"] == (503, "the work loop has not run for 61 s")


def test_the_probes_answer_while_the_work_loop_is_blocked() -> None:
    port = free_port()

    async def blocked() -> str:
        """The answer to a request made from another thread while this loop is blocked."""
        with (
            probes.served(Health(), f"127.0.0.1:{port}"),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer,  # noqa: ASYNC210 - it is to block
        ):
            return str(answer.read().decode())

    assert asyncio.run(blocked()).startswith("last message")


def test_an_address_that_is_taken_is_an_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="address already in use"),
        probes.served(Health(), f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pass


def test_nothing_is_served_without_an_address() -> None:
    with probes.served(Health(), None):
        pass
