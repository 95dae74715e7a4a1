"""The upsert: staged rows are merged into a table by its primary key, within the transaction of the commit.

What need not be written leaves the staging table first: rows with a later one beside them, then rows that the table has
with equal values or with a later version. What is left is written by INSERT … ON CONFLICT. An update costs a new row
and its index entries, so a load of rows that have not changed leaves the table's files as they are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from penstock.connectors.postgres import columns
from penstock.connectors.postgres.database import PostgresCursor
from penstock.connectors.postgres.staging import PART
from penstock.runs.order import DatasetOrder
from penstock.worker import sqltables
from penstock.worker.ports.tablestore import INPUT_ID, LINEAGE, ORDER, Merged
from penstock.worker.sqltables import Column

_MEMORY = "SET LOCAL work_mem = '64MB'"
"""What a sort or a join of the merge may take at the server before it goes to disk."""
_SUPERSEDED = sql.SQL("""
WITH ranked AS (
  SELECT ctid AS place, row_number() OVER (PARTITION BY {key} ORDER BY {latest}) AS rank
  FROM {staging} WHERE {part} = ANY(%(parts)s)
), gone AS (
  DELETE FROM {staging} USING ranked WHERE ctid = ranked.place AND ranked.rank > 1 RETURNING {input}
) SELECT {input}, count(*) FROM gone GROUP BY {input}""")
_NOT_NEEDED = sql.SQL("""
WITH pairs AS MATERIALIZED (
  SELECT s.ctid AS place, s.{input} AS staged, t.{input} AS there,
    CASE WHEN {older} THEN 'older' WHEN {equal} THEN 'equal' ELSE 'newer' END AS verdict
  FROM {staging} s JOIN {table} t ON {same_key} WHERE s.{part} = ANY(%(parts)s)
), gone AS (
  DELETE FROM {staging} USING pairs WHERE ctid = pairs.place AND pairs.verdict <> 'newer'
) SELECT verdict, CASE verdict WHEN 'newer' THEN there ELSE staged END, count(*) FROM pairs GROUP BY 1, 2""")
"""Each staged row and the table's with its key are compared once. The verdict is on the staged row."""
_WRITE = sql.SQL("""
WITH written AS (
  INSERT INTO {table} AS t ({names}) SELECT {names} FROM {staging} WHERE {part} = ANY(%(parts)s)
  ON CONFLICT ({key}) DO UPDATE SET {assignments}
  RETURNING t.xmax <> 0 AS updated
) SELECT count(*), count(*) FILTER (WHERE updated) FROM written""")
"""A row that was updated has in `xmax` the transaction that locked the row before it; a new one has 0."""


@dataclass(frozen=True)
class Upsert:
    """What has come into the table: rows written, how many of them in the place of others, and rows not needed."""

    written: int
    updated: int
    merged: Merged


def upsert(
    cursor: PostgresCursor, dataset: DatasetOrder, table: sql.Identifier, staging: sql.Identifier, parts: Sequence[str]
) -> Upsert:
    """Merge the staged rows of these parts into the table, whose primary key is the Dataset's."""
    every = sqltables.columns_of_table(dataset)
    terms = {"table": table, "staging": staging, **_terms(dataset, every)}
    given = {"parts": [*parts]}

    def counts(statement: sql.SQL) -> list[tuple[Any, ...]]:
        cursor.own.execute(statement.format(**terms), given)
        return cursor.fetchall()

    cursor.execute(_MEMORY)
    superseded, unchanged, displaced = Counter[int](dict(counts(_SUPERSEDED))), Counter[int](), Counter[int]()
    cursor.own.execute(sql.SQL("ANALYZE {}").format(staging))  # else the next join is planned for a handful of rows
    counted = {"older": superseded, "equal": unchanged, "newer": displaced}
    for verdict, input_id, count in counts(_NOT_NEEDED):
        if input_id is not None:  # else another program has written the row that is displaced
            counted[verdict][input_id] += count
    [(written, updated)] = counts(_WRITE)
    return Upsert(written, updated, Merged(superseded, unchanged, displaced))


def _terms(dataset: DatasetOrder, every: Sequence[Column]) -> dict[str, sql.Composable]:
    """The parts of the statements that depend on the Dataset's fields."""
    key, version = dataset.schema_.key, dataset.schema_.version_field
    values = [column.name for column in every if column.name not in (*key, *LINEAGE.names)]
    rest = [column.name for column in every if column.name not in key]
    latest = [sql.SQL("{} DESC NULLS LAST").format(sql.Identifier(version))] if version else []
    latest += [sql.SQL("{} DESC").format(sql.Identifier(name)) for name in (INPUT_ID, ORDER.name)]
    return {
        "part": sql.Identifier(PART.name),
        "input": sql.Identifier(INPUT_ID),
        "names": columns.names(every),
        "key": sql.SQL(", ").join(map(sql.Identifier, key)),
        "latest": sql.SQL(", ").join(latest),
        "same_key": sql.SQL(" AND ").join(_pair("{} = {}", name) for name in key),
        "equal": _all_equal(values),
        "older": _is_older(version),
        "assignments": sql.SQL(", ").join(
            sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name)) for name in rest
        ),
    }


def _pair(form: str, name: str) -> sql.Composed:
    """The form over a column of the table and the same column of what is staged."""
    return sql.SQL(form).format(sql.Identifier("t", name), sql.Identifier("s", name))


def _all_equal(names: Sequence[str]) -> sql.Composable:
    if not names:
        return sql.SQL("true")
    return sql.SQL("({})").format(sql.SQL(" AND ").join(_pair("{} IS NOT DISTINCT FROM {}", name) for name in names))


def _is_older(version: str | None) -> sql.Composable:
    """Whether the staged row is earlier than the table's; a version of null is the earliest."""
    if version is None:
        return sql.SQL("false")
    greater = _pair("{} > {}", version)
    null = sql.SQL("({} IS NULL AND {} IS NOT NULL)").format(sql.Identifier("s", version), sql.Identifier("t", version))
    return sql.SQL("coalesce({} OR {}, false)").format(greater, null)
