"""Proposed manifests are valid whatever the streams are called, and the sample shows what types of texts hide."""

from typing import Any

import pytest

from penstock.api import manifests, validation
from penstock.cli import proposal
from penstock.cli.proposal import Names
from penstock.runs.report import CatalogField, CatalogStream, Preview

NAMES = Names("shop", "lake", "shop")


def _stream(*fields: tuple[str, str], name: str = "shop") -> CatalogStream:
    return CatalogStream(name=name, fields=[CatalogField(name=field, type=kind) for field, kind in fields])


def _fields(kind: str, *values: str | None) -> tuple[dict[str, Any], str]:
    """What is proposed for one column of these values."""
    sample = Preview(columns=["x"], rows=[[value] for value in values])
    (entry,) = proposal.fields(_stream(("x", kind)), sample)
    return {name: member for name, member in entry.members.items() if name != "name"}, entry.remark


@pytest.mark.parametrize(
    ("kind", "values", "members", "remark"),
    [
        ("long", ["1", "20"], {"type": "long"}, ""),
        ("long", ["01067", "80331"], {"type": "string"}, "leading zeros"),
        ("long", ["0", "10"], {"type": "long"}, ""),
        ("string", ["a", None], {"type": "string"}, ""),
        ("string", [None, None], {"type": "string"}, "no value"),
        ("string", ["NA", "N/A"], {"type": "string", "nullValues": ["", "N/A", "NA"]}, "no other value"),
        ("string", ["3", "NA"], {"type": "long", "nullValues": ["", "NA"]}, "2 values"),
        ("string", ["3.5", "-"], {"type": "double", "nullValues": ["", "-"]}, "2 values"),
        ("string", ["007", "NA"], {"type": "string"}, ""),
        ("string", ["1.234,50", "7,99"], {"type": "string"}, "decimal comma"),
        ("string", ["31.01.2024"], {"type": "date", "formats": ["%d.%m.%Y"]}, "1 value of"),
        ("string", ["31/01/2024", "01/02/2024"], {"type": "date", "formats": ["%d/%m/%Y"]}, "2 values"),
        ("string", ["01/02/2024"], {"type": "string"}, "%d/%m/%Y and %m/%d/%Y"),
        ("string", ["1.1.2024"], {"type": "string"}, ""),
        ("string", ["31.02.2024"], {"type": "string"}, ""),
        ("string", ["31.01.2024 10:20"], {"type": "timestamp", "formats": ["%d.%m.%Y %H:%M"]}, "1 value of"),
        ("jsonb", ["{}"], {"type": "string"}, "jsonb in the source"),
        ("decimal(10,2)", ["1.50"], {"type": "decimal(10,2)"}, ""),
    ],
)
def test_the_sample_shows_what_a_type_hides(
    kind: str, values: list[str | None], members: dict[str, Any], remark: str
) -> None:
    proposed, said = _fields(kind, *values)
    assert proposed == members
    assert remark in said
    assert bool(said) == bool(remark)


def test_without_a_sample_the_types_of_the_inspection_stand() -> None:
    entries = proposal.fields(_stream(("a", "long"), ("b", "date")), None)
    assert [entry.members["type"] for entry in entries] == ["long", "date"]


HOSTILE = [
    "id", "ID", "Kunde E-Mail", "kunde_e_mail", "a.b", 'a"b', "", " ", "2013", "yes", "null", "x: y", "#c", "- d",
    "{e}", "\u202eabc", "\x1b[31m", "Größe", "名前", "_penstock_input_id", "a" * 300, "from", "now()", "$.a", "~",
]  # fmt: skip
"""Names of columns that are no names of fields, or mean something else in YAML, SQL or a terminal."""


def test_whatever_columns_are_called_the_manifests_are_valid_and_name_each_column_once() -> None:
    stream = _stream(*((name, "string") for name in HOSTILE))
    written = proposal.manifests([stream], NAMES, "incremental", None)
    dataset, _ = (entry.object for entry in _valid(written))
    fields = dataset["spec"]["schema"]["fields"]
    assert len(fields) == len(HOSTILE)
    assert "\x1b" not in written
    plain = [field for field in fields if "from" not in field]
    assert [field["name"] for field in plain] == ["id", "yes", "null", "from"]
    assert fields[2] == {"name": "kunde_e_mail", "type": "string", "from": '"Kunde E-Mail"'}
    assert fields[3] == {"name": "kunde_e_mail_2", "type": "string", "from": "kunde_e_mail"}
    assert fields[5]["from"] == '"a""b"'


def test_each_stream_becomes_a_dataset_with_a_name_of_its_own() -> None:
    streams = [
        _stream(("a", "int"), name=name) for name in ("public.Order_Items", "public.order-items", "..", "_2013", "名")
    ]
    written = _valid(proposal.manifests(streams, NAMES, "full", None))
    *datasets, pipeline = (entry.object for entry in written)
    names = [dataset["metadata"]["name"] for dataset in datasets]
    assert names == ["public-order-items", "public-order-items-2", "table-3", "2013", "table-5"]
    assert {dataset["spec"]["writeMode"] for dataset in datasets} == {"replace"}
    assert len({dataset["spec"]["table"] for dataset in datasets}) == len(datasets)
    entries = pipeline["spec"]["datasets"]
    assert [(entry["stream"], entry["datasetRef"]["name"]) for entry in entries] == [
        (stream.name, name) for stream, name in zip(streams, names, strict=True)
    ]


def test_a_column_that_looks_like_a_key_is_proposed_in_a_comment() -> None:
    stream = _stream(("amount", "long"), ("order_id", "long"))
    unique = Preview(columns=["amount", "order_id"], rows=[["1", "1"], ["1", "2"]])
    assert "# primaryKey: [order_id]" in proposal.manifests([stream], NAMES, "incremental", unique)
    twice = Preview(columns=["amount", "order_id"], rows=[["1", "1"], ["2", "1"]])
    assert "primaryKey" not in proposal.manifests([stream], NAMES, "incremental", twice)


def _valid(written: str) -> list[manifests.Manifest]:
    """The manifests, which have no error."""
    entries = [*manifests.loads(written, "proposal.yaml")]
    verdict = validation.validate(entries)
    assert [complaint for complaint in verdict.complaints if complaint.severity == "error"] == []
    return [entry for entry in entries if isinstance(entry, manifests.Manifest)]
