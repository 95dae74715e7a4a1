"""Fifth station: wanted objects against live ones, by the fields that we own. Pure; the only importer of deepdiff."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deepdiff import DeepDiff

from penstock.api import objects
from penstock.control.cluster import owners
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.cluster.store import finished
from penstock.language import scalars, times

ORDER_GRACE = timedelta(minutes=10)
"""How old an order is at least when it goes: it is written before the Job that names it."""

_MERGE_KEYS = ("uid", "mountPath", "name")
"""By which server-side apply merges lists of owner references, of mounts, and of volumes, variables and containers."""


@dataclass(frozen=True)
class Change:
    """An object to apply. `ours` and `theirs` are what of it is compared; `theirs` is None when it is not there."""

    manifest: Manifest
    ours: Any = None
    theirs: Any = None

    @property
    def new(self) -> bool:
        """Whether the object is not there yet."""
        return self.theirs is None

    @property
    def foreign(self) -> bool:
        """Whether somebody else changed the object: it was made from the order that is wanted now, and differs."""
        return not self.new and _orders(self.ours) == _orders(self.theirs)

    def paths(self) -> tuple[str, ...]:
        """Where the object differs, such as root['spec']['schedule']. Takes about 15 ms: for what is rare."""
        return tuple(DeepDiff(self.ours, self.theirs, ignore_order=False).affected_paths)


@dataclass(frozen=True)
class Changes:
    """What to do to the standing objects."""

    apply: tuple[Change, ...] = ()
    suspend: tuple[Manifest, ...] = ()
    """CronJobs that are not wanted any more and whose Jobs have not finished."""
    delete: tuple[Manifest, ...] = ()
    relabel: tuple[Manifest, ...] = ()
    """Jobs that lost one of our labels."""


def between(wanted: Sequence[Manifest] | None, children: Iterable[Manifest], now: datetime) -> Changes:
    """What turns `children` into `wanted`. With nothing wanted (None: the graph has a problem), all stays."""
    live = {Ref.of(child): child for child in children}
    jobs = [child for child in live.values() if child["kind"] == "Job"]
    relabel = tuple(job for job in jobs if owners.lost_labels(job))
    if wanted is None:
        return Changes(relabel=relabel)
    changes = [_change(manifest, live.get(Ref.of(manifest))) for manifest in wanted]
    unwanted = [live[ref] for ref in live.keys() - {Ref.of(manifest) for manifest in wanted}]
    unwanted.sort(key=Ref.of)
    cronjobs = [child for child in unwanted if child["kind"] == "CronJob"]
    busy = [cronjob for cronjob in cronjobs if _has_unfinished(cronjob, jobs)]
    idle = [cronjob for cronjob in cronjobs if cronjob not in busy]
    return Changes(
        apply=tuple(change for change in changes if change is not None),
        suspend=_not_suspended(busy),
        delete=(*idle, *_unused_orders(unwanted, live.values(), now)),
        relabel=relabel,
    )


def going(children: Iterable[Manifest]) -> Changes:
    """What to do when the object itself is being deleted: its CronJobs make no more Jobs. All else goes with it."""
    return Changes(suspend=_not_suspended(child for child in children if child["kind"] == "CronJob"))


def _not_suspended(cronjobs: Iterable[Manifest]) -> tuple[Manifest, ...]:
    return tuple(cronjob for cronjob in cronjobs if not cronjob["spec"].get("suspend"))


def _has_unfinished(cronjob: Manifest, jobs: Iterable[Manifest]) -> bool:
    """Whether a CronJob made one of `jobs` that has not ended."""
    return any(owners.cronjob(job) == cronjob["metadata"]["uid"] and not finished(job) for job in jobs)


def _unused_orders(unwanted: Iterable[Manifest], children: Iterable[Manifest], now: datetime) -> list[Manifest]:
    """Orders old enough that no Job is about to be made for them, and that no Job or CronJob mounts."""
    every = [*children]
    return [child for child in unwanted if _is_old_order(child, now) and not _is_mounted(child, every)]


def _change(manifest: Manifest, live: Manifest | None) -> Change | None:
    if live is None:
        return Change(manifest)
    if manifest.get("immutable"):  # its content decides its name: only whose it is can differ
        manifest_part = {"metadata": manifest["metadata"]}
        ours, theirs = _canonical(manifest_part), _canonical(_projection(live, manifest_part))
        return None if ours == theirs else Change(manifest, ours, theirs)
    ours, theirs = _canonical(manifest), _canonical(_projection(live, manifest))
    if ours == theirs:  # nearly always, and far cheaper than to tell the difference
        return None
    return Change(manifest, ours, theirs)


def _orders(value: Any) -> list[Any]:
    """Which orders an object names in its annotations and those of its templates."""
    if not isinstance(value, Mapping):
        return []
    own = [value[objects.ORDER]] if objects.ORDER in value else []
    return own + [order for member in value.values() for order in _orders(member)]


def _projection(live: Any, wanted: Any) -> Any:
    """The part of a live value that `wanted` speaks of; what the server or others added is left out."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return {key: _projection(live[key], value) for key, value in wanted.items() if key in live}
    if isinstance(wanted, list) and isinstance(live, list):
        live = _without_others(live, wanted)
        if len(wanted) == len(live):
            return [_projection(ours, theirs) for ours, theirs in zip(live, wanted, strict=True)]
    return live


def _without_others(live: list[Any], wanted: list[Any]) -> list[Any]:
    """The entries of a merged list that we speak of, in our order; what others added stays, so it is no difference."""
    entries = [*live, *wanted]
    if not wanted or not all(isinstance(entry, Mapping) for entry in entries):
        return live
    key = next((key for key in _MERGE_KEYS if all(key in entry for entry in entries)), None)
    if key is None:
        return live
    named = {entry[key]: entry for entry in live}
    return [named[entry[key]] for entry in wanted if entry[key] in named]


def _canonical(value: Any, path: tuple[str, ...] = ()) -> Any:
    """Quantities as numbers, and empty maps and lists as absent, as the server sees them."""
    if isinstance(value, Mapping):
        members = {key: _canonical(member, (*path, key)) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in ({}, [], None, "")}
    if isinstance(value, list):
        return [_canonical(member, path) for member in value]
    if isinstance(value, str) and _is_quantity(path):
        return scalars.quantity(value)
    return value


def _is_quantity(path: tuple[str, ...]) -> bool:
    return path[-2:] == ("emptyDir", "sizeLimit") or path[-2:-1] in (("requests",), ("limits",))


def _is_old_order(child: Manifest, now: datetime) -> bool:
    if child["kind"] != "ConfigMap" or not child.get("immutable"):
        return False
    return times.parse(child["metadata"]["creationTimestamp"]) + ORDER_GRACE <= now


def _is_mounted(order: Manifest, children: Iterable[Manifest]) -> bool:
    """Whether a Job or CronJob mounts an order."""
    name = order["metadata"]["name"]
    return any(name in _mounted_maps(child) for child in children if child["kind"] in ("Job", "CronJob"))


def _mounted_maps(child: Manifest) -> set[str]:
    spec = child["spec"]["jobTemplate"]["spec"] if child["kind"] == "CronJob" else child["spec"]
    volumes = spec["template"]["spec"].get("volumes") or []
    return {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
