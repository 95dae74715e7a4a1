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
    names = {Ref.of(manifest) for manifest in wanted}
    changes = [change for manifest in wanted if (change := _change(manifest, live.get(Ref.of(manifest)))) is not None]
    orphans = [child for ref, child in live.items() if ref not in names]
    bells = [child for child in orphans if child["kind"] == "CronJob"]
    busy = [bell for bell in bells if any(_rung_by(job, bell) and not finished(job) for job in jobs)]
    idle = [bell for bell in bells if bell not in busy]
    orders = [child for child in orphans if _is_old_order(child, now) and not _named(child, live.values())]
    return Changes(
        apply=tuple(changes),
        suspend=tuple(bell for bell in busy if not bell["spec"].get("suspend")),
        delete=(*idle, *orders),
        relabel=relabel,
    )


def going(children: Iterable[Manifest]) -> Changes:
    """What to do when the object itself is being deleted: its CronJobs make no more Jobs. All else goes with it."""
    cronjobs = [child for child in children if child["kind"] == "CronJob" and not child["spec"].get("suspend")]
    return Changes(suspend=tuple(cronjobs))


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


def _named(order: Manifest, children: Iterable[Manifest]) -> bool:
    """Whether a Job or CronJob mounts an order."""
    name = order["metadata"]["name"]
    return any(name in _mounted_maps(child) for child in children if child["kind"] in ("Job", "CronJob"))


def _mounted_maps(child: Manifest) -> set[str]:
    spec = child["spec"]["jobTemplate"]["spec"] if child["kind"] == "CronJob" else child["spec"]
    volumes = spec["template"]["spec"].get("volumes") or []
    return {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}


def _rung_by(job: Manifest, bell: Manifest) -> bool:
    owners = job["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == bell["metadata"]["uid"] for owner in owners)
