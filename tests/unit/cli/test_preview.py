"""What `penstock preview` shows of what a worker read."""

import contextlib
import io
from typing import Any

import pytest

from penstock.cli import preview, terminal
from penstock.language.errors import InvalidSpec
from penstock.runs import places
from penstock.runs.report import BadRows, Preview

BAD = ["locator", "message", "payload"]


def _printed(shown: Any) -> str:
    """What a user's terminal is sent, in UTF-8 as it has it."""
    sent = io.BytesIO()
    with io.TextIOWrapper(sent, encoding="utf-8") as stdout, contextlib.redirect_stdout(stdout):
        terminal.console().print(shown)
        stdout.flush()
        return sent.getvalue().decode()


def _of(payload: str) -> Preview:
    return Preview(columns=BAD, rows=[["s3://b/a.jsonl:7", "n: is bad", payload]], total=1)


@pytest.mark.parametrize("value", ["a\u0085b", "a\u2028b", "a\u2029b", "a\rb", "a\nb"])
def test_a_value_may_hold_what_breaks_lines_elsewhere(value: str) -> None:
    """JSON leaves some of them as they are, and so does the one line of the worker's log."""
    shown = Preview(columns=["a"], rows=[[value]], total=1)

    line = f"{places.PREVIEW_LINE}{shown.model_dump_json(by_alias=True)}"
    assert preview.shown_in(f"12:00:00 reads\n12:00:01 {line}\n12:00:02 done\n") == shown


def test_a_log_without_rows_is_told_with_its_end() -> None:
    with pytest.raises(InvalidSpec, match=r"the log of the worker has no rows\. Its log ends: out of memory"):
        preview.shown_in("out of memory")


def test_half_a_surrogate_pair_is_shown_escaped() -> None:
    told = _printed(preview._bad(_of(r'{"a": "x\ud83d", "b": "\ud83d\ude00"}')))
    assert told == "  a.jsonl:7   n: is bad\n    a=x\\ud83d b=😀\n"


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ('{"n": 0.1000000000000000055, "m": 1E400, "i": -0}', "n=0.1000000000000000055 m=1E400 i=-0"),
        ('{"a": 1, "a": 2}', "a=1 a=2"),
        (' {"a" : "x, y" , "b":null,"c":true}\n', "a=x, y b=null c=true"),
        ('{"a": {"b": 1.50, "b": [ 1 ]}, "c": []}', 'a={"b": 1.50, "b": [ 1 ]} c=[]'),
        ('{"a": NaN, "b": "\\u00e9\\n"}', "a=NaN b=é\n"),
        ("{}", ""),
        ("[1.0]", "[1.0]"),
        ("x,1.0", "x,1.0"),
        ('{"a": 1, "b": "cut o', '{"a": 1, "b": "cut o'),
        ("[" * 1000, "[" * 1000),
        ('{"n": ' + "9" * 5000 + "}", "n=" + "9" * 5000),
    ],
)
def test_a_payload_is_shown_as_it_is_written(payload: str, told: str) -> None:
    assert preview._pairs(payload) == told


def test_bad_rows_are_a_table_by_rule() -> None:
    bad = [
        BadRows(rows=1100, field="n", why='n: "x" is no int', where="s3://b/in/a.jsonl:7"),
        BadRows(rows=3, why="the quote is not closed", where="s3://b/in/b\x1b.jsonl:9"),
    ]
    shown = Preview(columns=BAD, rows=[], total=1103, bad=bad)
    assert _printed(preview.by_rule(shown)).splitlines() == [
        "   ROWS   FIELD   FIRST REASON              FIRST ROW",
        '  1,100   n       "x" is no int             a.jsonl:7',
        "      3           the quote is not closed   b\\u001b.jsonl:9",
    ]


@pytest.mark.parametrize(
    ("shown", "table"),
    [
        (
            Preview(columns=["n", "zip"], numeric=["n"], rows=[["1", "01"], ["100", "1"]], total=2),
            ["  1  01", "100  1"],
        ),
        (Preview(columns=["n", "s"], rows=[["1", "x"], ["-2.5", "1"]], where="a.csv"), ["   1  x", "-2.5  1"]),
    ],
)
def test_numbers_are_aligned_to_the_right(shown: Preview, table: list[str]) -> None:
    console = terminal.console()
    assert [line[2:] for line in _printed(preview._good(shown, console)).splitlines()[1:]] == table


def test_hostile_cells_cannot_break_out_of_their_table() -> None:
    shown = Preview(columns=["a\x1b[2J", "b"], rows=[["x\nflights: 0 rows", "\u202e1"]], total=1)
    printed = _printed(preview._good(shown, terminal.console()))
    assert len(printed.splitlines()) == 2
    assert not {"\x1b", "\u202e"} & set(printed)
