"""The contract as a table, system x test, made of the tests that pytest collects.

python -m connectors.contract.table [FILE] writes it into the page, or prints it.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest

from connectors.contract.adapters import SOURCES, STORES, TARGETS, Adapter

_FOLDER = Path(__file__).parents[1]
_MODULES = (
    "test_sources.py",
    "test_cursors.py",
    "test_stores.py",
    "test_store_upserts.py",
    "test_targets.py",
    "test_kills.py",
)
_PORTS: Mapping[str, Mapping[str, type[Adapter]]] = {"Sources": SOURCES, "Table stores": STORES, "Targets": TARGETS}
_HEAD = """# What each system is tested for

Made by `make contract-table` from the tests in `tests/connectors`; do not change it by hand. Each test runs against the
system's real server, or an emulator that others maintain: PostgreSQL, MariaDB, versitygw for S3, fake-gcs-server,
azurite, OpenSSH. The number says how many cases a test has for a system; a dash, that it does not apply: a file has
no connection to be cut, and no password. `read-once`, `change-stream` and `push-spool` exist in tests alone, to show
that the ports can carry such systems.
"""


@dataclass
class _Collected:
    """How many cases there are of each test and adapter."""

    cases: Counter[tuple[str, type[Adapter]]] = field(default_factory=Counter)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the cases that have an adapter."""
        for item in session.items:
            adapter = getattr(item, "callspec", None) and item.callspec.params.get("adapter")  # type: ignore[attr-defined]
            if adapter is not None:
                name = str(getattr(item, "originalname", item.name))
                self.cases[name.removeprefix("test_").replace("_", " "), adapter] += 1


def page() -> str:
    """The page in Markdown. Raises RuntimeError where the tests cannot be collected."""
    collected = _Collected()
    with redirect_stdout(StringIO()) as said:
        code = pytest.main(["--collect-only", "-q", *(str(_FOLDER / name) for name in _MODULES)], plugins=[collected])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"the tests of the contract cannot be collected: {said.getvalue()}")
    return "\n".join([_HEAD, *_tables(collected.cases)]) + "\n"


def _tables(cases: Counter[tuple[str, type[Adapter]]]) -> Iterator[str]:
    for port, adapters in _PORTS.items():
        there = {*adapters.values()}
        tests = [*dict.fromkeys(test for test, adapter in cases if adapter in there)]
        yield f"## {port}\n"
        yield f"| Test | {' | '.join(adapters)} |"
        yield f"|---|{'---|' * len(adapters)}"
        for test in tests:
            yield f"| {test} | {' | '.join(str(cases[test, each] or '–') for each in adapters.values())} |"
        yield ""


if __name__ == "__main__":
    written = page()
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(written, encoding="utf-8")
    else:
        print(written)
