"""Whose a child is, and what it is for. Pure.

The owner reference decides, with its UID: labels are for selecting and for people, and anybody can change them. An
object that has our labels and no reference to one of the five kinds is foreign, whatever else it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.api import objects
from penstock.api.objects import Key


@dataclass(frozen=True)
class Owner:
    """The object that a child names as its owner. One of the same name with another UID is another object."""

    key: Key
    uid: str


def direct(child: Mapping[str, Any]) -> Owner | None:
    """The object of the five kinds that a child refers to, the controlling one first; None for a foreign object."""
    metadata = child["metadata"]
    references = metadata.get("ownerReferences") or []
    for reference in sorted(references, key=lambda one: not one.get("controller")):
        group = str(reference.get("apiVersion", "")).partition("/")[0]
        kind = objects.KINDS.get(reference.get("kind", ""))
        if group == objects.GROUP and kind is not None:
            return Owner(Key(kind.name, metadata.get("namespace", ""), reference["name"]), str(reference["uid"]))
    return None


def cronjob(job: Mapping[str, Any]) -> str | None:
    """The UID of the CronJob that made a Job; None for a Job that was made otherwise."""
    references = job["metadata"].get("ownerReferences") or []
    uids = (str(one["uid"]) for one in references if one.get("kind") == "CronJob")
    return next(uids, None)


def labels(child: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a child. A Job that lost some still has them on its Pod template, which nobody can change."""
    own: dict[str, str] = child["metadata"].get("labels") or {}
    if child.get("kind") != "Job":
        return own
    template = ((child.get("spec") or {}).get("template") or {}).get("metadata") or {}
    return {**_ours(template.get("labels") or {}), **own}


def lost_labels(job: Mapping[str, Any]) -> dict[str, str]:
    """The labels that a Job should have and does not; empty for one that is as it was made."""
    own = job["metadata"].get("labels") or {}
    template = ((job.get("spec") or {}).get("template") or {}).get("metadata") or {}
    return {name: value for name, value in _ours(template.get("labels") or {}).items() if own.get(name) != value}


def _ours(given: Mapping[str, str]) -> dict[str, str]:
    names = (objects.MANAGED_BY, objects.OWNER_KIND, objects.OWNER_NAME, objects.PURPOSE)
    return {name: given[name] for name in names if name in given}
