"""The built-in kinds' fields, from Kubernetes' own .proto files, in two readings: protobuf decoding and schemas.

kubectl since 1.32 sends protobuf for what it builds itself (`create namespace`, `create job --from` ...) and takes no
415 for an answer. The same table gives each built-in kind a structural schema, so that unknown fields, list merge keys
and server-side apply go the one way of custom resources.

`fields.json`: {message: {field: [number, type, keys or kind of the list, merge key]}}, an atomic one has a field "";
`tests/support/fieldsfile.py` makes it.
"""

import base64
import datetime
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from localkube.objects import Json

MAGIC = b"k8s\x00"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
KINDS = [
    *(f"k8s.io.api.core.v1.{k}" for k in ("ConfigMap", "Secret", "Namespace", "Pod", "ServiceAccount", "Event")),
    *(f"k8s.io.api.core.v1.{k}" for k in ("PersistentVolumeClaim", "Binding")),
    *("k8s.io.api.batch.v1.Job", "k8s.io.api.batch.v1.CronJob", "k8s.io.api.coordination.v1.Lease"),
    f"{_META}DeleteOptions",
]
_INLINE = {"localObjectReference", "volumeSource", "handler", "ephemeralContainerCommon"}  # json:",inline" in Go
# Written by Go even when never set, and numbers or flags: told from a pointer to zero (backoffLimit: 0) only by name.
_NO_POINTER = {"generation", "hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly", "status"}
_ATOMIC = {"x-kubernetes-map-type": "atomic"}
SCALARS: dict[str, Json] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number"},
    "bytes": {"type": "string", "format": "byte"},
    f"{_META}Time": {"type": "string", "format": "date-time"},
    f"{_META}MicroTime": {"type": "string", "format": "date-time"},
    f"{_META}FieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "k8s.io.apimachinery.pkg.runtime.RawExtension": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "k8s.io.apimachinery.pkg.api.resource.Quantity": {"x-kubernetes-int-or-string": True},
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": {"x-kubernetes-int-or-string": True},
}


@cache
def _table() -> dict[str, dict[str, list[Any]]]:
    table: dict[str, dict[str, list[Any]]] = orjson.loads((Path(__file__).parent / "fields.json").read_bytes())
    return table


def message(api_version: str, kind: str) -> str:
    """The message of a built-in kind, e.g. ("batch/v1", "Job") -> k8s.io.api.batch.v1.Job."""
    if kind in ("DeleteOptions", "ObjectMeta"):
        return f"{_META}{kind}"
    group, _, version = api_version.rpartition("/")
    return f"k8s.io.api.{group.split('.', 1)[0] or 'core'}.{version}.{kind}"


# ── as structural schemas ────────────────────────────────────────────────────
@cache
def schema(name: str) -> Json:
    """A message as the schema a CRD would have."""
    properties: Json = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}} if name in KINDS else {}
    for field, entry in _table()[name].items():
        if not field:
            continue
        if field in _INLINE:
            properties |= schema(entry[1])["properties"]
        else:
            properties[field] = _field_schema(entry)
    return {"type": "object", "properties": properties} | (_ATOMIC if "" in _table()[name] else {})


def _field_schema(entry: list[Any]) -> Json:
    kind = entry[1]
    if kind.startswith("[]"):
        listed: Json = {"type": "array", "items": _type_schema(kind[2:])}
        if len(entry) > 2:
            keys = entry[2]
            listed |= {"x-kubernetes-list-type": "map" if isinstance(keys, list) else keys}
            listed |= {"x-kubernetes-list-map-keys": keys} if isinstance(keys, list) else {}
        if len(entry) > 3:
            listed["x-kubernetes-patch-merge-key"] = entry[3]
        return listed
    if kind.startswith("{}"):
        return {"type": "object", "additionalProperties": _type_schema(kind[2:])}
    return _type_schema(kind) | (_ATOMIC if len(entry) > 2 else {})


def _type_schema(kind: str) -> Json:
    return SCALARS.get(kind) or schema(kind)


# ── as protobuf ──────────────────────────────────────────────────────────────
def decode(body: bytes) -> Json:
    """An object that a typed client sent as application/vnd.kubernetes.protobuf. Raises ValueError."""
    if not body.startswith(MAGIC):
        raise ValueError("protobuf body without the k8s prefix")
    envelope = dict(_wire(body[len(MAGIC) :]))
    kind = {number: value.decode() for number, value in _wire(envelope[1])}
    name = message(kind[1], kind[2])
    if name not in _table():
        raise ValueError(f"{kind[2]} in {kind[1]} cannot be read as protobuf by penstock's embedded Kubernetes")
    return {"apiVersion": kind[1], "kind": kind[2], **_message(name, envelope.get(2, b""))}


def _message(name: str, data: bytes) -> Json:
    fields = {entry[0]: (field, entry[1]) for field, entry in _table()[name].items()}
    decoded: Json = {}
    for number, raw in _wire(data):
        if number not in fields:
            raise ValueError(f"{name}: unknown protobuf field {number}")
        field, kind = fields[number]
        if field in _INLINE:
            decoded |= _message(kind, raw)
        elif kind.startswith("[]"):
            decoded.setdefault(field, []).append(_value(kind[2:], raw))
        elif kind.startswith("{}"):
            entry = dict(_wire(raw))
            decoded.setdefault(field, {})[entry.get(1, b"").decode()] = _value(kind[2:], entry.get(2, b"")) or ""
        else:
            decoded[field] = _value(kind, raw)
    return {f: v for f, v in decoded.items() if v is not None and (v or f not in _NO_POINTER)}


def _value(kind: str, raw: Any) -> Any:
    if kind in _DECODERS:
        return _DECODERS[kind](raw)
    return _message(kind, raw)


def _time(raw: bytes, micro: bool) -> str | None:
    """Go writes its zero time as a negative number of seconds, or as nothing at all."""
    parts = dict(_wire(raw))
    seconds = parts.get(1, 0)
    if not 0 < seconds < 1 << 62:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    fraction = f".{parts.get(2, 0) // 1000:06d}" if micro else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def _wire(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, int or bytes) of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"protobuf wire type {kind}")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _union(raw: bytes) -> int | str:
    parts = dict(_wire(raw))
    return str(parts.get(3, b"").decode()) if parts.get(1) else int(parts.get(2, 0))


def _text(raw: bytes) -> str | None:
    return raw.decode() or None  # Go writes the empty string of every field that was never set


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "bool": bool,
    "int32": lambda raw: raw - (1 << 64) if raw >> 63 else raw,
    "int64": lambda raw: raw - (1 << 64) if raw >> 63 else raw,
    "double": lambda raw: struct.unpack("<d", raw)[0],
    "bytes": lambda raw: base64.b64encode(raw).decode(),
    f"{_META}Time": lambda raw: _time(raw, micro=False),
    f"{_META}MicroTime": lambda raw: _time(raw, micro=True),
    f"{_META}FieldsV1": lambda raw: orjson.loads(dict(_wire(raw))[1]),
    "k8s.io.apimachinery.pkg.runtime.RawExtension": lambda raw: orjson.loads(dict(_wire(raw))[1]),
    "k8s.io.apimachinery.pkg.api.resource.Quantity": lambda raw: dict(_wire(raw)).get(1, b"").decode(),
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _union,
}
