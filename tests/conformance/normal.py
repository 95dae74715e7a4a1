"""What two servers may tell differently, made alike: identities, versions, times, and the order of managers."""

import json
import re
from typing import Any

from conformance.calls import Answer, Json

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOW = re.compile(r"20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_MADE_UP = {"2020-01-01T00:00:00Z"}  # times that the calls themselves carry


class Names:
    """One server's identities as numbers, in the order in which they were first told."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def answer(self, answer: Answer) -> Json:
        """An answer to compare."""
        return {"code": answer.code, "warnings": sorted(answer.warnings), "body": self.value(answer.body)}

    def value(self, value: Any, key: str = "") -> Any:
        """Any part of an answer."""
        if isinstance(value, dict):
            self._name_generated(value)
            return {k: self._field(k, value, value[k]) for k in sorted(value)}
        if isinstance(value, list):
            made = [self.value(item, key) for item in value]
            return sorted(made, key=_manager) if key == "managedFields" else made
        if isinstance(value, str):
            return self._text(value)
        return value

    def _field(self, key: str, parent: Json, value: Any) -> Any:
        if key == "resourceVersion" and isinstance(value, str):
            return self._number("version", value) if "uid" in parent or "creationTimestamp" in parent else "<version>"
        if key == "continue" and value:
            return "<token>"
        return self.value(value, key)

    def _name_generated(self, parent: Json) -> None:
        prefix, name = parent.get("generateName"), parent.get("name")
        if isinstance(prefix, str) and isinstance(name, str) and name.startswith(prefix) and name != prefix:
            self._numbers.setdefault(name, f"{prefix}<{len(self._numbers)}>")

    def _text(self, text: str) -> str:
        if _NOW.fullmatch(text) and text not in _MADE_UP:
            return "<time>"
        text = _UUID.sub(lambda found: self._number("uid", found[0]), text)
        return self._numbers.get(text, text)

    def _number(self, kind: str, value: str) -> str:
        count = sum(name.startswith(f"<{kind}") for name in self._numbers.values())
        return self._numbers.setdefault(value, f"<{kind} {count + 1}>")


def _manager(entry: Json) -> str:
    return json.dumps([entry.get(k) for k in ("operation", "manager", "subresource", "fieldsV1")], sort_keys=True)


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two normalised values differ: path, ours, theirs."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [
            found
            for key in keys
            for found in differences(one.get(key, "(absent)"), other.get(key, "(absent)"), f"{path}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for n, (a, b) in pairs for found in differences(a, b, f"{path}[{n}]")]
    same = one == other and isinstance(one, bool) == isinstance(other, bool)
    return [] if same else [f"{path or '.'}: embedded {json.dumps(one)}\n{' ' * len(path or '.')}    real {json.dumps(other)}"]
