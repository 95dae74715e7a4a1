"""What the status of a Subscription says of access, budget, phase, columns and spend."""

from typing import Any

import pytest

from penstock.control.cluster.port import Ref
from penstock.control.observe import Observed, Seen
from penstock.control.status import publish
from penstock.language import times
from penstock.runs.report import DeliveryReport, SpendReport
from support import jobs, manifests, scene

NOW = "2026-11-22T13:00:00Z"
PRICE = {"pricePerThousand": {"amount": "10", "currency": "EUR"}}
BUDGET = {"amount": "1", "currency": "EUR", "period": "daily"}


def status(*runs: Observed, now: str = NOW, access: Any = None, loaded: bool = True, **spec: Any) -> dict[str, Any]:
    stage = scene.quickstart()
    stage.apply(manifests.outbox(), manifests.dataset(access=access or {}), manifests.subscription(**spec))
    if loaded:
        stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": {"lastLoadTime": NOW}})
    return publish.of(stage.graph("Subscription", "cities"), Seen(runs), times.parse(now)).status.to_object()


def condition(shown: dict[str, Any], kind: str) -> tuple[str, str]:
    [entry] = [each for each in shown["conditions"] if each["type"] == kind]
    return entry["status"], entry["reason"]


def run(**changes: Any) -> Observed:
    return jobs.observed(purpose="deliver", slot="first", **changes)


def test_what_the_dataset_does_not_offer_is_denied_with_the_rule() -> None:
    shown = status(access={"fields": ["id"]}, fields=[{"name": "city"}])
    assert condition(shown, "AccessGranted") == condition(shown, "Ready") == ("False", "AccessDenied")
    assert shown["phase"] == "Pending"


def test_what_only_a_worker_can_see_is_denied_after_its_run() -> None:
    shown = status(run(state="Failed", reason="AccessDenied", message="no"), access={"fields": ["id"]})
    assert condition(shown, "AccessGranted") == ("False", "AccessDenied")


@pytest.mark.parametrize(
    ("spec", "loaded", "phase"), [({}, False, "Pending"), ({}, True, "Active"), ({"suspend": True}, True, "Cancelled")]
)
def test_the_phase_follows_from_the_manifest_and_the_data(spec: dict[str, Any], loaded: bool, phase: str) -> None:
    assert status(loaded=loaded, **spec)["phase"] == phase


def test_a_budget_that_is_spent_holds_until_its_period_ends() -> None:
    exceeded = run(state="Failed", reason="BudgetExceeded", message="3 rows cost too much")
    assert condition(status(exceeded, access=PRICE, budget=BUDGET), "WithinBudget") == ("False", "BudgetExceeded")
    later = status(exceeded, access=PRICE, budget=BUDGET, now="2026-11-23T00:00:00Z")
    assert condition(later, "WithinBudget") == ("True", "Succeeded")
    assert not [each for each in status(run())["conditions"] if each["type"] == "WithinBudget"]


def test_cost_spend_and_columns_are_shown() -> None:
    day = {"since": "2026-11-22T00:00:00Z", "until": "2026-11-23T00:00:00Z"}
    spend = SpendReport(cost="0.03", currency="EUR", spent="0.05", **day)
    done = DeliveryReport(manifest="s3://out/m.json", rows=3, bytes=9, files=1, at=jobs.ENDED, spend=spend)
    fields = [{"name": "id", "as": "number"}, {"name": "id", "exported": False}]
    observed = run(report=jobs.report("deliver", delivery=done))
    shown = status(observed, access=PRICE, budget=BUDGET, fields=fields)
    assert shown["spend"] == {"amount": "0.05", "currency": "EUR", **day}
    assert shown["deliveries"][0]["cost"] == "0.03"
    assert [column["name"] for column in shown["schema"]] == ["number"]
