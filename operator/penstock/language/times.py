"""Times as the API writes them: RFC 3339, UTC, whole seconds."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim


def text(moment: datetime) -> str:
    """A moment in UTC as `2026-11-22T01:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(written: str) -> datetime:
    """The moment that an RFC 3339 text names; one without an offset is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(written)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def next_firing(cron: str, time_zone: str | None, after: datetime) -> datetime:
    """When a cron expression fires next, strictly after a moment; in UTC."""
    firing: datetime = next(CronSim(cron, after.astimezone(ZoneInfo(time_zone or "Etc/UTC"))))
    return firing.astimezone(UTC)
