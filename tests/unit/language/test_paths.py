"""Paths into nested data: what is one, what is none, and how they are written."""

import pytest

from penstock.language import paths
from penstock.language.paths import Path


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("$.orders[*].lines[*]", Path("$", ("orders", None, "lines", None))),
        ("$[*]", Path("$", (None,))),
        ('$["a.b"][0].c d', Path("$", ("a.b", 0, "c d"))),
        ("@.user.geo", Path("@", ("user", "geo"))),
        ("@timestamp", None),
        ("$", None),
        ("$.", None),
        ("$.a..b", None),
        ("$.a[-1]", None),
        ("$.a[1:2]", None),
        ('$["\\x"]', None),
        ("a.b", None),
        ("", None),
    ],
)
def test_a_path_from_a_root_is_read(written: str, path: Path | None) -> None:
    assert paths.parse(written) == path
    if path is not None:
        assert paths.parse(str(path)) == path


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("user.geo.country", ("user", "geo", "country")),
        ("items[0].id", ("items", 0, "id")),
        ("items[0]", ("items", 0)),
        ("K 0.x-1", ("K 0", "x-1")),
        ("user", None),
        ("K 0", None),
        ("a.", None),
        (".a", None),
        ("a[*].b", None),
        ("a[b]", None),
        ("f(a.b)", None),
    ],
)
def test_a_path_of_the_row_has_no_root(written: str, steps: tuple[paths.Step, ...] | None) -> None:
    path = paths.of_row(written)
    assert (path and path.steps) == steps
    assert path is None or path.shown == written


@pytest.mark.parametrize("written", ["$", "$.a", "$.a[0][*]", "a[*]", "$.a[*].b", "@[*]", "$.a[*] "])
def test_a_path_of_records_ends_in_every_element(written: str) -> None:
    with pytest.raises(ValueError, match="is not a path of records"):
        paths.records(written)
