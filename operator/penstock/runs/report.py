"""RunReport: what a run did. Its short form is in `summary.py`; the larger things go through the log."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import Field

from penstock.language import lenient
from penstock.language.model import Model
from penstock.language.scalars import Word
from penstock.runs import places
from penstock.runs.order import OrderKind

DETAILS_LIMIT = 256 * 1024
"""Bytes of the line in the log."""
_TIMES = re.compile(r"(?:[0-9][0-9T:.Z+-]* ){0,2}")
"""What a line begins with: the worker's time, and before it that of the kubelet, where it was asked for."""


class Counts(Model):
    """Rows and bytes of one run for one Dataset.

    Always: read = loaded + unchanged + deletes + quarantined + ignored + superseded.
    """

    read: int = 0
    loaded: int = 0
    unchanged: int = 0
    deletes: int = 0
    quarantined: int = 0
    ignored: int = 0
    superseded: int = 0
    replaced: int = 0
    """Earlier rows that left the table with this commit."""
    bytes: int = 0
    """Bytes of the input files as they lie at the source."""
    files: int = 0
    refused: int = 0
    """Inputs that could not be read as a whole and were set aside; their rows are in none of the counts."""

    @property
    def balanced(self) -> bool:
        """Whether every row read is accounted for."""
        accounted = self.loaded + self.unchanged + self.deletes + self.quarantined + self.ignored + self.superseded
        return self.read == accounted


class Commit(Model):
    """One line of the ledger's tail: a committed run and its counts."""

    run: str
    """Its run id; empty where the report does not say."""
    at: str
    loaded: int
    quarantined: int


class ColumnReport(Model):
    """A column as the table has it."""

    name: str
    type: str


class RuleWarning(Model):
    """A rule of the severity warn that loaded rows break."""

    rule: str
    rows: int
    places: list[str] = []
    """Where the first of these rows stand, at most 3; no values."""


class DatasetReport(Model):
    """What a run did to one Dataset, and how its table stands afterwards."""

    name: str
    state: Word
    """Written, Unchanged, Failed, or Ready: the table exists and nothing was to be written (migrate)."""
    counts: Counts = Counts()
    earlier: bool = False
    """The run id was committed before: the counts are those of that commit."""
    committed_at: str | None = None
    """When that was; RFC 3339. Set where `earlier` is."""
    reason: Word | None = None
    message: str | None = None
    rows: int | None = None
    bytes: int | None = None
    quarantined: int | None = None
    snapshot: str | None = None
    table: str | None = None
    columns: list[ColumnReport] = []
    cursor: str | None = None
    """The mark of an incremental load by a cursor: how far it has read; `***` where the column is sensitive."""
    warnings: list[RuleWarning] = []
    """Rules that loaded rows of this run break, those of most rows first. They are only shown."""
    tail: list[Commit] = []
    """The newest commits that loaded rows, at most 3, newest first: status is rebuilt from it where one was lost."""


class StreamReport(Model):
    """A stream as an inspection found it, or as a load listed it."""

    name: str
    fields: int | None = None
    """None: it was listed for a load, which does not look at all of its fields."""
    files: int | None = None


class SpendReport(Model):
    """What a delivery cost; and where there is a budget, what was spent in its period with it."""

    cost: str
    currency: str
    spent: str | None = None
    since: str | None = None
    until: str | None = None


class DeliveryReport(Model):
    """A delivery that a receiver can read."""

    manifest: str | None = None
    """The URL of the manifest; None for a table, and where the report does not say."""
    table: str | None = None
    """The table, with its schema; None for files, and where the report does not say."""
    rows: int
    bytes: int
    files: int | None = None
    """None for a table."""
    refused: int | None = None
    """Rows that were left out because the receiving system cannot store them."""
    spend: SpendReport | None = None
    """None where the Dataset has no price."""
    at: str
    earlier: bool = False
    """The same run had delivered before; nothing was written again."""


class RunReport(Model):
    """What a run did. Times are RFC 3339 in UTC."""

    kind: OrderKind
    run: str
    state: Literal["Succeeded", "Failed"]
    reason: Word | None = None
    message: str | None = None
    attempt: Annotated[int, Field(ge=1)] = 1
    started_at: str
    finished_at: str
    datasets: list[DatasetReport] = []
    streams: list[StreamReport] = []
    delivery: DeliveryReport | None = None
    shown_counts: Counts = Counts()
    """Sums over all Datasets of the counts that the entries of a short report do not have."""
    complete: bool = False
    """Whether it has what is only shown."""

    @property
    def counts(self) -> Counts:
        """The sums over all Datasets."""
        totals = {
            name: sum(getattr(entry.counts, name) for entry in self.datasets) or getattr(self.shown_counts, name)
            for name in Counts.model_fields
        }
        return Counts(**totals)


def details(report: RunReport) -> str:
    """The line with which a worker ends its log: the whole report as JSON, for what is only shown.

    At most `DETAILS_LIMIT` bytes: where it would be longer, columns, warnings, and then streams and all Datasets are
    left out.
    """
    shorter = [_each_dataset(report, columns=[]), _each_dataset(report, columns=[], warnings=[])]
    for part in (report, *shorter, report.model_copy(update={"datasets": [], "streams": []})):
        document = part.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        line = places.REPORT_LINE + json.dumps(document, separators=(",", ":"))  # ASCII alone: a terminal may show it
        if len(line) <= DETAILS_LIMIT:
            return line
    return places.REPORT_LINE + "{}"


def with_details(report: RunReport, log: str) -> RunReport:
    """A report with what the end of its worker's log shows beyond it; as it is where the log has nothing of it.

    What decisions need stays as it was in the termination message: a log changes nothing but what is shown.
    """
    try:
        logged = lenient.read(RunReport, json.loads(marked(log, places.REPORT_LINE) or ""))
    except (ValueError, RecursionError):
        return report
    if (logged.kind, logged.finished_at, logged.state) != (report.kind, report.finished_at, report.state):
        return report
    by_name = {entry.name: entry for entry in logged.datasets}
    entries = [_shown(entry, by_name.get(entry.name)) for entry in report.datasets]
    delivery = report.delivery
    if delivery is not None and logged.delivery is not None:
        names = {"manifest": logged.delivery.manifest, "table": logged.delivery.table}
        delivery = delivery.model_copy(update=names)
    update = {"datasets": entries, "delivery": delivery, "streams": logged.streams or report.streams}
    return report.model_copy(update={**update, "message": logged.message or report.message, "complete": True})


_SHOWN_OF_DATASETS = ("bytes", "quarantined", "snapshot", "table", "columns", "cursor", "warnings")


def _shown(entry: DatasetReport, logged: DatasetReport | None) -> DatasetReport:
    if logged is None:
        return entry
    decided = {name: getattr(entry.counts, name) for name in ("read", "loaded", "quarantined")}
    same = [commit.at for commit in entry.tail] == [commit.at for commit in logged.tail[:1] if commit.loaded]
    return entry.model_copy(
        update={
            **{name: getattr(logged, name) for name in _SHOWN_OF_DATASETS},
            "message": logged.message or entry.message,
            "tail": logged.tail if same else entry.tail,
            "counts": logged.counts.model_copy(update=decided),
        }
    )


def marked(log: str, mark: str) -> str | None:
    """What follows `mark` in the last line of a log that begins with it; None where none does."""
    # Only "\n" ends a line: JSON leaves U+0085 and U+2028 as they are, where splitlines would cut.
    marked = [rest for line in log.split("\n") if (rest := after_mark(line, mark)) is not None]
    return marked[-1] if marked else None


def after_mark(line: str, mark: str) -> str | None:
    """What follows `mark` in a line of a log that begins with it, after the time; None where it does not.

    Further on in a line, a mark may be part of what the line quotes: the name of a table or of a file.
    """
    times = _TIMES.match(line)
    rest = line[times.end() if times else 0 :]
    return rest[len(mark) :] if rest.startswith(mark) else None


def _each_dataset(report: RunReport, **update: Any) -> RunReport:
    return report.model_copy(update={"datasets": [entry.model_copy(update=update) for entry in report.datasets]})


class CatalogField(Model):
    """A field of a stream as inspection found it."""

    name: str
    type: str


class CatalogStream(Model):
    """A stream with its fields."""

    name: str
    fields: list[CatalogField]


class Catalog(Model):
    """Every stream of a Source; goes through the log in one line, after `places.CATALOG_LINE`."""

    streams: list[CatalogStream]
    truncated: bool = False


class Progress(Model):
    """How far a load is; goes through the log, after `places.PROGRESS_LINE`.

    `seconds` have passed since it began; `bytes` of the inputs are read, of `total_bytes` where their size is known.
    """

    dataset: str
    rows: int
    bad: int = 0
    seconds: float
    bytes: int = 0
    total_bytes: int | None = None


class BadRows(Model):
    """Bad rows that break the same rule of the same field; `why` and `where` are those of the first."""

    rows: int
    field: str | None = None
    """None where the line could not be read as a row."""
    why: str
    where: str
    """File, and line or row in it."""


class Forecast(Model):
    """What a Subscription would deliver now. `bytes` are those of the values, before they are encoded."""

    rows: int
    bytes: int
    cost: str | None = None
    currency: str | None = None
    left: str | None = None
    """What is left of the budget."""


class Preview(Model):
    """First rows of a Dataset, its quarantine, a Source or a delivery; a line of the log, after `places.PREVIEW_LINE`.

    Values are texts as SQL prints them; None is NULL; sensitive ones of a Dataset are masked as `***`.
    """

    columns: list[str]
    numeric: list[str] = []
    """The columns whose values are numbers."""
    rows: list[list[str | None]]
    total: int | None = None
    """Rows in the table in all; None for a Source, of which only the beginning is read."""
    bad: list[BadRows] = []
    """Of a quarantine: all its rows by rule, the most frequent first. Of a Source: lines that are no rows."""
    forecast: Forecast | None = None
    """Of a Subscription."""
    where: str | None = None
    """Of a Source: the file that was read."""
