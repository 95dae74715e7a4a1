"""The five kinds as one picture: how data flows through them, and how each stands. Pure.

```
  SOURCE             PIPELINE            DATASET            SUBSCRIPTION        DESTINATION
  ● flights      ──▶ ● flights      ──▶ ● flights      ──▶ ● delays       ──▶ ● outbox
    reachable          done 2m ago        336,709 rows       done 1m ago        reachable
```
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.api import objects
from penstock.api.objects import Key
from penstock.cli import glance

Object = Mapping[str, Any]
Path = tuple[Key | None, ...]
"""One way through the picture: a Source, a Pipeline, a Dataset, a Subscription, a Destination, as far as they go."""

_HEADINGS = ("SOURCE", "PIPELINE", "DATASET", "SUBSCRIPTION", "DESTINATION")
_ARROW, _SHORT_ARROW = "──▶ ", "→ "
_WIDE = 96


@dataclass(frozen=True)
class World:
    """Every object of a cluster, and who refers to whom."""

    found: Mapping[Key, Object]

    @classmethod
    def of(cls, manifests: Iterable[Object]) -> "World":
        """The world of these objects."""
        return cls({objects.key_of(manifest): manifest for manifest in manifests})

    def spec(self, key: Key) -> Object:
        """An object's spec, read leniently; empty for one that does not exist."""
        spec: Object = self.found.get(key, {}).get("spec") or {}
        return spec

    def referred(self, key: Key, kind: objects.KindName, field: str) -> Key | None:
        """What a reference of an object names."""
        name = (self.spec(key).get(field) or {}).get("name")
        return Key(kind, key.namespace, name) if name else None

    def datasets(self, pipeline: Key) -> list[Key]:
        """The Datasets that a Pipeline loads."""
        entries = self.spec(pipeline).get("datasets") or []
        names = [(entry.get("datasetRef") or {}).get("name") for entry in entries if isinstance(entry, Mapping)]
        return [Key("Dataset", pipeline.namespace, name) for name in names if name]

    def of_kind(self, kind: objects.KindName) -> list[Key]:
        """The objects of a kind, by name."""
        return sorted(key for key in self.found if key.kind == kind)


def paths(world: World) -> list[Path]:
    """Every way data takes, and every object that lies on none, once."""
    subscriptions = defaultdict(list)
    for key in world.of_kind("Subscription"):
        subscriptions[world.referred(key, "Dataset", "datasetRef")].append(key)
    pipelines = defaultdict(list)
    for key in world.of_kind("Pipeline"):
        pipelines[world.referred(key, "Source", "sourceRef")].append(key)

    def onward(dataset: Key | None) -> Iterator[Path]:
        for subscription in _or_none(subscriptions.get(dataset)):
            to = world.referred(subscription, "Destination", "destinationRef") if subscription else None
            yield (dataset, subscription, to)

    found: list[Path] = []
    sources = dict.fromkeys([*world.of_kind("Source"), *(key for key in pipelines if key is not None)])
    for source in sources:
        for pipeline in _or_none(pipelines.get(source)):
            datasets = _or_none(world.datasets(pipeline) if pipeline else None)
            found += [(source, pipeline, *rest) for dataset in datasets for rest in onward(dataset)]
    seen = {key for path in found for key in path}
    loose = dict.fromkeys([*world.of_kind("Dataset"), *(key for key in subscriptions if key is not None)])
    found += [(None, None, *rest) for dataset in loose if dataset not in seen for rest in onward(dataset)]
    seen = {key for path in found for key in path}
    found += [(None, None, None, None, key) for key in world.of_kind("Destination") if key not in seen]
    return found


def _or_none(keys: Sequence[Key] | None) -> Sequence[Key | None]:
    """The keys, or the one gap that stands for none."""
    return keys or [None]


def of(manifests: Iterable[Object], now: datetime, width: int = _WIDE) -> RenderableType:
    """The picture, one for each namespace, and below it what is wrong. Short names fit into a `width` of 80."""
    arrow = _ARROW if width >= _WIDE else _SHORT_ARROW
    by_namespace: defaultdict[str, list[Object]] = defaultdict(list)
    for manifest in manifests:
        by_namespace[manifest["metadata"].get("namespace", "default")].append(manifest)
    parts: list[RenderableType] = []
    for namespace, inside in sorted(by_namespace.items()):
        if len(by_namespace) > 1:
            parts.append(Text(f"\n{namespace}", style="bold underline"))
        parts += [_drawn(World.of(inside), now, arrow), *_troubles(inside)]
    return Group(*parts)


def _drawn(world: World, now: datetime, arrow: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in _HEADINGS:
        table.add_column(heading if heading == _HEADINGS[0] else " " * len(arrow) + heading, overflow="fold")
    above: Path = (None,) * len(_HEADINGS)
    for path in paths(world):
        # What stands above is not said again, as long as the way to it is the same.
        same = next((index for index, (old, new) in enumerate(zip(above, path, strict=True)) if old != new), len(path))
        table.add_row(
            *(_cell(world, path, index, (arrow, now)) if index >= same else Text() for index in range(len(path)))
        )
        above = path
    return table


def _cell(world: World, path: Path, index: int, drawing: tuple[str, datetime]) -> Text:
    key, (arrow, now) = path[index], drawing
    if key is None:
        return Text()
    indent = " " * len(arrow) if index else ""
    lead = arrow if index and path[index - 1] is not None else indent
    manifest = world.found.get(key)
    state = glance.state(manifest) if manifest is not None else "missing"
    mark, colour = glance.MARKS[state]
    cell = Text.assemble((lead, "dim"), (mark, colour), " ", (key.name, "bold"))
    lines = glance.numbers(manifest, now) if manifest is not None else ["does not exist"]
    for line in lines:
        cell.append(f"\n{indent}  {line}", style="red" if manifest is None else "dim")
    return cell


def _troubles(manifests: Iterable[Object]) -> Iterator[Text]:
    order = list(objects.KINDS)
    told: dict[tuple[str, str], list[str]] = {}  # a Pipeline and its Dataset say the same: once is enough
    for manifest in sorted(manifests, key=lambda each: (order.index(each["kind"]), each["metadata"]["name"])):
        for trouble in glance.troubles(manifest):
            names = told.setdefault((trouble.reason, trouble.message), [])
            names.append(f"{manifest['kind']} {manifest['metadata']['name']}")
    for (reason, message), names in told.items():
        yield Text.assemble(
            "\n", ("✗ ", "red"), (", ".join(dict.fromkeys(names)), "bold"), f" {reason}\n", (f"  {message}", "default")
        )
