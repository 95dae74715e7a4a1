"""Reading a stream by a cursor: what is new since the mark of the last commit, and where the next run continues.

The cursor is a column whose values grow. The ledger keeps the *mark*: the value up to which rows have been loaded. A
run reads the rows from the mark on. Rows with exactly the value of the mark may have been added since, so they are read
again. An upsert finds that they are unchanged. An append skips those whose keys the state has (`ties`).

Rows become visible when their transaction commits, and that is not the order of their cursor values. So the mark must
not pass a value that an open transaction may still commit. A connector says with `Limit` how far that is. Where it
cannot know, `delay` decides: a run reads up to the greatest value that an earlier run saw at least `delay` ago.

A connector implements `CursorStream`; `plan` and `end` ask it in the one transaction that also reads the rows.
"""

import difflib
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from penstock.language import words
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.language.scalars import seconds
from penstock.worker.ports import source
from penstock.worker.ports.source import CursorRequest, Input, Json

log = logging.getLogger(__name__)

Kind = Literal["number", "date", "timestamp", "timestamptz", "string"]
_ALLOWED = "Use a column of whole numbers, decimals, dates, timestamps or text."
MOST_TIES = 10_000
"""Rows with the value of the mark whose keys the state can have. Where there are more, the mark stays before them."""
_NAMED = 20
"""Columns that a message names."""
_MOST_SEEN = 32
"""Greatest values that the state can have, to wait for `delay`."""


class Fingerprint(Model):
    """What a mark is valid for."""

    server: str
    stream: str
    """The table's name, or the hash of a query's SQL."""
    column: str
    kind: Kind


class State(Model):
    """What the ledger keeps. Values are texts as the database prints them, exactly."""

    version: Literal[1] = 1
    fingerprint: Fingerprint
    mark: str | None = None
    passed: bool = False
    """Whether no more rows with the value of the mark are expected."""
    ties: list[str] = []
    """Hashes of the keys of the loaded rows with the value of the mark."""
    seen: list[tuple[int, str]] = []
    """Greatest values of earlier runs, with the times in seconds since 1970, oldest first."""


class Interval(Model):
    """What one run reads, as the plan records it."""

    lower: str | None = None
    above: bool = False
    """Whether rows with the value `lower` are left out."""
    back: str | None = None
    """The lookback, by which the lower bound lies before `lower`."""
    upper: str | None = None
    below: bool = False
    """Whether rows with the value `upper` are left out."""
    skip: list[str] = []
    """Hashes of the keys of rows with the value `lower` that are loaded already."""
    append: bool
    state: State
    """The state after the run, without `ties`."""


@dataclass(frozen=True)
class Expressions:
    """SQL over one stream. `literal` and `back` take a value's text; `back` returns the value less a lookback."""

    column: str
    ordinary: str
    """The condition that a row has a cursor value that can be compared: not null, not infinity."""
    without: str
    """The opposite; written so that an index of the column can be used."""
    order: str
    """What stands behind ORDER BY: ascending, rows without a value first."""
    text: str
    """The value as text, exactly."""
    key: str | None
    """A hash of the row's primary key as text; None where the stream has no key."""
    literal: Callable[[str], str]
    back: Callable[[str, str], str]


@dataclass(frozen=True)
class Limit:
    """How far the mark may go. `value`: no open transaction will commit a lower one; None: the connector cannot tell.

    `why` says what the limit is, for the log. `inclusive` means that not even the value itself will come again.
    `blocked` means that the mark must stay where it is.
    """

    value: str | None = None
    why: str = ""
    inclusive: bool = False
    blocked: bool = False


class CursorStream(Protocol):
    """A stream and its cursor, in the transaction that reads the rows. Methods raise InvalidSpec and NotYet."""

    where: str
    """The Source and the stream, for messages."""
    fingerprint: Fingerprint
    sql: Expressions

    def rows(self, selected: str, condition: str, tail: str = "") -> list[tuple[Any, ...]]:
        """The rows of SELECT <selected> FROM <stream> WHERE <condition> <tail>."""

    def limit(self, delay: int | None) -> Limit:
        """How far the mark may go; `delay` is in seconds. Raises InvalidSpec where `delay` is needed and is None."""


def condition(sql: Expressions, interval: Interval) -> str:
    """The WHERE clause of an interval. An upsert reads also the rows that have no cursor value."""
    parts = [sql.ordinary]
    if interval.lower is not None:
        lower = sql.literal(interval.lower)
        start = sql.back(interval.lower, interval.back) if interval.back else lower
        parts.append(f"{sql.column} {'>' if interval.above else '>='} {start}")
        if interval.skip and sql.key is not None:
            listed = ", ".join(f"'{each}'" for each in interval.skip)
            parts.append(f"({sql.column} > {lower} OR {sql.key} NOT IN ({listed}))")
    if interval.upper is not None:
        parts.append(f"{sql.column} {'<' if interval.below else '<='} {sql.literal(interval.upper)}")
    wanted = " AND ".join(parts)
    return wanted if interval.append else f"(({wanted}) OR {sql.without})"


def plan(stream: CursorStream, request: CursorRequest, whole: Input, now: float) -> source.Plan:
    """What is to be read now: `whole` with an interval in its part, or nothing where there is nothing new.

    `whole` is the input that a full read would have, of one part. `now` is in seconds since 1970. Raises InvalidSpec.
    """
    before = _state(stream, request)
    _check_lookback(stream, request)
    limit, seen = stream.limit(None if request.delay is None else seconds(request.delay)), before.seen
    if limit.value is None and not limit.blocked:
        if request.delay is not None:
            limit, seen = _seen_limit(stream, request.delay, before, now)
        elif request.append and stream.sql.key is None:
            raise InvalidSpec(
                f"{stream.where} has no primary key, so rows with the same value of {request.column} cannot be "
                "distinguished. Set `delay`, or load it into a Dataset with writeMode upsert."
            )
    if limit.why:
        log.info("%s: the mark does not pass %s", stream.where, limit.why)
    after = before.model_copy(update={"seen": seen})
    interval = _append(stream, after, limit) if request.append else _upsert(stream, request, after, limit)
    if interval is None or not stream.rows("1", condition(stream.sql, interval), "LIMIT 1"):
        return source.Plan((), after.model_dump(mode="json") if seen != before.seen else None)
    [part] = whole.parts
    return source.Plan((replace(whole, parts=({**part, "interval": interval.model_dump(mode="json")},)),))


def interval_of(part: Json) -> Interval | None:
    """The interval that `plan` has put into a part; None where the stream is read as a whole."""
    return Interval.model_validate(part["interval"]) if "interval" in part else None


def clauses(sql: Expressions, interval: Interval) -> str:
    """WHERE and ORDER BY: later values come later, so that of two rows with one key the later one counts."""
    return f"WHERE {condition(sql, interval)} ORDER BY {sql.order}"


@dataclass(frozen=True)
class End:
    """What is said of a stream after reading: the next state, and how many rows were left out."""

    state: Json = None
    ignored: int = 0


WHOLE = End()
"""A stream that is read as a whole has no state."""


def end(stream: CursorStream, interval: Interval) -> End:
    """The state after the run, and how many rows have no cursor value. Asked in the transaction that reads the rows."""
    if not interval.append:
        return End(interval.state.model_dump(mode="json"))
    state, ties = interval.state, list[str]()
    if stream.sql.key is not None and state.mark is not None and not interval.below:
        equal = f"{stream.sql.ordinary} AND {stream.sql.column} = {stream.sql.literal(state.mark)}"
        ties = sorted(str(row[0]) for row in stream.rows(stream.sql.key, equal))
    ignored = int(stream.rows("count(*)", stream.sql.without)[0][0])
    return End(state.model_copy(update={"ties": ties}).model_dump(mode="json"), ignored)


def find_column(names: Sequence[str], name: str, where: str) -> int:
    """The position of the cursor's column. Raises InvalidSpec (WrongSpecification) where there is none, or two."""
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise InvalidSpec(f'{where} has several columns "{name}". Rename all but one.', "WrongSpecification")
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"it has {', '.join(names[:_NAMED])}."
    raise InvalidSpec(f'{where} has no column "{name}" for the cursor; {hint}', "WrongSpecification")


def identified(stream: str, query: str | None) -> str:
    """What a fingerprint calls a stream: its name or, for a query, a hash of the SQL, which may change under a name."""
    return stream if query is None else hashlib.sha256(query.encode()).hexdigest()[:16]


def not_comparable(name: str, where: str) -> InvalidSpec:
    """What is said of a column whose type cannot be a cursor's."""
    return InvalidSpec(
        f'{where}: column "{name}" cannot be a cursor because of its type. {_ALLOWED}', "WrongSpecification"
    )


def without_mark(state: Json) -> Json:
    """The state of a cursor as before the first run."""
    return State(fingerprint=State.model_validate(state).fingerprint).model_dump(mode="json")


def mark(state: Json) -> str | None:
    """The mark of a state, for people; None where there is none, or where the state is not that of a cursor."""
    try:
        return State.model_validate(state).mark
    except ValidationError:
        return None


def _state(stream: CursorStream, request: CursorRequest) -> State:
    """The state of the last commit. Raises InvalidSpec where it is that of another server, stream or cursor."""
    if request.state is None:
        return State(fingerprint=stream.fingerprint)
    try:
        state = State.model_validate(request.state)
    except ValidationError:
        raise InvalidSpec(f"{stream.where}: the state in the ledger is not that of a cursor. {_REMEDY}") from None
    if state.mark is None and not state.seen:  # a full load has removed the mark
        return State(fingerprint=stream.fingerprint)
    differing = [name for name in _PARTS if getattr(state.fingerprint, name) != getattr(stream.fingerprint, name)]
    if differing:
        raise InvalidSpec(
            f"{stream.where}: the mark in the ledger belongs to {words.choice([_PARTS[name] for name in differing])}, "
            f"so it does not say which rows are new here. {_REMEDY}"
        )
    return state


_PARTS = {
    "server": "another database",
    "stream": "another table or query",
    "column": "another cursor",
    "kind": "a cursor of another type",
}
_REMEDY = (
    "Nothing was loaded. Change the Source and the cursor back, or load into a new Dataset. With writeMode upsert you "
    "can also give the Pipeline another `identity`: it then reads everything from the beginning."
)


def _check_lookback(stream: CursorStream, request: CursorRequest) -> None:
    """Raise InvalidSpec unless the lookback fits the type of the cursor."""
    if request.lookback is None:
        return
    kind = stream.fingerprint.kind
    if kind == "string":
        raise InvalidSpec(f"{stream.where}: lookback is not possible with cursor {request.column}, which is a text.")
    if request.lookback.isdigit() != (kind == "number"):
        fitting = "a whole number, such as 1000" if kind == "number" else "a duration, such as 1h"
        message = f"{stream.where}: cursor {request.column} is a {kind}, so lookback must be {fitting}."
        raise InvalidSpec(message)


def _seen_limit(stream: CursorStream, delay: str, before: State, now: float) -> tuple[Limit, list[tuple[int, str]]]:
    """The greatest value that was there `delay` ago, and what the state is to remember of this run."""
    greatest = _greatest(stream, [stream.sql.ordinary])
    if delay == "0s":
        return Limit(greatest, inclusive=True, blocked=greatest is None), before.seen
    seen = [*before.seen]
    if greatest is not None and (not seen or seen[-1][1] != greatest):
        seen.append((int(now) + 1, greatest))  # rounded up: at least `delay` must have passed
    old = [entry for entry in seen if entry[0] <= now - seconds(delay)]
    kept = [*old[-1:], *seen[len(old) :]][:_MOST_SEEN]  # what is left out is seen again by a later run
    if not old:
        return Limit(why=f"no value was seen {delay} ago", blocked=True), kept
    return Limit(old[-1][1], f"the greatest value of {delay} ago", inclusive=True), kept


def _append(stream: CursorStream, state: State, limit: Limit) -> Interval | None:
    """Rows up to the limit, each of them once."""
    if limit.blocked:
        return None
    keyed = stream.sql.key is not None
    interval = Interval(lower=state.mark, above=state.passed, skip=state.ties, append=True, state=state)
    greatest = _greatest(stream, [condition(stream.sql, interval), *_within(stream, limit, ties=keyed)])
    if greatest is None:
        return None
    equal = f"{stream.sql.ordinary} AND {stream.sql.column} = {stream.sql.literal(greatest)}"
    many = keyed and len(stream.rows("1", equal, f"LIMIT {MOST_TIES + 1}")) > MOST_TIES
    if many:
        log.info(
            "%s: more than %s rows have the greatest cursor value; they are loaded once there is a greater one",
            *(stream.where, f"{MOST_TIES:,}"),
        )
    after = state.model_copy(update={"mark": greatest, "passed": not keyed, "ties": []})
    return interval.model_copy(update={"upper": greatest, "below": many, "state": after})


def _upsert(stream: CursorStream, request: CursorRequest, state: State, limit: Limit) -> Interval | None:
    """Rows from the mark on; without `delay` also those beyond the limit, which the next run reads again."""
    interval = Interval(lower=state.mark, back=request.lookback, append=False, state=state)
    if limit.blocked:
        return None if request.delay is not None else interval
    new = [stream.sql.ordinary, *_within(stream, limit, ties=True)]
    if state.mark is not None:  # it never goes back
        new.append(f"{stream.sql.column} >= {stream.sql.literal(state.mark)}")
    greatest = _greatest(stream, new)
    after = state if greatest is None else state.model_copy(update={"mark": greatest})
    upper = limit.value if request.delay is not None else None
    return interval.model_copy(update={"upper": upper, "state": after})


def _within(stream: CursorStream, limit: Limit, *, ties: bool) -> list[str]:
    """The condition that a value is within the limit; `ties`: rows with the same value can be distinguished."""
    if limit.value is None:
        return []
    return [f"{stream.sql.column} {'<=' if ties or limit.inclusive else '<'} {stream.sql.literal(limit.value)}"]


def _greatest(stream: CursorStream, conditions: Sequence[str]) -> str | None:
    """The greatest cursor value of these rows, as text."""
    rows = stream.rows(stream.sql.text, " AND ".join(conditions), f"ORDER BY {stream.sql.column} DESC LIMIT 1")
    return str(rows[0][0]) if rows else None
