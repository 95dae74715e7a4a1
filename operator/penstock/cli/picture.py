"""The five kinds as one picture: how data flows through them, and how each stands. Pure.

```
  SOURCE             PIPELINE            DATASET            SUBSCRIPTION        DESTINATION
  ● flights      ──▶ ● flights      ──▶ ● flights      ──▶ ● delays       ──▶ ● outbox
    reachable          done 2m ago        336,709 rows       done 1m ago        reachable
```
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from penstock.api import objects
from penstock.api.objects import Key
from penstock.cli import glance
from penstock.cli.glance import State
from penstock.language import visible

Object = Mapping[str, Any]
Path = tuple[Key | None, ...]
"""One way through the picture: a Source, a Pipeline, a Dataset, a Subscription, a Destination, as far as they go."""

_HEADINGS = ("SOURCE", "PIPELINE", "DATASET", "SUBSCRIPTION", "DESTINATION")
_ARROW, _SHORT_ARROW = "──▶ ", "→ "
_ABOVE = "↑"
"""Stands before what is drawn in full further up."""
_WIDE = 96


@dataclass(frozen=True)
class World:
    """Every object of a cluster, and who refers to whom."""

    items: Mapping[Key, Object]

    @classmethod
    def of(cls, manifests: Iterable[Object]) -> "World":
        """The world of these objects."""
        return cls({objects.key_of(manifest): manifest for manifest in manifests})

    def spec(self, key: Key) -> Object:
        """An object's spec, read leniently; empty for one that does not exist."""
        spec: Object = self.items.get(key, {}).get("spec") or {}
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
        return sorted(key for key in self.items if key.kind == kind)


def paths(world: World) -> list[Path]:
    """Every way data takes, and every object that lies on none, once."""
    subscriptions = defaultdict(list)
    for key in world.of_kind("Subscription"):
        subscriptions[world.referred(key, "Dataset", "datasetRef")].append(key)
    pipelines = defaultdict(list)
    for key in world.of_kind("Pipeline"):
        pipelines[world.referred(key, "Source", "sourceRef")].append(key)

    drawn: set[Key] = set()

    def onward(dataset: Key | None) -> Iterator[Path]:
        """From a Dataset on; only itself where several Pipelines load it and what follows stands behind the first."""
        behind = () if dataset in drawn else subscriptions.get(dataset, ())
        if dataset is not None:
            drawn.add(dataset)
        for subscription in _or_none(behind):
            to = world.referred(subscription, "Destination", "destinationRef") if subscription else None
            yield (dataset, subscription, to)

    drawings: list[Path] = []
    sources = dict.fromkeys([*world.of_kind("Source"), *(key for key in pipelines if key is not None)])
    for source in sources:
        for pipeline in _or_none(pipelines.get(source, ())):
            for dataset in _or_none(world.datasets(pipeline) if pipeline else ()):
                drawings += [(source, pipeline, *rest) for rest in onward(dataset)]
    loose = dict.fromkeys([*world.of_kind("Dataset"), *(key for key in subscriptions if key is not None)])
    drawings += [(None, None, *rest) for dataset in loose if dataset not in drawn for rest in onward(dataset)]
    seen = {key for path in drawings for key in path}
    drawings += [(None, None, None, None, key) for key in world.of_kind("Destination") if key not in seen]
    return drawings


def _or_none(keys: Sequence[Key] | None) -> Sequence[Key | None]:
    """The keys, or the one gap that stands for none."""
    return keys or [None]


def of(manifests: Iterable[Object], now: datetime, width: int = _WIDE) -> RenderableType:
    """The picture, one for each namespace, below it what is wrong, and at the end what the marks mean.

    Short names fit into a `width` of 80.
    """
    arrow = _ARROW if width >= _WIDE else _SHORT_ARROW
    marks: set[str] = set()
    by_namespace: defaultdict[str, list[Object]] = defaultdict(list)
    for manifest in manifests:
        by_namespace[manifest["metadata"].get("namespace", "default")].append(manifest)
    parts: list[RenderableType] = []
    for namespace, inside in sorted(by_namespace.items()):
        if len(by_namespace) > 1:
            parts.append(Text(f"\n{visible.line(namespace)}", style="bold underline"))
        table, used = _drawn(World.of(inside), now, arrow)
        marks |= used
        parts += [table, *_troubles(inside)]
    return Group(*parts, _legend(marks))


def _legend(marks: Set[str]) -> Text:
    """What the marks mean that are there."""
    meanings = {glance.MARKS[state]: glance.MEANINGS[state] for state in glance.MARKS}
    entries = [
        ((f"{mark} ", colour), (f"{meaning}   ", "dim"))
        for (mark, colour), meaning in meanings.items()
        if mark in marks
    ]
    entries += [((f"{_ABOVE} ", "dim"), ("shown above", "dim"))] if _ABOVE in marks else []
    return Text.assemble("\n", *(part for entry in entries for part in entry))


def _drawn(world: World, now: datetime, arrow: str) -> tuple[Table, set[str]]:
    """The picture of one namespace, and the marks in it."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for heading in _HEADINGS:
        table.add_column(heading if heading == _HEADINGS[0] else " " * len(arrow) + heading, overflow="fold")
    above: Path = (None,) * len(_HEADINGS)
    drawn: set[Key] = set()
    marks: set[str] = set()
    for path in paths(world):
        # What stands above is not said again, as long as the way to it is the same.
        same = next((index for index, (old, new) in enumerate(zip(above, path, strict=True)) if old != new), len(path))
        cells = [Text() for _ in path]
        for index, key in enumerate(path):
            if index >= same and key is not None:
                mark = _ABOVE if key in drawn else glance.MARKS[_state(world, key)][0]
                marks.add(mark)
                lead = "" if index == 0 else arrow if path[index - 1] is not None else " " * len(arrow)
                cells[index] = _named(key, lead) if key in drawn else _cell(world, key, lead, now)
                drawn.add(key)
        table.add_row(*cells)
        above = path
    return table, marks


def _state(world: World, key: Key) -> State:
    manifest = world.items.get(key)
    return glance.state(manifest) if manifest is not None else "missing"


def _named(key: Key, lead: str) -> Text:
    """What is drawn further up, by its name alone."""
    return Text.assemble((lead, "dim"), (f"{_ABOVE} ", "dim"), visible.line(key.name))


def _cell(world: World, key: Key, lead: str, now: datetime) -> Text:
    manifest = world.items.get(key)
    mark, colour = glance.MARKS[_state(world, key)]
    cell = Text.assemble((lead, "dim"), (mark, colour), " ", (visible.line(key.name), "bold"))
    lines = glance.numbers(manifest, now) if manifest is not None else ["does not exist"]
    for line in lines:
        cell.append(f"\n{' ' * len(lead)}  {visible.line(line)}", style="red" if manifest is None else "dim")
    return cell


def _troubles(manifests: Iterable[Object]) -> Iterator[Text]:
    order = list(objects.KINDS)
    subjects: dict[tuple[State, str, str], list[str]] = {}  # a Pipeline and its Dataset say the same: once is enough
    for manifest in sorted(manifests, key=lambda each: (order.index(each["kind"]), each["metadata"]["name"])):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        for trouble in glance.troubles(manifest):
            subjects.setdefault(("bad", trouble.reason, trouble.message), []).append(name)
        for wait in glance.held_up(manifest):
            subjects.setdefault(("working", wait.reason, wait.message), []).append(name)
    for (state, reason, message), names in subjects.items():
        mark, colour = glance.MARKS[state]
        subject = (visible.line(", ".join(dict.fromkeys(names))), "bold")
        yield Text.assemble(
            "\n", (f"{mark} ", colour), subject, f" {visible.line(reason)}\n", (f"  {visible.line(message)}", "default")
        )
