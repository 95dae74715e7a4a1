"""The one way to change anything: create, update, patch, delete. Synchronous: a write happens whole or not at all.

HTTP requests and the controllers come through here alike, so each object is decoded, defaulted, checked, given its
owners (managedFields) and stored in one order, and a write that changes nothing leaves its resourceVersion alone.
"""

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from localkube import decoding, errors, fieldsets, naming, ownership, patching, schema, strategies
from localkube.asked import Deletion, Options
from localkube.errors import Problem, Refused
from localkube.objects import Json, copy, now
from localkube.registry import CLEANUP, CRDS, Registry, Resource
from localkube.store import Key, Store

Fields = frozenset[fieldsets.Path]
Applied = tuple[ownership.Owners, ownership.Manager | None]
"""Owners after an apply, and the manager, if it has changed anything."""

_PROTECTED = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
_PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}  # policy -> finalizer


class Writer:
    """Writes into one store under one registry; every method may raise Refused."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry = store, registry

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The stored object, shared; refused with 404."""
        item = self.store.get((resource.id, namespace, name))
        if item is None:
            raise errors.not_found(resource.id, name)
        return item

    # ── create ───────────────────────────────────────────────────────────────
    def create(
        self, resource: Resource, namespace: str, body: Json, options: Options, apply: Fields | None = None
    ) -> Json:
        """Store a new object; `apply`: the fields that the apply which makes it asks for."""
        item = (decoding.decoded if apply is None else decoding.converted)(resource, body, options)
        meta = item["metadata"]
        self._identify(resource, namespace, meta)
        if resource.status:
            item.pop("status", None)
        strategy = self._defaulted(resource, item)
        if apply is None:
            self._own(resource, item, strategy.blank, options)
        else:
            manager = _manager(resource, options, "Apply")
            ownership.record(item, {manager: apply}, None, manager)
        place: Key = (resource.id, namespace if resource.namespaced else "", meta.get("name", ""))
        self._finished(resource, item, None, options)
        if meta.pop("resourceVersion", "") and apply is None and not options.dry_run:
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")
        if (there := self.store.get(place)) is not None:
            raise errors.exists(resource.id, place[2], "deletionTimestamp" in there["metadata"])
        return item if options.dry_run else self.store.put(place, item)

    def _identify(self, resource: Resource, namespace: str, meta: Json) -> None:
        """Give what is new its name, its place and all that only the server may say of it."""
        _check_namespace(resource, meta, namespace)
        meta.pop("namespace", None)
        if resource.namespaced:
            self._check_open(resource, namespace, meta)
            meta["namespace"] = namespace
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = naming.generated(meta["generateName"])
        for key in (*_PROTECTED, "managedFields"):
            meta.pop(key, None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        if resource.generation:
            meta["generation"] = 1

    def _check_open(self, resource: Resource, namespace: str, meta: Json) -> None:
        item = self.store.get(("namespaces", "", namespace))
        if item is None:
            raise errors.not_found("namespaces", namespace)
        if item["status"]["phase"] == "Terminating":
            raise errors.terminating(resource.id, meta.get("name", ""), namespace)

    # ── update and patch ─────────────────────────────────────────────────────
    def update(self, resource: Resource, namespace: str, name: str, body: Json, options: Options) -> Json:
        """Replace an object (PUT)."""
        item = decoding.decoded(resource, body, options)
        _check_name(item["metadata"], name)
        _check_namespace(resource, item["metadata"], namespace)
        if resource.upsert and self.store.get((resource.id, namespace, name)) is None:
            if uid := item["metadata"].get("uid"):
                why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                raise errors.conflict(resource.id, name, why)
            item["metadata"].pop("resourceVersion", None)
            return self.create(resource, namespace, item, options)
        old = self.get(resource, namespace, name)
        if (uid := item["metadata"].get("uid")) and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise errors.conflict(resource.id, name, why)
        if not resource.unconditional and not item["metadata"].get("resourceVersion"):
            problem = Problem.invalid("metadata.resourceVersion", "0", "must be specified for an update")
            raise errors.invalid(resource.plural, resource.group, name, [problem])
        return self._changed(resource, old, item, options)

    def modify(self, resource: Resource, key: tuple[str, str], change: Callable[[Json], Any], options: Options) -> Json:
        """Change a copy of an object in place and store it: the controllers' way."""
        item = copy(self.get(resource, *key))
        change(item)
        return self._changed(resource, self.get(resource, *key), item, options)

    def patch(self, resource: Resource, key: tuple[str, str], kind: str, body: Any, options: Options) -> Json:
        """Apply a patch of media type application/`kind`."""
        supported = _PATCHES[:2] + _PATCHES[3:] if resource.custom else _PATCHES
        if kind not in supported:
            listed = ", ".join(f"application/{one}" for one in supported)
            message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
            raise Refused(415, "UnsupportedMediaType", message if resource.custom else "415: Unsupported Media Type")
        if kind == "apply-patch+yaml":
            return self._apply(resource, key, body, options)
        old = self.get(resource, *key)
        if kind != "json-patch+json" and not isinstance(body, dict):
            raise errors.bad_request("error decoding patch: it is not an object")
        if kind == "json-patch+json":
            item = patching.json_patch(copy(old), body)
        elif kind == "merge-patch+json":
            item = patching.merge(copy(old), body)
        else:
            item = patching.strategic(resource.schema, copy(old), body)
        return self._changed(resource, old, decoding.patched(resource, item, options), options)

    def _apply(self, resource: Resource, key: tuple[str, str], body: Json, options: Options) -> Json:
        others, manager = _untouched(resource, options), _manager(resource, options, "Apply")
        old = self.store.get((resource.id, *key))
        if old is None and options.subresource:
            raise errors.not_found(resource.id, key[1])
        wanted = decoding.applied(resource, body)
        if old is None:
            if uid := wanted["metadata"].get("uid"):
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise errors.conflict(resource.id, key[1], why)
            _check_name(wanted["metadata"], key[1])
            return self.create(resource, key[0], wanted, options, ownership.declared(resource.schema, wanted, others))
        merged, owned = ownership.applied(
            resource.schema, old, wanted, manager, (options.force, others, strategies.of(resource.id).blank)
        )
        _check_name(merged["metadata"], key[1])
        _check_namespace(resource, merged["metadata"], key[0])
        writer = manager if _moved(merged, old) else None
        if "resourceVersion" in wanted["metadata"]:
            merged["metadata"] = merged["metadata"] | {"resourceVersion": wanted["metadata"]["resourceVersion"]}
        merged = decoding.converted(resource, merged, options)
        return self._changed(resource, old, merged, options, (owned, writer))

    def _changed(
        self, resource: Resource, old: Json, item: Json, options: Options, apply: Applied | None = None
    ) -> Json:
        meta, was = item["metadata"], old["metadata"]
        self._check_versions(resource.id, {"resourceVersion": meta.get("resourceVersion")}, was)
        if options.subresource == "status":
            managed = meta.get("managedFields", was.get("managedFields", []))
            status = {"status": item["status"]} if "status" in item else {}
            item = {k: v for k, v in old.items() if k != "status"} | status
            item["metadata"] = meta = copy(was) | {"managedFields": managed}
        elif resource.status:
            item.pop("status", None)
            item |= {"status": old["status"]} if "status" in old else {}
        for key in (*_PROTECTED, "name", "namespace", "resourceVersion"):
            if key in was and (key != "uid" or not meta.get("uid")):
                meta[key] = was[key]
            elif key != "uid" and "deletion" not in key:  # these are refused: see naming.untimely
                meta.pop(key, None)
        meta["managedFields"] = ownership.given(meta.get("managedFields"), was.get("managedFields", []))
        self._defaulted(resource, item)
        if apply is None:
            self._own(resource, item, old, options)
        else:
            ownership.record(item, apply[0], old, apply[1])
        self._finished(resource, item, old, options)
        if resource.generation and _wanted(item) != _wanted(old):
            meta["generation"] = was.get("generation", 1) + 1
        return self._stored(resource, old, item, options)

    def _check_versions(self, named: str, meta: Json, was: Json, why: str = errors.MODIFIED) -> None:
        if meta.get("uid", was["uid"]) != was["uid"]:
            text = f"the UID in the precondition ({meta['uid']}) does not match the UID in record ({was['uid']})"
            raise errors.conflict(named, was["name"], f"{text}. The object might have been deleted and then recreated")
        if (meta.get("resourceVersion") or was["resourceVersion"]) != was["resourceVersion"]:
            raise errors.conflict(named, was["name"], why)

    def _stored(self, resource: Resource, old: Json, item: Json, options: Options) -> Json:
        if item == old or _timeless(item) == _timeless(old):
            return old  # a write that changes nothing is none
        key: Key = (resource.id, old["metadata"].get("namespace", ""), old["metadata"]["name"])
        if options.dry_run:
            return item
        if "deletionTimestamp" in old["metadata"] and self._may_go(item):
            self.store.remove(key)
            return item
        return self.store.put(key, item)

    def _may_go(self, item: Json) -> bool:
        meta = item["metadata"]
        finalizers = (
            meta.get("finalizers") or item.get("spec", {}).get("finalizers")
            if item["kind"] == "Namespace"
            else meta.get("finalizers")
        )
        return not finalizers and not meta.get("deletionGracePeriodSeconds")

    def bind(self, namespace: str, name: str, node: str) -> None:
        """A scheduler's word: the Pod belongs to that node from now on."""
        pod = copy(self.get(self.registry.named("pods"), namespace, name))
        if bound := pod["spec"].get("nodeName"):
            raise errors.conflict("pods/binding", name, f'pod {name} is already assigned to node "{bound}"')
        pod["spec"]["nodeName"] = node
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
        pod["status"] = pod["status"] | {"conditions": [scheduled]}
        self.store.put(("pods", namespace, name), pod)

    # ── delete ───────────────────────────────────────────────────────────────
    def delete(self, resource: Resource, namespace: str, name: str, how: Deletion) -> tuple[Json, bool]:
        """(last state, whether it is gone); with finalizers or grace it is only marked."""
        old = self.get(resource, namespace, name)
        wanted = {"uid": how.uid or old["metadata"]["uid"], "resourceVersion": how.version}
        named = ".".join(filter(None, (resource.kind, resource.group)))
        why = f"the ResourceVersion in the precondition ({how.version}) does not match the ResourceVersion in record "
        why += f"({old['metadata']['resourceVersion']}). The object might have been modified"
        self._check_versions(named, wanted, old["metadata"], why)
        item = copy(old)
        meta = item["metadata"]
        self._propagate(resource, meta, how.propagation)
        if resource.id == CRDS and "deletionTimestamp" not in meta:
            meta["finalizers"] = [*meta.get("finalizers", []), CLEANUP]
        grace = self._grace(resource, item, how.grace)
        if "deletionTimestamp" not in meta or grace < meta.get("deletionGracePeriodSeconds", 0):
            moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=grace)
            meta["deletionTimestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            meta["deletionGracePeriodSeconds"] = grace
            if resource.generation and "deletionTimestamp" not in old["metadata"]:
                meta["generation"] = meta.get("generation", 1) + 1
        if item["kind"] == "Namespace":
            item["status"] = item.get("status", {}) | {"phase": "Terminating"}
        if how.dry_run:
            return item, self._may_go(item)
        key: Key = (resource.id, namespace, name)
        if self._may_go(item):
            return self.store.remove(key), True
        return (self.store.put(key, item) if item != old else old), False

    def _propagate(self, resource: Resource, meta: Json, policy: str) -> None:
        said = set(PROPAGATION.values()).intersection(meta.get("finalizers", ()))
        if not policy and not said and resource.id == "jobs.batch":
            policy = "Orphan"  # the API's own default for batch/v1; kubectl always says Background
        wanted = PROPAGATION.get(policy)
        finalizers = [f for f in meta.get("finalizers", []) if not policy or f not in PROPAGATION.values()]
        if wanted and wanted not in finalizers:
            finalizers.append(wanted)
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)

    def _grace(self, resource: Resource, item: Json, asked: int | None) -> int:
        """Only a Pod with a process has grace; the node that runs it deletes with 0 when it has ended."""
        running = item.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        if resource.id != "pods" or not item["spec"].get("nodeName") or not running:
            return 0
        return int(item["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked)

    # ── what all have in common ──────────────────────────────────────────────
    def _defaulted(self, resource: Resource, item: Json) -> strategies.Strategy:
        if resource.custom:
            schema.default(resource.schema, item)
        strategy = strategies.of(resource.id)
        strategy.default(item)
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not item["metadata"].get(key, True):
                del item["metadata"][key]  # emptied: vanishes, as in Go's omitempty
        return strategy

    def _finished(self, resource: Resource, item: Json, old: Json | None, options: Options) -> None:
        strategy = strategies.of(resource.id)
        strategy.prepare(item, old)
        strategy.refuse(item)
        self._check(resource, item, old, options)

    def _check(self, resource: Resource, item: Json, old: Json | None, options: Options) -> None:
        problems = list(naming.problems(item, resource.id == "namespaces"))
        unqualified = list(naming.unqualified(item, old))
        if resource.custom:
            problems += schema.problems(resource.schema, item, old, options.subresource)
        elif resource.group in ("", "batch"):
            problems += unqualified
        problems += strategies.of(resource.id).check(item, old)
        problems += naming.untimely(item, old)
        if problems:
            raise errors.invalid(resource.kind, resource.group, item["metadata"].get("name", ""), problems)
        if resource.custom:
            names = [problem.text.split('"')[1] for problem in unqualified]
            options.warnings.extend(f'metadata.finalizers: "{name}": {naming.ADVICE}' for name in names)

    def _own(self, resource: Resource, item: Json, old: Json, options: Options) -> None:
        manager, others = _manager(resource, options), _untouched(resource, options)
        owned = ownership.updated(resource.schema, item, old, manager, others)
        ownership.record(item, owned, old, manager if _moved(item, old) else None)


def _manager(resource: Resource, options: Options, operation: str = "Update") -> ownership.Manager:
    return ownership.Manager(options.manager, operation, resource.api_version, options.subresource)


def _check_name(meta: Json, name: str) -> None:
    if not (named := meta.get("name", "")):
        raise errors.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if named != name:
        raise errors.bad_request(f"the name of the object ({named}) does not match the name on the URL ({name})")


def _check_namespace(resource: Resource, meta: Json, namespace: str) -> None:
    if resource.namespaced and (meta.get("namespace") or namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _untouched(resource: Resource, options: Options) -> frozenset[str]:
    """Top-level fields that this kind of write leaves alone, so that nobody comes to own them by it."""
    if options.subresource == "status":
        return frozenset(["spec", "metadata"] if resource.custom else ["spec"])
    return frozenset(["status"] if resource.status else [])


def _timeless(item: Json) -> Json:
    meta = item["metadata"]
    managed = [{k: v for k, v in entry.items() if k != "time"} for entry in meta.get("managedFields", ())]
    return item | {"metadata": meta | {"managedFields": managed}}


def _moved(item: Json, old: Json) -> bool:
    """Whether anything but the record of owners has changed."""
    kept = [{k: v for k, v in one.get("metadata", {}).items() if k != "managedFields"} for one in (item, old)]
    return item | {"metadata": kept[0]} != old | {"metadata": kept[1]}


def _wanted(item: Json) -> bytes:
    return orjson.dumps({k: v for k, v in item.items() if k not in ("metadata", "status")}, option=orjson.OPT_SORT_KEYS)
