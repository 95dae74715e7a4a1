"""The contract of every TableStore: staged rows are invisible, a commit is one transaction, a lost claim has no effect.

The tests call the port. Workers that are killed are in test_kills.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest

from connectors.contract.adapters import STORES, Fault, Json, StoreAdapter
from penstock.connectors import registry
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.language.traits import WriteMode
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import Counts, DatasetReport
from penstock.worker.connectors import Connectors
from penstock.worker.pod import Pod, here
from penstock.worker.ports.ledger import Attempt, Claim, InputEntry
from penstock.worker.ports.tablestore import INPUT_ID, LINEAGE, QUARANTINE, Publication, Staged, TableStore
from worker.pods import APod, a_pod, field, secret

MISSING: set[str] = set()
"""Stores of the registry that are not in the suite yet."""

every = pytest.mark.parametrize("adapter", STORES.values(), ids=STORES)
Adapter = type[StoreAdapter]
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def test_every_store_of_the_registry_is_in_the_suite() -> None:
    there = {name for name, spec in registry.DESTINATIONS.items() if spec.traits.store} - MISSING
    assert {each.system for each in STORES.values()} == there
    assert all(each.faults for each in STORES.values())


@dataclass
class Bench:
    """A running store and its port."""

    adapter: StoreAdapter
    place: APod

    @property
    def pod(self) -> Pod:
        """The Pod."""
        return here(self.place.environment("bench"))

    def put_secrets(self) -> None:
        """Put the Secrets into the Pod as the adapter has them now."""
        for name, keys in self.adapter.secrets.items():
            secret(self.place, name, **keys)

    def store(self) -> TableStore:
        """The store as a worker of its own would open it."""
        connector: Json = {"name": "store", "connector": {self.adapter.system: self.adapter.connector}}
        connector |= {"auth": self.adapter.auth} if self.adapter.auth else {}
        return Connectors().store_of(DestinationOrder.model_validate(connector), self.pod)

    def dataset(self, *fields: Json, table: str = "things", **more: Any) -> DatasetOrder:
        """A Dataset, by default with the fields `id` and `word`."""
        return DatasetOrder.model_validate(
            {
                "owner": {"kind": "Dataset", "namespace": "demo", "name": "things"},
                "destination": {"name": "store", "connector": {self.adapter.system: self.adapter.connector}},
                "table": table,
                "schema": {"fields": [*fields] or [field("id", "long", required=True), field("word", "string")]},
                "writeMode": "append",
                "quality": {"maxBadRatio": "100%"},
                **more,
            }
        )

    def ids(self, table: str = "things") -> list[int]:
        """The ids in the table, as a plain client reads them."""
        return sorted(row["id"] for row in self.adapter.rows(table))

    def load(self, run: str, inputs: Mapping[str, Sequence[int]], **more: Any) -> Claim:
        """Load inputs, by name, with these ids, each input with one bad row; the claim. `alter` migrates before."""
        store, dataset = self.store(), more.pop("dataset", None) or self.dataset()
        with store.claim(dataset, Attempt(run, "worker")) as claim:
            if more.pop("alter", False):
                store.alter(dataset, claim)
            store.ensure(dataset)
            planned = dict(zip(inputs, store.ledger.new_input_ids(claim, len(inputs)), strict=True))
            staged = stage(store, claim, dataset, {planned[name]: ids for name, ids in inputs.items()})
            entries = [entry(planned[name], name, len(ids)) for name, ids in inputs.items()]
            store.publish(claim, publication(dataset, staged, entries, **more))
        return claim

    def inputs(self) -> dict[str, int]:
        """The ids of the ledger's inputs, by their names."""
        return {entry.name: entry.id for entry in self.store().ledger.inputs("demo/things")}


@contextmanager
def bench(adapter: Adapter, root: Path) -> Iterator[Bench]:
    """A store that runs, with its Secrets in the Pod."""
    pod = a_pod(root)
    with adapter.running(root) as running:
        there = Bench(running, pod)
        there.put_secrets()
        yield there


def rows(claim: Claim, input_id: int, ids: Sequence[int]) -> pa.Table:
    values = {"id": pa.array(ids, pa.int64()), "word": pa.array([f"w{number}" for number in ids], pa.string())}
    lineage = (input_id, claim.load_id, NOW)
    columns = {each.name: pa.array([value] * len(ids), each.type) for each, value in zip(LINEAGE, lineage, strict=True)}
    return pa.table(values | columns)


def bad(claim: Claim, input_id: int) -> pa.Table:
    known = {"run": claim.run, "load_id": claim.load_id, "input_id": input_id, "position": 2, "at": NOW}
    known |= {"complete": True, "state": "open", "payload_encoding": "utf-8"}
    blank = {each.name: None if each.nullable else "x" for each in QUARANTINE}
    return pa.Table.from_pylist([{**blank, **known}], schema=QUARANTINE)


def stage(store: TableStore, claim: Claim, dataset: DatasetOrder, inputs: Mapping[int, Sequence[int]]) -> Staged:
    writer = store.writer(claim, dataset, "00000")
    for input_id, ids in inputs.items():
        writer.write(rows(claim, input_id, ids))
        writer.reject(bad(claim, input_id))
    staged = writer.close()
    assert (staged.rows, staged.rejected) == (sum(len(ids) for ids in inputs.values()), len(inputs))
    return staged


def entry(number: int, name: str, count: int) -> InputEntry:
    return InputEntry(number, "demo/load", "things", name, "v", 1, count, 1, "loaded", "schema")


def publication(
    dataset: DatasetOrder,
    staged: Staged,
    inputs: Sequence[InputEntry],
    leaving: Sequence[int] = (),
    mode: WriteMode = "append",
    states: tuple[Any, Any] = (None, None),
) -> Publication:
    """What a commit changes; `states` are the stream's, before and after."""
    counts = Counts(read=staged.rows + staged.rejected, loaded=staged.rows, quarantined=staged.rejected)
    report = DatasetReport(name="things", state="Written", counts=counts)
    return Publication(
        dataset,
        "demo/load",
        "things",
        mode,
        (staged,),
        tuple(inputs),
        tuple(leaving),
        state_before=states[0],
        state=states[1],
        report=report,
    )


@pytest.mark.parametrize(
    ("adapter", "fault"),
    [
        pytest.param(each, fault, id=f"{name}-{fault.name.replace(' ', '-')}")
        for name, each in STORES.items()
        for fault in each.faults
    ],
)
def test_what_is_wrong_is_said(adapter: Adapter, fault: Fault, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        fault.bring_about(there.adapter)
        there.put_secrets()
        with pytest.raises(PenstockError) as said:
            there.store().check()
        assert said.value.reason == fault.reason
        assert not any(
            value in said.value.message for keys in there.adapter.secrets.values() for value in keys.values()
        )


@every
def test_a_store_that_works_passes_its_check(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        for _ in range(2):
            there.store().check()


@every
def test_workers_that_begin_at_the_same_moment_all_see_an_empty_store(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        together = Barrier(8)

        def begin(_: int) -> int:
            together.wait()
            return 0 if there.store().standing(there.dataset()) is None else 1

        with ThreadPoolExecutor(8) as workers:
            assert [*workers.map(begin, range(8))] == [0] * 8


@every
def test_staged_rows_are_invisible_until_they_are_published(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        store, dataset = there.store(), there.dataset()
        with store.claim(dataset, Attempt("r1", "worker")) as claim:
            store.ensure(dataset)
            [number] = store.ledger.new_input_ids(claim, 1)
            staged = stage(store, claim, dataset, {number: [1, 2]})
            assert (there.ids(), there.adapter.rows("things_quarantine")) == ([], [])
            assert store.standing(dataset).rows == 0  # type: ignore[union-attr]
            report = there.store().publish(claim, publication(dataset, staged, [entry(number, "a", 2)]))
        assert report.counts.loaded == 2
        assert there.ids() == [1, 2]
        [quarantined] = there.adapter.rows("things_quarantine")
        assert (quarantined["input_id"], quarantined["position"], quarantined["state"]) == (number, 2, "open")
        standing = store.standing(dataset)
        assert standing is not None
        assert (standing.rows, standing.quarantined) == (2, 1)
        assert [column.name for column in standing.columns] == ["id", "word"]


@every
def test_after_a_table_was_dropped_its_inputs_count_as_never_read(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1, 2]}, states=(None, 7))
        other = there.dataset(table="others", owner={"kind": "Dataset", "namespace": "demo", "name": "others"})
        there.load("r1", {"a": [5]}, dataset=other)
        there.adapter.drop("things")
        store = there.store()
        store.ensure(there.dataset())
        assert (there.inputs(), store.ledger.state("demo/things", "demo/load", "things")) == ({}, None)
        assert [each.name for each in store.ledger.inputs("demo/others")] == ["a"]
        there.load("r2", {"a": [1, 2], "b": [3]})
        assert (there.ids(), there.ids("others")) == ([1, 2, 3], [5])
        store.ensure(there.dataset())
        assert sorted(there.inputs()) == ["a", "b"]


@every
def test_what_is_discarded_is_gone(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        store, dataset = there.store(), there.dataset()
        with store.claim(dataset, Attempt("r1", "worker")) as claim:
            store.ensure(dataset)
            for close in (False, True):
                writer = store.writer(claim, dataset, f"{int(close):05d}")
                writer.write(rows(claim, 1, [1]))
                if close:
                    writer.close()
                writer.discard()
                writer.discard()
        assert (there.ids(), there.adapter.staged()) == ([], 0)


@every
def test_what_a_killed_attempt_has_staged_is_swept(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        store, dataset = there.store(), there.dataset()
        with store.claim(dataset, Attempt("r1", "killed")) as claim:
            store.ensure(dataset)
            stage(store, claim, dataset, {1: [1]})
        again = there.store()
        with again.claim(dataset, Attempt("r1", "next")) as claim:
            again.ensure(dataset)
            again.sweep(claim, dataset)
        assert (there.ids(), there.adapter.staged()) == ([], 0)


@every
def test_a_claim_that_was_taken_over_commits_nothing(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        first, second, dataset = there.store(), there.store(), there.dataset()
        with first.claim(dataset, Attempt("r1", "one")) as old:
            first.ensure(dataset)
            staged = stage(first, old, dataset, {1: [1]})
            with second.claim(dataset, Attempt("r1", "two")) as new:
                assert new.load_id > old.load_id, "the fencing token only grows"
                assert new.attempt == old.attempt + 1
                late = publication(dataset, staged, [entry(1, "a", 1)], states=(None, {"at": 1}))
                with pytest.raises(NotYet) as lost:
                    first.publish(old, late)
        assert lost.value.reason == "LeaseHeld"
        assert (there.ids(), there.adapter.rows("things_quarantine"), there.inputs()) == ([], [], {})
        assert first.ledger.state("demo/things", "demo/load", "things") is None


@every
def test_another_run_waits_for_the_lease(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        store, dataset = there.store(), there.dataset()
        with store.claim(dataset, Attempt("r1", "one")):
            with pytest.raises(NotYet) as held, there.store().claim(dataset, Attempt("r2", "two"), 1.0):
                pass
            assert held.value.reason == "LeaseHeld"
        with there.store().claim(dataset, Attempt("r2", "two"), 1.0) as claim:
            assert claim.attempt == 1


@every
def test_a_commit_is_one_transaction(adapter: Adapter, tmp_path: Path) -> None:
    """What the ledger refuses leaves rows, quarantine, inputs and state as they were."""
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1, 2]}, states=(None, {"at": 1}))
        before = there.inputs()
        with pytest.raises(NotYet) as refused:
            there.load("r2", {"b": [3]}, states=({"at": 1}, {"at": 2}), leaving=[999_999])
        assert refused.value.reason == "CountMismatch"
        assert (there.ids(), len(there.adapter.rows("things_quarantine")), there.inputs()) == ([1, 2], 1, before)
        ledger = there.store().ledger
        assert ledger.state("demo/things", "demo/load", "things") == {"at": 1}
        assert [commit.run for commit in ledger.tail("demo/things")] == ["r1"]


@every
def test_a_state_that_has_moved_meanwhile_is_not_overwritten(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1]}, states=(None, {"at": 1}))
        for before in (None, {"at": 0}):
            with pytest.raises(NotYet) as moved:
                there.load("r2", {"b": [2]}, states=(before, {"at": 2}))
            assert moved.value.reason == "LeaseHeld"
        assert (there.ids(), there.store().ledger.state("demo/things", "demo/load", "things")) == ([1], {"at": 1})
        there.load("r2", {"b": [2]}, states=({"at": 1}, {"at": 2}))
        assert (there.ids(), there.store().ledger.state("demo/things", "demo/load", "things")) == ([1, 2], {"at": 2})


@every
def test_a_committed_run_has_its_report(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1]})
        dataset = there.dataset()
        with there.store().claim(dataset, Attempt("r1", "again")) as claim:
            assert claim.report is not None
            assert DatasetReport.model_validate_json(claim.report).counts.loaded == 1
            staged = stage(there.store(), claim, dataset, {9: [1]})
            with pytest.raises(NotYet):
                there.store().publish(claim, publication(dataset, staged, [entry(9, "b", 1)]))
        assert there.ids() == [1]


@every
def test_rows_leave_by_their_input(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1, 2], "b": [3], "c": [4]})
        old = there.inputs()
        there.load("r2", {"a": [10]}, leaving=[old["a"], old["c"]])
        assert there.ids() == [3, 10]
        new = there.inputs()
        assert {*new} == {"a", "b"}
        assert new["b"] == old["b"]
        assert {row["input_id"] for row in there.adapter.rows("things_quarantine")} == {*new.values()}
        assert {row["id"]: row[INPUT_ID] for row in there.adapter.rows("things")} == {3: new["b"], 10: new["a"]}


@every
def test_a_replace_removes_all_and_an_empty_commit_nothing(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1, 2], "b": [3]})
        there.load("r2", {})
        assert there.ids() == [1, 2, 3]
        old = [*there.inputs().values()]
        there.load("r3", {"c": [7]}, mode="replace", leaving=old)
        assert (there.ids(), {*there.inputs()}) == ([7], {"c"})
        assert len(there.adapter.rows("things_quarantine")) == 1


@every
def test_a_table_of_another_owner_is_not_touched(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1]})
        other = {"kind": "Dataset", "namespace": "demo", "name": "other"}
        with pytest.raises(InvalidSpec) as conflict:
            there.store().ensure(there.dataset(owner=other))
        assert conflict.value.reason == "TableConflict"
        assert there.ids() == [1]


@every
def test_a_table_with_other_columns_is_not_changed_by_a_load(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1]})
        changed = there.dataset(field("id", "long", required=True), field("word", "long"), field("more", "date"))
        store = there.store()
        assert {(change.kind, change.column) for change in store.changes(changed)} == {
            ("AddColumn", "more"),
            ("Retype", "word"),
        }
        assert store.changes(there.dataset()) == []
        with pytest.raises(InvalidSpec) as refused:
            store.ensure(changed)
        assert refused.value.reason == "SchemaChanged"


VALUES: Mapping[str, Sequence[Any]] = {
    "string": ["", "ä\U0001f600\u2028'\"\\", "x" * 100_000],
    "boolean": [True, False],
    "int": [2**31 - 1, -(2**31)],
    "long": [2**63 - 1, -(2**63)],
    "double": [0.1, -1e308, 5e-324, float("inf"), -0.0],
    "decimal(38,0)": [Decimal(10**38 - 1), Decimal(-(10**38) + 1)],
    "decimal(38,38)": [Decimal(f"0.{'9' * 38}")],
    "decimal(5,2)": [Decimal("123.45"), Decimal("-0.01")],
    "date": [date(1, 1, 1), date(9999, 12, 31)],
    "timestamp": [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)],
    "timestamptz": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)],
}
"""The least and the largest that a field of the type holds."""


@every
def test_every_value_of_every_type_is_kept(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        columns = {f"f{number}": kind for number, kind in enumerate(VALUES)}
        store, dataset = there.store(), there.dataset(*(field(name, kind) for name, kind in columns.items()))
        expected = [
            {name: VALUES[kind][row] if row < len(VALUES[kind]) else None for name, kind in columns.items()}
            for row in range(max(map(len, VALUES.values())) + 1)
        ]
        with store.claim(dataset, Attempt("r1", "worker")) as claim:
            store.ensure(dataset)
            writer = store.writer(claim, dataset, "00000")
            numbered = [
                {**row, **dict(zip(LINEAGE.names, (number, claim.load_id, NOW), strict=True))}
                for number, row in enumerate(expected)
            ]
            writer.write(pa.Table.from_pylist(numbered, writer.schema))
            store.publish(claim, publication(dataset, writer.close(), [entry(1, "a", len(expected))]))
        plain = there.adapter.rows("things")  # first: nobody else can open a file that is being scanned
        scan = store.scan(dataset, [*columns, INPUT_ID])
        assert scan.total == len(expected)
        for kept in (plain, scan.rows.read_all().to_pylist()):
            in_order = sorted(kept, key=lambda row: int(row[INPUT_ID]))
            assert [{name: row[name] for name in columns} for row in in_order] == expected


@every
def test_each_name_that_a_manifest_allows_is_kept(adapter: Adapter, tmp_path: Path) -> None:
    names = ("select", "table", "user", "order_", "x" * 63)
    with bench(adapter, tmp_path) as there:
        dataset = there.dataset(*(field(name, "string") for name in names), table="group")
        store = there.store()
        with store.claim(dataset, Attempt("r'1\"; --", "worker")) as claim:
            store.ensure(dataset)
            writer = store.writer(claim, dataset, "00000")
            lineage = dict(zip(LINEAGE.names, (1, claim.load_id, NOW), strict=True))
            writer.write(pa.Table.from_pylist([{**dict.fromkeys(names, "v"), **lineage}], writer.schema))
            store.publish(claim, publication(dataset, writer.close(), [entry(1, 'it\'s "a"', 1)]))
        [row] = there.adapter.rows("group")
        assert [row[name] for name in names] == ["v"] * len(names)


@every
def test_a_scan_is_the_same_each_time(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [*range(500)], "b": [*range(500, 900)]})
        store, dataset = there.store(), there.dataset()
        first = store.scan(dataset, ["word", "id", INPUT_ID])
        assert (first.total, first.rows.schema.names) == (900, ["word", "id", INPUT_ID])
        table = first.rows.read_all()
        assert sorted(table["id"].to_pylist()) == [*range(900)]
        if store.traits.snapshots:
            there.load("r2", {"c": [1000]}, leaving=[there.inputs()["a"]])
            assert there.store().scan(dataset, ["word", "id", INPUT_ID], first.snapshot).rows.read_all().equals(table)
        assert store.scan_quarantine(dataset).rows.read_all().num_rows >= 1


@every
def test_a_scan_without_a_table_is_not_ready(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there, pytest.raises(NotYet) as refused:
        there.store().scan(there.dataset(), ["id"])
    assert refused.value.reason == "DatasetNotReady"
