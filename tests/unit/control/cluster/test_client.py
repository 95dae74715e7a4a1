"""The client: what it hands to kopf."""

import asyncio
from typing import Any

import pytest
from kubernetes.aio import client as kubernetes_client

from penstock.control.cluster.client import HttpCluster, TokenBucket


async def _login(written: str) -> dict[str, Any]:
    configuration = kubernetes_client.Configuration(host="https://127.0.0.1", api_key={"BearerToken": written})
    async with kubernetes_client.ApiClient(configuration) as api:
        return HttpCluster(api, TokenBucket(1, 1)).login


@pytest.mark.parametrize("written", ["Bearer secret", "bearer secret"])
def test_a_token_is_handed_over_bare_however_its_source_writes_it(written: str) -> None:
    assert asyncio.run(_login(written))["token"] == "secret"
