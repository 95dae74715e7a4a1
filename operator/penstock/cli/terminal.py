"""How output looks: colours on a terminal, plain and unbroken lines anywhere else.

Everything that a command prints goes through here, so that no cell, file name or message can steer the terminal.
"""

import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO, cast

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from penstock.language import visible

UNBROKEN = 10_000
"""Columns when nobody watches: a log's reader searches lines, and does not want them folded."""


def console(*, stderr: bool = False) -> Console:
    """A console for standard output, or standard error."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        # Data is shown too, and may hold what no encoding has, such as half of a surrogate pair: as \ud83d then.
        stream.reconfigure(errors="backslashreplace")
    width = None if stream.isatty() else UNBROKEN
    file = stream if stream.isatty() else cast(TextIO, _Trimmed(stream))
    return VisibleConsole(file=file, width=width, highlight=False, emoji=False, markup=False)


def echo(message: str, *, err: bool = False, end: str = "\n") -> None:
    """Print plain text, which may have several lines, and `end`."""
    click.echo(visible.text(message) + end, err=err, nl=False)


class VisibleConsole(Console):
    """A console that shows control characters in what it is given, and obeys only its own.

    Where text is laid out in columns, pass it through `visible.line` before: here its width is already decided.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable; the text of each is visible."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible.text(segment.text))


class _Trimmed(io.TextIOBase):
    """A stream without the spaces that tables put at the ends of lines; a log's reader has no use for them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write whole lines, as the console does."""
        self._stream.write(re.sub(r" +$", "", text, flags=re.MULTILINE))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()


def relative(path: Path) -> Path:
    """A path from the working directory where it lies beneath it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def short(path: Path) -> str:
    """A path as one would type it here."""
    return shlex.quote(str(relative(path)))


def export(kubeconfig: Path) -> str:
    """What to type so that kubectl and our commands go to the cluster of that kubeconfig."""
    return f"export KUBECONFIG={shlex.quote(str(kubeconfig))}"


def file_argument(path: Path) -> str:
    """A path as the value of kubectl's `-f`, which it reads as a line of CSV."""
    written = str(path)
    return '"' + written.replace('"', '""') + '"' if re.search('[",\n\r]', written) else written


def activation() -> str | None:
    """What to type so that `penstock` and its `kubectl` are found; None where a new shell finds them anyway."""
    script = Path(sys.prefix) / "bin" / "activate"
    return f"source {short(script)}" if sys.prefix != sys.base_prefix and script.exists() else None


def kubectl() -> str | None:
    """The kubectl of this environment, or else the one on PATH."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.exists() else shutil.which("kubectl")
