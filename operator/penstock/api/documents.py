"""YAML as kubectl reads it, with the place of every node.

kubectl reads with go-yaml v2 (sigs.k8s.io/yaml) and hands on JSON: a bare date and `12:30:00` stay strings, `y` and
`on` are booleans, `1e3` is the number 1000, `017` is 15. PyYAML resolves by other rules, so only its parser is used
here. Three things are stricter: a key that occurs twice is an error (kubectl silently takes the last), so is a tag that
is no type of JSON, and size, depth and aliases are bounded.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from penstock.api.findings import Path

_SEPARATOR = re.compile(r"^---[ \t]*(#.*)?$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"
_TOO_DEEP = "mappings and lists lie too deep in one another; at most 64 levels"

_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
}


LARGEST_FILE = 16_000_000
"""Characters of a file; all of its documents together."""
LARGEST = 1_000_000
"""Characters of a document. The API server takes 3 MiB in a request, and etcd keeps 1.5 MiB of an object."""
DOCUMENTS = 10_000
"""Documents of a file."""
DEPTH = 64
"""How deep mappings and lists may lie in one another; the five kinds need eleven levels."""
NODES = 50_000
"""How many values a document may have, with aliases written out."""

_TOO_MANY = f"more than {NODES:,} values with its aliases (*name) written out; use fewer aliases or divide the document"
_TYPES = ("str", "int", "float", "bool", "null", "binary", "map", "seq")
_DIGITS = 310
"""More digits than any number of 64 bits has, as an integer or as a float."""


@dataclass(frozen=True, order=True)
class Position:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Document:
    """One YAML document: its value as JSON has it, and where each node stands; keys are where their name begins."""

    value: Any
    positions: Mapping[Path, Position]

    def at(self, path: Path) -> Position:
        """Where a node stands, or the nearest one around it that is there."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]


class Unreadable(Exception):
    """A document is not YAML that kubectl would read."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(f"{position}: {message}")
        self.position = position
        self.message = message


def read(text: str, file: str) -> Iterator[Document | Unreadable]:
    """The documents of a file that are not empty; one that cannot be read does not hide those after it."""
    if len(text) > LARGEST_FILE:
        yield Unreadable(
            Position(file, 1, 1), f"has more than {LARGEST_FILE:,} characters; divide it into several files"
        )
        return
    for number, (first_line, part) in enumerate(_parts(text)):
        if number >= DOCUMENTS:
            more = f"more than {DOCUMENTS:,} documents in one file; divide it into several files"
            yield Unreadable(Position(file, first_line, 1), more)
            return
        if len(part) > LARGEST:
            more = f"the document has more than {LARGEST:,} characters, and Kubernetes keeps no object of that size"
            yield Unreadable(Position(file, first_line, 1), f"{more}; divide it")
            continue
        document = _document(part, file, first_line)
        if document is not None:
            yield document


def _document(text: str, file: str, first_line: int) -> Document | Unreadable | None:
    """One document; None if it is empty."""
    try:
        node = _Loader(text).get_single_node()
        if node is None:
            return None
        reader = _Reader(file, first_line)
        return Document(reader.value(node, ()), reader.positions)
    except Unreadable as error:
        return error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        return Unreadable(Position(file, first_line + line, column + 1), _sentence(error))
    except yaml.YAMLError as error:
        return Unreadable(Position(file, first_line, 1), f"is not YAML: {' '.join(str(error).split())}")
    except (ValueError, OverflowError):  # an escape such as "\\UFFFFFFFF", which PyYAML does not check
        return Unreadable(Position(file, first_line, 1), "is not YAML: an escaped character does not exist")


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The text between lines of `---`, each with the number of its first line: as kubectl divides a file."""
    first, lines = 1, text.splitlines(keepends=True)
    begin = 0
    for index, line in enumerate(lines):
        if _SEPARATOR.match(line.rstrip("\r\n")):
            yield first, "".join(lines[begin:index])
            begin, first = index + 1, index + 2
    yield first, "".join(lines[begin:])


def _sentence(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(part for part in (error.context, error.problem) if part)
    if said in (_TOO_DEEP, _TOO_MANY):
        return said
    if "\\t" in said:
        return "is not YAML: indentation is made of spaces, and here is a tab"
    if "cannot start any token" in said:
        return f"is not YAML: {said}; a text that begins with one of % @ ` is written in quotes"
    return f"is not YAML: {said}"


class _Loader(yaml.SafeLoader):
    """PyYAML's parser; the meaning of plain scalars is left to `scalar`."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else f"{_TAG}str"
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node and what lies in it; `_depth` counts the nodes around it."""
        self._depth = getattr(self, "_depth", 0) + 1
        if self._depth > DEPTH:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        self._count = getattr(self, "_count", 0) + 1
        if self._count > 2 * NODES:  # keys count here, too
            raise yaml.MarkedYAMLError(problem=_TOO_MANY, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Turns the nodes of one document into values, and notes where they stand."""

    def __init__(self, file: str, first_line: int) -> None:
        self._file = file
        self._first_line = first_line
        self._around: list[yaml.Node] = []
        self._count = 0
        self.positions: dict[Path, Position] = {}

    def value(self, node: yaml.Node, path: Path) -> Any:
        """The value of a node. Raises `Unreadable` for one that contains itself or exceeds the bounds."""
        self._count += 1
        if self._count > NODES:
            raise Unreadable(self._at(node), _TOO_MANY)
        if any(outer is node for outer in self._around):
            raise Unreadable(self._at(node), "an alias (*name) stands inside of what it names; remove it")
        if len(self._around) >= DEPTH:
            raise Unreadable(self._at(node), _TOO_DEEP)
        self._around.append(node)
        try:
            return self._value(node, path)
        finally:
            self._around.pop()

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if node.tag.removeprefix(_TAG) not in (*_TYPES, _PLAIN, "!"):
            tag = node.tag.replace(_TAG, "!!")
            raise Unreadable(
                self._at(node), f"the tag {tag} is not supported; remove it, and quote the value if needed"
            )
        self.positions.setdefault(path, self._at(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, inner in node.value:
            if key.tag == _PLAIN and key.value == "<<":
                for source in inner.value if isinstance(inner, yaml.SequenceNode) else [inner]:
                    if not isinstance(source, yaml.MappingNode):
                        raise Unreadable(self._at(source), "<< takes in a mapping, or a list of mappings")
                    merged = self.value(source, path) | merged
                continue
            name = self._key(key)
            if name in own:
                raise Unreadable(self._at(key), f'the key "{name}" occurs twice; remove one of the two')
            self.positions[(*path, name)] = self._at(key)
            own[name] = self.value(inner, (*path, name))
        return merged | own

    def _key(self, node: yaml.Node) -> str:
        value = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        template = "; {{ … }} is a template: render it first, for instance with `helm template`"
        raise Unreadable(
            self._at(node), f"a key must be a string{template if isinstance(node, yaml.MappingNode) else ''}"
        )

    def _scalar(self, node: yaml.Node) -> Any:
        text = self._whole_characters(node)
        match node.tag.removeprefix(_TAG):
            case "plain" | "int" | "float" | "bool" | "null":
                value = scalar(text)
            case "binary":
                try:
                    value = base64.b64decode("".join(text.split()), validate=True).decode()
                except (binascii.Error, UnicodeDecodeError):
                    raise Unreadable(self._at(node), "!!binary must be base64 of UTF-8 text") from None
            case _:
                value = text
        if isinstance(value, float) and not math.isfinite(value):
            raise Unreadable(self._at(node), f"{text} has no JSON form")
        return value

    def _whole_characters(self, node: yaml.Node) -> str:
        """The text of a scalar, in which two escapes of JSON that make one character together are that character."""
        text = str(node.value)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            escape = "an escape such as \\\\ud800 is half a character; remove it or write both halves"
            raise Unreadable(self._at(node), escape) from None

    def _at(self, node: yaml.Node) -> Position:
        mark = node.start_mark
        return Position(self._file, self._first_line + mark.line, mark.column + 1)


def scalar(text: str) -> bool | int | float | str | None:
    """What an unquoted word means to go-yaml v2: https://github.com/go-yaml/yaml/blob/v2/resolve.go."""
    if text in _WORDS:
        return _WORDS[text]
    if text.lower() in (".nan", ".inf", "+.inf", "-.inf"):
        return float(text.lower().replace(".", "", 1))
    if not text or text[0] not in "+-.0123456789":
        return text
    plain = text.replace("_", "")
    number = _whole(plain)
    if number is None and _FLOAT.match(plain):
        number = float(plain)
    if number is None or not math.isfinite(number):
        return text
    return int(number) if number == int(number) else number


def _whole(text: str) -> int | float | None:
    """A whole number as Go's `ParseInt(text, 0, 64)` reads it: a leading 0 means octal."""
    sign = -1 if text.startswith("-") else 1
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits[:1].isdigit():
        return None
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 8 if digits[0] == "0" and len(digits) > 1 else 10)
    if len(digits) > _DIGITS:
        return None
    try:
        number = sign * int(digits.removeprefix("0o").removeprefix("0O"), base)
    except ValueError:
        return None
    # Beyond 64 bits Go reads digits as a float and any other notation as text.
    if -(2**63) <= number < 2**64:
        return number
    return float(number) if base == 10 else None
