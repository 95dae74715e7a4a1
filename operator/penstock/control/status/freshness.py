"""The condition Fresh: whether a run has confirmed a Dataset's table as current within its `freshness`."""

from datetime import datetime, timedelta

from penstock.api.dataset import DatasetSpec
from penstock.control.resolve import Graph
from penstock.control.status import verdicts
from penstock.language import times
from penstock.language.conditions import Verdict
from penstock.language.scalars import seconds


def end(graph: Graph, confirmed: str | None) -> datetime | None:
    """Until when the table is fresh, or, before any run has confirmed it, when it is to be; None without `freshness`.

    `confirmed` is when the newest run ended that loaded the table or found nothing new for it; RFC 3339.
    """
    since = confirmed or graph.meta.created
    if not isinstance(graph.spec, DatasetSpec) or graph.spec.freshness is None or not since:
        return None
    return times.parse(since) + timedelta(seconds=seconds(graph.spec.freshness))


def verdict(graph: Graph, confirmed: str | None, until: datetime, now: datetime) -> Verdict:
    """The condition, which changes at `until` unless another run confirms the table."""
    limit = graph.spec.freshness if isinstance(graph.spec, DatasetSpec) else None
    if confirmed is None and now < until:
        return verdicts.unknown("Fresh", "NeverRan", f"no run has loaded it yet; one has to by {times.text(until)}")
    if confirmed is None:
        return verdicts.false("Fresh", "Stale", f"no run has loaded it since it was created, more than {limit} ago")
    if now < until:
        return verdicts.true("Fresh", f"confirmed at {confirmed}, fresh until {times.text(until)}")
    return verdicts.false("Fresh", "Stale", f"no run has confirmed it since {confirmed}, more than {limit} ago")
