"""Paths into nested data, as manifests write them: user.geo.country, items[0].id, $.orders[*].lines[*].

A part of JSONPath (RFC 9535): names, indices from 0, and `[*]`, every element of a list. `$` is the whole record that
is read, `@` the row. A name with other characters than letters, digits, blanks, `_` and `-` is written `["a.b"]`.
"""

import json
import re
from dataclasses import dataclass

Step = str | int | None
"""A name, an index, or None for every element."""

_MARK = "\x01"
_NAME = r"[\w -]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_STEP = re.compile(rf"\.({_NAME})|\[(?:(\d{{1,9}})|(\*)|({_QUOTED}))\]")
_PLAIN = re.compile(_NAME)
_WRITTEN = re.compile(rf"{_NAME}(?:\.{_NAME}|\[\d{{1,9}}\])+")


@dataclass(frozen=True)
class Path:
    """Steps from `$`, the record that is read, or from `@`, the row."""

    root: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.root + "".join(_step(step) for step in self.steps)

    @property
    def column(self) -> str:
        """The path as the name of a column: no key that a person asks for by its name begins so."""
        return f"{_MARK}{self}"

    @property
    def shown(self) -> str:
        """As a person writes it: a path of the row without its root."""
        written = str(self)
        return written.removeprefix("@.") if self.root == "@" else written


def _step(step: Step) -> str:
    if step is None:
        return "[*]"
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"


def parse(written: str) -> Path | None:
    """The path of a text that begins with `$` or `@` and a step; None where it is none."""
    root, at, steps = written[:1], 1, list[Step]()
    if root not in ("$", "@"):
        return None
    while at < len(written):
        step = _STEP.match(written, at)
        if step is None:
            return None
        name, index, every, quoted = step.groups()
        try:
            steps.append(None if every else int(index) if index else name or json.loads(quoted))
        except ValueError:
            return None
        at = step.end()
    return Path(root, tuple(steps)) if steps else None


def of_column(name: str) -> Path | None:
    """The path that a column's name stands for, see `Path.column`; None for any other name."""
    return parse(name.removeprefix(_MARK)) if name.startswith(_MARK) else None


def of_row(written: str) -> Path | None:
    """The path that a text without a root means, such as user.geo or items[0]; None for a single name, or no path."""
    return parse(f"@.{written}") if _WRITTEN.fullmatch(written) else None


def records(written: str) -> Path:
    """The path of records, which ends in [*]. Raises ValueError with what would have been right."""
    path = parse(written)
    if path is None or path.root != "$" or path.steps[-1] is not None or any(isinstance(s, int) for s in path.steps):
        raise ValueError(f'"{written}" is not a path of records; for instance $[*], or $.orders[*].lines[*]')
    return path
