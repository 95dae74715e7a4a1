"""What every Kubernetes object has: JSON, an identity, times, owners."""

import datetime
from collections.abc import Iterable
from typing import Any

import orjson

Json = dict[str, Any]


def now() -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes times."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime.datetime:
    """The other way round; also with a fraction."""
    return datetime.datetime.fromisoformat(text)


def copy(item: Json) -> Json:
    """A deep copy; stored objects are shared and never changed in place."""
    copied: Json = orjson.loads(orjson.dumps(item))
    return copied


def controller(item: Json) -> Json | None:
    """The owner reference that manages the object."""
    return next((o for o in item["metadata"].get("ownerReferences", ()) if o.get("controller")), None)


def owner(item: Json) -> Json:
    """An owner reference that makes `item` the controller of what carries it."""
    name, uid = item["metadata"]["name"], item["metadata"]["uid"]
    reference = {"apiVersion": item["apiVersion"], "kind": item["kind"], "name": name, "uid": uid}
    return reference | {"controller": True, "blockOwnerDeletion": True}


def condition(item: Json, kind: str) -> Json | None:
    """The status condition of that type, if there."""
    conditions: Iterable[Json] = item.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == kind), None)
