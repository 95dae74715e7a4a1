"""What the language says of the engine's notations is what the engine does."""

import string

import duckdb
import pytest

from penstock.language import literals


@pytest.mark.parametrize("dash", ["", "-"])
def test_the_directives_of_formats_are_those_of_the_engine(dash: str) -> None:
    known = set()
    for letter in string.ascii_letters + string.digits + "%":
        try:
            duckdb.execute("SELECT try_strptime('x', [?])", [f"%{dash}{letter}"]).fetchall()
        except duckdb.InvalidInputException:
            continue
        known.add(f"%{dash}{letter}")
    ours = {found for found in literals.DIRECTIVES if (found[1] == "-") == bool(dash)}
    assert known == ours


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%d.%m.%y", "%-d %B %Y", "%%%Y", "%H:%M:%S.%f"])
def test_formats_that_can_be_read_are_accepted(written: str) -> None:
    literals.check_format(written)
