"""The client: what it hands to kopf, and an answer that breaks off."""

import asyncio
from typing import Any

import pytest
from kubernetes.aio import client as kubernetes_client

from penstock.control.cluster.client import HttpCluster, TokenBucket
from penstock.control.cluster.port import Ref, Unavailable


async def _login(written: str) -> dict[str, Any]:
    configuration = kubernetes_client.Configuration(host="https://127.0.0.1", api_key={"BearerToken": written})
    async with kubernetes_client.ApiClient(configuration) as api:
        return HttpCluster(api, TokenBucket(1, 1)).login


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
            cluster = HttpCluster(api, TokenBucket(9, 9))
            if followed:
                assert [line async for line in cluster.follow("default", "p")] == []
            else:
                await cluster.get(Ref("Pod", "default", "p"))


@pytest.mark.parametrize("followed", [True, False])
def test_a_server_that_goes_in_the_middle_of_its_answer_is_away(followed: bool) -> None:
    with pytest.raises(Unavailable, match="the API server broke off its answer"):
        asyncio.run(asyncio.wait_for(_broken_off(followed), 10))
