# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""The first rows of a Dataset, its quarantine, a Source or a delivery, for people to look at: as texts."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing

import pyarrow as pa

from penstock.language.errors import InvalidSpec
from penstock.runs import places
from penstock.runs.order import RunOrder
from penstock.runs.report import BadRows, DatasetReport, Forecast, Preview
from penstock.worker import report, spending
from penstock.worker.connectors import Connectors
from penstock.worker.jobs import applied, selecting
from penstock.worker.pod import Pod
from penstock.worker.ports import chunks
from penstock.worker.ports.chunks import Chunk
from penstock.worker.ports.source import Input, Session, Source, StreamRequest
from penstock.worker.ports.tablestore import Scan
from penstock.worker.rows import engine

log = logging.getLogger(__name__)

_LONGEST = 1000
"""Characters shown of one value."""
_MEMORY = 256 << 20
_RULES = 20
"""How many rules are shown that rows have broken."""
_OF_QUARANTINE = ["input", "position", "locator", "field", "reason", "message", "payload", "run", "at"]
"""What is shown of a quarantine's entries."""
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def dataset(order: RunOrder, pod: Pod, connectors: Connectors) -> DatasetReport:
    """Print rows of the order's Dataset in one line of the log. Raises NotYet (DatasetNotReady) without a table."""
    if order.preview is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to preview names one Dataset and what to show.")
    dataset, asked = order.datasets[0], order.preview
    store = connectors.store_of(dataset.destination, pod)
    if asked.quarantined:
        scan, hidden = store.scan_quarantine(dataset), set[str]()
    else:
        fields = applied.readable(store, dataset, ()).schema_.fields
        scan = store.scan(dataset, [field.name for field in fields])
        hidden = {field.name for field in fields if field.sensitive}
    with engine.connect(_MEMORY, 1, pod.scratch) as connection:
        first = _first(scan, asked.rows)
        if asked.quarantined:
            first = first.select(_OF_QUARANTINE)
        shown = Preview(
            columns=first.column_names,
            numeric=_numeric(first, hidden),
            rows=_texts(first, hidden, connection),
            total=scan.total,
            bad=_by_rule(store.scan_quarantine(dataset), connection) if asked.quarantined else [],
        )
    _print(shown)
    return report.standing(store, dataset, DatasetReport(name=dataset.owner.name, state="Ready"))


def subscription(order: RunOrder, pod: Pod, connectors: Connectors) -> None:
    """Print the first rows that a delivery would have now, and how much it would be, in one line of the log.

    Raises NotYet (DatasetNotReady) without data, InvalidSpec as a delivery does. Nothing is written or charged.
    """
    if order.preview is None or order.delivery is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to preview a Subscription names one Dataset and a delivery.")
    asked, delivery = order.preview, order.delivery
    store = connectors.store_of(order.datasets[0].destination, pod)
    order = applied.delivery(store, order)
    dataset = order.datasets[0]
    columns = selecting.columns_of(delivery, dataset)
    basis = selecting.newest(dataset, store)
    store.ledger.create()
    account = spending.account(order, store.ledger, selecting.subject(order), basis.moment)
    sensitive = {field.name for field in dataset.schema_.fields if field.sensitive}
    sources = [column.source for column in columns]  # one field may be delivered under two names
    with store.same_order(dataset):
        selection = selecting.select(order, store, selecting.subject(order), basis, pod)
        count = selection.count()
        first, size = _first_and_size(selection.scan([*dict.fromkeys(sources)]), asked.rows)
    first = first.select(sources).rename_columns([column.target for column in columns])
    hidden = {column.target for column in columns if column.source in sensitive}
    forecast = Forecast(rows=count, bytes=size)
    if account is not None:
        cost = account.report(count).cost
        forecast = Forecast(rows=count, bytes=size, cost=cost, currency=account.price.currency, left=account.left)
    with engine.connect(_MEMORY, 1, pod.scratch) as connection:
        shown = Preview(
            columns=first.column_names,
            numeric=_numeric(first, hidden),
            rows=_texts(first, hidden, connection),
            total=count,
            forecast=forecast,
        )
    _print(shown)


def _first_and_size(scan: Scan, rows: int) -> tuple[pa.Table, int]:
    """The first rows of a scan, and the bytes of the values of all."""
    parts: list[pa.RecordBatch] = []
    size = 0
    for batch in scan.rows:
        size += batch.nbytes
        if rows > 0:
            parts.append(batch.slice(0, rows))
            rows -= parts[-1].num_rows
    return pa.Table.from_batches(parts, scan.rows.schema), size


def source(order: RunOrder, pod: Pod, connectors: Connectors) -> None:
    """Print the first rows of the Source's first input that has any, in one line of the log.

    Raises InvalidSpec (ResourceNotFound) where there is none.
    """
    if order.source is None or order.preview is None:
        raise InvalidSpec("The order to preview names a Source and what to show.")
    source = connectors.source_of(order.source, pod)
    source.check()
    stream = order.source.name
    with source.session([StreamRequest(stream)]) as session, engine.connect(_MEMORY, 1, pod.scratch) as connection:
        shown = Preview(columns=[], rows=[])
        for entry in session.plan(stream).inputs:
            shown = _of_input(source, session, stream, entry, order.preview.rows, connection)
            if shown.rows or shown.bad:
                break
    _print(shown)


def _print(shown: Preview) -> None:
    log.info("%s%s", places.PREVIEW_LINE, shown.model_dump_json(by_alias=True))


def _first(scan: Scan, rows: int) -> pa.Table:
    """The first rows of a scan."""
    parts: list[pa.RecordBatch] = []
    for batch in scan.rows:
        parts.append(batch.slice(0, rows))
        rows -= parts[-1].num_rows
        if rows <= 0:
            break
    return pa.Table.from_batches(parts, scan.rows.schema)


def _of_input(
    source: Source, session: Session, stream: str, entry: Input, wanted: int, connection: engine.Connection
) -> Preview:
    """The first rows of one input, and the records among them that are no rows."""
    rows: list[list[str | None]] = []
    bad: list[BadRows] = []
    numeric: list[str] = []
    names: tuple[str, ...] = ()
    for names, chunk in _chunks(source, session, stream, entry, connection):
        if chunk.broken is not None:
            lines = chunk.broken.slice(0, _RULES).to_pylist()
            bad += [BadRows(rows=1, why=row["error"], where=f"{entry.name}:{row['line']}") for row in lines]
        if chunk.table.num_rows:
            table = chunk.table.slice(0, wanted - len(rows)).select([f"c{index}" for index in range(len(names))])
            table = table.rename_columns(list(names))
            rows += _texts(table, (), connection)
            numeric = numeric or _numeric(table, ())
        if len(rows) >= wanted or len(bad) >= _RULES:
            break
    return Preview(columns=list(names), numeric=numeric, rows=rows, bad=bad[:_RULES], where=entry.name)


def _chunks(
    source: Source, session: Session, stream: str, entry: Input, connection: engine.Connection
) -> Iterator[tuple[tuple[str, ...], Chunk]]:
    """The input's chunks with the names of their columns; of open columns those that discovery has seen."""
    with closing(session.readers(stream, entry.parts)) as openings:
        for opening in openings:
            with opening() as reader:
                names = reader.columns.names
                if reader.columns.open:
                    discovered = {each.name: each for each in source.discover()}
                    names = tuple(field.name for field in discovered[stream].fields) if stream in discovered else ()
                for work in reader.works(names):
                    yield names, work(connection)


def _by_rule(scan: Scan, connection: engine.Connection) -> list[BadRows]:
    """All entries of a quarantine by the field and the rule that they break, the most frequent first."""
    connection.register("bad", scan.rows)
    rules = connection.execute(
        "SELECT count(*), field, first(message ORDER BY input, position), first(locator ORDER BY input, position) "
        # A message quotes the value that breaks the rule: without it, the message is the rule.
        """FROM bad GROUP BY field, regexp_replace(message, '"[^"]*"', '', 'g') """
        f"ORDER BY 1 DESC, 2, 4 LIMIT {_RULES}"
    ).fetchall()
    return [BadRows(rows=rows, field=field, why=why[:_LONGEST], where=where) for rows, field, why, where in rules]


def _numeric(table: pa.Table, hidden: Collection[str]) -> list[str]:
    return [
        column.name
        for column in table.schema
        if column.name not in hidden and any(is_number(column.type) for is_number in _NUMBERS)
    ]


def _texts(table: pa.Table, hidden: Collection[str], connection: engine.Connection) -> list[list[str | None]]:
    if not table.num_columns:
        return []
    # Names of a file may differ in case alone, which SQL does not tell apart.
    numbered: Mapping[str, str] = {f"c{index}": name for index, name in enumerate(table.column_names)}
    connection.register("shown", table.rename_columns(list(numbered)))
    columns = [
        f"CASE WHEN {column} IS NOT NULL THEN {engine.text(chunks.MASK)} END"
        if name in hidden
        else f"left(CAST({column} AS VARCHAR), {_LONGEST})"
        for column, name in numbered.items()
    ]
    return [list(row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM shown").fetchall()]
