"""Entries of the quarantine: one shape for every Source, for rows and for inputs that cannot be read as a whole."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.worker.planning import PlannedInput
from penstock.worker.ports.chunks import BASE64, UTF8, Chunk
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import QUARANTINE

UNREADABLE = "UnreadableInput"
"""The reason code of an input that cannot be read as a whole."""
_LONGEST = 2000
"""Characters of a message that are kept."""
_TEXTS = ("input", "locator", "key", "message", "payload")
"""The columns that may have characters of the data."""


@dataclass(frozen=True)
class Context:
    """What all entries of one run have in common.

    `schema` is the hash of the Dataset's schema. `forbidden` are characters that the store cannot hold in a text.
    """

    claim: Claim
    stream: str
    schema: str
    forbidden: str = ""

    def entries_of_rows(self, bad: pa.Table, planned: PlannedInput, chunk: Chunk) -> pa.Table:
        """Entries of the bad rows of a chunk, as `quality.Split` has them."""
        keys = _keys(bad, chunk)
        columns: dict[str, Any] = {
            **self._common(planned, bad.num_rows),
            "locator": _locators(planned.name, chunk.section, bad["line"], keys),
            "position": bad["line"],
            "key": keys,
            "stage": bad["stage"],
            "field": bad["field"],
            "reason": bad["reason"],
            "message": bad["error"],
            "payload": bad["payload"],
            "payload_encoding": bad["payload_encoding"],
            "complete": bad["complete"],
        }
        return self._storable(pa.table([columns[name] for name in QUARANTINE.names], schema=QUARANTINE))

    def entry_of_input(self, planned: PlannedInput, message: str) -> pa.Table:
        """The one entry of an input that cannot be read."""
        columns: dict[str, Any] = {
            **self._common(planned, 1),
            "locator": pa.array([planned.name]),
            "stage": pa.array(["input"]),
            "reason": pa.array([UNREADABLE]),
            "message": pa.array([message[:_LONGEST]]),
            "payload_encoding": pa.array(["utf-8"]),
            "complete": pa.array([False]),
        }
        arrays = [columns.get(field.name, pa.nulls(1, field.type)) for field in QUARANTINE]
        return self._storable(pa.table(arrays, schema=QUARANTINE))

    def _storable(self, entries: pa.Table) -> pa.Table:
        """The entries without the forbidden characters: such a payload is kept in base64, other texts say them."""
        for character in self.forbidden:
            entries = _payloads_in_base64(entries, character)
            for name in _TEXTS:
                texts = entries[name]
                if pc.any(pc.match_substring(texts, character)).as_py():
                    said = pc.replace_substring(texts, character, f"\\x{ord(character):02x}")
                    entries = entries.set_column(entries.schema.get_field_index(name), QUARANTINE.field(name), said)
        return entries

    def _common(self, planned: PlannedInput, count: int) -> dict[str, pa.Array]:
        now = pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC"))
        return {
            "run": pa.repeat(self.claim.run, count),
            "load_id": pa.repeat(pa.scalar(self.claim.load_id, pa.int64()), count),
            "input_id": pa.repeat(pa.scalar(planned.id, pa.int64()), count),
            "stream": pa.repeat(self.stream, count),
            "input": pa.repeat(planned.name, count),
            "schema": pa.repeat(self.schema, count),
            "at": pa.repeat(now, count),
            "state": pa.repeat("open", count),
            "resolved_by": pa.nulls(count, pa.int64()),
        }


def _payloads_in_base64(entries: pa.Table, character: str) -> pa.Table:
    """The entries with those payloads that have the character in base64."""
    there = pc.match_substring(entries["payload"], character)
    if not pc.any(there).as_py():
        return entries
    rows = zip(*(entries[name].to_pylist() for name in ("payload", "payload_encoding")), there.to_pylist(), strict=True)
    new = [
        (base64.b64encode(payload.encode()).decode(), BASE64) if has_it and encoding == UTF8 else (payload, encoding)
        for payload, encoding, has_it in rows
    ]
    for name, values in zip(("payload", "payload_encoding"), zip(*new, strict=True), strict=True):
        place = entries.schema.get_field_index(name)
        entries = entries.set_column(place, QUARANTINE.field(name), pa.array(values, pa.string()))
    return entries


def locator(name: str, section: str, position: int, key: str | None) -> str:
    """Where a row stands, in words: after its input, its position or, where it has one, its key."""
    return f"{name}:{section}{position}" if key is None else f"{name} key {key}"


def _locators(name: str, section: str, lines: pa.ChunkedArray, keys: pa.Array) -> pa.ChunkedArray:
    """Where each row stands, in words: after its input, its position or, where it has one, its key."""
    placed = pc.binary_join_element_wise(f"{name}:{section}", lines.cast(pa.string()), "")
    if keys.null_count == len(keys):
        return placed
    return pc.coalesce(pc.binary_join_element_wise(name, keys, " key "), placed)


def _keys(bad: pa.Table, chunk: Chunk) -> pa.Array:
    """The keys of the bad rows, null where the stream has none."""
    if chunk.keys is None:
        return pa.nulls(bad.num_rows, pa.string())
    positions = chunk.lines_of(range(chunk.table.num_rows))
    by_position = dict(zip(positions, chunk.keys.to_pylist(), strict=True))
    return pa.array([by_position.get(position) for position in bad["line"].to_pylist()], pa.string())
