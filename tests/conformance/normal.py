"""What two servers may tell differently, made alike: identities, versions, times, and the order of managers."""

import itertools
import json
import re
from typing import Any

from conformance.calls import Answer, Json

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOW = re.compile(r"20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ABSENT = "(absent)"
_MADE_UP = {"2020-01-01T00:00:00Z"}  # times that the calls themselves carry


# Go's own words about a body that it cannot read (and about types, in an apply): ours say the same in other words.
_WORDED_FREELY = (400, 415, 500)
_NO_RESOURCE = "the server could not find the requested resource"
_BAD_PATCH = ' "" is invalid: patch: '  # goes on with the whole object and Go's words about it
_AGE = re.compile(r"(\d+[dhms]){1,2}|<invalid>")
_PRECONDITION = re.compile(r"(ResourceVersion in (?:the precondition|record)) \(\d+\)")
_STORAGE = re.compile(r"StorageError: .* AdditionalErrorMsg: ")
_GENERATED = re.compile(r"\bgen-[bcdfghjklmnpqrstvwxz2456789]{5}\b")


class Names:
    """One server's identities as numbers, in the order in which they were first told."""

    def __init__(self) -> None:
        self._numbers: dict[str, tuple[str, int]] = {}

    def answer(self, answer: Answer) -> Json:
        """An answer to compare."""
        body = answer.body
        if isinstance(body, dict) and body.get("kind") == "Status":
            body = {key: body[key] for key in body if key != "message" or answer.code not in _WORDED_FREELY}
            if str(body.get("message", "")).startswith(_NO_RESOURCE):
                body = {}  # in an unknown API the real one answers in plain text
            elif str(body.get("message", "")).startswith(_BAD_PATCH):
                body = {"reason": body["reason"]}
            body = _without_dumps(body)
        elif isinstance(body, str):
            body = {}  # text/plain, where no API was found
        made = self.value(body)
        if isinstance(made, list):  # of a watch: the real server stores the default of a status with the first update
            made = _without_echoes(made)
        return {"code": answer.code, "warnings": sorted(answer.warnings), "body": made}

    def value(self, value: Any, key: str = "") -> Any:
        """Any part of an answer."""
        if isinstance(value, dict):
            kept = sorted(value.keys() - {"resourceVersion"})
            return {self._text(k): self._field(k, value, value[k]) for k in kept}
        if isinstance(value, list):
            made = [self.value(item, key) for item in value]
            return sorted(made, key=_manager) if key == "managedFields" else made
        if isinstance(value, str):
            return self._text(value)
        return value

    def _field(self, key: str, parent: Json, value: Any) -> Any:
        if key == "cells":
            return ["<age>" if _AGE.fullmatch(str(cell)) else self.value(cell) for cell in value]
        if key == "continue":
            return "<token>" if value else _ABSENT
        if key == "description" and "priority" in parent:
            return "<prose>"  # of a table's column: ours are short
        return self.value(value, key)

    def _text(self, text: str) -> str:
        if _NOW.fullmatch(text) and text not in _MADE_UP:
            return "<time>"
        text = _STORAGE.sub("", text)
        text = _PRECONDITION.sub(r"\1 <version>", text)
        text = _GENERATED.sub(lambda found: self._number("gen", found[0]), text)
        return _UUID.sub(lambda found: self._number("uid", found[0]), text)

    def _number(self, kind: str, value: str) -> str:
        count = sum(known == kind for known, _ in self._numbers.values())
        return f"<{kind} {self._numbers.setdefault(value, (kind, count + 1))[1]}>"


def _without_echoes(events: list[Json]) -> list[Json]:
    last: dict[str, Json] = {}
    told = []
    for event in events:
        name = event["object"].get("metadata", {}).get("name", "")
        if last.get(name) != event["object"] or event["type"] == "DELETED":
            told.append(event)
        last[name] = event["object"]
    return told


def _without_dumps(status: Json) -> Json:
    """Where a field may not change, the real server prints its Go struct; and it leaves empty details."""
    causes: list[Json] = (status.get("details") or {}).get("causes", [])
    if causes:  # in the order of a Go map, some of them twice; the message is made of the same words
        told = {json.dumps(cause, sort_keys=True): _without_parser(cause) for cause in causes}
        causes = [told[text] for text in sorted(told)]
        status = status | {"message": "", "details": status["details"] | {"causes": causes}}
    if any(str(cause.get("message", "")).endswith("field is immutable") for cause in causes):
        short = [cause | {"message": cause["message"].rpartition(": ")[2]} for cause in causes]
        status = status | {"message": "", "details": status["details"] | {"causes": short}}
    return status if status.get("details") else {k: v for k, v in status.items() if k != "details"}


def _without_parser(cause: Json) -> Json:
    """Two cron parsers name different reasons for one bad schedule."""
    return cause | {"message": ""} if str(cause.get("field", "")).endswith("spec.schedule") else cause


def _manager(entry: Json) -> str:
    return json.dumps([entry.get(k) for k in ("operation", "manager", "subresource", "fieldsV1")], sort_keys=True)


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two normalised values differ: path, ours, theirs."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [
            found
            for key in keys
            for found in differences(one.get(key, _ABSENT), other.get(key, _ABSENT), f"{path}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list):
        pairs = enumerate(itertools.zip_longest(one, other, fillvalue=_ABSENT))
        return [found for n, (a, b) in pairs for found in differences(a, b, f"{path}[{n}]")]
    same = one == other and isinstance(one, bool) == isinstance(other, bool)
    return (
        []
        if same
        else [f"{path or '.'}: embedded {json.dumps(one)}\n{' ' * len(path or '.')}    real {json.dumps(other)}"]
    )
