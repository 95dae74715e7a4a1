"""`penstock demo` and `penstock up` as a newcomer runs them: without a terminal, in a folder of their own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli import demo as tour

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
DEMO_SECONDS = 240
ODD = "a b, ü%20#'\"x"
"""A folder's name of all that is special in URLs, shells and CSV."""

pytestmark = pytest.mark.skipif("config.getoption('--cluster') != 'embedded'", reason="it brings its own cluster")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the screen of a tour that was given."""
    folder = tmp_path_factory.mktemp("tour") / ODD / "demo"
    given = subprocess.run(
        [PENSTOCK, "demo", "--folder", str(folder)],
        capture_output=True, text=True, timeout=DEMO_SECONDS, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert given.returncode == 0, given.stdout + given.stderr
    return folder, given.stdout


def test_the_tour_tells_its_story_and_ends_by_itself(played: tuple[Path, str]) -> None:
    _, screen = played
    assert "166,158 rows read = 166,141 loaded + 17 in quarantine" in screen
    assert '"2400" is above the maximum 2359' in screen
    assert re.search(r"^\$ kill -9 \d+", screen, flags=re.MULTILINE)
    assert "336,776 = 336,709 + 67. No row is lost, duplicated or changed." in screen
    assert 'back to "15 3 * * *"' in screen
    assert "Nothing keeps running." in screen


def test_the_tour_leaves_nothing_running(played: tuple[Path, str]) -> None:
    folder, _ = played
    assert list(_processes_of(folder)) == []


def test_up_goes_on_with_the_tour_s_cluster(played: tuple[Path, str]) -> None:
    folder, _ = played
    with _up(folder) as process:
        environment = {**os.environ, "KUBECONFIG": str(folder / "kubeconfig"), "COLUMNS": "120"}

        def penstock(*arguments: str) -> str:
            done = subprocess.run(
                [PENSTOCK, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "336,709 rows" in penstock("get")
        shown = penstock("preview", "flights", "--only", "bad", "--rows", "100")
        assert "flights: 67 rows in quarantine" in shown
        assert "336,709 rows" not in shown
        assert penstock("run", "flights", "--wait").endswith("succeeded: nothing new\n")
        assert penstock("logs", "flights").strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert list(_processes_of(folder)) == []


@pytest.mark.parametrize(
    ("name", "why"), [("a:b", 'has a ":", which separates paths in KUBECONFIG'), ("a\nb", "cannot be printed")]
)
def test_a_folder_that_kubeconfig_cannot_name_is_refused(name: str, why: str, tmp_path: Path) -> None:
    for command in ("up", "demo"):
        told = subprocess.run(
            [PENSTOCK, command, "--folder", str(tmp_path / name)],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert told.returncode == 1
        assert why in told.stderr
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    told = subprocess.run(
        [PENSTOCK, "demo", "--folder", str(tmp_path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert told.returncode == 1
    assert "contains files that are not of a demo" in told.stderr
    assert (tmp_path / "precious").exists()


def test_the_months_of_the_tour_are_the_year() -> None:
    assert [*tour.FIRST, *tour.SECOND] == list(range(1, 13))


@contextlib.contextmanager
def _up(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """`penstock up`, once it has said how to enter."""
    process = subprocess.Popen(
        [PENSTOCK, "up", "--folder", str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "export KUBECONFIG=" in line:
                break
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _processes_of(folder: Path) -> Iterator[str]:
    """Processes that carry the folder in their arguments or their environment."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(folder).encode() in (place / name).read_bytes() for name in ("cmdline", "environ")):
                yield place.name
