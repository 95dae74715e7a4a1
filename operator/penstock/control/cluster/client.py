"""The cluster over HTTP: the only importer of the `kubernetes` client, which carries login, TLS and connections."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from penstock.api import objects
from penstock.control.cluster.fence import Fence
from penstock.control.cluster.port import (
    RESOURCES,
    ClusterError,
    Conflict,
    Event,
    Listing,
    Manifest,
    NotFound,
    Ref,
    Unauthorized,
    Unavailable,
)

WATCH_SECONDS = 300
"""How long the server keeps a watch open; then we continue from where it ended."""

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 100
"""How many objects one answer of a list has: it is parsed at once, and each may have 64 KiB of status."""
_LOG_BYTES = 1 << 20
_UNAUTHORIZED = (
    "the API server does not accept our credentials (401 Unauthorized): the token or the client certificate has "
    "expired or was revoked. Log in again, or renew what the kubeconfig names"
)
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


RETRIES = 5
"""How often a request that the API server was too busy for is sent again, as often as it says when."""

RETRY_AFTER_LIMIT = 60.0
"""Seconds; the API server of Kubernetes says 1."""


class TokenBucket:
    """At most `rate` requests a second, with bursts of `burst`; protects the API server from us."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._at = burst, time.monotonic()
        self._resumes = 0.0

    async def take(self) -> None:
        """Wait for a token, and until the end of a pause."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)
        while (left := self._resumes - time.monotonic()) > 0:  # noqa: ASYNC110 - the pause may be prolonged meanwhile
            await asyncio.sleep(left)

    def pause(self, seconds: float) -> None:
        """Give out no token for so long: the API server has asked for it."""
        self._resumes = max(self._resumes, time.monotonic() + seconds)


class HttpCluster:
    """Implements `port.Cluster` against a Kubernetes API server."""

    def __init__(self, api: kubernetes_client.ApiClient, bucket: TokenBucket, fence: Fence) -> None:
        self._api = api
        self._bucket = bucket
        self._fence = fence
        self.calls: dict[str, int] = {}
        self.answers: Counter[tuple[str, str]] = Counter()
        """Requests by method and status code; the code is `none` where there was no answer."""
        """Requests made so far, by verb, for metrics and tests."""

    @property
    def login(self) -> dict[str, Any]:
        """Address and credentials, by the names that `kopf.ConnectionInfo` gives them: one login for both."""
        configuration = self._api.configuration
        # A kubeconfig's token is stored as "Bearer …", a Pod's as "bearer …".
        _, _, token = configuration.api_key.get("BearerToken", "").partition(" ")
        return {
            "server": configuration.host,
            "ca_path": configuration.ssl_ca_cert,
            "insecure": not configuration.verify_ssl,
            "token": token or None,
            "certificate_path": configuration.cert_file,
            "private_key_path": configuration.key_file,
        }

    async def served(self, api_version: str) -> frozenset[str]:
        try:
            listing = await self._object("GET", f"/apis/{api_version}")
        except NotFound:
            return frozenset()
        return frozenset(resource["name"] for resource in listing["resources"])

    async def list(self, kind: str, namespace: str | None, selector: str = "") -> Listing:
        items: list[Manifest] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        resource = RESOURCES[kind]
        while True:
            page = await self._object("GET", resource.path(namespace), query)
            items += [{"apiVersion": resource.api_version, "kind": kind, **item} for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return Listing(items, page["metadata"]["resourceVersion"])
            query["continue"] = token

    async def watch(self, kind: str, namespace: str | None, selector: str, version: str) -> AsyncIterator[Event]:
        query = {
            "labelSelector": selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        response = await self._send("GET", RESOURCES[kind].path(namespace), query, seconds=WATCH_SECONDS + 30)
        try:
            async for line in _lines(response):
                event = json.loads(line)
                yield Event(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:  # ValueError: cut off within a line
            raise _broken_off(error) from error
        finally:
            response.close()

    async def get(self, ref: Ref) -> Manifest:
        return await self._object("GET", ref.path)

    async def apply(self, manifest: Manifest) -> Manifest:
        query = {"fieldManager": objects.FIELD_MANAGER, "force": "true"}
        return await self._object("PATCH", Ref.of(manifest).path, query, body=manifest, content_type=_APPLY)

    async def create(self, manifest: Manifest) -> Manifest:
        path = RESOURCES[manifest["kind"]].path(manifest.get("metadata", {}).get("namespace"))
        return await self._object("POST", path, {"fieldManager": objects.FIELD_MANAGER}, body=manifest)

    async def patch(self, ref: Ref, patch: Manifest) -> Manifest:
        query = {"fieldManager": objects.FIELD_MANAGER}
        return await self._object("PATCH", ref.path, query, body=patch, content_type=_MERGE)

    async def patch_status(self, ref: Ref, patch: Manifest) -> Manifest:
        query = {"fieldManager": objects.FIELD_MANAGER}
        return await self._object("PATCH", f"{ref.path}/status", query, body=patch, content_type=_MERGE)

    async def delete(self, ref: Ref, uid: str) -> None:
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._object("DELETE", ref.path, body=options)
        except (NotFound, Conflict):  # a conflict says that another object has its name by now
            return

    async def log(self, namespace: str, pod: str, tail: int | None = None) -> str:
        query = {"container": "worker"}
        if tail is not None:
            query |= {"tailLines": str(tail), "limitBytes": str(_LOG_BYTES)}
        response = await self._send("GET", RESOURCES["Pod"].path(namespace, pod, "log"), query)
        return (await _whole(response)).decode(errors="replace")

    async def follow(self, namespace: str, pod: str) -> AsyncIterator[str]:
        """A Pod's log line by line, as it is written, until the container ends."""
        path = RESOURCES["Pod"].path(namespace, pod, "log")
        response = await self._send("GET", path, {"follow": "true"}, seconds=86_400)
        try:
            async for line in _lines(response):
                yield line.decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _broken_off(error) from error
        finally:
            response.close()

    async def _object(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        response = await self._send(method, path, query, body=body, content_type=content_type)
        answer: Manifest = json.loads(await _whole(response))
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        *,
        body: Manifest | None = None,
        content_type: str = "application/json",
        seconds: float = 60,
    ) -> aiohttp.ClientResponse:
        url = f"{self._api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        for attempt in range(RETRIES + 1):
            await self._bucket.take()
            # Directly before the request: the wait above may have been long.
            seconds = seconds if method == "GET" else min(seconds, self._fence.check())
            self.calls[method] = self.calls.get(method, 0) + 1
            try:
                response = await self._attempt(method, url, body, content_type, seconds)
            except Unavailable:
                self.answers[method, "none"] += 1
                raise
            self.answers[method, str(response.status)] += 1
            if response.status < 400:
                return response
            error = _error(response.status, await _whole(response), _retry_after(response))
            if error.retry_after is None or attempt == RETRIES:
                raise error
            self._bucket.pause(error.retry_after)
        raise AssertionError  # the last attempt returns or raises

    async def _attempt(
        self, method: str, url: str, body: Manifest | None, content_type: str, seconds: float
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type, **self._api.default_headers}
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], url, method, body)
        except (kubernetes_config.ConfigException, OSError) as error:
            raise Unavailable(0, "NoCredentials", f"there are no credentials for the API server: {error}") from error
        try:
            answer = await self._api.call_api(method, url, headers, body=body, _request_timeout=seconds)
        except TimeoutError as error:
            message = f"the API server did not answer within {seconds:.0f} s"
            raise Unavailable(0, "ConnectionFailed", message) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(0, "ConnectionFailed", f"the API server cannot be reached: {error}") from error
        response: aiohttp.ClientResponse = answer.response
        return response


@asynccontextmanager
async def connect(
    kubeconfig: Path | None = None,
    context: str | None = None,
    *,
    fence: Fence | None = None,
    rate: float = 200,
    burst: float = 400,
) -> AsyncIterator[HttpCluster]:
    """A cluster by kubeconfig (default: `$KUBECONFIG`, `~/.kube/config`), or from inside a Pod.

    `fence` decides about writes (default: none is refused). `rate` is in requests a second, `burst` in requests. Raises
    `kubernetes.aio.config.ConfigException` where there is no configuration at all.
    """
    configuration = kubernetes_client.Configuration()
    if kubeconfig is None and in_cluster():
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    else:
        file = str(kubeconfig) if kubeconfig else None
        await kubernetes_config.load_kube_config(file, context=context, client_configuration=configuration)
    async with kubernetes_client.ApiClient(configuration) as api:
        yield HttpCluster(api, TokenBucket(rate, burst), fence or Fence())


def namespace_of(kubeconfig: Path | None = None, context: str | None = None) -> str:
    """The namespace that the kubeconfig's context names, as kubectl takes it; `default` where it names none.

    In a Pod, and where no kubeconfig is given, it is the Pod's own.
    """
    if kubeconfig is None and in_cluster():
        return (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    file = str(kubeconfig) if kubeconfig else None
    contexts, active = kubernetes_config.list_kube_config_contexts(file)
    chosen = next((entry for entry in contexts if entry["name"] == context), active)
    return str(chosen["context"].get("namespace", "default"))


def in_cluster() -> bool:
    """Whether we run in a Pod with a ServiceAccount token."""
    return (_ACCOUNT / "token").exists()


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _broken_off(error) from error


def _broken_off(error: Exception) -> Unavailable:
    return Unavailable(0, "ConnectionLost", f"the API server broke off its answer: {error}")


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a stream, of any length: aiohttp's own `readline` refuses long ones."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """How many seconds the API server asks us to wait; None where it does not, or names a date, as it never does."""
    value = response.headers.get("Retry-After", "")
    if response.status not in (429, 503) or not value.isdecimal():
        return None
    return min(float(value), RETRY_AFTER_LIMIT)


def _error(status: int, body: bytes, retry_after: float | None = None) -> ClusterError:
    try:
        answer = json.loads(body)
        reason, message = answer.get("reason", ""), answer.get("message", "")
    except (ValueError, AttributeError):
        reason, message = "", body[:200].decode(errors="replace")
    if status == 401:
        return Unauthorized(status, reason, _UNAUTHORIZED)
    if status == 404:
        return NotFound(status, reason, message)
    if status == 409:
        return Conflict(status, reason, message)
    if status == 429 or status >= 500:
        return Unavailable(status, reason, message, retry_after)
    return ClusterError(status, reason, message)
