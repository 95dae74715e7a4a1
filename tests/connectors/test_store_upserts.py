"""The contract of every TableStore that is written by key: random loads against a plain model, row by row."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import nan
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.contract.adapters import STORES, Json, Row, SourceAdapter, StoreAdapter
from connectors.contract.rig import Rig
from connectors.test_stores import bench, entry, publication
from penstock.connectors import registry
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs import places
from penstock.runs.order import RunOrder
from penstock.runs.report import Counts
from penstock.worker.connectors import Connectors
from penstock.worker.ledger import SqlLedger
from penstock.worker.pod import here
from penstock.worker.ports.ledger import Attempt
from penstock.worker.ports.tablestore import INPUT_ID, LOAD_ID, LOADED_AT
from worker.pods import a_pod
from worker.pods import field as column

_UPSERT = {
    name: each for name, each in STORES.items() if "upsert" in registry.DESTINATIONS[each.system].traits.write_modes
}
by_key = pytest.mark.parametrize("adapter", _UPSERT.values(), ids=_UPSERT)
# a lake is the same wherever its files lie; the tests of one load run on every store
of_a_system = pytest.mark.parametrize("adapter", [each for name, each in _UPSERT.items() if name == each.system])
Adapter = type[StoreAdapter]
FIELDS = [
    column("word", "string"),
    column("id", "long", required=True),
    column("region", "string"),
    column("version", "int"),
    column("ratio", "double"),
]
SCHEMA: Json = {"fields": FIELDS, "primaryKey": ["region", "id"]}
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
        rig.prepare(schema=SCHEMA | ({"versionField": "version"} if versioned else {}), writeMode="upsert")
        yield rig, source


def table(rig: Rig) -> dict[tuple[int, str], Json]:
    """The table's rows by key; no key occurs twice."""
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


@of_a_system
@pytest.mark.parametrize("versioned", [False, True], ids=["by-order", "by-version"])
def test_random_loads_leave_what_a_plain_model_has(adapter: Adapter, versioned: bool, tmp_path: Path) -> None:
    """New files, changed files, rows that meet in one run, bad rows, and workers that are killed on the way."""
    chance, model, files = random.Random(f"{versioned}"), Model(versioned), dict[str, list[Line]]()
    lineage: dict[str, Json] = {}
    with upserting(adapter, tmp_path, versioned=versioned) as (rig, source):
        for number in range(6):
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
    assert Counter(row[INPUT_ID] for row in rows.values()) == {
        number: count for number, count, _ in named(rig) if count
    }
    assert all(count for _, count, state in named(rig) if state == "replaced")
    assert len(rig.rows(suffix="_quarantine")) == report.quarantined


def named(rig: Rig) -> list[tuple[int, int, str]]:
    """The ledger's inputs, those that were replaced too: id, how many rows of the table name it, state."""
    dataset = RunOrder.model_validate(rig.pod.order()).datasets[0]
    ledger = Connectors().store_of(dataset.destination, here(rig.pod.environment("reader"))).ledger
    assert isinstance(ledger, SqlLedger)
    with ledger.database.transaction() as cursor:
        cursor.execute("SELECT input_id, loaded, state FROM penstock_inputs ORDER BY input_id")
        return [(int(number), int(count), str(state)) for number, count, state in cursor.fetchall()]


COUNTS = ("loaded", "unchanged", "superseded", "quarantined", "replaced")


@by_key
def test_a_load_by_key_that_is_killed_before_its_commit(adapter: Adapter, tmp_path: Path) -> None:
    with upserting(adapter, tmp_path) as (rig, source):
        source.write("a", [Line(1, "eu", "x"), Line(2, "eu", "x"), Line(1, "eu", "y")])
        assert rig.killed("r1", "before the commit") == -9
        assert rig.work("r1") == 0
        assert rig.store is not None
        assert rig.store.staged() == 0
        source.write("b", [Line(2, "eu", "z"), Line(1, "eu", "y")])
        assert rig.work("r2") == 0
        assert {key: row["word"] for key, row in table(rig).items()} == {(1, "eu"): "y", (2, "eu"): "z"}
        counts = rig.report("r2").datasets[0].counts
        assert (counts.read, counts.loaded, counts.unchanged, counts.superseded, counts.replaced) == (2, 1, 1, 0, 1)


@of_a_system
def test_rows_that_are_equal_move_nothing(adapter: Adapter, tmp_path: Path) -> None:
    """A full read of the same rows leaves the table's files and its load as they are, and bad rows once."""
    with upserting(adapter, tmp_path) as (rig, source):
        rig.prepare(schema=SCHEMA, writeMode="upsert", sync="full")
        source.write("a", [Line(1, "eu", "x"), Line(2, "eu", "y", ratio="0.5"), Line(None, "eu")])
        source.write("b", [Line(3, "eu", "z")])
        assert rig.work("r1") == 0
        before, [first] = table(rig), rig.report("r1").datasets
        assert rig.work("r2") == 0
        [second] = rig.report("r2").datasets
        assert table(rig) == before
        assert (second.counts.unchanged, second.counts.loaded, second.counts.quarantined) == (3, 0, 1)
        assert (first.rows, first.quarantined) == (second.rows, second.quarantined) == (3, 1)
        (source.folder / "b.csv").unlink()
        assert rig.work("r3") == 0
        assert table(rig) == before, "absence is no deletion"
        names = {row[INPUT_ID] for row in before.values()}
        assert rig.work("r4") == 0
        assert [number for number, _, state in named(rig) if state == "replaced"] == sorted(names)
        source.write("a", [Line(1, "eu", "new"), Line(2, "eu", "new")])
        assert rig.work("r5") == 0
        left = [number for number, _, state in named(rig) if state == "replaced"]
        assert left == [max(names)], "an input that no row names is forgotten"


@of_a_system
def test_a_later_commit_by_key_and_what_is_read_of_the_load_before(adapter: Adapter, tmp_path: Path) -> None:
    """What a delivery has recorded is delivered as it was, or not at all: never a mixture."""
    with upserting(adapter, tmp_path) as (rig, source):
        source.write("a", [Line(1, "eu", "x"), Line(2, "eu", "x")])
        assert rig.work("r1") == 0
        dataset = RunOrder.model_validate(rig.pod.order()).datasets[0]
        store = Connectors().store_of(dataset.destination, here(rig.pod.environment("reader")))
        before = store.standing(dataset)
        assert before is not None
        source.write("b", [Line(1, "eu", "y"), Line(3, "eu", "y")])
        assert rig.work("r2") == 0
        if store.traits.snapshots:
            old = store.scan(dataset, ["id", "word"], before.snapshot).rows.read_all().to_pylist()
            assert sorted((row["id"], row["word"]) for row in old) == [(1, "x"), (2, "x")]
            return
        with pytest.raises(NotYet) as gone:
            store.scan(dataset, ["id", "word"], before.snapshot)
        assert gone.value.reason == "DatasetNotReady"


@of_a_system
def test_a_key_of_a_long_text(adapter: Adapter, tmp_path: Path) -> None:
    """A row whose key the store cannot hold is bad; the others are loaded."""
    longest = Connectors().store(adapter.system).traits.longest_key
    chance = random.Random(1)
    texts = {
        size: "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size)) for size in (2400, 2401, 100_000)
    }
    with upserting(adapter, tmp_path) as (rig, source):
        source.write("a", [Line(size, text) for size, text in texts.items()])
        assert rig.work("r1") == 0
        kept = {size for size in texts if longest is None or size <= longest}
        assert {(size, texts[size]) for size in kept} == {*table(rig)}
        bad = rig.rows(suffix="_quarantine")
        assert [row["reason"] for row in bad] == ["KeyTooLong"] * (len(texts) - len(kept))


@of_a_system
def test_the_key_of_a_table(adapter: Adapter, tmp_path: Path) -> None:
    """A key comes while there are no rows, and may go at any time: rows may not fit a new one."""
    with bench(adapter, tmp_path) as there:
        plain, store = there.dataset(), there.store()
        by_id = there.dataset(writeMode="upsert", schema=keyed("id"))
        by_both = there.dataset(writeMode="upsert", schema=keyed("id", "word"))
        store.ensure(plain)
        for dataset in (by_id, by_both, by_id):
            with store.claim(dataset, Attempt("m1", "worker")) as claim:
                assert "Key" in {change.kind for change in store.alter(dataset, claim)}
                assert (store.changes(dataset), store.alter(dataset, claim)) == ([], [])
        there.load("r1", {"a": [1]}, dataset=plain, alter=True)
        for dataset in (by_id, by_both):
            with pytest.raises(InvalidSpec) as refused, store.claim(dataset, Attempt("m2", "worker")) as claim:
                store.alter(dataset, claim)
            assert refused.value.reason == "SchemaChanged"
            assert "the primary key is none there and id" in refused.value.message


def keyed(*key: str) -> Json:
    """The schema of `Bench.dataset` with this key."""
    return {"fields": [column("id", "long", required=True), column("word", "string")], "primaryKey": [*key]}


@of_a_system
def test_a_snapshot_keeps_the_rows_of_each_load(adapter: Adapter, tmp_path: Path) -> None:
    with upserting(adapter, tmp_path) as (rig, source):
        rig.prepare(schema={"fields": FIELDS}, writeMode="snapshot", sync="full")
        source.write("a", [Line(1, "eu", "x"), Line(2, "eu", "y")])
        assert rig.work("r1") == 0
        source.write("a", [Line(1, "eu", "z")])
        assert rig.killed("r2", "before the commit") == -9
        assert rig.work("r2") == 0
        by_load: dict[Json, list[str]] = {}
        for row in sorted(rig.rows(), key=lambda row: int(row["id"])):
            by_load.setdefault(row[LOADED_AT], []).append(row["word"])
        assert [words for _, words in sorted(by_load.items())] == [["x", "y"], ["z"]]
        (source.folder / "b.csv").write_text("other,header\n1,2\n", encoding="utf-8")
        assert rig.work("r3") == places.EXIT_CONFIGURATION, "absence would be read as deletion"
        assert len(rig.rows()) == 3


@of_a_system
def test_a_few_rows_into_many(adapter: Adapter, tmp_path: Path) -> None:
    """Rows before, between and after those that change stay as they are, in a table that is read in several pieces."""
    with upserting(adapter, tmp_path) as (rig, source):
        source.write("a", [Line(number, "eu", "x") for number in range(140_000)])
        assert rig.work("r1") == 0
        changes = {70_000: "y", 139_999: "z", 140_000: "new"}
        source.write("b", [Line(5, "eu", "x"), *(Line(number, "eu", word) for number, word in changes.items())])
        assert rig.work("r2") == 0
        counts = rig.report("r2").datasets[0].counts
        assert (counts.loaded, counts.unchanged, counts.replaced) == (3, 1, 2)
        words = {row["id"]: row["word"] for row in rig.rows()}
        assert words == {number: changes.get(number, "x") for number in range(140_001)}


@of_a_system
def test_a_version_that_is_not_a_number_is_the_greatest(adapter: Adapter, tmp_path: Path) -> None:
    """The same in the table as among the rows of one run."""
    version = column("version", "double")
    schema: Json = keyed("id") | {"fields": [*keyed("id")["fields"], version], "versionField": "version"}
    loads: list[list[tuple[str, float | None]]] = [[("x", nan), ("v", 7.0)], [("y", 5.0)], [("z", nan)], [("w", None)]]
    words = []
    with bench(adapter, tmp_path) as at:
        for number, rows in enumerate(loads):
            store, dataset = at.store(), at.dataset(schema=schema, writeMode="upsert")
            store.ensure(dataset)
            with store.claim(dataset, Attempt(f"r{number}", "worker")) as claim:
                [planned] = store.ledger.new_input_ids(claim, 1)
                writer = store.writer(claim, dataset, "0")
                lineage = (planned, claim.load_id, datetime.now(UTC))
                values = [(1, word, each, *lineage, order) for order, (word, each) in enumerate(rows)]
                columns = [pa.array(each) for each in zip(*values, strict=True)]
                writer.write(pa.Table.from_arrays(columns, names=writer.schema.names).cast(writer.schema))
                entries = [entry(planned, f"{number}", len(rows))]
                store.publish(claim, publication(dataset, writer.close(), entries, mode="upsert"))
            words.append([row["word"] for row in at.adapter.rows("things")])
    assert words == [["x"], ["x"], ["z"], ["z"]]
