"""The contract of every Target: a receiver who goes by its guarantee reads each batch once, whatever is killed."""

from pathlib import Path

import pytest

from connectors.contract.adapters import TARGETS, Fault, TargetAdapter
from connectors.contract.deliveries import delivering
from penstock.connectors import registry
from penstock.runs import places

MISSING: set[str] = set()
"""Targets of the registry that are not in the suite yet."""

every = pytest.mark.parametrize("adapter", TARGETS.values(), ids=TARGETS)


def test_every_target_of_the_registry_is_in_the_suite() -> None:
    there = {name for name, spec in registry.DESTINATIONS.items() if spec.traits.target} - MISSING
    assert {each.system for each in TARGETS.values()} == there
    assert all(each.faults for each in TARGETS.values())


@pytest.mark.parametrize(
    ("adapter", "fault"),
    [
        pytest.param(each, fault, id=f"{name}-{fault.name.replace(' ', '-')}")
        for name, each in TARGETS.items()
        for fault in each.faults
    ],
)
def test_what_is_wrong_is_said_before_and_during_a_delivery(
    adapter: type[TargetAdapter], fault: Fault, tmp_path: Path
) -> None:
    with delivering(adapter, tmp_path) as rig:
        fault.bring_about(rig.target)
        for run_id, kind in (("check", "inspect-destination"), ("d1", "deliver")):
            rig.prepare_delivery(kind)
            assert rig.work(run_id) in (places.EXIT_CONFIGURATION, places.EXIT_AGAIN)
            assert rig.report(run_id).reason == fault.reason


@pytest.mark.parametrize("count", [1, 25, 3000])
@every
def test_each_run_delivers_a_batch_once(adapter: type[TargetAdapter], count: int, tmp_path: Path) -> None:
    with delivering(adapter, tmp_path, count) as rig:
        for run_id in ("d1", "d1", "d2"):
            assert rig.work(run_id) == 0
        rig.require([*range(count)], times=2)
