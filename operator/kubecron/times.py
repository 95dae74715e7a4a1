"""The times of a schedule in a time zone, found by the steps that github.com/robfig/cron v3 takes.

Field by field from the month to the second: where the local time does not match, the field is counted up and all below
it begin again; where a field wraps round, the search starts over from the month. What happens when clocks are put
forward or back follows from these steps, so they are kept as they are and not replaced by calendar arithmetic.
"""

from datetime import UTC, datetime, timedelta, tzinfo

from kubecron.schedule import Schedule

YEARS = 5
"""How far ahead a time is looked for."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def next_time(schedule: Schedule, zone: tzinfo, after: datetime) -> datetime | None:
    """The first time of the schedule after a moment, in UTC; None if there is none within five years.

    `after` has a time zone of any kind; `zone` is the one in which the fields of the schedule are read.
    """
    if not (schedule.minute.values and schedule.hour.values and schedule.month.values):
        return None
    search = _Search(schedule, zone, (after - _EPOCH) // timedelta(seconds=1) + 1)
    try:
        limit = search.local().year + YEARS
        while search.local().year <= limit:
            if search.to_month() and search.to_day() and search.to_hour() and search.to_minute() and search.to_second():
                return _EPOCH + timedelta(seconds=search.instant)
    except (OverflowError, ValueError):
        return None  # beyond the year 9999
    return None


class _Search:
    """Where the search is, in seconds since 1970. Each `to_…` returns False when the search must start over."""

    def __init__(self, schedule: Schedule, zone: tzinfo, instant: int) -> None:
        self._schedule = schedule
        self._zone = zone
        self.instant = instant
        self._counted = False
        """Whether a field was counted up, after which all fields below it are at their lowest already."""

    def local(self) -> datetime:
        """The local time of where the search is."""
        return datetime.fromtimestamp(self.instant, self._zone)

    def to_month(self) -> bool:
        """On to a month of the schedule."""
        while (local := self.local()).month not in self._schedule.month.values:
            if self._begin():
                self.instant = self._at(local.year, local.month)
                local = self.local()
            self.instant = self._shifted(local, months=1)
            if self.local().month == 1:
                return False
        return True

    def to_day(self) -> bool:
        """On to a day of the schedule in this month. Where midnight does not exist, to the hour next to it."""
        while not self._day_matches(local := self.local()):
            if self._begin():
                self.instant = self._at(local.year, local.month, local.day)
                local = self.local()
            # Where the next day does not exist (Apia, 30 December 2011) this is no later, and Go never returns.
            next_day = self._shifted(local, days=1)
            self.instant = next_day if next_day > self.instant else self.instant + _DAY
            if hour := self.local().hour:
                self.instant += (24 - hour if hour > 12 else -hour) * _HOUR
            if self.local().day == 1:
                return False
        return True

    def to_hour(self) -> bool:
        """On to an hour of the schedule in this day."""
        while (local := self.local()).hour not in self._schedule.hour.values:
            if self._begin():
                self.instant = self._at(local.year, local.month, local.day, local.hour * _HOUR)
            self.instant += _HOUR
            if self.local().hour == 0:
                return False
        return True

    def to_minute(self) -> bool:
        """On to a minute of the schedule in this hour."""
        while self.local().minute not in self._schedule.minute.values:
            if self._begin():
                self.instant -= self.instant % _MINUTE
            self.instant += _MINUTE
            if self.local().minute == 0:
                return False
        return True

    def to_second(self) -> bool:
        """On to the next whole minute."""
        second = self.local().second
        if second == 0:
            return True
        self._begin()
        self.instant += _MINUTE - second
        return False

    def _begin(self) -> bool:
        """True the first time that a field is counted up."""
        first, self._counted = not self._counted, True
        return first

    def _day_matches(self, local: datetime) -> bool:
        by_month = local.day in self._schedule.day_of_month.values
        by_week = (local.weekday() + 1) % 7 in self._schedule.day_of_week.values
        if self._schedule.day_of_month.star or self._schedule.day_of_week.star:
            return by_month and by_week
        return by_month or by_week

    def _shifted(self, local: datetime, months: int = 0, days: int = 0) -> int:
        """The same time of day some months or days later."""
        seconds = local.hour * _HOUR + local.minute * _MINUTE + local.second
        return self._at(local.year, local.month + months, local.day + days, seconds)

    def _at(self, year: int, month: int, day: int = 1, seconds: int = 0) -> int:
        """The instant of a local date and time, which may overflow (month 13, day 32).

        Of a local time that exists twice or not at all, it is the one that Go's `time.Date` chooses: with the offset
        that holds where the local time, read as UTC, would be by its own offset.
        """
        date = datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=UTC)
        local = (date - _EPOCH) // timedelta(seconds=1) + (day - 1) * _DAY + seconds
        return local - self._offset(local - self._offset(local))

    def _offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(instant, self._zone).utcoffset()
        return offset // timedelta(seconds=1) if offset is not None else 0
