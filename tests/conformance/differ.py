"""Run one sequence on two servers, compare every answer, and find the shortest way to a difference."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance import bodies, normal
from conformance.calls import Answer, Call, Json, Server

KINDS = (*bodies.OURS, "things", *bodies.BUILT_IN)
_SETTLE = 5.0  # seconds without a change after which controllers are believed to have finished
_SHRINK = 20.0  # seconds spent on finding a shorter way


@dataclass(frozen=True)
class Difference:
    """The call at which two answers differ, and where."""

    number: int
    call: Call
    told: list[str]
    answers: tuple[Json, Json]

    def __str__(self) -> str:
        return f"call {self.number}: {self.call}\n" + "\n".join(self.told)


class Pair:
    """Two servers with a namespace of the same name."""

    def __init__(self, embedded: Path, real: Path, namespace: str) -> None:
        self._servers = (Server(embedded, namespace), Server(real, namespace))
        self._names = (normal.Names(), normal.Names())
        self._changed = False
        self._stuck: dict[Server, set[str]] = {}
        for server in self._servers:
            server.begin()

    def close(self) -> None:
        """Delete the namespaces, whatever holds them."""
        for server in self._servers:
            server.raw("DELETE", f"/api/v1/namespaces/{server.namespace}")
            server.close()

    def first_difference(self, calls: list[Call]) -> Difference | None:
        """Where the answers part, if they do; the end state and all watch events count as the last calls."""
        for number, call in enumerate(calls):
            found = self._compared(number, call)
            if found is None and self._changed and _stirs_controllers(call):
                found = self._settled(number, call)
            if found:
                return found
        return self.different_history(len(calls))

    def different_history(self, number: int) -> Difference | None:
        """Where the events from the start differ, as watches tell them; all at once, since each takes a second."""
        calls = _watches()
        with ThreadPoolExecutor(len(calls) * 2) as pool:
            told = [list(pool.map(server.apart, calls)) for server in self._servers]
        for call, *answers in zip(calls, *told, strict=True):
            if found := self._difference(number, call, tuple(answers)):
                return found
        return None

    def _compared(self, number: int, call: Call) -> Difference | None:
        with ThreadPoolExecutor(2) as pool:
            answers = tuple(pool.map(lambda server: server.send(call), self._servers))
        self._changed = answers[0].code < 300 and not _is_tried(call)
        return self._difference(number, call, answers)

    def _difference(self, number: int, call: Call, answers: tuple[Answer, ...]) -> Difference | None:
        tried = _is_tried(call)
        ours, theirs = (names.answer(answer, tried) for names, answer in zip(self._names, answers, strict=True))
        told = normal.differences(ours, theirs)
        return Difference(number, call, told, (ours, theirs)) if told else None

    def _settled(self, number: int, call: Call) -> Difference | None:
        """Wait until no controller has anything to do, then compare all there is."""
        states = tuple(Answer(200, self._at_rest(server)) for server in self._servers)
        return self._difference(number, Call("SETTLE", f"after {call}"), states)

    def _at_rest(self, server: Server) -> Json:
        """All there is once nothing is due, or nothing has changed for a while: somebody's finalizer holds it."""
        seen, since = _everything(server), time.monotonic()
        while (restless := _restless(seen)) != self._stuck.get(server, set()):
            if time.monotonic() - since > _SETTLE:
                self._stuck[server] = restless
                break
            time.sleep(0.03)
            if (now := _everything(server)) != seen:
                seen, since = now, time.monotonic()
        return seen


def _everything(server: Server) -> Json:
    found = {}
    for plural in KINDS:
        for item in server.raw("GET", server.url(plural)).body["items"]:
            found[f"{plural}/{item['metadata']['name']}"] = item
    return found


def _is_tried(call: Call) -> bool:
    return "dryRun" in f"{call.path}{call.body}"


def _stirs_controllers(call: Call) -> bool:
    if call.method == "GET":
        return False
    about = call.about.split("/")[0]
    text = str(call.body)
    return call.method == "DELETE" or about in ("jobs", "cronjobs") or "ownerRef" in text or "finalizers" in text


def _restless(items: dict[str, Json]) -> set[str]:
    """The objects that a controller should still do something about."""
    alive = {item["metadata"]["uid"] for item in items.values()}
    return {about for about, item in items.items() if not _is_quiet(about, item, alive)}


def _is_quiet(about: str, item: Json, alive: set[str]) -> bool:
    meta: Json = item["metadata"]
    status = item.get("status", {})
    if "deletionTimestamp" in meta:
        waiting = {"foregroundDeletion", "orphan"} & set(meta.get("finalizers", ()))
        return not waiting and not (about.startswith("jobs/") and status.get("active"))
    if not {one["uid"] for one in meta.get("ownerReferences", ())} <= alive:
        return False
    if not about.startswith("jobs/"):
        return True
    conditions: list[Any] = status.get("conditions", [])
    suspended = any(c["type"] == "Suspended" and c["status"] == "True" for c in conditions)
    settled = suspended == item["spec"]["suspend"] and status.get("active", 0) == (not suspended)
    return bool(settled and not status.get("terminating"))


def _watches() -> list[Call]:
    query = "watch=true&timeoutSeconds=1&resourceVersion={{start}}"
    return [
        Call("GET", f"{plural}?{query}{more}")
        for plural in KINDS
        if plural != "jobs"
        for more in ("", "&labelSelector=team")
    ]


def shorter(make: Callable[[], Pair], calls: list[Call], found: Difference) -> tuple[list[Call], Difference]:
    """Fewer calls that still end in the same difference, as far as a few seconds allow. `make()` gives a fresh Pair."""
    until = time.monotonic() + _SHRINK
    *before, last = calls[: found.number + 1] if found.number < len(calls) else [*calls, found.call]

    def tried(fewer: list[Call]) -> Difference | None:
        pair = make()
        again = pair.first_difference([*fewer, last] if last in calls else fewer)
        pair.close()
        return again if again and _gist(again) == _gist(found) else None

    plural = last.about.partition("/")[0]
    for fewer in ([c for c in before if plural in f"{c.path}{c.body}"], [c for c in before if c.about == last.about]):
        if again := tried(fewer):
            before, found = fewer, again
    size = len(before) // 2
    while size and time.monotonic() < until:
        for at in range(0, len(before), size):
            fewer = before[:at] + before[at + size :]
            if time.monotonic() < until and (again := tried(fewer)):
                before, found = fewer, again
                break
        else:
            size //= 2
    return [*before, last], found


def _gist(found: Difference) -> list[str]:
    return [re.sub(r"\d+", "", told) for told in found.told]
