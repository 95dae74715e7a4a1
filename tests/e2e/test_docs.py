"""What the documentation shows is typed here, in its order, and what it prints is what the page says.

Blocks marked `sh` are run, in one shell a page; a block marked `text` is what the `sh` block before it prints. In it,
`…` stands for anything, and runs of spaces for one another. Blocks marked `bash` are shown and not run: they start
something that stays, or need a cluster and a registry.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clusters import ROOT

PAGES = ["docs/tutorial.md", "docs/first-pipeline.md", "docs/operating.md", "examples/01-quickstart/README.md"]
"""In this order: each goes on with the cluster of the one before."""

_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_MARK = "@@@ next block"

pytestmark = pytest.mark.skipif("config.getoption('--cluster') != 'embedded'", reason="it brings its own cluster")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a clone, with `penstock up` running in it."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "examples").symlink_to(ROOT / "examples")
    process = subprocess.Popen(
        ["penstock", "up"],
        cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert any("export KUBECONFIG=" in line for line in process.stdout)
        yield folder
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_is_what_happens(page: str, place: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    steps = list(_steps(text))
    assert steps
    # `set -e` in the script, not as an option: a block that fails ends it, and its output is the last.
    script = "set -e\n" + f"echo '{_MARK}'\n".join(commands for commands, _ in steps)
    done = subprocess.run(
        ["bash"], input=script, cwd=place, env=_environment() | {"KUBECONFIG": f"{place}/.penstock/up/kubeconfig"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False,
    )  # fmt: skip
    printed = done.stdout.split(f"{_MARK}\n")
    assert done.returncode == 0, f"{steps[len(printed) - 1][0]}\n{printed[-1]}"
    for (commands, told), output in zip(steps, printed, strict=True):
        assert told is None or _pattern(told).fullmatch(_even(output)), f"{commands}\nprinted:\n{output}\nnot:\n{told}"


def _steps(text: str) -> Iterator[tuple[str, str | None]]:
    """Each block to run, with what it prints where the page tells it."""
    commands: str | None = None
    for kind, body in _BLOCK.findall(text):
        if kind == "sh":
            if commands is not None:
                yield commands, None
            commands = body
        elif commands is not None:
            yield commands, body
            commands = None
    if commands is not None:
        yield commands, None


def _pattern(told: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _even(told).split("…")), flags=re.DOTALL)


_CANCELED = re.compile(r"[IWE]\d{4} .*reflector\.go.*context canceled")
"""What kubectl's library may log when `kubectl wait` has seen its condition and ends its own watch."""


def _even(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not _CANCELED.match(line)]
    return "\n".join(" ".join(line.split()) for line in lines)


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100"}
