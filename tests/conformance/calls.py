"""One API call as data, the same for both servers: what differs between them stands in it as a placeholder.

    {{uid things/a}}  {{version things/a}}  {{continue things}}  {{start}}

are the uid and the newest resourceVersion of an object, the last continue token of a list, and the version that the run
began with (older than any object), each as this server told it.
"""

import copy
import http.client
import json
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localkube import patching
from support import localnode

Json = dict[str, Any]
JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
GROUPS = {
    **dict.fromkeys(
        ("sources", "destinations", "datasets", "pipelines", "subscriptions"), "/apis/penstock.dev/v1alpha1"
    ),
    "things": "/apis/try.dev/v1",
    "jobs": "/apis/batch/v1",
    "cronjobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}
_PLACEHOLDER = re.compile(r"\{\{(\w+)(?: ([\w/-]+))?\}\}")
_NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Call:
    """`path` below the namespace: plural/name/subresource?query; one that begins with a slash is absolute.

    With `edit` the body is a merge patch to what was last seen of the object, and the result is what is sent.
    """

    method: str
    path: str
    body: Any = None
    content: str = JSON
    accept: str = JSON
    edit: bool = False

    @property
    def about(self) -> str:
        """plural/name, or the plural alone."""
        return "/".join(self.path.partition("?")[0].split("/")[:2])

    def __str__(self) -> str:
        body = "" if self.body is None else f" {self.content.removeprefix('application/')} {json.dumps(self.body)}"
        return f"{self.method}{' (edited)' if self.edit else ''} {self.path}{body}"


@dataclass(frozen=True)
class Answer:
    """`body`: the JSON, or a list of events; `warnings` the texts of the Warning headers."""

    code: int
    body: Any
    warnings: list[str] = field(default_factory=list)


class Server:
    """One API server, one namespace, one kept connection, and what it told."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._access = localnode.access(kubeconfig)
        self._host = self._access.server.removeprefix("https://")
        self._connection = self._connected()
        self.namespace = namespace
        self._known: dict[str, str] = {}
        self._seen: dict[str, Json] = {}

    def _connected(self) -> http.client.HTTPSConnection:
        context: ssl.SSLContext = self._access.tls()
        return http.client.HTTPSConnection(self._host, context=context, timeout=30)

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def begin(self) -> None:
        """Create the namespace and note the version to watch from."""
        made = self.raw("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        assert made.code == 201, made
        self._known["start"] = self.raw("GET", self.url("configmaps")).body["metadata"]["resourceVersion"]

    def url(self, path: str) -> str:
        """The whole path."""
        if path.startswith("/"):
            return path
        plural = re.split(r"[/?]", path, maxsplit=1)[0]
        return f"{GROUPS.get(plural, '/api/v1')}/namespaces/{self.namespace}/{path}"

    def send(self, call: Call) -> Answer:
        """Make the call, and remember what it tells."""
        body = self._resolved(call.body)
        if call.edit:
            body = patching.merge(self._seen.get(call.about, {}), body)
        answer = self.raw(call.method, self.url(self._resolved(call.path)), body, call.content, call.accept)
        self._remember(call, answer)
        return answer

    def apart(self, call: Call) -> Answer:
        """Make the call over a connection of its own, from any thread."""
        other = copy.copy(self)
        other._connection = other._connected()
        try:
            return other.raw(call.method, self.url(self._resolved(call.path)))
        finally:
            other.close()

    def raw(self, method: str, path: str, body: Any = None, content: str = JSON, accept: str = JSON) -> Answer:
        """One request; a str is sent as it stands."""
        headers = {"Authorization": f"Bearer {self._access.token}", "Content-Type": content, "Accept": accept}
        headers["User-Agent"] = "conformance/1"
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        path = path.replace(" ", "%20")
        try:
            self._connection.request(method, path, data, headers)
            answer = self._connection.getresponse()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            self._connection = self._connected()
            self._connection.request(method, path, data, headers)
            answer = self._connection.getresponse()
        text = answer.read()
        warnings = [w.partition('"')[2][:-1].replace('\\"', '"') for w in answer.headers.get_all("Warning") or []]
        if "watch=true" in path and answer.status == 200:
            return Answer(200, [json.loads(line) for line in text.splitlines()], warnings)
        return Answer(answer.status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode(), warnings)

    def _remember(self, call: Call, answer: Answer) -> None:
        meta = answer.body.get("metadata", {}) if isinstance(answer.body, dict) else {}
        if answer.code >= 300 or "dryRun" in call.path or call.accept != JSON:
            return
        if meta.get("continue"):
            self._known[f"continue {call.about}"] = meta["continue"]
        if "uid" in meta:
            about = f"{call.path.partition('?')[0].split('/')[0]}/{meta['name']}"
            self._seen[about] = answer.body
            self._known[f"uid {about}"] = meta["uid"]
            self._known[f"version {about}"] = meta["resourceVersion"]

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._resolved(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if isinstance(value, str) and "{{" in value:
            return _PLACEHOLDER.sub(self._told, value)
        return value

    def _told(self, place: re.Match[str]) -> str:
        """What the server told; of what it has not told, something that is nowhere (or the version at the start)."""
        otherwise = {"uid": _NOBODY, "continue": "none"}.get(place[1], self._known["start"])
        return self._known.get(place[0][2:-2], otherwise)
