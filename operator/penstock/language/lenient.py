"""Reading what another version of Penstock wrote: a newer one knows more members and more words than this one.

A manifest is read strictly, so that a misspelled field is an error. Status, reports and orders are read leniently: what
this version does not know is left out, and all the rest is kept.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from penstock.language.model import Model

M = TypeVar("M", bound=Model)

_MOST_PASSES = 64
"""How often one object is corrected. Each pass removes every error that is visible, so few are needed."""


def read(model: type[M], data: Any) -> M:
    """`data` as `model`, without the members that it does not know or cannot hold.

    A text or a list that is too long is cut. A list entry that lacks a required member is left out. Raises
    `ValueError` when `data` is not an object or a required member of `model` itself cannot be read.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        if not isinstance(data, Mapping):
            raise
        faults = error.errors(include_url=False, include_input=False)
    corrected = copy.deepcopy(dict(data))
    for _ in range(_MOST_PASSES):
        # From the last to the first, so that the positions of earlier list entries stay valid.
        for fault in sorted(faults, key=lambda fault: _order(fault["loc"]), reverse=True):
            _correct(corrected, fault)
        try:
            return model.model_validate(corrected)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            if any(_is_hopeless(fault) for fault in faults):
                raise
    raise ValueError(f"{model.__name__} cannot be read")


def _order(path: Sequence[int | str]) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (0, part) for part in path]


def _is_hopeless(fault: ErrorDetails) -> bool:
    """Whether it concerns the object as a whole or a required member of it."""
    return len(fault["loc"]) == 0 or (fault["type"] == "missing" and len(fault["loc"]) == 1)


def _correct(data: Any, fault: ErrorDetails) -> None:
    """Cut or remove the part of `data` that a fault is about; that of a missing member is the object around it."""
    path = fault["loc"][:-1] if fault["type"] == "missing" else fault["loc"]
    limit = (fault.get("ctx") or {}).get("max_length")
    parent = _at(data, path[:-1]) if path else None
    if parent is None:
        return
    last = path[-1]
    value = parent[last] if _has(parent, last) else None
    if fault["type"] in ("string_too_long", "too_long") and isinstance(value, str | list) and limit is not None:
        parent[last] = value[:limit]
    elif _has(parent, last):
        del parent[last]


def _at(data: Any, path: Sequence[int | str]) -> Any:
    """What lies at a path; None where nothing does (any more)."""
    for part in path:
        if not _has(data, part):
            return None
        data = data[part]
    return data


def _has(data: Any, part: int | str) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)
