"""Times as the API writes them: RFC 3339, UTC, whole seconds."""

from datetime import UTC, datetime

import kubecron.schedule
import kubecron.times
import kubecron.zones


def text(moment: datetime) -> str:
    """A moment in UTC as `2026-11-22T01:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(written: str) -> datetime:
    """The moment that an RFC 3339 text names; one without an offset is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(written)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def next_scheduled(cron: str, time_zone: str, after: datetime) -> datetime | None:
    """The first time of a CronJob's schedule after a moment, in UTC, as Kubernetes computes it.

    None if there is none within five years, or if Kubernetes would refuse the schedule or the time zone.
    """
    try:
        schedule, zone = kubecron.schedule.parse(cron), kubecron.zones.load(time_zone)
    except (kubecron.schedule.InvalidSchedule, kubecron.zones.UnknownZone):
        return None
    return kubecron.times.next_time(schedule, zone, after)
