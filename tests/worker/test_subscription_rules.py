"""Deliveries under rules: what is in the files, from one delivery to the next, and when an attempt is repeated."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from penstock.runs import places
from penstock.runs import report as reports
from penstock.runs.report import Preview
from worker.pods import APod, a_pod, field
from worker.test_delivery import delivered

Json = dict[str, Any]


def loaded(root: Path) -> APod:
    pod = a_pod(root, field("id", "long"), field("who", "string"), field("day", "date"), field("mail", "string"))
    (pod.data / "1.csv").write_text("id,who,day,mail\n1,ann,2026-01-01,a@x\n2,bo,2026-01-02,\n3,ann,2026-01-03,a@x\n")
    pod.work("load")
    return pod


def text(pod: APod, report: Any) -> str:
    """The files of a delivery."""
    manifest = Path(report.delivery.manifest.replace("file:///volumes/out", str(pod.out)))
    names = [entry["name"] for entry in json.loads(manifest.read_text())["files"]]
    return "".join((manifest.parent / name).read_text() for name in names)


def test_rows_are_chosen_and_what_is_not_exported_leaves_no_byte(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    fields = [
        {"name": "id", "as": "number"},
        {"name": "mail", "exported": False, "filter": {"notNull": True}},
        {"name": "day", "exported": False, "filter": {"range": {"min": "2026-01-02"}}},
    ]
    report = delivered(pod, "d1", {"csv": {}}, fields=fields, filter="who <> 'bo'")
    assert text(pod, report) == "number\n3\n"
    assert b"a@x" not in b"".join(file.read_bytes() for file in pod.out.rglob("*.*"))


def test_no_row_that_passes_is_a_delivery_of_no_rows(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    report = delivered(pod, "d1", {"csv": {}}, filter="id > 100")
    assert (report.state, report.delivery.rows, report.delivery.files) == ("Succeeded", 0, 0)


def test_within_the_period_a_value_is_delivered_once_however_often_an_attempt_is_repeated(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    rules = {"fields": [{"name": "id"}], "deduplication": {"by": ["who"], "period": "P90D"}}
    first = delivered(pod, "d1", {"csv": {}}, **rules)
    assert text(pod, first) == "id\n1\n2\n"
    with sqlite3.connect(pod.warehouse / "catalog.db") as database:  # as if the worker had died before the ledger knew
        database.execute("UPDATE penstock_runs SET report = NULL WHERE run = 'd1'")
        database.execute("DELETE FROM penstock_deliveries")
        database.execute("DELETE FROM penstock_delivered_keys")
    again = delivered(pod, "d1", {"csv": {}}, **rules)
    assert (again.delivery.earlier, again.delivery.rows) == (True, 2)
    assert delivered(pod, "d2", {"csv": {}}, **rules).delivery.rows == 0
    (pod.data / "2.csv").write_text("id,who,day,mail\n4,chi,2026-01-04,\n5,bo,2026-01-05,\n")
    pod.work("load-2", kind="ingest", more=None)
    assert text(pod, delivered(pod, "d3", {"csv": {}}, **rules)) == "id\n4\n"
    with sqlite3.connect(pod.warehouse / "catalog.db") as database:  # what was delivered long ago no longer counts
        database.execute("UPDATE penstock_delivered_keys SET moment = '2020-01-01T00:00:00Z' WHERE run = 'd1'")
    assert text(pod, delivered(pod, "d4", {"csv": {}}, **rules)) == "id\n1\n5\n"


SECRET = "ann"


def hidden(pod: APod, run_id: str, **rules: Any) -> Any:
    """Deliver while the Dataset offers `id` and `day` of rows not Ann's; nothing hidden may leave the worker."""
    pod.dataset = {**pod.dataset, "access": {"fields": ["id", "day"], "filter": "who <> 'ann'"}}
    report = delivered(pod, run_id, {"csv": {}}, **rules)
    said = report.model_dump_json() + (pod.root / "dev/termination-log").read_text()
    everything = said.encode() + b"".join(file.read_bytes() for file in pod.out.rglob("*") if file.is_file())
    assert SECRET.encode() not in everything
    assert b"a@x" not in everything
    return report


def test_what_the_dataset_does_not_offer_never_leaves_the_worker(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    assert text(pod, hidden(pod, "d1")) == "id,day\n2,2026-01-02\n"
    renamed = [{"name": "id", "as": "who"}, {"name": "day", "exported": False}]
    assert text(pod, hidden(pod, "d2", fields=renamed)) == "who\n2\n"
    counted = hidden(pod, "d3", frequency={"by": ["day"], "min": 1}, deduplication={"by": ["day"]})
    assert counted.delivery.rows == 1


@pytest.mark.parametrize(
    "rules",
    [
        {"fields": [{"name": "who"}]},
        {"fields": [{"name": "who", "as": "id"}]},
        {"fields": [{"name": "id"}, {"name": "mail", "exported": False, "filter": {"notNull": True}}]},
        {"fields": [{"name": "id", "filter": {"expression": "mail IS NULL"}}]},
        {"filter": "id > 0 OR who LIKE 'a%'"},
        {"filter": "CAST(who AS int) > 0"},
        {"filter": "_penstock_load_id > 0"},
        {"deduplication": {"by": ["who"]}},
        {"frequency": {"by": ["who"], "min": 2}},
    ],
)
def test_a_rule_over_what_is_not_offered_is_denied(rules: Json, tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    report = hidden(pod, "d1", **rules)
    assert (report.state, report.reason, pod.code) == ("Failed", "AccessDenied", 2)
    assert "access.fields of Dataset things does not offer the field" in (report.message or "")
    assert [*pod.out.rglob("*")] == []


def test_a_wrong_filter_of_the_owner_delivers_nothing_and_is_not_shown_to_the_subscriber(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    pod.dataset = {"access": {"filter": "whom <> 'ann'"}}
    report = delivered(pod, "d1", {"csv": {}})
    assert (report.reason, SECRET in (report.message or "")) == ("AccessDenied", False)
    pod.more = None
    owned = pod.work("m", kind="migrate")
    assert (owned.reason, "whom" in (owned.message or "")) == ("InvalidSpec", True)


PRICE = {"access": {"pricePerThousand": {"amount": "100", "currency": "USD"}}}


def test_a_budget_is_spent_once_and_nothing_is_delivered_beyond_it(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    pod.dataset = PRICE
    rules = {"budget": {"amount": "0.50", "currency": "USD", "period": "yearly"}, "filter": "id <= 3"}
    first = delivered(pod, "d1", {"csv": {}}, **rules)
    assert (first.delivery.spend.cost, first.delivery.spend.spent) == ("0.30", "0.30")
    with sqlite3.connect(pod.warehouse / "catalog.db") as database:  # as if the worker had died before the ledger knew
        database.execute("UPDATE penstock_runs SET report = NULL WHERE run = 'd1'")
        for table in ("deliveries", "charges"):
            database.execute(f"DELETE FROM penstock_{table}")
    assert delivered(pod, "d1", {"csv": {}}, **rules).delivery.spend.spent == "0.30"
    assert delivered(pod, "d1", {"csv": {}}, **rules).delivery.spend.spent == "0.30"
    before = [*pod.out.rglob("*")]
    refused = delivered(pod, "d2", {"csv": {}}, **rules)
    assert (refused.state, refused.reason, pod.code) == ("Failed", "BudgetExceeded", 2)
    assert "3 rows cost 0.30 USD, and 0.20 of 0.50 are left until" in (refused.message or "")
    assert [*pod.out.rglob("*")] == before
    fewer = {**rules, "filter": "id <= 2"}
    assert delivered(pod, "d3", {"csv": {}}, **fewer).delivery.spend.spent == "0.50"
    with sqlite3.connect(pod.warehouse / "catalog.db") as database:
        assert database.execute("SELECT run, amount FROM penstock_charges ORDER BY run").fetchall() == [
            ("d1", "0.3"),
            ("d3", "0.2"),
        ]
        database.execute("UPDATE penstock_charges SET moment = '2020-01-01T00:00:00Z'")
    assert delivered(pod, "d4", {"csv": {}}, **rules).delivery.spend.spent == "0.30"


def test_a_budget_without_a_price_is_refused(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    report = delivered(pod, "d1", {"csv": {}}, budget={"amount": "1", "currency": "USD", "period": "daily"})
    assert (report.reason, "no access.pricePerThousand" in (report.message or "")) == ("InvalidSpec", True)


def test_a_preview_shows_what_would_be_delivered_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "penstock")
    pod = loaded(tmp_path)
    pod.dataset = {"access": {"fields": ["id", "day"], "filter": "who <> 'ann'", **PRICE["access"]}}
    rules: Json = {"fields": [{"name": "day"}, {"name": "id", "as": "a"}, {"name": "id", "as": "b"}]}
    rules |= {"deduplication": {"by": ["id"], "period": "P1D"}}
    rules |= {"budget": {"amount": "1", "currency": "USD", "period": "daily"}}
    place = {"url": "file:///volumes/out/", "volume": {"claimName": "out"}, "format": {"csv": {}}}
    delivery = {"destination": {"name": "partner", "connector": {"files": place}}, **rules}

    def previewed(run_id: str) -> Preview:
        pod.more = {"delivery": delivery, "preview": {"rows": 1}, "identity": "demo/daily"}
        caplog.clear()
        report = pod.work(run_id, kind="preview")
        assert (report.state, SECRET in caplog.text) == ("Succeeded", False)
        return Preview.model_validate_json(reports.marked("\n".join(caplog.messages), places.PREVIEW_LINE) or "")

    shown = previewed("p1")
    assert (shown.columns, shown.rows) == (["day", "a", "b"], [["2026-01-02", "2", "2"]])
    assert shown.forecast is not None
    assert (shown.forecast.rows, shown.forecast.cost, shown.forecast.left) == (1, "0.10", "1.00")
    assert not pod.out.exists() or [*pod.out.rglob("*")] == []
    delivered(pod, "d1", {"csv": {}}, **rules)
    after = previewed("p2").forecast
    assert after is not None
    assert (after.rows, after.cost, after.left) == (0, "0.00", "0.90")
