"""The layout: what must lie where, and how long a module and a function may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from house import tree

MODULE_LINES = 500
FUNCTION_LINES = 50
COMPLEXITY = 10
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "base"}


def test_operator_is_a_mere_directory() -> None:
    """A module in it would shadow the standard library's `operator` wherever the root is on the path."""
    assert not list(tree.OPERATOR.glob("*.py"))
    packages = sorted(path.name for path in tree.OPERATOR.iterdir() if path.is_dir() and path.suffix != ".egg-info")
    assert packages == ["kubecron", "localkube", "penstock"]


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    names = {path.stem for path in tree.PACKAGE.rglob("*.py") if not path.stem.startswith("__")}
    names |= {path.name for path in tree.PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__"}
    assert sorted(names & sys.stdlib_module_names) == []


def test_no_module_has_a_vague_name() -> None:
    assert not [path for path in tree.modules() if path.stem in VAGUE or path.parent.name in VAGUE]


def test_every_package_has_its_charter() -> None:
    folders = {path.parent for path in tree.OPERATOR.rglob("*.py")}
    without = [folder for folder in folders if not _docstring(folder / "__init__.py")]
    assert not without, "what comes in, what goes out, what it never does: say it in __init__.py"


def test_every_module_says_what_it_is() -> None:
    assert not [path for path in tree.modules() if path.stat().st_size and not _docstring(path)]


@pytest.mark.parametrize("module", tree.modules(), ids=lambda path: str(path.relative_to(tree.ROOT)))
def test_modules_and_functions_are_short(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES
    assert not [f"{name}: {lines} lines" for name, lines in tree.functions(module) if lines > FUNCTION_LINES]


def test_no_function_is_complex() -> None:
    """By ruff's C901, on its own so that no other rule hides it; an exception is a noqa with its reason."""
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--select=C901", "--output-format=concise"]
    bound = f"lint.mccabe.max-complexity={COMPLEXITY}"
    found = subprocess.run([*command, "--config", bound, tree.ROOT], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_tests_are_no_packages_and_patch_nothing() -> None:
    assert not list((tree.ROOT / "tests").rglob("__init__.py"))
    patching = ("mock." + "patch", "monkey" + "patch.setattr")
    unit = (tree.ROOT / "tests" / "unit").rglob("*.py")
    assert not [path for path in unit if any(word in path.read_text(encoding="utf-8") for word in patching)]


def test_unit_tests_mirror_the_package() -> None:
    unit = tree.ROOT / "tests" / "unit"
    strays = [
        path
        for path in unit.rglob("test_*.py")
        if not _mirrored(path.relative_to(unit).parent / path.stem.removeprefix("test_"))
    ]
    assert not strays, "tests/unit/api/test_crds.py tests penstock/api/crds.py, or the folder penstock/api/crds/"


def _mirrored(name: Path) -> bool:
    """Whether the name, with `penstock` left out or the name of another package first, is a module or a folder."""
    roots = (tree.PACKAGE, tree.OPERATOR)
    return any((root / name).with_suffix(".py").exists() or (root / name).is_dir() for root in roots)


def _docstring(module: Path) -> str | None:
    return ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) if module.exists() else None
