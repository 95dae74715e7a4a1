"""The garbage collector, and the end of namespaces and CRDs: what goes when something else has gone."""

from collections import defaultdict

from localkube import errors, registry
from localkube.asked import Deletion, Options
from localkube.objects import Json
from localkube.store import Event, Key
from localkube.writes import PROPAGATION, Writer

_BY = Options("kube-controller-manager")
_FOREGROUND, _ORPHAN = PROPAGATION["Foreground"], PROPAGATION["Orphan"]


class Collector:
    """Keeps who owns whom; the controllers' loop tells it of each change and calls `reconcile` for what it names."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._dependents: dict[str, set[Key]] = defaultdict(set)
        for key, item in writer.store.everything():
            self._index(key, item, None)

    def affected(self, event: Event) -> set[Key]:
        """What has to be looked at after a change."""
        self._index(event.key, event.item if event.kind != "DELETED" else None, event.old)
        affected = {event.key} if event.item["metadata"].get("ownerReferences") or self._is_going(event.item) else set()
        if event.kind == "DELETED" or self._is_going(event.item):
            affected |= self._dependents.get(event.item["metadata"]["uid"], set())
        if event.kind == "DELETED":
            affected |= self._waiting_for(event)
        return affected

    def _index(self, key: Key, item: Json | None, old: Json | None) -> None:
        for one in (old or {}).get("metadata", {}).get("ownerReferences", ()):
            self._dependents[one["uid"]].discard(key)
        for one in (item or {}).get("metadata", {}).get("ownerReferences", ()):
            self._dependents[one["uid"]].add(key)

    def _waiting_for(self, event: Event) -> set[Key]:
        """Owners in foreground deletion, and the namespace or CRD that an object was the last of."""
        waiting: set[Key] = {("namespaces", "", event.key[1])} if event.key[1] else set()
        waiting.add((registry.CRDS, "", event.key[0]))
        for one in event.item["metadata"].get("ownerReferences", ()):
            if resource := self._writer.registry.of_kind(one["apiVersion"], one["kind"]):
                waiting.add((resource.id, event.key[1] if resource.namespaced else "", one["name"]))
        return waiting

    def _is_going(self, item: Json) -> bool:
        return "deletionTimestamp" in item["metadata"]

    def reconcile(self, key: Key) -> None:
        """Do what is due for one object: end it, let go of it, or wait."""
        item = self._writer.store.get(key)
        if item is None:
            return
        if self._is_going(item):
            finalizers = item["metadata"].get("finalizers", ())
            if _ORPHAN in finalizers:
                self._orphan(key, item)
            elif _FOREGROUND in finalizers:
                self._foreground(key, item)
            if key[0] == "namespaces":
                self._empty_namespace(key, item)
            elif key[0] == registry.CRDS and registry.CLEANUP in finalizers:
                self._empty_resource(key, item)
        elif item["metadata"].get("ownerReferences"):
            self._check_owners(key, item)

    def _check_owners(self, key: Key, item: Json) -> None:
        """Gone owners are forgotten while others are left; with none left the object goes."""
        references = item["metadata"]["ownerReferences"]
        owners = [(one, self._owner(key, one)) for one in references]
        gone = [one for one, owner in owners if owner is None]
        waiting = [
            one
            for one, owner in owners
            if owner and _FOREGROUND in owner["metadata"].get("finalizers", ()) and self._is_going(owner)
        ]
        if len(gone) + len(waiting) == len(references):
            self._delete(
                key, "Foreground" if waiting and self._dependents.get(item["metadata"]["uid"]) else "Background"
            )
        elif gone:
            kept = [one for one in references if one not in gone]
            self._modify(key, ownerReferences=kept)

    def _owner(self, key: Key, reference: Json) -> Json | None:
        resource = self._writer.registry.of_kind(reference["apiVersion"], reference["kind"])
        if resource is None:
            return None
        owner = self._writer.store.get((resource.id, key[1] if resource.namespaced else "", reference["name"]))
        return owner if owner and owner["metadata"]["uid"] == reference["uid"] else None

    def _orphan(self, key: Key, item: Json) -> None:
        uid = item["metadata"]["uid"]
        for dependent in list(self._dependents.get(uid, ())):
            if orphan := self._writer.store.get(dependent):
                kept = [one for one in orphan["metadata"].get("ownerReferences", []) if one["uid"] != uid]
                self._modify(dependent, ownerReferences=kept)
        self._modify(key, finalizers=[f for f in item["metadata"]["finalizers"] if f != _ORPHAN])

    def _foreground(self, key: Key, item: Json) -> None:
        uid = item["metadata"]["uid"]
        blocking = False
        for dependent in list(self._dependents.get(uid, ())):
            child = self._writer.store.get(dependent)
            if child is None:
                continue
            references = child["metadata"].get("ownerReferences", ())
            blocking |= any(one["uid"] == uid and one.get("blockOwnerDeletion") for one in references)
            if not self._is_going(child):
                self._check_owners(dependent, child)
        if not blocking or not self._dependents.get(uid):
            self._modify(key, finalizers=[f for f in item["metadata"]["finalizers"] if f != _FOREGROUND])

    def _empty_namespace(self, key: Key, item: Json) -> None:
        left = [k for k, _ in self._writer.store.everything() if k[1] == key[2]]
        for one in left:
            self._delete(one, "Background")
        if not any(k[1] == key[2] for k, _ in self._writer.store.everything()) and item["spec"].get("finalizers"):
            resource = self._writer.registry.named("namespaces")
            self._writer.modify(resource, (key[1], key[2]), lambda n: n["spec"].update(finalizers=[]), _BY)

    def _empty_resource(self, key: Key, item: Json) -> None:
        for one in self._writer.store.select(key[2]):
            self._delete((key[2], one["metadata"].get("namespace", ""), one["metadata"]["name"]), "Background")
        if not self._writer.store.select(key[2]):
            self._modify(key, finalizers=[f for f in item["metadata"]["finalizers"] if f != registry.CLEANUP])

    def _delete(self, key: Key, policy: str) -> None:
        item = self._writer.store.get(key)
        if item is None or (self._is_going(item) and policy == "Background"):
            return
        how = Deletion(propagation=policy, uid=item["metadata"]["uid"])
        try:
            self._writer.delete(self._writer.registry.named(key[0]), key[1], key[2], how)
        except (errors.Refused, KeyError):
            return  # it has changed meanwhile: that change brings it back here

    def _modify(self, key: Key, **metadata: object) -> None:
        resource = self._writer.registry.named(key[0])
        self._writer.modify(resource, (key[1], key[2]), lambda item: item["metadata"].update(metadata), _BY)
