"""A lake may lie in a folder of any name: nothing in its path is encoded twice, or cut."""

from pathlib import Path
from urllib.parse import quote

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from worker.pods import a_pod, field

NAMES = ["a blank", "ünï 東京", "100%", "a%20b", "c# [x]*", "what?", 'it\'s "so"', "semi;colon&x=1", "back\\slash"]


@pytest.mark.parametrize("name", NAMES)
def test_a_lake_is_loaded_and_delivered_whatever_its_folder_is_called(name: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path / name, field("a", "long"), field("b", "string"))
    (pod.data / "a 1%20#.csv").write_text("a,b\n1,x\n2,y\nbad,z\n")
    (pod.data / "b.csv").write_text("a,b\n3,z\n")
    assert pod.work("r1").datasets[0].counts.loaded == 3
    (pod.data / "b.csv").write_text("a,b\n4,changed\n")
    assert pod.work("r2").datasets[0].counts.replaced == 1

    url = f"sqlite:///{quote(str(pod.warehouse / 'catalog.db'))}"
    table = SqlCatalog("penstock", uri=url, warehouse=str(pod.warehouse)).load_table("main.things")
    assert sorted(row["a"] for row in table.scan().to_arrow().to_pylist()) == [1, 2, 4]
    assert [entry.name for entry in tmp_path.iterdir()] == [name], "nothing lies elsewhere"
    assert {path.name for path in pod.warehouse.iterdir()} == {"catalog.db", "main"}

    place = {"url": "file:///volumes/out/", "volume": {"claimName": "out"}}
    there = {"name": "partner", "connector": {"files": place}}
    more = {"delivery": {"destination": there, "format": {"csv": {}}}, "identity": "demo/daily"}
    report = pod.work("d1", kind="deliver", more=more)
    assert report.delivery is not None
    assert report.delivery.rows == 3


@pytest.mark.parametrize("folder", ["my warehouse", "100%25", "ünï"])
def test_a_warehouse_s_url_is_the_path_as_it_is_written(folder: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"))
    (pod.data / "a.csv").write_text("a\n1\n")
    lake = {"warehouse": f"file:///volumes/lake/{folder}", "volume": {"claimName": "lake"}}
    pod.dataset["destination"] = {"name": "lake", "connector": {"lake": lake}}
    assert pod.work("r1").datasets[0].counts.loaded == 1
    assert [path.name for path in (tmp_path / "volumes/lake").iterdir()] == [folder]
