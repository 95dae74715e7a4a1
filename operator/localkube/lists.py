"""Lists in pages, and watches: the same objects now and from now on."""

import asyncio
import base64
import random
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from localkube import asked, errors, matching, tables
from localkube.errors import Problem
from localkube.objects import Json
from localkube.registry import Resource
from localkube.store import Event, Store

_BOOKMARK = 55.0  # seconds; clients that hear nothing for a minute reconnect


def wants_table(request: web.Request) -> bool:
    """Whether the client prints the answer."""
    return "as=Table" in request.headers.get("Accept", "")


def _selector(query: Mapping[str, str], resource: Resource) -> matching.Matches:
    return matching.of(resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def page(query: Mapping[str, str], store: Store, resource: Resource, namespace: str) -> tuple[list[Json], Json]:
    """The items of a list request and the list's metadata; later pages are of the same version as the first."""
    matches, limit = _selector(query, resource), asked.number(query, "limit") or 0
    version, start = None, ("", "")
    _check_match(query)
    asked_for = asked.number(query, "resourceVersion")
    if token := query.get("continue"):
        version, start = _opened(token)
    elif query.get("resourceVersionMatch") == "Exact":
        version = asked_for
    everything = [item for item in store.select(resource.id, namespace, version) if _place(item) > start]
    items = [item for item in everything if matches(item)]
    version = store.version if version is None else version
    metadata: Json = {"resourceVersion": str(version)}
    if limit > 0 and len(items) >= limit and everything[-1] is not items[limit - 1]:  # what is left may not match
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
        metadata["continue"] = base64.urlsafe_b64encode(orjson.dumps([version, *_place(items[-1])])).decode()
    return items, metadata


def _check_match(query: Mapping[str, str]) -> None:
    match, path, problems = query.get("resourceVersionMatch", ""), "resourceVersionMatch", []
    if not match:
        return
    if not query.get("resourceVersion"):
        problems.append(Problem.forbidden(path, f"{path} is forbidden unless resourceVersion is provided"))
    if query.get("continue"):
        problems.append(Problem.forbidden(path, f"{path} is forbidden when continue is provided"))
    if match not in ("Exact", "NotOlderThan"):
        problems.append(Problem.unsupported(path, f'"{match}"', ("Exact", "NotOlderThan", "")))
    if match == "Exact" and query.get("resourceVersion") == "0":
        problems.append(Problem.forbidden(path, f'{path} "exact" is forbidden for resourceVersion "0"'))
    if problems:
        raise errors.invalid("ListOptions", "meta.k8s.io", "", problems)


def _place(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _opened(token: str) -> tuple[int, tuple[str, str]]:
    try:
        version, namespace, name = orjson.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    return version, (namespace, name)


class _Stream:
    """One client's watch: events as lines, or as one-row tables."""

    def __init__(self, request: web.Request, resource: Resource) -> None:
        self._resource, self._table = resource, wants_table(request)
        self._include = request.query.get("includeObject", "Metadata")
        self._headed = False
        self.response = web.StreamResponse(headers={"Content-Type": "application/json"})

    async def send(self, kind: str, item: Json) -> None:
        """One event; a table names its columns only the first time."""
        shown: Json = item
        if self._table and kind != "ERROR":
            metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
            shown = tables.table(self._resource, [] if kind == "BOOKMARK" else [item], metadata, self._include)
            if self._headed:
                shown["columnDefinitions"] = None
            self._headed = True
        await self.response.write(orjson.dumps({"type": kind, "object": shown}) + b"\n")

    async def bookmark(self, version: int, initial: bool = False) -> None:
        """How far the client has got, without anything having happened."""
        metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        kind = {"kind": self._resource.kind, "apiVersion": self._resource.api_version}
        await self.send("BOOKMARK", kind | {"metadata": metadata})


async def watch(request: web.Request, store: Store, resource: Resource, place: tuple[str, str]) -> web.StreamResponse:
    """Stream changes until the client leaves or `timeoutSeconds` (default 30 to 60 minutes) have passed."""
    query, (namespace, name) = request.query, place
    matches = _selector(query, resource)
    stream, version = _Stream(request, resource), _version(query)
    await stream.response.prepare(request)
    loop = asyncio.get_running_loop()
    until = loop.time() + (asked.number(query, "timeoutSeconds") or random.uniform(1800, 3600))  # noqa: S311 - spreads load
    try:
        if version is None:
            version = store.version
            for item in store.select(resource.id, namespace):
                if matches(item) and name in ("", item["metadata"]["name"]):
                    await stream.send("ADDED", item)
            if query.get("sendInitialEvents") == "true":
                await stream.bookmark(version, initial=True)
        bookmarks = query.get("allowWatchBookmarks") == "true"
        while (left := until - loop.time()) > 0:
            for event in store.since(resource.id, version):
                version = event.version
                translated = _translated(event, matches, place)
                if translated:
                    await stream.send(*translated)
            quiet = not await store.changed(resource.id, version, min(left, _BOOKMARK))
            if quiet and bookmarks and not store.since(resource.id, version):
                version = store.version
                await stream.bookmark(version)
    except errors.Refused as refused:
        await stream.send("ERROR", refused.status())
    return stream.response


def _version(query: Mapping[str, str]) -> int | None:
    """The version to go on from; None: begin with all there is."""
    given = query.get("resourceVersion", "")
    if query.get("sendInitialEvents") == "true" or given in ("", "0"):
        return None
    if not given.isdigit():
        raise errors.bad_request(f'invalid resource version "{given}"')
    return int(given)


def _translated(event: Event, matches: matching.Matches, place: tuple[str, str]) -> tuple[str, Any] | None:
    """What a change means to somebody who sees only what the selector matches."""
    namespace, name = place
    if namespace not in ("", event.key[1]) or name not in ("", event.key[2]):
        return None
    before = event.old is not None and matches(event.old)
    after = event.kind != "DELETED" and matches(event.item)
    if before and after:
        return "MODIFIED", event.item
    if after:
        return "ADDED", event.item
    if not before or event.old is None:
        return None
    metadata = event.old["metadata"] | {"resourceVersion": str(event.version)}
    return "DELETED", event.old | {"metadata": metadata}
