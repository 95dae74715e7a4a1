"""The HTTP face: what is asked, by whom, answered as JSON. Everything that changes goes through `writes`."""

import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from localkube import asked, bodies, errors, lists, openapi, registry, tables
from localkube.asked import Deletion, Options
from localkube.errors import Refused
from localkube.objects import Json
from localkube.registry import Resource
from localkube.writes import Writer

VERSION = {"major": "1", "minor": "35", "gitVersion": "v1.35.4+penstock", "platform": "local/process"}
_NOT_HERE = {
    *(
        ("pods", name)
        for name in ("attach", "ephemeralcontainers", "eviction", "exec", "portforward", "proxy", "resize")
    ),
    *(("serviceaccounts", "token"), ("namespaces", "finalize")),
}
_PLAIN = {"/healthz": "ok", "/livez": "ok", "/readyz": "ok"}
_ORPHANED = [
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
    "or set propagationPolicy=Orphan to suppress this warning"
]
_log = logging.getLogger(__name__)
_LIMIT = 3 << 20  # bytes of a request, as the API server's

Logs = Callable[[str, str, Mapping[str, str]], Awaitable[AsyncIterator[bytes]]]
"""(namespace, Pod, query) -> its log, or Refused."""


@dataclass(frozen=True)
class _Target:
    """What a URL names."""

    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""


class Server:
    """One aiohttp application over one Writer."""

    def __init__(self, writer: Writer, token: str, logs: Logs) -> None:
        self._writer, self._token, self._logs = writer, token, logs
        self.app = web.Application(client_max_size=_LIMIT)
        self.app.router.add_route("*", "/{path:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        given, warnings = request.headers.get("Authorization", ""), list[str]()
        try:
            # A header of bytes that are no UTF-8 is a wrong token like any other.
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {self._token}".encode()):
                raise Refused(401, "Unauthorized", "Unauthorized")
            return self._about(request) or await self._serve(request, warnings)
        except Refused as refused:
            return _warned(_json(refused.status(), refused.code), warnings)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity too large: limit is {_LIMIT}"
            return _json(Refused(413, "RequestEntityTooLarge", text).status(), 413)
        except ConnectionError:
            return web.Response()  # to nobody: the client has left in the middle of a watch or a log
        except Exception as error:
            _log.exception("%s %s", request.method, request.path)
            return _json(Refused(500, "InternalError", f"Internal error occurred: {error!r}").status(), 500)

    # ── what describes the server itself ─────────────────────────────────────
    def _about(self, request: web.Request) -> web.Response | None:
        path = request.path.rstrip("/")
        if path in _PLAIN:
            return web.Response(text=_PLAIN[path])
        if path == "/openapi/v2":
            return web.Response(body=b"", content_type=openapi.V2_TYPE)
        if path.startswith("/openapi/v3/"):
            return _json(openapi.document(self._version_of(path.removeprefix("/openapi/v3"))))
        about = self._discovered(path) if path.count("/") <= 3 else None
        return None if about is None else _json(about)

    def _discovered(self, path: str) -> Json | None:
        resources = self._writer.registry
        groups = {r.group: _group(r) for r in resources if r.group}
        tops: dict[str, Json] = {
            "/version": VERSION,
            "/openapi/v3": openapi.index(resources) if path == "/openapi/v3" else {},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(groups.values())},
        } | {f"/apis/{name}": {"kind": "APIGroup", "apiVersion": "v1"} | group for name, group in groups.items()}
        if path in tops:
            return tops[path]
        if path != "/api/v1" and not (path.startswith("/apis/") and path.count("/") == 3):
            return None
        version = path.removeprefix("/apis/").removeprefix("/api/")
        entries = registry.discovery(self._version_of(path))
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": entries}

    def _version_of(self, path: str) -> list[Resource]:
        resources = [r for r in self._writer.registry if r.path == path]
        if not resources:
            raise errors.no_such_resource(path)
        return resources

    # ── objects ──────────────────────────────────────────────────────────────
    async def _serve(self, request: web.Request, warnings: list[str]) -> web.StreamResponse:
        """`warnings` are told also with a refusal."""
        target = self._target(request.path)
        if target.subresource == "log":
            return await self._log(request, target)
        if target.subresource == "binding" and request.method == "POST":
            return self._bind(target, bodies.decoded(request.content_type, await request.read()))
        if (target.resource.plural, target.subresource) in _NOT_HERE:
            raise errors.not_here(f"{target.resource.plural}/{target.subresource}")
        if target.subresource not in (("", "status") if target.resource.status else ("",)):
            raise errors.no_such_resource(request.path)
        if request.method == "GET":
            return await self._read(request, target)
        body = bodies.decoded(request.content_type, await request.read())
        if request.method == "DELETE":
            how = asked.deletion(request, {} if body is None else body)
            warnings += _ORPHANED if target.resource.id == "jobs.batch" and not how.propagation else ()
            return _warned(self._deleted(request, target, how), warnings)
        options = asked.options(request, target.subresource, warnings)
        answer, code = self._written(request, target, body, options)
        return _warned(self._shown(request, target, answer, code), warnings)

    def _target(self, path: str) -> _Target:
        parts = path.strip("/").split("/")
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" and len(parts) > 2 else ("", "", [])
        if parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and (rest[2] not in ("status", "finalize") or len(rest) > 3):
            namespace, rest = rest[1], rest[2:]
        resource = self._writer.registry.find(group, version, rest[0]) if rest else None
        if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
            raise errors.no_such_resource(path)
        return _Target(resource, namespace, *rest[1:])

    async def _read(self, request: web.Request, target: _Target) -> web.StreamResponse:
        if request.query.get("watch") in ("true", "1"):
            return await lists.watch(request, self._writer.store, target.resource, (target.namespace, target.name))
        if target.name:
            return self._shown(request, target, self._writer.get(target.resource, target.namespace, target.name))
        items, metadata = lists.page(request.query, self._writer.store, target.resource, target.namespace)
        if lists.wants_table(request):
            return _tabled(request, target, items, metadata)
        return _listed(target.resource, items, metadata)

    def _written(self, request: web.Request, target: _Target, body: Any, options: Options) -> tuple[Json, int]:
        writer, resource = self._writer, target.resource
        if request.method == "POST" and not target.name:
            if resource.namespaced and not target.namespace:
                raise _not_allowed()
            return writer.create(resource, target.namespace, body, options), 201
        key = (target.namespace, target.name)
        new = writer.store.get((resource.id, *key)) is None
        if request.method == "PUT" and target.name:
            return writer.update(resource, *key, body, options), 201 if new else 200
        if request.method == "PATCH" and target.name:
            kind = request.content_type.removeprefix("application/")
            return writer.patch(resource, key, kind, body, options), 201 if new else 200
        raise _not_allowed()

    def _deleted(self, request: web.Request, target: _Target, how: Deletion) -> web.Response:
        if target.name:
            item, gone = self._writer.delete(target.resource, target.namespace, target.name, how)
            if not gone or target.resource.id == "pods":
                return self._shown(request, target, item)
            details = errors.about(target.resource.id, target.name) | {"uid": item["metadata"]["uid"]}
            return _json(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
            )
        if target.resource.namespaced and not target.namespace:
            raise _not_allowed()
        items, metadata = lists.page(request.query, self._writer.store, target.resource, target.namespace)
        for item in items:
            self._writer.delete(target.resource, item["metadata"].get("namespace", ""), item["metadata"]["name"], how)
        return _listed(target.resource, items, metadata)

    def _bind(self, target: _Target, body: Json) -> web.Response:
        self._writer.bind(target.namespace, target.name, body["target"]["name"])
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    async def _log(self, request: web.Request, target: _Target) -> web.StreamResponse:
        self._writer.get(target.resource, target.namespace, target.name)
        chunks = await self._logs(target.namespace, target.name, request.query)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
        return response

    def _shown(self, request: web.Request, target: _Target, item: Json, code: int = 200) -> web.Response:
        if lists.wants_table(request):
            return _tabled(
                request, target, [item], {"resourceVersion": item["metadata"].get("resourceVersion", "")}, code
            )
        return _json(item, code)


def _tabled(request: web.Request, target: _Target, items: list[Json], metadata: Json, code: int = 200) -> web.Response:
    return _json(tables.table(target.resource, items, metadata, request.query.get("includeObject", "Metadata")), code)


def _group(resource: Resource) -> Json:
    version = {"groupVersion": resource.api_version, "version": resource.version}
    return {"name": resource.group, "versions": [version], "preferredVersion": version}


def _not_allowed() -> Refused:
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _listed(resource: Resource, items: list[Json], metadata: Json) -> web.Response:
    if not resource.custom:  # typed items: the list says what they are
        items = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
    return _json({"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items})


def _json(body: Json, code: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=code, content_type="application/json")


def _warned(response: web.Response, warnings: list[str]) -> web.Response:
    for warning in warnings:
        response.headers.add("Warning", '299 - "' + warning.replace('"', '\\"') + '"')
    return response
