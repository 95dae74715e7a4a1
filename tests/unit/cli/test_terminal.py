"""What is printed cannot steer the terminal, whoever wrote it."""

import io

import pytest
from click.testing import CliRunner
from rich.table import Table
from rich.text import Text

from penstock import cli
from penstock.cli import terminal

HOSTILE = "\x1b[31mred\x9b2J\u202ereversed\u200b\x07"
SHOWN = r"\u001b[31mred\u009b2J\u202ereversed\u200b\u0007"


def _console(file: io.StringIO, *, colours: bool) -> terminal.VisibleConsole:
    return terminal.VisibleConsole(
        file=file, width=200, force_terminal=colours, color_system="standard" if colours else None, highlight=False
    )


@pytest.mark.parametrize("colours", [False, True])
def test_the_console_shows_what_it_is_given_and_obeys_only_its_own_styles(colours: bool) -> None:
    file = io.StringIO()
    console = _console(file, colours=colours)
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE, style="green"))
    for given in (HOSTILE, Text(HOSTILE, style="bold"), table):
        console.print(given)
    printed = file.getvalue()
    assert printed.count("reversed") == 2, "a table has cut its cells"
    assert not {"\x9b", "\u202e", "\u200b", "\x07"} & set(printed)
    assert ("\x1b[31m" in printed) is False
    assert ("\x1b[" in printed) is colours, "its own colours, on a terminal alone"
    assert r"\u001b[31mred\u009b2J" in printed


def test_plain_text_is_visible_and_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.echo(f"one {HOSTILE}\ntwo")
    terminal.echo("trouble \x1b", err=True)
    captured = capsys.readouterr()
    assert captured.out == f"one {SHOWN}\ntwo\n"
    assert captured.err == "trouble \\u001b\n"


@pytest.mark.parametrize(
    "arguments",
    [("\x1b[2J",), ("--\x1b[2J",), ("get", "--\x1b[2J"), ("validate", "-f", "/no/\x1b[2J"), ("run", "a/\x1b[2J/b")],
)
def test_errors_show_what_they_quote(arguments: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(cli.main, arguments).output
    assert "\x1b" not in printed
    assert "Error: " in printed


def test_validate_shows_hostile_manifests() -> None:
    given = (
        'apiVersion: penstock.dev/v1alpha1\nkind: "So\\e[31m\\u202erce"\nmetadata: {name: "a\\nb\\e"}\n'
        "---\napiVersion: penstock.dev/v1alpha1\nkind: Source\nmetadata: {name: a}\n"
        'spec: {"x\\e[2J": 1, connector: {files: {url: "file:///volumes/\\u009bx/", format: {csv: {}}}}}\n'
    )
    told = CliRunner().invoke(cli.main, ["validate", "-f", "-"], input=given)
    assert told.exit_code == 1
    assert not {"\x1b", "\x9b", "\u202e"} & set(told.output)
    assert all(line.startswith(("stdin:", "2 ", "3 ", "4 ", "5 ", "6 ")) for line in told.output.splitlines())
