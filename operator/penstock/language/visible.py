"""Text from outside made safe to print: characters that steer a terminal, or that nobody sees, shown as escapes.

Cells, file names, messages and manifests may hold control characters (C0, C1) that move the cursor or rewrite the
screen, bidirectional controls that show text in another order than it has, and characters without a glyph. Each becomes
its JSON escape, such as `\\u001b`, so that it is seen, and so that JSON in which it stood stays the same JSON.

`line` is for what belongs on one line, `text` for what may have several. All that is printed passes `cli/terminal.py`,
all that is logged passes `Formatter`: both end here.
"""

import logging
import re

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 and C1 but for "\\n" and tab."""
_FORMAT = (  # Unicode's category Cf (bidirectional controls, joiners, tags), less the Arabic signs that have a glyph
    r"\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
_SEPARATORS = r"\u2028\u2029"
_HALVES = r"\ud800-\udfff"
"""Half surrogate pairs, which no encoding has."""
_WITHOUT_GLYPH = (  # fillers, variation selectors, tags: characters that Unicode calls ignorable by default
    r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
)
_INVISIBLE = _CONTROLS + _FORMAT + _SEPARATORS + _HALVES + _WITHOUT_GLYPH
_ANY_BUT_LAYOUT = re.compile(f"[{_INVISIBLE}]")
_ANY = re.compile(f"[\n\t{_INVISIBLE}]")


def line(value: str) -> str:
    """`value` on one line: line ends and tabs, too, are shown as escapes."""
    return value if value.isascii() and value.isprintable() else _ANY.sub(_escaped, value)


def text(value: str) -> str:
    """`value` with its "\\n" and tabs as they are; every other character that would not be seen is an escape."""
    return value if value.isascii() and value.isprintable() else _ANY_BUT_LAYOUT.sub(_escaped, value)


class Formatter(logging.Formatter):
    """A log formatter: each message stays on one line; a traceback may follow on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record, without its traceback."""
        return line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The whole record. Its traceback quotes messages, so it is made visible as well."""
        return text(super().format(record))


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
