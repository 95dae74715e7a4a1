"""The times of schedules are those of the Go module that Kubernetes uses, over every change of the clocks."""

from datetime import UTC, datetime

import pytest

from kubecron import schedule, times, zones
from support import crontable


def test_the_table_is_large_enough_to_mean_something() -> None:
    rows = crontable.times()
    assert len(rows) > 2_000
    assert len({row.zone for row in rows}) > 35


def test_times_are_those_of_go() -> None:
    different = []
    for row in crontable.times():
        at: datetime | None = row.after
        for expected in row.times:
            assert at is not None
            at = times.next_time(schedule.parse(row.schedule), zones.load(row.zone), at)
            if at != expected:
                different.append((row.zone, row.schedule, row.after, expected, at))
                break
    assert different == []


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        ("Pacific/Apia", "@monthly", "2011-12-29T12:00:00Z", "2011-12-31T10:00:00Z"),
        ("Pacific/Apia", "@weekly", "2011-12-30T07:00:00Z", "2011-12-31T10:00:00Z"),
        ("Pacific/Kiritimati", "0 0 2 * *", "1994-12-31T07:00:00Z", "1995-01-01T10:00:00Z"),
        ("Pacific/Kwajalein", "@weekly", "1993-08-21T11:59:00Z", "1993-08-21T12:00:00Z"),
    ],
)
def test_a_day_that_does_not_exist_is_passed_where_go_never_returns(
    zone: str, text: str, after: str, expected: str
) -> None:
    at = times.next_time(schedule.parse(text), zones.load(zone), datetime.fromisoformat(after))
    assert at == datetime.fromisoformat(expected)


@pytest.mark.parametrize("text", [", * * * *", "* , * * *", "* * , * *", "* * * , *", "* * * * ,", "0 0 31 2 *"])
def test_a_schedule_without_any_time_ends(text: str) -> None:
    assert times.next_time(schedule.parse(text), zones.load("Europe/Berlin"), datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_beyond_the_calendar_there_is_no_time() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert times.next_time(schedule.parse("* * * * *"), zones.load("UTC"), last) is None
