"""Which rows are good: each field is read directly where Arrow can, and DuckDB is asked about what is doubtful.

For bad rows DuckDB is asked why, and what they were. Each question is asked about those rows alone that have a fault in
one of its fields, in pieces: a chunk of nothing but bad rows takes little more memory than any other, and a fault in
one of 2,000 columns costs no more than one in 48.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.language.errors import PenstockError
from penstock.worker.ports.chunks import MASK, UTF8, Chunk
from penstock.worker.rows import arrays, engine, portions, rowrules
from penstock.worker.rows.questions import Question, Questions, is_always_direct, questions
from penstock.worker.rows.rowrules import Broken, RowQuestion, Warned
from penstock.worker.rows.shaped import EXACT

__all__ = ["BAD", "Judge", "Questions", "Split", "TooMuchText", "questions"]

_PIECE = 8192
"""Bad rows that are settled at once."""
_PIECE_CELLS = 1 << 18
"""Cells of bad rows that are settled at once: rows may be wide."""
_PREPARED = 200
"""Questions that stay planned; planning takes longer than asking. More are planned whenever they are asked."""
BAD = ["line", "stage", "field", "reason", "error", "kind", "payload", "payload_encoding", "complete"]
"""The columns of bad rows: `kind` is what is wrong in general; the rest is as in the quarantine."""


class TooMuchText(Exception):
    """The values of these rows take too much memory: fewer rows are to be asked about at once."""


@dataclass(frozen=True)
class Split:
    """A chunk's rows: the values of the good ones, and of the bad ones the columns `BAD`.

    `warned` are good rows that break rules.
    """

    good: pa.Table
    bad: pa.Table | None
    warned: tuple[Warned, ...] = ()


@dataclass
class _Values:
    """Each field's values so far, and which rows they are certain for; None: all.

    `errors` are what the answer to `Questions.both` says about the bad rows, in their order.
    """

    values: list[pa.Array | None]
    certain: list[pa.BooleanArray | None]
    errors: pa.ChunkedArray | None = None


class Judge:
    """One thread's DuckDB, asked about chunk after chunk."""

    def __init__(self, connection: engine.Connection) -> None:
        self.connection = connection
        self._tables: dict[str, _Rows] = {}

    def split(self, ask: Questions, chunks: Sequence[Chunk]) -> list[Split]:
        """Each chunk's rows, good and bad.

        Raises TooMuchText when expressions make too much of them. The chunks' tables have the same schema. They are
        asked about together: an answer takes 5 ms, however few the rows are.
        """
        sizes = [chunk.table.num_rows for chunk in chunks]
        rows = pa.concat_tables([chunk.table for chunk in chunks])
        if not rows.num_rows:
            return [Split(pa.table({}), _bad_of(chunk, None, 0, ask)) for chunk in chunks]
        if ask.has_exact:
            rows = rows.append_column(EXACT, _exact(chunks, rows.num_rows))
        rows = rows.combine_chunks()
        values, verdicts, errors = self._judged(ask, rows)
        bad = _bad_by(verdicts, rows.num_rows)
        if bad.true_count and errors is None:
            errors = self._errors(ask, rows, values, verdicts, pc.indices_nonzero(bad))
        broken = self._broken(ask, values, bad)
        if broken is not None and broken.faults is not None:
            errors = _together(errors, bad, broken)
            verdicts.append(broken.faults)
            bad = pc.or_(bad, pc.is_valid(broken.faults))
        good = pa.table(values, names=[str(number) for number in range(len(values))])
        spans = zip(_starts(sizes), sizes, strict=True)
        warned = [broken.warned(start, size) if broken else () for start, size in spans]
        if not bad.true_count:
            return [
                Split(good.slice(start, size), _bad_of(chunk, None, start, ask), warnings)
                for chunk, start, size, warnings in zip(chunks, _starts(sizes), sizes, warned, strict=True)
            ]
        good = good.filter(pc.invert(bad))
        numbers = pc.indices_nonzero(bad)
        reasons = ask.faults.take(_first_faults(verdicts, numbers)).append_column("error", errors)
        reasons = self._completed(ask, reasons, rows, values, numbers)
        bad_counts = [bad.slice(start, size).true_count for start, size in zip(_starts(sizes), sizes, strict=True)]
        good_counts = [size - count for size, count in zip(sizes, bad_counts, strict=True)]
        return [
            Split(good_rows, _bad_of(chunk, bad_rows, start, ask), warnings)
            for chunk, start, good_rows, bad_rows, warnings in zip(
                chunks, _starts(sizes), _slices(good, good_counts), _slices(reasons, bad_counts), warned, strict=True
            )
        ]

    def _broken(self, ask: Questions, values: Sequence[pa.Array], bad: pa.BooleanArray) -> Broken | None:
        """Which rules of rows are broken by rows whose fields are all good; None where none is."""
        asked = ask.row_rules
        if asked is None or bad.true_count == len(bad):
            return None
        given = pa.table([values[number] for number in asked.fields], names=[f"v{number}" for number in asked.fields])
        if bad.true_count:
            given = given.filter(pc.invert(bad))
        return rowrules.broken(asked, self._answer(asked, given, ask.masked), ask.first_rule, bad)

    def _judged(
        self, ask: Questions, rows: pa.Table
    ) -> tuple[list[pa.Array], list[pa.Int32Array | None], pa.ChunkedArray | None]:
        """Each field's values; each verdict's faults of all rows, None where there are none; the bad rows' errors.

        The errors are None where they have still to be asked.
        """
        directly = [reading.values(rows) if reading else (None, None) for reading in ask.readings]
        state = _Values([values for values, _ in directly], [certain for _, certain in directly])
        ordinary = None
        if ask.has_exact and rows[EXACT].null_count < rows.num_rows:
            ordinary = pc.is_null(rows[EXACT].chunk(0))
        verdicts = list[pa.Int32Array | None]()
        for question in ask.verdicts:
            if len(question.direct) < len(question.fields):  # what is computed is never certain
                verdicts.append(self._verdict(ask, question, rows, state, None))
                continue
            sure = _sure(state, question, ordinary)
            verdicts.append(None if sure is None else self._verdict(ask, question, rows, state, sure))
        return [values for values in state.values if values is not None], verdicts, state.errors

    def _verdict(
        self, ask: Questions, question: Question, rows: pa.Table, state: _Values, sure: pa.BooleanArray | None
    ) -> pa.Int32Array:
        """Ask about the rows that are not sure, or about all; put the answers among the values. The faults of all."""
        doubtful = None if sure is None else pc.invert(sure)
        given = _given(question, rows, state.values)
        if doubtful is not None:
            given = given.filter(doubtful)
        if ask.both is not None and doubtful is not None and given.num_rows <= _piece(given):
            judged = self._answer(ask.both, given, ask.masked)
            state.errors = judged["error"].filter(pc.is_valid(judged["fault"]))
        else:
            judged = self._answer(question, given, ask.masked)
        faults = arrays.one(judged["fault"])
        if doubtful is None or faults.null_count:  # else the values of these rows are of no use
            self._put(ask, question, judged, state, doubtful)
        return (
            faults if doubtful is None else pc.replace_with_mask(pa.nulls(rows.num_rows, pa.int32()), doubtful, faults)
        )

    def _put(
        self, ask: Questions, question: Question, judged: pa.Table, state: _Values, doubtful: pa.BooleanArray | None
    ) -> None:
        """Put the answers for the doubtful rows, or for all, among the values."""
        for field in question.fields:
            if is_always_direct(field):
                continue
            answers = arrays.one(judged[field.value]).cast(ask.types[field.number])
            before = state.values[field.number]
            if before is not None and doubtful is not None:
                answers = pc.replace_with_mask(before, doubtful, answers)
            state.values[field.number] = answers

    def _errors(
        self,
        ask: Questions,
        rows: pa.Table,
        values: Sequence[pa.Array],
        verdicts: Sequence[pa.Int32Array | None],
        numbers: pa.Array,
    ) -> pa.ChunkedArray:
        """The messages about the bad rows, which have these numbers."""
        answers = []
        for question in ask.errors:
            own = {field.number for field in question.fields}
            asked = [
                verdict
                for each, verdict in zip(ask.verdicts, verdicts, strict=True)
                if own & {field.number for field in each.fields}
            ]
            suspect = _bad_by(asked, rows.num_rows)
            if suspect.true_count:
                answer = self._asked_in_pieces(question, rows, values, pc.indices_nonzero(suspect), ask.masked)["error"]
                answers.append(_spread(pc.if_else(pc.equal(answer, ""), None, answer), suspect.take(numbers)))
        return pc.binary_join_element_wise(*answers, "; ", null_handling="skip")

    def _completed(
        self, ask: Questions, reasons: pa.Table, rows: pa.Table, values: Sequence[pa.Array], numbers: pa.Array
    ) -> pa.Table:
        """The same with the numbers of the rows, and their payloads where chunks have none."""
        if ask.payload is not None:
            payloads = self._asked_in_pieces(ask.payload, rows, values, numbers, ask.masked)
            reasons = reasons.append_column("payload", payloads["payload"])
        return reasons.append_column("row", numbers)

    def _asked_in_pieces(
        self, question: Question, rows: pa.Table, values: Sequence[pa.Array], numbers: pa.Array, masked: bool
    ) -> pa.Table:
        """The answer about the rows of these numbers."""
        given = _given(question, rows, values)
        step = _piece(given)
        pieces = []
        for start in range(0, len(numbers), step):
            pieces.append(self._answer(question, given.take(numbers.slice(start, step)), masked))
        return pa.concat_tables(pieces)

    def _answer(self, question: Question | RowQuestion, rows: pa.Table, masked: bool) -> pa.Table:
        """Ask about these rows. A question is planned once for tables alike: planning costs 10 to 20 ms."""
        sql = question.sql
        table = self._tables.get(question.table)
        if table is None or table.question != sql or table.rows.schema != rows.schema:
            table = _Rows(sql, rows, question.rows_at_once)
            self.connection.register(question.table, table)
            if question.table in self._tables or len(self._tables) < _PREPARED:
                self._tables[question.table] = table
                self.connection.execute(f"PREPARE ask_{question.table} AS {sql}")
        if question.table in self._tables:
            sql = f"EXECUTE ask_{question.table}"
        table.rows = rows
        try:
            with _discreet(masked):
                return self._read(sql, question.rows_at_once, rows.num_rows)
        finally:
            table.rows = rows.slice(0, 0)

    def _read(self, sql: str, at_once: int | None, rows: int) -> pa.Table:
        """The answer. Raises TooMuchText when it grows too large, unless no fewer rows can be asked about."""
        if at_once is None or rows <= at_once:
            return self.connection.sql(sql).to_arrow_table()
        reader = self.connection.sql(sql).to_arrow_reader(at_once)
        batches, size = list[pa.RecordBatch](), 0
        for batch in reader:
            batches.append(batch)
            size += batch.nbytes
            if size > portions.MOST_BYTES:
                raise TooMuchText
        return pa.Table.from_batches(batches, reader.schema)


class _Rows:
    """What DuckDB knows as one of the questions' tables, whichever rows these are at the moment."""

    def __init__(self, question: str, rows: pa.Table, at_once: int | None) -> None:
        self.question, self.rows, self._at_once = question, rows, at_once

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The rows, in batches where few are to be computed at once: DuckDB computes those of a batch together."""
        given = self.rows if self._at_once is None else self.rows.to_reader(self._at_once)
        return given.__arrow_c_stream__(requested_schema)


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


def _piece(given: pa.Table) -> int:
    """How many of these rows are settled at once, where they are bad."""
    return max(1, min(_PIECE, _PIECE_CELLS // int(given.num_columns)))


def _given(question: Question, rows: pa.Table, values: Sequence[pa.Array | None]) -> pa.Table:
    """The columns that a question needs: the chunk's, and values that were read directly."""
    given = rows.select([*question.columns] or [rows.column_names[0]])
    for field in question.direct:
        given = given.append_column(field.direct_value, values[field.number])
    return given


def _together(errors: pa.ChunkedArray | None, bad: pa.BooleanArray, broken: Broken) -> pa.Array:
    """The messages about all bad rows: `errors` about those that are bad so far, and those about broken rules."""
    every = broken.errors
    if errors is not None:
        every = pc.replace_with_mask(every, bad, arrays.one(errors))
    return every.filter(pc.or_(bad, pc.is_valid(broken.faults)))


def _bad_by(verdicts: Iterable[pa.Int32Array | None], rows: int) -> pa.BooleanArray:
    """Which rows have a fault by any of the verdicts."""
    every = (pc.is_valid(verdict) for verdict in verdicts if verdict is not None)
    return reduce(pc.or_, every, pa.repeat(pa.scalar(False), rows))


def _first_faults(verdicts: Iterable[pa.Int32Array | None], numbers: pa.Array) -> pa.Int32Array:
    """The first fault of each of the bad rows, which have these numbers."""
    return pc.min_element_wise(*(verdict.take(numbers) for verdict in verdicts if verdict is not None))


def _spread(answer: pa.ChunkedArray, about: pa.BooleanArray) -> pa.ChunkedArray:
    """The answer as entries for all bad rows, those that are not among `about` null."""
    if about.true_count == len(about):
        return answer
    places = pc.subtract(pc.cumulative_sum(about.cast(pa.int64())), 1)
    return answer.take(pc.if_else(about, places, None))


def _sure(state: _Values, question: Question, ordinary: pa.BooleanArray | None) -> pa.BooleanArray | None:
    """For which rows the question need not be asked; None: for all. `ordinary` are the rows without exact cells."""
    sure = ordinary if question.columns[-1:] == (EXACT,) else None
    for field in question.fields:
        certain = state.certain[field.number]
        if certain is not None:
            sure = certain if sure is None else pc.and_(sure, certain)
    return sure


def _exact(chunks: Sequence[Chunk], rows: int) -> pa.Array:
    """The exact texts of all chunks' cells: a JSON object by column for each row that has some."""
    texts: dict[int, dict[str, str]] = {}
    start = 0
    for chunk in chunks:
        for cell in chunk.exact:
            texts.setdefault(start + cell.row, {})[cell.column] = cell.text
        start += chunk.table.num_rows
    if not texts:
        return pa.nulls(rows, pa.string())
    return pa.array([json.dumps(texts[row]) if row in texts else None for row in range(rows)], pa.string())


def _starts(sizes: Sequence[int]) -> list[int]:
    return [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]


def _slices(rows: pa.Table, sizes: Sequence[int]) -> list[pa.Table]:
    return [rows.slice(start, size) for start, size in zip(_starts(sizes), sizes, strict=True)]


def _bad_of(chunk: Chunk, reasons: pa.Table | None, start: int, ask: Questions) -> pa.Table | None:
    """All that is bad in the chunk, whose first row is row `start` of what was asked about."""
    bad = [] if chunk.broken is None or not chunk.broken.num_rows else [_of_broken(chunk.broken, ask.masked)]
    if reasons:
        records = chunk.records_of(row - start for row in reasons["row"].to_pylist())
        reasons = reasons.append_column("line", pa.array(chunk.lines.of(records), pa.int64()))
        if chunk.written is None:
            reasons = reasons.append_column("payload_encoding", pa.repeat(UTF8, reasons.num_rows))
            reasons = reasons.append_column("complete", pa.repeat(not ask.masked, reasons.num_rows))
        else:
            payloads = chunk.written.payloads(records, ask.hidden)
            for name in payloads.column_names:
                reasons = reasons.append_column(name, payloads[name])
        bad.append(reasons.select(BAD))
    return pa.concat_tables(bad) if bad else None


def _of_broken(broken: pa.Table, masked: bool) -> pa.Table:
    count = broken.num_rows
    return pa.table(
        {
            "line": broken["line"],
            "stage": pa.repeat("read", count),
            "field": pa.nulls(count, pa.string()),
            "reason": broken["reason"],
            "error": broken["error"],
            "kind": broken["error"],
            "payload": pa.repeat(MASK, count) if masked else broken["payload"],
            "payload_encoding": pa.repeat(UTF8, count) if masked else broken["payload_encoding"],
            "complete": pa.repeat(False, count) if masked else broken["complete"],
        }
    )
