"""The client: what it hands to kopf, answers that break off, a busy server, expired credentials, and the fence."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio import client as kubernetes_client

from penstock.control.cluster import client
from penstock.control.cluster.client import HttpCluster, TokenBucket
from penstock.control.cluster.fence import Fence, Fenced
from penstock.control.cluster.port import Ref, Unauthorized, Unavailable
from support.controlplane import free_port


async def _login(written: str) -> dict[str, Any]:
    configuration = kubernetes_client.Configuration(host="https://127.0.0.1", api_key={"BearerToken": written})
    async with kubernetes_client.ApiClient(configuration) as api:
        return HttpCluster(api, TokenBucket(1, 1), Fence()).login


@pytest.mark.parametrize("written", ["Bearer secret", "bearer secret"])
def test_a_token_is_handed_over_bare_however_its_source_writes_it(written: str) -> None:
    assert asyncio.run(_login(written))["token"] == "secret"


async def _broken_off(followed: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{port}")
        async with kubernetes_client.ApiClient(configuration) as api:
            cluster = HttpCluster(api, TokenBucket(9, 9), Fence())
            if followed:
                assert [line async for line in cluster.follow("default", "p")] == []
            else:
                await cluster.get(Ref("Pod", "default", "p"))


@pytest.mark.parametrize("followed", [True, False])
def test_a_server_that_goes_in_the_middle_of_its_answer_is_away(followed: bool) -> None:
    with pytest.raises(Unavailable, match="the API server broke off its answer"):
        asyncio.run(asyncio.wait_for(_broken_off(followed), 10))


POD = Ref("Pod", "default", "p")


class Server:
    """Gives its answers one after the other, the last one again and again; `requests` are the methods asked with."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.requests: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(request.split()[0].decode())
        writer.write(answer)
        writer.close()

    @asynccontextmanager
    async def client(self, fence: Fence | None = None, bucket: TokenBucket | None = None) -> AsyncIterator[HttpCluster]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with kubernetes_client.ApiClient(kubernetes_client.Configuration(host=host)) as api:
                yield HttpCluster(api, bucket or TokenBucket(99, 99), fence or Fence())


def _answer(status: str, *headers: str, body: str = '{"reason": "Because", "message": "no"}') -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


OK = _answer("200 OK", body="{}")
BUSY = _answer("429 Too Many Requests", "Retry-After: 1")


@pytest.mark.parametrize("busy", [BUSY, _answer("503 Service Unavailable", "Retry-After: 1")])
def test_a_busy_server_is_asked_again_when_it_says(busy: bytes) -> None:
    server = Server(busy, OK)

    async def ask() -> float:
        async with server.client() as cluster:
            began = time.monotonic()
            assert await cluster.get(POD) == {}
            return time.monotonic() - began

    assert asyncio.run(ask()) >= 1
    assert server.requests == ["GET", "GET"]


def test_what_a_busy_server_asks_for_holds_for_every_request() -> None:
    async def ask() -> float:
        async with Server(BUSY, OK).client() as cluster:
            first = asyncio.create_task(cluster.get(POD))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await asyncio.gather(first, cluster.get(POD))
            return time.monotonic() - began

    assert asyncio.run(ask()) >= 0.5


def test_a_server_that_stays_busy_is_not_asked_for_ever_and_says_when_to_try_again() -> None:
    server = Server(_answer("429 Too Many Requests", "Retry-After: 0"))

    async def ask() -> None:
        async with server.client() as cluster:
            await cluster.get(POD)

    with pytest.raises(Unavailable, match="no") as caught:
        asyncio.run(ask())
    assert caught.value.retry_after == 0
    assert len(server.requests) == client.RETRIES + 1


def test_a_fault_of_the_server_without_a_time_is_not_repeated() -> None:
    server = Server(_answer("500 Internal Server Error"))

    async def ask() -> None:
        async with server.client() as cluster:
            await cluster.get(POD)

    with pytest.raises(Unavailable):
        asyncio.run(ask())
    assert len(server.requests) == 1


def test_expired_credentials_are_called_so() -> None:
    async def ask() -> None:
        async with Server(_answer("401 Unauthorized")).client() as cluster:
            await cluster.get(POD)

    with pytest.raises(Unauthorized, match=r"does not accept our credentials \(401 Unauthorized\): the token or"):
        asyncio.run(ask())


def test_a_refused_connection_is_called_so() -> None:
    async def ask() -> None:
        configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{free_port()}")
        async with kubernetes_client.ApiClient(configuration) as api:
            await HttpCluster(api, TokenBucket(9, 9), Fence()).get(POD)

    with pytest.raises(Unavailable, match="the API server cannot be reached"):
        asyncio.run(ask())


def test_behind_a_closed_fence_it_reads_and_never_writes() -> None:
    fence, server = Fence(), Server(OK)
    fence.close()

    async def ask() -> None:
        manifest = {"kind": "Pod", "metadata": {"namespace": "default", "name": "p"}}
        async with server.client(fence) as cluster:
            await cluster.get(POD)
            for write in (
                cluster.create(manifest),
                cluster.apply(manifest),
                cluster.patch(POD, {}),
                cluster.patch_status(POD, {}),
                cluster.delete(POD, "uid"),
            ):
                with pytest.raises(Fenced):
                    await write

    asyncio.run(ask())
    assert server.requests == ["GET"]


class Withheld(TokenBucket):
    """Gives out a token once the test lets it."""

    def __init__(self) -> None:
        super().__init__(10, 1)
        self.asked, self.granted = asyncio.Event(), asyncio.Event()

    async def take(self) -> None:
        self.asked.set()
        await self.granted.wait()


def test_a_write_that_waits_for_its_turn_meets_a_fence_that_closed_meanwhile() -> None:
    fence, server, bucket = Fence(), Server(OK), Withheld()

    async def ask() -> None:
        async with server.client(fence, bucket) as cluster:
            bucket.granted.set()
            await cluster.get(POD)
            bucket.asked.clear()
            bucket.granted.clear()
            waiting = asyncio.create_task(cluster.patch(POD, {}))
            await bucket.asked.wait()
            fence.close()
            bucket.granted.set()
            with pytest.raises(Fenced):
                await waiting

    asyncio.run(ask())
    assert server.requests == ["GET"]
