"""Changing a Dataset's schema: the migration makes safe changes, whatever was loaded before stays as it was."""

from pathlib import Path

import pytest

from penstock.runs import places
from penstock.worker.jobs import migrate
from penstock.worker.ports.ledger import Attempt
from worker.pods import APod, a_pod, field
from worker.test_delivery import delivered


def loaded(root: Path) -> APod:
    """A table of two inputs in one data file."""
    pod = a_pod(root, field("id", "int", required=True), field("word", "string"), field("price", "decimal(4,2)"))
    (pod.data / "a.csv").write_text("id,word,price\n1,x,1.50\n2,y,2.50\n")
    (pod.data / "b.csv").write_text("id,word,price\n3,z,3.50\n")
    pod.work("m0", kind="migrate")
    assert pod.work("r1", kind="ingest").datasets[0].counts.loaded == 3
    assert len([*pod.table().scan().plan_files()]) == 1
    return pod


def changed(pod: APod) -> None:
    """Every safe change at once."""
    pod.fields = [
        field("added", "date"),
        field("price", "decimal(10,2)"),
        field("text", "string", renamedFrom="word", from_="word"),
        field("id", "long"),
    ]


def test_safe_changes_are_made_and_replacing_an_input_keeps_the_others_rows(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    changed(pod)
    report = pod.work("m1", kind="migrate")
    assert (report.state, report.datasets[0].rows) == ("Succeeded", 3)
    assert [(column.name, column.type) for column in report.datasets[0].columns] == [
        ("added", "date"),
        ("price", "decimal(10, 2)"),
        ("text", "string"),
        ("id", "long"),
    ]
    assert sorted((row["id"], row["text"], row["added"]) for row in pod.rows()) == [
        (1, "x", None),
        (2, "y", None),
        (3, "z", None),
    ]
    (pod.data / "a.csv").write_text("id,word,price,added\n4000000000,new,12345678.25,2026-01-02\n")
    (pod.data / "b.csv").touch()
    counts = pod.work("r2", kind="ingest").datasets[0].counts
    assert (counts.loaded, counts.replaced) == (1, 2)
    rows = sorted(pod.rows(), key=lambda row: int(row["id"]))
    assert [(row["id"], row["text"], str(row["price"]), str(row["added"])) for row in rows] == [
        (3, "z", "3.50", "None"),
        (4_000_000_000, "new", "12345678.25", "2026-01-02"),
    ]


def test_a_delivery_after_a_rename_has_the_old_rows_under_the_new_name(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    changed(pod)
    pod.work("m1", kind="migrate")
    report = delivered(pod, "d1", {"csv": {}}, suffix="things")
    assert report.state == "Succeeded", report.message
    [file] = pod.out.rglob("*.csv")
    assert sorted(file.read_text().splitlines()) == [",1.50,x,1", ",2.50,y,2", ",3.50,z,3", "added,price,text,id"]


def test_a_name_used_again_does_not_show_the_values_of_the_column_before(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    changed(pod)
    pod.work("m1", kind="migrate")
    pod.fields = [*pod.fields[:2], field("text", "string", from_="word"), pod.fields[3], field("word", "string")]
    assert pod.work("m2").state == "Succeeded"
    assert sorted((row["id"], row["text"], row["word"]) for row in pod.rows()) == [
        (1, "x", None),
        (2, "y", None),
        (3, "z", None),
    ]
    (pod.data / "a.csv").write_text("id,word,price,added\n1,again,1,\n")
    pod.work("r2", kind="ingest")
    assert sorted((row["id"], row["text"], row["word"]) for row in pod.rows()) == [
        (1, "again", "again"),
        (3, "z", None),
    ]


def test_a_change_that_is_not_safe_changes_nothing_and_says_which_it_is(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    before = pod.fields
    pod.fields = [field("id", "int", required=True), field("word", "long"), field("extra", "string")]
    report = pod.work("m1", kind="migrate")
    assert (report.reason, pod.code) == ("SchemaChanged", places.EXIT_CONFIGURATION)
    assert "word is string there and long here" in (report.message or "")
    assert "price is in the table only" in (report.message or "")
    assert "extra" not in (report.message or "")
    pod.fields = before
    (pod.data / "c.csv").write_text("id,word,price\n5,w,1\n")
    assert pod.work("r2", kind="ingest").datasets[0].counts.loaded == 1


def test_a_refused_change_does_not_stop_loads_which_go_by_the_schema_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Write mode and rules of the schema before go with it: a rule of the new one names a field that is not there."""
    pod = loaded(tmp_path)
    before = pod.fields
    pod.fields = [field("id", "int", required=True), field("word", "long"), field("size", "int", required=True)]
    pod.dataset["quality"] = {"maxBadRatio": "50%", "rules": [{"name": "large", "expression": "size > 3"}]}
    assert pod.work("m1", kind="migrate").reason == "SchemaChanged"
    (pod.data / "c.csv").write_text("id,word,price\n5,w,1\nsix,w,1\n")
    report = pod.work("r2", kind="ingest")
    assert (report.state, report.datasets[0].counts.loaded) == ("Succeeded", 1)
    assert "word is string there and long here" in caplog.text
    assert "uses the schema that was applied last" in caplog.text
    assert sorted((row["id"], row["word"]) for row in pod.rows()) == [(1, "x"), (2, "y"), (3, "z"), (5, "w")]
    assert [row["message"] for row in pod.bad()] == ['id: "six" is not an int']
    changed(pod)  # a schema that the table can take
    pod.dataset["quality"] = {"maxBadRatio": "50%"}
    pod.work("m2", kind="migrate")
    (pod.data / "d.csv").write_text("id,word,price,added\n7,v,1,2026-01-02\n")
    assert pod.work("r3", kind="ingest").datasets[0].counts.loaded == 1
    pod.fields = before  # now this is the one that is refused
    (pod.data / "e.csv").write_text("id,word,price,added\n8,u,1,2026-01-02\n")
    assert pod.work("r4", kind="ingest").datasets[0].counts.loaded == 1
    assert {row["id"]: (row["text"], str(row["added"])) for row in pod.rows()}[8] == ("u", "2026-01-02")


def test_a_refused_change_does_not_stop_deliveries_and_previews(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pod = loaded(tmp_path)
    pod.fields = [field("id", "int", required=True), field("word", "long"), field("size", "int", required=True)]
    assert pod.work("m1", kind="migrate").reason == "SchemaChanged"
    assert delivered(pod, "d1", {"csv": {}}, suffix="things").state == "Succeeded"
    [file] = pod.out.rglob("*.csv")
    assert sorted(file.read_text().splitlines()) == ["1,x,1.50", "2,y,2.50", "3,z,3.50", "id,word,price"]
    fields = [{"name": "size"}]
    caplog.set_level("INFO")
    pod.kind, pod.more = "preview", {"preview": {"rows": 10}, "source": None}
    assert pod.work("p1").state == "Succeeded"
    assert '"columns":["id","word","price"]' in caplog.text
    pod.fields[1]["sensitive"] = True  # which holds at once
    caplog.clear()
    pod.work("p2")
    assert '["1","***","1.50"]' in caplog.text
    pod.kind = "deliver"
    report = delivered(pod, "d2", {"csv": {}}, suffix="sizes", fields=fields)
    assert report.reason == "SchemaChanged", "the table has no such column yet"


def test_a_table_that_is_as_no_schema_says_stops_loads(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    with pod.table().update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("price")
    pod.fields = [field("id", "string", required=True)]
    (pod.data / "c.csv").write_text("id,word,price\n5,w,1\n")
    assert pod.work("r2", kind="ingest").reason in ("SchemaChanged", "DatasetNotReady")


def test_a_load_before_the_migration_waits_for_it(tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    changed(pod)
    (pod.data / "c.csv").write_text("id,word,price,added\n5,w,1,2026-01-02\n")
    report = pod.work("r2", kind="ingest")
    assert (report.reason, pod.code) == ("DatasetNotReady", places.EXIT_AGAIN)
    pod.work("m1", kind="migrate")
    assert pod.work("r2", kind="ingest").datasets[0].counts.loaded == 1


def test_a_migration_waits_for_the_load_that_is_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "PATIENCE", 0.2)
    pod = loaded(tmp_path)
    changed(pod)
    with pod.ledger.claim("demo/things", Attempt("r0", "busy"), 5):
        report = pod.work("m1", kind="migrate")
    assert (report.reason, pod.code) == ("LeaseHeld", places.EXIT_AGAIN)
    assert pod.work("m1").state == "Succeeded"
    assert "added" in pod.table().schema().column_names
