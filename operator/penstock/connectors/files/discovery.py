# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Discovering the columns of a file, and the types that the values of a sample suggest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from penstock.connectors.files import formats
from penstock.connectors.files.spec import Format
from penstock.connectors.files.stores import StoredFile
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import NumberFormat
from penstock.worker.ports.source import StreamField
from penstock.worker.rows import engine, lossless

_SAMPLE = 20_000
"""Rows whose values suggest a type."""
_CELLS = 500_000
"""Cells whose values suggest types, in wide files."""
_FIRST = 50
"""Values of a column that are looked at before the others."""
_TOGETHER = 50_000
"""Values that one question is about."""
_MEMORY = 256 << 20
_CANDIDATES = ("long", "double", "date", "timestamp", "timestamptz", "boolean")
"""Types that text may suggest, the narrower first; what fits none is a string."""
_NAMES: Mapping[str, str] = {
    "VARCHAR": "string",
    "BOOLEAN": "boolean",
    "INTEGER": "int",
    "SMALLINT": "int",
    "TINYINT": "int",
    "BIGINT": "long",
    "FLOAT": "double",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}


def sniff(stored: StoredFile, form: Format, opened: Callable[[], formats.Reader], scratch: Path) -> list[StreamField]:
    """The file's columns, with a type for each.

    Raises InvalidSpec (WrongSpecification) when the file is not of its format.
    """
    with opened() as reader:
        if form.parquet is not None:
            pairs = zip(reader.columns.names, reader.columns.types, strict=True)
            return [StreamField(name=name, type=_NAMES.get(kind, kind.lower())) for name, kind in pairs]
        work = next(iter(reader.works), None)
    if work is None:
        return [StreamField(name=name, type="string") for name in reader.columns.names]
    with engine.connect(_MEMORY, 1, scratch) as connection:
        names = reader.columns.names
        if reader.columns.open:
            chunk = work((), connection)
            if chunk.broken is not None and not chunk.table.num_rows:
                raise InvalidSpec(_no_objects(stored, form, chunk.read), "WrongSpecification")
            names = chunk.names
        sample = work(names, connection).table
        sample = sample.slice(0, min(_SAMPLE, max(_CELLS // max(len(names), 1), _FIRST)))
        texts = [sample[f"c{index}"] for index in range(len(names))]
        types = _suggested(texts, reader.columns.numbers, connection)
        return [StreamField(name=name, type=kind) for name, kind in zip(names, types, strict=True)]


def _no_objects(stored: StoredFile, form: Format, read: int) -> str:
    if form.json_ is not None and not form.json_.lines:
        return f"{stored.url}: none of the first {read:,} elements is a JSON object. Check format.json.records."
    message = f"{stored.url}: none of the first {read:,} lines is a JSON object. Check format: "
    return message + "an array, or an object over several lines, is read with json: {lines: false}."


def _suggested(columns: Sequence[pa.ChunkedArray], numbers: NumberFormat, connection: engine.Connection) -> list[str]:
    """For each column the narrowest type that every value is, by the rules of loading; `string` for one without values.

    All columns are asked about together: a question costs as much as some thousand values.
    """
    values = [column.drop_null().unique() for column in columns]
    fitting = {index: frozenset(_CANDIDATES) for index, column in enumerate(values) if len(column)}
    for most in (_FIRST, _SAMPLE):  # the first few values rule most types out
        asked = {index: values[index].slice(0, most) for index, kinds in fitting.items() if kinds}
        fitting |= _fitting(asked, numbers, connection)
    narrowest = [[kind for kind in _CANDIDATES if kind in fitting.get(index, ())] for index in range(len(values))]
    return [kinds[0] if kinds else "string" for kinds in narrowest]


def _fitting(
    values: Mapping[int, pa.Array], numbers: NumberFormat, connection: engine.Connection
) -> dict[int, frozenset[str]]:
    """The types that all of these values are, by the index of their column."""
    plain = lossless.plain_number("x", numbers)
    casts = [
        lossless.from_text(kind, plain if lossless.is_number(kind) else "x", f"t{number}")
        for number, kind in enumerate(_CANDIDATES)
    ]
    attempts = ", ".join(f"{cast.attempt} AS t{number}" for number, cast in enumerate(casts))
    accepted = ", ".join(f"count({cast.accept}) = count(*)" for cast in casts)
    fitting = dict[int, frozenset[str]]()
    for part in _parts(values):
        connection.register("sample", part)
        answers = connection.execute(
            f"SELECT n, {accepted} FROM (SELECT n, x, {attempts} FROM sample) GROUP BY n"
        ).fetchall()
        for index, *fits in answers:
            fitting[index] = frozenset(kind for kind, fit in zip(_CANDIDATES, fits, strict=True) if fit)
    return fitting


def _parts(values: Mapping[int, pa.Array]) -> Iterator[pa.Table]:
    """The values of whole columns as tables of about _TOGETHER rows: the column's index, and the value."""
    numbers, arrays = list[pa.Array](), list[pa.Array]()
    for index, column in values.items():
        numbers.append(pa.repeat(index, len(column)))
        arrays.append(column)
        if sum(len(array) for array in arrays) >= _TOGETHER:
            yield pa.table({"n": pa.chunked_array(numbers), "x": pa.chunked_array(arrays)})
            numbers, arrays = [], []
    if arrays:
        yield pa.table({"n": pa.chunked_array(numbers), "x": pa.chunked_array(arrays)})
