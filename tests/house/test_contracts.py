"""The import contracts, and what they cannot see: that each image's program starts without the other's libraries."""

import subprocess
import sys

import pytest

from house import tree

OPERATOR_LACKS = ("duckdb", "pyarrow", "pyiceberg", "fsspec", "s3fs", "sqlglot")
WORKER_LACKS = ("kopf", "kubernetes", "jinja2", "deepdiff")
EMBEDDED_LACKS = ("trustme", "cel")

_BLOCKED = """
import importlib, importlib.abc, pkgutil, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def test_the_import_contracts_are_kept() -> None:
    told = subprocess.run(
        [f"{sys.prefix}/bin/lint-imports", "--no-logo"], cwd=tree.ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("packages", "absent"),
    [
        (["penstock.api", "penstock.runs", "penstock.cli", "penstock.control"], OPERATOR_LACKS + EMBEDDED_LACKS),
        (["penstock.api", "penstock.runs", "penstock.cli", "penstock.worker"], WORKER_LACKS + EMBEDDED_LACKS),
    ],
    ids=["operator", "worker"],
)
def test_an_image_imports_without_the_libraries_of_the_other(packages: list[str], absent: tuple[str, ...]) -> None:
    program = _BLOCKED.format(absent=absent, packages=packages)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
