"""The table of schedules is what its generator prints."""

import re
import shutil
import subprocess

import pytest

from support import crontable


def _go() -> str:
    """The version of the Go toolchain; empty if there is none."""
    if shutil.which("go") is None:
        return ""
    return subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()


def test_the_head_of_the_table_names_all_versions() -> None:
    head = crontable.TABLE.read_text(encoding="utf-8").partition("\n")[0]
    assert re.fullmatch(
        r"# github\.com/robfig/cron/v3 v3\.\d+\.\d+, go1\.\d+\.\d+, tzdata 20\d\d[a-z], seed \d+", head
    ), head


def test_the_table_is_as_its_generator_prints_it() -> None:
    """Another Go carries other time zones, so only the version that wrote the table can confirm it."""
    head, _, _ = (table := crontable.TABLE.read_text(encoding="utf-8")).partition("\n")
    version = _go()
    if not version or f", {version}, " not in head:
        pytest.skip(f"Go is {version or 'not here'}; the table is of another: {head}")
    printed = subprocess.run(
        ["go", "run", "-mod=readonly", "."],
        cwd=crontable.MODULE,
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    assert printed.stdout == table
