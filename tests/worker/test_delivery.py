"""Deliveries: what is in the files, what the manifest says, and that one run delivers once."""

import csv as plain_csv
import gzip
import hashlib
import json
import math
import os
import signal
import sqlite3
import threading
import time
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.language.errors import NotYet
from penstock.worker import watch
from penstock.worker.rows import engine
from worker.pods import APod, a_pod, csv, field


def delivered(pod: APod, run_id: str, form: dict[str, Any], **more: Any) -> Any:
    """Deliver into the claim `out`; the report."""
    compression = more.pop("compression", "none")
    place = {"url": "file:///volumes/out/", "volume": {"claimName": "out"}, "compression": compression}
    there = {"name": "partner", "connector": {"files": place}}
    pod.more = {"delivery": {"destination": there, "format": form, **more}, "identity": "demo/daily"}
    return pod.work(run_id, kind="deliver")


def loaded(root: Path) -> APod:
    pod = a_pod(
        root, field("a", "long"), field("b", "string"), field("c", "decimal(5,2)"), field("s", "string", sensitive=True)
    )
    (pod.data / "1.csv").write_text('a,b,c,s\n1,"x, ""y""",1.5,hidden\n2,,,\n3,"",0.25,hidden\n')
    pod.work("load")
    return pod


def test_csv_as_it_was(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    report = delivered(pod, "d1", {"csv": {}}, suffix="daily/things")
    assert (report.state, report.delivery.rows, report.delivery.files) == ("Succeeded", 3, 1)
    manifest = json.loads((pod.out / "daily/things/manifest.json").read_text())
    (entry,) = manifest["files"]
    content = (pod.out / "daily/things" / entry["name"]).read_bytes()
    assert content == b'a,b,c\n1,"x, ""y""",1.50\n2,,\n3,"",0.25\n'
    assert (entry["rows"], entry["bytes"], entry["sha256"]) == (3, len(content), hashlib.sha256(content).hexdigest())
    assert [column["name"] for column in manifest["schema"]] == ["a", "b", "c"]
    assert (manifest["run"], manifest["dataset"]) == ("d1", "demo/things")
    assert report.delivery.manifest.startswith("file:///volumes/out/daily/things/manifest-")
    assert len([*pod.out.rglob("*.*")]) == 3


def test_formulas_are_escaped_where_it_is_asked_for(tmp_path: Path) -> None:
    texts = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        " =1",
        "\t=1",
        "＝1",
        "\u200b\u00a0=1",
        "\x7f\ufeff@",
        "a=1",
        "'=1",
        "1-1",
        "",
    ]
    pod = a_pod(tmp_path, field("n", "int"), field("t", "string"))
    with (pod.data / "1.csv").open("w", encoding="utf-8", newline="") as file:
        writing = plain_csv.writer(file, quoting=plain_csv.QUOTE_ALL)
        writing.writerows([("n", "t"), *((-number, text) for number, text in enumerate(texts))])
    pod.work("load")
    for run_id, escape in (("d1", False), ("d2", True)):
        delivered(pod, run_id, {"csv": {"escapeFormulas": escape}}, suffix=run_id)
        (file_,) = (pod.out / run_id).glob("*.csv")
        rows = {int(n): t for n, t in plain_csv.reader(file_.read_text(encoding="utf-8").splitlines()[1:])}
        assert [rows[-number] for number in range(len(texts))] == [
            f"'{text}" if escape and number < 9 else text for number, text in enumerate(texts)
        ]


def test_json_lines_with_chosen_fields_and_gzip(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    fields = [{"name": "s", "as": "secret"}, {"name": "a"}, {"name": "b", "exported": False}]
    delivered(pod, "d1", {"json": {}}, fields=fields, compression="gzip")
    (file,) = pod.out.glob("*.jsonl.gz")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"secret": "hidden", "a": 1},
        {"secret": None, "a": 2},
        {"secret": "hidden", "a": 3},
    ]


def test_parquet(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    delivered(pod, "d1", {"parquet": {}})
    (file,) = pod.out.glob("*.parquet")
    assert pq.read_table(file).column("a").to_pylist() == [1, 2, 3]


KINDS: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "string": (pa.string(), ["", 'é😀 "quoted", \\ \0\x01\x7f\u2028\n', ',"v":.5'], []),
    "boolean": (pa.bool_(), [True, False], []),
    "int": (pa.int32(), [-(2**31), 2**31 - 1], []),
    "long": (pa.int64(), [-(2**63), 2**63 - 1], []),
    "double": (
        pa.float64(),
        [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, 1e-7, math.nan, math.inf, -math.inf],
        [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, 1e-7, None, None, None],
    ),
    "date": (pa.date32(), [date(1, 1, 1), date(2026, 12, 31)], ["0001-01-01", "2026-12-31"]),
    "timestamp": (
        pa.timestamp("us"),
        [datetime(2026, 1, 1), datetime(2026, 1, 1, 12, 0, 0, 120_000), datetime(1, 1, 1, 0, 0, 0, 1)],
        ["2026-01-01T00:00:00", "2026-01-01T12:00:00.12", "0001-01-01T00:00:00.000001"],
    ),
    "timestamptz": (
        pa.timestamp("us", "UTC"),
        [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 0, 120_000, UTC)],
        ["2026-01-01T00:00:00Z", "2026-01-01T12:00:00.12Z"],
    ),
}
"""By type: what is in the table, and what is delivered in JSON where that is not the same."""


def of_kind(root: Path, kind: str) -> APod:
    """A Pod whose Dataset has a row for each value in KINDS, in the field v, and one without."""
    given, values, _ = KINDS[kind]
    pod = a_pod(root, field("n", "int"), field("v", kind), form={"parquet": {}})
    numbers = pa.array(range(len(values) + 1), pa.int32())
    pq.write_table(pa.table({"n": numbers, "v": pa.array([*values, None], given)}), pod.data / "a.parquet")
    assert pod.work("load").datasets[0].counts.loaded == len(values) + 1
    return pod


def as_json(path: Path) -> dict[int, Any]:
    """The delivered v by n, each number that has a fraction exactly as it is written."""

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line, parse_constant=refused, parse_float=Decimal) for line in lines]
    return {row["n"]: row["v"] for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_delivered_as_json(kind: str, tmp_path: Path) -> None:
    pod = of_kind(tmp_path, kind)
    delivered(pod, "d1", {"json": {}})
    (file,) = pod.out.glob("*.jsonl")
    found = as_json(file)
    _, values, expected = KINDS[kind]
    told = [float(value) if isinstance(value, Decimal) else value for value in (found[n] for n in range(len(found)))]
    assert repr(told) == repr([*(expected or values), None])


def test_every_decimal_is_delivered_as_json_with_all_its_digits(tmp_path: Path) -> None:
    kinds = [(precision, scale) for precision in (1, 5, 15, 16, 18, 19, 38) for scale in {0, 1, precision}]
    columns: dict[str, pa.Array] = {}
    for precision, scale in kinds:
        most = int("9" * precision)
        shifted = [Decimal(number).scaleb(-scale, Context(prec=38)) for number in (most, -most, 1, -1)]
        values = [*shifted, Decimal(0)]
        columns[f"d{precision}_{scale}"] = pa.array(values, pa.decimal128(precision, scale))
    fields = [field(f"d{precision}_{scale}", f"decimal({precision}, {scale})") for precision, scale in kinds]
    pod = a_pod(tmp_path, *fields, form={"parquet": {}})
    pq.write_table(pa.table(columns), pod.data / "a.parquet")
    pod.work("load")
    delivered(pod, "d1", {"json": {}})
    (file,) = pod.out.glob("*.jsonl")
    lines = file.read_text().splitlines()
    found = [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in lines]
    assert found == pa.table(columns).to_pylist()


@pytest.mark.parametrize("form", [{"json": {}}, csv()])
@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_what_was_delivered_is_read_again(kind: str, form: dict[str, Any], tmp_path: Path) -> None:
    pod = of_kind(tmp_path / "first", kind)
    delivered(pod, "d1", form)
    (file,) = pod.out.glob("*00000.*")
    again = a_pod(tmp_path / "second", *pod.fields, form=form)
    (again.data / file.name).write_bytes(file.read_bytes())
    again.work("load")
    assert again.checksum() == pod.checksum()
    assert ("2026-01-01T00:00:00" in file.read_text()) == (kind != "date")


def test_a_run_delivers_once_and_the_next_is_the_newest(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    first = delivered(pod, "d1", {"csv": {}})
    before = {path: path.stat().st_mtime_ns for path in pod.out.iterdir()}
    again = delivered(pod, "d1", {"csv": {}})
    assert (again.delivery.earlier, again.delivery.manifest, again.attempt) == (True, first.delivery.manifest, 2)
    assert {path: path.stat().st_mtime_ns for path in pod.out.iterdir()} == before
    delivered(pod, "d2", {"csv": {}})
    assert json.loads((pod.out / "manifest.json").read_text())["run"] == "d2"
    assert len([*pod.out.glob("manifest-*.json")]) == 2


def test_a_manifest_that_the_ledger_missed_counts(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    first = delivered(pod, "d1", {"csv": {}})
    with sqlite3.connect(pod.warehouse / "catalog.db") as database:
        database.execute("UPDATE penstock_runs SET report = NULL WHERE run = 'd1'")
        database.execute("DELETE FROM penstock_deliveries")
    again = delivered(pod, "d1", {"csv": {}})
    assert (again.delivery.earlier, again.delivery.at) == (True, first.delivery.at)


def test_a_dataset_without_data_is_waited_for(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"))
    pod.work("m", kind="migrate")
    report = delivered(pod, "d1", {"csv": {}})
    assert (report.reason, pod.code) == ("DatasetNotReady", 3)


@pytest.mark.parametrize(("name", "said"), [("aa", 'Did you mean "a"?'), ("zzz", "It has a, b, c, s.")])
def test_an_unknown_field_is_told(name: str, said: str, tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    report = delivered(pod, "d1", {"csv": {}}, fields=[{"name": name}])
    assert (report.reason, pod.code) == ("InvalidSpec", 2)
    assert said in (report.message or "")


def test_a_statement_that_is_interrupted_while_it_writes_ends(tmp_path: Path) -> None:
    """With DuckDB's writing threads about one in ten does not, on a machine with other work."""
    for number in range(12):
        with engine.connect(256 << 20, 2, tmp_path, [tmp_path]) as connection:
            timer = threading.Timer(0.2, connection.interrupt)
            timer.start()
            with pytest.raises(duckdb.InterruptException):
                connection.execute(
                    f"COPY (SELECT md5(i::VARCHAR) FROM range(1000000000) t(i)) TO '{tmp_path}/{number}'"
                )


@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.003, 0.1, 0.5])
def test_a_signal_ends_a_long_statement_with_what_its_handler_raises(tmp_path: Path, seconds: float) -> None:
    def cancelled(*_: object) -> None:
        raise watch.Ended(NotYet("asked to end", "Cancelled"))

    def begin(connection: engine.Connection) -> None:
        timer.start()
        engine.run(connection, f"COPY (SELECT md5(i::VARCHAR) FROM range(1000000000) t(i)) TO '{target}'")

    before = signal.signal(signal.SIGTERM, cancelled)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    begun, target = time.monotonic(), tmp_path / "x.csv"
    try:
        with engine.connect(256 << 20, 2, tmp_path, [tmp_path]) as connection, pytest.raises(watch.Ended):
            begin(connection)
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begun < 20
