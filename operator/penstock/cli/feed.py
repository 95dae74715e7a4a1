"""What has happened to an object between two looks at it, in lines for a live feed. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from penstock.language import visible, words

Object = Mapping[str, Any]

_COLOURS = {"Succeeded": "green", "Failed": "red", "Cancelled": "yellow", "Running": "cyan", "Waiting": "yellow"}
_SHOWN = ("Ready", "Reachable", "SchemaCurrent", "QualityOK")
_SUBJECT_WIDTH = 24


@dataclass(frozen=True)
class Line:
    """One thing that happened: to what, what, and in which colour."""

    subject: str
    what: str
    style: str = ""

    def text(self, at: str) -> Text:
        """The line as printed; `at` is the time of day."""
        return Text.assemble(
            (f"{at}  ", "dim"),
            (f"{visible.line(self.subject):<{_SUBJECT_WIDTH}}  ", "bold"),
            (visible.line(self.what), self.style),
        )


def lines(before: Object | None, after: Object | None) -> Iterator[Line]:
    """What happened; None before it was there, or after it is gone."""
    subject = _subject(after or before or {})
    if after is None:
        yield Line(subject, "deleted", "yellow")
        return
    if before is None:
        yield Line(subject, "created", "dim")
    yield from _conditions(subject, before or {}, after)
    yield from _runs(subject, before or {}, after)
    yield from _deliveries(subject, before or {}, after)


def _subject(manifest: Object) -> str:
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace", "default")
    return f"{manifest['kind']} {metadata['name']}" + (f" ({namespace})" if namespace != "default" else "")


def _conditions(subject: str, before: Object, after: Object) -> Iterator[Line]:
    earlier = {entry["type"]: (entry["status"], entry["reason"]) for entry in _status(before).get("conditions") or []}
    for entry in _status(after).get("conditions") or []:
        now = (entry["status"], entry["reason"])
        if entry["type"] not in _SHOWN or earlier.get(entry["type"]) == now or entry["status"] == "Unknown":
            continue
        if entry["status"] == "True":
            yield Line(subject, f"{entry['type']}: {entry['message']}".rstrip(": "), "green")
        else:
            waiting = entry["reason"] in ("Progressing", "Waiting", "Suspended")
            yield Line(subject, f"{entry['reason']}: {entry['message']}", "dim" if waiting else "red")


def _runs(subject: str, before: Object, after: Object) -> Iterator[Line]:
    earlier = {run["id"]: run["state"] for run in _status(before).get("runs") or []}
    for run in reversed(_status(after).get("runs") or []):
        if earlier.get(run["id"]) != run["state"]:
            if run["state"] == "Waiting" and not run.get("message"):
                continue  # it starts at once
            yield Line(subject, f"{named(run['id'])}: {outcome(run)}", _COLOURS.get(run["state"], ""))


def _deliveries(subject: str, before: Object, after: Object) -> Iterator[Line]:
    earlier = {entry["run"] for entry in _status(before).get("deliveries") or []}
    for entry in _status(after).get("deliveries") or []:
        if entry["run"] not in earlier:
            yield Line(subject, delivered(entry), "green")


def delivered(delivery: Object) -> str:
    """What a delivery brought, and its manifest or table."""
    return f"delivered {words.count(delivery['rows'], 'row')}: {delivery.get('manifest') or delivery.get('table', '')}"


def _status(manifest: Object) -> Object:
    status: Object = manifest.get("status") or {}
    return status


def named(identity: str) -> str:
    """What a run is called, from its id: by what asked for it."""
    slot, _, value = identity.rpartition("/")
    if slot.rpartition("/")[0].rpartition("/")[2] == "after":
        return f"run after the load of {slot.rpartition('/')[2]}"
    match slot.rpartition("/")[2]:
        case "requested":
            return "requested run"
        case "manual":
            return "manual run"
        case "schedule":
            return f"run of {value}"
    return f"run {value}"


def outcome(run: Object) -> str:
    """How a run stands, in words, with its arithmetic."""
    state, message = str(run["state"]).lower(), str(run.get("message") or "")
    if run["state"] == "Failed":
        return f"{state}, {run.get('reason', '')}. {message}".rstrip(". ")
    if run["state"] == "Running" and message:
        return f"waiting: {message}"  # its Pod is there, and held up
    if run["state"] in ("Waiting", "Cancelled"):
        return f"{state}: {message}".rstrip(". :")
    if run["state"] != "Succeeded" or run.get("rowsRead") is None:
        return state
    return f"{state}: {message or _arithmetic(run)}"


_PARTS = {
    "rowsUnchanged": "unchanged",
    "rowsSuperseded": "superseded",
    "rowsQuarantined": "in quarantine",
    "rowsIgnored": "ignored",
}
"""What became of rows that were not loaded, by the count of it in a run's status."""


def _arithmetic(run: Object) -> str:
    refused = run.get("inputsRefused") or 0
    hint = f"{words.count(refused, 'input')} refused, see the quarantine" if refused else ""
    if not run["rowsRead"]:
        return hint or "nothing new"
    parts = [f"{run.get('rowsLoaded', 0):,} loaded"]
    parts += [f"{run[count]:,} {what}" for count, what in _PARTS.items() if run.get(count)]
    attempts = f", in {run['pods']} attempts" if (run.get("pods") or 1) > 1 else ""
    hint = f"; {hint}" if hint else ""
    return f"{words.count(run['rowsRead'], 'row')} read = {' + '.join(parts)}{attempts}{hint}"
