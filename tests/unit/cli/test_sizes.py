"""Orders that do not fit into a ConfigMap are an error of `penstock validate`, with their size."""

import random
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from penstock.cli import commands
from support import manifests


def _validated(*wanted: dict[str, Any]) -> tuple[int, str]:
    text = yaml.safe_dump_all(wanted)
    result = CliRunner().invoke(commands.main, ["validate", "-f", "-"], input=text)
    return result.exit_code, result.output


def _dataset(fields: int, length: int, name: str = "cities") -> dict[str, Any]:
    dice = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return manifests.dataset(
        name,
        table=name,
        schema={
            "fields": [
                {"name": f"f{number}", "type": "string", "description": "".join(dice.choices(letters, k=length))}
                for number in range(fields)
            ]
        },
    )


@pytest.mark.parametrize("namespace", [None, "ops"])
def test_an_order_that_is_too_large_is_an_error_of_the_object_whose_runs_need_it(namespace: str | None) -> None:
    entries = [{"datasetRef": {"name": name}, "sync": "incremental"} for name in ("cities", "towns")]
    datasets = [_dataset(1000, 600), _dataset(1000, 600, "towns")]
    wanted = [manifests.source(), manifests.lake(), *datasets, manifests.pipeline(datasets=entries)]
    if namespace:
        wanted = [{**one, "metadata": {**one["metadata"], "namespace": namespace}} for one in wanted]
    code, output = _validated(*wanted)
    assert code == 1
    assert output.count("OrderTooLarge") == 1, "each Dataset alone fits"
    assert "Pipeline cities: spec: OrderTooLarge: The order of its runs takes" in output
    assert "fit into a ConfigMap. Use fewer fields" in output


def test_a_large_order_that_fits_is_none() -> None:
    code, output = _validated(manifests.source(), manifests.lake(), _dataset(1000, 20), manifests.pipeline())
    assert code == 0, output
