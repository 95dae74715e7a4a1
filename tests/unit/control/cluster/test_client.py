"""The client: what it hands to kopf."""

import pytest
from kubernetes.aio import client as kubernetes_client

from penstock.control.cluster.client import HttpCluster, TokenBucket


@pytest.mark.parametrize("written", ["Bearer secret", "bearer secret"])
def test_a_token_is_handed_over_bare_however_its_source_writes_it(written: str) -> None:
    class Api:
        configuration = kubernetes_client.Configuration(host="https://127.0.0.1", api_key={"BearerToken": written})

    cluster = HttpCluster(Api(), TokenBucket(1, 1))
    assert cluster.login["token"] == "secret"
