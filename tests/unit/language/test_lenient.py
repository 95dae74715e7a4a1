"""Reading what another version wrote: what is unknown is left out, and nothing else."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from penstock.language import lenient
from penstock.language.model import Model


class Entry(Model):
    """One of a list."""

    name: str
    word: Annotated[str, Field(max_length=8)] = ""
    count: int | None = None


class Whole(Model):
    """A small status."""

    first_entry: Entry | None = None
    entries: Annotated[list[Entry], Field(max_length=2)] = []
    text: str = "default"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"text": "a", "newMember": {"x": [1]}}, Whole(text="a")),
        ({"firstEntry": {"name": "a", "new": 1, "count": 3}}, Whole(first_entry=Entry(name="a", count=3))),
        ({"firstEntry": {"word": "without its name"}, "text": "a"}, Whole(text="a")),
        ({"entries": [{"word": "x"}, {"name": "b"}]}, Whole(entries=[Entry(name="b")])),
        ({"entries": [{"name": name} for name in "abcd"]}, Whole(entries=[Entry(name="a"), Entry(name="b")])),
        ({"entries": [{"name": "a", "word": "longer than eight"}]}, Whole(entries=[Entry(name="a", word="longer t")])),
        ({"entries": [None, {"name": "a", "count": "many"}]}, Whole(entries=[Entry(name="a")])),
        ({"entries": "not a list", "text": 5}, Whole()),
        ({"entries": None, "firstEntry": [], "text": "a"}, Whole(text="a")),
    ],
)
def test_what_is_not_known_is_left_out_and_all_else_is_kept(written: Any, read: Whole) -> None:
    before = repr(written)
    assert lenient.read(Whole, written) == read
    assert repr(written) == before, "what was read is not changed"


@pytest.mark.parametrize("written", [None, [], "text", 7])
def test_what_is_no_object_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="1 validation error for Whole"):
        lenient.read(Whole, written)


@pytest.mark.parametrize("written", [{}, {"name": {"an": "object"}}])
def test_an_object_without_what_it_must_have_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="1 validation error for Entry"):
        lenient.read(Entry, written)
