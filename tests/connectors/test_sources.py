"""The contract of every Source: each row is loaded once, whatever happens to the worker, and the state moves with it.

Workers that are killed are in test_kills.
"""

import time
from pathlib import Path

import pytest

from connectors.contract import adapters, proxy
from connectors.contract.adapters import BAD, SOURCES, Fault, SourceAdapter
from connectors.contract.rig import Rig, reading
from penstock.connectors import registry
from penstock.runs import places
from worker.pods import field

Adapter = type[SourceAdapter]
WHOLE = [each for each in SOURCES.values() if not each.another_login]


def those(*able: Adapter) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("adapter", able, ids=[each.name or each.system for each in able])


every = those(*WHOLE)
MATRIX = those(*(each for each in WHOLE if each.matrix))
HOSTILE = those(*(each for each in WHOLE if each.hostile_columns))
NETWORK = those(*(each for each in WHOLE if each.address.fget is not adapters.Adapter.address.fget))  # type: ignore[attr-defined]
CREDENTIALS = those(*(each for each in SOURCES.values() if each.rotate is not adapters.Adapter.rotate))


MISSING: set[str] = set()
"""Sources that are not in the suite yet."""


def test_every_source_of_the_registry_is_in_the_suite() -> None:
    readable = {name for name, spec in registry.SOURCES.items() if spec.traits.source} - MISSING
    there = {each.system for each in SOURCES.values() if each.implementation is None}
    assert there == readable
    for each in SOURCES.values():
        if each.implementation is None:
            assert each.matrix, f"{each.system} has no matrix of types"
            assert each.faults, f"{each.system} names no reason that its check gives"
            assert each.hostile_columns, f"{each.system} has no odd names"


@pytest.mark.parametrize(
    ("adapter", "fault"),
    [
        pytest.param(each, fault, id=f"{name}-{fault.name.replace(' ', '-')}")
        for name, each in SOURCES.items()
        for fault in each.faults
    ],
)
def test_what_is_wrong_is_said_before_and_during_a_run(adapter: Adapter, fault: Fault, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        fault.bring_about(rig.source)
        rig.prepare(kind="inspect-source")
        assert rig.work("check") in (places.EXIT_CONFIGURATION, places.EXIT_AGAIN)
        report = rig.report("check")
        assert (report.state, report.reason) == ("Failed", fault.reason), report.message
        assert report.message
        if fault.fails_runs:
            rig.prepare()
            assert rig.work("r1") in (places.EXIT_CONFIGURATION, places.EXIT_AGAIN)
            assert rig.report("r1").reason == fault.reason


@every
def test_discovery_names_streams_and_columns(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        source = rig.port()
        source.check()
        streams = {stream.name: stream for stream in source.discover()}
        assert {*adapter.streams} <= {*streams}
        for name in adapter.streams:
            assert [column.name for column in streams[name].fields] == ["id", "word"]


@MATRIX
def test_types_are_discovered_and_values_are_exact_or_their_rows_are_bad(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        stream = rig.source.fill_matrix()
        rig.prepare(kind="inspect-source")
        discovered = {each.name: each for each in rig.port().discover()}[stream]
        types = {each.name: each.type for each in discovered.fields}
        wanted = {cell.column: cell.field_type for cell in adapter.matrix}
        assert {"id", *wanted} <= {*types}
        if adapter.typed:
            assert types | {cell.column: cell.discovered or cell.field_type for cell in adapter.matrix} == types
        fields = [field("id", "long", required=True), *(field(name, kind) for name, kind in wanted.items())]
        rig.prepare([stream], schema={"fields": fields})
        assert rig.work("r1") == 0
        rows = {row["id"]: row for row in rig.rows()}
        assert len(rows) == len(rig.rows())
        for number, cell in enumerate(adapter.matrix):
            if cell.expected is BAD:
                assert number not in rows, cell
            else:
                value = rows[number][cell.column]
                assert (value, type(value)) == (cell.expected, type(cell.expected)), cell
        bad = [row["field"] for row in rig.rows(suffix="_quarantine")]
        assert sorted(bad) == sorted(cell.column for cell in adapter.matrix if cell.expected is BAD)


@HOSTILE
def test_odd_names_are_names(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        stream = rig.source.fill_hostile()
        rig.prepare(kind="inspect-source")
        discovered = {each.name: each for each in rig.port().discover()}[stream]
        assert {*adapter.hostile_columns} <= {column.name for column in discovered.fields}
        quoted = ['"' + name.replace('"', '""') + '"' for name in adapter.hostile_columns]
        fields = [field(f"f{number}", "string", from_=name) for number, name in enumerate(quoted)]
        rig.prepare([stream], schema={"fields": fields})
        assert rig.work("r1") == 0
        [row] = rig.rows()
        assert [row[f"f{number}"] for number in range(len(quoted))] == [f"v{number}" for number in range(len(quoted))]


@pytest.mark.parametrize("count", [0, 1, 3000])
@every
def test_empty_one_row_and_many(adapter: Adapter, count: int, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, count) as rig:
        assert rig.work("r1") == 0
        assert rig.loaded() == rig.expected(count)
        assert all(dataset.counts.read == count for dataset in rig.report("r1").datasets)
        words_ = {row["word"] for row in rig.rows()}
        assert words_ == {f"{adapter.streams[0]} {number}" for number in range(count)}


@every
def test_what_has_come_since_is_loaded_once(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        for run_id in ("r1", "r2"):
            assert rig.work(run_id) == 0
            assert rig.loaded() == rig.expected(25)
        rig.add(7, 25)
        assert rig.work("r3") == 0
        assert rig.loaded() == rig.expected(32)
        rig.source.acknowledged()
        assert rig.work("r3") == 0
        assert rig.report("r3").datasets[0].earlier, "a committed run answers with its report"
        assert rig.loaded() == rig.expected(32)


@every
def test_a_change_while_it_is_read(adapter: Adapter, tmp_path: Path) -> None:
    """A run loads what was there when it began, or fails; the next one loads the rest, and nothing comes twice."""
    with reading(adapter, tmp_path) as rig:
        (pause := tmp_path / "pause").mkdir()
        worker = rig.start("r1", "planned", f"wait {pause}")
        until = time.monotonic() + 120
        while not (pause / "waiting").exists():
            assert worker.poll() is None, rig.wait(worker)
            assert time.monotonic() < until
            time.sleep(0.02)
        rig.add(5, 25)
        (pause / "go").touch()
        code = rig.wait(worker)
        if adapter.consistent:
            assert code == 0
            assert rig.loaded()[0] == [*range(25)], "the first stream was planned when the rest came"
        elif code:
            assert code in (places.EXIT_CONFIGURATION, places.EXIT_AGAIN)
            assert rig.loaded()[0] == []
        assert rig.work("r2") == 0
        assert rig.loaded() == rig.expected(30)


@every
def test_memory_is_bounded(adapter: Adapter, tmp_path: Path) -> None:
    """Of the data that one table has beyond another, less than half is in memory at once; that is a few chunks."""
    if adapter.implementation is not None:
        pytest.skip("a Source that exists in tests alone has all of its rows in memory")
    if adapter.loads_whole:
        pytest.skip("an input is in memory as a whole, and refused beyond a bound")
    peaks = []
    row_bytes, small, large = 1000, 50_000, 250_000
    for part, count in (("small", small), ("large", large)):
        with reading(adapter, tmp_path / part, 0) as rig:
            rig.source.fill_large(adapter.streams[0], count, row_bytes)
            rig.prepare(adapter.streams[:1])
            environment = {places.MEMORY_LIMIT: str(512 << 20)}
            assert rig.measured("r1", **environment) == 0
            assert rig.report("r1").datasets[0].counts.loaded == count
            peaks.append(rig.peak_memory)
    assert peaks[1] < 512
    assert peaks[1] - peaks[0] < (large - small) * row_bytes / 2 / 2**20, f"MiB: {peaks}"


@NETWORK
def test_cut_connections_load_nothing_twice(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, 0) as rig:
        for stream in adapter.streams:
            rig.source.fill_large(stream, 3000, 100)
        address = rig.source.address
        assert address is not None
        with proxy.between(address) as between:
            rig.source.reach_through("127.0.0.1", between.port)
            rig.prepare()
            for run_id, bytes_ in (("r1", 0), ("r1", 2_000), ("r1", 60_000)):
                between.cut_after = bytes_
                code = rig.work(run_id)
                assert between.cuts
                if code:
                    assert code == places.EXIT_AGAIN, rig.output
                    assert rig.report(run_id).reason in ("Unreachable", "Timeout"), rig.report(run_id).message
            between.cut_after = None
            assert rig.work("r1") == 0
            assert rig.loaded() == rig.expected(3000)


@NETWORK
def test_latency_is_borne(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        address = rig.source.address
        assert address is not None
        with proxy.between(address) as between:
            rig.source.reach_through("127.0.0.1", between.port)
            between.latency = 0.05
            rig.prepare()
            assert rig.work("r1") == 0
            assert between.connections
            assert rig.loaded() == rig.expected(25)


@NETWORK
def test_a_server_that_is_not_there_is_unreachable(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        address = rig.source.address
        assert address is not None
        with proxy.between(address) as between:
            port = between.port
        rig.source.reach_through("127.0.0.1", port)
        rig.prepare()
        assert rig.work("r1") == places.EXIT_AGAIN
        assert rig.report("r1").reason == "Unreachable"


@CREDENTIALS
def test_rotated_credentials_are_used_as_soon_as_the_secret_has_them(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        assert rig.work("r1") == 0
        fresh = rig.source.rotate()
        assert fresh is not None
        rig.add(2, 25)
        assert rig.work("r2") == places.EXIT_CONFIGURATION
        assert rig.report("r2").reason == "WrongCredentials"
        rig.source.secrets = fresh
        rig.prepare()
        assert rig.work("r2") == 0
        assert rig.loaded() == rig.expected(27)


def _change_stream(rig: Rig, dataset: dict[str, object]) -> int:
    """Prepare an order whose second Dataset has these settings, and carry it out."""
    rig.prepare()
    assert rig.pod.more is not None
    orders, people = rig.pod.more["datasets"]
    rig.pod.more["datasets"] = [orders, {**people, **dataset}]
    rig.pod.prepare()
    return rig.work(f"r{time.monotonic_ns()}")


@those(SOURCES["change-stream"])
def test_the_slot_waits_for_the_dataset_that_failed(adapter: Adapter, tmp_path: Path) -> None:
    strict = {"schema": {"fields": [field("id", "long", required=True, maximum="3")]}}
    with reading(adapter, tmp_path) as rig:
        assert _change_stream(rig, {**strict, "quality": {"maxBadRatio": "0%"}}) == places.EXIT_CONFIGURATION
        assert rig.source.content["slot"] == 0  # type: ignore[attr-defined]
        assert _change_stream(rig, {}) != 0, "the table of people was made for another schema"
        assert _change_stream(rig, {**strict, "quality": {"maxBadRatio": "100%"}}) == 0
        assert rig.loaded() == [[*range(25)], [0, 1, 2, 3]]
        locators = [row["locator"] for row in rig.rows(1, "_quarantine")]
        assert sorted(locators) == sorted(f"changes/people key {number}" for number in range(4, 25))
        rig.source.acknowledged()


@those(SOURCES["change-stream"])
def test_deletes_are_counted_as_ignored(adapter: Adapter, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, 4) as rig:
        content = rig.source.content  # type: ignore[attr-defined]
        content["log"].insert(3, ["orders", {"id": "1", "deleted": True}])
        rig.source.save(content)  # type: ignore[attr-defined]
        assert rig.work("r1") == 0
        first, second = rig.report("r1").datasets
        assert (first.counts.read, first.counts.loaded, second.counts.read) == (5, 4, 4)
        assert first.counts.ignored == 1
        assert rig.loaded() == rig.expected(4)
