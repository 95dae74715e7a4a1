"""The contract of every TableStore that is written by key: random loads against a plain model, row by row."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from connectors.contract.adapters import STORES, Json, Row, SourceAdapter, StoreAdapter
from connectors.contract.rig import Rig
from penstock.connectors import registry
from penstock.runs.report import Counts
from penstock.worker.ports.tablestore import INPUT_ID, LOAD_ID, LOADED_AT
from worker.pods import a_pod
from worker.pods import field as column

_UPSERT = {
    name: each for name, each in STORES.items() if "upsert" in registry.DESTINATIONS[each.system].traits.write_modes
}
by_key = pytest.mark.parametrize("adapter", _UPSERT.values(), ids=_UPSERT)
Adapter = type[StoreAdapter]
FIELDS = [
    column("word", "string"),
    column("id", "long", required=True),
    column("region", "string"),
    column("version", "int"),
    column("ratio", "double"),
]
KILLED_AT = ("staged", "metadata written", "before the commit", "committed")


class Folder(SourceAdapter):
    """CSV files that a test writes."""

    system = "files"
    streams = ("rows",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folder = self.claim("data")
        self.connector = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {"csv": {}}}

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        """Not used: the tests write files."""

    add = fill

    def write(self, name: str, rows: Sequence["Line"]) -> None:
        """Write a file, or another version of it."""
        lines = [",".join(column["name"] for column in FIELDS), *(row.written for row in rows)]
        (self.folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Line:
    """A row as it is written; no id makes it a bad one."""

    id: int | None
    region: str
    word: str = ""
    version: int | None = None
    ratio: str = ""

    @property
    def written(self) -> str:
        """The line of the file."""
        return ",".join(
            "" if each is None else str(each) for each in (self.word, self.id, self.region, self.version, self.ratio)
        )

    @property
    def values(self) -> tuple[object, ...]:
        """What the table has of it beside its key."""
        return self.word or None, self.version, repr(float(self.ratio)) if self.ratio else None


@dataclass
class Model:
    """What must be in the table: by key, the values, and in which run they came from which version of which file."""

    versioned: bool
    rows: dict[tuple[int, str], tuple[Line, str, str]] = field(default_factory=dict)

    def load(self, run: str, files: dict[str, list[Line]]) -> Counts:
        """Merge the files, which are read in the order of their names; the counts."""
        latest: dict[tuple[int, str], tuple[Line, str]] = {}
        counts = Counter[str]()
        for name, rows in sorted(files.items()):
            for row in rows:
                counts["read"] += 1
                if row.id is None or not row.region:
                    counts["quarantined"] += 1
                    continue
                key = row.id, row.region
                if key in latest:
                    counts["superseded"] += 1
                    if self._earlier(row, latest[key][0]):
                        continue
                latest[key] = row, name
        for key, (row, name) in latest.items():
            there = self.rows.get(key)
            if there is not None and self._earlier(row, there[0]):
                counts["superseded"] += 1
            elif there is not None and row.values == there[0].values:
                counts["unchanged"] += 1
            else:
                counts["loaded"] += 1
                counts["replaced"] += there is not None
                self.rows[key] = row, run, name
        return Counts(**counts)

    def _earlier(self, row: Line, other: Line) -> bool:
        if not self.versioned:
            return False
        return (row.version is not None, row.version or 0) < (other.version is not None, other.version or 0)


@contextmanager
def upserting(adapter: Adapter, root: Path, *, versioned: bool = False) -> Iterator[tuple[Rig, Folder]]:
    """A worker that loads files into a table by the key (region, id)."""
    pod = a_pod(root)
    with Folder.running(root) as source, adapter.running(root) as store:
        rig = Rig(pod, source, store)
        schema: Json = {"fields": FIELDS, "primaryKey": ["region", "id"]}
        schema |= {"versionField": "version"} if versioned else {}
        rig.prepare(schema=schema, writeMode="upsert")
        yield rig, source


def table(rig: Rig) -> dict[tuple[int, str], Json]:
    """The table's rows by key; no key stands twice."""
    rows = rig.rows()
    by_keys = {(row["id"], row["region"]): row for row in rows}
    assert len(by_keys) == len(rows)
    return by_keys


def seen(row: Json) -> tuple[object, ...]:
    """A row of the table as `Line.values`."""
    return row["word"], row["version"], None if row["ratio"] is None else repr(row["ratio"])


def a_line(chance: random.Random) -> Line:
    """A row of one of few keys and values, so that they meet often."""
    return Line(
        id=chance.choice([None, *range(12)] if chance.random() < 0.1 else [*range(12)]),
        region=chance.choice(["eu", "us", "ä\U0001f600"]),
        word=chance.choice(["", "x", "y", "z" * 50]),
        version=chance.choice([None, 1, 2, 3]),
        ratio=chance.choice(["", "0.5", "1e300", "2"]),
    )


@by_key
@pytest.mark.parametrize("versioned", [False, True], ids=["by-order", "by-version"])
def test_random_loads_leave_what_a_plain_model_has(adapter: Adapter, versioned: bool, tmp_path: Path) -> None:
    """New files, changed files, rows that meet in one run, bad rows, and workers that are killed on the way."""
    chance, model, files = random.Random(f"{versioned}"), Model(versioned), dict[str, list[Line]]()
    lineage: dict[str, Json] = {}
    with upserting(adapter, tmp_path, versioned=versioned) as (rig, source):
        for number in range(8):
            run, changed = f"r{number}", dict[str, list[Line]]()
            for name in chance.sample(["a", "b", "c", "d"], chance.randint(1, 3)):
                rows = [a_line(chance) for _ in range(chance.randint(0, 25))]
                if name in files and chance.random() < 0.4:
                    rows = [*files[name], Line(100 + number, "eu")]
                changed[name] = rows
                source.write(name, rows)
            files |= changed
            if number % 3 == 1:
                assert rig.killed(run, chance.choice(KILLED_AT)) == -9
            assert rig.work(run) == 0
            assert_as(model, run, model.load(run, changed), rig, lineage)


def assert_as(model: Model, run: str, counts: Counts, rig: Rig, lineage: dict[str, Json]) -> None:
    """The table and the report are as the model says; `lineage` has what rows of earlier runs had."""
    rows = table(rig)
    assert {key: seen(row) for key, row in rows.items()} == {key: row.values for key, (row, _, _) in model.rows.items()}
    [report] = rig.report(run).datasets
    told = {name: getattr(report.counts, name) for name in ("read", *COUNTS)}
    assert told == {name: getattr(counts, name) for name in ("read", *COUNTS)}
    assert report.rows == len(rows)
    own = {row[LOAD_ID] for key, row in rows.items() if model.rows[key][1] == run}
    others = {row[LOAD_ID] for key, row in rows.items() if model.rows[key][1] != run}
    assert len(own) <= 1
    assert all(load > other for load in own for other in others)
    inputs: dict[tuple[str, str], set[int]] = {}
    for key, row in rows.items():
        _, of_run, name = model.rows[key]
        inputs.setdefault((of_run, name), set()).add(row[INPUT_ID])
        there = {column: row[column] for column in (LOAD_ID, LOADED_AT)}
        assert lineage.setdefault(of_run, there) == there
    assert all(len(ids) == 1 for ids in inputs.values())
    assert len(rig.rows(suffix="_quarantine")) == report.quarantined


COUNTS = ("loaded", "unchanged", "superseded", "quarantined", "replaced")
