"""What commands take on their line: objects by name, and lengths of time."""

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from penstock.api import findings, objects
from penstock.api.objects import Key, Kind, KindName
from penstock.language import scalars
from penstock.language.errors import InvalidSpec

if TYPE_CHECKING:
    from penstock.control.cluster.port import Cluster, Manifest

Tiers = Sequence[Sequence[KindName]]

WHAT_RUNS: Tiers = (("Pipeline", "Subscription"), ("Source", "Destination", "Dataset"))
"""Where a NAME alone is looked for: among what runs, and only where nothing there has it, among the others. People call
a Source, its Pipeline and its Dataset alike, and mean the Pipeline."""


ONE_OBJECT = "Name one object: NAME, KIND/NAME or KIND NAME"


class Duration(click.ParamType[int]):
    """A length of time as kubectl takes it and as manifests write it: `30s`, `5m`, `1h30m`; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?", value) or not scalars.seconds(value):
            self.fail(f'"{value}" is not a duration; write 30s, 5m or 1h30m', param, ctx)
        return scalars.seconds(value)


def kind_of(word: str) -> Kind:
    """The kind that a word such as `pipeline`, `pipelines` or `ppl` names, as kubectl takes it."""
    for kind in objects.KINDS.values():
        if word.lower() in (kind.singular, kind.plural, kind.short, f"{kind.plural}.{objects.GROUP}"):
            return kind
    names = [kind.singular for kind in objects.KINDS.values()]
    ending = findings.suggestion(word, names)
    stop = "" if ending.endswith("?") else "."
    raise InvalidSpec(f'"{word}" is not a Penstock kind; {ending}{stop} {ONE_OBJECT}')


async def find(cluster: "Cluster", namespace: str, words: Sequence[str], tiers: Tiers = WHAT_RUNS) -> "Manifest":
    """The object that `flights`, `pipeline/flights` or `pipeline flights` names.

    Raises `InvalidSpec` where there is none, or several of one tier.
    """
    allowed = [kind for tier in tiers for kind in tier]
    match [part for word in words for part in word.split("/")]:
        case [name] if name:
            return await _by_name(cluster, namespace, name, tiers)
        case [word, name] if word and name:
            kind = kind_of(word).name
            if kind not in allowed:
                raise InvalidSpec(f"this command does not take a {kind}; it takes a {_either(allowed)}")
            key = Key(kind, namespace, name)
            if (manifest := await _get(cluster, key)) is None:
                raise InvalidSpec(f"there is no {key}")
            return manifest
        case _:
            raise click.UsageError(ONE_OBJECT)


async def _by_name(cluster: "Cluster", namespace: str, name: str, tiers: Tiers) -> "Manifest":
    for tier in tiers:
        manifests = await asyncio.gather(*(_get(cluster, Key(kind, namespace, name)) for kind in tier))
        matching = [manifest for manifest in manifests if manifest is not None]
        if len(matching) > 1:
            names = [f"{manifest['kind'].lower()}/{name}" for manifest in matching]
            raise InvalidSpec(f'"{name}" is the name of {len(matching)} objects; say which: {_either(names)}')
        if matching:
            return matching[0]
    kinds = [kind for tier in tiers for kind in tier]
    listings = await asyncio.gather(*(cluster.list(kind, namespace, "") for kind in kinds))
    there = {item["metadata"]["name"]: None for listing in listings for item in listing.items}
    ending = f"; {findings.suggestion(name, there)}" if there else ""
    raise InvalidSpec(f'there is no {_either(kinds)} "{name}" in namespace {namespace}{ending}')


async def _get(cluster: "Cluster", key: Key) -> "Manifest | None":
    from penstock.control.cluster.port import NotFound, Ref

    try:
        return await cluster.get(Ref(key.kind, key.namespace, key.name))
    except NotFound:
        return None


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
