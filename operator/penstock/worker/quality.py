# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""What makes a row good: rules over shaped values, and the two questions that a chunk is asked.

`verdict` gives every row's values and whether the row is bad; `reasons` tells of bad rows why, with what to keep.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.api.errors import InvalidSpec, PenstockError
from penstock.worker import engine, lossless
from penstock.worker.read import Broken, Chunk
from penstock.worker.shape import Fault, Shape, ShapedField

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


class Judge:
    """One thread's DuckDB, asked about chunk after chunk."""

    def __init__(self, connection: engine.Connection) -> None:
        self.connection = connection
        self._rows = _Rows()
        self._schema: pa.Schema | None = None
        self._planned: dict[str, str] = {}

    def split(self, ask: Questions, chunk: Chunk) -> tuple[pa.Table, pa.Table | None]:
        """The good rows' values, and the bad rows, if any, with line, stage, field, error, payload and kind."""
        bad = [_of_broken(chunk.broken, ask.masked)] if chunk.broken else []
        good: list[pa.Table] = []
        rows = _with_plain(chunk.table, ask.plain)
        certain, doubtful = _certain(rows, ask.certain)
        if certain is not None:
            good.append(certain)
            rows = rows.take(doubtful)
        if rows.num_rows:
            judged = self._answer("verdict", ask.verdict, rows, ask.masked)
            verdict = judged["bad"].combine_chunks()
            # Filtering is several times as fast over one piece as over many.
            good.append(_values(ask.values, judged, rows).combine_chunks().filter(pc.invert(verdict)))
            which = pc.indices_nonzero(verdict)
            if len(which):
                told = self._answer("reasons", ask.reasons, rows.take(which), ask.masked)
                lines = chunk.lines_of((which if certain is None else doubtful.take(which)).to_pylist())
                bad.append(told.append_column("line", pa.array(lines, pa.int64())))
        fine = pa.concat_tables(good) if good else pa.table({})
        return fine, pa.concat_tables([part.select(_TOLD) for part in bad]) if bad else None

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


def _certain(rows: pa.Table, certain: tuple[tuple[str, str, bool], ...] | None) -> tuple[pa.Table | None, pa.Array]:
    """The values of the rows that are good for certain, and the indices of the others."""
    if certain is None or not rows.num_rows:
        return None, pa.array([], pa.uint64())
    sure = pa.repeat(True, rows.num_rows)
    for value, source, required in certain:
        there = pc.is_valid(rows[value])
        if required:
            sure = pc.and_(sure, there)
        elif value != source:
            sure = pc.and_(sure, pc.equal(there, pc.is_valid(rows[source])))
    sure = sure.combine_chunks() if isinstance(sure, pa.ChunkedArray) else sure
    values = _values([value for value, _, _ in certain], rows, rows).combine_chunks()
    return values.filter(sure), pc.indices_nonzero(pc.invert(sure))


def _values(names: Sequence[str], judged: pa.Table, chunk: pa.Table) -> pa.Table:
    """The columns of these names, from the one table or the other, named by their numbers."""
    computed = frozenset(judged.column_names)
    columns = [(judged if name in computed else chunk)[name] for name in names]
    return pa.table(columns, names=[str(number) for number in range(len(columns))])


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
    field, target = shaped.field, lossless.sql_type(shaped.field.type)
    cast = lossless.from_text(field.type, "x", "t")
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        row = connection.execute(
            f"SELECT CAST({cast.accept} AS VARCHAR) FROM (SELECT x, {cast.attempt} AS t FROM (SELECT ? AS x))",
            [written],
        ).fetchone()
    if row is None or row[0] is None:
        raise InvalidSpec(f'field {field.name}: {of} "{written}" is not a {field.type}.')
    return f"CAST({engine.text(str(row[0]))} AS {target})"
