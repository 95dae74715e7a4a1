"""The contract of every Source that is read by a cursor: each row is loaded once, whatever happens to the worker."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.contract.adapters import SOURCES, Row, SourceAdapter
from connectors.contract.rig import FIELDS, Rig, reading
from penstock.connectors import registry
from penstock.runs import places

Adapter = type[SourceAdapter]
ABLE = [
    each
    for each in SOURCES.values()
    if each.implementation is None and not each.another_login and registry.SOURCES[each.system].traits.cursors
]
every = pytest.mark.parametrize("adapter", ABLE, ids=[each.name or each.system for each in ABLE])


KEYED = {"fields": [*FIELDS], "primaryKey": ["id"]}


def test_sources_of_databases_are_read_by_a_cursor() -> None:
    assert {each.system for each in ABLE} == {"duckdb", "mysql", "postgres", "sqlite"}


def prepare(rig: Rig, cursor: str = "id", streams: Sequence[str] = (), **dataset: object) -> None:
    rig.prepare(streams, "ingest", **{"sync": "incremental", "writeMode": "append", "cursor": cursor, **dataset})


@every
def test_killed_at_any_step_each_row_is_appended_once(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, count=5) as rig:
        prepare(rig)
        assert rig.work("r1") == 0
        there = 5
        for step in ("planned", "staged", "before the acknowledgement"):
            rig.add(2, there)
            assert rig.killed(step, step) == -9
            rig.add(1, there + 2)  # the next attempt finds more than the one that was killed
            assert rig.work(step) == 0
            there += 3
        assert rig.work("rest") == 0
        assert rig.loaded() == rig.expected(there)
        assert rig.work("last") == 0
        assert {entry.state for entry in rig.report("last").datasets} == {"Unchanged"}


def same(start: int, count: int, word: str) -> list[Row]:
    return [{"id": str(number), "word": word} for number in range(start, start + count)]


@every
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_rows_with_the_value_of_the_mark_are_loaded_once(adapter: Adapter, mode: str, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, count=1) as rig:
        stream = adapter.streams[0]
        schema: dict[str, object] = {"schema": KEYED} if mode == "upsert" else {}
        prepare(rig, "word", [stream], writeMode=mode, **schema)
        rig.source.fill(stream, same(0, 3, 'a "ä"'))
        assert rig.work("r1") == 0
        rig.source.add(stream, same(3, 2, 'a "ä"'))
        assert rig.work("r2") == 0
        rig.source.add(stream, same(5, 2, 'b "ä"'))
        rig.source.add(stream, same(7, 1, "A"))
        assert rig.work("r3") == 0
        assert sorted(row["id"] for row in rig.rows()) == [*range(7)]
        assert rig.report("r3").datasets[0].cursor == 'b "ä"'


def test_a_table_that_was_dropped_is_loaded_from_the_beginning(tmp_path: Path) -> None:
    with reading(SOURCES["sqlite"], tmp_path, count=3) as rig:
        prepare(rig)
        assert rig.work("r1") == 0
        table = rig.pod.table("d0")
        table.catalog.drop_table(table.name())
        rig.add(2, 3)
        assert rig.work("r2") == 0
        assert rig.loaded() == rig.expected(5)


@every
def test_a_mark_of_another_cursor_is_refused(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, count=2) as rig:
        prepare(rig)
        assert rig.work("r1") == 0
        prepare(rig, cursor="word")
        assert rig.work("r2") == places.EXIT_CONFIGURATION
        assert "the mark in the ledger belongs to another cursor" in (rig.report("r2").message or "")
        prepare(rig, cursor="nothing")
        assert rig.work("r3") == places.EXIT_CONFIGURATION
        assert 'no column "nothing" for the cursor' in (rig.report("r3").message or "")


@every
def test_lookback_reads_rows_before_the_mark_again(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, count=1) as rig:
        stream = adapter.streams[0]
        prepare(rig, "id", [stream], writeMode="upsert", lookback="10", schema=KEYED)
        rig.source.add(stream, same(100, 1, "first"))
        assert rig.work("r1") == 0
        rig.source.add(stream, [*same(90, 1, "late"), *same(89, 1, "too late")])
        assert rig.work("r2") == 0
        assert sorted(row["id"] for row in rig.rows()) == [0, 90, 100]
