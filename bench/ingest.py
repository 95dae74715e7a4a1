"""Ingest against raw DuckDB and dlt: files typed, their bad rows quarantined, committed to a lake.

A case is `[KIND:]ROWS[/FILES]`. `dirty` (the default) is CSV of 10 columns with about 2 % bad values and ragged rows,
fixed seed; `clean`, `json` and `parquet` are the same rows without the bad ones. The other two read the clean rows of
the same format, with explicit types: raw COPY is `COPY … TO Parquet` by DuckDB alone, dlt loads an Iceberg table as we
do (dltload.py), from CSV only. All are whole processes, alternating; ratios are of medians within this run.
"""

import argparse
import compileall
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

import penstock

FOLDER = Path(os.environ.get("PENSTOCK_BENCH_FOLDER", "/tmp/penstock-bench"))
ROUNDS = int(os.environ.get("PENSTOCK_BENCH_ROUNDS", "3"))
COLUMNS = {
    "id": "BIGINT",
    "customer": "BIGINT",
    "ordered": "TIMESTAMP",
    "shipped": "TIMESTAMP",
    "price": "DECIMAL(12,2)",
    "discount": "DECIMAL(5,2)",
    "paid": "BOOLEAN",
    "country": "VARCHAR",
    "item": "VARCHAR",
    "note": "VARCHAR",
}
CASES = ["clean:5000000", "dirty:5000000", "json:5000000", "parquet:5000000", "dirty:100000/1000"]
GOALS = {
    ("clean", 1): 1.15,
    ("dirty", 1): 1.4,
    ("json", 1): 1.6,
    ("parquet", 1): 1.3,
    ("dirty", 1000): 3.0,
}
"""What a load should take at the most, in processor seconds of raw COPY, by kind and number of files."""
TYPES = {"BIGINT": "long", "TIMESTAMP": "timestamp", "BOOLEAN": "boolean", "VARCHAR": "string"}
KINDS = {"dirty": "csv", "clean": "csv", "json": "jsonl", "parquet": "parquet"}
"""The kinds of cases, with the ending of their files."""
RAW = """
import duckdb, sys
duckdb.execute(f"COPY (SELECT * FROM {sys.argv[1]}) TO '{sys.argv[2]}' (FORMAT parquet, CODEC zstd, "
               "COMPRESSION_LEVEL 1)")
"""


def lines(rows: int, dirty: bool) -> Iterator[tuple[int, str]]:
    """The CSV's lines after the header, numbered; without bad ones where it is to be clean, all else being equal."""
    chance = random.Random(20130101)  # noqa: S311 - the same data every time, not secrets
    for number in range(rows):
        second = f"{chance.randrange(60):02d}"
        day = f"2013-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d} {chance.randrange(24):02d}:30:"
        values = [
            str(number),
            str(chance.randrange(1_000_000)),
            day + second,
            day + "59",
            f"{chance.randrange(1_000_000) / 100:.2f}",
            f"{chance.randrange(100) / 100:.2f}",
            "true" if chance.random() < 0.5 else "false",
            chance.choice(("DE", "FR", "US", "JP")),
            f"item-{chance.randrange(5000)}",
            "a note of some length" if chance.random() < 0.5 else "",
        ]
        bad, where = chance.random(), chance.randrange(6)
        if bad >= 0.02:
            yield number, ",".join(values) + "\n"
        elif dirty:
            if bad < 0.015:
                values[where] = "N/A"
                yield number, ",".join(values) + "\n"
            else:
                yield number, ",".join(values[:7]) + "\n"


def write(folder: Path, rows: int, files: int, dirty: bool) -> None:
    """The rows in so many files of about equal length, unless they are there."""
    if folder.exists():
        return
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for number, given in groupby(lines(rows, dirty), key=lambda line: line[0] * files // rows):
        with (part / f"orders-{number:05d}.csv").open("w") as file:
            file.write(",".join(COLUMNS) + "\n")
            file.writelines(line for _, line in given)
    part.rename(folder)


def _converted(clean: Path, folder: Path, kind: str) -> None:
    """The clean rows as files of another format, unless they are there."""
    if folder.exists():
        return
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    form = "FORMAT parquet" if kind == "parquet" else "FORMAT json"
    for file in sorted(clean.glob("*.csv")):
        target = part / file.with_suffix(f".{KINDS[kind]}").name
        duckdb.execute(f"COPY (SELECT * FROM {_scan('csv', str(file))}) TO '{target}' ({form})")
    part.rename(folder)


def _scan(ending: str, files: str) -> str:
    """What reads the files in DuckDB, with explicit types."""
    if ending == "parquet":
        return f"read_parquet('{files}')"
    if ending == "jsonl":
        return f"read_json('{files}', format='newline_delimited', columns={COLUMNS})"
    return f"read_csv('{files}', columns={COLUMNS}, header=true, auto_detect=false)"


def dataset(destination: dict[str, Any]) -> dict[str, Any]:
    """The order's entry of a Dataset with all COLUMNS, which rows of the stream `orders` are appended to."""
    fields = [{"name": name, "type": TYPES.get(kind, kind.lower())} for name, kind in COLUMNS.items()]
    return {
        "owner": {"kind": "Dataset", "namespace": "bench", "name": "orders"},
        "destination": destination,
        "table": "orders",
        "schema": {"fields": fields},
        "writeMode": "append",
        "quality": {},
        "stream": "orders",
        "sync": "incremental",
    }


def prepare(rows: int, files: int, kind: str = "dirty") -> tuple[Path, Path]:
    """A Pod's folder with the files of that kind, and the folder of the clean ones.

    Our modules are compiled, as pip leaves them in an image: where PYTHONDONTWRITEBYTECODE is set, each start of a
    worker from these sources would compile them again, which takes a tenth of a second.
    """
    compileall.compile_dir(Path(penstock.__file__).parent, quiet=1)
    pod, clean = FOLDER / f"pod-{kind}-{rows}-{files}", FOLDER / f"clean-{rows}-{files}"
    for folder in ("etc/penstock/order", "volumes/lake", "dev"):
        (pod / folder).mkdir(parents=True, exist_ok=True)
    write(clean, rows, files, dirty=False)
    data = pod / "volumes/data"
    if kind == "dirty":
        write(data, rows, files, dirty=True)
    else:
        other = clean
        if kind != "clean":
            other = FOLDER / f"{kind}-{rows}-{files}"
            _converted(clean, other, kind)
        if not data.exists():
            shutil.copytree(other, data, copy_function=os.link)
        clean = other
    form = "json" if kind == "json" else "parquet" if kind == "parquet" else "csv"
    (pod / "etc/penstock/order/order.json").write_text(json.dumps(_order(form)))
    return pod, clean


def _order(form: str) -> dict[str, Any]:
    lake = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}
    source = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {form: {}}}
    return {
        "version": "penstock.dev/order-v1",
        "kind": "ingest",
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "orders"},
        "identity": "bench/orders",
        "deadlineSeconds": 3600,
        "source": {"name": "orders", "connector": {"files": source}},
        "datasets": [
            {
                **dataset({"name": "lake", "connector": {"lake": lake}}),
                "writeMode": "replace",
                "quality": {"maxBadRatio": "5%"},
                "sync": "full",
            }
        ],
    }


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak resident megabytes of a process."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(rows: int, files: int, kind: str, dlt: str | None) -> list[tuple[str, ...]]:
    """A line for each: medians, and how often that of raw COPY goes into them."""
    pod, clean = prepare(rows, files, kind)
    dlt = dlt if KINDS[kind] == "csv" else None
    lake, table, other = pod / "volumes/lake", FOLDER / "raw.parquet", FOLDER / "dlt"
    types = json.dumps(COLUMNS)
    scan = _scan(KINDS[kind], f"{clean}/*.{KINDS[kind]}")
    commands = {"raw COPY": [sys.executable, "-c", RAW, scan, str(table)]}
    if dlt is not None:
        commands["dlt"] = [dlt, "-Wignore", str(Path(__file__).with_name("dltload.py")), str(clean), str(other), types]
    commands["penstock"] = [sys.executable, "-m", "penstock.worker"]
    environment = {"PENSTOCK_POD_ROOT": str(pod), "PENSTOCK_RUN_ID": "bench"}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for folder in (lake, other):  # every round is a first load
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for name, command in commands.items():
            found[name].append(measured(command, environment))
    loaded = [
        table,
        lake / "wh/main/orders/data/**/*.parquet",
        *([other / "bench/orders/data/**/*.parquet"] if dlt else []),
    ]
    assert len({_rows(files) for files in loaded}) == 1, f"not the same rows: {loaded}"
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}
    wall, cpu, _ = medians["raw COPY"]
    lines = []
    for name, mine in medians.items():
        goal = GOALS.get((kind, files)) if name == "penstock" else None
        numbers = (f"{number:.2f}" for number in (mine[0], mine[0] / wall, mine[1], mine[1] / cpu))
        peak = f"{max(entry[2] for entry in found[name]):.0f}"
        lines.append((kind, f"{rows:,}", f"{files:,}", name, *numbers, f"{goal or '':}", peak))
    return lines


def _rows(files: Path) -> int:
    found = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(files)]).fetchone()
    assert found is not None
    return int(found[0])


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", epilog="PENSTOCK_BENCH_ROUNDS: how many rounds, 3")
    parser.add_argument("cases", nargs="*", metavar="[KIND:]ROWS[/FILES]", default=CASES)
    parser.add_argument(
        "--dlt", metavar="PYTHON", help="one that has dlt, as `make bench` makes it; else dlt is left out"
    )
    options = parser.parse_args(arguments)
    table: list[tuple[str, ...]] = [
        ("kind", "rows", "files", "what", "wall s", "ratio", "cpu s", "ratio", "goal", "peak MB")
    ]
    for case in options.cases:
        kind, _, size = case.rpartition(":")
        rows, _, files = size.partition("/")
        table += compare(int(rows), int(files or 1), kind or "dirty", options.dlt)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    print(f"medians of {ROUNDS} alternating rounds, peak the largest; {os.cpu_count()} processors")
