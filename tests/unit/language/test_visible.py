"""What would steer a terminal or not be seen is shown; everything else is left as it is."""

import json
import logging
import sys
import unicodedata

import pytest

from penstock.language import visible

SIGNS = {0x0600, 0x0601, 0x0602, 0x0603, 0x0604, 0x0605, 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
"""Format characters that have a glyph of their own."""


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[2J\x1b[H", r"\u001b[2J\u001b[H"),
        ("\x9b31m", r"\u009b31m"),
        ("a\x08\x08b\x7f", r"a\u0008\u0008b\u007f"),
        ("ok\rno", r"ok\rno"),
        ("user\u202egpj.exe\u2066x\u2069", r"user\u202egpj.exe\u2066x\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("half \ud83d", r"half \ud83d"),
        ("tag \U000e0041", r"tag \udb40\udc41"),
        ("filler \u3164\ufe0f", r"filler \u3164\ufe0f"),
        ("line\nnext\tcolumn", r"line\nnext\tcolumn"),
    ],
)
def test_what_is_not_seen_is_shown_as_its_escape(written: str, shown: str) -> None:
    assert visible.line(written) == shown
    assert visible.text(written) == shown.replace(r"\n", "\n").replace(r"\t", "\t")


@pytest.mark.parametrize(
    "kept", ["", "plain", "Århus – 東京 ✓ ●", "Привет", "\u0661\u0662 \u06dd", "a\u00a0b", "e\u0301"]
)
def test_what_is_seen_stays(kept: str) -> None:
    assert visible.line(kept) == visible.text(kept) == kept


def test_every_control_and_format_character_of_unicode_is_shown() -> None:
    hidden = [chr(code) for code in range(sys.maxunicode + 1) if _hidden(code)]
    assert len(hidden) > 2000
    assert [f"{ord(character):04x}" for character in hidden if visible.line(character) == character] == []
    assert [f"{ord(c):04x}" for c in hidden if visible.text(c) == c] == ["0009", "000a"]


def test_what_is_shown_once_is_the_same_when_it_is_shown_again() -> None:
    once = visible.line("\x1b[31m\u202e\n")
    assert visible.line(once) == once


def test_a_line_of_json_stays_the_same_json() -> None:
    value = {"cell": "\x1b]0;owned\x07 \u202e \u009b \U000e0041 \x7f"}
    assert json.loads(visible.line(json.dumps(value, ensure_ascii=False))) == value


def test_a_log_record_is_one_line_and_its_traceback_is_visible() -> None:
    formatter = visible.Formatter("%(levelname)s %(message)s")
    record = logging.LogRecord("x", logging.INFO, "file", 1, "file %s", ("a\nERROR forged\x1b[31m",), None)
    assert formatter.format(record) == r"INFO file a\nERROR forged\u001b[31m"
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "file", 1, "failed", (), sys.exc_info())
    printed = formatter.format(record)
    assert printed.startswith("ERROR failed\nTraceback")
    assert printed.endswith(r"ValueError: \u001b[2J")


def _hidden(code: int) -> bool:
    return code not in SIGNS and unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
