"""The times of schedules are those of the Go module that Kubernetes uses, over every change of the clocks."""

from datetime import UTC, datetime, timedelta

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


def test_a_day_that_does_not_exist_is_passed_where_go_never_returns() -> None:
    hanging = [row for row in crontable.times() if row.hangs]
    assert hanging
    for row in hanging:
        before = row.times[-1] if row.times else row.after
        assert before is not None
        after = times.next_time(schedule.parse(row.schedule), zones.load(row.zone), before)
        assert after is None or before < after < before + timedelta(days=5 * 366)
    apia = times.next_time(schedule.parse("@monthly"), zones.load("Pacific/Apia"), datetime(2011, 12, 29, tzinfo=UTC))
    assert apia == datetime(2011, 12, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", [", * * * *", "* , * * *", "* * , * *", "* * * , *", "* * * * ,", "0 0 31 2 *"])
def test_a_schedule_without_any_time_ends(text: str) -> None:
    assert times.next_time(schedule.parse(text), zones.load("Europe/Berlin"), datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_beyond_the_calendar_there_is_no_time() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert times.next_time(schedule.parse("* * * * *"), zones.load("UTC"), last) is None
