"""Deliveries under rules: what is in the files, from one delivery to the next, and when an attempt is repeated."""

import json
import sqlite3
from pathlib import Path
from typing import Any

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
