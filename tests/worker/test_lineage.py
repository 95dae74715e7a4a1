"""Lineage in the rows: what an input brought leaves by it, whoever has rewritten the files, and an input that cannot be
read is set aside."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.worker.ports.tablestore import INPUT_ID, LINEAGE, LOAD_ID, LOADED_AT
from worker.pods import APod, a_pod, field


def things(root: Path, **dataset: Any) -> APod:
    return a_pod(root, field("a", "long"), field("b", "string"), **dataset)


def data_files(pod: APod) -> int:
    return len([*pod.table().scan().plan_files()])


def compact(pod: APod) -> None:
    """Rewrite all data files into one, as another engine does that knows nothing of inputs."""
    for name in ("things", "things_quarantine"):
        table = pod.table(name)
        rows = table.scan().to_arrow()
        order = list(range(rows.num_rows))
        random.Random(7).shuffle(order)
        table.overwrite(rows.take(order))


def test_rows_say_where_they_came_from(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\nbad,x\n")
    (pod.data / "2.csv").write_text("a,b\n2,y\n3,y\n")
    (report,) = pod.work("r1").datasets
    inputs = {entry.name.rpartition("/")[2]: entry for entry in pod.ledger.inputs("demo/things")}
    rows = {row["a"]: row for row in pod.rows(lineage=True)}
    assert [*rows[1]] == ["a", "b", *LINEAGE.names]
    assert [rows[a][INPUT_ID] for a in (1, 2, 3)] == [inputs[name].id for name in ("1.csv", "2.csv", "2.csv")]
    assert len({row[LOAD_ID] for row in rows.values()}) == len({row[LOADED_AT] for row in rows.values()}) == 1
    (bad,) = pod.bad()
    assert (bad["input_id"], bad["load_id"]) == (inputs["1.csv"].id, rows[1][LOAD_ID])
    assert bad["locator"] == "file:///volumes/data/1.csv:3"
    assert (bad["reason"], bad["state"], bad["complete"], bad["stream"]) == ("WrongType", "open", True, "things")
    assert [column.name for column in report.columns] == ["a", "b"], "lineage is no column of its own"
    (pod.data / "3.csv").write_text("a,b\n4,z\n")
    pod.work("r2")
    assert {row["a"]: row for row in pod.rows(lineage=True)}[4][LOAD_ID] > rows[1][LOAD_ID]


@pytest.mark.parametrize("rewritten", [False, True])
def test_of_many_inputs_in_one_file_the_changed_ones_leave(rewritten: bool, tmp_path: Path) -> None:
    pod = things(tmp_path)
    for number in range(60):
        (pod.data / f"{number:02d}.csv").write_text(f"a,b\n{number},old\nbad{number},old\n")
    assert pod.work("r1").datasets[0].counts.loaded == 60
    assert data_files(pod) < 10, "small inputs share data files"
    if rewritten:
        compact(pod)
        assert data_files(pod) == 1
    for number in (7, 31):
        (pod.data / f"{number:02d}.csv").write_text(f"a,b\n{number},new\n")
    counts = pod.work("r2").datasets[0].counts
    assert (counts.read, counts.loaded, counts.replaced) == (2, 2, 2)
    rows = {row["a"]: row["b"] for row in pod.rows()}
    assert rows == {number: "new" if number in (7, 31) else "old" for number in range(60)}
    assert len(pod.rows()) == 60
    assert len(pod.bad()) == 58, "what was wrong with the earlier versions leaves with them"


def test_rows_of_another_writer_stay_with_append_and_leave_with_replace(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("r1")
    pod.table().append(pa.table({"a": pa.array([99]), "b": pa.array(["by hand"])}))
    (pod.data / "1.csv").write_text("a,b\n2,y\n")
    assert pod.work("r2").datasets[0].counts.replaced == 1
    assert sorted(row["a"] for row in pod.rows()) == [2, 99]
    pod.dataset.update(writeMode="replace", sync="full")
    assert pod.work("r3").datasets[0].counts.replaced == 2
    assert [row["a"] for row in pod.rows()] == [2]


def test_a_large_input_has_data_files_of_its_own_which_leave_unread(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "big.csv").write_text("a,b\n" + "".join(f"{number},{'x' * 40}\n" for number in range(40_000)))
    (pod.data / "small.csv").write_text("a,b\n-1,y\n")
    pod.work("r1")
    before = {task.file.file_path for task in pod.table().scan().plan_files()}
    (pod.data / "big.csv").write_text("a,b\n1,new\n")
    assert pod.work("r2").datasets[0].counts.replaced == 40_000
    after = {task.file.file_path for task in pod.table().scan().plan_files()}
    assert len(before & after) == 1
    assert not any("kept" in path for path in after), "nothing was rewritten"
    assert sorted(row["a"] for row in pod.rows()) == [-1, 1]


def test_an_input_that_cannot_be_read_is_set_aside_and_read_again_when_it_or_the_schema_changes(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    (pod.data / "2.csv").write_text("other,header\n2,y\n")
    report = pod.work("r1")
    assert (report.state, report.datasets[0].counts.loaded, report.datasets[0].counts.refused) == ("Succeeded", 1, 1)
    (entry,) = pod.bad()
    assert (entry["stage"], entry["reason"], entry["position"]) == ("input", "UnreadableInput", None)
    assert entry["locator"] == entry["input"] == "file:///volumes/data/2.csv"
    assert 'needs the column "a"' in entry["message"]
    assert pod.work("r2").datasets[0].state == "Unchanged"
    (pod.data / "2.csv").write_text("a,b\n2,y\n")
    assert pod.work("r3").datasets[0].counts.loaded == 1
    assert (sorted(row["a"] for row in pod.rows()), pod.bad()) == ([1, 2], [])


def test_a_refused_input_is_read_again_when_the_schema_changes(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    (pod.data / "2.csv").write_text("n,b\n2,y\n")
    pod.work("r1")
    (pod.data / "1.csv").unlink()
    pod.fields = [field("a", "long", from_="n"), field("b", "string")]
    assert pod.work("r2").datasets[0].counts.loaded == 1
    assert (sorted(row["a"] for row in pod.rows()), pod.bad()) == ([1, 2], [])


def test_an_unreadable_new_version_leaves_the_rows_of_the_earlier_one(tmp_path: Path) -> None:
    pod = things(tmp_path)
    for name in ("1", "2"):
        (pod.data / f"{name}.csv").write_text(f"a,b\n{name},x\n")
    pod.work("r1")
    for attempt, content in enumerate(["no,such\n1,2\n", "neither,this\n1,2\n"]):
        (pod.data / "1.csv").write_text(content)
        assert pod.work(f"r{attempt + 2}").datasets[0].counts.refused == 1
        assert sorted(row["a"] for row in pod.rows()) == [1, 2]
        assert len(pod.bad()) == 1, "one entry, that of the newest version"
    (pod.data / "1.csv").write_text("a,b\n5,x\n")
    assert pod.work("r9").datasets[0].counts.replaced == 1
    assert (sorted(row["a"] for row in pod.rows()), pod.bad()) == ([2, 5], [])


def test_a_run_in_which_every_new_input_is_refused_says_so(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("r1")
    for name in "23":
        (pod.data / f"{name}.csv").write_text("other,header\n2,y\n")
    report = pod.work("r2")
    assert (report.state, report.datasets[0].counts.read, report.datasets[0].counts.refused) == ("Succeeded", 0, 2)
    assert pod.report("r2").datasets[0].counts.refused == 2, "the termination message alone says so"
    assert [row["a"] for row in pod.rows()] == [1]


@pytest.mark.parametrize(
    "dataset",
    [{"writeMode": "replace", "sync": "full"}, {"quality": {"maxBadRatio": "100%", "refusedInputs": "fail"}}],
    ids=["replace", "fail"],
)
def test_a_refused_input_fails_the_run(dataset: dict[str, Any], tmp_path: Path) -> None:
    pod = things(tmp_path, **dataset)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    (pod.data / "2.csv").write_text("other,header\n2,y\n")
    report = pod.work("r1")
    assert (report.state, report.reason, pod.rows(), pod.bad()) == ("Failed", "WrongSpecification", [], [])


def test_a_large_input_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    import gzip

    chance = random.Random(3)
    lines = "".join(f"{number},{chance.randbytes(20).hex()}\n" for number in range(120_000))
    (pod.data / "2.csv.gz").write_bytes(gzip.compress(f"a,b\n{lines}".encode())[:-5000])
    report = pod.work("r1")
    assert report.datasets[0].counts.refused == 1
    assert [row["a"] for row in pod.rows()] == [1]
    assert "ends in the middle of its gzip stream" in pod.bad()[0]["message"]
    staged = {path.name for path in (pod.warehouse / "main/things/data").iterdir()}
    assert staged == {Path(task.file.file_path).name for task in pod.table().scan().plan_files()}


def test_where_nothing_was_ever_read_the_manifest_is_taken_to_be_wrong(tmp_path: Path) -> None:
    pod = things(tmp_path)
    for name in "12":
        (pod.data / f"{name}.csv").write_text("other,header\n2,y\n")
    report = pod.work("r1")
    assert (report.reason, pod.code) == ("WrongSpecification", 2)
    assert 'needs the column "a"' in (report.message or "")


def test_a_run_ends_as_soon_as_no_rows_to_come_can_help(tmp_path: Path) -> None:
    """Of a Parquet file it is known how many rows it has; the last ones are not read."""
    pod = a_pod(tmp_path, field("a", "int", maximum="9"), form={"parquet": {}}, quality={"maxBadRatio": "10%"})
    count = 2_000_000
    pq.write_table(pa.table({"a": pa.array([99] * count, pa.int32())}), pod.data / "a.parquet", row_group_size=50_000)
    report = pod.work()
    assert (report.reason, pod.code, pod.rows()) == ("TooManyBadRows", 2, [])
    assert "of the first" in (report.message or "")
