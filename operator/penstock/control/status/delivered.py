"""What the status of a Subscription says of its deliveries, beside its runs."""

from collections.abc import Sequence
from datetime import datetime

from penstock.api import budget as budgets
from penstock.api import deliverychecks
from penstock.api.budget import Spend
from penstock.api.dataset import Column
from penstock.api.pipeline import Run
from penstock.api.subscription import Delivery, SubscriptionSpec, SubscriptionStatus
from penstock.control.observe import Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import verdicts
from penstock.language import times, words
from penstock.language.conditions import Verdict
from penstock.runs.report import DeliveryReport

_COLUMNS = 64
"""How many columns status shows."""


def access_granted(graph: Graph, trouble: Problem | None, succeeded: Verdict) -> Verdict:
    """Whether the Dataset offers what the Subscription uses: as its manifest shows, or as a worker found out.

    `succeeded` is the verdict on the newest run: expressions are read by workers alone.
    """
    kind = "AccessGranted"
    if trouble is not None and trouble.reason == "AccessDenied":
        return verdicts.false(kind, "AccessDenied", trouble.message)
    if graph.dataset is None:
        return verdicts.unknown(kind, trouble.reason if trouble else "Progressing", "its Dataset is not known")
    if succeeded.status == "False" and succeeded.reason == "AccessDenied":
        return verdicts.false(kind, "AccessDenied", succeeded.message)
    access = graph.dataset.spec.access
    if access is None or (access.fields is None and access.filter is None):
        return verdicts.true(kind, f"{graph.dataset.title} offers all rows and fields")
    fields = words.count(len(access.fields), "field") if access.fields is not None else "all fields"
    rows = "the rows that pass access.filter" if access.filter is not None else "all rows"
    return verdicts.true(kind, f"{graph.dataset.title} offers {rows} and {fields}")


def within_budget(
    graph: Graph, runs: Sequence[Run], succeeded: Verdict, now: datetime
) -> tuple[list[Verdict], datetime | None]:
    """Whether the newest delivery was within the budget, where there is one; and when that may change by itself."""
    spec = graph.spec
    if not isinstance(spec, SubscriptionSpec) or spec.budget is None:
        return [], None
    kind = "WithinBudget"
    newest = next((run for run in runs if run.over), None)
    if newest is None:
        return [verdicts.unknown(kind, "NeverRan", "there has been no run yet")], None
    if succeeded.reason != "BudgetExceeded" or newest.finished_at is None:
        return [verdicts.true(kind)], None
    _, until = budgets.bounds(spec.budget.period, spec.time_zone, times.parse(newest.finished_at))
    if times.parse(until) <= now:
        return [verdicts.true(kind, "a new period has begun since the newest run")], None
    return [verdicts.false(kind, "BudgetExceeded", succeeded.message)], times.parse(until)


def phase(graph: Graph, ready: Verdict, granted: Verdict) -> str:
    """Pending, Active or Cancelled."""
    if graph.meta.deleting or getattr(graph.spec, "suspend", False):
        return "Cancelled"
    has_data = graph.dataset is not None and getattr(graph.dataset.status, "last_load_time", None) is not None
    return "Active" if ready.holds and granted.holds and has_data else "Pending"


def spend(seen: Seen, before: SubscriptionStatus) -> Spend | None:
    """What the period of the newest delivery with a budget has cost."""
    reports = [run.report.delivery for run in seen.of("deliver") if run.report is not None]
    spends = [each.spend for each in sorted(reports, key=_at, reverse=True) if each is not None and each.spend]
    newest = next((each for each in spends if each.spent and each.since and each.until), None)
    if newest is None:
        return before.spend
    current = Spend(amount=newest.spent or "", currency=newest.currency, since=newest.since, until=newest.until)
    return before.spend if before.spend is not None and before.spend.since > current.since else current


def _at(done: DeliveryReport | None) -> str:
    return done.at if done is not None else ""


def columns(graph: Graph) -> list[Column]:
    """What will be delivered, as far as status shows it; nothing where that is not known."""
    if not isinstance(graph.spec, SubscriptionSpec) or graph.dataset is None:
        return []
    described = deliverychecks.columns(graph.spec, graph.dataset.spec)
    return [Column(name=name, type=kind) for name, kind in described[:_COLUMNS]]


def delivery(run: str, done: DeliveryReport) -> Delivery:
    """A delivery as status shows it."""
    cost = done.spend.cost if done.spend is not None else None
    return Delivery(run=run, cost=cost, **done.model_dump(exclude={"earlier", "spend"}))
