"""Texts of points in time without an offset, read by the clocks of a time zone.

When clocks are changed they skip some times and show others twice. Neither is one point in time, and so neither is a
value. Whether a time is shown twice is seen by the offsets of a day before and a day after: with either of them, the
same time on the clock must be the same point in time or none.
"""

from collections.abc import Sequence

from penstock.language import literals
from penstock.worker.rows import engine, patterns
from penstock.worker.rows.casts import Cast

_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"([01]\d|2[0-3]):\d{2}(:\d{2}(\.\d{1,6}0*)?)?"
_OFFSET = r" ?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"


def from_text(x: str, t: str, zone: str, formats: Sequence[str]) -> Cast:
    """Read the text `x` as a timestamptz; `t` names the attempt's column. `zone` is a name of the IANA database."""
    attempts = [_by_format(x, written, zone) for written in formats] or _iso(x, zone)
    attempt = f"coalesce({', '.join(attempts)})" if len(attempts) > 1 else attempts[0]
    return Cast(attempt, f"CASE WHEN {patterns.in_years('TIMESTAMPTZ', t)} THEN {t} END")


def _by_format(x: str, written: str, zone: str) -> str:
    if literals.has_offset(written):
        return patterns.parsed(x, written, "TIMESTAMPTZ")
    return _instant(patterns.parsed(x, written, "TIMESTAMP"), zone)


def _iso(x: str, zone: str) -> list[str]:
    """Texts as ISO 8601 has them, with an offset and without."""
    moment = f"{_DATE}[T ]{_CLOCK}"
    with_offset = f"regexp_full_match({x}, {engine.text(moment + _OFFSET)})"
    without = f"regexp_full_match({x}, {engine.text(f'{_DATE}([T ]{_CLOCK})?')})"
    local = f"CASE WHEN {without} THEN TRY_CAST({x} AS TIMESTAMP) END"
    return [f"CASE WHEN {with_offset} THEN TRY_CAST({x} AS TIMESTAMPTZ) END", _instant(local, zone)]


def _instant(local: str, zone: str) -> str:
    """SQL for the one point in time at which the zone's clocks show the timestamp; NULL where it is not just one."""
    name = engine.text(zone)
    conditions = [f"timezone({name}, w.u) = w.l"]
    for day in ("to_days(1)", "to_days(-1)"):
        offset = f"(timezone({name}, w.u + {day}) - timezone('UTC', w.u + {day}))"
        other = f"timezone('UTC', w.l - {offset})"
        conditions.append(f"({other} = w.u OR timezone({name}, {other}) <> w.l)")
    finite = f"CASE WHEN {patterns.in_years('TIMESTAMP', 'l')} THEN l END"
    given = f"list_transform([{local}], lambda l: {finite})"
    pairs = f"list_transform({given}, lambda l: struct_pack(l := l, u := timezone({name}, l)))"
    return f"list_transform({pairs}, lambda w: CASE WHEN {' AND '.join(conditions)} THEN w.u END)[1]"
