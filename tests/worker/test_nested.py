"""JSON documents and rows that lie deeper than the line: read, counted, placed, and refused where they are no JSON."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.connectors.files.formats import documents
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import UTF8
from worker.pods import APod, a_pod, field

Json = dict[str, Any]
ID, QTY = field("id", "long"), field("qty", "int")
PARENT = field("order", "string", from_="$.orders[*].id")
ORDERS = """{
  "exported": {"at": "2026-01-01", "by": ["a", {"b": "}]"}]},
  "orders": [
    {"id": "A-1", "lines": [{"id": 1, "qty": 2}, {"id": 2, "qty": "x"}], "note": "after"},
    {"id": "A-2", "lines": []},
    {"id": "A-3"},
    {"id": "A-4", "lines": [{"id": 3, "qty": 1e0}, 7, null], "extra": {"lines": [1]}},
    {"id": "A-5", "lines": {"id": 4}}
  ],
  "count": 5
}
"""


def document(records: str | None = None) -> Json:
    return {"json": {"lines": False, **({"records": records} if records else {})}}


def load(pod: APod, content: str | bytes, name: str = "a.json") -> None:
    (pod.data / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    pod.work()


def test_rows_are_the_elements_of_a_list_by_path_with_the_fields_around_them(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, QTY, PARENT, form=document("$.orders[*].lines[*]"))
    load(pod, ORDERS)
    assert pod.rows() == [{"id": 1, "qty": 2, "order": "A-1"}, {"id": 3, "qty": 1, "order": "A-4"}]
    assert [(bad["position"], bad["reason"], bad["payload"], bad["complete"]) for bad in pod.bad()] == [
        (1, "WrongType", '{"id": 2, "qty": "x"}', False),
        (3, "NoRecords", '{"id": "A-3"}', True),
        (4, "NotAnObject", "7", True),
        (4, "NotAnObject", "null", True),
        (5, "NoRecords", '{"id": "A-5", "lines": {"id": 4}}', True),
    ]
    counts = pod.report().datasets[0].counts
    assert (counts.read, counts.loaded, counts.quarantined) == (7, 2, 5)


def test_a_document_is_an_array_of_objects_without_a_path(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, QTY, form=document())
    load(pod, ' [ {"id": 1,\n "qty": 2} ,\n{"id":2,"qty":3,}, {"id": NaN}, "text", {"id": 3}]\n')
    assert [row["id"] for row in pod.rows()] == [1, 3]
    assert [(bad["position"], bad["message"]) for bad in pod.bad()] == [
        (2, "the element is not JSON: a comma stands before }"),
        (3, "the element is not JSON: NaN is not a number in JSON"),
        (4, "the element is JSON, and not an object"),
    ]


def test_json_lines_may_hold_lists_of_rows_too(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, field("of", "string", from_="$.user"), form={"json": {"records": "$.rows[*]"}})
    load(
        pod, '{"user": "a", "rows": [{"id": 1}, {"id": 2}]}\n{"user": "b", "rows": []}\n{"user": "c", "rows": {}}\nx\n'
    )
    assert pod.rows() == [{"id": 1, "of": "a"}, {"id": 2, "of": "a"}]
    assert [(bad["position"], bad["reason"]) for bad in pod.bad()] == [(3, "NoRecords"), (4, "NotJson")]


def test_lists_in_lists_have_the_fields_of_all_that_is_around_them(tmp_path: Path) -> None:
    fields = [
        field("x", "int"),
        field("b", "string", from_="$.a[*].b[*].name"),
        field("a", "string", from_="$.a[*].name"),
        field("tags", "string", from_="$.a[*].tags"),
        field("own", "string", from_="deep"),
    ]
    pod = a_pod(tmp_path, *fields, form=document("$.a[*].b[*].c[*]"))
    load(
        pod,
        '{"a": [{"name": "A", "tags": [1.10, {"t": "é"}], "b": [{"name": "B1", "c": [{"x": 1, "deep": {"y": [1.0]}}, '
        '{"x": 2, "deep": null}]}, {"name": "B2"}, {"name": "B3", "c": [{"x": 3}]}]}]}',
    )
    tags = '[1.10, {"t": "é"}]'
    assert pod.rows() == [
        {"x": 1, "b": "B1", "a": "A", "tags": tags, "own": '{"y": [1.0]}'},
        {"x": 2, "b": "B1", "a": "A", "tags": tags, "own": None},
        {"x": 3, "b": "B3", "a": "A", "tags": tags, "own": None},
    ]
    [bad] = pod.bad()
    assert (bad["reason"], bad["message"]) == ("NoRecords", "c is not there")


@pytest.mark.parametrize("content", ["[]", '{"orders": []}', " [ ] \n", ""])
def test_a_document_without_elements_has_no_rows(content: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, form=document("$.orders[*]" if "orders" in content else None))
    load(pod, content)
    assert (pod.code, pod.report().datasets[0].counts.read) == (0, 0)


REFUSED = [
    ('{"orders": [{"id": 1}', "line 1: a comma or ] is missing after an element"),
    ('{"orders": [{"id": 1', "ends in the middle of a value"),
    ('{"orders": [{"id": 1},]}', "a comma stands before ]"),
    ('{"orders": [{"id": 1} {"id": 2}]}', "a comma or ] is missing"),
    ('{"orders": [{"id": 1}],}', "a comma stands before }"),
    ('{"orders": [{"id": 1}]} x', "text follows the end of the document"),
    ('{"orders": [{"id": 1}]}\n{"orders": []}', "text follows the end of the document"),
    ('{"orders": [{"id": 1}], "orders": []}', '"orders" occurs more than once'),
    ('{"orders": [{"id": 1}], "n": NaN}', "NaN is not a number"),
    ('{"orders": [{"id": 1}], "n": [01]}', "is not JSON"),
    ('{"n": , "orders": []}', "a value is missing"),
    ('{"order": []}', 'has no "orders"'),
    ("{}", 'has no "orders"'),
    ('{"orders": {}}', '"orders" is an object, not a list'),
    ('{"orders": null}', '"orders" is a single value, not a list'),
    ("[]", "the document is a list, not an object"),
    ("{orders: []}", "a name in quotes is missing"),
    ('\n\n{"orders" []}', "line 3: a colon is missing"),
    ("7", "the document is a single value, not an object"),
]


@pytest.mark.parametrize(("content", "words"), REFUSED)
def test_a_document_that_is_broken_around_its_elements_is_refused_as_a_whole(
    content: str, words: str, tmp_path: Path
) -> None:
    pod = a_pod(tmp_path, ID, form=document("$.orders[*]"))
    load(pod, '{"orders": [{"id": 9}]}', "good.json")
    pod.data.joinpath("bad.json").write_text(content, encoding="utf-8")
    pod.work("r2")
    assert [row["id"] for row in pod.rows()] == [9]
    [bad] = pod.bad()
    assert (bad["stage"], bad["input"].rpartition("/")[2]) == ("input", "bad.json")
    assert words in bad["message"]


def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, field("at", "string", from_="$.exported.at"), form=document("$.orders[*]"))
    load(pod, '{"orders": [{"id": 9}]}')
    assert "$.exported.at does not lead to a field of $.orders[*] or of what is around it" in str(pod.report().message)


@pytest.mark.parametrize("fault", ["[1", "[{]", '{"a": "', "[1,\x00]"])
def test_random_documents_are_read_as_python_reads_them(fault: str) -> None:
    """Whatever the pieces of the file are, the elements are those that Python's own parser finds."""
    chance = random.Random(fault)
    for _ in range(300):
        elements = [_anything(chance, 4) for _ in range(chance.randrange(5))]
        before, after = _anything(chance, 3), _anything(chance, 3)
        text = json.dumps(
            {"x": before, "a": {"y": after, "b": elements}, "z": after},
            indent=chance.choice([None, 1]),
            ensure_ascii=chance.random() < 0.5,
        ).encode()
        found = [*_cut(text, chance)]
        assert [json.loads(element) for element in found] == elements
        assert b"".join(found) in text or len(found) != 1
        broken = text[: chance.randrange(1, len(text))]
        with pytest.raises(InvalidSpec):
            [*_cut(broken, chance)]


def _cut(text: bytes, chance: random.Random) -> Iterator[bytes]:
    size = chance.randrange(1, 40)
    pieces = iter([text[at : at + size] for at in range(0, len(text), size)])
    for block in documents.blocks(pieces, ("a", "b", None), 1 << 20, "a.json"):
        assert block.read == len(block.spans)
        yield from (block.written(index) for index in range(block.records))


def _anything(chance: random.Random, deep: int) -> Any:
    kind = chance.randrange(7 if deep else 5)
    if kind == 5:
        return [_anything(chance, deep - 1) for _ in range(chance.randrange(4))]
    if kind == 6:
        return {_text(chance): _anything(chance, deep - 1) for _ in range(chance.randrange(4))}
    return [None, True, chance.random(), chance.randrange(99), _text(chance)][kind]


def _text(chance: random.Random) -> str:
    return "".join(chance.choice('ab"\\[]{},:é\n\u2028😀') for _ in range(chance.randrange(6)))


def test_elements_beyond_the_longest_row_are_set_aside_in_constant_memory() -> None:
    """Also lists in lists deeper than the quick expression looks, and texts whose escapes are cut between pieces."""
    long = b'{"id": 1, "text": "' + b'\\"x' * 400_000 + b'"}'
    deep = b'{"id": 2, "deep": ' + b"[" * 150 + b"]" * 150 + b"}"
    text = b"[" + long + b"," + deep + b"," + b'["' + b"y" * (1 << 20) + b'"]' + b', {"id": 3}]'
    pieces = iter([text[at : at + 997] for at in range(0, len(text), 997)])
    blocks = [*documents.blocks(pieces, (None,), 1 << 20, "a.json")]
    assert [block.written(index) for block in blocks for index in range(block.records)] == [deep, b'{"id": 3}']
    assert [number for block in blocks for number in block.numbers] == [2, 4]
    broken = [row for block in blocks for row in block.broken.table().to_pylist()]
    assert [(row["line"], row["reason"], row["payload_encoding"]) for row in broken] == [
        (1, "RowTooLong", UTF8),
        (3, "RowTooLong", UTF8),
    ]
