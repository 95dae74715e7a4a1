# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Which rows of a Dataset a Subscription delivers: its rules, compiled to one query.

The query reads only the columns that the rules need, and yields the positions of the rows to deliver in the scan. The
scan of the columns that are delivered then takes the rows at these positions. So a delivery has the order of the scan,
the same at each attempt, its number of rows is known before anything is written, and memory holds no wide rows.

The rules apply in this order: filters, frequency, deduplication.
"""

import base64
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.api.deliveryrules import FieldFilter, Range
from penstock.api.fields import SchemaField
from penstock.language import literals, periods
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DeliveryOrder
from penstock.worker.ports.tablestore import LOAD_ID, Scan
from penstock.worker.rows import engine, expressions, lossless

POSITION = "_penstock_position"
"""The column with a row's place in the scan, from 0."""
KEY = "_penstock_key"
"""The column with the hash of a row's values in the fields of `deduplication.by`: 32 hex digits."""
_DELIVERED = "delivered_before"
"""The relation with the keys that earlier deliveries have had, in the column KEY."""
_KEYS_TOGETHER = 500_000
_MOST_POSITIONS = 9_223_372_036_854_775_807

_SOME = {"boolean": "true", **dict.fromkeys(("date", "timestamp", "timestamptz"), "DATE '2001-01-01'")}
"""A value of a type, as SQL; of numbers it is 0."""

Scanned: TypeAlias = Callable[[Sequence[str]], Scan]
"""Scans some columns of the snapshot that is delivered."""


@dataclass(frozen=True)
class Query:
    """SQL over the relation `rows`, which has `columns` and POSITION; and over the keys delivered before.

    Yields POSITION, in its order, and KEY where keys are remembered.
    """

    sql: str
    columns: tuple[str, ...]
    remembers: bool
    """Whether keys are remembered, so that earlier deliveries count."""


@dataclass(frozen=True)
class Selected:
    """The rows to deliver: their positions in the scan, ascending; the number of rows that were looked at."""

    positions: pa.ChunkedArray
    total: int
    keys: pa.ChunkedArray
    """The keys of these rows, where keys are remembered; else none."""

    @property
    def rows(self) -> int:
        """How many rows are delivered."""
        return len(self.positions)


def query(order: DeliveryOrder, dataset: DatasetOrder, moment: datetime) -> Query | None:
    """The rules as a query; None where there are none. `moment` is what recency is measured from.

    Raises InvalidSpec for an unknown field, a value of another type, and an expression that is not allowed.
    """
    fields = {field.name: field for field in offered(dataset)}
    conditions = _Conditions(fields, moment, partial(no_field, dataset))
    access = _access(dataset, moment)
    for field in order.fields:
        if field.filter is not None:
            conditions.add_filter(field.name, field.filter)
    if order.filter is not None:
        conditions.add_expression(order.filter, "filter")
    frequency, deduplication = order.frequency, order.deduplication
    for name in [*(frequency.by if frequency else ()), *(deduplication.by if deduplication else ())]:
        conditions.require(name)
    every = [*access.sql, *conditions.sql]
    if not every and frequency is None and deduplication is None:
        return None
    where = " AND ".join(f"({condition})" for condition in every) or "true"
    sql = f"SELECT * FROM rows WHERE {where}"
    if frequency is not None:
        count = f"count(*) OVER (PARTITION BY {_listed(frequency.by)})"
        bounds = f"{frequency.min or 1} AND {frequency.max or _MOST_POSITIONS}"
        sql = f"SELECT * FROM ({sql}) QUALIFY {count} BETWEEN {bounds}"
    remembers = deduplication is not None and deduplication.period is not None
    columns = {**access.columns, **conditions.columns}
    if deduplication is not None:
        columns[LOAD_ID] = None
        sql = _deduplicated(sql, [fields[name] for name in deduplication.by], remembers)
    wanted = f"{POSITION}, {KEY}" if remembers else POSITION
    # Without groups the rows come in the order of the scan.
    ordered = f" ORDER BY {POSITION}" if frequency is not None or deduplication is not None else ""
    return Query(f"SELECT {wanted} FROM ({sql}){ordered}", tuple(columns), remembers)


def offered(dataset: DatasetOrder) -> list[SchemaField]:
    """The fields that a Subscription can use, by the Dataset's `access`."""
    fields = dataset.access.fields if dataset.access is not None else None
    return [field for field in dataset.schema_.fields if fields is None or field.name in fields]


def no_field(dataset: DatasetOrder, name: str) -> InvalidSpec:
    """That a Subscription cannot use a field: its Dataset does not have it, or does not offer it."""
    fields = [field.name for field in offered(dataset)]
    near = difflib.get_close_matches(name, fields, n=1)
    if dataset.access is not None and dataset.access.fields is not None:
        hint = f' Did you mean "{near[0]}"?' if near else f" It offers {', '.join(fields[:20])}."
        message = f'access.fields of Dataset {dataset.owner.name} does not offer the field "{name}".{hint}'
        return InvalidSpec(message, "AccessDenied")
    hint = f' Did you mean "{near[0]}"?' if near else f" It has {', '.join(fields[:20])}."
    return InvalidSpec(f'fields: Dataset {dataset.owner.name} has no field "{name}".{hint}')


def check_filter(written: str, where: str, fields: Sequence[SchemaField]) -> None:
    """Raise InvalidSpec for an expression that is no filter over these fields. `where` is for messages."""
    _Conditions({field.name: field for field in fields}, datetime.now(UTC)).add_expression(written, where)


def _access(dataset: DatasetOrder, moment: datetime) -> "_Conditions":
    """The condition of `access.filter`. What is wrong with it, only the owner of the Dataset learns."""
    conditions = _Conditions({field.name: field for field in dataset.schema_.fields}, moment)
    if dataset.access is not None and dataset.access.filter is not None:
        try:
            conditions.add_expression(dataset.access.filter, "access.filter")
        except InvalidSpec:
            message = f"access.filter of Dataset {dataset.owner.name} is not valid. Its owner has to correct it."
            raise InvalidSpec(message, "AccessDenied") from None
    return conditions


def _deduplicated(sql: str, by: Sequence[SchemaField], remembers: bool) -> str:
    """Of the rows with equal values, the one of the newest load; of these, the first in the scan.

    Load id and position are packed into one number, of which the greatest wins: a window over all rows costs twice as
    much.
    """
    rank = (
        f"CAST(coalesce({engine.name(LOAD_ID)}, 0) AS HUGEINT) * {_MOST_POSITIONS} + {_MOST_POSITIONS - 1} - {POSITION}"
    )
    names = _listed([field.name for field in by])
    groups = f"SELECT {names}, max({rank}) AS _penstock_rank FROM ({sql}) GROUP BY {names}"
    position = f"CAST({_MOST_POSITIONS - 1} - _penstock_rank % {_MOST_POSITIONS} AS BIGINT) AS {POSITION}"
    if not remembers:
        return f"SELECT {position} FROM ({groups})"
    keyed = f"SELECT {position}, {_key(by)} AS {KEY} FROM ({groups})"
    return f"SELECT * FROM ({keyed}) ANTI JOIN {_DELIVERED} USING ({KEY})"


def _key(by: Sequence[SchemaField]) -> str:
    """SQL for the hash of the values, as JSON texts of which none can look like another."""
    texts = ", ".join(f"CAST({_unsigned_zero(field)} AS VARCHAR)" for field in by)
    return f"md5(CAST(to_json([{texts}]) AS VARCHAR))"


def _unsigned_zero(field: SchemaField) -> str:
    """The field's value; a double's -0.0 as 0.0, which is equal to it."""
    name = engine.name(field.name)
    return f"({name} + 0.0::DOUBLE)" if field.type == "double" else name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(engine.name(name) for name in names)


class _Conditions:
    """Gathers the conditions on one row, and the columns that they read."""

    def __init__(
        self,
        fields: Mapping[str, SchemaField],
        moment: datetime,
        missing: Callable[[str], InvalidSpec] | None = None,
    ) -> None:
        """`missing` makes the error about a field that is not among these."""
        self._fields = fields
        self._moment = moment
        self._missing = missing or self._no_field
        self.sql: list[str] = []
        self.columns: dict[str, None] = {}

    def require(self, name: str) -> SchemaField:
        """The field of this name, which the query reads. Raises InvalidSpec where there is none."""
        if name not in self._fields:
            raise self._missing(name)
        self.columns[name] = None
        return self._fields[name]

    def _no_field(self, name: str) -> InvalidSpec:
        return InvalidSpec(f'there is no field "{name}"; the fields are {", ".join([*self._fields][:20])}.')

    def add_filter(self, name: str, given: FieldFilter) -> None:
        """A row must pass every member of the filter."""
        field, x = self.require(name), engine.name(name)
        if given.is_null:
            self.sql.append(f"{x} IS NULL")
        if given.not_null:
            self.sql.append(f"{x} IS NOT NULL")
        if given.include is not None:
            self.sql.append(f"{x} IN ({_literals(field, given.include)})")
        if given.exclude is not None:
            self.sql.append(f"({x} IS NULL OR {x} NOT IN ({_literals(field, given.exclude)}))")
        if given.range is not None:
            self.sql += _range(field, given.range)
        if given.recency is not None:
            since = periods.read(given.recency).before(self._moment)
            self.sql.append(f"{x} >= {_moment(field.type, since)}")
        if given.expression is not None:
            self.add_expression(given.expression, f"the filter of field {name}")

    def add_expression(self, written: str, where: str) -> None:
        """The expression must be true. Where it fails, the row is not delivered."""
        parsed = expressions.parse(written, where)
        stands_for = {name: (engine.name(self.require(name).name), False) for name in parsed.columns}

        def type_of(sql: str) -> str:
            return self._type_of(sql, parsed.columns, f"{where}: {expressions.shown(written)}")

        sql = expressions.sql(parsed, stands_for, type_of)
        if (kind := type_of(sql)) != "BOOLEAN":
            message = f"{where}: {expressions.shown(written)} is a {kind}, and a filter is true or false."
            raise InvalidSpec(f"{message} Compare it with something.", "WrongSpecification")
        self.sql.append(f"coalesce(TRY({sql}), false)")

    def _type_of(self, sql: str, columns: Sequence[str], shown: str) -> str:
        """The DuckDB type of SQL over these columns. Raises InvalidSpec for what cannot be computed."""
        kinds = [self._fields[name].type for name in columns]
        # A text may well be no number; of other types, what cannot be computed is a constant beside them.
        values = ["NULL" if kind == "string" else _SOME.get(kind.partition("(")[0], "0") for kind in kinds]
        one = [
            f"CAST({value} AS {lossless.sql_type(kind)}) AS {engine.name(name)}"
            for value, kind, name in zip(values, kinds, columns, strict=True)
        ]
        rows = f"SELECT {', '.join(one) or '1'}"
        with engine.small() as connection:
            try:
                row = connection.execute(f"DESCRIBE SELECT TRY({sql}) AS v FROM ({rows})").fetchone()
                connection.execute(f"SELECT {sql} FROM ({rows})").fetchall()
            except duckdb.ConversionException as error:
                if "string" in str(error):
                    raise InvalidSpec(f"{shown} cannot be computed: {engine.one_line(error)}.") from None
            except duckdb.Error as error:
                raise InvalidSpec(f"{shown} cannot be computed: {engine.one_line(error)}.") from None
        return str(row[1]) if row else ""


def _literals(field: SchemaField, values: Sequence[str]) -> str:
    return ", ".join(_literal(field, value) for value in values)


def _literal(field: SchemaField, written: str) -> str:
    """The written value as SQL of the field's type. Raises InvalidSpec where it is none."""
    try:
        value = literals.read(field.type, written)
    except ValueError as error:
        raise InvalidSpec(f"the filter of field {field.name}: {error}.") from None
    if isinstance(value, datetime):
        return _moment(field.type, value)
    text = value.isoformat() if isinstance(value, date) else f"{value:f}" if isinstance(value, Decimal) else str(value)
    return f"CAST({engine.text(text)} AS {lossless.sql_type(field.type)})"


def _moment(kind: str, moment: datetime) -> str:
    """A moment as SQL of the type date, timestamp or timestamptz; what has no zone is in UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    text = f"{moment.date().isoformat()}" if kind == "date" else moment.isoformat(sep=" ")
    zone = "+00" if kind == "timestamptz" else ""
    return f"CAST({engine.text(text + zone)} AS {lossless.sql_type(kind)})"


def _range(field: SchemaField, given: Range) -> Iterator[str]:
    x = engine.name(field.name)
    if field.type == "double":
        yield f"NOT isnan({x})"  # the engine sorts NaN above all numbers
    if given.min is not None:
        yield f"{x} {'>' if given.min_exclusive else '>='} {_literal(field, given.min)}"
    if given.max is not None:
        yield f"{x} {'<' if given.max_exclusive else '<='} {_literal(field, given.max)}"


def select(asked: Query, scan: Scanned, connection: engine.Connection, delivered: pa.Table | None = None) -> Selected:
    """Run the query over a scan. `delivered` has the keys of earlier deliveries, where keys are remembered."""
    reader = scan(asked.columns).rows
    numbered = _Numbered(reader)
    connection.register("rows", pa.RecordBatchReader.from_batches(numbered.schema, numbered.batches()))
    if asked.remembers:
        none = pa.table({KEY: pa.array([], pa.string())})
        connection.register(_DELIVERED, delivered if delivered is not None else none)
    result = connection.sql(asked.sql).to_arrow_reader(100_000)
    positions: list[pa.Array] = []
    keys: list[pa.Array] = []
    for batch in result:
        positions.append(batch.column(0).cast(pa.int64()))
        keys += [batch.column(1)] if asked.remembers else []
    return Selected(pa.chunked_array(positions, pa.int64()), numbered.count, pa.chunked_array(keys, pa.string()))


class _Numbered:
    """A scan with the column POSITION; `count` is the number of rows that have been read."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._ascending = pa.array([], pa.int64())
        self.count = 0
        self.schema = reader.schema.append(pa.field(POSITION, pa.int64()))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, each with its rows' positions after their own columns."""
        for batch in self._reader:
            if batch.num_rows > len(self._ascending):
                self._ascending = pa.array(range(batch.num_rows), pa.int64())
            positions = pc.add(self._ascending.slice(0, batch.num_rows), self.count)
            self.count += batch.num_rows
            yield pa.RecordBatch.from_arrays([*batch.columns, positions], schema=self.schema)


def packed(keys: pa.ChunkedArray) -> tuple[str, ...]:
    """The keys as texts, each with at most `_KEYS_TOGETHER` of them: base64 of their 16 bytes, one after the other."""
    parts = (keys.slice(start, _KEYS_TOGETHER) for start in range(0, len(keys), _KEYS_TOGETHER))
    return tuple(base64.b64encode(bytes.fromhex("".join(part.to_pylist()))).decode() for part in parts)


def unpacked(content: Iterable[str]) -> pa.Table:
    """A table of the keys in what `packed` made, in the column KEY."""
    parts = []
    for text in content:
        digits = base64.b64decode(text).hex()
        parts.append(pa.array((digits[start : start + 32] for start in range(0, len(digits), 32)), pa.string()))
    return pa.table({KEY: pa.chunked_array(parts, pa.string())})


def taken(scan: Scan, selected: Selected) -> Scan:
    """The rows of a scan at the selected positions, in the order of the scan."""
    schema = scan.rows.schema
    return Scan(pa.RecordBatchReader.from_batches(schema, _taken(scan, selected)), selected.rows, scan.snapshot)


def _taken(scan: Scan, selected: Selected) -> Iterator[pa.RecordBatch]:
    """Raises NotYet (DatasetNotReady) where the scan has not the rows that were looked at."""
    positions = selected.positions.combine_chunks()
    first = start = 0
    for batch in scan.rows:
        end = _place_of(positions, start + batch.num_rows, first)
        if (count := end - first) == batch.num_rows:
            yield batch
        elif count:
            yield batch.take(pc.subtract(positions.slice(first, count), start))
        first, start = end, start + batch.num_rows
    if start != selected.total:
        raise NotYet("The Dataset was changed while it was read. The run is tried again.", "DatasetNotReady")


def _place_of(positions: pa.Array, value: int, first: int) -> int:
    """How many positions are below `value`; at least `first` are."""
    low, high = first, len(positions)
    while low < high:
        middle = (low + high) // 2
        if positions[middle].as_py() < value:
            low = middle + 1
        else:
            high = middle
    return low
