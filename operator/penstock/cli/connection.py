"""Which cluster a command speaks to: the options that kubectl has, and one client behind them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click
import yaml

from penstock.language.errors import InvalidSpec

if TYPE_CHECKING:  # the worker's image has no kubernetes
    from penstock.control.cluster.client import HttpCluster

P = ParamSpec("P")
R = TypeVar("R")
PATIENCE_SECONDS = 60.0
"""How long an API server may be silent to who waits for something. A restart takes seconds."""
Command = Callable[Concatenate["Target", P], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Target:
    """A cluster and a namespace in it; no namespace is the one that the kubeconfig's context names."""

    kubeconfig: Path | None = None
    context: str | None = None
    given: str | None = None

    @property
    def namespace(self) -> str:
        """The namespace to work in."""
        from penstock.control.cluster import client

        if self.given or client.in_cluster():
            return self.given or "default"
        return client.namespace_of(self.kubeconfig, self.context)

    def require(self) -> None:
        """Raise `InvalidSpec` if there is no kubeconfig where it should be, and this is no Pod either."""
        from penstock.control.cluster import client

        named = [str(self.kubeconfig)] if self.kubeconfig else os.environ.get("KUBECONFIG", "").split(os.pathsep)
        places = [Path(place) for place in named if place] or [Path.home() / ".kube" / "config"]
        there = [place for place in places if place.exists()]
        if not there and (self.kubeconfig or not client.in_cluster()):
            named = [str(place) for place in places]
            raise InvalidSpec(
                f"there is no kubeconfig at {', '.join(named)}. Set KUBECONFIG, or start a cluster: penstock up"
            )
        for place in there:
            try:
                readable = isinstance(yaml.safe_load(place.read_bytes()), dict)
            except yaml.YAMLError:
                readable = False
            if not readable:
                raise InvalidSpec(
                    f"{place} is not a kubeconfig. Set KUBECONFIG to one, or start a cluster: penstock up"
                )

    @asynccontextmanager
    async def open(self) -> AsyncIterator["HttpCluster"]:
        """A client. Raises `InvalidSpec` with the cluster's own words where it refuses or does not answer."""
        from penstock.control.cluster import client
        from penstock.control.cluster.port import ClusterError

        try:
            async with client.connect(self.kubeconfig, self.context) as cluster:
                yield cluster
        except ClusterError as error:
            # Status 0: it said nothing, and the message is our own.
            raise InvalidSpec(f"the API server answered: {error.message}" if error.status else error.message) from error


@dataclass
class Patience:
    """Bears with an API server that does not answer for a while, as one does that is being restarted."""

    meanwhile: str
    """What becomes of what we waited for, a sentence for who is told that we wait no longer."""
    clock: Callable[[], float] = time.monotonic
    _since: float | None = None

    @contextmanager
    def bears(self) -> Iterator[None]:
        """Pass over an API server that does not answer. Raises `InvalidSpec` after a minute without any answer."""
        from penstock.control.cluster.port import Unavailable

        try:
            yield
            self._since = None
        except (Unavailable, TimeoutError) as error:
            now = self.clock()
            self._since = now if self._since is None else self._since
            if now - self._since >= PATIENCE_SECONDS:
                cause = str(error).rstrip(".") or "the API server does not answer"
                raise InvalidSpec(f"{cause}, for {PATIENCE_SECONDS:.0f} s. {self.meanwhile}") from error


def command(run: Command[P]) -> Callable[P, None]:
    """Turn `async def run(target, …)` into a function that takes kubectl's options for where to go."""

    @click.option("-n", "--namespace", help="Default: the namespace of the kubeconfig's context.")
    @click.option("--context", help="A context of the kubeconfig. Default: its current one.")
    @click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: KUBECONFIG, or ~/.kube/config.")
    def connected(*args: P.args, **options: P.kwargs) -> None:
        from kubernetes.aio.config import ConfigException

        target = Target(*(options.pop(name) for name in ("kubeconfig", "context", "namespace")))  # type: ignore[arg-type]
        target.require()
        try:
            asyncio.run(run(target, *args, **options))
        except ConfigException as error:
            raise InvalidSpec(
                f"cannot connect to a cluster ({error}). Set KUBECONFIG, or start one: penstock up"
            ) from error

    return update_wrapper(connected, run)
