# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""What makes a row good: rules over shaped values, and the two questions that a chunk is asked.

`verdict` gives every row's values and whether the row is bad; `reasons` tells of bad rows why, with what to keep.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.language.errors import InvalidSpec, PenstockError
from penstock.worker.ports.chunks import Broken, Chunk
from penstock.worker.rows import engine, lossless
from penstock.worker.rows.shape import Fault, Shape, ShapedField

MASK = "***"


@dataclass(frozen=True)
class Questions:
    """SQL over the table `chunk`, whose rows answer in its order.

    `verdict` yields `bad` and values; `reasons` yields stage, field, error, payload and kind. `values` names each
    field's value among the columns of the verdict and of the chunk: plain text does not pass through DuckDB.
    """

    verdict: str
    reasons: str
    values: tuple[str, ...]
    plain: tuple[tuple[str, str, str], ...]
    """Columns that the questions need beside the chunk's own: see Shape."""
    certain: tuple[tuple[str, str, bool], ...] | None
    """Where plain reading can be certain of a row: each field's value and source among the columns, and whether it is
    required. A row is good where no value is null but those of nothing. None where fields have rules or expressions.
    """
    masked: bool
    """Whether a line that cannot be read may hold a sensitive value, and is not to be shown."""


def questions(shape: Shape) -> Questions:
    """Compile the shape and its rules. Raises InvalidSpec for a bound or value that is not of its field's type."""
    faults = [fault for group in (shape.faults, _rules(shape)) for fault in group]
    faults.sort(key=lambda fault: [field.field.name for field in shape.fields].index(fault.field))
    values = "".join(f", {field.value}" for field in shape.fields if field.same is None)
    bad = " OR ".join(f"({fault.condition})" for fault in faults) or "false"
    return Questions(
        verdict=f"SELECT coalesce({bad}, false) AS bad{values} FROM {shape.relation}",
        reasons=f"SELECT {_told(faults)}, {_payload(shape)} AS payload FROM {shape.relation}",
        values=tuple(field.same or field.value for field in shape.fields),
        plain=shape.plain,
        certain=_certain_of(shape),
        masked=bool(shape.sensitive),
    )


@dataclass(frozen=True)
class Split:
    """A chunk's rows: the values of the good ones, and of the bad ones line, stage, field, error, payload and kind."""

    good: pa.Table
    bad: pa.Table | None


class Judge:
    """One thread's DuckDB, asked about chunk after chunk."""

    def __init__(self, connection: engine.Connection) -> None:
        self.connection = connection
        self._rows = _Rows()
        self._schema: pa.Schema | None = None
        self._planned: dict[str, str] = {}

    def split(self, ask: Questions, chunks: Sequence[Chunk]) -> list[Split]:
        """Each chunk's rows, good and bad.

        The chunks' tables have the same schema. They are asked about together: an answer takes 5 ms, however few the
        rows are.
        """
        sizes = [chunk.table.num_rows for chunk in chunks]
        rows = pa.concat_tables([chunk.table for chunk in chunks])
        rows = _with_plain(rows.combine_chunks() if len(chunks) > 1 else rows, ask.plain)
        good: list[list[pa.Table]] = []
        bad: list[pa.Table | None] = [None] * len(chunks)
        doubtful, unsure = None, sizes
        certain = _certain(rows, ask.certain)
        if certain is not None:
            known = _counted(certain, sizes)
            good.append(_cut(_values([value for value, _, _ in ask.certain or ()], rows, rows), certain, known))
            doubtful, unsure = pc.indices_nonzero(pc.invert(certain)), _less(sizes, known)
            rows = rows.take(doubtful)
        if rows.num_rows:
            judged = self._answer("verdict", ask.verdict, rows, ask.masked)
            verdict = judged["bad"].combine_chunks()
            faulty = _counted(verdict, unsure)
            good.append(_cut(_values(ask.values, judged, rows), pc.invert(verdict), _less(unsure, faulty)))
            which = pc.indices_nonzero(verdict)
            if len(which):
                told = self._answer("reasons", ask.reasons, rows.take(which), ask.masked)
                told = told.append_column("row", which if doubtful is None else doubtful.take(which))
                bad = [*_slices(told, faulty)]
        return [
            Split(
                pa.concat_tables([part[number] for part in good]) if good else pa.table({}),
                _told_of(chunk, bad[number], start, ask.masked),
            )
            for number, (chunk, start) in enumerate(zip(chunks, _starts(sizes), strict=True))
        ]

    def _answer(self, name: str, sql: str, rows: pa.Table, masked: bool) -> pa.Table:
        """Ask about these rows. A question is planned once for tables alike: planning costs 10 to 20 ms."""
        self._rows.table = rows
        if self._schema != rows.schema:
            self.connection.register("chunk", self._rows)
            self._schema, self._planned = rows.schema, {}
        if self._planned.get(name) != sql:
            self.connection.execute(f"PREPARE {name} AS {sql}")
            self._planned[name] = sql
        with _discreet(masked):
            answer = self.connection.sql(f"EXECUTE {name}").to_arrow_table()
        del self._rows.table
        return answer


@contextmanager
def _discreet(masked: bool) -> Iterator[None]:
    """Keep the engine's words back where they may hold a sensitive value; those about memory and disks never do."""
    try:
        yield
    except duckdb.Error as error:
        if not masked or isinstance(error, duckdb.OperationalError):
            raise
        message = (
            f"{type(error).__name__} while rows were judged. Its words may hold a sensitive value and are not shown; "
            "look at the expressions in `from`."
        )
        raise PenstockError(message, "UnknownError") from None


class _Rows:
    """What DuckDB knows as `chunk`, whichever table that is at the moment."""

    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


_TOLD = ["line", "stage", "field", "error", "payload", "kind"]


def _with_plain(rows: pa.Table, plain: Iterable[tuple[str, str, str]]) -> pa.Table:
    for name, column, kind in plain if rows.num_rows else ():
        rows = rows.append_column(name, lossless.plainly(kind, rows[column].combine_chunks()))
    return rows


def _certain_of(shape: Shape) -> tuple[tuple[str, str, bool], ...] | None:
    found = []
    for shaped in shape.fields:
        field, source = shaped.field, shaped.same or shaped.plainly
        if source is None or field.enum is not None or field.minimum is not None or field.maximum is not None:
            return None
        found.append((shaped.same or f"k{shaped.number}", source, bool(field.required)))
    return tuple(found)


def _certain(rows: pa.Table, certain: tuple[tuple[str, str, bool], ...] | None) -> pa.BooleanArray | None:
    """Whether each row is good for certain; None where that cannot be told."""
    if certain is None or not rows.num_rows:
        return None
    sure = pa.repeat(True, rows.num_rows)
    for value, source, required in certain:
        there = pc.is_valid(rows[value])
        if required:
            sure = pc.and_(sure, there)
        elif value != source:
            sure = pc.and_(sure, pc.equal(there, pc.is_valid(rows[source])))
    return sure.combine_chunks() if isinstance(sure, pa.ChunkedArray) else sure


def _counted(mask: pa.BooleanArray, sizes: Sequence[int]) -> list[int]:
    """How many are true of the first so many, of the next so many, and so on."""
    return [mask.slice(start, size).true_count for start, size in zip(_starts(sizes), sizes, strict=True)]


def _starts(sizes: Sequence[int]) -> list[int]:
    return [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]


def _less(sizes: Sequence[int], counts: Sequence[int]) -> list[int]:
    return [size - count for size, count in zip(sizes, counts, strict=True)]


def _cut(rows: pa.Table, mask: pa.BooleanArray, sizes: Sequence[int]) -> list[pa.Table]:
    """The rows for which the mask holds, in pieces of these sizes."""
    # Filtering is several times as fast over one piece as over many.
    return _slices(rows.combine_chunks().filter(mask), sizes)


def _slices(rows: pa.Table, sizes: Sequence[int]) -> list[pa.Table]:
    return [rows.slice(start, size) for start, size in zip(_starts(sizes), sizes, strict=True)]


def _values(names: Sequence[str], judged: pa.Table, chunk: pa.Table) -> pa.Table:
    """The columns of these names, from the one table or the other, named by their numbers."""
    computed = frozenset(judged.column_names)
    columns = [(judged if name in computed else chunk)[name] for name in names]
    return pa.table(columns, names=[str(number) for number in range(len(columns))])


def _told_of(chunk: Chunk, told: pa.Table | None, start: int, masked: bool) -> pa.Table | None:
    """All that is bad in the chunk, whose first row is row `start` of what was asked about."""
    bad = [_of_broken(chunk.broken, masked)] if chunk.broken else []
    if told:
        lines = chunk.lines_of(row - start for row in told["row"].to_pylist())
        bad.append(told.append_column("line", pa.array(lines, pa.int64())).select(_TOLD))
    return pa.concat_tables(bad) if bad else None


def _of_broken(broken: tuple[Broken, ...], masked: bool) -> pa.Table:
    return pa.table(
        {
            "line": pa.array([entry.line for entry in broken], pa.int64()),
            "stage": pa.repeat("read", len(broken)),
            "field": pa.nulls(len(broken), pa.string()),
            "error": pa.array([entry.error for entry in broken], pa.string()),
            "payload": pa.array([MASK if masked else entry.text for entry in broken], pa.string()),
            "kind": pa.array([entry.error for entry in broken], pa.string()),
        }
    )


def _told(faults: list[Fault]) -> str:
    def first(said: str) -> str:
        whens = " ".join(f"WHEN {fault.condition} THEN {engine.text(getattr(fault, said))}" for fault in faults)
        return f"CASE {whens} END AS {said}"

    every = ", ".join(f"CASE WHEN {fault.condition} THEN {fault.message} END" for fault in faults)
    return f"{first('stage')}, {first('field')}, {first('kind')}, concat_ws('; ', {every}) AS error"


def _payload(shape: Shape) -> str:
    """The row as it was read, as JSON: column to text; sensitive columns masked."""
    if shape.open and not shape.sensitive:
        return "line"
    if shape.open:  # a key in other letters may be the same one, misspelt
        hidden = ", ".join(engine.text(name.lower()) for name in sorted(shape.sensitive))
        keys = f"list_distinct(list_filter(json_keys(line), lambda k: lower(k) IN ({hidden})))"
        masks = f"map_from_entries(list_transform({keys}, lambda k: {{'k': k, 'v': {engine.text(MASK)}}}))"
        return f"CAST(json_merge_patch(line, CAST({masks} AS JSON)) AS VARCHAR)"
    pairs = [
        f"{engine.text(name)}, " + (engine.text(MASK) if name in shape.sensitive else f"c{index}")
        for index, name in enumerate(shape.columns)
    ]
    return f"CAST(json_object({', '.join(pairs)}) AS VARCHAR)"


def _rules(shape: Shape) -> list[Fault]:
    return [fault for field in shape.fields for fault in _rules_of(field)]


def _rules_of(shaped: ShapedField) -> list[Fault]:
    field, value = shaped.field, shaped.value
    faults: list[Fault] = []

    def rule(condition: str, broken: str, value_told: bool = True) -> None:
        told = f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + broken)}"
        message = told if value_told else engine.text(f"{field.name}: {broken}")
        faults.append(Fault("quality", field.name, condition, message, f"{field.name} {broken}"))

    if field.required:
        computed = f" AND e{shaped.number} IS NOT NULL" if shaped.expression else ""
        rule(f"s{shaped.number} IS NULL{computed}", "has no value and is required", value_told=False)
    if field.enum is not None:
        listed = ", ".join(_literal(shaped, entry, "enum") for entry in field.enum)
        rule(f"{value} NOT IN ({listed})", "is not one of the allowed values")
    if field.minimum is not None:
        rule(f"{value} < {_literal(shaped, field.minimum, 'minimum')}", f"is below the minimum {field.minimum}")
    if field.maximum is not None:
        rule(f"{value} > {_literal(shaped, field.maximum, 'maximum')}", f"is above the maximum {field.maximum}")
    return faults


def _literal(shaped: ShapedField, written: str, of: str) -> str:
    """The written value as SQL of the field's type."""
    kind = shaped.field.type
    if (value := _value(kind, written)) is None:
        raise InvalidSpec(f'field {shaped.field.name}: {of} "{written}" is not a {kind}.')
    return f"CAST({engine.text(value)} AS {lossless.sql_type(kind)})"


@cache
def _value(kind: str, written: str) -> str | None:
    """What is written as a value of that type, told by DuckDB; None if it is none."""
    cast = lossless.from_text(kind, "x", "t")
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        row = connection.execute(
            f"SELECT CAST({cast.accept} AS VARCHAR) FROM (SELECT x, {cast.attempt} AS t FROM (SELECT ? AS x))",
            [written],
        ).fetchone()
    return None if row is None or row[0] is None else str(row[0])
