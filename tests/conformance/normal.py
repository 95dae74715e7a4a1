"""What two servers may tell differently, made alike: identities, versions, times, the order of managers, Go's words.

Each of these says why; what a user would notice of them stands in docs/embedded.md.
"""

import itertools
import json
import re
from typing import Any

from conformance.calls import Answer, Json

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOW = re.compile(r"20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ABSENT = "(absent)"
_MADE_UP = {"2020-01-01T00:00:00Z"}  # times that the calls themselves carry
_AGE = re.compile(r"(\d+[dhms]){1,2}")
_GENERATED = re.compile(r"\bgen-[bcdfghjklmnpqrstvwxz2456789]{5}\b")

_NO_RESOURCE = "the server could not find the requested resource"
_BAD_PATCH = ' "" is invalid: patch: '  # goes on with the whole object and Go's words about it
# Messages whose end is Go's: its parsers' words, its structs, the version of its store.
_WORDS = [
    (r".*Object 'Kind' is missing in .*|.*\(must be of type \w+\): no kind", "<no kind>"),
    (r".*no kind \"\w+\" is registered .*|the API version in the data \(v9\) .*", "<another kind>"),
    (r"the kind in the data \(Other\) .* \((ConfigMap|Secret|Job|CronJob|Lease)\)", "<another kind>"),
    (r".*(couldn't get version/kind|error decoding YAML|invalid object type: /, Kind=).*", "<unreadable>"),
    (r"the request body (cannot be read|is not an object|is no DeleteOptions).*", "<unreadable>"),
    (r"(error decoding patch: |json: cannot unmarshal \w+ into Go value of type jsonpatch).*", "<unreadable>"),
    (r"(unable to parse requirement: |found '.*', expected: ).*", "<bad selector>"),
    (r"(cannot be handled as a \w+): (parsing time|json: cannot unmarshal|illegal base64 data).*", r"\1: <why>"),
    (r"(failed to create typed patch object|failed to convert new object).*", r"\1: <why>"),
    (r"(continue key is not valid): .*", r"\1: <why>"),
    (r"(invalid resource version: )?resourceVersion: Invalid value: \"x\": ", ""),
    (r"strconv.ParseUint", "strconv.ParseInt"),
    (r"(ResourceVersion in (?:the precondition|record)) \(\d+\)", r"\1 <version>"),
    (r"StorageError: .* AdditionalErrorMsg: ", ""),
]


class Names:
    """What one server told: identities become numbers, in the order in which they were first told, versions steps."""

    def __init__(self) -> None:
        self._numbers: dict[str, tuple[str, int]] = {}
        self._last: dict[str, tuple[str, Any]] = {}
        self._moved: set[str] = set()

    def answer(self, answer: Answer, tried: bool = False) -> Json:
        """An answer to compare; `tried`: of a dry run."""
        body = answer.body
        if isinstance(body, str):
            body = {}  # text/plain, where no API was found
        elif isinstance(body, list):
            body = self._history(body)
        elif body.get("kind") == "Status":
            body = self._status(body)
        elif "uid" in body.get("metadata", {}):
            body = self.value(body) | ({} if tried else {"version": self._step(body)})
        else:
            body = self.value(body)
        return {"code": answer.code, "warnings": sorted(answer.warnings), "body": body}

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
        text = _GENERATED.sub(lambda found: self._number("gen", found[0]), text)
        return _UUID.sub(lambda found: self._number("uid", found[0]), text)

    def _number(self, kind: str, value: str) -> str:
        count = sum(known == kind for known, _ in self._numbers.values())
        return f"<{kind} {self._numbers.setdefault(value, (kind, count + 1))[1]}>"

    def _step(self, item: Json) -> str:
        """Whether an object's version is still the one last told: a write that changes nothing is none.

        But the real server stores the default of a status with the first write after the creation, whatever it is.
        """
        uid, version, content = item["metadata"]["uid"], item["metadata"]["resourceVersion"], self.value(item)
        before, former = self._last.get(uid, (version, content))
        self._last[uid] = version, content
        first = uid not in self._moved and "status" in item
        if version != before:
            self._moved.add(uid)
        return "same" if version == before or (first and content == former) else "next"

    def _history(self, events: list[Json]) -> list[Json]:
        """Object by object: controllers take them up in any order. Without the default of a status (see _step)."""
        told: list[Json] = []
        for event in sorted(events, key=lambda event: str(event["object"].get("metadata", {}).get("name", ""))):
            made = self.value(event)
            if not told or told[-1] != made | {"type": "ADDED"} or made["type"] != "MODIFIED":
                told.append(made)
        return told

    def _status(self, status: Json) -> Json:
        """A Status: in the order of a Go map, some causes twice; where a field may not change, with a Go struct."""
        message = str(status.get("message", ""))
        if message.startswith(_NO_RESOURCE):
            return {}  # in an unknown API the real one answers in plain text
        if message.startswith(_BAD_PATCH):
            return {"reason": status["reason"]}
        for words, instead in _WORDS:
            message = re.sub(words, instead, message, flags=re.DOTALL)
        causes = {json.dumps(cause, sort_keys=True): self.value(_brief(cause)) for cause in _causes(status)}
        if causes:
            short = len(causes) > 1 or set(map(_brief_message, _causes(status))) != {
                c["message"] for c in _causes(status)
            }
            message = "" if short else message
        made: Json = self.value(status | {"message": message})
        if causes:
            made["details"]["causes"] = [causes[text] for text in sorted(causes)]
        return made if made.get("details") else {k: v for k, v in made.items() if k != "details"}


def _causes(status: Json) -> list[Json]:
    return (status.get("details") or {}).get("causes") or []


def _brief(cause: Json) -> Json:
    return cause | {"message": _brief_message(cause)}


def _brief_message(cause: Json) -> str:
    """Without the Go struct of what may not change, and without what a cron parser says of a bad schedule."""
    message = str(cause.get("message", ""))
    if message.endswith("field is immutable"):
        return message.rpartition(": ")[2]
    return "" if str(cause.get("field", "")).endswith("spec.schedule") else message


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
