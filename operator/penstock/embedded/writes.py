"""The one way to change anything: create, update, patch, delete. Synchronous: a write happens whole or not at all.

HTTP requests and the controllers come through here alike, so each object is decoded, defaulted, checked, given its
owners (managedFields) and stored in one order, and a write that changes nothing leaves its resourceVersion alone.
"""

import datetime
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from penstock.embedded import decoding, errors, naming, ownership, patching, schema, strategies
from penstock.embedded.asked import Deletion, Options
from penstock.embedded.errors import Problem, Refused
from penstock.embedded.objects import Json, copy, now
from penstock.embedded.registry import CLEANUP, CRDS, Registry, Resource
from penstock.embedded.store import Key, Store

_PROTECTED = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")
PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}  # policy -> finalizer


class Writer:
    """Writes into one store under one registry; every method may raise Refused."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry = store, registry

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The stored object, shared; refused with 404."""
        found = self.store.get((resource.id, namespace, name))
        if found is None:
            raise errors.not_found(resource.id, name)
        return found

    # ── create ───────────────────────────────────────────────────────────────
    def create(self, resource: Resource, namespace: str, body: Json, options: Options, apply: bool = False) -> Json:
        """Store a new object."""
        item = decoding.decoded(resource, body, options)
        meta = item["metadata"]
        if resource.namespaced and meta.get("namespace", namespace) != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta.pop("namespace", None)
        if resource.namespaced:
            self._check_namespace(resource, namespace, meta)
            meta["namespace"] = namespace
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = naming.generated(meta["generateName"])
        for key in (*_PROTECTED, "resourceVersion", "managedFields"):
            meta.pop(key, None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        if resource.generation:
            meta["generation"] = 1
        if resource.status:
            item.pop("status", None)
        asked = copy(item)
        self._complete(resource, item, None)
        place: Key = (resource.id, namespace if resource.namespaced else "", meta.get("name", ""))
        if self.store.get(place) is not None:
            raise errors.exists(resource.id, place[2])
        self._check(resource, item, None)
        self._own(resource, item, None, options, asked if apply else None)
        return item if options.dry_run else self.store.put(place, item)

    def _check_namespace(self, resource: Resource, namespace: str, meta: Json) -> None:
        found = self.store.get(("namespaces", "", namespace))
        if found is None:
            raise errors.not_found("namespaces", namespace)
        if found["status"]["phase"] == "Terminating":
            raise errors.terminating(resource.id, meta.get("name", ""), namespace)

    # ── update and patch ─────────────────────────────────────────────────────
    def update(self, resource: Resource, namespace: str, name: str, body: Json, options: Options) -> Json:
        """Replace an object (PUT)."""
        old = self.get(resource, namespace, name)
        item = decoding.decoded(resource, body, options)
        if item["metadata"].get("name", name) != name:
            raise errors.bad_request(
                f"the name of the object ({item['metadata']['name']}) does not match the name on the URL ({name})"
            )
        if resource.custom and not item["metadata"].get("resourceVersion"):
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
        if kind != "json-patch+json" and not isinstance(body, dict):
            raise errors.bad_request("the patch is not an object")
        if kind == "apply-patch+yaml":
            return self._apply(resource, key, body, options)
        old = self.get(resource, *key)
        if kind == "json-patch+json":
            item = patching.json_patch(copy(old), body)
        elif kind == "merge-patch+json":
            item = patching.merge(copy(old), body)
        elif kind == "strategic-merge-patch+json" and not resource.custom:
            item = patching.strategic(resource.schema, copy(old), body)
        else:
            known = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            raise Refused(
                415,
                "UnsupportedMediaType",
                f"the body of the request was in an unknown format - accepted media types include: {known}",
            )
        return self._changed(resource, old, decoding.decoded(resource, item, options), options)

    def _apply(self, resource: Resource, key: tuple[str, str], body: Json, options: Options) -> Json:
        if "managedFields" in body.get("metadata", {}) and body["metadata"]["managedFields"]:
            raise errors.bad_request("metadata.managedFields must be nil")
        wanted = decoding.decoded(resource, body, options)
        wanted["metadata"].setdefault("name", key[1])
        old = self.store.get((resource.id, *key))
        if old is None:
            if options.subresource:
                raise errors.not_found(resource.id, key[1])
            return self.create(resource, key[0], wanted, options, apply=True)
        manager = ownership.Manager(options.manager, "Apply", resource.api_version, options.subresource)
        asked = {
            k: v
            for k, v in wanted.items()
            if (k == "status") == (options.subresource == "status") or k in ("apiVersion", "kind")
        }
        if resource.status and not options.subresource:
            asked.pop("status", None)
        elif not resource.status and "status" in wanted:
            asked["status"] = wanted["status"]
        merged, owned = ownership.applied(resource.schema, old, asked, manager, options.force)
        if "resourceVersion" in wanted["metadata"]:
            merged["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"]
        return self._changed(resource, old, merged, options, owned)

    def _changed(
        self, resource: Resource, old: Json, item: Json, options: Options, owned: ownership.Owners | None = None
    ) -> Json:
        meta, was = item["metadata"], old["metadata"]
        self._check_versions(resource, meta, was)
        if options.subresource == "status":
            managed = meta.get("managedFields", was.get("managedFields", []))
            status = {"status": item["status"]} if "status" in item else {}
            item = {k: v for k, v in old.items() if k != "status"} | status
            item["metadata"] = meta = copy(was) | {"managedFields": managed}
        elif resource.status:
            item.pop("status", None)
            item |= {"status": old["status"]} if "status" in old else {}
        for key in (*_PROTECTED, "name", "namespace", "resourceVersion"):
            meta.pop(key, None)
            meta |= {key: was[key]} if key in was else {}
        if "managedFields" not in meta:
            meta["managedFields"] = was.get("managedFields", [])
        self._complete(resource, item, old)
        self._check(resource, item, old)
        if resource.generation and _wanted(item) != _wanted(old):
            meta["generation"] = was.get("generation", 1) + 1
        self._own(resource, item, old, options, owned)
        return self._stored(resource, old, item, options)

    def _check_versions(self, resource: Resource, meta: Json, was: Json) -> None:
        if meta.get("uid", was["uid"]) != was["uid"]:
            why = f"the UID in the precondition ({meta['uid']}) does not match the UID in record ({was['uid']})"
            raise errors.conflict(
                resource.id, was["name"], f"{why}. The object might have been deleted and then recreated"
            )
        if (meta.get("resourceVersion") or was["resourceVersion"]) != was["resourceVersion"]:
            raise errors.conflict(resource.id, was["name"], errors.MODIFIED)

    def _stored(self, resource: Resource, old: Json, item: Json, options: Options) -> Json:
        if item == old:
            return old  # a write that changes nothing is none
        key: Key = (resource.id, old["metadata"].get("namespace", ""), old["metadata"]["name"])
        if options.dry_run:
            return item
        if "deletionTimestamp" in old["metadata"] and self._may_go(item):
            self.store.put(key, item)
            return self.store.remove(key)
        return self.store.put(key, item)

    def _may_go(self, item: Json) -> bool:
        meta = item["metadata"]
        held = (
            meta.get("finalizers") or item.get("spec", {}).get("finalizers")
            if item["kind"] == "Namespace"
            else meta.get("finalizers")
        )
        return not held and not meta.get("deletionGracePeriodSeconds")

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
        self._check_versions(
            resource, {"uid": how.uid or old["metadata"]["uid"], "resourceVersion": how.version}, old["metadata"]
        )
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
        if not policy and "deletionTimestamp" not in meta and resource.id == "jobs.batch":
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
    def _complete(self, resource: Resource, item: Json, old: Json | None) -> None:
        if resource.custom:
            schema.default(resource.schema, item)
        strategy = strategies.of(resource.id)
        strategy.complete(item, old)
        strategy.refuse(item)
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not item["metadata"].get(key, True):
                del item["metadata"][key]  # emptied: vanishes, as in Go's omitempty

    def _check(self, resource: Resource, item: Json, old: Json | None) -> None:
        found = list(naming.problems(item, resource.id == "namespaces"))
        if resource.custom:
            found += schema.problems(resource.schema, item, old)
        found += strategies.of(resource.id).check(item, old)
        if old is not None and "deletionTimestamp" in old["metadata"]:
            added = set(item["metadata"].get("finalizers", [])) - set(old["metadata"].get("finalizers", []))
            if added:
                listed = ", ".join(f'"{one}"' for one in sorted(added))
                text = "no new finalizers can be added if the object is being deleted, found new finalizers "
                found.append(Problem.forbidden("metadata.finalizers", f"{text}[]string{{{listed}}}"))
        if found:
            raise errors.invalid(resource.kind, resource.group, item["metadata"].get("name", ""), found)

    def _own(self, resource: Resource, item: Json, old: Json | None, options: Options, owned: Any = None) -> None:
        """`owned`: the owners after an apply; for a create by apply, the object as it was asked for."""
        operation = "Update" if owned is None else "Apply"
        manager = ownership.Manager(options.manager, operation, resource.api_version, options.subresource)
        if owned is None:
            after = ownership.updated(resource.schema, item, old, manager)
        elif old is None:
            after = {manager: frozenset(ownership.fields(resource.schema, owned))}
        else:
            after = owned
        ownership.record(item, after, old)


def _wanted(item: Json) -> bytes:
    return orjson.dumps({k: v for k, v in item.items() if k not in ("metadata", "status")}, option=orjson.OPT_SORT_KEYS)
