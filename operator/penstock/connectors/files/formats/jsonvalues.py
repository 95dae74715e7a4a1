"""JSON, read strictly: RFC 8259. JSON lines, JSON documents and inspection all read it here.

Python's own scanner does it, which is C and knows the grammar; three things that it lets pass are refused here: NaN and
the infinities, text after the value, and nesting without a bound. A number is the text that stands there, with every
digit; so is a list or an object, byte for byte.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

from penstock.language.paths import Step
from penstock.worker.ports.chunks import BrokenReason

DEEPEST = 200
"""How deep objects and lists may be nested in a line."""
_BLANKS = " \t\r\n"
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")


class NotARow(Exception):
    """A line that is no row: `reason` and `error` say why."""

    def __init__(self, reason: BrokenReason, error: str) -> None:
        super().__init__(error)
        self.reason: BrokenReason = reason
        self.error = error


class Repeated(dict[str, Any]):
    """An object in which some names stand more than once."""

    names: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated, seen, names = Repeated(members), set[str](), set[str]()
    for name, _ in pairs:
        (names if name in seen else seen).add(name)
    repeated.names = frozenset(names)
    return repeated


class _NoNumber(Exception):
    """A word that Python takes for a number."""


def _no_number(word: str) -> NoReturn:
    raise _NoNumber(word)


_DECODER = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=_no_number, strict=True, object_pairs_hook=_object
)


def parse(written: bytes, what: str = "line") -> dict[str, Any]:
    """The object that a line or an element holds: numbers as they are written, lists and objects as Python's.

    Raises NotARow, whose message calls it `what`.
    """
    parsed = value(written, what)
    if not isinstance(parsed, dict):
        if isinstance(parsed, list):
            raise NotARow("NotAnObject", f"the {what} is a list, and not an object{_document(what)}")
        raise NotARow("NotAnObject", f"the {what} is JSON, and not an object")
    return parsed


def value(written: bytes, what: str = "value") -> Any:
    """The JSON value that stands there, as `parse` has it. Raises NotARow."""
    try:
        line = written.decode().strip(_BLANKS)
    except UnicodeDecodeError:
        raise NotARow("NotUtf8", f"the {what} is not UTF-8; have the file exported as UTF-8") from None
    if line.count("{") + line.count("[") > DEEPEST and _depth(line) > DEEPEST:
        raise NotARow("NestedTooDeep", f"objects and lists are nested more than {DEEPEST} deep")
    try:
        parsed, end = _DECODER.raw_decode(line)
    except json.JSONDecodeError as error:
        raise NotARow("NotJson", _wrong(line, what, error)) from None
    except _NoNumber as word:
        raise NotARow("NotJson", f"the {what} is not JSON: {word} is not a number in JSON") from None
    if end != len(line):
        raise NotARow("NotJson", f"the {what} is not JSON: {_following(parsed, line[end:].lstrip(_BLANKS), what)}")
    return parsed


def _following(parsed: Any, rest: str, what: str) -> str:
    """What is wrong with a text that has more after its value: `rest`."""
    if isinstance(parsed, str) and rest.startswith(":"):
        return f"it is a member of an object by itself{_document(what)}"
    if rest.startswith("{"):
        return f"a second object follows; write each on a {what} of its own" if what == "line" else "a comma is missing"
    if rest == ",":
        return f"a comma follows its end{_document(what)}"
    return "text follows its end"


def _document(what: str) -> str:
    """The advice for lines that are parts of a document."""
    return "; for one JSON document, set format.json.lines: false" if what == "line" else ""


def _wrong(line: str, what: str, error: json.JSONDecodeError) -> str:
    return f"the {what} is not JSON{_cause(line, what, error)}"


def _cause(line: str, what: str, error: json.JSONDecodeError) -> str:
    """Why a text is not JSON, where that can be said: continues the sentence."""
    sign = line[error.pos : error.pos + 1]
    if line.startswith("\ufeff"):
        cause = "a byte order mark stands before it"
    elif line.startswith("<"):
        cause = "it begins as HTML or XML"
    elif error.msg.startswith("Invalid control character"):
        cause = "a control character in a text is not escaped"
    elif line and (not sign or error.msg.startswith("Unterminated string")):
        cause = f"it ends in the middle of a value{_document(what)}"
    elif sign == "'":
        cause = "names and texts need double quotes"
    elif sign in ("]", "}") and line[: error.pos].rstrip(_BLANKS).endswith(","):
        cause = f"a comma stands before {sign}"
    else:
        return ""
    return f": {cause}"


def _depth(line: str) -> int:
    depth = deepest = 0
    for match in _STRUCTURE.finditer(line):
        mark = match.group()
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


@dataclass(frozen=True)
class Member:
    """A member of a line's object: its name, and where its value begins and ends."""

    name: str
    start: int
    end: int


def members(line: str, at: int = 0) -> Iterator[Member]:
    """The members of the object that begins at `at`, which is well-formed."""
    at = _after_space(line, line.index("{", at) + 1)
    while line[at] != "}":
        name, at = _DECODER.raw_decode(line, at)
        start = _after_space(line, _after_space(line, at) + 1)
        end = _DECODER.raw_decode(line, start)[1]
        yield Member(name, start, end)
        at = _after_space(line, end)
        at = _after_space(line, at + 1) if line[at] == "," else at


def _after_space(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match else at


def elements(line: str, at: int) -> Iterator[tuple[int, int]]:
    """Where each element of the list that begins at `at` begins and ends; the list is well-formed."""
    at = _after_space(line, line.index("[", at) + 1)
    while line[at] != "]":
        end = _DECODER.raw_decode(line, at)[1]
        yield at, end
        at = _after_space(line, end)
        at = _after_space(line, at + 1) if line[at] == "," else at


def span_of(line: str, at: int, steps: Sequence[Step]) -> tuple[int, int]:
    """Where the value begins and ends that these names and indices lead to, which is there. `at`: where to begin."""
    at = _after_space(line, at)
    for step in steps:
        if isinstance(step, str):
            at = [member.start for member in members(line, at) if member.name == step][-1]
        else:
            at = next(islice(elements(line, at), step, None))[0]
    return at, _DECODER.raw_decode(line, at)[1]


def whole_characters(text: str) -> None:
    """Raise NotARow where half a character stands in the text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise NotARow("LoneSurrogate", f"a lone surrogate, \\u{code:04x}, stands in a text: half a character") from None
