"""The contract of every TableStore under a whole load: what it cannot hold makes rows bad, and nothing else fails."""

import json
from pathlib import Path

import pytest

from connectors.contract.adapters import STORES, StoreAdapter
from connectors.test_kills import loading
from penstock.worker.connectors import Connectors

every = pytest.mark.parametrize("adapter", STORES.values(), ids=STORES)
Adapter = type[StoreAdapter]


@every
def test_a_text_that_the_store_cannot_hold_makes_its_row_bad(adapter: Adapter, tmp_path: Path) -> None:
    """Where a store has no such characters, the row is loaded as it is."""
    forbidden = Connectors().store(adapter.system).traits.forbidden_characters
    with loading(adapter, tmp_path, 3) as rig:
        assert rig.source.streams == ("orders", "people")
        rig.source.add("orders", [{"id": "3", "word": "a\0b"}, {"id": "4", "word": "ä\x01"}, {"id": "5", "word": "c"}])
        rig.source.add("orders", [{"id": "six\0", "word": "\0"}])
        assert rig.work("r1") == 0
        words = {row["id"]: row["word"] for row in rig.rows()}
        bad = sorted(rig.rows(suffix="_quarantine"), key=lambda row: row["position"])
        assert (words[4], words[5]) == ("ä\x01", "c")
        assert len(words) + len(bad) == 7
        if "\0" not in forbidden:
            assert (words[3], len(bad)) == ("a\0b", 1)
            return
        assert 3 not in words
        first, second = bad
        assert (first["reason"], first["field"]) == ("ForbiddenCharacter", "word")
        assert first["message"] == "word: has the character U+0000, which the Destination cannot hold"
        assert json.loads(first["payload"]) == {"id": "3", "word": "a\0b"}
        assert second["reason"] == "WrongType"
        assert 'id: "six\\x00" is not a long' in second["message"]
