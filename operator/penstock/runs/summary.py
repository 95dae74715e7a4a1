"""The termination message of a worker: all of a report that decisions need, in at most `LIMIT` bytes.

Kubernetes keeps 4,096 bytes for a container and 12 KiB for all of a Pod, and containers that others inject take their
part, so we use half of it. What does not depend on the run is left out: the run id and the names of the Datasets are on
the Job, and the entries of `datasets` are in the order of the RunOrder. What is only shown (messages, columns, sizes)
is in the last line of the log, see `report.details`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from penstock.language import lenient, times
from penstock.language.model import Model
from penstock.language.scalars import Word
from penstock.runs.order import OrderKind
from penstock.runs.report import Commit, Counts, DatasetReport, DeliveryReport, RunReport, SpendReport, StreamReport

VERSION = "penstock.dev/report-v2"
LIMIT = 2048
"""Bytes of the message, of which 16 Datasets of the longest numbers and reasons need less."""

_LETTERS = {"W": "Written", "U": "Unchanged", "F": "Failed", "R": "Ready"}
_STATES = {state: letter for letter, state in _LETTERS.items()}
_EPOCHS = range(1, 253_402_300_800)
"""The seconds since 1970 that have a date of four digits."""
_SHOWN_COUNTS = ("ignored", "superseded", "replaced", "bytes", "files", "refused", "unchanged", "deletes")


class _Dataset(Model):
    """One Dataset; short names, since there may be 16. Times are in seconds since 1970, in UTC."""

    state: Annotated[Word | None, Field(alias="s")] = None
    """The first letter; None: nothing was done to it before the run ended."""
    reason: Annotated[Word | None, Field(alias="r")] = None
    last_load: Annotated[int | None, Field(alias="l")] = None
    """When rows were last loaded into the table, by this run or another."""
    committed: Annotated[int | None, Field(alias="e")] = None
    """When an earlier attempt had committed this run."""
    counts: Annotated[list[int], Field(alias="n")] = []
    """Rows read, loaded, quarantined; and how many inputs were refused, where no rows were read."""
    rows: Annotated[int | None, Field(alias="t")] = None
    """Rows in the table."""
    bad: Annotated[int | None, Field(alias="q")] = None
    """Rows in its quarantine table; left out of all Datasets where there is no room for it."""


class _Delivery(Model):
    """A delivery, without the URL of its manifest or the name of its table."""

    rows: int
    bytes: int
    files: int | None = None
    refused: int | None = None
    spend: SpendReport | None = None
    at: str
    earlier: bool = False


class _Summary(Model):
    """The message as a whole."""

    version: str = VERSION
    kind: OrderKind
    state: Word
    reason: Word | None = None
    attempt: int = 1
    started_at: str
    finished_at: str
    datasets: list[_Dataset] = []
    counts: list[int] = []
    """The sums of `_SHOWN_COUNTS` over all Datasets."""
    delivery: _Delivery | None = None
    streams: list[StreamReport] = []
    message: str | None = None


def encode(report: RunReport, names: Sequence[str]) -> str:
    """The message; `names` are the Datasets of the order. Streams and the text of the message are cut to fit."""
    entries = {entry.name: entry for entry in report.datasets}
    totals = [getattr(report.counts, name) for name in _SHOWN_COUNTS]
    done = report.delivery
    summary = _Summary(
        kind=report.kind,
        state=report.state,
        reason=report.reason,
        attempt=report.attempt,
        started_at=report.started_at,
        finished_at=report.finished_at,
        datasets=[_dataset(entries[name]) if name in entries else _Dataset() for name in names],
        counts=totals if any(totals) else [],
        delivery=_Delivery(**done.model_dump(exclude={"manifest", "table"})) if done is not None else None,
    )
    if _size(summary) > LIMIT:
        shorter = [entry.model_copy(update={"bad": None}) for entry in summary.datasets]
        summary = summary.model_copy(update={"datasets": shorter})
    if report.kind == "ingest":  # its streams are only shown, so the message comes first
        summary = summary.model_copy(update={"message": _cut(summary, report.message)})
        return _text(summary.model_copy(update={"streams": _fitting(summary, report.streams)}))
    summary = summary.model_copy(update={"streams": _fitting(summary, report.streams)})
    return _text(summary.model_copy(update={"message": _cut(summary, report.message)}))


def _fitting(summary: _Summary, streams: Sequence[StreamReport]) -> list[StreamReport]:
    """The first of `streams` that there is room for beside the rest of the message."""
    fitting: list[StreamReport] = []
    for stream in streams:
        if _size(summary.model_copy(update={"streams": [*fitting, stream]})) > LIMIT:
            break
        fitting.append(stream)
    return fitting


def decode(text: str, run: str = "", names: Sequence[str] = ()) -> RunReport | None:
    """The report in a termination message, None where there is none or it cannot be read.

    `run` and `names` are the run id and the Datasets that the message is about, from the Job. Messages of the version
    before this are read, too.
    """
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("version") == "penstock.dev/report-v1":
            return lenient.read(RunReport, document)
        summary = lenient.read(_Summary, document)
    except (ValueError, RecursionError):
        return None
    if summary.state not in ("Succeeded", "Failed"):
        return None
    entries = [_entry(entry, name, run) for entry, name in zip(summary.datasets, names, strict=False) if entry.state]
    return RunReport(
        kind=summary.kind,
        run=run,
        state="Failed" if summary.state == "Failed" else "Succeeded",
        reason=summary.reason,
        message=summary.message,
        attempt=max(summary.attempt, 1),
        started_at=summary.started_at,
        finished_at=summary.finished_at,
        datasets=_with_message(entries, summary),
        streams=summary.streams,
        delivery=DeliveryReport(**summary.delivery.model_dump()) if summary.delivery else None,
        shown_counts=Counts(**dict(zip(_SHOWN_COUNTS, summary.counts, strict=False))),
    )


def _dataset(entry: DatasetReport) -> _Dataset:
    counts = entry.counts
    rows = [counts.read, counts.loaded, counts.quarantined]
    rows += [counts.refused] if counts.refused and not counts.read else []
    return _Dataset(
        state=_STATES.get(entry.state, entry.state),
        reason=entry.reason,
        last_load=_seconds(next((commit.at for commit in entry.tail if commit.loaded), None)),
        committed=_seconds(entry.committed_at) if entry.earlier else None,
        counts=rows if any(rows) else [],
        rows=entry.rows,
        bad=entry.quarantined,
    )


def _entry(entry: _Dataset, name: str, run: str) -> DatasetReport:
    read, loaded, quarantined, refused = [*entry.counts, 0, 0, 0, 0][:4]
    earlier, last = _moment(entry.committed), _moment(entry.last_load)
    state = _LETTERS.get(entry.state or "", entry.state or "")
    own = last is not None and (last == earlier or (state == "Written" and loaded > 0 and earlier is None))
    return DatasetReport(
        name=name,
        state=state,
        reason=entry.reason,
        earlier=earlier is not None,
        committed_at=earlier,
        counts=Counts(read=read, loaded=loaded, quarantined=quarantined, refused=refused),
        rows=entry.rows,
        quarantined=entry.bad,
        tail=[Commit(run=run if own else "", at=last, loaded=max(loaded, 1), quarantined=0)] if last else [],
    )


def _with_message(entries: list[DatasetReport], summary: _Summary) -> list[DatasetReport]:
    """The run's message is that of the first Dataset that failed, if that is why the run did."""
    first = next((entry for entry in entries if entry.state == "Failed"), None)
    if first is None or first.reason != summary.reason:
        return entries
    return [entry.model_copy(update={"message": summary.message}) if entry is first else entry for entry in entries]


def _cut(summary: _Summary, message: str | None) -> str | None:
    """As much of a message as there is room for."""
    text = (message or "").encode("utf-8", "replace").decode()
    while text and (over := _size(summary.model_copy(update={"message": text})) - LIMIT) > 0:
        # A character takes a byte at least; a cut text ends in "…", of three bytes.
        text = f"{text[: max(len(text) - max(over // 4, 1) - 1, 0)]}…" if len(text) > 1 else ""
    return text or None


def _text(summary: _Summary) -> str:
    document: dict[str, Any] = summary.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return json.dumps({"version": VERSION, **document}, separators=(",", ":"), ensure_ascii=False)


def _size(summary: _Summary) -> int:
    return len(_text(summary).encode())


def _seconds(moment: str | None) -> int | None:
    return int(times.parse(moment).timestamp()) if moment is not None else None


def _moment(seconds: int | None) -> str | None:
    return times.text(datetime.fromtimestamp(seconds, UTC)) if seconds is not None and seconds in _EPOCHS else None
