"""YAML as kubectl reads it; every value here was read by a real kubectl 1.35 first."""

import itertools
from typing import Any

import pytest

from penstock.api import documents
from penstock.api.documents import Document, Unreadable


def _read(text: str) -> Any:
    (document,) = documents.read(text, "a.yaml")
    assert isinstance(document, Document), document
    return document.value


def _refused(text: str) -> Unreadable:
    (document,) = documents.read(text, "a.yaml")
    assert isinstance(document, Unreadable)
    return document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-01", "2020-01-01"),
        ("12:30:00", "12:30:00"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("2020-01-01 00:00:00", "2020-01-01 00:00:00"),
        ("1e3", 1000),
        ("1.5e3", 1500),
        ("1.0", 1),
        (".5", 0.5),
        ("5.", 5),
        ("+5", 5),
        ("-0", 0),
        ("1_000", 1000),
        ("017", 15),
        ("0o17", 15),
        ("0o8", "0o8"),
        ("08", 8),
        ("0x1F", 31),
        ("0x", "0x"),
        ("0b11", 3),
        ("1e400", "1e400"),
        ("y", True),
        ("No", False),
        ("on", True),
        ("OFF", False),
        ("yES", "yES"),
        ("~", None),
        ("null", None),
        ("", None),
        ('"5"', "5"),
        ("'yes'", "yes"),
        ("!!str 5", "5"),
        ('!!int "5"', 5),
        ("!!binary aGVsbG8=", "hello"),
        ("=", "="),
    ],
)
def test_a_word_means_what_it_means_to_kubectl(text: str, value: object) -> None:
    read = _read(f"v: {text}\n")["v"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("key", "name"), [("1", "1"), ("yes", "true"), ("1.5", "1.5"), ("2020-01-01", "2020-01-01")])
def test_keys_are_strings(key: str, name: str) -> None:
    assert _read(f"{key}: v\n") == {name: "v"}


def test_anchors_and_merges() -> None:
    assert _read("a: &x {k: 1, z: 1}\nb: {<<: *x, z: 2}\nc: *x\n")["b"] == {"k": 1, "z": 2}


def test_documents_are_told_apart_and_empty_ones_are_none() -> None:
    text = "---\n# nothing\n---\na: 1\n--- # a comment\n{b: 2}\n"
    assert [document.value for document in documents.read(text, "f") if isinstance(document, Document)] == [
        {"a": 1},
        {"b": 2},
    ]


def test_every_node_has_its_place() -> None:
    (document,) = documents.read("---\na: 1\nb:\n  - c: 1\n    d: [x, y]\n", "dir/f.yaml")
    assert isinstance(document, Document)
    assert str(document.at(("b", 0, "d"))) == "dir/f.yaml:5"
    assert document.at(("b", 0, "d", 1)).column == 12
    assert document.at(("b", 0, "nothing", "there")).line == 4


def test_a_broken_document_does_not_hide_the_next() -> None:
    broken, good = documents.read("a: 1\n  b: 2\n---\nc: 3\n", "f")
    assert isinstance(broken, Unreadable)
    assert (broken.position.line, broken.message) == (2, "is not YAML: mapping values are not allowed here")
    assert isinstance(good, Document)


def test_a_key_that_stands_twice_is_refused_though_kubectl_takes_the_last() -> None:
    refused = _refused("a: 1\nb: 2\na: 3\n")
    assert str(refused) == 'a.yaml:3: the key "a" occurs twice; remove one of the two'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: .nan", ".nan has no JSON form"),
        ("a: -.inf", "-.inf has no JSON form"),
        ("{[a]: b}", "a key must be a string"),
        ("{null: b}", "a key must be a string"),
        ("a: *b", "undefined alias"),
        ("a:\n\tb: 1", "tab"),
        ("a: !!binary '%%%'", "base64"),
        ("<<: 1", "<< takes in a mapping"),
        ("a: \x07", "is not YAML"),
    ],
)
def test_what_kubectl_would_refuse_is_refused(text: str, message: str) -> None:
    assert message in _refused(text).message


# ── what is refused, in bounded time and memory ──
_BILLION = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghij")
)
_MERGES = "a: &a {x: 1}\n" + "".join(
    f"b{number}: &{'a' * (number + 2)} {{<<: [*{'a' * (number + 1)}, *{'a' * (number + 1)}], k{number}: 1}}\n"
    for number in range(30)
)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (_BILLION, None, "values with its aliases"),
        (_MERGES, None, "values with its aliases"),
        ("a: 1\nb: &b\n  c: *b\n", 2, "stands inside of what it names"),
        ("a: &a [*a]", 1, "stands inside of what it names"),
        ("a: &a {<<: *a}", 1, "stands inside of what it names"),
        ("a: " + "[" * 5_000, 1, "lie too deep"),
        ("a: " + "{b: " * 5_000, 1, "lie too deep"),
        ("".join(" " * depth + "a:\n" for depth in range(200)), 64, "lie too deep"),
        ("a: 1\nb: 2\na: 3\n", 3, 'the key "a" occurs twice'),
        ("a: !custom 5", 1, "the tag !custom is not supported; remove it"),
        ("a: !!python/object:os.system {}", 1, "is not supported; remove it"),
        ("a: !!set {b}", 1, "the tag !!set is not supported"),
        ('a: "\\ud800"', 1, "half a character"),
        ('a: "\\UFFFFFFFF"', 1, "does not exist"),
        ("a: \x00", 1, "is not YAML"),
        ("a: " + "x" * (documents.LARGEST + 1), 1, "has more than 1,000,000 characters"),
        ("a: [" + "1, " * 110_000 + "1]", 1, "more than 50,000 values"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_refused_names_its_line_and_a_remedy(text: str, line: int | None, message: str) -> None:
    (found,) = documents.read(text, "a.yaml")
    assert isinstance(found, Unreadable)
    assert message in found.message
    assert line is None or found.position.line == line


def test_a_file_of_very_many_documents_ends() -> None:
    found = list(documents.read("---\na: 1\n" * (documents.DOCUMENTS + 100), "a.yaml"))
    assert isinstance(found[-1], Unreadable)
    assert "divide it into several files" in found[-1].message
    assert len(found) == documents.DOCUMENTS


def test_a_file_that_is_too_large_is_not_read() -> None:
    (found,) = documents.read("a: 1\n---\n" * 2_000_000, "a.yaml")
    assert isinstance(found, Unreadable)


def test_two_halves_of_a_character_are_one() -> None:
    assert _read('{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "text", ["9" * 4_300, "9" * 100_000, "0x" + "f" * 5_000, "-" + "1" * 400, "0" + "7" * 400, "1" * 309 + "e9"]
)
def test_a_number_that_is_too_large_is_text(text: str) -> None:
    assert _read(f"a: {text}") == {"a": text}


def test_an_alias_is_what_it_names() -> None:
    assert _read("a: &x {k: [1]}\nb: *x\nc: {<<: *x, m: 2}") == {
        "a": {"k": [1]},
        "b": {"k": [1]},
        "c": {"k": [1], "m": 2},
    }
