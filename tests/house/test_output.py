"""Every way out to a terminal or a log passes the one place that makes control characters visible."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from house import tree

DOORS = {"penstock/cli/terminal.py", "penstock/language/visible.py"}
"""Where text goes out, made visible before."""
JSON_ALONE = {
    "penstock/cli/operate.py": {"logging.Formatter"},
    "penstock/worker/run.py": {"print"},
    "penstock/connectors/files/formats/worksheet.py": {"sys.stdout"},
}
"""They write JSON in ASCII, which escapes by itself."""
SEPARATE = {"localkube/__main__.py"}
"""Started by developers alone: prints the path that they have typed."""
CALLS = {
    "print", "click.echo", "click.secho", "click.echo_via_pager", "Console", "console.Console", "rich.print",
    "logging.Formatter", "logging.basicConfig", "logging.StreamHandler", "logging.FileHandler", "os.write",
}  # fmt: skip
STREAMS = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
MADE_VISIBLE = "visible.Formatter"


def ways_out(source: str) -> Iterator[str]:
    """The names in a module by which text leaves the program."""
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func if isinstance(node, ast.Call) else node)
        if name in (CALLS if isinstance(node, ast.Call) else STREAMS):
            yield name


def _modules() -> list[Path]:
    return sorted(path for path in tree.OPERATOR.rglob("*.py") if _place(path) not in DOORS | SEPARATE)


def _place(path: Path) -> str:
    return path.relative_to(tree.OPERATOR).as_posix()


@pytest.mark.parametrize("module", _modules(), ids=_place)
def test_text_leaves_by_the_doors_alone(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    found = set(ways_out(source)) - JSON_ALONE.get(_place(module), set())
    if "logging.basicConfig" in found:  # the root of all loggers, with a handler whose formatter is ours
        assert MADE_VISIBLE in source, "give the handler visible.Formatter"
        assert "handlers=" in source
        found -= {"logging.basicConfig", "logging.StreamHandler", "logging.FileHandler", "sys.stdout", "sys.stderr"}
    assert sorted(found) == [], "print with terminal.console() or terminal.echo(), log with visible.Formatter"


@pytest.mark.parametrize(
    "written",
    ["print('x')", "click.echo(x)", "sys.stdout.write(x)", "Console().print(x)", "logging.Formatter('%(message)s')"],
)
def test_a_new_way_out_is_noticed(written: str) -> None:
    assert list(ways_out(written))
