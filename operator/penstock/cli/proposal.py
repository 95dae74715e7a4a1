"""Manifests that are proposed for the streams of a Source: a Dataset for each, and a Pipeline that loads them.

The types are those that the inspection found. Where a sample of rows is at hand, it shows what the types of texts hide:
dates in other formats, words for "no value", leading zeros. What is not certain is in a comment.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from pydantic import ValidationError

from penstock.api import objects
from penstock.api.fields import SchemaField
from penstock.language import visible, words
from penstock.runs.report import CatalogField, CatalogStream, Preview

_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d")
_TIMES = ("%H:%M:%S", "%H:%M")
_NULL_WORDS = frozenset({"na", "n/a", "null", "none", "nan", "-", "--", "?", "\\n", "#n/a"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d{1,3}(\.\d{3})*,\d+|[+-]?\d+,\d+")
_LEADING_ZEROS = re.compile(r"0\d+")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_NAME = re.compile(r"(?:.*[_ -])?(?:id|key|uuid|code|number|no|nr)|id", re.IGNORECASE)
_LONGEST_NAME = 128
_LINE = 4096


@dataclass(frozen=True)
class Entry:
    """A field of a proposed Dataset: its members in the manifest, and what is not certain about it."""

    members: Mapping[str, Any]
    remark: str = ""


@dataclass(frozen=True)
class Names:
    """The names in a proposal that do not come from the streams."""

    source: str
    destination: str
    pipeline: str


def manifests(streams: Sequence[CatalogStream], names: Names, sync: str, sample: Preview | None) -> str:
    """The manifests as YAML. `sample` has rows of the only stream of the Source, as texts."""
    write_mode = "append" if sync == "incremental" else "replace"
    parts = [_dataset(stream, name, names, write_mode, sample) for stream, name in _named(streams)]
    return "---\n".join([*parts, _pipeline([*_named(streams)], names, sync)])


def fields(stream: CatalogStream, sample: Preview | None) -> list[Entry]:
    """The fields of a Dataset that holds everything that the stream has, in its order."""
    taken, entries = set[str](), list[Entry]()
    for number, column in enumerate(stream.fields, start=1):
        name = _unused(_field_name(column.name, f"column_{number}"), taken)
        entries.append(_field(name, column, _values(column.name, sample)))
    return entries


def _dataset(stream: CatalogStream, name: str, names: Names, write_mode: str, sample: Preview | None) -> str:
    lines = _head("Dataset", name)
    table = _field_name(name.replace("-", "_"), name)
    lines += [f"  destinationRef: {_flow({'name': names.destination})}", f"  table: {_scalar(table)}"]
    lines += [f"  writeMode: {write_mode}", "  schema:", "    fields:"]
    entries = fields(stream, sample)
    for entry in entries:
        remark = f"  # {visible.line(entry.remark)}" if entry.remark else ""
        lines.append(f"      - {_flow(entry.members)}{remark}")
    if key := _key(stream, entries, sample):
        rows = len(sample.rows) if sample is not None else 0
        lines.append(
            f"    # primaryKey: [{_scalar(key)}]  # for writeMode: upsert; no value occurs twice in {rows} rows"
        )
    return "\n".join(lines) + "\n"


def _pipeline(streams: Sequence[tuple[CatalogStream, str]], names: Names, sync: str) -> str:
    lines = [*_head("Pipeline", names.pipeline), f"  sourceRef: {_flow({'name': names.source})}", "  datasets:"]
    for stream, name in streams:
        entry = {"stream": stream.name, "datasetRef": {"name": name}, "sync": sync}
        lines.append(f"    - {_flow(entry)}")
    lines.append('  # schedule: ["15 * * * *"]  # without a schedule it runs on request: penstock run')
    return "\n".join(lines) + "\n"


def _head(kind: str, name: str) -> list[str]:
    return [f"apiVersion: {objects.API_VERSION}", f"kind: {kind}", "metadata:", f"  name: {_scalar(name)}", "spec:"]


def _flow(members: Mapping[str, Any]) -> str:
    """The members as YAML in one line."""
    return yaml.safe_dump(
        dict(members), default_flow_style=True, sort_keys=False, allow_unicode=True, width=_LINE
    ).strip()


def _scalar(text: str) -> str:
    """The text as YAML, in quotes where it would be something else without, as 2013 and null are."""
    return yaml.safe_dump(text, allow_unicode=True, width=_LINE).removesuffix("\n...\n").strip()


# ── names ──


def _named(streams: Iterable[CatalogStream]) -> Iterator[tuple[CatalogStream, str]]:
    """Each stream with the name of its Dataset."""
    taken = set[str]()
    for number, stream in enumerate(streams, start=1):
        plain = _field_name(stream.name, f"table_{number}").lower().replace("_", "-").strip("-") or f"table-{number}"
        yield stream, _unused(plain, taken, "-")


def _field_name(name: str, without: str) -> str:
    """The name itself where a field can have it, else one in its likeness: `kunde_e_mail` for `Kunde E-Mail`.

    `without` is the name where no letter or digit of it remains.
    """
    if _PLAIN_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME and not name.startswith("_penstock"):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"\W+", "_", letters).strip("_").lower()[: _LONGEST_NAME - 8]
    if not plain:
        return without
    return plain if _PLAIN_NAME.fullmatch(plain) else f"c_{plain}"


def _unused(name: str, taken: set[str], between: str = "_") -> str:
    """The name, with a number where another has it already; case does not count."""
    unused, number = name, 1
    while unused.lower() in taken:
        number += 1
        unused = f"{name}{between}{number}"
    taken.add(unused.lower())
    return unused


# ── types ──


def _field(name: str, column: CatalogField, values: Sequence[str] | None) -> Entry:
    members: dict[str, Any] = {"name": name, "type": column.type}
    remark = ""
    if not _is_type(column.type):
        members["type"], remark = "string", f"{column.type} in the source"
    if name != column.name:
        members["from"] = column.name if _PLAIN_NAME.fullmatch(column.name) else _quoted(column.name)
    if values is not None and not values:
        return Entry(members, "no value in the sample")
    if values is None:
        return Entry(members, remark)
    if column.type in ("int", "long") and any(_LEADING_ZEROS.fullmatch(value) for value in values):
        return Entry(members | {"type": "string"}, "numbers with leading zeros, which a long would lose")
    if column.type == "string":
        more, remark = _of_texts(values)
        members |= more
    return Entry(members, remark)


def _is_type(written: str) -> bool:
    try:
        SchemaField(name="any", type=written)
    except ValidationError:
        return False
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _of_texts(values: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Members for a column of texts by its values, which are not empty, and what is not certain."""
    nulls = sorted({value for value in values if value.strip().lower() in _NULL_WORDS})
    others = [value for value in values if value not in nulls]
    if not others:
        return ({"nullValues": ["", *nulls]}, "no other value in the sample") if nulls else ({}, "")
    kind, formats = _kind(others)
    if kind is None:
        return {}, ""
    if kind == "comma":
        return {}, "numbers with a decimal comma: set type and decimal, see docs/values.md"
    seen = words.count(len(values), "value")
    if len(formats) > 1:
        return {}, f"{kind}, but the sample fits {' and '.join(formats)}: set type: {kind} and formats"
    members: dict[str, Any] = {"type": kind}
    members |= {"formats": formats} if formats else {}
    members |= {"nullValues": ["", *nulls]} if nulls else {}
    return members, f"by {seen} of the sample"


def _kind(values: Sequence[str]) -> tuple[str | None, list[str]]:
    """The type that all values can be read as, with the formats that fit all of them; None: none but string."""
    if all(_NUMBER.fullmatch(value) for value in values):
        whole = all(re.fullmatch(r"[+-]?\d{1,18}", value) for value in values)
        if any(_LEADING_ZEROS.fullmatch(value) for value in values):
            return None, []
        return ("long" if whole else "double"), []
    if all(_COMMA_NUMBER.fullmatch(value) for value in values):
        return "comma", []
    dates = [written for written in _DATES if _fits_all(written, values)]
    if dates:
        return "date", dates
    times = [f"{date} {time}" for date in _DATES for time in _TIMES if _fits_all(f"{date} {time}", values)]
    return ("timestamp", times) if times else (None, [])


def _fits_all(written: str, values: Sequence[str]) -> bool:
    """Whether every value is a date in this format, written with all its digits."""
    for value in values:
        try:
            if datetime.strptime(value, written).strftime(written) != value:
                return False
        except ValueError:
            return False
    return True


# ── the sample ──


def _values(column: str, sample: Preview | None) -> list[str] | None:
    """The values of a column that are not empty; None where the sample does not have the column, or no rows."""
    if sample is None or column not in sample.columns or not sample.rows:
        return None
    place = sample.columns.index(column)
    return [value for row in sample.rows if (value := row[place])]


def _key(stream: CatalogStream, entries: Sequence[Entry], sample: Preview | None) -> str | None:
    """The first field that is called like a key and has another value in each row of the sample."""
    for column, entry in zip(stream.fields, entries, strict=True):
        values = _values(column.name, sample)
        if values is None or sample is None or not _KEY_NAME.fullmatch(column.name):
            continue
        if len(set(values)) == len(sample.rows) > 1 and entry.members["type"] != "double":
            return str(entry.members["name"])
    return None
