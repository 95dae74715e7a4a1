"""Files judged in this process, without a table or a run: what becomes of each row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.api.fields import SchemaField
from penstock.api.quality import RowRule
from penstock.connectors.files.formats import Chunk
from penstock.connectors.files.formats.parquet import ParquetFile
from penstock.connectors.files.stores import StoredFile
from penstock.worker.ports.chunks import Columns, Lines
from penstock.worker.rows import engine, quality, rowrules, shape
from penstock.worker.rows.shaped import Shape

Json = dict[str, Any]


def parquet(path: Path, fields: list[Json], scratch: Path) -> tuple[dict[int, Json], dict[int, Json]]:
    """The good rows and the bad ones of a Parquet file, by their numbers from 0. A count that is off is an error."""
    schema = [SchemaField.model_validate(field) for field in fields]
    file = ParquetFile(lambda _: path.open("rb"), StoredFile(str(path), "1", path.stat().st_size), scratch)
    try:
        shaped = shape.compiled(schema, file.columns, str(path))
        with engine.connect(1 << 28, 1, scratch) as connection:
            chunks = [work((), connection) for work in file.works(shaped.columns)]
            return _split(quality.Judge(connection), shaped, chunks, schema)
    finally:
        file.close()


def texts(values: Sequence[str | None], scratch: Path, field: Json) -> tuple[dict[int, Json], dict[int, Json]]:
    """The same for texts, as one column `v` of a CSV file has them."""
    schema = [SchemaField.model_validate(field)]
    shaped = shape.compiled(schema, Columns(("v",), ("VARCHAR",)), "a.csv")
    chunk = Chunk(pa.table({"c0": pa.array(values, pa.string())}), len(values), Lines(1))
    with engine.connect(1 << 28, 1, scratch) as connection:
        return _split(quality.Judge(connection), shaped, [chunk], schema)


def _split(
    judge: quality.Judge,
    shaped: Shape,
    chunks: list[Chunk],
    schema: list[SchemaField],
    rules: Sequence[RowRule] = (),
) -> tuple[dict[int, Json], dict[int, Json]]:
    ask = quality.questions(shaped, rowrules.question(schema, rules))
    good: dict[int, Json] = {}
    bad: dict[int, Json] = {}
    first = 0
    for chunk in chunks:
        [split] = judge.split(ask, [chunk])
        for row in split.bad.to_pylist() if split.bad else []:
            bad[row["line"] - 1] = row
        left = [number for number in range(first, first + chunk.read) if number not in bad]
        assert split.good.num_rows == len(left), "rows were lost or invented"
        for number, row in zip(left, split.good.to_pylist(), strict=True):
            good[number] = {field.name: row[str(place)] for place, field in enumerate(schema)}
        first += chunk.read
    return good, bad


def rows(
    table: pa.Table, scratch: Path, fields: list[Json], rules: Sequence[Json] = ()
) -> tuple[dict[int, Json], dict[int, Json]]:
    """The same for rows of text, as a CSV file has them; the columns are named c0, c1, … and the fields alike."""
    given = [RowRule.model_validate(rule) for rule in rules]
    schema = [SchemaField.model_validate(field) for field in fields]
    names = tuple(table.column_names)
    shaped = shape.compiled(schema, Columns(names, ("VARCHAR",) * len(names)), "a.csv")
    with engine.connect(1 << 28, 1, scratch) as connection:
        chunk = Chunk(table, table.num_rows, Lines(1))
        return _split(quality.Judge(connection), shaped, [chunk], schema, given)
