"""The inputs of bench/bounds.py: text, Parquet, wide tables and names that cost most, each at any size."""

import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MB = 1 << 20
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """An input: `make` writes it into a folder, at one of the sizes, of which the second is twice the first."""

    name: str
    make: Callable[[Path, int], None]
    sizes: tuple[int, int]
    fields: Sequence[Json]
    form: Json
    job: str = "ingest"
    glob: str | None = None
    bad: str = "100%"
    """quality.maxBadRatio."""
    ended: str = "Succeeded"


def fields(count: int, kind: str, **more: Any) -> list[Json]:
    """So many fields of the same kind."""
    return [{"name": f"f{number}", "type": kind, **more} for number in range(count)]


def filled(folder: Path, size: int, unit: bytes, packed: bool = False) -> None:
    """A CSV file of so many bytes, of the same rows over and over."""
    content = b"f0,f1\n" + unit * (size // len(unit))
    (folder / "a.csv").write_bytes(gzip.compress(content) if packed else content)


def members(folder: Path, size: int) -> None:
    """A gzip file of many members, one a row."""
    (folder / "a.csv").write_bytes(gzip.compress(b"f0,f1\n") + gzip.compress(b"1,2\n") * (size // 24))


def unclosed(folder: Path, size: int) -> None:
    """A quote at the beginning that is never closed."""
    (folder / "a.csv").write_bytes(b'f0,f1\n1,"x\n' + b"1,2\n" * (size // 4))


def lines(folder: Path, size: int, line: bytes) -> None:
    """JSON lines that are all the same."""
    (folder / "a.jsonl").write_bytes(line * (size // len(line)))


def wide_csv(folder: Path, rows: int, columns: int, good: str, bad: float = 0) -> None:
    """A wide CSV file, so many of whose rows have one bad value."""
    chance = random.Random(1)  # noqa: S311 - the same data every time, not secrets
    with (folder / "a.csv").open("w") as file:
        file.write(",".join(f"f{number}" for number in range(columns)) + "\n")
        for _ in range(rows):
            values = [good] * columns
            if chance.random() < bad:
                values[chance.randrange(columns)] = "NOPE"
            file.write(",".join(values) + "\n")


def wider_csv(folder: Path, columns: int) -> None:
    """A CSV file of so many columns."""
    wide_csv(folder, 200, columns, "1")


def wide_json(folder: Path, rows: int, columns: int) -> None:
    """Objects with so many keys."""
    with (folder / "a.jsonl").open("w") as file:
        for row in range(rows):
            file.write(json.dumps({f"f{column}": row * column for column in range(columns)}) + "\n")


def wider_json(folder: Path, columns: int) -> None:
    """JSON lines of so many keys."""
    wide_json(folder, 9, columns)


def numbers(folder: Path, rows: int, columns: int) -> None:
    """Columns of different whole numbers in one row group."""
    column = pa.array(range(rows))
    table = pa.table({f"f{number}": column for number in range(columns)})
    pq.write_table(table, folder / "a.parquet", row_group_size=rows)


def texts(folder: Path, rows: int, text: int, **options: Any) -> None:
    """The same text of so many bytes in every row."""
    pq.write_table(pa.table({"f0": ["x" * text] * rows}), folder / "a.parquet", compression="zstd", **options)


def references(folder: Path, rows: int, text: int, lists: bool = False) -> None:
    """A long text once, and many references to it; each in a list, if so asked."""
    indices = pa.repeat(pa.scalar(0, pa.int32()), rows)
    column: pa.Array = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * text]))
    if lists:
        column = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), column)
    pq.write_table(pa.table({"f0": column}), folder / "a.parquet", compression="zstd")


def bad_values(folder: Path, rows: int, row_group: int) -> None:
    """Texts that are no numbers."""
    column = pa.array([f"bad value {number}" for number in range(rows)])
    pq.write_table(pa.table({"f0": column}), folder / "a.parquet", row_group_size=row_group)


def many_names(folder: Path, count: int) -> None:
    """Many files with long names, of which the glob names one."""
    (folder / "x.csv").write_text("f0\n1\n")
    for number in range(count):
        (folder / ("a" * 200 + f"{number}.csv")).write_text("f0\n1\n")


CSV: Json = {"csv": {}}
JSON: Json = {"json": {}}
PARQUET: Json = {"parquet": {}}
STRING, LONG = fields(1, "string"), fields(1, "long")
PAIR = [*LONG, {"name": "f1", "type": "string"}]
LETTERS = [*"abcdefgh"]
ABSENT = [*PAIR, *({"name": f"f{n}", "type": "long", "from": f"coalesce(f{n})::bigint"} for n in range(2, 200))]
PARAGRAPHS = b'1,"' + b"words and words\n\n" * 16 + b'"\n'
NESTED = b'{"f0":' + b"[" * 5000 + b"\n"


def _text(name: str, unit: bytes, megabytes: int, packed: bool = False) -> Case:
    make = partial(filled, unit=unit, packed=packed)
    return Case(name, make, (megabytes * MB, 2 * megabytes * MB), PAIR, CSV)


def _json(name: str, line: bytes, megabytes: int, **more: Any) -> Case:
    made = Case(name, partial(lines, line=line), (megabytes * MB, 2 * megabytes * MB), PAIR, JSON)
    return replace(made, **more)


TEXT = [
    _text("blank lines", b"\n", 4),
    _text("blank lines, gzip", b"\n", 128, packed=True),
    _text("a bomb of one line", b"x", 128, packed=True),
    Case("members of gzip", members, (2 * MB, 4 * MB), PAIR, CSV),
    _text("paragraphs", PARAGRAPHS, 20),
    _text("short paragraphs", b'1,"a\n\nb"\n', 4),
    _text("ragged rows", b"1\n", 4),
    _text("all rows bad", b"x,some text\n", 12),
    replace(_text("all rows bad, half allowed", b"x,some text\n", 12), bad="50%", ended="TooManyBadRows"),
    _text("quotes not closed", b'1,"x\n', 4),
    _text("text after quotes", b'1,"x"y\n', 4),
    Case("one quote not closed", unclosed, (16 * MB, 32 * MB), PAIR, CSV),
    _text("no UTF-8", b"1,\xe9\n", 4),
    _text("long rows", b"1," + b"x" * (7 * MB) + b"\n", 105),
    _json("JSON, all bad", b'{"f0":\n', 4),
    _json("JSON, empty objects", b'{}\n{"f0": 1}\n{"f1": ""}\n', 1, fields=ABSENT),
    _json("JSON, nested", NESTED, 8),
]
COLUMNS = [
    Case("references to one long text", partial(references, text=65_000), (32_768, 65_536), STRING, PARQUET),
    Case("the same, all bad", partial(references, text=65_000), (10_000, 20_000), LONG, PARQUET),
    Case(
        "references in lists",
        partial(references, text=65_000, lists=True),
        (32_768, 65_536),
        [{**STRING[0], "from": "len(f0)::varchar"}],
        PARQUET,
    ),
    Case("texts of 100 MB", partial(texts, text=100_000_000), (1, 2), STRING, PARQUET, ended="WrongSpecification"),
    Case(
        "rows of 1 MB",
        partial(texts, text=1_000_000, use_dictionary=False, write_batch_size=1),
        (250, 500),
        STRING,
        PARQUET,
    ),
    Case(
        "rows of 1 MB as differences",
        partial(texts, text=1_000_000, use_dictionary=False, column_encoding={"f0": "DELTA_BYTE_ARRAY"}),
        (1000, 2000),
        STRING,
        PARQUET,
    ),
    Case("5 M rows in one row group", partial(numbers, columns=1), (2_500_000, 5_000_000), LONG, PARQUET),
    Case("2 M rows, all bad", partial(bad_values, row_group=1 << 22), (1_000_000, 2_000_000), LONG, PARQUET),
    Case("row groups of one row, all bad", partial(bad_values, row_group=1), (20_000, 40_000), LONG, PARQUET),
]
WIDE = [
    Case(
        "80 with an enum",
        partial(wide_csv, columns=80, good="a"),
        (10_000, 20_000),
        fields(80, "string", enum=LETTERS),
        CSV,
    ),
    Case(
        "80 with an enum, 30% bad",
        partial(wide_csv, columns=80, good="a", bad=0.3),
        (10_000, 20_000),
        fields(80, "string", enum=LETTERS),
        CSV,
    ),
    Case(
        "100 with null values",
        partial(wide_csv, columns=100, good="a"),
        (10_000, 20_000),
        fields(100, "string", nullValues=["NA", "-"]),
        CSV,
    ),
    Case(
        "600 columns, 10% bad",
        partial(wide_csv, columns=600, good="1", bad=0.1),
        (5_000, 10_000),
        fields(600, "long"),
        CSV,
    ),
    Case(
        "2,000 columns, 10% bad",
        partial(wide_csv, columns=2000, good="1", bad=0.1),
        (2_500, 5_000),
        fields(2000, "long"),
        CSV,
    ),
    Case(
        "2,000 with an enum, 50% bad",
        partial(wide_csv, columns=2000, good="a", bad=0.5),
        (2_500, 5_000),
        fields(2000, "string", enum=LETTERS),
        CSV,
    ),
    Case("2,000 columns of JSON", partial(wide_json, columns=2000), (500, 1000), fields(2000, "long"), JSON),
    Case("2,000 columns of Parquet", partial(numbers, columns=2000), (5_000, 10_000), fields(2000, "long"), PARQUET),
    Case("wide CSV, inspected", wider_csv, (2000, 4000), PAIR, CSV, job="inspect-source"),
    Case("wide JSON, inspected", wider_json, (2000, 4000), PAIR, JSON, job="inspect-source"),
]
NAMES = [
    Case("a glob of many stars", many_names, (2_000, 4_000), LONG, CSV, glob="*[xa]" + "*a" * 100 + "*x.csv"),
    Case("a glob of many folders", many_names, (2_000, 4_000), LONG, CSV, glob="**/" * 100 + "x.csv"),
]
CASES = [*TEXT, *COLUMNS, *WIDE, *NAMES]
