"""Which Pipelines and Subscriptions run after a load of which Dataset, and whom a change concerns."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.api import trigger
from penstock.api.objects import Key


class Triggers:
    """An index of `spec.trigger.after`, kept with each change of an object. Specs are read leniently."""

    def __init__(self) -> None:
        self._followers: defaultdict[Key, set[Key]] = defaultdict(set)
        self._writes: dict[Key, list[Key]] = {}
        """The Datasets that each Pipeline loads."""
        self._after: dict[Key, list[Key]] = {}
        self._concerned: set[Key] = set()

    def put(self, key: Key, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """An object was `before` and is `after`; None: it was not or is not there."""
        if key.kind == "Dataset":
            if _loaded(before) != _loaded(after):
                self._concerned |= self._followers.get(key, set())
        elif key.kind in ("Pipeline", "Subscription") and (
            before is None or after is None or _spec(before) != _spec(after)
        ):
            self._replace(key, after)

    def _replace(self, key: Key, manifest: Mapping[str, Any] | None) -> None:
        linked = self._is_linked(key)
        others = self._downstream(key) if linked else set()
        for dataset in self._after.pop(key, []):
            self._followers[dataset].discard(key)
            if not self._followers[dataset]:
                del self._followers[dataset]
        self._writes.pop(key, None)
        if manifest is not None:
            if datasets := after_of(manifest):
                self._after[key] = datasets
            if datasets := _written(manifest):
                self._writes[key] = datasets
            for dataset in self._after.get(key, []):
                self._followers[dataset].add(key)
        if linked or self._is_linked(key):  # it may have opened or closed a cycle
            self._concerned |= (others | self._downstream(key)) - {key}

    def _is_linked(self, key: Key) -> bool:
        """Whether a Pipeline both follows others and is followed: only such ones can be in a cycle."""
        return key in self._after and any(dataset in self._followers for dataset in self._writes.get(key, []))

    def _downstream(self, key: Key) -> set[Key]:
        reached, ahead = {key}, [key]
        for pipeline in ahead:
            for dataset in self._writes.get(pipeline, []):
                news = self._followers.get(dataset, set()) - reached
                reached |= news
                ahead += sorted(news)
        return reached

    def cycle(self, pipeline: Key) -> list[Key] | None:
        """The Pipelines through which a run of `pipeline` would start another one of it."""
        if not self._is_linked(pipeline):
            return None
        return trigger.cycle(pipeline, lambda key: self._writes.get(key, []), self._sorted_followers)

    def _sorted_followers(self, dataset: Key) -> Iterable[Key]:
        return sorted(self._followers.get(dataset, ()))

    def take_concerned(self) -> set[Key]:
        """The objects to look at since the last call: a Dataset that they run after was loaded, or a cycle changed."""
        concerned, self._concerned = self._concerned, set()
        return concerned


def after_of(manifest: Mapping[str, Any]) -> list[Key]:
    """The Datasets whose loads start a run of an object."""
    wanted = _spec(manifest).get("trigger")
    return _datasets(manifest, wanted.get("after") if isinstance(wanted, dict) else None)


def _written(manifest: Mapping[str, Any]) -> list[Key]:
    return _datasets(manifest, _spec(manifest).get("datasets")) if manifest["kind"] == "Pipeline" else []


def _datasets(manifest: Mapping[str, Any], entries: object) -> list[Key]:
    namespace = manifest["metadata"].get("namespace", "default")
    refs = [
        entry.get("datasetRef") for entry in (entries if isinstance(entries, list) else []) if isinstance(entry, dict)
    ]
    names = [ref.get("name") for ref in refs if isinstance(ref, dict)]
    return [Key("Dataset", namespace, name) for name in dict.fromkeys(names) if isinstance(name, str)]


def _spec(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = manifest.get("spec")
    return spec if isinstance(spec, dict) else {}


def _loaded(manifest: Mapping[str, Any] | None) -> object:
    return ((manifest or {}).get("status") or {}).get("lastLoadTime")
