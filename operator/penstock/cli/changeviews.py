"""A plan as text, as JSON for programs, and as Markdown for a comment on a pull request."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from penstock.cli.changes import Action, Effect, FieldChange, ObjectChange
from penstock.language import visible, words

_SIGNS = {"create": "+", "change": "~", "remove": "-"}
_PAST: Mapping[Action, str] = {"create": "created", "change": "changed", "remove": "removed", "unchanged": "unchanged"}
UNKNOWN = "unknown"
MOST_FIELDS = 40
"""How many fields of an object are shown."""


def text(plan: Sequence[ObjectChange]) -> str:
    """For a terminal."""
    lines = [summary(plan)]
    for change in plan:
        if change.action == "unchanged":
            continue
        lines += ["", f"{_SIGNS[change.action]} {change.kind} {change.name}"]
        lines += [f"    {line}" for line in _fields(change)]
        lines += [f"  {'! ' if effect.breaking else '→ '}{effect.message}" for effect in change.effects]
        lines += [f"    {line}" for line in _figures(change)]
    return "\n".join(visible.line(line) for line in lines)


def markdown(plan: Sequence[ObjectChange]) -> str:
    """For a comment on a pull request."""
    lines = [f"### Penstock plan: {summary(plan)}"]
    changed = [change for change in plan if change.action != "unchanged"]
    if changed:
        lines += ["", "| | object | what becomes of the data |", "|---|---|---|"]
        lines += [
            f"| {_SIGNS[change.action]} | {change.kind} `{_cell(change.name)}` | {_effects(change)} |"
            for change in changed
        ]
    for change in changed:
        if change.fields:
            title = f"{change.kind} {_cell(change.name)}: {words.count(len(change.fields), 'field')}"
            lines += ["", f"<details><summary>{title}</summary>", "", "```diff"]
            lines += [_cell(line, code=True) for field in change.fields[:MOST_FIELDS] for line in _diff(field)]
            lines += ["```", "", "</details>"]
    return "\n".join(lines)


def as_json(plan: Sequence[ObjectChange]) -> str:
    """For programs: every change with its fields and effects; what is unknown is null."""
    changes = [{**dataclasses.asdict(change), "breaking": change.breaking} for change in plan]
    document = {"breaking": any(change.breaking for change in plan), "changes": [_camel(change) for change in changes]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def summary(plan: Sequence[ObjectChange]) -> str:
    """How many objects are created, changed, removed and unchanged, and how many effects are breaking."""
    counts = Counter(change.action for change in plan)
    parts = [f"{counts[action]} {past}" for action, past in _PAST.items() if counts[action]]
    breaking = sum(effect.breaking for change in plan for effect in change.effects)
    return ", ".join(parts or ["no objects"]) + (f"; {words.count(breaking, 'breaking effect')}" if breaking else "")


def _fields(change: ObjectChange) -> Iterator[str]:
    for field in change.fields[:MOST_FIELDS]:
        if field.before is None:
            yield f"{field.path}: {field.after}"
        elif field.after is None:
            yield f"{field.path}: {field.before} is removed"
        else:
            yield f"{field.path}: {field.before} -> {field.after}"
    if len(change.fields) > MOST_FIELDS:
        yield f"and {words.count(len(change.fields) - MOST_FIELDS, 'more field')}"


def _figures(change: ObjectChange) -> Iterator[str]:
    if change.is_table:
        yield f"rows in the table: {_number(change.rows)}"
        yield f"bytes rewritten: {_number(change.bytes_rewritten)}"
        yield f"rows that keep their values until they are loaded again: {_number(change.rows_without_new_values)}"
    if change.affected:
        yield f"affected: {', '.join(change.affected)}"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _effects(change: ObjectChange) -> str:
    entries = [_effect(effect) for effect in change.effects] + [_cell(line) for line in _figures(change)]
    return "<br>".join(entries) or "none"


def _effect(effect: Effect) -> str:
    return f"**{_cell(effect.message)}**" if effect.breaking else _cell(effect.message)


def _diff(field: FieldChange) -> Iterator[str]:
    if field.before is not None:
        yield f"- {field.path}: {field.before}"
    if field.after is not None:
        yield f"+ {field.path}: {field.after}"


def _cell(value: str, *, code: bool = False) -> str:
    """A value that cannot end the cell, the code or the comment that contains it."""
    line = visible.line(value)
    return line.replace("```", "'''") if code else line.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _camel(change: dict[str, object]) -> dict[str, object]:
    parts = {name: name.split("_") for name in change}
    return {pieces[0] + "".join(word.title() for word in pieces[1:]): change[name] for name, pieces in parts.items()}
