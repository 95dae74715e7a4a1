"""Validation ends with findings, never with a traceback, whatever stands in a manifest."""

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.api import manifests, validation

_EXAMPLES = Path(__file__).parents[2] / "examples"
_SEED = int(os.environ.get("PENSTOCK_SEED", "11"))
_ODD: list[Any] = [
    None, True, 0, -1, 10**300, 1e308, 0.5, "", " ", "x" * 5_000, "\x00", "\x1b[31m", "\u202e", "\U0001f600",
    "null", [], [None], [[]], {}, {"": ""}, {"a": {"b": {"c": []}}}, ["a"] * 300, {"name": None}, {"name": 5}, "../x",
]  # fmt: skip


def _objects() -> list[dict[str, Any]]:
    texts = [
        path.read_text(encoding="utf-8") for path in sorted(_EXAMPLES.rglob("*.yaml")) if "expected" not in str(path)
    ]
    return [item for text in texts for item in yaml.safe_load_all(text) if isinstance(item, dict)]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key in a value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += [(value, key), *_places(inner)]
    return found


def _mutate(item: Any, dice: random.Random) -> None:
    """Replace, remove, rename or nest one value."""
    container, key = dice.choice(_places(item))
    match dice.randrange(5):
        case 0 | 1:
            container[key] = copy.deepcopy(dice.choice(_ODD))
        case 2:
            del container[key]
        case 3 if isinstance(container, dict):
            container[dice.choice(["", str(key).upper(), f"{key}x", "spec", "\x00"])] = container.pop(key)
        case _:
            container[key] = [container[key]] if dice.random() < 0.5 else {"name": container[key]}


@pytest.mark.parametrize("round_", range(20))
def test_no_manifest_ends_in_a_traceback(round_: int) -> None:
    dice = random.Random(_SEED * 1_000 + round_)
    objects = _objects()
    assert len(objects) > 5
    for _ in range(10):
        chosen = copy.deepcopy(dice.sample(objects, 4))
        for item in chosen:
            for _ in range(dice.randrange(1, 4)):
                if _places(item):
                    _mutate(item, dice)
        text = "\n---\n".join(json.dumps(item) for item in chosen)
        verdict = validation.validate(list(manifests.loads(text, "fuzz.yaml")))
        assert all(complaint.position.line >= 1 for complaint in verdict.complaints)
