"""What a run takes, from what is there and what was read before; pure."""

import pytest

from penstock.connectors.files.stores import Found
from penstock.connectors.lake.ledger import FileEntry
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker import planning


def dataset(mode: str, sync: str) -> DatasetOrder:
    lake = {"warehouse": "file:///volumes/l/wh", "volume": {"claimName": "l"}}
    return DatasetOrder.model_validate(
        {
            "owner": {"kind": "Dataset", "namespace": "n", "name": "d"},
            "destination": {"name": "lake", "connector": {"lake": lake}},
            "table": "t",
            "schema": {"fields": [{"name": "a", "type": "int"}]},
            "writeMode": mode,
            "quality": {},
            "sync": sync,
        }
    )


FOUND = [Found("u/1", "e1", 10), Found("u/2", "e2", 20), Found("u/3", "e3", 30)]
KNOWN = {"u/1": FileEntry("u/1", "e1", 10, 5, (), ()), "u/2": FileEntry("u/2", "old", 20, 5, (), ())}


def test_an_append_takes_the_new_and_the_changed() -> None:
    plan = planning.make(dataset("append", "incremental"), FOUND, KNOWN, "Source s")
    assert [file.url for shard in plan.shards for file in shard.files] == ["u/2", "u/3"]
    assert plan.changed == ["u/2"]


def test_an_append_of_nothing_new_takes_nothing() -> None:
    assert planning.make(dataset("append", "incremental"), FOUND[:1], KNOWN, "Source s").shards == []


def test_a_replace_takes_everything_and_never_nothing() -> None:
    assert planning.make(dataset("replace", "full"), FOUND, KNOWN, "Source s").files == 3
    with pytest.raises(InvalidSpec) as refused:
        planning.make(dataset("replace", "full"), [], KNOWN, "Source s: u/*")
    assert refused.value.reason == "ResourceNotFound"


def test_a_plan_survives_its_recording() -> None:
    plan = planning.make(dataset("append", "incremental"), FOUND, KNOWN, "Source s")
    assert planning.Plan.model_validate_json(plan.model_dump_json()) == plan
