"""`penstock infer`: a first version of the manifests that load a Source, from what its inspection found."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from penstock.api import findings, objects
from penstock.api.objects import Key
from penstock.cli import arguments, connection, preview, proposal, terminal
from penstock.cli.connection import Target
from penstock.connectors import registry
from penstock.language.errors import InvalidSpec
from penstock.runs.report import Catalog, CatalogStream, Preview

if TYPE_CHECKING:
    from penstock.control.cluster.client import HttpCluster

_MOST_STREAMS = 16
"""As many Datasets as one Pipeline can load."""
_SAMPLE_ROWS = 100
_SAMPLE_SECONDS = 120

_EXAMPLES = """Examples:

\b
  penstock infer source/flights > flights.yaml
  penstock infer shop --stream public.orders --destination lake
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="[source/]NAME")
@click.option(
    "--stream",
    "streams",
    multiple=True,
    help="Only this stream; repeat for more. Default: all, at most 16.",
)
@click.option(
    "--destination",
    help="The Destination of the tables. Default: the only one in the namespace that holds tables.",
)
@connection.command
async def infer(target: Target, words: tuple[str, ...], streams: tuple[str, ...], destination: str | None) -> None:
    """Print a Dataset for each stream of a Source, and a Pipeline that loads them, as YAML to edit and apply.

    The fields and types are those that the inspection of the Source found. Of a Source of text files, a Job reads 100
    rows, which show date formats and words for missing values. What is not certain is in comments. Nothing is applied.
    """
    async with target.open() as cluster:
        source = await arguments.find(cluster, target.namespace, words, (("Source",),))
        key = objects.key_of(source)
        wanted = _wanted(await _catalog(cluster, source), streams)
        names = proposal.Names(key.name, destination or await _only_destination(cluster, key.namespace), key.name)
        traits = registry.SOURCES[next(iter(source["spec"]["connector"]))].traits
        sync = "incremental" if "incremental" in traits.sync and traits.streams == "one" else "full"
        sample = await _sample(cluster, key) if traits.streams == "one" else None
    terminal.echo(proposal.manifests(wanted, names, sync, sample), end="")


async def _catalog(cluster: "HttpCluster", source: dict[str, Any]) -> list[CatalogStream]:
    """The streams that the inspection found. Raises `InvalidSpec` where there are none yet."""
    from penstock.control.cluster.port import Ref

    key = objects.key_of(source)
    name = (source.get("status") or {}).get("catalog")
    if not name:
        raise InvalidSpec(
            f"{key} has not been inspected yet. See what it waits for: kubectl describe source {key.name}"
        )
    config_map = await cluster.get(Ref("ConfigMap", key.namespace, name))
    return Catalog.model_validate_json(config_map["data"]["catalog.json"]).streams


def _wanted(streams: Sequence[CatalogStream], names: Sequence[str]) -> Sequence[CatalogStream]:
    """The streams of these names, or all. Raises `InvalidSpec` for a name that is not there, and for too many."""
    by_name = {stream.name: stream for stream in streams}
    for name in names:
        if name not in by_name:
            raise InvalidSpec(f'there is no stream "{name}"; {findings.suggestion(name, by_name)}')
    wanted = [by_name[name] for name in names] if names else streams
    if len(wanted) > _MOST_STREAMS:
        raise InvalidSpec(
            f"a Pipeline loads at most {_MOST_STREAMS} streams, and these are {len(wanted)}. Name some: --stream"
        )
    return wanted


async def _only_destination(cluster: "HttpCluster", namespace: str) -> str:
    """The name of the only Destination that holds tables. Raises `InvalidSpec` where there is none, or several."""
    listing = await cluster.list("Destination", namespace)
    names = [item["metadata"]["name"] for item in listing.items if _holds_tables(item)]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise InvalidSpec(
            f"there is no Destination that holds tables in namespace {namespace}. Apply one, or name it: --destination"
        )
    raise InvalidSpec(f"there are several Destinations: {', '.join(sorted(names))}. Name one: --destination")


def _holds_tables(destination: dict[str, Any]) -> bool:
    spec = registry.DESTINATIONS.get(next(iter(destination["spec"]["connector"]), ""))
    return spec is not None and spec.traits.store is not None


async def _sample(cluster: "HttpCluster", key: Key) -> Preview | None:
    """The first rows; None, and why, where they cannot be read."""
    try:
        async with asyncio.timeout(_SAMPLE_SECONDS):
            return await preview.read(cluster, key, _SAMPLE_ROWS, quarantined=False)
    except (InvalidSpec, TimeoutError) as error:
        cause = error.message if isinstance(error, InvalidSpec) else f"no rows after {_SAMPLE_SECONDS} s"
        terminal.echo(f"The types come from the inspection alone, without a sample of rows: {cause}", err=True)
        return None
