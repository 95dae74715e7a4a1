"""What a run takes, from what is there and what was read before, and what leaves with it; pure."""

import pytest

from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker import planning
from penstock.worker.planning import PlannedInput
from penstock.worker.ports import source
from penstock.worker.ports.ledger import InputEntry, InputState
from penstock.worker.ports.source import Input


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


def entry(number: int, name: str, version: str, state: InputState = "loaded", **more: str) -> InputEntry:
    about = {"identity": "n/p", "stream": "s", "schema": "now", **more}
    return InputEntry(number, about["identity"], about["stream"], name, version, 10, 5, 0, state, about["schema"])


OFFERED = source.Plan(tuple(Input(f"u/{number}", f"e{number}", ({"n": number},), 10) for number in (1, 2, 3)))
ENTRIES = [entry(7, "u/1", "e1"), entry(8, "u/2", "old")]
APPEND, REPLACE = dataset("append", "incremental"), dataset("replace", "full")


def chosen(entries: list[InputEntry], of: DatasetOrder = APPEND, offered: source.Plan = OFFERED) -> list[str]:
    return [each.name for each in planning.choose(of, offered, entries, "now", "Source s")]


def test_an_append_takes_the_new_and_the_changed() -> None:
    assert chosen(ENTRIES) == ["u/2", "u/3"]
    assert chosen([entry(number, f"u/{number}", f"e{number}") for number in (1, 2, 3)]) == []


def test_a_refused_input_is_taken_again_when_it_or_the_schema_has_changed() -> None:
    assert chosen([entry(1, "u/1", "e1", "refused")]) == ["u/2", "u/3"]
    assert chosen([entry(1, "u/1", "e1", "refused", schema="before")]) == ["u/1", "u/2", "u/3"]
    assert chosen([entry(1, "u/1", "e0", "refused")]) == ["u/1", "u/2", "u/3"]


def test_an_input_without_a_version_is_always_taken_and_puts_nothing_out() -> None:
    slice_ = source.Plan((Input("changes", "", ({},)),))
    before = [entry(1, "changes", "")]
    assert chosen(before, offered=slice_) == ["changes"]
    plan = planning.make(APPEND, slice_.inputs, range(9, 10), None)
    assert planning.leaving(plan, before, ("n/p", "s"), set()) == []


def test_a_replace_takes_everything_and_never_nothing() -> None:
    assert chosen(ENTRIES, REPLACE) == ["u/1", "u/2", "u/3"]
    with pytest.raises(InvalidSpec) as refused:
        planning.choose(REPLACE, source.Plan(()), [], "now", "Source s: u/*")
    assert refused.value.reason == "ResourceNotFound"


def test_what_leaves() -> None:
    inputs = [PlannedInput(id=number, name=f"u/{number - 10}", version="v", size=1, parts=[]) for number in (11, 12)]
    plan = planning.Plan(mode="append", inputs=inputs)
    before = [
        *(entry(1, "u/1", "e1"), entry(2, "u/1", "e2", "refused"), entry(3, "u/2", "e1")),
        *(entry(4, "u/2", "e2", "refused"), entry(5, "u/1", "e1", identity="n/q"), entry(6, "u/3", "e1")),
    ]
    assert planning.leaving(plan, before, ("n/p", "s"), set()) == [1, 2, 3, 4]
    assert planning.leaving(plan, before, ("n/p", "s"), {12}) == [1, 2, 4], "the version that was loaded stays"
    replace = plan.model_copy(update={"mode": "replace"})
    assert planning.leaving(replace, before, ("n/p", "s"), set()) == [1, 2, 3, 4, 5, 6]


def test_a_plan_survives_its_recording() -> None:
    plan = planning.make(APPEND, OFFERED.inputs, range(4, 7), {"cursor": 3})
    assert planning.Plan.model_validate_json(plan.model_dump_json()) == plan
    assert [each.id for each in plan.inputs] == [4, 5, 6]


def test_a_refused_input_that_has_vanished_leaves() -> None:
    """Rows of a file that is gone stay; an entry of a file that was never read does not. A listing must be whole."""
    before = [entry(1, "a", "1"), entry(2, "b", "1", "refused"), entry(3, "c", "1", "refused")]
    offered = source.Plan((source.Input("c", "1", ({},), 1),))
    assert planning.vanished(offered, before) == [2]
    assert planning.vanished(source.Plan((), state={"lsn": 1}), before) == []
    plan = planning.make(APPEND, [], range(0), None).model_copy(update={"vanished": [2]})
    assert planning.leaving(plan, before, ("n/p", "s"), set()) == [2]
