"""What the operator makes of every example: its desired objects and first runs, against `examples/*/expected/`.

`PENSTOCK_UPDATE_GOLDEN=1 pytest tests/golden` writes the expected files anew; the difference is then read in git.
"""

import base64
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.api import manifests, objects
from penstock.api.documents import Unreadable
from penstock.api.objects import Key
from penstock.control import due, resolve
from penstock.control.cluster.port import Manifest
from penstock.control.cluster.store import Store
from penstock.control.desired import objects as desired
from penstock.control.desired import runs
from penstock.control.observe import Seen
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.language import times

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = times.parse("2026-11-22T12:00:00Z")
UPDATE = os.environ.get("PENSTOCK_UPDATE_GOLDEN") == "1"


def _cases() -> list[Any]:
    return [
        pytest.param(folder, key, id=f"{folder.name}/{_file(key)}")
        for folder in sorted(EXAMPLES.glob("*/"))
        for key in _store(folder).object_keys()
    ]


def _store(folder: Path) -> Store:
    """The five kinds of an example as a cluster would show them, with UIDs that never change."""
    store = Store()
    for manifest in manifests.load([folder]) if any(folder.glob("*.yaml")) else ():
        assert not isinstance(manifest, Unreadable), manifest
        if manifest.kind in objects.KINDS:
            uid = f"uid-of-{manifest.kind.lower()}-{manifest.name}"
            metadata = {"namespace": "default", "uid": uid, "resourceVersion": "1", "generation": 1}
            store.put({**manifest.object, "metadata": {**manifest.object["metadata"], **metadata}})
    return store


def _file(key: Key) -> str:
    return f"{key.kind.lower()}-{key.name}.yaml"


def _graph(folder: Path, key: Key) -> Graph:
    graph = resolve.references(key, _store(folder), Settings())
    assert graph is not None
    return graph


def _readable(manifest: Manifest) -> Manifest:
    """A manifest with its order as text: the compressed bytes say nothing to a reader, and differ between zlibs."""
    packed = manifest.get("binaryData") or {}
    orders = {name: gzip.decompress(base64.b64decode(data)).decode() for name, data in packed.items()}
    return {**manifest, "binaryData": orders} if packed else manifest


def _made(graph: Graph) -> list[Manifest]:
    starts = due.runs(graph, Seen(()), NOW)
    made = [*(desired.objects(graph) or []), *(runs.job(graph, start) for start in starts)]
    return [_readable(manifest) for manifest in made]


@pytest.mark.parametrize(("folder", "key"), _cases())
def test_an_example_becomes_the_objects_that_are_expected(folder: Path, key: Key) -> None:
    graph = _graph(folder, key)
    assert graph.problem is None
    made, golden = _made(graph), folder / "expected" / _file(key)
    if UPDATE:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(yaml.safe_dump_all(made, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    assert golden.exists(), "PENSTOCK_UPDATE_GOLDEN=1 writes it"
    assert list(yaml.safe_load_all(golden.read_text(encoding="utf-8"))) == made


def test_nothing_is_expected_of_what_no_example_has() -> None:
    expected = set(EXAMPLES.glob("*/expected/*"))
    known = {folder / "expected" / _file(key) for folder in EXAMPLES.glob("*/") for key in _store(folder).object_keys()}
    assert expected <= known, "delete what is left over"
