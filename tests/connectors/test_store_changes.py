"""The contract of every TableStore when a Dataset's schema changes: `changes` and `alter`."""

from pathlib import Path

import pytest

from connectors.contract.adapters import Json
from connectors.test_stores import Adapter, bench, every
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder
from penstock.worker.jobs import applied
from penstock.worker.ports.ledger import Attempt
from penstock.worker.ports.tablestore import INPUT_ID, LINEAGE, Standing, TableStore
from worker.pods import field

_WORD, _OTHER = field("word", "string"), field("other", "decimal(5,2)")


@every
def test_safe_changes_keep_every_row(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1], "b": [2]}, dataset=there.dataset(field("id", "int", required=True), _WORD))
        changed = there.dataset(
            field("more", "date"), field("text", "string", renamedFrom="word"), field("id", "long"), _OTHER
        )
        store = there.store()
        with pytest.raises(NotYet):
            store.ensure(changed)
        with store.claim(changed, Attempt("m1", "worker")) as claim:
            made = store.alter(changed, claim)
            assert all(change.safe for change in made)
            assert {change.kind for change in made} == {"AddColumn", "Rename", "Widen", "Relax"}
            assert (store.changes(changed), store.alter(changed, claim)) == ([], [])
        columns = ["more", "text", "id", "other", *LINEAGE.names]
        assert {column.name for column in _standing(store, changed).columns} == {*columns[:4]}
        read = sorted(store.scan(changed, columns).rows.read_all().to_pylist(), key=lambda row: int(row["id"]))
        assert [(row["more"], row["text"], row["id"], row["other"]) for row in read] == [
            (None, "w1", 1, None),
            (None, "w2", 2, None),
        ]
        assert [row[INPUT_ID] for row in read] == [there.inputs()["a"], there.inputs()["b"]]


@every
def test_a_table_without_rows_takes_any_change(adapter: Adapter, tmp_path: Path) -> None:
    with bench(adapter, tmp_path) as there:
        before = there.dataset(field("id", "string"), _WORD, field("gone", "date"))
        store = there.store()
        store.ensure(before)
        with store.claim(there.dataset(), Attempt("m1", "worker")) as claim:
            made = {(change.kind, change.column) for change in store.alter(there.dataset(), claim)}
        assert made == {("Retype", "id"), ("Require", "id"), ("DropColumn", "gone")}
        there.load("r1", {"a": [1]})
        assert there.ids() == [1]


@every
@pytest.mark.parametrize(
    "fields",
    [
        [field("id", "string", required=True), field("word", "string")],
        [field("id", "long", required=True)],
        [field("id", "long", required=True), field("word", "string", required=True)],
        [field("id", "long", required=True), field("word", "string"), field("more", "date", required=True)],
        [field("id", "int", required=True), field("word", "string"), field("more", "date")],
    ],
)
def test_other_changes_of_a_table_with_rows_change_nothing(
    adapter: Adapter, tmp_path: Path, fields: list[Json]
) -> None:
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1]})
        changed, store = there.dataset(*fields), there.store()
        differ = store.changes(changed)
        assert not all(change.safe for change in differ)
        with (
            store.claim(changed, Attempt("m1", "worker")) as claim,
            pytest.raises(InvalidSpec, match="Nothing was changed") as refused,
        ):
            store.alter(changed, claim)
        assert refused.value.reason == "SchemaChanged"
        assert (store.changes(changed), store.changes(there.dataset()), there.ids()) == (differ, [], [1])


@every
def test_the_schema_that_was_applied_last_is_kept(adapter: Adapter, tmp_path: Path) -> None:
    """Loads go by it while the table cannot take another one, whichever store keeps it."""
    with bench(adapter, tmp_path) as there:
        there.load("r1", {"a": [1]})
        dataset, store = there.dataset(), there.store()
        refused = there.dataset(field("id", "string", required=True))
        with store.claim(dataset, Attempt("r2", "worker")) as claim:
            with pytest.raises(InvalidSpec):
                applied.ensured(store, claim, refused)  # nothing is recorded yet
            assert applied.ensured(store, claim, dataset) is dataset
            before = applied.ensured(store, claim, refused)
            assert (before.schema_, before.write_mode) == (dataset.schema_, dataset.write_mode)
        applied.record_first(store, refused)
        with store.claim(dataset, Attempt("r3", "worker")) as claim:
            assert applied.ensured(store, claim, refused).schema_ == dataset.schema_


def _standing(store: TableStore, dataset: DatasetOrder) -> Standing:
    standing = store.standing(dataset)
    assert standing is not None
    return standing
